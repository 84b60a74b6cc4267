"""The overview's alerts: what is open, the newest first, where it is seen, and whether a profile has a remedy."""

import math
import time
from itertools import islice

from ingest.sample import Event, Sample
from ui.app.flow.remedies import Remedy, remedy
from ui.app.state.event_log import GRAVITY, Matter
from ui.app.state.event_places import way_to
from ui.app.state.model import Model, Pointed
from ui.app.widgets.kept import Kept
from ui.app.widgets.lines import Line
from ui.app.widgets.table import Column, LiveTable, Row, Value
from ui.app.widgets.tones import BAD, DIM, HEAD, WARN
from ui.keys import SCREENS, Screen

_TONES = {"crit": BAD, "warn": WARN}
WIDE = 130
_ASKED_AGAIN = 20  # samples after which a remedy is asked for again


class Alerts:
    """The panel."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.table = LiveTable()
        self._open: dict[str, Matter] = {}
        self._remedies: dict[str, tuple[Event, int, Remedy | None]] = {}
        self._kept = Kept()
        self._wide = False
        self._key: tuple[object, ...] = ()

    def take(self, sample: Sample, width: int, most: int) -> None:
        """At most so many of what is open now and nobody acknowledged. While the view is paused, what was open then."""
        log = self.model.matters()
        then = sample.time_s if self.model.paused else math.inf
        key = (log.generation, sample.sequence // _ASKED_AGAIN, then, most, width >= WIDE)
        if key == self._key:
            return
        self._key, self._wide = key, width >= WIDE
        open_ones = (each for each in log.matters if _alarming(each, then))
        self._open = {matter.key: matter for matter in islice(open_ones, most)}
        self._remedies = {name: made for name, made in self._remedies.items() if name in self._open}
        self.table.take([self._row(sample, matter) for matter in self._open.values()])

    def _row(self, sample: Sample, matter: Matter) -> Row:
        event, found = matter.event, self._remedy(sample, matter)
        clock = time.strftime("%H:%M:%S", time.localtime(matter.time_s))
        see = f"{SCREENS.index(_way(sample, matter)[0]) + 1} to see it"
        if self._wide:
            ends: tuple[str, ...] = (f"f {found.title}" if found is not None else "", see)
        else:
            ends = ((f"f  {see[:-3]}" if found is not None else see),)
        values: dict[str, Value] = {"level": matter.level, "where": event.where, "what": event.what, "time_s": matter.time_s}
        cells = (matter.level.upper(), clock, event.where, event.what, *ends)
        return Row(matter.key, cells, _TONES.get(matter.level, ""), values)

    def _remedy(self, sample: Sample, matter: Matter) -> Remedy | None:
        known = self._remedies.get(matter.key)
        turn = sample.sequence // _ASKED_AGAIN
        if known is not None and known[0] is matter.event and known[1] == turn:
            return known[2]
        found = remedy(sample, _point(sample, matter))
        self._remedies[matter.key] = (matter.event, turn, found)
        return found

    def pointed(self, sample: Sample) -> Pointed:
        """What the cursor is on."""
        row = self.table.selected
        return _point(sample, self._open[row.key]) if row is not None and row.key in self._open else Pointed()

    def lines(self, width: int, height: int, active: bool, *, titled: bool) -> list[Line]:
        """The alerts, below a title where there is room for one."""
        if height < 1:
            return []
        columns = [Column("", 4), Column("", 8), Column("", 20 if self._wide else 9), Column("", 0)]
        columns += [Column("", min(40, width // 5)), Column("", 11)] if self._wide else [Column("", 13, True)]
        room = height - titled
        shown = self.table.lines(columns, width, room + 1, active, more=room > 3)[1:]
        if not self.table.rows:
            shown = [self._kept.text("none", ((" no alert is open", DIM),), width)]
        count = f"alerts, {len(self.table.rows)} open" if self.table.rows else "alerts"
        return [*([self._kept.rule("title", count, width, HEAD if active else DIM)] if titled else []), *shown][:height]


def _alarming(matter: Matter, then_s: float) -> bool:
    """Whether it was open at a time, and nobody has acknowledged it."""
    over = 0 < matter.over_s <= then_s
    return not over and not matter.acknowledged and GRAVITY.get(matter.level, 0) > 0 and matter.time_s <= then_s


def _way(sample: Sample, matter: Matter) -> tuple[Screen, str, str]:
    return way_to(matter.place, sample) or ("events", "event", matter.key)


def _point(sample: Sample, matter: Matter) -> Pointed:
    event = matter.event
    words = f"{matter.level} {event.where}: {event.what}"
    return Pointed("event", matter.key, words, "quietcore status", _way(sample, matter), event)
