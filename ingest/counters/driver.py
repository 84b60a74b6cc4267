"""``ethtool -S``: a driver's own counters, given a meaning by the map in ``driver_counters.toml``.

Facts (include/uapi/linux/ethtool.h, the drivers' sources): names are free text of each driver and no two mean the same by the
same word. They may repeat: vmxnet3 tells its queue by the *value* of "Rx Queue#", and bnxt by "[3]: " before each name. A read
takes the RTNL lock three times, so it waits while an interface is reset, and costs the driver what it likes: igb, ixgbe and
i40e read some hundred registers, mlx5 and bnxt send firmware commands. Here it is read once a second at most.

A driver that is not in the map has no counters here: then only sysfs speaks.
"""

import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tuner.host.driver_statistics import DriverStatistics
from tuner.host.text import is_number, printable

CONTAINED = "contained"
QUEUE_PACKETS = "queue.packets"
CLASSES = frozenset(
    {
        "wire.error", "wire.corrected", "wire.down", "mac.crc", "mac.length", "mac.align", "mac.pause_tx", "mac.pause_rx",
        "nic.filter", "nic.fifo", "nic.fifo_pressure", "nic.nodesc", "nic.nodesc_pressure", "nic.limit", "nic.shaped", "pcie",
        "irq", "drv.drop", "drv.error", "drv.alloc", "drv.checksum", "drv.xdp", "drv.reset", QUEUE_PACKETS, CONTAINED,
    }
)  # fmt: skip
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Rule:
    """What names of one pattern count, on a driver that has no counter ``without``."""

    pattern: re.Pattern[str]
    kind: str
    bits: int = 64
    without: str = ""


@dataclass(frozen=True, slots=True)
class Driver:
    """The rules of one driver; the first that fits a name holds."""

    rules: tuple[Rule, ...]
    queue_marker: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One counter: its name without blanks at the ends, its place among the driver's, its receive queue if it has one."""

    name: str
    place: int
    queue: int | None
    value: int
    bits: int = 64


@dataclass(frozen=True, slots=True)
class Classified:
    """A driver's counters by class. ``known``: the driver is in the map."""

    driver: str
    known: bool
    parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)

    def by_queue(self, kind: str) -> dict[int, int]:
        """Receive queue -> the sum of its counters of this class."""
        found: dict[int, int] = {}
        for part in self.parts.get(kind, ()):
            if part.queue is not None:
                found[part.queue] = found.get(part.queue, 0) + part.value
        return found


@functools.cache
def driver_map() -> Mapping[str, Driver]:
    """Driver -> its rules, from the file beside this one, read once.

    Raises:
        ValueError: the file is not as it must be.
    """
    # by its place: importlib.resources brings zipfile and urllib along, a megabyte in a process that has to be small
    with open(os.path.join(os.path.dirname(__file__), "driver_counters.toml"), encoding="utf-8") as file:
        return parse_map(file.read())


def parse_map(text: str) -> dict[str, Driver]:
    """The map in a text.

    Raises:
        ValueError: no TOML, an unknown class or key, a pattern that is none; with the driver and the counter.
    """
    import tomllib

    found: dict[str, Driver] = {}
    for name, table in tomllib.loads(text).items():
        unknown = set(table) - {"counters", "also", "queue_marker"}
        if unknown:
            raise ValueError(f"driver_counters.toml: {name}: unknown key {min(unknown)!r}")
        rules = tuple(_rule(name, pattern, what) for pattern, what in table["counters"].items())
        for each in (name, *table.get("also", ())):
            found[each] = Driver(rules, table.get("queue_marker", ""))
    return found


def _rule(driver: str, pattern: str, what: str | Mapping[str, str | int]) -> Rule:
    fields = {"class": what} if isinstance(what, str) else dict(what)
    kind = str(fields.pop("class", ""))
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"driver_counters.toml: {driver}: {pattern!r} is no pattern: {error}") from error
    if kind not in CLASSES or set(fields) - {"bits", "without"}:
        raise ValueError(f"driver_counters.toml: {driver}: {pattern!r}: no such class or key: {what!r}")
    return Rule(compiled, kind, int(fields.get("bits", 64)), str(fields.get("without", "")))


def classify(driver: str, statistics: DriverStatistics) -> Classified:
    """A driver's counters by class; ``contained`` ones are left out, and so is what no rule knows."""
    rules = driver_map().get(driver)
    if rules is None:
        return Classified(driver, known=False)
    places, markers = _places(driver, statistics.names)
    marked = {place: statistics.values[place] for place in markers}
    parts: dict[str, list[Part]] = {}
    for place, kind, queue, bits, behind in places:
        at = marked.get(behind, queue)
        name = statistics.names[place].strip()
        parts.setdefault(kind, []).append(Part(name, place, at, statistics.values[place], bits))
    return Classified(driver, known=True, parts={kind: tuple(found) for kind, found in parts.items()})


@functools.lru_cache(maxsize=64)
def _places(driver: str, names: tuple[str, ...]) -> tuple[tuple[tuple[int, str, int | None, int, int], ...], tuple[int, ...]]:
    """(place, class, queue, bits, place of the marker before it or -1) of each counter that counts, and the markers' places.

    Names change with the channels alone; fitting thousands of them to patterns costs milliseconds.
    """
    rules = driver_map()[driver]
    there = {name.strip() for name in names}
    found: list[tuple[int, str, int | None, int, int]] = []
    markers: list[int] = []
    for place, name in enumerate(names):
        word = name.strip()
        if rules.queue_marker and word == rules.queue_marker:
            markers.append(place)
            continue
        fitting = ((r, m) for r in rules.rules if r.without not in there and (m := r.pattern.fullmatch(word)))
        match = next(fitting, None)
        if match is None or match[0].kind == CONTAINED:
            continue
        number = next((group for group in match[1].groupdict().values() if group is not None), "")
        queue = int(number) if is_number(number) else None
        found.append((place, match[0].kind, queue, match[0].bits, markers[-1] if markers else -1))
    return tuple(found), tuple(markers)


def label(parts: Sequence[Part]) -> str:
    """The names of counters in one: digits that differ become N, and of many names three are told."""
    names = list(dict.fromkeys(part.name for part in parts))
    if len(names) > 1:
        names = list(dict.fromkeys(_DIGITS.sub("N", name) for name in names))
    text = " + ".join(names[:3]) + (f" + {len(names) - 3} more" if len(names) > 3 else "")
    many = f" (x{len(parts)})" if len(parts) > len(names) else ""
    return printable(text, 80) + many
