"""/proc/net/softnet_stat: packets per CPU between driver and protocols.

Facts (net/core/net-procfs.c softnet_seq_show): one row per *online* CPU, hexadecimal 32-bit words that wrap. Column 1 packets,
2 dropped at a full backlog, 3 times the budget ran out (a delay), 10 RPS interrupts received, 11 flow limit. From 5.7 on column
13 is the CPU; before it row i is the i-th online CPU. Seen with 9, 10, 11, 13 and 15 columns, mixed in one file too.
"""

from collections.abc import Sequence
from dataclasses import dataclass


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
    for place, line in enumerate(raw.splitlines()):
        try:
            words = [int(word, 16) for word in line.split()]
        except ValueError:
            continue
        if len(words) < 3:
            continue
        cpu = words[12] if len(words) > 12 else online[place] if place < len(online) else place
        rps = words[9] if len(words) > 9 else 0
        limits = words[10] if len(words) > 10 else 0
        found.append(Softnet(cpu, words[0], words[1], words[2], rps, limits))
    return tuple(found)
