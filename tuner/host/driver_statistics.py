"""A driver's own counters (``ethtool -S``), in the driver's order.

Source: include/uapi/linux/ethtool.h, net/ethtool/ioctl.c. Three requests: how many (ETHTOOL_GSSET_INFO), their names
(ETHTOOL_GSTRINGS), their values (ETHTOOL_GSTATS). Names need not be unique and their order is part of their meaning: vmxnet3
repeats the same names for every queue.

Kernels before 6.19, and stable ones before January 2026, write as many values as the driver has *now*, whatever room the caller
said that there is: a NIC whose channels are changed between two requests writes past the buffer (CVE-2025-68795). So every
buffer has room for many more than were announced, and an answer of another length is asked for again.
"""

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

Request = Callable[[bytes], bytes]  # one SIOCETHTOOL: the buffer that goes in, the buffer that comes out

_GSTRINGS, _GSTATS, _GSSET_INFO = 0x1B, 0x1D, 0x37
_SET = 1  # ETH_SS_STATS
_NAME = 32  # ETH_GSTRING_LEN
_LIMIT = 1 << 16  # counters; a 400G NIC with 128 channels has some 12 000
_TRIES = 3


@dataclass(frozen=True, slots=True)
class DriverStatistics:
    """``names[i]`` counts ``values[i]``. Names are as the driver spells them, blanks included; values are 64 bits wide."""

    names: tuple[str, ...] = ()
    values: tuple[int, ...] = ()


def read_statistics(request: Request) -> DriverStatistics:
    """All counters of a driver.

    Takes the RTNL lock three times: it waits while any interface of the host is being reset. Values may cost the driver
    firmware commands (mlx5, bnxt): never faster than once a second.

    Raises:
        OSError: EOPNOTSUPP where the driver has none, ENODEV where the interface is gone, EAGAIN where their number would not
            stand still.
    """
    for _ in range(_TRIES):
        count = _count(request)
        room = 2 * count + 1024
        raw_names = request(struct.pack(f"=III{room * _NAME}x", _GSTRINGS, _SET, count))
        raw_values = request(struct.pack(f"=II{room * 8}x", _GSTATS, count))
        if struct.unpack_from("=I", raw_names, 8)[0] == struct.unpack_from("=I", raw_values, 4)[0] == count:
            values = struct.unpack_from(f"={count}Q", raw_values, 8)
            return DriverStatistics(_names(raw_names[12 : 12 + count * _NAME]), values)
    raise OSError(errno.EAGAIN, "the number of its counters changes with every look")


def _count(request: Request) -> int:
    # struct ethtool_sset_info: cmd, reserved, a mask of sets, the size of each set in the mask
    raw = request(struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SET, 0))
    mask, count = struct.unpack_from("=QI", raw, 8)
    if not mask or not 0 < count <= _LIMIT:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    return int(count)


@lru_cache(maxsize=64)
def _names(block: bytes) -> tuple[str, ...]:
    """They change with the channels alone: decoding thousands of them every second would be most of the cost."""
    words = (block[at : at + _NAME].split(b"\0", 1)[0] for at in range(0, len(block), _NAME))
    return tuple(word.decode("utf-8", "surrogateescape") for word in words)
