"""Hardware timestamps of a NIC: which packets get one.

Source: include/uapi/linux/net_tstamp.h (struct hwtstamp_config), Documentation/networking/timestamping.rst. The kernel
answers with what the driver really set up, which may be more than was asked for.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Request = Callable[[int, bytes], bytes]  # ioctl number and buffer in, buffer out

SIOCSHWTSTAMP, SIOCGHWTSTAMP = 0x89B0, 0x89B1
_CONFIG = struct.Struct("=iii")  # flags, tx_type, rx_filter

# HWTSTAMP_TX_*, HWTSTAMP_FILTER_* in their order, by the names that ethtool -T gives them
TRANSMIT = ("off", "on", "onestep-sync", "onestep-p2p")
RECEIVE = (
    "none",
    "all",
    "some",
    "ptpv1-l4-event",
    "ptpv1-l4-sync",
    "ptpv1-l4-delay-req",
    "ptpv2-l4-event",
    "ptpv2-l4-sync",
    "ptpv2-l4-delay-req",
    "ptpv2-l2-event",
    "ptpv2-l2-sync",
    "ptpv2-l2-delay-req",
    "ptpv2-event",
    "ptpv2-sync",
    "ptpv2-delay-req",
    "ntp-all",
)


@dataclass(frozen=True, slots=True)
class Timestamping:
    """What is stamped. ``flags`` are kept as they were found (HWTSTAMP_FLAG_BONDED_PHC_INDEX)."""

    transmit: str
    receive: str
    flags: int = 0


def read_timestamping(request: Request) -> Timestamping:
    """The NIC's setting.

    Raises:
        OSError: EOPNOTSUPP: the driver has none, or does not say.
    """
    return _parse(request(SIOCGHWTSTAMP, _CONFIG.pack(0, 0, 0)))


def write_timestamping(request: Request, wanted: Timestamping) -> Timestamping:
    """Asks for a setting; gives back what the driver made of it.

    Raises:
        OSError: ERANGE: this hardware cannot stamp that; EOPNOTSUPP; EPERM.
    """
    asked = _CONFIG.pack(wanted.flags, _number(TRANSMIT, wanted.transmit), _number(RECEIVE, wanted.receive))
    return _parse(request(SIOCSHWTSTAMP, asked))


def _parse(raw: bytes) -> Timestamping:
    flags, transmit, receive = _CONFIG.unpack_from(raw)
    return Timestamping(_name(TRANSMIT, transmit), _name(RECEIVE, receive), flags)


# a newer kernel may have more of them: what is not known keeps its number, so that it can be put back
def _name(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else f"number {number}"


def _number(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else int(name.removeprefix("number "))
