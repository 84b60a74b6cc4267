"""A recording in a few lines: of whom and when, the cores that were interrupted most, what was lost, what happened."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from ingest.blocks import Header
from ingest.sample import CoreSample, Event, LossSample, Sample
from ingest.stages import LOSS
from tuner.host.text import printable
from ui.cli.moments import time_text
from ui.cli.table import table

_CORES = 8
_LOSSES = 12
_EVENTS = 20
_Row = tuple[int, str, str, str]


@dataclass(slots=True)
class _Core:
    """One CPU over the time. ``worst`` is its sample with the most interruptions, ``worst_s`` when that was."""

    worst: CoreSample
    worst_s: float
    interruptions: float = 0.0  # per second, times the seconds that it held
    busy: float = 0.0


@dataclass(slots=True)
class _Told:
    """What is to be said, gathered sample by sample: an hour of them need not fit into memory."""

    count: int = 0
    seconds: float = 0.0  # that the rates are of
    first_s: float = 0.0
    last_s: float = 0.0
    profile: str = ""
    cores: dict[int, _Core] = field(default_factory=dict)
    lost: Counter[_Row] = field(default_factory=Counter)
    events: "deque[tuple[float, Event]]" = field(default_factory=lambda: deque(maxlen=_EVENTS))
    event_count: int = 0
    _totals: dict[_Row, int] = field(default_factory=dict)

    def take(self, sample: Sample) -> None:
        """The next sample."""
        if not self.count:
            self.first_s = sample.time_s
        self.count += 1
        self.last_s, self.profile = sample.time_s, sample.profile
        self.seconds += sample.interval_s
        for core in sample.cores:
            known = self.cores.get(core.cpu)
            if known is None:
                known = self.cores[core.cpu] = _Core(core, sample.time_s)
            elif core.interruptions_per_s > known.worst.interruptions_per_s:
                known.worst, known.worst_s = core, sample.time_s
            known.interruptions += core.interruptions_per_s * sample.interval_s
            known.busy += core.busy_percent * sample.interval_s
        for row in sample.losses:
            self._lose(row)
        self.event_count += len(sample.events)
        self.events.extend((sample.time_s, event) for event in sample.events)

    def _lose(self, row: LossSample) -> None:
        if row.kind != LOSS or not row.visible:
            return
        key = row.stage, row.name, row.where, row.counter
        self.lost[key] += max(0, row.total - self._totals.get(key, row.total))
        self._totals[key] = row.total


def summary_text(header: Header, samples: Iterable[Sample], cut: str) -> str:
    """The summary; reads all of the samples."""
    told = _Told()
    for sample in samples:
        told.take(sample)
    return "\n\n".join(part for part in (_head(header, told, cut), _cores(told), _losses(told), _events(told)) if part)


def _head(header: Header, told: _Told, cut: str) -> str:
    kind = "  SIMULATED" if header.source == "simulated" else ""
    days = "%H:%M:%S" if time_text(told.first_s, "%F") == time_text(told.last_s, "%F") else "%Y-%m-%d %H:%M:%S"
    return "\n".join(
        [
            f"{printable(header.host)}  Linux {printable(header.kernel)}{kind}",
            f"{time_text(told.first_s)} to {time_text(told.last_s, days)}, {told.count:,} samples",
            f"profile: {told.profile or 'none was active'}",
            f"the recording is {'not whole: ' + cut if cut else 'whole'}",
        ]
    )


def _cores(told: _Told) -> str:
    """Those that were interrupted most, by role: a thousand a second are nothing on one core, and all on another."""
    seconds = told.seconds or 1.0
    worst = sorted(told.cores.values(), key=lambda core: (core.worst.role != "isolated", -core.worst.interruptions_per_s))
    rows = [
        (
            str(core.worst.cpu),
            core.worst.role,
            f"{core.worst.interruptions_per_s:.0f}",
            time_text(core.worst_s, "%H:%M:%S"),
            f"{core.worst.top_cause} {core.worst.top_cause_per_s:.0f}" if core.worst.top_cause else "-",
            f"{core.interruptions / seconds:.0f}",
            f"{core.busy / seconds:.0f}%",
        )
        for core in worst[:_CORES]
    ]
    return table(("cpu", "role", "worst/s", "at", "most of them", "mean/s", "busy"), rows, "rlrllrr") if rows else ""


def _losses(told: _Told) -> str:
    lost = [(key, count) for key, count in told.lost.most_common() if count]
    if not lost:
        return "lost: nothing that this host counts"
    rows = [(f"{key[0]:>2} {key[1]}", key[2], key[3], f"{count:,}") for key, count in lost[:_LOSSES]]
    more = [f"and {len(lost) - _LOSSES} more"] if len(lost) > _LOSSES else []
    return "\n".join([table(("lost at", "where", "counter", "lost"), rows, "lllr"), *more])


def _events(told: _Told) -> str:
    if not told.events:
        return "events: none"
    left_out = told.event_count - len(told.events)
    lines = [f"events: {told.event_count}" + (f", the last {len(told.events)}" if left_out else "")]
    lines += [
        f"  {time_text(at_s, '%H:%M:%S')}  {printable(event.level, 8):<5} {printable(f'{event.where}: {event.what}', 300)}"
        for at_s, event in told.events
    ]
    return "\n".join(lines)
