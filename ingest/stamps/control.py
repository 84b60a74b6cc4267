"""What the kernel says of a packet besides its bytes: two stamps in one control message (SCM_TIMESTAMPING).

Source: Documentation/networking/timestamping.rst, include/uapi/linux/errqueue.h. struct scm_timestamping has three timespecs:
the kernel's stamp, one that is no longer used, and the NIC's, raw, by the NIC's own clock. All zeros: there is none.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

SO_TIMESTAMPING = SCM_TIMESTAMPING = 37  # SO_TIMESTAMPING_OLD: timespecs of the machine's long, as clock_gettime(2) has them
RX_HARDWARE, RX_SOFTWARE, SOFTWARE, RAW_HARDWARE = 1 << 2, 1 << 3, 1 << 4, 1 << 6  # SOF_TIMESTAMPING_*
BOTH = RX_HARDWARE | RX_SOFTWARE | SOFTWARE | RAW_HARDWARE

_SOL_SOCKET = 1
_STAMPS = struct.Struct("@6l")
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Stamped:
    """The two stamps of a packet in nanoseconds, each by its own clock; None where it has none.

    ``kernel_ns``: CLOCK_REALTIME at the entry of the network stack, the very stamp that a packet ring has.
    """

    nic_ns: int | None = None
    kernel_ns: int | None = None


def stamps_of(messages: Iterable[tuple[int, int, bytes]]) -> Stamped:
    """The stamps in the control messages of one ``recvmsg``. One that is cut, or no time at all, is none."""
    for level, kind, content in messages:
        if (level, kind) == (_SOL_SOCKET, SCM_TIMESTAMPING) and len(content) >= _STAMPS.size:
            words = _STAMPS.unpack_from(content)
            return Stamped(nic_ns=_time_ns(*words[4:6]), kernel_ns=_time_ns(*words[0:2]))
    return Stamped()


def _time_ns(seconds: int, nanoseconds: int) -> int | None:
    if seconds < 0 or not 0 <= nanoseconds < _SECOND_NS or not (seconds or nanoseconds):
        return None
    return seconds * _SECOND_NS + nanoseconds
