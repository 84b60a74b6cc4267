"""``quietcore ring``: the packets of an interface or of a capture file, each accounted for."""

import argparse
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from ui.cli.capture_text import capture_lines, written_lines
from ui.cli.durations import duration
from ui.cli.output import emit, say
from ui.cli.reading import stopped_by_signals, undisturbed
from ui.cli.table import microseconds, table

if TYPE_CHECKING:
    from ingest.rings.capture import CaptureFile
    from ingest.rings.counters import RingCounters, RingReport
    from ingest.rings.packet import PacketRing
    from ingest.rings.pcapng_writer import CaptureWriter

EPILOG = """\
modes:
  latency     fixed frames, read every 100 us while packets come (default)
  throughput  the kernel hands over blocks: a quarter of the CPU time, but up to a millisecond late

A packet ring is a tap: it takes nothing away from the programs that receive. Every packet that the kernel offers to it is
either read or reported as dropped; `unaccounted` is 0, or something is wrong. `core` is the CPU on which the kernel received
the packets. Latency is from the kernel's stamp at the entry of the network stack to the moment of reading.

Ends at Ctrl-C or SIGTERM with the whole report. Needs CAP_NET_RAW. QUIETCORE_WALKER=native|python insists on one walker.

capture files:
  capture:FILE walks a pcap or pcapng file with the same counters and the same sequence accounting;
  it needs no privilege but to read the file. Either byte order, micro- or nanoseconds; Ethernet,
  raw IP, Linux cooked and loopback are looked into, packets of other link types are counted.
  A file has no latency: the report has the span of its stamps, and `dropped` is what the capturing
  side says that it lost. A file that ends within a record, or is damaged, is counted as far as it
  holds together; the report says where that ends, and the exit status is 1.

  --write FILE writes the packets as pcapng with the kernel's nanoseconds, as far as the ring holds
  them: latency mode keeps the first 190 bytes of each, throughput mode all of it. Reading never
  waits for the file: what it is too slow for is reported as lost. When a limit is reached or the
  disk is full, writing ends, and the report says so; reading goes on.

examples:
  quietcore ring packet:eth2 --interval 1s
  quietcore ring packet:eth2 --seconds 10 --cpu 1 --feed moldudp64:30001 --json
  quietcore ring packet:eth2 --mode throughput --seconds 10 --write morning.pcapng
  quietcore ring capture:morning.pcapng --feed moldudp64:30001
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("source", metavar="SOURCE", nargs="+", help="what to read: packet:INTERFACE or capture:FILE")
    parser.add_argument("--mode", choices=("latency", "throughput"), help="see below (default: latency)")
    parser.add_argument("--seconds", metavar="N", type=duration, help="how long (default: until Ctrl-C)")
    parser.add_argument("--interval", metavar="S", type=duration, help="also report what came in each interval")
    parser.add_argument("--cpu", metavar="N", type=_cpu, help="the CPU for the reader (default: wherever this process may run)")
    parser.add_argument(
        "--rings", metavar="N", type=_rings, help="rings, shared by receiving CPU (default: one for each CPU, up to 32 CPUs)"
    )
    parser.add_argument(
        "--stamps",
        choices=("kernel", "nic"),
        help="measure from the kernel's stamp (default) or the NIC's, which ptp4l or the like has to have turned on",
    )
    parser.add_argument("--feed", metavar="FORMAT[:PORT]", help="follow the sequence numbers of a feed, as moldudp64:30001")
    parser.add_argument("--promiscuous", action="store_true", help="ask the NIC for frames to other hosts too")
    parser.add_argument("--write", metavar="FILE", help="also write the packets to a new pcapng file; see below")
    parser.add_argument("--write-packets", metavar="N", type=_packets, help="stop writing after N packets (default: no limit)")
    parser.add_argument(
        "--write-bytes", metavar="SIZE", type=_bytes, help="stop writing before the file is longer, as 500M (default: 1G)"
    )
    parser.epilog = EPILOG


def _cpu(text: str) -> int:
    return _number(text, 0, 16383, "a CPU number")


def _rings(text: str) -> int:
    return _number(text, 1, 256, "a number of rings from 1 to 256")


def _packets(text: str) -> int:
    return _number(text, 1, 99_999_999, "a number of packets from 1 to 99999999")


def _bytes(text: str) -> int:
    """A size: bytes, or with K, M, G or T (powers of 1024)."""
    digits, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in tuple("KMGT") else (text, "")
    return _number(digits, 1, 99_999_999, "a size, as 500M or 2G") << 10 * (" KMGT".index(unit) if unit else 0)


def _number(text: str, lowest: int, highest: int, what: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 9 and lowest <= int(text) <= highest:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {what}")


def run(arguments: argparse.Namespace) -> int:
    """Reads and reports. 1 where no ring can be had, the interface vanished, or a file is damaged."""
    from ingest.rings.capture import CaptureError
    from ingest.rings.packet import RingError, WalkerMissing
    from ingest.rings.pcapng_writer import WriteError
    from ingest.rings.source import SourceError

    if arguments.demo or arguments.root is not None:
        say("quietcore ring: packets come from a real interface; --demo and --root have none. Try: quietcore ring packet:lo")
        return 1
    try:
        writer = _writer(arguments)
        with contextlib.nullcontext() if writer is None else writer:
            ring = _open(arguments, writer)
            with ring, stopped_by_signals(ring.stop), undisturbed():
                return _read(ring, arguments, writer)
    except (SourceError, RingError, CaptureError, WriteError, WalkerMissing, ValueError) as error:
        say(f"quietcore ring: {error}")
        return 1


def _writer(arguments: argparse.Namespace) -> "CaptureWriter | None":
    from ingest.rings.pcapng_writer import DEFAULT_BYTES, CaptureWriter

    if arguments.write is None:
        if arguments.write_packets or arguments.write_bytes:
            raise ValueError("--write-packets and --write-bytes limit what --write FILE writes; name a file")
        return None
    return CaptureWriter(arguments.write, packets=arguments.write_packets, octets=arguments.write_bytes or DEFAULT_BYTES)


def _open(arguments: argparse.Namespace, writer: "CaptureWriter | None") -> "PacketRing | CaptureFile":
    from ingest.rings.capture import CaptureFile
    from ingest.rings.framing import parse_framing
    from ingest.rings.layout import Following
    from ingest.rings.packet import PacketRing
    from ingest.rings.source import parse_source

    sources = [parse_source(text) for text in arguments.source]
    following = Following((parse_framing(arguments.feed),)) if arguments.feed is not None else None
    if sources[0].kind == "capture":
        live = ("mode", "seconds", "interval", "rings", "promiscuous", "write", "stamps")
        if wrong := [f"--{name}" for name in live if getattr(arguments, name)]:
            raise ValueError(f"{', '.join(wrong)}: for live sources only; a capture file is read to its end")
        if len(sources) > 1:
            raise ValueError("one capture file is read at a time, and none beside an interface")
        return CaptureFile.open(sources[0].name, cpu=arguments.cpu, following=following)
    if len({source.kind for source in sources}) > 1 or (writer is not None and len(sources) > 1):
        raise ValueError("several sources have to be interfaces, and --write takes the packets of one")
    return PacketRing.open(
        *(source.name for source in sources),
        mode=arguments.mode or "latency",
        rings=arguments.rings,
        cpu=arguments.cpu,
        following=following,
        promiscuous=arguments.promiscuous,
        stamps=arguments.stamps or "kernel",
        writer=writer,
    )


def _read(ring: "PacketRing | CaptureFile", arguments: argparse.Namespace, writer: "CaptureWriter | None") -> int:
    if not arguments.json and ring.mode != "capture":
        until = f"for {arguments.seconds:g} s" if arguments.seconds else "until Ctrl-C"
        say(f"reading {ring.source}, {ring.mode} mode, {ring.walker} walker, {until}")
    for part in ring.run(arguments.seconds, arguments.interval):
        if arguments.json:
            emit(part.to_json())
        else:
            print(interval_text(part), flush=True)
    report = ring.report()
    if writer is not None:
        report = replace(report, written=writer.finish(report))
    if arguments.json:
        emit(report.to_json())
    else:
        print(report_text(report), flush=True)
    if report.error is not None:
        say(f"quietcore ring: {report.error}")
        return 1
    return 0


def interval_text(report: "RingReport") -> str:
    """One line: what came in one interval."""
    total = report.total
    latency = total.walked.latency
    rate = total.walked.packets / report.seconds if report.seconds > 0 else 0.0
    text = (
        f"{rate:12,.0f} packets/s  {total.drops:,} dropped  p50 {microseconds(latency.percentile(50))}"
        f"  p99 {microseconds(latency.percentile(99))}  max {microseconds(latency.max_ns if latency.total else None)}"
    )
    lost = sum(stream.lost for stream in report.followed.streams)
    return text + (f"  {lost:,} lost of the feed so far" if report.feed else "")


def report_text(report: "RingReport") -> str:
    """The whole report as tables."""
    rows = [_row(str(ring.core) if ring.core is not None else "any", ring) for ring in report.rings if ring.reached]
    if len(rows) != 1:
        rows.append(_row("total", report.total))
    headers = ("core", "packets", "bytes", "dropped", "unaccounted", "p50", "p99", "p99.9", "max")
    lines = [f"{report.source}  {report.mode} mode, {report.walker} walker, {report.seconds:.1f} s"]
    if report.capture is not None:
        lines += capture_lines(report.capture)
    lines.append(table(headers, rows, "r" * len(headers)))
    walked = report.total.walked
    notes = (
        (walked.truncated, "longer than what was kept of them; their lengths are right"),
        (walked.malformed_frames + walked.malformed_blocks, "malformed, skipped"),
        (walked.latency.negative, "stamped later than they were read: the wall clock was set back; not among the percentiles"),
        (report.followed.unread, "datagrams of the feed's port without a readable number (fragments, too short)"),
        (report.followed.unfollowed, "datagrams of streams beyond the 1024 that are followed"),
    )
    lines += [f"{count:,} {what}" for count, what in notes if count]
    if report.capture is not None:
        lines.append(f"the reader used {report.reader_cpu_ns / 1e9:.3f} s of CPU, last CPU {report.reader_cpu}")
    elif report.seconds > 0:
        share = report.reader_cpu_ns / report.seconds / 1e7
        lines.append(f"the reader used {share:.1f} % of a CPU, last CPU {report.reader_cpu}")
    if report.written is not None:
        lines += written_lines(report.written)
    if report.feed:
        lines.append(_feeds(report))
    return "\n".join(lines)


def _row(core: str, ring: "RingCounters") -> tuple[str, ...]:
    latency = ring.walked.latency
    times = [latency.percentile(percent) for percent in (50, 99, 99.9)]
    counts = (ring.walked.packets, ring.walked.bytes, ring.drops, ring.unaccounted)
    highest = latency.max_ns if latency.total else None
    return (core, *(f"{count:,}" for count in counts), *map(microseconds, (*times, highest)))


def _feeds(report: "RingReport") -> str:
    headers = ("stream", "received", "lost", "duplicate", "reordered", "outside", "resets")  # StreamCounters' own names
    rows = [(stream.stream, *(f"{getattr(stream, name):,}" for name in headers[1:])) for stream in report.followed.streams]
    return table(headers, rows, "lrrrrrr") if rows else f"no datagram of {report.feed} came"
