"""Events: what happened, what it was linked to, and what to do about it."""

import time
from collections.abc import Callable

from ui.app.screens.event_detail import EventDetail, clock
from ui.app.screens.pane import Pane
from ui.app.state.event_log import GRAVITY, LEVELS, EventLog, Matter
from ui.app.state.event_places import way_to
from ui.app.state.model import Model, Pointed
from ui.app.stream.evidence import Evidence
from ui.app.widgets.joined import Joined
from ui.app.widgets.lines import Line, cut, rule, seg
from ui.app.widgets.ramp import spark
from ui.app.widgets.table import Column, LiveTable, Row, Value
from ui.app.widgets.tones import BAD, DIM, HEAD, WARN
from ui.keys import Screen

WIDE = 130
ALL_S = 2.0  # A again within it: all of them
_TONES = {"crit": BAD, "warn": WARN}
_STATES = {"open": 0, "ack": 1, "": 2, "over": 3}
Go = Callable[[Screen, str, str], None]


class EventsPane(Pane):
    """Draws the matters of the log: ``level``, ``follow`` and the panel with the cursor are what keys change.

    Args:
        model: what is shown.
        evidence: knows the file of an event.
        go: shows another screen, with the cursor on something.
    """

    name: Screen = "events"

    def __init__(self, model: Model, evidence: Evidence, go: Go) -> None:
        super().__init__(model)
        self.evidence, self.go = evidence, go
        self.level = 0  # the least that is listed, as a place in LEVELS
        self.follow = True
        self.panel = 0  # the list, or the selected event
        self.table = LiveTable(
            (("newest first", "", False), ("gravest first", "gravity", True), ("by place", "where", False),
             ("open first", "rank", False))
        )  # fmt: skip
        self.detail = EventDetail(model, evidence)
        self._rows: dict[str, tuple[tuple[object, ...], Row]] = {}
        self._taken: tuple[object, ...] = ()
        self._joined = Joined()
        self._acknowledged_s = -ALL_S

    # drawing

    def draw(self, width: int, height: int) -> list[Line]:
        """See Pane."""
        log = self.model.matters()
        self._take(log)
        head = self._head(log, width)
        if self.zoomed and self.panel:
            return [head, *self.detail.lines(self._selected(log), width, height - 1, True)]
        if self.zoomed:
            return [head, *self._list(width, height - 1)]
        foot = _minutes(self.model, log, width) if height >= 27 else []
        room = height - 1 - len(foot)
        if width >= WIDE:
            left = max(80, width * 5 // 8)
            detail = self.detail.lines(self._selected(log), width - left - 1, room, bool(self.panel))
            return [head, *self._joined.rows(self._list(left, room), detail, left, width, room), *foot]
        below = min(12, max(7, height // 3))
        lines = self._list(width, room - below)
        lines += [()] * (room - below - len(lines))
        return [head, *lines, *self.detail.lines(self._selected(log), width, below, bool(self.panel)), *foot]

    def _list(self, width: int, height: int) -> list[Line]:
        columns = [
            Column("time", 9, True, "time"), Column("level", 5, False, "level"),
            Column("where", 14 if width < 90 else 20, False, "where"), Column("what", 0, False, "what"),
            Column("state", 5, False, "state"),
        ]  # fmt: skip
        lines = self.table.lines(columns, width, height, active=not self.panel)
        if not self.table.rows:
            words = " nothing matches" if self.table.total else " nothing happened since this was opened"
            lines.append((seg(words[:width], DIM),))
        return lines

    def _head(self, log: EventLog, width: int) -> Line:
        words = f" Events   level >= {LEVELS[self.level]}   "
        rest = f"   {log.total} in all   follow {'on' if self.follow else 'off'}   {self.table.order_name}"
        if self.filter.text:
            rest += f"   filter {self.filter.text}"
        if self.model.recorder:
            rest += f"   {self.model.recorder}"
        return cut((seg(words, HEAD), seg(f"{log.open} open", WARN if log.open else ""), seg(rest)), width)

    def _take(self, log: EventLog) -> None:
        """The matters as rows, where anything about them changed."""
        kind = (log.generation, self.filter, self.level, self.table.order, self.table.reversed, self.follow)
        if kind == self._taken:
            return
        fresh = log.generation != (self._taken[0] if self._taken else -1)
        self._taken = kind
        former, self._rows = self._rows, {}
        rows = [self._row(each, former) for each in log.matters if GRAVITY.get(each.level, 0) >= self.level]
        matches = self.filter.matches
        self.table.take(rows, (lambda row: matches(row.values)) if self.filter.text else None)
        if self.follow and fresh and self.table.rows:
            newest = max(self.table.rows, key=lambda row: float(row.values["time_s"] or 0))
            self.table.select(newest.key)

    def _row(self, matter: Matter, former: dict[str, tuple[tuple[object, ...], Row]]) -> Row:
        looks = matter.times, matter.level, matter.state
        known = former.get(matter.key)
        row = known[1] if known is not None and known[0] == looks else _made(matter)
        self._rows[matter.key] = looks, row
        return row

    def _selected(self, log: EventLog) -> Matter | None:
        return log.matter(self.table.cursor_key)

    # keys

    def tables(self) -> tuple[LiveTable, ...]:
        """See Pane."""
        return (self.table,)

    def move(self, rows: int, columns: int) -> None:
        """Moves the cursor; from then on it stays with its event."""
        super().move(rows, columns)
        self.follow = False

    def focus(self, kind: str, key: str) -> None:
        """See Pane."""
        del kind
        self.follow = False
        matter = self.model.matters().named(key)
        if matter is not None and GRAVITY.get(matter.level, 0) < self.level:
            self.level = 0
        self._take(self.model.matters())
        self.table.select(matter.key if matter is not None else key)

    def pointed(self) -> Pointed:
        """See Pane."""
        matter = self._selected(self.model.matters())
        return self.detail.pointed(matter) if matter is not None else Pointed()

    def do_level(self) -> None:
        """The next least level."""
        self.level = (self.level + 1) % len(LEVELS)

    def do_follow(self) -> None:
        """Keeps the newest selected, or lets it be."""
        self.follow = not self.follow
        if self.follow and self.table.rows:
            self.table.select(max(self.table.rows, key=lambda row: float(row.values["time_s"] or 0)).key)

    def do_next_panel(self) -> None:
        """The list, or the selected event."""
        self.panel = 1 - self.panel

    def do_acknowledge(self) -> None:
        """Acknowledges the selected event; twice within two seconds: all of them."""
        log, now = self.model.matters(), time.monotonic()
        if now - self._acknowledged_s < ALL_S:
            done = log.acknowledge(log.matters)
            self._acknowledged_s = -ALL_S
            self.model.tell(f"all acknowledged: {done} more")
            return
        self._acknowledged_s = now
        matter = self._selected(log)
        done = log.acknowledge([matter]) if matter is not None else 0
        self.model.tell("acknowledged; A again: all of them" if done else "it does not wait for anybody; A again: all that do")

    def do_linked(self) -> None:
        """To what is linked to the selected event, on its own screen."""
        log = self.model.matters()
        matter = self._selected(log)
        for linked in log.linked(matter) if matter is not None else ():
            way = way_to(linked.place, self.model.sample)
            if way is not None:
                self.go(*way)
                self.model.tell(f"{clock(linked.time_s)} {linked.event.where}: {linked.event.what}")
                return
        self.model.tell("nothing is linked to this one", WARN)


def _made(matter: Matter) -> Row:
    event, place = matter.event, matter.place
    what = f"{event.what} ({matter.times} times)" if matter.times > 2 else event.what
    level = matter.level.upper() if matter.level in _TONES else matter.level
    tone = _TONES.get(matter.level, "") if matter.state == "open" else DIM if matter.state == "over" else ""
    values: dict[str, Value] = {
        "time": clock(matter.time_s), "time_s": matter.time_s, "level": matter.level, "gravity": GRAVITY.get(matter.level, 0),
        "where": event.where, "what": event.what, "state": matter.state, "rank": _STATES[matter.state],
        "times": matter.times, "core": place.cpu, "irq": place.irq, "nic": place.nic, "queue": place.queue, "feed": place.feed,
        "over": matter.over,
    }  # fmt: skip
    return Row(matter.key, (clock(matter.time_s), level, event.where, what, matter.state), tone, values)


def _minutes(model: Model, log: EventLog, width: int) -> list[Line]:
    """Events per minute up to the time that is shown."""
    until_s = model.sample.time_s if model.sample is not None else 0.0
    minutes = min(240, width - 4)
    counts = log.per_minute(until_s, minutes)
    title = f"events per minute, last {minutes} min, at most {max(counts, default=0)}"
    return [rule(title, width), (seg("  "), seg(spark(counts, minutes), WARN if any(counts) else DIM))]
