"""``quietcore watch``: the sample stream, as a table or as one JSON line a tick."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from types import FrameType

from ingest.collector import Collector, pin_to_housekeeping
from ingest.sample import CoreSample, Sample
from tuner.drift import STEP_NS, DriftWatch, News
from tuner.host.text import printable
from ui.cli.context import Context, open_context
from ui.cli.drifting import with_drift
from ui.cli.durations import duration
from ui.cli.losses import now_lost
from ui.cli.output import say
from ui.cli.ring_sources import ring_options, told, without_ring
from ui.cli.story_option import story_option, story_pace, without_life
from ui.cli.table import microseconds, table

MINIMUM_S = 0.1
EPILOG = """\
Reads /proc and /sys from housekeeping CPUs only. The first sample comes after one interval: a rate needs two looks. With
--json each line is a whole sample, with the kernel's own counts beside the rates. Settings of
the active profile are read again every few seconds, and at once when the kernel tells of a
link: one that moved is named, with when that was seen and who is known to write it.

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
  quietcore watch --ring packet:eth2
  quietcore watch --json --ring packet:eth2 --ring packet:eth3 --feed itch
  quietcore watch --ring packet:eth2 --feed moldudp64:30001 --filter 'udp dst 239.1.1.1'
"""
LAST_LINE_S = 1.0  # how long an end may wait for whoever reads


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("--interval", metavar="TIME", type=duration, default=1.0, help="time between samples (default: 1s)")
    parser.add_argument("--count", metavar="N", type=int, help="end after N samples (default: at Ctrl-C)")
    parser.add_argument("--live", action="store_true", help="on a simulated --root: let it live while this watches")
    story_option(parser)
    ring_options(parser)
    parser.epilog = EPILOG


class _Ended(Exception):
    """Somebody asked for the end."""


class _Ending:
    """Ends the stream at SIGINT or SIGTERM: at once while nothing is written, else behind the line that is being written.

    A line that nobody takes within a second of the signal, or before a second signal, stays torn: an end must not wait for a
    reader that is stopped. Later signals change nothing: the end is under way.
    """

    def __init__(self) -> None:
        self._writing = self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, self._end)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if self._writing and not self._asked:
            self._asked = True
            signal.setitimer(signal.ITIMER_REAL, LAST_LINE_S)
            return
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        raise _Ended

    def write(self, text: str) -> None:
        """A line, or several, and out with them.

        Raises:
            _Ended: they were the last.
        """
        # not by print: with PYTHONUNBUFFERED that forgets what a signal leaves unwritten
        line = memoryview(f"{text}\n".encode(sys.stdout.encoding, sys.stdout.errors or "strict"))
        self._writing = True
        try:
            while line:
                line = line[os.write(sys.stdout.fileno(), line) :]
        finally:
            self._writing = False
        if self._asked:
            self._end(signal.SIGTERM, None)


def run(arguments: argparse.Namespace) -> int:
    """Prints samples until the count, a signal, or until nobody reads them. 1 where a ring cannot be had."""
    if arguments.count is not None and arguments.count < 1:
        print("quietcore watch: --count must be at least 1", file=sys.stderr)
        return 1
    wrong = without_ring(arguments) or without_life(arguments)
    if wrong:
        say(f"quietcore watch: {wrong}")
        return 1
    if not arguments.ring:
        return _watch(arguments)
    return told("watch", _watch, arguments)


def _watch(arguments: argparse.Namespace) -> int:
    interval_s = max(MINIMUM_S, arguments.interval)
    ending = _Ending()
    try:
        with open_context(arguments) as context, contextlib.ExitStack() as held:
            drift, news = held.enter_context(contextlib.closing(DriftWatch(context.host, context.store))), News()
            # a signal must not come between the opening of a ring and its being held
            for sample in _samples(context, arguments, interval_s, held):
                whole = with_drift(sample, drift, news)
                ending.write(whole.to_json() if arguments.json else _text(whole))
                news = drift.step(max(STEP_NS, round(interval_s * 2e7)))  # behind the line: it delays no sample
    except _Ended:
        return 0
    return 0


def _samples(
    context: Context, arguments: argparse.Namespace, interval_s: float, held: contextlib.ExitStack
) -> Iterator[Sample]:
    rings = None
    if arguments.ring:
        from ui.cli.watch_rings import opened

        rings = opened(context, arguments, interval_s, held)
    story = story_pace(context, arguments)
    if story is not None:
        from ui.cli.story import told_samples

        yield from told_samples(context, interval_s, arguments.count, story, held)
        return
    collector = Collector(context.host, context.profile_and_roles, rings)
    held.callback(collector.close)
    if context.host.files.real and rings is None:  # the CPUs of another host are not ours to run on
        pin_to_housekeeping(collector.topology, collector.roles)
    before = None
    if arguments.live and context.host.simulated:
        from tuner.host.simulated import Simulation

        before = partial(Simulation(context.host).advance, interval_s)
    yield from collector.stream(interval_s, arguments.count, before)


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
