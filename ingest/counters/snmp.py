"""/proc/net/snmp and /proc/net/netstat: the protocols' counters, by the names in their own headers.

Source: net/ipv4/proc.c. Lines come in pairs, names and values; new kernels add names, so nothing is found by position in the
code. Where the names did not change since the last read, neither did their places, and only wanted values are parsed.
"""

from collections.abc import Iterable

_GROUPS = 64  # more than these files have


class Parser:
    """Picks a few counters out of one of the two files, again and again.

    Args:
        wanted: names as ``Udp.RcvbufErrors``.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self._wanted: dict[bytes, set[bytes]] = {}
        for name in wanted:
            group, _, counter = name.partition(".")
            self._wanted.setdefault(group.encode(), set()).add(counter.encode())
        self._places: dict[bytes, list[tuple[str, int]]] = {}
        self._unwanted: set[bytes] = set()
        self._last: dict[bytes, tuple[bytes, dict[str, int]]] = {}  # names -> values as they were, and what was found there

    def parse(self, raw: bytes) -> dict[str, int]:
        """The wanted counters that this file has."""
        found: dict[str, int] = {}
        lines = raw.split(b"\n")
        for names, values in zip(lines[::2], lines[1::2], strict=False):
            last = self._last.get(names)
            if last is None or last[0] != values:
                if names in self._unwanted:
                    continue
                last = values, self._pick(names, values)
                if last[1]:
                    self._last[names] = last
                elif len(self._unwanted) < _GROUPS and names.partition(b":")[0] not in self._wanted:
                    self._unwanted.add(names)
            found.update(last[1])
        return found

    def _pick(self, names: bytes, values: bytes) -> dict[str, int]:
        group = names.partition(b":")[0]
        if group not in self._wanted or not values.startswith(group + b":"):
            return {}
        places = self._places.get(names)
        if places is None:
            places = self._places[names] = self._find(group, names)
        words = values.split()
        found = {}
        for name, place in places:
            if place < len(words) and words[place].isdigit() and len(words[place]) <= 20:
                found[name] = int(words[place])
        return found

    def _find(self, group: bytes, names: bytes) -> list[tuple[str, int]]:
        wanted = self._wanted[group]
        return [(f"{group.decode()}.{w.decode()}", i) for i, w in enumerate(names.split()) if i and w in wanted]
