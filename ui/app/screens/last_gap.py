"""The last gap of a feed: its verdict, what else was lost in the same seconds, and the way to the likely cause."""

import textwrap

from ui.app.screens.event_detail import clock
from ui.app.state.event_log import GAP_LATE_S, GRAVITY, TOGETHER_S, EventLog, Matter
from ui.app.state.event_places import way_to
from ui.app.state.model import Model
from ui.app.widgets.lines import Line, cut, rule, seg
from ui.app.widgets.ramp import short
from ui.app.widgets.tones import BAD, DIM, HEAD, TONES, WARN
from ui.keys import Screen

Way = tuple[Screen, str, str]
_INDENT = "            "
_REMEMBERED = 32


class LastGap:
    """Finds it in the log, and draws it: the same lines as long as nothing about it changed."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._kind: tuple[object, ...] = ()
        self._lines: list[Line] = []
        self._lost: dict[str, tuple[tuple[str, float], ...]] = {}

    def of(self, feed: str = "") -> Matter | None:
        """The newest matter of a feed, or of any, that is more than a word."""
        log = self.model.matters()
        return next((each for each in log.matters if _is_gap(each) and feed in ("", each.place.feed)), None)

    def lines(self, matter: Matter | None, width: int, height: int) -> list[Line]:
        """A title, the verdict, and what was lost in the same seconds."""
        log = self.model.log
        lost = self.lost_with(matter) if matter is not None else ()
        kind = (matter.key if matter is not None else "", log.generation, width, height, TONES.generation, lost)
        if kind != self._kind:
            self._kind, self._lines = kind, self._made(matter, log, width, height, lost)[:height]
        return self._lines

    def _made(
        self, matter: Matter | None, log: EventLog, width: int, height: int, lost: tuple[tuple[str, float], ...]
    ) -> list[Line]:
        if matter is None:
            return [rule("last gap", width), (seg(" none since this was opened"[:width], DIM),)]
        tone = DIM if matter.over_s else BAD if matter.level == "crit" else WARN
        linked = [f"{each.event.where}: {each.event.what}" for each in log.linked(matter)]
        linked = linked or [f"{nic} dropped up to {short(per_s)}/s" for nic, per_s in lost]
        room = max(1, height - 1 - min(2, len(linked)))
        told = textwrap.wrap(f"{clock(matter.time_s)} {matter.event.where}: {matter.event.what}", max(20, width - 4))
        lines: list[Line] = [rule("last gap", width)]
        lines += [cut((seg(f"{'!' if not place else ' '} {line}", tone),), width) for place, line in enumerate(told[:room])]
        for place, words in enumerate(linked[:2]):
            key = (seg("   c to go there", HEAD),) if not place else ()
            text = f"{'  same time: ' if not place else '  ' + _INDENT[:11]}{words}"
            lines.append(cut((*cut((seg(text),), min(len(text) + 1, width - 16)), *key), width))
        return lines

    def lost_with(self, matter: Matter) -> tuple[tuple[str, float], ...]:
        """Interfaces that dropped packets in the seconds before a gap was told, the most first: from the histories.

        Remembered, since histories forget.
        """
        known = self._lost.get(matter.key)
        sample, history = self.model.sample, self.model.history
        if known or sample is None:
            return known or ()
        ago_s = sample.time_s - matter.time_s
        if ago_s < 0:
            return ()
        span_s = 2 * TOGETHER_S + GAP_LATE_S
        seen = {nic.name: max(history.before("drops", nic.name, ago_s, span_s), default=0.0) for nic in sample.nics}
        found = tuple(sorted(((nic, most) for nic, most in seen.items() if most > 0), key=lambda each: -each[1]))
        while len(self._lost) >= _REMEMBERED:
            del self._lost[next(iter(self._lost))]
        self._lost[matter.key] = found
        return found

    def cause(self, matter: Matter) -> tuple[Way, str] | None:
        """Where the likely cause is shown, and what it is in words."""
        for linked in self.model.log.linked(matter):
            way = way_to(linked.place, self.model.sample)
            if way is not None and way[0] != "ingest":
                return way, f"{clock(linked.time_s)} {linked.event.where}: {linked.event.what}"
        for nic, per_s in self.lost_with(matter):
            return ("nic", "nic", nic), f"{nic} dropped up to {short(per_s)}/s at {clock(matter.time_s)}"
        return None


def _is_gap(matter: Matter) -> bool:
    return bool(matter.place.feed) and GRAVITY.get(matter.level, 0) > 0
