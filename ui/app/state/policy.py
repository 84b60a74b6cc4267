"""What is good and bad on a core, by what the core is for: the colours of every view come from here.

High is not bad: eight thousand interrupts a second are a housekeeping core's work; one a second is a fault on an isolated one.
All cores are judged at once, on bytes: a level and a tone for each, so that 128 cores and eight figures cost next to nothing.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter, sub

from ingest.counters.interrupts import IPI, TIMER
from ingest.judgement import DISTURBED_PER_S, RESERVED, TICKING_PER_S, of_core, weight
from ingest.sample import CoreSample
from ui.app.widgets.ramp import TOP, levels
from ui.app.widgets.tones import BAD, COOL, DIM, GOOD, WARN

QUIET = DIM
ROLE_LETTER = {"housekeeping": "H", "isolated": "I", "rx": "R", "tx": "T", "app": "A", "general": "G"}
ROLE_TONE = {"isolated": GOOD, "app": GOOD, "rx": COOL[2], "tx": COOL[2]}

# Tones as one byte each; a drawing turns them into names.
NAMES = (QUIET, *COOL, WARN, BAD, GOOD, "")
_QUIET, _WARN, _BAD = 0, 5, 6
_WORK = bytes([_QUIET, *(1 + (level - 1) // 2 for level in range(1, TOP + 1))]).ljust(256, b"\0")
_LOSS = bytes([_QUIET, *[_BAD] * TOP]).ljust(256, b"\0")
_FAULT = bytes([_QUIET, _BAD]).ljust(256, b"\0")
_TICK = bytes([_QUIET, _WARN]).ljust(256, b"\0")
_WORST = bytes([_QUIET, _WARN, _BAD, _BAD]).ljust(256, b"\0")


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure per core: ``name`` fits a label, ``title`` says it whole, ``top`` is where its scale ends."""

    name: str
    title: str
    top: float
    value: Callable[[CoreSample], float]


METRICS = (
    Metric("intr/s", "interruptions per second", 20_000.0, attrgetter("interruptions_per_s")),
    Metric("dev/s", "device interrupts per second", 20_000.0, attrgetter("device_per_s")),
    Metric("drop/s", "packets dropped at the softnet backlog per second", 1_000.0, attrgetter("backlog_drops_per_s")),
    Metric("busy %", "busy per cent", 100.0, attrgetter("busy_percent")),
    Metric("soft/s", "softirqs per second", 20_000.0, attrgetter("softirqs_per_s")),
    Metric("ipi/s", "inter-processor interrupts per second", 5_000.0, attrgetter("ipi_per_s")),
    Metric("tick/s", "timer ticks per second", 1_000.0, attrgetter("timer_per_s")),
    Metric("pkts/s", "packets per second", 1_000_000.0, attrgetter("packets_per_s")),
)
INTR, DEV, DROP, _BUSY, SOFT, IPIS, TICK, _PKTS = METRICS


def tones(metric: Metric, of_levels: bytes, values: Sequence[float], reserved: bytes, ticks: Sequence[float] = ()) -> bytes:
    """The tone of each core, as its place in ``NAMES``.

    Args:
        metric: the figure.
        of_levels: the level of each core.
        values: the figure of each core.
        reserved: 0xff for each core that is reserved, else 0.
        ticks: timer ticks per second of each core; for interruptions only, since a tick that nobody stopped is no fault.
    """
    if metric is DROP:
        return of_levels.translate(_LOSS)
    work = of_levels.translate(_WORK)
    if not any(reserved):
        return work
    if metric in (DEV, IPIS, SOFT):
        judged = _over(values, DISTURBED_PER_S).translate(_FAULT)
    elif metric is TICK:
        judged = _above(values, TICKING_PER_S).translate(_TICK)
    elif metric is INTR:
        fault = _number(_over(map(sub, values, ticks), DISTURBED_PER_S))
        judged = (2 * fault + _number(_above(ticks, TICKING_PER_S))).to_bytes(len(work), "little").translate(_WORST)
    else:
        return work
    where = _number(reserved)
    return (_number(work) & ~where | _number(judged) & where).to_bytes(len(work), "little")


def _over(values: Iterable[float], limit: float) -> bytes:
    """1 for each value that is at least ``limit``, else 0."""
    return bytes(map(bisect_right, repeat((limit,)), values))


def _above(values: Iterable[float], limit: float) -> bytes:
    """1 for each value that is more than ``limit``, else 0."""
    return bytes(map(bisect_left, repeat((limit,)), values))


def _number(of_bytes: bytes) -> int:
    return int.from_bytes(of_bytes, "little")


class Figures:
    """Figures, levels and tones of all cores of a sample, each made when it is first asked for.

    Args:
        cores: of the sample.
        former: of the sample before: what did not change is taken from there, as the same objects.
    """

    def __init__(self, cores: Sequence[CoreSample], former: "Figures | None" = None) -> None:
        self.cores = cores
        self.reserved = bytes(0xFF if core.role in RESERVED else 0 for core in cores)
        self.former = former if former is not None and former.reserved == self.reserved else None
        if self.former is not None:
            self.reserved = self.former.reserved
            self.former.former = None
        self.of_values: dict[str, list[float]] = {}
        self.of_levels: dict[str, bytes] = {}
        self.of_tones: dict[str, bytes] = {}

    def values(self, metric: Metric) -> list[float]:
        """The figure of each core."""
        found = self.of_values.get(metric.name)
        if found is None:
            found = list(map(metric.value, self.cores))
            former = self.former
            if former is not None and former.of_values.get(metric.name) == found:
                found = former.of_values[metric.name]
                if metric.name in former.of_levels:
                    self.of_levels[metric.name] = former.of_levels[metric.name]
                if metric.name in former.of_tones and metric is not INTR:
                    self.of_tones[metric.name] = former.of_tones[metric.name]
            self.of_values[metric.name] = found
        return found

    def levels(self, metric: Metric) -> bytes:
        """The level of each core: 0 to 8."""
        values = self.values(metric)
        found = self.of_levels.get(metric.name)
        if found is None:
            found = self.of_levels[metric.name] = levels(values, metric.top)
        return found

    def tones(self, metric: Metric) -> bytes:
        """The tone of each core."""
        of_levels = self.levels(metric)
        found = self.of_tones.get(metric.name)
        if found is None:
            ticks = self.values(TICK) if metric is INTR else ()
            found = self.of_tones[metric.name] = tones(metric, of_levels, self.values(metric), self.reserved, ticks)
        return found

    def faults(self) -> bytes:
        """The tone of each core as a whole: bad, warn, or quiet."""
        return bytes(map(max, zip(self.tones(DROP), _only_faults(self.tones(INTR)), strict=True)))


def _only_faults(of_tones: bytes) -> bytes:
    return of_tones.translate(_FAULTS)


_FAULTS = bytes(code if code in (_WARN, _BAD) else _QUIET for code in range(len(NAMES))).ljust(256, b"\0")


def tone_of(core: CoreSample, metric: Metric) -> str:
    """The tone of one figure of one core."""
    figures = Figures((core,))
    return NAMES[figures.tones(metric)[0]]


def why(core: CoreSample) -> str:
    """What stands out on a core, in words: who interrupts it most, where nothing is wrong."""
    found = of_core(core)
    return found[0].sentence if found else core.top_cause


def verdict(role: str, label: str, per_s: float, total: int) -> tuple[str, str]:
    """What a row of /proc/interrupts is on a core of this role: a word, and its tone.

    ``BREAK`` is against the policy of the core, ``rare`` is less than one a second of it, ``was`` stands still now, ``may``
    never came but has the core as its target, ``tick`` is a tick that runs, ``info`` is nobody's fault, ``ok`` is as it should.
    """
    if role not in RESERVED:
        return "ok", QUIET
    if label in TIMER:
        return ("tick", WARN) if per_s > TICKING_PER_S else ("ok", QUIET)
    if not label.isdigit() and label not in IPI:
        return "info", QUIET
    if per_s >= DISTURBED_PER_S:
        return "BREAK", BAD
    if per_s > 0:
        return "rare", WARN
    return ("was", QUIET) if total else ("may", WARN)


__all__ = [
    "DEV", "DISTURBED_PER_S", "DROP", "INTR", "IPIS", "METRICS", "NAMES", "QUIET", "RESERVED", "ROLE_LETTER", "ROLE_TONE",
    "SOFT", "TICK", "TICKING_PER_S", "Figures", "Metric", "tone_of", "tones", "verdict", "weight", "why",
]  # fmt: skip
