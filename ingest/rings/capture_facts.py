"""What a capture file says besides its packets, and how a walk over it ended."""

import enum
from dataclasses import dataclass
from typing import Any

INTERFACES = 4096  # of one section
UNDECODED = 16  # link types that are counted apart; the last slot takes all others
LONGEST_PACKET = 262144  # bytes: what libpcap takes for the longest packet that a capture can hold

# https://www.tcpdump.org/linktypes.html, those that people capture by mistake
LINK_TYPES = {
    8: "SLIP",
    9: "PPP",
    50: "PPP in HDLC-like framing",
    51: "PPPoE session",
    104: "Cisco HDLC",
    105: "IEEE 802.11",
    127: "IEEE 802.11 with radiotap",
    147: "user 0",
    189: "USB, Linux",
    192: "PPI",
    197: "ERF",
    220: "USB, Linux mmapped",
    227: "SocketCAN",
    239: "netfilter log",
    247: "InfiniBand",
    249: "USBPcap",
    253: "netlink",
    271: "vsock",
    274: "Ethernet with preamble",
}


class CaptureEnd(enum.IntEnum):
    """Where a walk has come. All but the first two are faults; the last four are of files that are not read at all."""

    GOES_ON = 0
    WHOLE = 1
    CUT = 2  # within a record
    BROKEN = 3  # a record's lengths do not hold together, so nobody knows where the next begins
    UNKNOWN = 4
    MODIFIED = 5
    VERSION = 6
    CROWDED = 7


@dataclass(frozen=True, slots=True)
class Undecoded:
    """Packets of a link type in which no IP header is looked for; None: of all link types beyond the first 15."""

    link_type: int | None
    packets: int
    bytes: int

    @property
    def name(self) -> str:
        """``127 (IEEE 802.11 with radiotap)``, ``9999`` or ``others``."""
        if self.link_type is None:
            return "others"
        known = LINK_TYPES.get(self.link_type)
        return f"{self.link_type} ({known})" if known else str(self.link_type)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``undecoded``."""
        return {"link_type": self.link_type, "packets": self.packets, "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """What a capture says besides its packets.

    ``first_ns`` and ``last_ns`` are the earliest and the latest stamp (ns since 1970), in whatever order they stand; None
    where no packet has one. ``stamped``: packets that have one. ``drops``: what the capturing side says that it lost
    (pcapng: isb_ifdrop and isb_osdrop of each interface's last statistics block). ``bytes`` of the file in all, ``read``
    how many of them hold what was counted.
    """

    format: str = ""
    version: str = ""
    first_ns: int | None = None
    last_ns: int | None = None
    stamped: int = 0
    drops: int = 0
    sections: int = 0
    undecoded: tuple[Undecoded, ...] = ()
    bytes: int = 0
    read: int = 0

    @property
    def span_ns(self) -> int:
        """From the earliest to the latest stamp."""
        return 0 if self.first_ns is None or self.last_ns is None else self.last_ns - self.first_ns

    def to_json(self) -> dict[str, Any]:
        """The report's ``capture``."""
        return {
            "format": self.format,
            "version": self.version,
            "bytes": self.bytes,
            "read": self.read,
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
            "duration_ns": None if self.first_ns is None else self.span_ns,
            "stamped": self.stamped,
            "undecoded": [each.to_json() for each in self.undecoded],
        }
