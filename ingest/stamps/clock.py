"""How far a NIC's clock is from the host's, and how well that is known.

Source: include/uapi/linux/ptp_clock.h, drivers/ptp/ptp_chardev.c, include/linux/ptp_clock_kernel.h. /dev/ptpN answers
PTP_SYS_OFFSET_EXTENDED (5.0; the driver has to have it) with the host's time directly before and after each reading of the
NIC's clock, PTP_SYS_OFFSET (3.0) with the host's time in between such readings, bus and driver included. Either way the NIC's
clock was read somewhere between two readings of the host's: half of that span is a bound of the error, not a guess. Reading
needs no more than the right to open the device, which is root's.
"""

import fcntl
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

READINGS = 9  # of which the narrowest is taken
_EXTENDED_ROOM, _PLAIN_ROOM = 25, 51  # PTP_MAX_SAMPLES; twice that and one more
_TIME = struct.Struct("=qII")  # struct ptp_clock_time: s, ns, reserved
_HEAD = 16  # n_samples and three words that are 0; the first of them is the clock since 6.12, where 0 is CLOCK_REALTIME


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("=") << 8 | number


_EXTENDED_BYTES = _HEAD + _EXTENDED_ROOM * 3 * _TIME.size
_PLAIN_BYTES = _HEAD + _PLAIN_ROOM * _TIME.size
PTP_SYS_OFFSET_EXTENDED = _request(3, 9, _EXTENDED_BYTES)
PTP_SYS_OFFSET = _request(1, 5, _PLAIN_BYTES)


@dataclass(frozen=True, slots=True)
class Offset:
    """The NIC's clock minus CLOCK_REALTIME in nanoseconds, within ``uncertainty_ns``, at ``at_ns`` of CLOCK_REALTIME.

    A clock that keeps TAI (ptp4l) is 37 s ahead of the host's. That is an offset like any other.
    """

    at_ns: int
    offset_ns: int
    uncertainty_ns: int

    def until(self, later: "Offset", at_ns: int) -> int:
        """The offset at a moment between two measurements, or beside them: clocks that drift, drift evenly."""
        span = later.at_ns - self.at_ns
        if span <= 0:
            return later.offset_ns
        return self.offset_ns + (later.offset_ns - self.offset_ns) * (at_ns - self.at_ns) // span


class HardwareClock:
    """/dev/ptpN, open."""

    def __init__(self, number: int) -> None:
        """Opens it.

        Raises:
            OSError: there is no such device, or it may not be read.
        """
        self.path = f"/dev/ptp{number}"
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def measure(self) -> Offset:
        """Asks now: some ten microseconds on PCIe, more on a busy bus.

        Raises:
            OSError: the driver does not tell.
        """
        try:
            return parse_extended(self._ask(PTP_SYS_OFFSET_EXTENDED, _EXTENDED_BYTES), READINGS)
        except OSError:  # EOPNOTSUPP by the driver, ENOTTY by a kernel before 5.0
            return parse_plain(self._ask(PTP_SYS_OFFSET, _PLAIN_BYTES), READINGS)

    def _ask(self, request: int, size: int) -> bytes:
        buffer = bytearray(size)
        struct.pack_into("=I", buffer, 0, READINGS)
        fcntl.ioctl(self._fd, request, buffer)
        return bytes(buffer)

    def close(self) -> None:
        """Lets go of the device."""
        os.close(self._fd)


def parse_extended(raw: bytes, readings: int) -> Offset:
    """The narrowest reading in a struct ptp_sys_offset_extended.

    Raises:
        OSError: it holds none that makes sense.
    """
    times = _times(raw, 3 * readings)
    return _narrowest(zip(times[0::3], times[1::3], times[2::3], strict=True))


def parse_plain(raw: bytes, readings: int) -> Offset:
    """The narrowest reading in a struct ptp_sys_offset: host, NIC, host, NIC, ..., host.

    Raises:
        OSError: it holds none that makes sense.
    """
    times = _times(raw, 2 * readings + 1)
    return _narrowest(zip(times[0:-2:2], times[1::2], times[2::2], strict=True))


def _times(raw: bytes, count: int) -> list[int]:
    words = (_TIME.unpack_from(raw, _HEAD + _TIME.size * place) for place in range(count))
    return [seconds * 1_000_000_000 + nanoseconds for seconds, nanoseconds, _ in words]


def _narrowest(readings: Iterable[tuple[int, int, int]]) -> Offset:
    found = [(after - before, before, nic) for before, nic, after in readings if after >= before > 0]
    if not found:
        raise OSError("the host's clock was set back between its readings")
    span, before, nic = min(found)
    middle = before + span // 2
    return Offset(middle, nic - middle, -(-span // 2))
