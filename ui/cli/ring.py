"""``quietcore ring``: the packets of an interface or of a capture file, each accounted for."""

import argparse
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from tuner.host.cpulist import CpuListError, parse_list
from tuner.host.privileges import give_up
from ui.cli.durations import duration
from ui.cli.output import emit, say
from ui.cli.reading import stopped_by_signals, undisturbed
from ui.cli.ring_sources import feed_options, filter_of, following_of, sources_of, told
from ui.cli.ring_text import filter_words, interval_text, report_text
from ui.cli.sizes import number, size

if TYPE_CHECKING:
    from ingest.feeds.witness import Witness
    from ingest.rings.capture import CaptureFile
    from ingest.rings.layout import Following
    from ingest.rings.packet import PacketRing
    from ingest.rings.pcapng_writer import CaptureWriter
    from ingest.rings.source import Source
    from ingest.stamps.sampler import StampSampler

_OF_LISTS = frozenset("0123456789,-")

EPILOG = """\
modes:
  latency     fixed frames, read every 100 us while packets come (default)
  throughput  blocks of packets, read every 2 ms: a tenth of the CPU time, some milliseconds late

A packet ring is a tap: it takes nothing away from the programs that receive. Every packet that the kernel offers to it is
either read or reported as dropped; `unaccounted` is 0, or something is wrong. `core` is the CPU on which the kernel received
the packets. Latency is from the kernel's stamp at the entry of the network stack to the moment of reading.

--stamps both also measures what lies before that: from the NIC's stamp to the kernel's (the bus, the
interrupt's moderation, its CPU's wake-up, the driver, GRO), of one packet in N, drawn at random so that
some 500 a second are looked at. The NIC has a clock of its own: how far it is from the host's is measured
once a second at /dev/ptpN (root's) and taken out, and the report says how well it is known. Where it
cannot be measured, or the NIC does not stamp, the report says so and what to do. Turning stamps on is
ptp4l's business, or `hwstamp_ctl -i eth2 -r 1`, or a profile's `hwtstamp`.

Ends at Ctrl-C or SIGTERM with the whole report. Needs CAP_NET_RAW.

The best walker that runs here reads the rings, and all of them count the same: `native` was built at installation by a C
compiler, `numpy` needs numpy (several times slower, cheap only where packets come in batches), `python` needs nothing (more
than a microsecond a packet). QUIETCORE_WALKER=native|numpy|python insists on one. Capture files have no numpy walker.

readers (--cpu LIST):
  none, or one CPU  one reader walks all rings: only that one CPU is disturbed. Choose this first,
                    and a housekeeping CPU: in throughput mode the native walker was measured at
                    3 million packets/s without a loss
  several CPUs      a reader on each. The ring of a core that is in the list is read on that very
                    core, where its packets are in the caches; the other rings are dealt out, to
                    whoever has the fewest. Choose this where one reader drops packets, and name
                    the cores that receive (`core` in the report): each of them pays for its reader

  Streams keep one sequence accounting, whichever readers see them. A stream that moves to another
  core is read by two readers, not in order: until the end `lost` also counts what still lies in
  the other ring. The two lines of a channel meet in one accounting, for which their readers take
  turns: there, one reader is faster. Several readers need the native walker, for threads of the
  other two take turns throughout (two of numpy were measured at 0.6 times the rate of one).
  --write takes one reader.

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

Several sources are read together: `packet:eth2 packet:eth3 --feed itch` for the lines A (the first)
and B (the second) of a channel. Then the report also has what both bring together, who was first and by
how much; and of each gap what this host's own counters say of it.

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
  quietcore ring packet:eth2 --mode throughput --cpu 4-7
  quietcore ring packet:eth2 --filter 'vlan 100 udp (dst 239.1.1.0/24 or [ff15::1]:30001)'
  quietcore ring packet:eth2 --feed infer --seconds 5
  quietcore ring packet:eth2 packet:eth3 --feed itch
  quietcore ring packet:eth2 --stamps both --seconds 10
  quietcore ring packet:eth2 --mode throughput --seconds 10 --write morning.pcapng
  quietcore ring capture:morning.pcapng --feed moldudp64:30001
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("source", metavar="SOURCE", nargs="*", help="what to read: packet:INTERFACE or capture:FILE")
    parser.add_argument("--mode", choices=("latency", "throughput"), help="see below (default: latency)")
    parser.add_argument("--seconds", metavar="N", type=duration, help="how long (default: until Ctrl-C)")
    parser.add_argument("--interval", metavar="S", type=duration, help="also report what came in each interval")
    parser.add_argument(
        "--cpu",
        metavar="LIST",
        type=_cpus,
        default=(),
        help="where to read: one CPU, or several as 2,3 or 2-5 with a reader on each (default: one reader, on any CPU)",
    )
    parser.add_argument(
        "--rings", metavar="N", type=_rings, help="rings, shared by receiving CPU (default: one for each CPU, up to 32 CPUs)"
    )
    parser.add_argument(
        "--stamps",
        choices=("kernel", "nic", "both"),
        help="measure from the kernel's stamp (default) or the NIC's, which ptp4l or the like has to have turned on; both:"
        " from the kernel's, and from the NIC's to the kernel's of a sample; see below",
    )
    feed_options(parser, "follow the numbers of a feed, as moldudp64:30001; or list, or infer (see below)")
    parser.add_argument("--promiscuous", action="store_true", help="ask the NIC for frames to other hosts too")
    parser.add_argument("--write", metavar="FILE", help="also write the packets to a new pcapng file; see below")
    parser.add_argument("--write-packets", metavar="N", type=_packets, help="stop writing after N packets (default: no limit)")
    parser.add_argument(
        "--write-bytes", metavar="SIZE", type=size, help="stop writing before the file is longer, as 500M (default: 1G)"
    )
    parser.epilog = EPILOG


def _cpus(text: str) -> tuple[int, ...]:
    with contextlib.suppress(CpuListError):
        if text.isascii() and not set(text) - _OF_LISTS and (cpus := parse_list(text)):
            return tuple(sorted(cpus))
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a list of CPUs, as 2 or 2,3 or 2-5")


def _rings(text: str) -> int:
    return number(text, 1, 256, "a number of rings from 1 to 256")


def _packets(text: str) -> int:
    return number(text, 1, 99_999_999, "a number of packets from 1 to 99999999")


def run(arguments: argparse.Namespace) -> int:
    """Reads and reports. 1 where no ring can be had, the feed is none, the interface vanished, or a file is damaged."""
    return told("ring", _run, arguments)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.feed == "list":
        from ui.cli.ring_feeds import print_formats

        return print_formats(arguments)
    if not arguments.source:
        say("quietcore ring: the following arguments are required: SOURCE")
        say("try: quietcore ring --help")
        return 1
    if arguments.demo or arguments.root is not None:
        say("quietcore ring: packets come from a real interface; --demo and --root have none. Try: quietcore ring packet:lo")
        return 1
    sources = sources_of(arguments.source)
    if (arguments.feed or "").partition(":")[0] == "infer":
        from ui.cli.ring_feeds import print_inference

        if len(sources) > 1 or sources[0].kind != "packet":
            raise ValueError("a feed is inferred from what one interface receives")
        return print_inference(arguments, sources[0].name)
    writer = _writer(arguments)
    with contextlib.nullcontext() if writer is None else writer:
        return _read(sources, arguments, writer)


def _writer(arguments: argparse.Namespace) -> "CaptureWriter | None":
    from ingest.rings.pcapng_writer import DEFAULT_BYTES, CaptureWriter

    if arguments.write is None:
        if arguments.write_packets or arguments.write_bytes:
            raise ValueError("--write-packets and --write-bytes limit what --write FILE writes; name a file")
        return None
    return CaptureWriter(arguments.write, packets=arguments.write_packets, octets=arguments.write_bytes or DEFAULT_BYTES)


def _open(
    sources: "list[Source]", arguments: argparse.Namespace, following: "Following | None", writer: "CaptureWriter | None"
) -> "PacketRing | CaptureFile":
    from ingest.rings.capture import CaptureFile
    from ingest.rings.packet import PacketRing

    if any(source.kind == "capture" for source in sources):
        live = ("mode", "seconds", "interval", "rings", "promiscuous", "write", "stamps", "filter")
        if wrong := [f"--{name}" for name in live if getattr(arguments, name)]:
            raise ValueError(f"{', '.join(wrong)}: for live sources only; a capture file is read to its end")
        if len(sources) > 1:
            raise ValueError("one capture file is read at a time, and none beside an interface")
        if len(arguments.cpu) > 1:
            raise ValueError("a capture file is read by one reader, in the file's order; name one CPU")
        return CaptureFile.open(sources[0].name, cpu=next(iter(arguments.cpu), None), following=following)
    if writer is not None and len(sources) > 1:
        raise ValueError("--write takes the packets of one interface")
    return PacketRing.open(
        *(source.name for source in sources),
        mode=arguments.mode or "latency",
        rings=arguments.rings,
        cpus=arguments.cpu,
        following=following,
        promiscuous=arguments.promiscuous,
        stamps="nic" if arguments.stamps == "nic" else "kernel",
        filter=filter_of(arguments),
        writer=writer,
    )


def _read(sources: "list[Source]", arguments: argparse.Namespace, writer: "CaptureWriter | None") -> int:
    following = following_of(arguments)
    live = all(source.kind == "packet" for source in sources)
    with contextlib.ExitStack() as held:
        # before the ring: what that has to drop while the ledger is read would be nobody's loss
        witness = held.enter_context(_witness(sources, following)) if following is not None and live else None
        ring = _open(sources, arguments, following, writer)
        held.enter_context(ring)
        samplers = _samplers(sources, arguments, held)
        held.enter_context(stopped_by_signals(ring.stop))
        held.enter_context(undisturbed())
        give_up()  # from here on it reads what strangers send
        if not arguments.json and ring.mode != "capture":
            until = f"for {arguments.seconds:g} s" if arguments.seconds else "until Ctrl-C"
            wanted = f", {filter_words(ring.filter)}" if ring.filter is not None else ""
            say(f"reading {ring.source}, {ring.mode} mode, {ring.walker} walker, {until}{wanted}")
            for sampler in samplers:
                if sampler.words:
                    say(sampler.words)
        for sampler in samplers:
            sampler.start()
        for part in ring.run(arguments.seconds, arguments.interval):
            part = replace(part, nic_to_kernel=tuple(sampler.take() for sampler in samplers))  # noqa: PLW2901
            if arguments.json:
                emit(part.to_json())
            else:
                print(interval_text(part), flush=True)
        for sampler in samplers:
            sampler.stop()
        report = replace(ring.report(), nic_to_kernel=tuple(sampler.whole() for sampler in samplers))
        if writer is not None:
            report = replace(report, written=writer.finish(report))
        verdicts = witness.verdicts(report) if witness is not None else ()
    if arguments.json:
        record = report.to_json()
        emit(record | {"verdicts": [dict(each.facts) for each in verdicts]} if following is not None else record)
    else:
        print("\n".join([report_text(report, following), *(each.sentence for each in verdicts)]), flush=True)
    if report.error is not None:
        say(f"quietcore ring: {report.error}")
        return 1
    return 0


def _samplers(sources: "list[Source]", arguments: argparse.Namespace, held: contextlib.ExitStack) -> "tuple[StampSampler, ...]":
    """One for each interface where both stamps are asked for, open while there is the privilege."""
    if arguments.stamps != "both":
        return ()
    from ingest.stamps.sampler import StampSampler

    wanted = filter_of(arguments)
    return tuple(held.enter_context(StampSampler.open(source.name, wanted)) for source in sources)


def _witness(sources: "list[Source]", following: "Following") -> "contextlib.closing[Witness]":
    from ingest.feeds.witness import Witness
    from tuner.host.host import open_host

    return contextlib.closing(Witness(open_host(), [source.name for source in sources], following))
