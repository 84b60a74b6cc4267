"""/proc/net/softnet_stat: packets per CPU between driver and protocols.

Facts (net/core/net-procfs.c softnet_seq_show): one row per *online* CPU, hexadecimal 32-bit words that wrap. Column 1 packets,
2 dropped at a full backlog, 3 times the budget ran out (a delay), 10 RPS interrupts received, 11 flow limit. From 5.7 on column
13 is the CPU; before it row i is the i-th online CPU, which is no knowledge while CPUs come and go: rows that neither name
their CPU nor are as many as the online CPUs are left out. Seen with 9, 10, 11, 13 and 15 columns, mixed in one file too.
A read costs some µs.
"""

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass

_EIGHT = {8}


@dataclass(frozen=True, slots=True)
class Softnet:
    """One CPU's row."""

    cpu: int
    packets: int
    drops: int
    squeezes: int
    received_rps: int
    flow_limits: int


def parse(raw: bytes, online: Sequence[int]) -> tuple[Softnet, ...]:
    """The rows, by CPU; ``online`` are the online CPUs, ascending, for kernels that do not name them."""
    found = []
    lines = raw.split(b"\n")
    while lines and not lines[-1].strip():
        del lines[-1]
    counted = len(lines) == len(online)
    for place, line in enumerate(lines):
        words = _words(line)
        if len(words) < 9 or (len(words) < 13 and not counted):
            continue
        cpu = words[12] if len(words) > 12 else online[place]
        rps = words[9] if len(words) > 9 else 0
        limits = words[10] if len(words) > 10 else 0
        found.append(Softnet(cpu, words[0], words[1], words[2], rps, limits))
    return tuple(found)


@functools.lru_cache(maxsize=1024)  # the rows of cores that are left alone never move
def _words(line: bytes) -> tuple[int, ...]:
    """The numbers of a row; none where it is no row. Eight digits each: half a word would be another number."""
    words = line.split()
    if set(map(len, words)) != _EIGHT:
        return ()
    try:
        return struct.unpack(f">{len(words)}I", bytes.fromhex(b"".join(words).decode("ascii")))
    except ValueError:
        return ()
