"""The overview's alerts: what is open, the newest first, where it is seen, and whether a profile has a remedy."""

import time
from collections.abc import Iterable

from ingest.sample import Event, Sample
from ui.app.losses import key_of
from ui.app.model import Model, Pointed
from ui.app.remedies import Remedy, remedy
from ui.app.widgets.kept import Kept
from ui.app.widgets.lines import Line
from ui.app.widgets.table import Column, LiveTable, Row, Value
from ui.app.widgets.tones import BAD, DIM, HEAD, WARN
from ui.keys import SCREENS, Screen

_TONES = {"crit": BAD, "warn": WARN}
WIDE = 130
_ASKED_AGAIN = 20  # samples after which a remedy is asked for again


def opened(events: Iterable[tuple[float, Event]]) -> list[tuple[float, Event]]:
    """What is not over, of events newest first: a matter once, with the newest word of it; information is no alert."""
    found, seen = [], set()
    for time_s, event in events:
        key = event.key
        if key:
            if key in seen:
                continue
            seen.add(key)
        if event.level != "info" and not event.ended:
            found.append((time_s, event))
    return found


def goes_to(event: Event, sample: Sample) -> tuple[Screen, str, str]:
    """The screen that shows what an event is about, and on what the cursor belongs there."""
    irq, cpu = event.irq, event.cpu
    nic, queue = event.nic, event.queue
    feed, counter = event.feed, event.counter
    if irq:
        return "irqs", "irq", irq
    if feed:
        return "ingest", "feed", feed
    if nic or event.where in {each.name for each in sample.nics}:
        nic = nic or event.where
        if queue is not None:
            return "nic", "queue", f"{nic}/{queue}"
        loss = next((row for row in sample.losses if counter and row.counter == counter and row.where == nic), None)
        return ("nic", "loss", key_of(loss)) if loss is not None else ("nic", "nic", nic)
    word, _, number = event.where.partition(" ")
    if cpu is None and word.lower() in ("cpu", "core") and number.isdigit():
        cpu = int(number)
    if cpu is not None:
        return "core", "core", str(cpu)
    return "events", "event", key_of_event(event)


def key_of_event(event: Event) -> str:
    """What an event is called among screens: its own key, else its place and words."""
    return event.key or f"{event.where} {event.what}"


class Alerts:
    """The panel."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.table = LiveTable()
        self._open: dict[str, tuple[float, Event]] = {}
        self._remedies: dict[str, tuple[Event, int, Remedy | None]] = {}
        self._kept = Kept()
        self._wide = False
        self._key: tuple[object, ...] = ()

    def take(self, sample: Sample, width: int, most: int) -> None:
        """At most so many of what is open now. While the view is paused, what was open then."""
        events: Iterable[tuple[float, Event]] = self.model.events
        if self.model.paused:
            events = [each for each in events if each[0] <= sample.time_s]
        newest = self.model.events[0] if self.model.events else None
        then = sample.time_s if self.model.paused else 0.0
        key = (newest, len(self.model.events), sample.sequence // _ASKED_AGAIN, then, most, width >= WIDE)
        if key == self._key:
            return
        self._key, self._wide, self._open = key, width >= WIDE, {}
        for at, (time_s, event) in enumerate(opened(events)):
            if at >= most:
                break
            self._open.setdefault(f"{time_s:.3f} {event.where} {event.what}", (time_s, event))
        self._remedies = {name: made for name, made in self._remedies.items() if name in self._open}
        self.table.take([self._row(sample, name, time_s, event) for name, (time_s, event) in self._open.items()])

    def _row(self, sample: Sample, name: str, time_s: float, event: Event) -> Row:
        screen = goes_to(event, sample)[0]
        found = self._remedy(sample, name, event)
        clock = time.strftime("%H:%M:%S", time.localtime(time_s))
        see = f"{SCREENS.index(screen) + 1} to see it"
        if self._wide:
            ends: tuple[str, ...] = (f"f {found.title}" if found is not None else "", see)
        else:
            ends = ((f"f  {see[:-3]}" if found is not None else see),)
        values: dict[str, Value] = {"level": event.level, "where": event.where, "what": event.what, "time_s": time_s}
        cells = (event.level.upper(), clock, event.where, event.what, *ends)
        return Row(name, cells, _TONES.get(event.level, ""), values)

    def _remedy(self, sample: Sample, name: str, event: Event) -> Remedy | None:
        known = self._remedies.get(name)
        turn = sample.sequence // _ASKED_AGAIN
        if known is not None and known[0] is event and known[1] == turn:
            return known[2]
        found = remedy(sample, self._point(sample, event))
        self._remedies[name] = (event, turn, found)
        return found

    def _point(self, sample: Sample, event: Event) -> Pointed:
        words = f"{event.level} {event.where}: {event.what}"
        return Pointed("event", key_of_event(event), words, "quietcore status", goes_to(event, sample), event)

    def pointed(self, sample: Sample) -> Pointed:
        """What the cursor is on."""
        row = self.table.selected
        return self._point(sample, self._open[row.key][1]) if row is not None and row.key in self._open else Pointed()

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
