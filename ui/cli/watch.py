"""``quietcore watch``: the sample stream, as a table or as one JSON line a tick."""

import argparse
import contextlib
import sys

from ingest.changes import EVERY, Encoder
from ingest.sample import CoreSample, Sample
from tuner.host.text import printable
from ui.cli.losses import now_lost
from ui.cli.output import say
from ui.cli.ring_sources import told, without_ring
from ui.cli.sampling import Ended, Ending, Pace, sampled, sampling_options
from ui.cli.table import microseconds, table

EPILOG = f"""\
Reads /proc and /sys from housekeeping CPUs only. The first sample comes after one interval: a rate needs two looks. With
--json each line is a whole sample, with the kernel's own counts beside the rates. Settings of
the active profile are read again every few seconds, and at once when the kernel tells of a
link: one that moved is named, with when that was seen and who is known to write it.

over SSH:
  With --changes a line has only what moved since the line before: on a host of 128 busy cores a
  third of the bytes, on a calm one a sixtieth. Each line of changes has the sequence of the
  sample before as its `base`; the first line is whole, and every {EVERY}th, so that a reader who
  lost one goes on at the next. `quietcore view -` reads both kinds; ingest/changes.py says how.

  With --paced a line on stdin like `interval 100ms` changes the pace from there on. Counts,
  rings and feeds go on as they were. The end of stdin changes nothing.

packet rings:
  --ring packet:eth2 opens a packet ring, as `quietcore ring` does in its latency mode, and
  reads it as long as this watches. It is a tap: it takes nothing away from the programs that
  receive. Each sample then has `rings` (what came since the sample before, its drops and its
  latency, and totals) and, with --feed, `feeds` (received, lost, duplicate, reordered of each
  stream, and what two lines bring together). The ledger of losses has them, too, at its stages
  21 and 26.

  What it costs: a thread on the housekeeping CPUs that wakes every 100 us while packets come
  (measured: 8 % of a CPU at 100,000 packets/s, 0.1 % when idle); 32 MiB of locked memory for
  each CPU's ring of each interface, 256 MiB at most in all; and on the CPUs that receive, a
  copy of each packet's first 190 bytes. --filter keeps what is not wanted from all of that. The
  sample's `cost` has the reader's CPU time as `ring_cpu_ns`. A tick never waits for the ring.
  Needs CAP_NET_RAW; opened by root, it goes on as the user that called sudo, or nobody, with
  the rights to open the ring again and to read counters.

  A gap in a feed is held open for a second, in which a number may come late. Then an event says
  how much was lost and where most likely, by the counters that moved meanwhile: in this host,
  on the way of one line, or before both. With two sources the first brings line A and the
  second line B of a channel. An interface that vanishes is waited for; the totals go on when it
  is back.

  `quietcore ring --help` explains sources, feeds and filters.

examples:
  ssh host quietcore watch --json --changes | quietcore view -
  quietcore watch --ring packet:eth2
  quietcore watch --json --ring packet:eth2 --ring packet:eth3 --feed itch
  quietcore watch --ring packet:eth2 --feed moldudp64:30001 --filter 'udp dst 239.1.1.1'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    sampling_options(parser)
    parser.add_argument("--count", metavar="N", type=int, help="end after N samples (default: at Ctrl-C)")
    changes_help = (
        "with --json: after a whole line only what changed; less to send over SSH, and to be read by: quietcore view -"
    )
    parser.add_argument("--changes", action="store_true", help=changes_help)
    paced_help = "obey lines like 'interval 0.5s' on stdin while it goes on, for whoever runs this as a child"
    parser.add_argument("--paced", action="store_true", help=paced_help)
    parser.epilog = EPILOG


def run(arguments: argparse.Namespace) -> int:
    """Prints samples until the count, a signal, or until nobody reads them. 1 where a ring cannot be had."""
    if arguments.count is not None and arguments.count < 1:
        print("quietcore watch: --count must be at least 1", file=sys.stderr)
        return 1
    wrong = without_ring(arguments)
    if arguments.changes and not arguments.json:
        wrong = "--changes is of the stream for programs; add --json"
    if arguments.story is not None and not (arguments.live or arguments.demo):
        wrong = "--story: on a host that lives; add --live and a simulated --root, or --demo"
    if wrong:
        say(f"quietcore watch: {wrong}")
        return 1
    if not arguments.ring:
        return _watch(arguments)
    return told("watch", _watch, arguments)


def _watch(arguments: argparse.Namespace) -> int:
    ending = Ending()
    encoder = Encoder() if arguments.changes else None
    pace = Pace(arguments.interval, sys.stdin.fileno() if arguments.paced else None)
    try:
        with contextlib.closing(sampled(arguments, pace, arguments.count)) as samples:
            for sample in samples:
                if encoder is not None:
                    ending.write(encoder.line(sample))
                else:
                    ending.write(sample.to_json() if arguments.json else _text(sample))
    except Ended:
        return 0
    return 0


def _text(sample: Sample) -> str:
    rows = [_row(core) for core in sample.cores]
    headers = ("cpu", "node", "role", "interruptions/s", "most of them", "softirq/s", "packets/s", "drops", "busy")
    cost = f"self {sample.cost.cpu_percent:.1f} % of CPU {sample.cost.cpus}"
    kind = "  SIMULATED" if sample.source == "simulated" else ""
    return "\n".join(
        [
            f"{sample.host}  sample {sample.sequence}{kind}  {cost}",
            table(headers, rows, "rrlrlrrrr"),
            printable(now_lost(sample.losses), 4000),
            *_rings(sample),
            *(printable(f"{event.level}: {event.where}: {event.what}") for event in sample.events),
            "",
        ]
    )


def _rings(sample: Sample) -> list[str]:
    """One line for each interface of a ring, and for each stream of a feed."""
    lines = []
    for source in dict.fromkeys(ring["source"] for ring in sample.rings):
        mine = [ring for ring in sample.rings if ring["source"] == source]
        packets, drops = (sum(ring[name] for ring in mine) for name in ("packets", "drops"))
        total, dropped = (sum(ring["total"][name] for ring in mine) for name in ("packets", "drops"))
        slowest = max((ring["latency"]["p99_ns"] or 0 for ring in mine), default=0) or None
        name = mine[0]["interface"] + (f" (was {source})" if mine[0]["interface"] != source else "")
        seconds = max(ring["seconds"] for ring in mine)
        rate = f"{packets / seconds:,.0f} packets/s" if seconds else "no news"
        state = "" if mine[0]["open"] else "  CLOSED"
        lines.append(
            f"ring {name}: {rate}, {drops:,} dropped, p99 {microseconds(slowest)}; in all {total:,}, {dropped:,} dropped{state}"
        )
    for feed in sample.feeds:
        name = f"{feed.get('channel', '')} {feed.get('line', '')} {feed.get('stream', '')}".strip()
        more = f", {feed['duplicate']:,} duplicate, {feed['reordered']:,} reordered" if "stream" in feed else ""
        lines.append(f"feed {name}: {feed['received_per_s']:,.0f}/s; in all {feed['received']:,}, {feed['lost']:,} lost{more}")
    return [printable(line, 400) for line in lines]


def _row(core: CoreSample) -> tuple[str, ...]:
    cause = f"{core.top_cause} {core.top_cause_per_s:.0f}" if core.top_cause else "-"
    return (
        str(core.cpu),
        str(core.node),
        core.role,
        f"{core.interruptions_per_s:.0f}",
        cause,
        f"{core.softirqs_per_s:.0f}",
        f"{core.packets_per_s:.0f}",
        str(core.backlog_drops),
        f"{core.busy_percent:.0f}%",
    )
