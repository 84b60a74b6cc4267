"""``quietcore ring``: the packets of an interface, read in place, each accounted for."""

import argparse
import contextlib
import gc
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from ui.cli.durations import duration
from ui.cli.output import emit, say
from ui.cli.table import table

if TYPE_CHECKING:
    from ingest.rings.counters import RingCounters, RingReport
    from ingest.rings.packet import PacketRing

EPILOG = """\
modes:
  latency     fixed frames, read every 100 us while packets come (default)
  throughput  the kernel hands over blocks: a quarter of the CPU time, but up to a millisecond late

A packet ring is a tap: it takes nothing away from the programs that receive. Every packet that the kernel offers to it is
either read or reported as dropped; `unaccounted` is 0, or something is wrong. `core` is the CPU on which the kernel received
the packets. Latency is from the kernel's stamp at the entry of the network stack to the moment of reading.

filters (--filter EXPRESSION, in quotes):
  ip ip6 arp udp tcp icmp igmp          a protocol; icmp is that of IPv4 and of IPv6
  [src|dst] 10.0.0.1                    an address; or ADDRESS/PREFIX, ADDRESS:PORT, [ADDRESS6]:PORT
  [src|dst] port 30001                  of UDP or TCP; or a range, port 30001-30010
  vlan [100]                            tagged, by the outer tag or the next
  multicast broadcast                   by the link's address or by IP's
  and && or || not ! ( )                'and' binds tighter; a protocol and what follows: both
The kernel applies the filter before the ring: a packet that is not wanted costs the ring nothing and is not counted. A later
fragment has addresses but no ports. IPv6 extension headers are not walked: what stands behind one is neither udp nor tcp nor
icmp (MLD is such a case). An address without src or dst is either; that of ARP counts, too.

Ends at Ctrl-C or SIGTERM with the whole report. Needs CAP_NET_RAW. QUIETCORE_WALKER=native|python insists on one walker.

examples:
  quietcore ring packet:eth2 --interval 1s
  quietcore ring packet:eth2 --seconds 10 --cpu 1 --feed moldudp64:30001 --json
  quietcore ring packet:eth2 --filter 'udp dst 239.1.1.1:30001'
  quietcore ring packet:eth2 --filter 'vlan 100 udp (dst 239.1.1.0/24 or [ff15::1]:30001)'
  quietcore ring packet:eth2 --filter 'not (tcp port 22 or arp)'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("source", metavar="SOURCE", help="what to read: packet:INTERFACE")
    parser.add_argument("--mode", choices=("latency", "throughput"), default="latency", help="see below (default: latency)")
    parser.add_argument("--seconds", metavar="N", type=duration, help="how long (default: until Ctrl-C)")
    parser.add_argument("--interval", metavar="S", type=duration, help="also report what came in each interval")
    parser.add_argument("--cpu", metavar="N", type=_cpu, help="the CPU for the reader (default: wherever this process may run)")
    parser.add_argument(
        "--rings", metavar="N", type=_rings, help="rings, shared by receiving CPU (default: one for each CPU, up to 32 CPUs)"
    )
    parser.add_argument("--feed", metavar="FORMAT[:PORT]", help="follow the sequence numbers of a feed, as moldudp64:30001")
    parser.add_argument("--filter", metavar="EXPRESSION", help="only these packets, as 'udp dst 239.1.1.1:30001'; see below")
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
    """Reads and reports. 1 where no ring can be had, or the interface vanished."""
    from ingest.rings.filter import parse_filter
    from ingest.rings.framing import parse_framing
    from ingest.rings.packet import PacketRing, RingError, WalkerMissing
    from ingest.rings.source import SourceError, parse_source

    if arguments.demo or arguments.root is not None:
        say("quietcore ring: packets come from a real interface; --demo and --root have none. Try: quietcore ring packet:lo")
        return 1
    try:
        source = parse_source(arguments.source)
        framing = parse_framing(arguments.feed) if arguments.feed is not None else None
        wanted = parse_filter(arguments.filter) if arguments.filter is not None else None
        ring = PacketRing.open(
            source.name,
            mode=arguments.mode,
            rings=arguments.rings,
            cpu=arguments.cpu,
            framing=framing,
            promiscuous=arguments.promiscuous,
            filter=wanted,
        )
        with ring, _stopped_by_signals(ring), _undisturbed():
            return _read(ring, arguments)
    except (SourceError, RingError, WalkerMissing, ValueError) as error:
        say(f"quietcore ring: {error}")
        return 1


def _read(ring: "PacketRing", arguments: argparse.Namespace) -> int:
    if not arguments.json:
        until = f"for {arguments.seconds:g} s" if arguments.seconds else "until Ctrl-C"
        wanted = f", {_wanted(ring.filter)}" if ring.filter is not None else ""
        say(f"reading {ring.source}, {ring.mode} mode, {ring.walker} walker, {until}{wanted}")
    for part in ring.run(arguments.seconds, arguments.interval):
        if arguments.json:
            emit(part.to_json())
        else:
            print(interval_text(part), flush=True)
    report = ring.report()
    if arguments.json:
        emit(report.to_json())
    else:
        print(report_text(report), flush=True)
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


def interval_text(report: "RingReport") -> str:
    """One line: what came in one interval."""
    total = report.total
    latency = total.walked.latency
    rate = total.walked.packets / report.seconds if report.seconds > 0 else 0.0
    text = (
        f"{rate:12,.0f} packets/s  {total.drops:,} dropped  p50 {_microseconds(latency.percentile(50))}"
        f"  p99 {_microseconds(latency.percentile(99))}  max {_microseconds(latency.max_ns if latency.total else None)}"
    )
    lost = sum(stream.lost for stream in report.followed.streams)
    return text + (f"  {lost:,} lost of the feed so far" if report.framing else "")


def report_text(report: "RingReport") -> str:
    """The whole report as tables."""
    rows = [_row(str(ring.core) if ring.core is not None else "any", ring) for ring in report.rings if ring.reached]
    if len(rows) != 1:
        rows.append(_row("total", report.total))
    headers = ("core", "packets", "bytes", "dropped", "unaccounted", "p50", "p99", "p99.9", "max")
    lines = [f"{report.source}  {report.mode} mode, {report.walker} walker, {report.seconds:.1f} s"]
    if report.filter is not None:
        lines.append(_wanted(report.filter))
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
        lines.append(_feeds(report))
    return "\n".join(lines)


def _wanted(text: str) -> str:
    return f"only '{text}'" if len(text) <= 100 else f"only '{text[:99]}…'"


def _row(core: str, ring: "RingCounters") -> tuple[str, ...]:
    latency = ring.walked.latency
    times = [latency.percentile(percent) for percent in (50, 99, 99.9)]
    counts = (ring.walked.packets, ring.walked.bytes, ring.drops, ring.unaccounted)
    highest = latency.max_ns if latency.total else None
    return (core, *(f"{count:,}" for count in counts), *map(_microseconds, (*times, highest)))


def _feeds(report: "RingReport") -> str:
    headers = ("stream", "received", "lost", "duplicate", "reordered", "outside", "resets")  # StreamCounters' own names
    rows = [(stream.stream, *(f"{getattr(stream, name):,}" for name in headers[1:])) for stream in report.followed.streams]
    return table(headers, rows, "lrrrrrr") if rows else f"no datagram of {report.framing} came"


def _microseconds(value_ns: int | None) -> str:
    return "-" if value_ns is None else f"{value_ns / 1000:,.1f} us"
