"""``quietcore ring``: the packets of an interface, read in place, each accounted for."""

import argparse
import contextlib
import gc
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from ui.cli.durations import duration
from ui.cli.output import emit, say
from ui.cli.table import table

if TYPE_CHECKING:
    from ingest.feeds.channels import Line
    from ingest.rings.counters import RingCounters, RingReport, StreamCounters
    from ingest.rings.layout import Framing
    from ingest.rings.packet import PacketRing

EPILOG = """\
modes:
  latency     fixed frames, read every 100 us while packets come (default)
  throughput  the kernel hands over blocks: a quarter of the CPU time, but up to a millisecond late

A packet ring is a tap: it takes nothing away from the programs that receive. Every packet that the kernel offers to it is
either read or reported as dropped; `unaccounted` is 0, or something is wrong. `core` is the CPU on which the kernel received
the packets. Latency is from the kernel's stamp at the entry of the network stack to the moment of reading.

feeds:
  FORMAT[:PORT]  how a venue numbers what it sends, and the UDP port; --feed list has them all
  CHANNEL        a channel of /etc/quietcore/feeds.toml (or --feed-file): a format and two lines
  infer[:PORT]   samples up to 1,000 datagrams of each stream, says what they look like, and ends
  list           prints the formats and the site's channels; needs no SOURCE

What is lost, duplicate or reordered is counted from the numbers in the headers alone. A guess is never used unasked: infer
prints what to write. The file of feeds must be root's or yours, and writable by nobody else:

  [channel.itch]
  format = "moldudp64"
  a = "233.54.12.111:26477"
  b = "233.49.196.111:26477"

Ends at Ctrl-C or SIGTERM with the whole report. Needs CAP_NET_RAW. QUIETCORE_WALKER=native|python insists on one walker.

examples:
  quietcore ring packet:eth2 --interval 1s
  quietcore ring packet:eth2 --seconds 10 --cpu 1 --feed moldudp64:30001 --json
  quietcore ring packet:eth2 --feed infer --seconds 5
  quietcore ring --feed list
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="what to read: packet:INTERFACE")
    parser.add_argument("--mode", choices=("latency", "throughput"), default="latency", help="see below (default: latency)")
    parser.add_argument("--seconds", metavar="N", type=duration, help="how long (default: until Ctrl-C)")
    parser.add_argument("--interval", metavar="S", type=duration, help="also report what came in each interval")
    parser.add_argument("--cpu", metavar="N", type=_cpu, help="the CPU for the reader (default: wherever this process may run)")
    parser.add_argument(
        "--rings", metavar="N", type=_rings, help="rings, shared by receiving CPU (default: one for each CPU, up to 32 CPUs)"
    )
    parser.add_argument(
        "--feed",
        metavar="FORMAT[:PORT]",
        help="follow the numbers of a feed, as moldudp64:30001; or list, or infer (see below)",
    )
    parser.add_argument(
        "--feed-file", metavar="FILE", help="the site's formats and channels (default: /etc/quietcore/feeds.toml)"
    )
    parser.add_argument("--promiscuous", action="store_true", help="ask the NIC for frames to other hosts too")
    parser.epilog = EPILOG


def _cpu(text: str) -> int:
    return _number(text, 0, 16383, "a CPU number")


def _rings(text: str) -> int:
    return _number(text, 1, 256, "a number of rings from 1 to 256")


def _number(text: str, lowest: int, highest: int, what: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 9 and lowest <= int(text) <= highest:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {what}")


def run(arguments: argparse.Namespace) -> int:
    """Reads and reports. 1 where no ring can be had, the feed is none, or the interface vanished."""
    from ingest.feeds.format_table import FeedFileError
    from ingest.feeds.sampling import SampleError
    from ingest.rings.packet import RingError, WalkerMissing

    try:
        return _run(arguments)
    except FeedFileError as error:
        for fault in error.faults:
            say(f"quietcore ring: {fault}")
    except (RingError, WalkerMissing, SampleError, ValueError) as error:
        say(f"quietcore ring: {error}")
    return 1


def _run(arguments: argparse.Namespace) -> int:
    from ingest.rings.packet import PacketRing
    from ingest.rings.source import parse_source

    framing: Framing | None = None
    lines: tuple[Line, ...] = ()
    if arguments.feed == "list":
        from ui.cli.ring_feeds import print_formats

        return print_formats(arguments)
    if arguments.source is None:
        say("quietcore ring: the following arguments are required: SOURCE")
        say("try: quietcore ring --help")
        return 1
    if arguments.demo or arguments.root is not None:
        say("quietcore ring: packets come from a real interface; --demo and --root have none. Try: quietcore ring packet:lo")
        return 1
    source = parse_source(arguments.source)
    if arguments.feed is not None:
        from ui.cli.ring_feeds import chosen_feed, print_inference

        if arguments.feed.partition(":")[0] == "infer":
            return print_inference(arguments, source.name)
        framing, lines = chosen_feed(arguments)
    ring = PacketRing.open(
        source.name,
        mode=arguments.mode,
        rings=arguments.rings,
        cpu=arguments.cpu,
        framing=framing,
        promiscuous=arguments.promiscuous,
    )
    with ring, _stopped_by_signals(ring), _undisturbed():
        return _read(ring, arguments, lines)


def _read(ring: "PacketRing", arguments: argparse.Namespace, lines: "tuple[Line, ...]") -> int:
    if not arguments.json:
        until = f"for {arguments.seconds:g} s" if arguments.seconds else "until Ctrl-C"
        say(f"reading {ring.source}, {ring.mode} mode, {ring.walker} walker, {until}")
    for part in ring.run(arguments.seconds, arguments.interval):
        if arguments.json:
            emit(_record(part, lines))
        else:
            print(interval_text(part, lines), flush=True)
    report = ring.report()
    if arguments.json:
        emit(_record(report, lines))
    else:
        print(report_text(report, lines), flush=True)
    if report.error is not None:
        say(f"quietcore ring: {report.error}")
        return 1
    return 0


@contextlib.contextmanager
def _stopped_by_signals(ring: "PacketRing") -> Iterator[None]:
    """SIGINT and SIGTERM end the reading, not the process: the report is what one waited for. A second one ends both."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        restore()
        ring.stop()

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """No cyclic garbage collection meanwhile: it holds the interpreter's lock, which the reader needs at each interval."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def _streams(report: "RingReport", lines: "tuple[Line, ...]") -> "list[tuple[str, StreamCounters]]":
    """The streams with the name of their line, empty for a format; of a channel nothing but its lines is of interest."""
    if not lines:
        return [("", stream) for stream in report.followed.streams]
    by_place = {(stream.address, stream.port): stream for stream in report.followed.streams}
    places = {line.name: by_place.get((line.address, line.port)) for line in lines}
    return [(name, stream) for name, stream in places.items() if stream is not None]


def _record(report: "RingReport", lines: "tuple[Line, ...]") -> dict[str, Any]:
    record = report.to_json()
    if lines:
        record["feeds"] = [{**stream.to_json(report.framing), "line": name} for name, stream in _streams(report, lines)]
    return record


def interval_text(report: "RingReport", lines: "tuple[Line, ...]" = ()) -> str:
    """One line: what came in one interval."""
    total = report.total
    latency = total.walked.latency
    rate = total.walked.packets / report.seconds if report.seconds > 0 else 0.0
    text = (
        f"{rate:12,.0f} packets/s  {total.drops:,} dropped  p50 {_microseconds(latency.percentile(50))}"
        f"  p99 {_microseconds(latency.percentile(99))}  max {_microseconds(latency.max_ns if latency.total else None)}"
    )
    lost = sum(stream.lost for _, stream in _streams(report, lines))
    return text + (f"  {lost:,} lost of the feed so far" if report.framing else "")


def report_text(report: "RingReport", feed_lines: "tuple[Line, ...]" = ()) -> str:
    """The whole report as tables."""
    rows = [_row(str(ring.core) if ring.core is not None else "any", ring) for ring in report.rings if ring.reached]
    if len(rows) != 1:
        rows.append(_row("total", report.total))
    headers = ("core", "packets", "bytes", "dropped", "unaccounted", "p50", "p99", "p99.9", "max")
    lines = [f"{report.source}  {report.mode} mode, {report.walker} walker, {report.seconds:.1f} s"]
    lines.append(table(headers, rows, "r" * len(headers)))
    walked = report.total.walked
    notes = (
        (walked.truncated, "longer than the ring's frames; their lengths are right"),
        (walked.malformed_frames + walked.malformed_blocks, "malformed, skipped"),
        (walked.latency.negative, "stamped later than they were read: the wall clock was set back; not among the percentiles"),
        (report.followed.unread, "datagrams of the feed's port without a readable number (fragments, too short)"),
        (report.followed.unfollowed, "datagrams of streams beyond the 64 that are followed"),
    )
    lines += [f"{count:,} {what}" for count, what in notes if count]
    if report.seconds > 0:
        share = report.reader_cpu_ns / report.seconds / 1e7
        lines.append(f"the reader used {share:.1f} % of a CPU, last CPU {report.reader_cpu}")
    if report.framing:
        lines.append(_feeds(report, feed_lines))
    return "\n".join(lines)


def _row(core: str, ring: "RingCounters") -> tuple[str, ...]:
    latency = ring.walked.latency
    times = [latency.percentile(percent) for percent in (50, 99, 99.9)]
    counts = (ring.walked.packets, ring.walked.bytes, ring.drops, ring.unaccounted)
    highest = latency.max_ns if latency.total else None
    return (core, *(f"{count:,}" for count in counts), *map(_microseconds, (*times, highest)))


def _feeds(report: "RingReport", lines: "tuple[Line, ...]") -> str:
    headers = ("stream", "received", "lost", "duplicate", "reordered", "outside", "resets")  # StreamCounters' own names
    rows = [
        (f"{name} {stream.stream}".strip(), *(f"{getattr(stream, header):,}" for header in headers[1:]))
        for name, stream in _streams(report, lines)
    ]
    came = {row[0][0] for row in rows}
    silent = [f"line {line.name} ({line}) is silent" for line in lines if line.name not in came]
    shown = [table(headers, rows, "lrrrrrr")] if rows else [f"no datagram of {report.framing} came"]
    return "\n".join([*shown, *silent])


def _microseconds(value_ns: int | None) -> str:
    return "-" if value_ns is None else f"{value_ns / 1000:,.1f} us"
