"""Whether an interface stamps what it receives, and what to do where it does not.

Source: include/uapi/linux/net_tstamp.h, ethtool.h; net/core/dev_ioctl.c. ETHTOOL_GET_TS_INFO says what the driver could do and
which clock it has, SIOCGHWTSTAMP what is turned on. To turn it on (SIOCSHWTSTAMP, CAP_NET_ADMIN) is not a reader's business.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from typing import Literal

from ingest.stamps.control import RAW_HARDWARE, RX_HARDWARE
from tuner.host.text import printable

Stamping = Literal["on", "some", "off", "none", "unknown"]

_SIOCETHTOOL, _SIOCGHWTSTAMP = 0x8946, 0x89B1
_GET_TS_INFO = 0x41
_TS_INFO = struct.Struct("=IIi4I4I")  # cmd, so_timestamping, phc_index, tx_types and room, rx_filters and room
_CONFIG = struct.Struct("=iii")  # flags, tx_type, rx_filter
_FILTERS = {
    0: "none", 1: "all", 2: "some", 3: "ptpv1-l4-event", 4: "ptpv1-l4-sync", 5: "ptpv1-l4-delay-req", 6: "ptpv2-l4-event",
    7: "ptpv2-l4-sync", 8: "ptpv2-l4-delay-req", 9: "ptpv2-l2-event", 10: "ptpv2-l2-sync", 11: "ptpv2-l2-delay-req",
    12: "ptpv2-event", 13: "ptpv2-sync", 14: "ptpv2-delay-req", 15: "ntp-all",
}  # fmt: skip
_NONE, _ALL = 0, 1


@dataclass(frozen=True, slots=True)
class Ability:
    """What an interface says of its stamps.

    ``stamping``: ``on`` for every packet; ``some``: for those of ``filter`` alone; ``off``, though the NIC could; ``none``: it
    cannot; ``unknown``: the driver does not say. ``clock``: N of /dev/ptpN, None where it has none.
    """

    stamping: Stamping
    clock: int | None = None
    filter: str = ""

    def words(self, ifname: str) -> str:
        """What is wrong and what to do about it, in one sentence; empty where every packet is stamped."""
        name = printable(ifname)
        turn_on = f"ptp4l, `hwstamp_ctl -i {name} -r 1` or a profile's `hwtstamp` turns it on"
        match self.stamping:
            case "off":
                return f"{name} could stamp what it receives, but does not: {turn_on}"
            case "none":
                return f"{name} does not stamp: its driver has no stamps of received packets"
            case "some":
                return f"{name} stamps no other packets than those of the filter '{self.filter}': {turn_on} for all"
            case "unknown":
                return f"{name}: its driver does not say whether it stamps"
        return ""


def ability_of(ifname: str) -> Ability:
    """Asks the driver, without any privilege and without changing anything."""
    supported, clock = _capabilities(ifname)
    if supported is not None and supported & (RX_HARDWARE | RAW_HARDWARE) != RX_HARDWARE | RAW_HARDWARE:
        return Ability("none", clock)
    number = _receive_filter(ifname)
    if number is None:
        return Ability("unknown", clock)
    name = _FILTERS.get(number, str(number))
    return Ability("on" if number == _ALL else "off" if number == _NONE else "some", clock, name)


def _capabilities(ifname: str) -> tuple[int | None, int | None]:
    try:
        raw = _ioctl(ifname, _SIOCETHTOOL, _TS_INFO.pack(_GET_TS_INFO, *(0,) * 10))
    except OSError:
        return None, None
    _, supported, clock, *_ = _TS_INFO.unpack(raw)
    return supported, clock if clock >= 0 else None


def _receive_filter(ifname: str) -> int | None:
    try:
        return int(_CONFIG.unpack(_ioctl(ifname, _SIOCGHWTSTAMP, _CONFIG.pack(0, 0, 0)))[2])
    except OSError:
        return None


def _ioctl(ifname: str, number: int, request: bytes) -> bytes:
    name = ifname.encode("utf-8", "surrogateescape")
    if len(name) > 15:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), ifname)
    buffer = ctypes.create_string_buffer(request, len(request))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        fcntl.ioctl(asked, number, struct.pack("16sP16x", name, ctypes.addressof(buffer)))
    return buffer.raw
