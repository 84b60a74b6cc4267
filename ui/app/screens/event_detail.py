"""One event: what, how it was in the minute before, what is linked, what to try, and the file that was kept of it."""

import os
import shlex
import textwrap
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise

from ui.app.flow.remedies import Remedy, remedy
from ui.app.state.event_log import Matter
from ui.app.state.event_places import Place, way_to
from ui.app.state.history import History
from ui.app.state.model import Model, Pointed
from ui.app.stream.evidence import Evidence
from ui.app.widgets.lines import Line, cut, rule, seg
from ui.app.widgets.ramp import short, spark
from ui.app.widgets.tones import BAD, DIM, HEAD, TONES, WARN

_BEFORE_S = 60.0
_REMEMBERED = 64  # events whose minute before is remembered, since histories forget
_TRY_S = 2.0  # what to try is asked again after so much of the samples' time
_LABEL = 11
_OF_CORE = (("intr/s", "interruptions/s"), ("busy %", "busy per cent"), ("drop/s", "backlog drops/s"))
_OF_NIC = (("rx", "packets/s"), ("drops", "drops/s"))
_OF_FEED = (("feed_rate", "numbers/s"), ("feed_lost", "missing/s"))

Figures = tuple[tuple[str, tuple[float, ...]], ...]


class EventDetail:
    """Draws what is known of one matter; the same lines as long as nothing about it changed."""

    def __init__(self, model: Model, evidence: Evidence) -> None:
        self.model, self.evidence = model, evidence
        self._figures: dict[str, Figures] = {}
        self._tried: tuple[str, float, Remedy | None] = ("", 0.0, None)
        self._kind: tuple[object, ...] = ()
        self._lines: list[Line] = []

    def lines(self, matter: Matter | None, width: int, height: int, active: bool) -> list[Line]:
        """The panel: a title and what is known, ``height`` lines at most."""
        if matter is None:
            return [rule("no event is selected", width)]
        advice, file = self._advice(matter), self.evidence.file_of(matter.time_s, matter.event.where)
        log = self.model.log
        kind = (matter.key, log.generation, width, height, active, file, advice, TONES.generation, self._before(matter))
        if kind != self._kind:
            self._kind, self._lines = kind, self._made(matter, width, advice, file, active)[:height]
        return self._lines

    def _made(self, matter: Matter, width: int, advice: Remedy | None, file: str, active: bool) -> list[Line]:
        event = matter.event
        title = f"{clock(matter.time_s)} {matter.level.upper()} {event.where}"
        lines: list[Line] = [rule(title, width, HEAD if active else DIM)]
        lines += _told("what", event.what, width, BAD if matter.level == "crit" else WARN if matter.level == "warn" else "")
        if matter.over:
            lines += _told("over", f"{clock(matter.over_s)} {matter.over}", width)
        elif matter.times > 1:
            lines += _told("told", f"{matter.times} times, last at {clock(matter.last_s)}", width)
        lines += _before(self._before(matter), width)
        for place, linked in enumerate(self.model.log.linked(matter)[:8]):
            words = f"{clock(linked.time_s)} {linked.event.where}: {linked.event.what}"
            lines += _told("" if place else "linked", words, width, limit=1 if place else 2)
        if advice is not None:
            lines += _told("try", f"{advice.title}   f to plan it", width)
            lines += _told("", advice.because, width, DIM) if advice.because else []
        if file:
            lines += _told("evidence", f"quietcore replay {_short_of_home(shlex.quote(file))}", width)
        return lines

    def pointed(self, matter: Matter) -> Pointed:
        """It as what the cursor is on."""
        event, sample = matter.event, self.model.sample
        file = self.evidence.file_of(matter.time_s, event.where)
        command = f"quietcore replay {shlex.quote(file)}" if file else "quietcore watch"
        words = f"{clock(matter.time_s)} {matter.level} {event.where}: {event.what}"
        return Pointed("event", matter.key, words, command, way_to(matter.place, sample), event)

    def _advice(self, matter: Matter) -> Remedy | None:
        sample = self.model.sample
        if sample is None:
            return None
        key, asked_s, known = self._tried
        if key == matter.key and abs(sample.time_s - asked_s) < _TRY_S:
            return known
        found = remedy(sample, self.pointed(matter))
        self._tried = matter.key, sample.time_s, found
        return found

    def _before(self, matter: Matter) -> Figures:
        """The figures of the minute before it, where histories reach back so far; remembered, since they do not for long."""
        known = self._figures.get(matter.key)
        sample, history = self.model.sample, self.model.history
        if known or sample is None:
            return known or ()
        ago_s = sample.time_s - matter.time_s
        if ago_s < 0:
            return ()
        place = matter.place
        kept = [(title, history.before(kind, name, ago_s, _BEFORE_S)) for kind, name, title in _kept_of(place)]
        if place.cpu is not None:
            kept += [(title, _of_core(history, place.cpu, kind, ago_s)) for kind, title in _OF_CORE]
        found = tuple((title, tuple(values)) for title, values in kept if values)
        while len(self._figures) >= _REMEMBERED:
            del self._figures[next(iter(self._figures))]
        self._figures[matter.key] = found
        return found


def _kept_of(place: Place) -> Iterable[tuple[str, str, str]]:
    if place.nic:
        yield from ((kind, place.nic, title) for kind, title in _OF_NIC)
    if place.feed:
        yield from ((kind, place.feed, title) for kind, title in _OF_FEED)


def _of_core(history: History, cpu: int, metric: str, ago_s: float) -> list[float]:
    """A core's minute, in the columns that histories have just now."""
    each_s = max(history.column_s, history.interval_s)
    after, columns = round(ago_s / each_s), max(1, round(_BEFORE_S / each_s))
    values = history.core_values(cpu, metric, after + columns)
    return values[max(0, len(values) - after - columns) : len(values) - after]


def _before(figures: Figures, width: int) -> list[Line]:
    """A line for each figure: how it went, the end on the right, and its span."""
    room = max(8, min(60, width - _LABEL - 34))
    lines: list[Line] = []
    for place, (title, values) in enumerate(figures):
        label = f"  {'before' if not place else '':<{_LABEL - 2}}"
        words = f"{title:<16}{short(min(values)):>6} to {short(max(values)):<6} "
        lines.append(cut((seg(label, DIM), seg(words), seg(spark(_shrunk(values, room), room), "cool2")), width))
    return lines


def _shrunk(values: Sequence[float], columns: int) -> list[float]:
    """The highest of so many parts of equal length."""
    if len(values) <= columns:
        return list(values)
    cuts = [len(values) * n // columns for n in range(columns + 1)]
    return [max(values[start:end]) for start, end in pairwise(cuts)]


def _told(label: str, words: str, width: int, tone: str = "", limit: int = 4) -> list[Line]:
    parts = textwrap.wrap(words, max(10, width - _LABEL - 1), break_on_hyphens=False)[:limit] or [""]
    return [
        cut((seg(f"  {label if not place else '':<{_LABEL - 2}}", DIM), seg(part, tone)), width)
        for place, part in enumerate(parts)
    ]


def _short_of_home(path: str) -> str:
    home = os.path.expanduser("~") + "/"
    return "~/" + path.removeprefix(home) if path.startswith(home) else path


def clock(time_s: float) -> str:
    """The local time of day, ``10:42:07``; nothing where there is none that a calendar has."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(time_s))
    except (OverflowError, OSError, ValueError):
        return "-"
