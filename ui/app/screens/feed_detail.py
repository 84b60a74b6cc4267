"""A feed with all its figures: its streams in columns, what both lines bring together, and how that went over time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ui.app.state.feed_figures import Feed, number, shares_of_a
from ui.app.state.history import History
from ui.app.widgets.lines import Line, cut, fit, rule, seg
from ui.app.widgets.ramp import short, spark
from ui.app.widgets.tones import BAD, DIM, HEAD

_COUNTS = (
    ("received_per_s", "received/s"), ("lost_per_s", "missing/s"), ("received", "received"), ("lost", "lost"),
    ("duplicate", "duplicate"), ("reordered", "reordered"), ("outside", "outside of the sequence"), ("resets", "began anew"),
    ("heartbeats", "heartbeats"),
)  # fmt: skip
_PERCENTILES = ("p50_ns", "p90_ns", "p99_ns", "p99.9_ns", "p99.99_ns", "max_ns")
_LABEL = 30
_BAD = frozenset({"lost", "lost_per_s"})


def feed_lines(feed: Feed, history: History, width: int, height: int) -> list[Line]:
    """The whole of it; what has no room is left out from the end."""
    streams = feed.streams
    each = max(12, min(28, (width - _LABEL - 2) // (len(streams) + (feed.both is not None) or 1) - 1))
    lines: list[Line] = [rule(f"{feed.name}: all figures, counted since the start   Esc goes back", width, HEAD)]
    titles = [f"line {stream['line']}" if stream.get("line") else "" for stream in streams]
    columns = [*titles, *(["A+B"] if feed.both is not None else [])]
    lines.append(_row("", columns, each, width, HEAD))
    lines.append(_row("stream", [str(stream.get("stream", "-")) for stream in streams], each, width))
    lines.append(_row("format", [str(stream.get("format", "-")) for stream in streams], each, width))
    records: list[Mapping[str, Any]] = [*streams, *([feed.both] if feed.both is not None else [])]
    for key, title in _COUNTS:
        if any(record.get(key) is not None for record in records):
            bad = key in _BAD and any(number(record.get(key)) for record in records)
            lines.append(_row(title, [_figure(record.get(key)) for record in records], each, width, BAD if bad else ""))
    lines += _latencies(streams, each, width)
    if feed.both is not None:
        lines += _together(feed.both, width)
    lines += _over_time(feed, history, width)
    return lines[:height]


def _latencies(streams: Sequence[Mapping[str, Any]], each: int, width: int) -> Iterator[Line]:
    for key, title in (("latency", "stamp to ring"), ("send_latency", "send time to ring")):
        found = [stream.get(key) or {} for stream in streams]
        if not any(found):
            continue
        for name in _PERCENTILES:
            shown = [_micro(latency.get(name)) for latency in found]
            yield _row(f"{title}, {name.removesuffix('_ns')}, us", shown, each, width)
        if key == "send_latency":
            yield _row("clocks apart, us", [_micro(latency.get("clock_offset_ns")) for latency in found], each, width)


def _together(both: Mapping[str, Any], width: int) -> Iterator[Line]:
    first, skew = both.get("first"), both.get("skew")
    yield rule("both lines", width)
    yield cut((seg(f"  {'came on both':<{_LABEL - 2}}"), seg(_figure(both.get("both")))), width)
    for line, other in (("A", "B"), ("B", "A")):
        if not isinstance(first, Mapping):
            continue
        words = f"{_figure(first.get(line))} times"
        ahead = skew.get(line) if isinstance(skew, Mapping) else None
        if isinstance(ahead, Mapping) and ahead.get("p50_ns") is not None:
            p50, p99, most = (_micro(ahead.get(name)) for name in ("p50_ns", "p99_ns", "max_ns"))
            words += f", ahead of {other} by p50 {p50} us, p99 {p99} us, max {most} us"
        yield cut((seg(f"  {f'{line} first, or alone':<{_LABEL - 2}}"), seg(words)), width)


def _over_time(feed: Feed, history: History, width: int) -> Iterator[Line]:
    room = max(10, width - 22)
    yield rule(f"over time, {history.column_s:g} s a column, newest on the right", width)
    yield drawn("numbers/s", history.values("feed_rate", feed.name, room), room)
    yield drawn("missing/s", history.values("feed_lost", feed.name, room), room, BAD)
    a, b = (history.values(f"feed_first_{line}", feed.name, room + 1) for line in "ab")
    if a and b:
        yield drawn("A first, share", [100 * share for share in shares_of_a(a, b)], room, unit="%")


def drawn(title: str, values: Sequence[float], room: int, bad: str = "cool2", unit: str = "") -> Line:
    """A history with what it is of and its highest figure; ``bad`` is its tone where it is not all nothing."""
    most = max(values, default=0.0)
    return seg(f" {title:<13}{short(most) + unit:>6} "), seg(spark(values, room), bad if most else DIM)


def _row(title: str, cells: Sequence[str], each: int, width: int, tone: str = "") -> Line:
    return cut((seg(f"  {title:<{_LABEL - 2}}", DIM), seg(" ".join(fit(cell, each, True) for cell in cells), tone)), width)


def _figure(value: object) -> str:
    return "-" if value is None else f"{number(value):,.0f}"


def _micro(value: object) -> str:
    return "-" if value is None else f"{number(value) / 1000:,.1f}"
