"""Where each CPU stands in a drawing: by node, last-level cache, core and thread, and where one is missing.

A sample has the CPUs that are online. One that was seen before and is gone keeps its place as a gap, and so does one whose
number is missing in a row of numbers: what is offline must not look as if it had never been there, nor let its neighbours move.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from typing import Literal

from ingest.sample import CoreSample
from ui.app.state.policy import ROLE_LETTER

Grouping = Literal["node", "llc", "role"]
GROUPINGS: tuple[Grouping, ...] = ("node", "llc", "role")
GROUPED_BY = {"node": "node", "llc": "last-level cache", "role": "role"}
GAP, RULE = -1, -2  # instead of a CPU number: nobody there; the border of a cache
_ROLES = ("isolated", "app", "rx", "tx", "housekeeping", "general")
_WIDEST_HOLE = 64
_KEY = attrgetter("cpu", "node", "llc", "siblings", "role")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a CPU is. ``thread`` is 0 for the first of its core; ``core`` is the lowest CPU of its core."""

    cpu: int
    node: int
    llc: int
    core: float
    thread: int
    siblings: frozenset[int]
    role: str


@dataclass(frozen=True, slots=True)
class Group:
    """Cores that stand together: for each thread of a core a row of CPU numbers, one above the other."""

    label: str
    threads: tuple[tuple[int, ...], ...]
    borders: tuple[int, ...] = ()  # columns before which another cache begins


class Places:
    """Learns the machine from its samples. ``generation`` rises when anything in it changed."""

    def __init__(self) -> None:
        self.generation = 0
        self.index: Mapping[int, int] = {}  # CPU -> its place in the sample
        self.order: tuple[int, ...] = ()  # CPUs that are online, in the order of the machine
        self.known: dict[int, Place] = {}
        self._key: tuple[object, ...] = ()
        self._host = ""

    def take(self, host: str, cores: Sequence[CoreSample]) -> bool:
        """The CPUs of a sample; whether anything is another than before."""
        key = tuple(map(_KEY, cores))
        if key == self._key and host == self._host:
            return False
        if host != self._host or not any(core.cpu in self.known for core in cores):
            self.known = {}
        self._key, self._host = key, host
        for core in cores:
            self.known[core.cpu] = _place(core, self.known.get(core.cpu))
        self.known |= {place.cpu: place for place in _holes(self.known)}
        self.index = {core.cpu: at for at, core in enumerate(cores)}
        self.order = tuple(place.cpu for place in sorted(self.known.values(), key=_order) if place.cpu in self.index)
        self.generation += 1
        return True

    def groups(self, grouping: Grouping) -> list[Group]:
        """All CPUs, grouped. By cache is by node, with a border between caches."""
        parted: dict[object, list[Place]] = {}
        for place in sorted(self.known.values(), key=_order):
            parted.setdefault(place.role if grouping == "role" else place.node, []).append(place)
        if grouping == "role":
            names = sorted(parted, key=lambda role: (_ROLES.index(role) if role in _ROLES else len(_ROLES), str(role)))
            return [self._group(_letter(str(name)), parted[name], closed=False) for name in names]
        return [self._group(f"n{node}", places, caches=grouping == "llc") for node, places in parted.items()]

    def _group(self, label: str, places: Iterable[Place], *, caches: bool = False, closed: bool = True) -> Group:
        columns: dict[tuple[int, int, float], dict[int, int]] = {}
        for place in places:
            cells = columns.setdefault((place.node, place.llc, place.core), {})
            # a role may have the second threads alone: these are not drawn below nobody
            thread = place.thread if closed else len(cells)
            while thread in cells:
                thread += 1
            cells[thread] = place.cpu
        deep = 1 + max(max(cells) for cells in columns.values())
        threads = tuple(tuple(self._there(cells.get(thread, GAP)) for cells in columns.values()) for thread in range(deep))
        keys = list(columns)
        borders = tuple(at for at in range(1, len(keys)) if keys[at][:2] != keys[at - 1][:2]) if caches else ()
        return Group(label, threads, borders)

    def _there(self, cpu: int) -> int:
        return cpu if cpu in self.index else GAP

    def letter(self, cpu: int) -> str:
        """The letter of a CPU's role, in lower case for a second thread."""
        place = self.known.get(cpu)
        if place is None or cpu not in self.index:
            return " "
        letter = _letter(place.role)
        return letter.lower() if place.thread else letter


def _letter(role: str) -> str:
    first = role[:1].upper()
    return ROLE_LETTER.get(role) or (first if first.isascii() and first.isalpha() else "?")


def _order(place: Place) -> tuple[int, int, float, int, int]:
    return place.node, place.llc, place.core, place.thread, place.cpu


def _place(core: CoreSample, former: Place | None) -> Place:
    siblings = frozenset(core.siblings) | {core.cpu}
    if former is not None and former.node == core.node and siblings < former.siblings:
        # a thread of its core went: what is left stays where it is
        return replace(former, role=core.role)
    ordered = sorted(siblings)
    return Place(core.cpu, core.node, core.llc, float(ordered[0]), ordered.index(core.cpu), siblings, core.role)


def _holes(known: Mapping[int, Place]) -> list[Place]:
    """CPUs that nobody saw, but whose numbers are missing between two of one node and thread."""
    rows: dict[tuple[int, int], list[Place]] = {}
    for cpu in sorted(known):
        rows.setdefault((known[cpu].node, known[cpu].thread), []).append(known[cpu])
    found = []
    for row in rows.values():
        steps = Counter(b.cpu - a.cpu for a, b in pairwise(row))
        if not steps:
            continue
        step = steps.most_common(1)[0][0]
        for left, right in pairwise(row):
            missing = range(left.cpu + step, right.cpu, step)
            whole = (right.cpu - left.cpu) % step == 0 and 0 < len(missing) <= _WIDEST_HOLE
            if whole and not any(cpu in known for cpu in missing):
                parts = len(missing) + 1
                found += [
                    replace(left, cpu=cpu, core=left.core + at / parts, siblings=frozenset((cpu,)))
                    for at, cpu in enumerate(missing, 1)
                ]
    return found
