"""Ingest: a packet ring on one interface, read in place by a process of its own."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ingest.sample import Sample
from ui.app.model import Model, RingView
from ui.app.ring_control import RingControl
from ui.app.screens.pane import Pane
from ui.app.widgets.columns import DIM, HEAD, Column, Row, rule, window
from ui.app.widgets.lines import Line, seg
from ui.app.widgets.ramp import short, spark
from ui.app.widgets.tones import BAD
from ui.keys import Screen


class IngestPane(Pane):
    """Draws the ring; ``chosen`` is the interface that keys change."""

    name: Screen = "ingest"

    def __init__(self, model: Model, view: RingView, ring: RingControl) -> None:
        super().__init__(model)
        self.view, self.ring = view, ring
        self.chosen = 0

    def interfaces(self) -> list[str]:
        """The interfaces that a ring could be opened on."""
        sample = self.model.sample
        return [nic.name for nic in sample.nics] if sample else []

    @property
    def interface(self) -> str:
        """The chosen one, empty where there is none."""
        names = self.interfaces()
        return names[self.chosen % len(names)] if names else ""

    def draw(self, width: int, height: int) -> list[Line]:
        """The whole pane."""
        view = self.view
        names = self.interfaces()
        tabs = [seg(f" {'[' + n + ']' if n == self.interface else n} ", HEAD if n == self.interface else DIM) for n in names]
        lines: list[Line] = [tabs or [seg("no interface yet", DIM)]]
        if view.problem:
            lines.append([seg(f" {view.problem}"[:width], BAD)])
        if not view.record and not view.running and self.model.sample is not None and self.model.sample.rings:
            return [*lines, *_watched(self.model.sample, width, height - len(lines))]
        if not view.record:
            words = (
                f"Enter opens a ring on {self.interface}: it sees every packet and takes none from the application. It needs "
                "CAP_NET_RAW. The packets stay where the kernel put them."
            )
            lines += [[], *([seg(f" {line}")] for line in textwrap.wrap(words, max(20, width - 2)))]
            if view.running:
                lines.append([seg(f" opening a ring on {view.interface}"[:width], "warn")])
            return lines
        lines += self._figures(view, width)
        lines.append(rule(f"rings, {'the whole run' if view.record.get('part') == 'whole' else 'the last second'}", width))
        lines += _rings(view.record, max(3, height - len(lines)))
        return lines[:height]

    def do_next(self) -> None:
        """The next interface."""
        if not self.view.running:
            self.chosen += 1

    def do_ring(self) -> None:
        """Opens the packet ring on the chosen interface, or closes it."""
        if self.view.running:
            self.ring.stop(self.view)
        elif self.interface:
            self.ring.start(self.view, self.interface)

    def _figures(self, view: RingView, width: int) -> list[Line]:
        record = view.record
        state = "running" if view.running else "closed"
        head = f" {record.get('source', '?')}  {state}  {record.get('mode', '?')} mode  {record.get('walker', '?')} walker  "
        head += f"{view.packets} packets  {view.drops} drops"
        room = max(10, width - 16)
        return [
            [seg(head[:width], BAD if view.drops else "")],
            rule("packets per second and p99 from kernel to ring, newest on the right", width),
            [seg(f" {short(max(view.packets_per_s, default=0)):>6} /s     "), seg(spark(view.packets_per_s, room), "cool2")],
            [seg(f" {short(max(view.p99_us, default=0)):>6} us p99 "), seg(spark(view.p99_us, room), "cool2")],
        ]


def _watched(sample: Sample, width: int, height: int) -> list[Line]:
    """The rings that the collector reads beside its counters, and the feeds in them."""
    spent = 100 * sample.cost.ring_cpu_ns / (sample.interval_s * 1e9) if sample.interval_s else 0.0
    lines: list[Line] = []
    for name in dict.fromkeys(ring["interface"] for ring in sample.rings):
        mine = [ring for ring in sample.rings if ring["interface"] == name]
        seconds = max(ring["seconds"] for ring in mine)
        packets, drops = (sum(ring["total"][each] for ring in mine) for each in ("packets", "drops"))
        rate = short(sum(ring["packets"] for ring in mine) / seconds) if seconds else "-"
        state = "open" if mine[0]["open"] else "CLOSED: waits for the interface"
        text = f" packet:{name}  {state}  {rate}/s  in all {packets:,} packets, {drops:,} drops  reader {spent:.1f}% of a CPU"
        lines.append([seg(text[:width], BAD if drops or not mine[0]["open"] else "")])
    lines.append(rule("rings, since the sample before", width))
    lines += _rings({"rings": sample.rings}, max(3, min(len(sample.rings) + 1, height // 2)))
    if sample.feeds:
        lines.append(rule("feeds, since the start", width))
        lines += _feeds(sample.feeds, width, max(3, height - len(lines)))
    return lines[:height]


def _feeds(feeds: Sequence[Mapping[str, Any]], width: int, height: int) -> list[Line]:
    columns = [
        Column("feed", max(16, width - 58)), Column("/s", 7, True), Column("received", 13, True), Column("lost", 9, True),
        Column("dup", 9, True), Column("reordered", 9, True),
    ]  # fmt: skip
    rows = []
    for feed in feeds:
        name = " ".join(str(feed[key]) for key in ("channel", "line", "stream") if feed.get(key))
        counts = (str(feed.get(key, "-")) for key in ("received", "lost", "duplicate", "reordered"))
        rows.append(Row((name, short(feed["received_per_s"]), *counts), BAD if feed["lost"] else ""))
    return window(columns, rows, height)


def _rings(record: Mapping[str, Any], height: int) -> list[Line]:
    columns = [
        Column("core", 5, True), Column("packets", 12, True), Column("bytes", 14, True), Column("drops", 8, True),
        Column("p50 us", 8, True), Column("p99 us", 8, True), Column("p99.9", 8, True), Column("max us", 9, True),
    ]  # fmt: skip
    rows = []
    for ring in record.get("rings", ()):
        latency = ring.get("latency") or {}
        figures = [latency.get(name) for name in ("p50_ns", "p99_ns", "p99.9_ns", "max_ns")]
        core = ring.get("core")
        rows.append(
            Row(
                (
                    "all" if core is None else str(core),
                    str(ring.get("packets", 0)),
                    str(ring.get("bytes", 0)),
                    str(ring.get("drops", 0)),
                    *("-" if f is None else f"{f / 1000:.1f}" for f in figures),
                ),
                BAD if ring.get("drops") else "",
            )
        )
    return window(columns, rows, height)
