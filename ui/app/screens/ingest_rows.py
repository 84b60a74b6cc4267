"""Rings and feeds as rows of a table: their columns at each width, their cells, and the values that sort and filter them."""

from collections.abc import Mapping
from typing import Any

from ui.app.state.feed_figures import STALE_S, Feed, is_stale, latency_us, number, ring_name, ring_rate
from ui.app.state.history import History
from ui.app.widgets.ramp import short
from ui.app.widgets.table import Column, Row, Value
from ui.app.widgets.tones import BAD, DIM, WARN

OWN = "own "  # before the name of a ring that this app opened
RING_ORDERS = (("by name", "", False), ("by p99", "p99", True), ("by drops", "drops", True), ("by rate", "rate", True))
FEED_ORDERS = (("by name", "", False), ("most lost", "lost", True), ("by rate", "rate", True), ("by p99", "p99", True))

_RING = (
    Column("ring", 0, False, "ring"), Column("pkt/s", 6, True, "rate"), Column("MB/s", 6, True, "bytes"),
    Column("drop/s", 6, True, "drop_rate"), Column("drops", 7, True, "drops"), Column("freeze", 6, True, "freezes"),
    Column("p50 us", 6, True, "p50"), Column("p99 us", 6, True, "p99"), Column("p99.9", 6, True, "p999"),
    Column("max us", 6, True, "max"),
)  # fmt: skip
_FEED = (
    Column("feed", 0, False, "feed"), Column("A/s", 7, True, "a"), Column("B/s", 7, True, "b"), Column("first", 6, True),
    Column("lost", 7, True, "lost"), Column("dup", 7, True, "duplicate"), Column("reord", 6, True, "reordered"),
    Column("p99 us", 6, True, "p99"),
)  # fmt: skip
_FEED_WIDE = (*_FEED[:5], Column("A lost", 7, True, "a_lost"), Column("B lost", 7, True, "b_lost"), *_FEED[5:],
              Column("max us", 6, True, "max"))  # fmt: skip
_RING_WIDE = (*_RING[:2], Column("packets", 12, True, "packets"), *_RING[2:])
_MORE = 100  # cells from which there is room for them


def ring_columns(width: int) -> tuple[Column, ...]:
    """The columns of rings in a panel of so many cells."""
    return _RING_WIDE if width >= _MORE else _RING


def feed_columns(width: int) -> tuple[Column, ...]:
    """The columns of feeds in a panel of so many cells."""
    return _FEED_WIDE if width >= _MORE else _FEED


def ring_row(ring: Mapping[str, Any], own_seconds: float | None = None, *, wide: bool = False) -> Row:
    """A ring of the collector, or, with the seconds of its report, one of the app's own."""
    own = own_seconds is not None
    name = (OWN if own else "") + ring_name(ring)
    if own:
        ring = {**ring, "seconds": own_seconds, "open": True}
    seconds = number(ring.get("seconds")) or 1.0
    drop_rate, mb_rate = number(ring.get("drops")) / seconds, number(ring.get("bytes")) / seconds / 1e6
    total = ring.get("total") or {}
    drops = None if own else int(number(total.get("drops")))
    freezes = int(number(total.get("freezes") if total else ring.get("freezes")))
    p50, p99, p999, most = (latency_us(ring, figure) for figure in ("p50_ns", "p99_ns", "p99.9_ns", "max_ns"))
    rate, packets = ring_rate(ring), int(number(total.get("packets") if total else ring.get("packets")))
    closed = not ring.get("open", True)
    cells = [name, "closed" if closed else short(rate), f"{mb_rate:.1f}", short(drop_rate),
             "-" if drops is None else _count(drops), _count(freezes), _us(p50), _us(p99), _us(p999), _us(most)]  # fmt: skip
    if wide:
        cells.insert(2, f"{packets:,}")
    tone = BAD if closed or drop_rate else WARN if drops else ""
    values: dict[str, Value] = {
        "ring": name, "nic": str(ring.get("interface", "")), "core": ring.get("core"), "rate": rate, "bytes": mb_rate * 1e6,
        "drop_rate": drop_rate, "drops": drops, "freezes": freezes, "p50": p50, "p99": p99, "p999": p999, "max": most,
        "packets": packets, "open": not closed, "own": own,
    }  # fmt: skip
    return Row(name, tuple(cells), tone, values)


def feed_row(feed: Feed, history: History, *, wide: bool = False) -> Row:
    """A feed with its lines. One of no channel stands in the first of them."""
    lines = ("A", "B") if feed.channel else ("", "")
    samples = max(1, round(STALE_S / (history.interval_s or 1.0)))
    stale = [line in feed.lines and is_stale(history.back, feed.name, line, samples) for line in lines]
    rates = [feed.total("received_per_s", line) if line in feed.lines else None for line in lines]
    lost = [int(feed.total("lost", line)) if line in feed.lines else None for line in lines]
    if not feed.channel:
        stale[1], rates[1], lost[1] = False, None, None
    first = feed.first_a
    p99, most = feed.latency("p99_ns"), feed.latency("max_ns")
    duplicate, reordered = int(feed.total("duplicate")), int(feed.total("reordered"))
    cells = [
        feed.name, *("stale!" if old else "-" if rate is None else short(rate) for old, rate in zip(stale, rates, strict=True)),
        "-" if first is None else f"A {100 * first:.0f}%" if first >= 0.5 else f"B {100 - 100 * first:.0f}%",
        _count(feed.lost), _count(duplicate), _count(reordered), _us(None if p99 is None else p99 / 1000),
    ]  # fmt: skip
    if wide:
        cells[5:5] = ["-" if each is None else _count(each) for each in lost]
        cells.append(_us(None if most is None else most / 1000))
    tones = {place + 1: BAD for place, old in enumerate(stale) if old}
    if feed.lost:
        tones[4] = BAD
    values: dict[str, Value] = {
        "feed": feed.name, "channel": feed.name if feed.channel else "", "stream": " ".join(_names(feed)),
        "line": "".join(sorted(feed.lines)), "rate": max((rate for rate in rates if rate is not None), default=0.0),
        "a": rates[0], "b": rates[1], "first_a": first, "lost": feed.lost, "lost_rate": feed.lost_per_s, "a_lost": lost[0],
        "b_lost": lost[1], "duplicate": duplicate, "reordered": reordered, "p99": None if p99 is None else p99 / 1000,
        "max": None if most is None else most / 1000, "stale": any(stale),
    }  # fmt: skip
    return Row(feed.name, tuple(cells), "" if any(rates) else DIM, values, tones)


def _names(feed: Feed) -> list[str]:
    return [str(stream.get("stream", "")) for stream in feed.streams]


def _count(value: int) -> str:
    return str(value) if value < 100_000 else short(value)


def _us(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if value < 1000 else short(value)
