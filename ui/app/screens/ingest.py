"""Ingest: packet rings and feeds. Those that the collector reads, and a ring that this app opens in a process of its own."""

import shlex
import textwrap
from collections.abc import Callable
from operator import is_

from ingest.sample import Sample
from ui.app.feed_figures import Feed, feeds_of, number, shares_of_a
from ui.app.model import Model, Pointed, RingView
from ui.app.ring_control import RingControl
from ui.app.screens.feed_detail import drawn, feed_lines
from ui.app.screens.ingest_rows import FEED_ORDERS, OWN, RING_ORDERS, feed_columns, feed_row, ring_columns, ring_row
from ui.app.screens.last_gap import LastGap
from ui.app.screens.pane import Pane
from ui.app.widgets.joined import Joined
from ui.app.widgets.lines import Line, cut, fit, rule, seg
from ui.app.widgets.ramp import drawn as glyphs_of
from ui.app.widgets.ramp import levels, short
from ui.app.widgets.table import LiveTable
from ui.app.widgets.tones import BAD, DIM, HEAD, WARN
from ui.keys import Screen

WIDE, WIDEST = 130, 170
_RINGS, _FEEDS = 0, 1
_TOP_US, _TOP_LOST = 10_000.0, 1_000.0  # where the scales of the histories beside the tables end: always the same
Go = Callable[[Screen, str, str], None]


class IngestPane(Pane):
    """Draws rings and feeds. ``panel`` has the cursor, ``chosen`` is the interface for the app's own ring.

    Args:
        model: what is shown.
        view: what the app's own ring printed.
        ring: opens and closes it.
        go: shows another screen, with the cursor on something.
    """

    name: Screen = "ingest"

    def __init__(self, model: Model, view: RingView, ring: RingControl, go: Go) -> None:
        super().__init__(model)
        self.view, self.ring, self.go = view, ring, go
        self.chosen = 0
        self.panel = _RINGS
        self.gaps_only = False
        self.opened = ""  # the feed whose figures are all shown
        self.rings, self.feeds = LiveTable(RING_ORDERS), LiveTable(FEED_ORDERS)
        self.gap = LastGap(model)
        self._feeds: dict[str, Feed] = {}
        self._taken: tuple[object, ...] = ()
        self._joined = Joined()

    # drawing

    def draw(self, width: int, height: int) -> list[Line]:
        """See Pane."""
        sample = self.model.sample
        if sample is None:
            return []
        wide = width >= WIDEST
        left = width if width < WIDE or self.zoomed else 108 if wide else 80
        self._take(sample, left)
        feed = self._feeds.get(self.opened)
        if feed is not None:
            return feed_lines(feed, self.model.history, width, height)
        head = [self._head(sample, width), self._own(width)]
        if not self.rings.total and not self.feeds.total:
            return [*head, *self._nothing(width)]
        if self.zoomed:
            return [*head, *self._table(self.panel, width, height - 2)]
        below = 4 if height < 30 else 5
        history = self._history(width) if height >= 20 else []
        foot = [*history, *self.gap.lines(self.gap.of(), width, below)]
        lines = self._tables(left, width, height - len(head) - len(foot))
        return [*head, *lines, *foot]

    def _tables(self, left: int, width: int, height: int) -> list[Line]:
        rings, feeds = self.rings.total + 1, self.feeds.total + 1 if self.feeds.total or self.gaps_only else 0
        upper = min(rings, max(3, height // 2, height - feeds)) if feeds else height
        lines = self._table(_RINGS, left, upper)
        beside = self._ring_sparks(width - left - 1) if left < width else []
        if feeds:
            upper = len(lines)
            lines += self._table(_FEEDS, left, height - upper)
            beside += [()] * (upper - len(beside))
            beside += self._feed_sparks(width - left - 1) if left < width else []
        return self._joined.rows(lines, beside, left, width, len(lines)) if left < width else lines

    def _table(self, panel: int, width: int, height: int) -> list[Line]:
        table = self.rings if panel == _RINGS else self.feeds
        columns = ring_columns(width) if panel == _RINGS else feed_columns(width)
        lines = table.lines(columns, width, height, active=panel == self.panel)
        if not table.rows and height > 1:
            words = "nothing matches" if table.total else "no ring is open" if panel == _RINGS else "no feed misses anything"
            lines.append((seg(f" {words}"[:width], DIM),))
        return lines

    def _head(self, sample: Sample, width: int) -> Line:
        if not sample.rings:
            words = " Ingest   no ring beside the collector   quietcore --ring packet:IF --feed FORMAT reads one"
            return cut((seg(words, HEAD),), width)
        names = list(dict.fromkeys(str(ring.get("interface", "?")) for ring in sample.rings))
        closed = [str(ring.get("interface", "?")) for ring in sample.rings if not ring.get("open", True)]
        seconds = max((number(ring.get("seconds")) for ring in sample.rings), default=0.0)
        rate = sum(number(ring.get("packets")) for ring in sample.rings) / seconds if seconds else 0.0
        total = [sum(number((ring.get("total") or {}).get(each)) for ring in sample.rings) for each in ("packets", "drops")]
        spent = 100 * sample.cost.ring_cpu_ns / (sample.interval_s * 1e9) if sample.interval_s else 0.0
        state = f"{', '.join(dict.fromkeys(closed))} CLOSED: waits for the interface" if closed else "open"
        words = f" Ingest   packet:{','.join(names)}   "
        rest = f"   {short(rate)}/s   {total[0]:,.0f} packets, "
        more = f"   reader {spent:.1f}% of a CPU" + (f"   filter {self.filter.text}" if self.filter.text else "")
        lost = seg(f"{total[1]:,.0f} drops", BAD if total[1] else "")
        more += "   gaps only" if self.gaps_only else ""
        return cut((seg(words, HEAD), seg(state, BAD if closed else ""), seg(rest), lost, seg(more)), width)

    def _own(self, width: int) -> Line:
        """The ring that this app opens: the interfaces to choose from, or how it goes."""
        view = self.view
        if view.problem:
            return cut((seg(f" own ring on {view.interface}: {view.problem}", BAD),), width)
        if view.running or view.record:
            state = "running" if view.running and view.record else "opening" if view.running else "closed"
            words = f" own ring packet:{view.interface}   {state}   {view.record.get('mode', '?')} mode   "
            words += f"{view.record.get('walker', '?')} walker   {view.packets:,} packets, {view.drops:,} drops   o closes it"
            return cut((seg(words, BAD if view.drops else ""),), width)
        chosen = self.interface
        tabs = [
            seg(f" {'[' + name + ']' if name == chosen else name}", HEAD if name == chosen else DIM)
            for name in self.interfaces()
        ]
        return cut((seg(" o opens a ring on", DIM), *tabs, seg("   w for the next", DIM)), width)

    def _nothing(self, width: int) -> list[Line]:
        words = (
            f"A ring on {self.interface or 'an interface'} sees every packet and takes none from the application; the packets "
            "stay where the kernel put them. It needs CAP_NET_RAW. One that the collector reads beside its counters is among "
            "the losses, too, and can follow feeds: quietcore --ring packet:IF --feed FORMAT."
        )
        return [(), *((seg(f" {line}"),) for line in textwrap.wrap(words, max(20, width - 2)))]

    def _history(self, width: int) -> list[Line]:
        """How the selected ring or feed went."""
        history, room = self.model.history, width - 22
        row = (self.rings if self.panel == _RINGS else self.feeds).selected
        name = row.key if row is not None else ""
        span = f"{history.column_s:g} s a column"
        if self.panel == _FEEDS:
            lost = history.values("feed_lost", name, room)
            lines = [drawn("numbers/s", history.values("feed_rate", name, room), room), drawn("missing/s", lost, room, BAD)]
            a, b = (history.values(f"feed_first_{line}", name, room + 1) for line in "ab")
            if a and b:
                lines.append(drawn("A first", [100 * share for share in shares_of_a(a, b)], room, unit="%"))
            return [rule(f"{name}, {span}", width), *lines]
        if name.startswith(OWN):
            rate, p99 = list(self.view.packets_per_s)[-room:], list(self.view.p99_us)[-room:]
            return [rule(f"{name}, 1 s a column", width), drawn("packets/s", rate, room), drawn("p99 us", p99, room)]
        figures = (("ring_rate", "packets/s"), ("ring_p99", "p99 us"), ("ring_max", "max us"))
        lines = [drawn(title, history.values(kind, name, room), room) for kind, title in figures]
        return [rule(f"{name}: stamp to ring, {span}", width), *lines]

    def _ring_sparks(self, width: int) -> list[Line]:
        history = self.model.history
        lines: list[Line] = [rule(f"p99 us, to {_TOP_US / 1000:g} ms, {history.column_s:g} s a column", width)]
        for row in self.rings.shown:
            own = str(row.key).startswith(OWN)
            values = list(self.view.p99_us)[-width + 1 :] if own else history.values("ring_p99", row.key, width - 1)
            lines.append((seg(" "), seg(glyphs_of(levels(values, _TOP_US)).rjust(width - 1), "cool2")))
        return lines

    def _feed_sparks(self, width: int) -> list[Line]:
        """What each feed misses; where there is room, beside it which line was first."""
        history = self.model.history
        left = (width - 3) // 2 if width >= 80 else width - 1
        right = width - left - 3 if width >= 80 else 0
        title = f"{fit(f'── missing/s, to {short(_TOP_LOST)} ', left + 2)}── A first, share" if right else "── missing/s "
        lines: list[Line] = [rule(title.removeprefix("── "), width)]
        for row in self.feeds.shown:
            lost = history.values("feed_lost", row.key, left)
            text = glyphs_of(levels(lost, _TOP_LOST)).rjust(left)
            line = [seg(" "), seg(text, BAD if any(lost) else DIM)]
            if right:
                a, b = (history.values(f"feed_first_{which}", row.key, right + 1) for which in "ab")
                line += [seg("  "), seg(glyphs_of(levels(shares_of_a(a, b), 1.0)).rjust(right), "cool3")]
            lines.append(line)
        return lines

    # rows

    def _take(self, sample: Sample, left: int) -> None:
        wide = left >= 100
        kind = (sample, self.view.record, self.filter, self.gaps_only, self.panel, wide, self.model.history.hidden,
                *((table.order, table.reversed) for table in (self.rings, self.feeds)))  # fmt: skip
        if self._taken and all(map(is_, kind[:2], self._taken)) and kind[2:] == self._taken[2:]:
            return
        self._taken = kind
        matches, text = self.filter.matches, self.filter.text
        own, seconds = self.view.record.get("rings", ()), number(self.view.record.get("seconds"))
        rings = [ring_row(ring, wide=wide) for ring in sample.rings]
        rings += [ring_row({"interface": self.view.interface, **ring}, seconds, wide=wide) for ring in own]
        self.rings.take(rings, (lambda row: matches(row.values)) if text and self.panel == _RINGS else None)
        self._feeds = feeds_of(sample.feeds)
        chosen = (feed for feed in self._feeds.values() if feed.incomplete or not self.gaps_only)
        feeds = [feed_row(feed, self.model.history, wide=wide) for feed in chosen]
        self.feeds.take(feeds, (lambda row: matches(row.values)) if text and self.panel == _FEEDS else None)
        if self.panel == _FEEDS and not self._feeds:
            self.panel = _RINGS

    def interfaces(self) -> list[str]:
        """The interfaces that a ring could be opened on."""
        sample = self.model.sample
        return [nic.name for nic in sample.nics] if sample else []

    @property
    def interface(self) -> str:
        """The chosen one, empty where there is none."""
        names = self.interfaces()
        return names[self.chosen % len(names)] if names else ""

    # keys

    def tables(self) -> tuple[LiveTable, ...]:
        """See Pane."""
        return (self.rings, self.feeds) if self.panel == _RINGS else (self.feeds, self.rings)

    def back(self) -> bool:
        """See Pane."""
        if self.opened:
            self.opened = ""
            return True
        return super().back()

    def focus(self, kind: str, key: str) -> None:
        """See Pane."""
        self.opened, self.zoomed = "", False
        sample = self.model.sample
        if kind == "feed":
            feeds = feeds_of(sample.feeds) if sample is not None else {}
            named = (each.name for each in feeds.values() if any(str(s.get("stream")) == key for s in each.streams))
            self.panel, self.gaps_only = _FEEDS, False
            self.feeds.select(key if key in feeds else next(named, key))
            return
        self.panel = _RINGS
        names = self.interfaces()
        if kind == "nic" and key in names and not self.view.running:
            self.chosen = names.index(key)
        rings = [str(row.key) for row in self.rings.rows if key in (row.key, row.values.get("nic"))]
        self.rings.select(rings[0] if rings else key)

    def pointed(self) -> Pointed:
        """See Pane."""
        row = (self.rings if self.panel == _RINGS else self.feeds).selected
        if row is None:
            return Pointed()
        if self.panel == _RINGS:
            nic = str(row.values["nic"])
            command = f"quietcore ring {shlex.quote(f'packet:{nic}')} --interval 1s"
            words = f"ring {row.key}: {row.cells[1]} packets/s, {row.cells[4]} drops, p99 {row.cells[7]} us"
            return Pointed("ring", str(row.key), words, command, ("nic", "nic", nic))
        feed = self._feeds.get(str(row.key))
        sample = self.model.sample
        nics = dict.fromkeys(str(ring.get("interface", "?")) for ring in sample.rings) if sample is not None else {}
        framing = next((str(stream["format"]) for stream in feed.streams if stream.get("format")), "") if feed else ""
        arguments = [*(f"packet:{nic}" for nic in nics), *(["--feed", framing] if framing else []), "--interval", "1s"]
        told = f"feed {row.key}: {row.values['lost']} lost, {row.values['duplicate']} duplicate"
        return Pointed("feed", str(row.key), told, f"quietcore ring {shlex.join(arguments)}", None, feed)

    def do_enter(self) -> None:
        """All figures of a feed; the interface of a ring."""
        row = (self.rings if self.panel == _RINGS else self.feeds).selected
        if row is None:
            return
        if self.panel == _FEEDS:
            self.opened = str(row.key)
        else:
            self.go("nic", "nic", str(row.values["nic"]))

    def do_next_panel(self) -> None:
        """Rings or feeds."""
        self.panel = _FEEDS if self.panel == _RINGS and self._feeds else _RINGS

    def do_gaps(self) -> None:
        """Only the feeds that miss something, or all."""
        self.gaps_only = not self.gaps_only

    def do_linked(self) -> None:
        """To the cause of the selected feed's last gap, or of the last gap of any."""
        row = self.feeds.selected if self.panel == _FEEDS else None
        matter = (self.gap.of(str(row.key)) if row is not None else None) or self.gap.of()
        cause = self.gap.cause(matter) if matter is not None else None
        if cause is None:
            words = "nothing was lost on this host at that time that is seen here" if matter else "no feed had a gap"
            self.model.tell(words, WARN)
            return
        self.go(*cause[0])
        self.model.tell(cause[1])

    def do_next(self) -> None:
        """The next interface."""
        if not self.view.running:
            self.chosen += 1

    def do_ring(self) -> None:
        """Opens the packet ring on the chosen interface, or closes it."""
        if self.view.running:
            self.ring.stop(self.view)
        elif self.model.kind != "live":
            self.model.tell("a ring is opened on this host, and what is shown here is not: start quietcore on it", WARN)
        elif self.interface:
            self.ring.start(self.view, self.interface)
