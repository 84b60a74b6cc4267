"""Ingest: packet rings and feeds. Those that the collector reads, and a ring that this app opens in a process of its own."""

import shlex
import textwrap
from collections.abc import Callable, Iterable, Mapping
from operator import is_
from typing import Any

from ingest.sample import Sample
from ui.app.flow.ring_control import RingControl
from ui.app.screens.feed_detail import feed_lines
from ui.app.screens.ingest_history import IngestHistory
from ui.app.screens.ingest_rows import FEED_ORDERS, OWN, RING_ORDERS, feed_columns, feed_row, ring_columns, ring_row
from ui.app.screens.last_gap import LastGap
from ui.app.screens.pane import Pane
from ui.app.state.feed_figures import Feed, feeds_of, number, ring_name
from ui.app.state.model import Listing, Model, Pointed, RingView
from ui.app.widgets.joined import Joined
from ui.app.widgets.lines import Line, cut, seg
from ui.app.widgets.ramp import short
from ui.app.widgets.table import LiveTable, Row
from ui.app.widgets.tones import BAD, DIM, HEAD, WARN
from ui.keys import Screen

WIDE, WIDEST = 130, 170
_RINGS, _FEEDS = 0, 1
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
        self.figures = IngestHistory(model, view)
        self._rings: dict[str, tuple[Mapping[str, Any], float | None]] = {}
        self._feeds: dict[str, Feed] = {}
        self._made: dict[tuple[int, str], Row] = {}
        self._stubs: dict[str, Row] = {}
        self._wide = False
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
        selected = (self.rings if self.panel == _RINGS else self.feeds).selected
        history = self.figures.selected(selected.key if selected else "", self.panel == _FEEDS, width)
        foot = [*history, *self.gap.lines(self.gap.of(), width, below)]
        lines = self._tables(left, width, height - len(head) - len(foot))
        return [*head, *lines, *foot]

    def _tables(self, left: int, width: int, height: int) -> list[Line]:
        rings, feeds = self.rings.total + 1, self.feeds.total + 1 if self.feeds.total or self.gaps_only else 0
        upper = min(rings, max(3, height // 2, height - feeds)) if feeds else height
        lines = self._table(_RINGS, left, upper)
        beside = self.figures.of_rings(self.rings.shown, width - left - 1) if left < width else []
        if feeds:
            upper = len(lines)
            lines += self._table(_FEEDS, left, height - upper)
            beside += [()] * (upper - len(beside))
            beside += self.figures.of_feeds(self.feeds.shown, width - left - 1) if left < width else []
        return self._joined.rows(lines, beside, left, width, len(lines)) if left < width else lines

    def _table(self, panel: int, width: int, height: int) -> list[Line]:
        table = self.rings if panel == _RINGS else self.feeds
        columns = ring_columns(width) if panel == _RINGS else feed_columns(width)
        lines = table.lines(columns, width, height, active=panel == self.panel, fill=lambda row: self._row(panel, row.key))
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

    # rows

    def _take(self, sample: Sample, left: int) -> None:
        self._wide = left >= 100
        kind = (sample, self.view.record, self.filter, self.gaps_only, self.panel, self._wide, self.model.history.hidden,
                *((table.order, table.reversed) for table in (self.rings, self.feeds)))  # fmt: skip
        if self._taken and all(map(is_, kind[:2], self._taken)) and kind[2:] == self._taken[2:]:
            return
        self._taken = kind
        self._made.clear()
        own, seconds = self.view.record.get("rings", ()), number(self.view.record.get("seconds"))
        self._rings = {ring_name(ring): (ring, None) for ring in sample.rings}
        named = ({"interface": self.view.interface, **ring} for ring in own)
        self._rings |= {OWN + ring_name(ring): (ring, seconds) for ring in named}
        self._feeds = feeds_of(sample.feeds)
        if self.panel == _FEEDS and not self._feeds:
            self.panel = _RINGS
        chosen = [name for name, feed in self._feeds.items() if not self.gaps_only or feed.incomplete]
        self._give(_RINGS, self._rings)
        self._give(_FEEDS, chosen)

    def _give(self, panel: int, names: Iterable[str]) -> None:
        """Rows for a table: whole ones only where something is asked of their values."""
        table = self.rings if panel == _RINGS else self.feeds
        filtered = self.filter.text and panel == self.panel
        if not filtered and not table.orders[table.order][1]:
            table.take([self._stubs.get(name) or self._stubs.setdefault(name, Row(name, ())) for name in names])
            return
        matches = self.filter.matches
        table.take([self._row(panel, name) for name in names], (lambda row: matches(row.values)) if filtered else None)

    def _row(self, panel: int, name: str) -> Row:
        """A whole row, made once a sample."""
        key = panel, name
        row = self._made.get(key)
        if row is None:
            if panel == _RINGS:
                row = ring_row(*self._rings[name], wide=self._wide)
            else:
                row = feed_row(self._feeds[name], self.model.history, wide=self._wide)
            self._made[key] = row
        return row

    @property
    def _selected(self) -> Row | None:
        row = (self.rings if self.panel == _RINGS else self.feeds).selected
        return self._row(self.panel, row.key) if row is not None else None

    def listing(self) -> Listing:
        """See Pane."""
        rows = (self.rings if self.panel == _RINGS else self.feeds).rows
        return Listing("feeds" if self.panel else "rings", [dict(self._row(self.panel, row.key).values) for row in rows])

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
            channel = (each.name for each in feeds.values() if any(str(s.get("stream")) == key for s in each.streams))
            self.panel, self.gaps_only = _FEEDS, False
            self.feeds.select(key if key in feeds else next(channel, key))
            return
        self.panel = _RINGS
        names = self.interfaces()
        if kind == "nic" and key in names and not self.view.running:
            self.chosen = names.index(key)
        named = [name for name, (ring, _) in self._rings.items() if key in (name, str(ring.get("interface", "?")))]
        self.rings.select(named[0] if named else key)

    def pointed(self) -> Pointed:
        """See Pane."""
        row = self._selected
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
        row = self._selected
        if row is None:
            return
        if self.panel == _FEEDS:
            self.opened = str(row.key)
        else:
            self.go("nic", "nic", str(row.values["nic"]))

    def do_next_panel(self) -> None:
        """Rings or feeds."""
        sample = self.model.sample
        self.panel = _FEEDS if self.panel == _RINGS and sample is not None and sample.feeds else _RINGS

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
