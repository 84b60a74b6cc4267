"""The reports of ``quietcore ring`` for people: one line for an interval, tables for the whole."""

from typing import TYPE_CHECKING

from ui.cli.capture_text import capture_lines, written_lines
from ui.cli.stamps_text import stamps_lines, stamps_words
from ui.cli.table import microseconds, table

if TYPE_CHECKING:
    from ingest.rings.counters import RingCounters, RingReport, StreamCounters
    from ingest.rings.layout import Following

_KINDS = {
    "ipv6": "IPv6",
    "not_ip": "not IP",
    "vlan": "with a VLAN tag",
    "fragments": "IPv4 fragments",
    "other_host": "to another host's address",
    "jumbo": "longer than 1518 bytes",
    "super_frames": "longer than the wire allows: merged by GRO or LRO",
}


def interval_text(report: "RingReport") -> str:
    """One line: what came in one interval."""
    total = report.total
    latency = total.walked.latency
    rate = total.walked.packets / report.seconds if report.seconds > 0 else 0.0
    text = (
        f"{rate:12,.0f} packets/s  {total.drops:,} dropped  p50 {microseconds(latency.percentile(50))}"
        f"  p99 {microseconds(latency.percentile(99))}  max {microseconds(latency.max_ns if latency.total else None)}"
    )
    text += "".join(stamps_words(each) for each in report.nic_to_kernel)
    lost = sum(stream.lost for stream in report.followed.streams)
    return text + (f"  {lost:,} lost of the feed so far" if report.feed else "")


def report_text(report: "RingReport", following: "Following | None" = None) -> str:
    """The whole report as tables."""
    several = len({ring.interface for ring in report.rings}) > 1
    rows = [_row(_place(ring, several), ring) for ring in report.rings if ring.reached]
    if len(rows) != 1:
        rows.append(_row("total", report.total))
    headers = ("core", "packets", "bytes", "dropped", "unaccounted", "p50", "p99", "p99.9", "p99.99", "max")
    lines = [f"{report.source}  {report.mode} mode, {report.walker} walker, {report.seconds:.1f} s"]
    if report.filter is not None:
        lines[0] += f", {filter_words(report.filter)}"
    if report.capture is not None:
        lines += capture_lines(report.capture)
    lines.append(table(headers, rows, "r" * len(headers)))
    lines += [f"{count:,} {what}" for count, what in _notes(report) if count]
    lines += [line for each in report.nic_to_kernel for line in stamps_lines(each)]
    lines += _reader(report)
    if report.written is not None:
        lines += written_lines(report.written)
    if report.feed:
        lines += _feeds(report, following)
    return "\n".join(lines)


def filter_words(text: str) -> str:
    """The filter that was in force; its text was printable before it was parsed."""
    return f"only '{text}'"


def _place(ring: "RingCounters", several: bool) -> str:
    core = str(ring.core) if ring.core is not None else "any"
    return f"{ring.interface} {core}" if several else core


def _notes(report: "RingReport") -> list[tuple[int, str]]:
    walked = report.total.walked
    return [
        (walked.truncated, "longer than what was kept of them; their lengths are right"),
        (walked.malformed_frames + walked.malformed_blocks, "malformed, skipped"),
        (walked.latency.negative, "stamped later than they were read: the clocks differ; not among the percentiles"),
        (walked.unstamped, "not stamped by the NIC: not among the percentiles; is its time stamping on?"),
        *((getattr(walked, name), what) for name, what in _KINDS.items()),
        (report.followed.unread, "datagrams of the feed's port without a readable number (fragments, too short)"),
        (report.followed.ignored, "datagrams outside of the numbering: retransmissions, snapshots, administration"),
        (report.followed.unfollowed, "datagrams of streams beyond the 1024 that are followed"),
    ]


def _reader(report: "RingReport") -> list[str]:
    if report.capture is not None:
        return [f"the reader used {report.reader_cpu_ns / 1e9:.3f} s of CPU, last CPU {report.reader_cpu}"]
    if report.seconds <= 0:
        return []
    shares = [(each, each.cpu_ns / report.seconds / 1e7) for each in report.readers]
    if len(shares) == 1:
        return [f"the reader used {share:.1f} % of a CPU, last CPU {each.cpu}" for each, share in shares]
    return [
        f"the reader on CPU {each.cpu} used {share:.1f} % of it, for {each.rings} ring{'s' if each.rings > 1 else ''}"
        for each, share in shares
    ]


def _row(place: str, ring: "RingCounters") -> tuple[str, ...]:
    latency = ring.walked.latency
    times = [latency.percentile(percent) for percent in (50, 99, 99.9, 99.99)]
    counts = (ring.walked.packets, ring.walked.bytes, ring.drops, ring.unaccounted)
    highest = latency.max_ns if latency.total else None
    return (place, *(f"{count:,}" for count in counts), *map(microseconds, (*times, highest)))


def _feeds(report: "RingReport", following: "Following | None") -> list[str]:
    headers = ("stream", "received", "lost", "duplicate", "reordered", "outside", "resets", "p50", "p99", "max")
    streams = report.followed.streams
    rows = [_stream(stream) for stream in streams]
    lines = [table(headers, rows, "l" + "r" * 9)] if rows else [f"no datagram of {report.feed} came"]
    for stream in streams:
        if stream.sent.total:
            p50, p99 = (microseconds(stream.sent.percentile(percent)) for percent in (50, 99))
            offset = microseconds(stream.nearest_ns)
            lines.append(f"{stream.stream}: exchange send time to here p50 {p50}, p99 {p99}; clocks and way at least {offset}")
    came = {(stream.channel, stream.line) for stream in streams}
    for line in following.lines if following is not None else ():
        if line.channel is not None and following is not None:
            name = following.channels[line.channel]
            if (name, "AB"[line.line]) not in came:
                lines.append(f"line {'AB'[line.line]} ({line}) is silent")
    channels = [
        (
            each.to_json()["channel"],
            *(f"{count:,}" for count in (each.received, each.lost, each.both, *each.wins)),
            *(microseconds(skew.percentile(percent)) for skew in each.skew for percent in (50, 99)),
        )
        for each in report.followed.channels
    ]
    if channels:
        headers = ("channel", "received", "lost on both", "on both", "A first", "B first", "by p50", "p99", "by p50", "p99")
        lines.append(table(headers, channels, "l" + "r" * 9))
    return lines


def _stream(stream: "StreamCounters") -> tuple[str, ...]:
    counts = ("received", "lost", "duplicate", "reordered", "outside", "resets")
    latency = stream.latency
    return (
        f"{stream.line} {stream.stream}".strip(),
        *(f"{getattr(stream, name):,}" for name in counts),
        *(microseconds(latency.percentile(percent)) for percent in (50, 99)),
        microseconds(latency.max_ns if latency.total - latency.negative else None),
    )
