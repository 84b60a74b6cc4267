"""/proc/net/snmp6: the counters of IPv6, one name and one number a line.

Source: net/ipv6/proc.c. 64-bit counts; some 0.1 ms a read.
"""

from collections.abc import Iterable


def parse(raw: bytes, wanted: Iterable[str]) -> dict[str, int]:
    """The wanted counters that this kernel has."""
    names = {name.encode(): name for name in wanted}
    found = {}
    for line in raw.split(b"\n"):
        words = line.split()
        if len(words) == 2 and words[0] in names and words[1].isdigit() and len(words[1]) <= 20:
            found[names[words[0]]] = int(words[1])
    return found
