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
from tuner.drift import DriftWatch, News
from tuner.host.text import printable
from ui.cli.context import Context, open_context
from ui.cli.drifting import with_drift
from ui.cli.durations import duration
from ui.cli.losses import now_lost
from ui.cli.table import table

MINIMUM_S = 0.1
LAST_LINE_S = 1.0  # how long an end may wait for whoever reads


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("--interval", metavar="TIME", type=duration, default=1.0, help="time between samples (default: 1s)")
    parser.add_argument("--count", metavar="N", type=int, help="end after N samples (default: at Ctrl-C)")
    parser.add_argument("--live", action="store_true", help="on a simulated --root: let it live while this watches")
    parser.epilog = (
        "Reads /proc and /sys from housekeeping CPUs only. The first sample comes after one interval: a rate needs two looks. "
        "With --json each line is a whole sample, with the kernel's own counts beside the rates. Settings of the active "
        "profile are read again every five seconds, and at once when the kernel tells of a link: one that moved is named, with "
        "when that was seen and who is known to write it."
    )


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
    """Prints samples until the count, a signal, or until nobody reads them."""
    if arguments.count is not None and arguments.count < 1:
        print("quietcore watch: --count must be at least 1", file=sys.stderr)
        return 1
    interval_s = max(MINIMUM_S, arguments.interval)
    ending = _Ending()
    try:
        with open_context(arguments) as context:
            drift, news = DriftWatch(context.host, context.store), News()
            with contextlib.closing(drift):
                for sample in _samples(context, interval_s, arguments.count, arguments.live):
                    told = with_drift(sample, drift, news)
                    ending.write(told.to_json() if arguments.json else _text(told))
                    news = drift.step()  # behind the line: what it costs delays no sample
    except _Ended:
        return 0
    return 0


def _samples(context: Context, interval_s: float, count: int | None, live: bool) -> Iterator[Sample]:
    collector = Collector(context.host, context.profile_and_roles)
    if context.host.files.real:  # the CPUs of another host are not ours to run on
        pin_to_housekeeping(collector.topology, collector.roles)
    simulation = context.simulation
    if simulation is None and live and context.host.simulated:
        from tuner.host.simulated import Simulation

        simulation = Simulation(context.host)
    before = partial(simulation.advance, interval_s) if simulation is not None else None
    try:
        yield from collector.stream(interval_s, count, before)
    finally:
        collector.close()


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
            *(printable(f"{event.level}: {event.where}: {event.what}") for event in sample.events),
            "",
        ]
    )


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
