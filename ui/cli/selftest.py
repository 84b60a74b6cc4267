"""``quietcore selftest``: does this host's ring lose packets? An answer in seconds, and for every packet."""

import argparse
import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ui.cli.context import open_context
from ui.cli.durations import duration
from ui.cli.output import emit, say
from ui.cli.reading import stopped_by_signals, undisturbed
from ui.cli.table import microseconds

if TYPE_CHECKING:
    from ingest.load.measure import Measurement, Step
    from ingest.load.places import Places

RATES: tuple[int | None, ...] = (10_000, 100_000, 500_000, 1_000_000, None)
SECONDS = 5.0
EPILOG = """\
Makes two network namespaces with a veth pair between them, sends numbered packets through it at a paced rate from a
process of its own, and reads them as `quietcore ring` would. Each packet is accounted for twice: by the kernel's
counters (read, dropped by the full ring, dropped by the receiving CPU's backlog before the ring) and by the packets'
own numbers (missing). No interface of the host is touched, and nothing is left behind, not even by kill -9.

by:
  sendmmsg    a packet socket, in batches; up to 600,000 packets/s
  xdp         above: the kernel injects frames into the receiving interface (bpf(2), Linux 5.18)
  python      where the native sender was not built; up to some 100,000 packets/s

Reader and sender run on CPUs that are neither isolated nor given away by the active profile. What is lost at the highest
rate need not worry anybody whose feeds are slower; what is lost below it should.

exit status:
  0  nothing was lost
  1  no test was possible, or a packet is unaccounted for
  2  packets were lost, and each is accounted for as dropped
  130  ended by a signal before all steps were taken

Needs root: CAP_SYS_ADMIN and CAP_NET_ADMIN for the namespaces, CAP_NET_RAW for the packets.

examples:
  sudo quietcore selftest
  sudo quietcore selftest --rate 800k --seconds 30 --size 100-1400 --streams 8
  sudo quietcore selftest --rate 2M,max --mode throughput --cpu 3 --json
"""
_HEADERS = ("asked/s", "sent/s", "by", "sent", "read", "dropped", "missing", "p50", "p99", "reader")
_WIDTHS = (11, 11, 8, 11, 11, 9, 9, 11, 11, 7)
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([kKmM]?)", re.ASCII)
_MOST_STEPS = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "--rate",
        metavar="RATES",
        type=_rates,
        default=RATES,
        help="packets/s, as 100k or 10k,2M,max (default: 10k,100k,500k,1M,max)",
    )
    parser.add_argument(
        "--seconds", metavar="N", type=duration, default=SECONDS, help="how long, all rates together (default: 5)"
    )
    parser.add_argument(
        "--size", metavar="BYTES", type=_sizes, default=(128, 128), help="frames' size, or sizes, as 62-1514 (default: 128)"
    )
    parser.add_argument("--streams", metavar="N", type=_streams, default=1, help="feeds, each numbered by itself (default: 1)")
    parser.add_argument("--mode", choices=("latency", "throughput"), default="latency", help="of the ring (default: latency)")
    parser.add_argument("--cpu", metavar="N", type=_cpu, help="the CPU for the reader (default: one that is not isolated)")
    parser.epilog = EPILOG


def _rates(text: str) -> tuple[int | None, ...]:
    rates = tuple(_rate(word.strip()) for word in text.split(","))
    if len(rates) > _MOST_STEPS:
        raise argparse.ArgumentTypeError(f"{len(rates)} rates are too many: at most {_MOST_STEPS}")
    return rates


def _rate(text: str) -> int | None:
    from ingest.load.demand import HIGHEST_RATE

    if text == "max":
        return None
    match = _RATE.fullmatch(text)
    rate = round(float(match[1]) * {"": 1, "k": 1000, "m": 1_000_000}[match[2].lower()]) if match else 0
    if not 1 <= rate <= HIGHEST_RATE:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no rate: packets/s up to 100M, as 5000, 100k, 1.5M, or max")
    return rate


def _sizes(text: str) -> tuple[int, int]:
    from ingest.load.frames import LONGEST, SHORTEST

    lowest, dash, highest = text.partition("-")
    sizes = [int(word) for word in (lowest, highest if dash else lowest) if re.fullmatch(r"[0-9]{1,5}", word, re.ASCII)]
    if len(sizes) != 2 or not SHORTEST <= sizes[0] <= sizes[1] <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no size: bytes from {SHORTEST} to {LONGEST}, as 128 or 62-1514")
    return sizes[0], sizes[1]


def _streams(text: str) -> int:
    from ingest.load.frames import MAX_STREAMS

    return _number(text, 1, MAX_STREAMS, f"a number of streams from 1 to {MAX_STREAMS}")


def _cpu(text: str) -> int:
    return _number(text, 0, 16383, "a CPU number")


def _number(text: str, lowest: int, highest: int, what: str) -> int:
    if re.fullmatch(r"[0-9]{1,8}", text, re.ASCII) and lowest <= int(text) <= highest:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {what}")


def run(arguments: argparse.Namespace) -> int:
    """Takes the steps, tells each, and judges."""
    from ingest.load.demand import LoadError
    from ingest.load.namespaces import NamespaceError
    from ingest.rings.tpacket import RingError
    from ingest.rings.walk import WalkerMissing

    if arguments.demo or arguments.root is not None:
        return _failed(
            arguments, "it tests this machine's own kernel: --demo and --root have none. Try: sudo quietcore selftest"
        )
    try:
        return _test(arguments)
    except (LoadError, NamespaceError, RingError, WalkerMissing, ValueError) as error:
        return _failed(arguments, str(error))


def _failed(arguments: argparse.Namespace, why: str) -> int:
    say(f"quietcore selftest: {why}")
    if arguments.json:
        emit({"command": "selftest", "error": why})
    return 1


def _test(arguments: argparse.Namespace) -> int:
    from ingest.load.measure import Measurement, Setup
    from ingest.load.namespaces import VethPair

    places = _places(arguments)
    lowest, highest = arguments.size
    setup = Setup(places.reader, places.sender, arguments.mode, lowest, highest, arguments.streams)
    steps: list[Step] = []
    with _away_from_isolated(places), VethPair() as pair:
        measurement = Measurement(pair, setup)
        with stopped_by_signals(measurement.stop), undisturbed():
            for step in _taken(measurement, arguments, places):
                steps.append(step)
                if not arguments.json:
                    _tell(step, first=len(steps) == 1)
    status, verdict = judge(steps, len(arguments.rate) if not measurement.stopped else None)
    if arguments.json:
        lost = sum(step.missing for step in steps)
        emit(
            {
                "command": "selftest",
                "mode": arguments.mode,
                "walker": steps[-1].report.walker if steps else None,
                "cpus": {"reader": places.reader, "sender": places.sender},
                "steps": [step.to_json() for step in steps],
                "lost": lost,
                "verdict": verdict,
            }
        )
    else:
        print(verdict, flush=True)
    return status


def _taken(measurement: "Measurement", arguments: argparse.Namespace, places: "Places") -> Iterator["Step"]:
    seconds = arguments.seconds / len(arguments.rate)
    where = f"sender on CPU {places.sender}, reader on CPU {places.reader}"
    say(f"testing the ring in {arguments.mode} mode on interfaces of its own, {where}")
    if places.note:
        say(f"note: {places.note}")
    for number, rate in enumerate(arguments.rate, 1):
        if measurement.stopped:
            return
        asked = "as fast as it goes" if rate is None else f"{rate:,} packets/s"
        say(f"step {number} of {len(arguments.rate)}: {asked} for {seconds:g} s")
        yield measurement.step(rate, seconds)


def _places(arguments: argparse.Namespace) -> "Places":
    from ingest.load.places import choose_places
    from ingest.roles import isolated_cpus
    from tuner.host.topology import read_topology

    with open_context(arguments) as context:
        topology = read_topology(context.host.files)
        roles = context.profile_and_roles()[1]
        reserved = isolated_cpus(context.host.files, topology) | {cpu for cpu, role in roles.items() if role != "housekeeping"}
    return choose_places(topology, reserved, frozenset(os.sched_getaffinity(0)), arguments.cpu)


@contextlib.contextmanager
def _away_from_isolated(places: "Places") -> Iterator[None]:
    """This thread, and every process and thread that it starts, on CPUs that are nobody's."""
    before = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):  # a cpuset that holds none of them
        os.sched_setaffinity(0, places.free)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, before)


def judge(steps: Sequence["Step"], wanted: int | None) -> tuple[int, str]:
    """The exit status and the sentence. ``wanted`` is how many steps there should be; None: ended by a signal."""
    sent, read = sum(step.sent for step in steps), sum(step.read for step in steps)
    dropped, before = sum(step.ring_drops for step in steps), sum(step.before_ring for step in steps)
    highest = max((step.rate_per_s for step in steps), default=0.0)
    wrong = [step for step in steps if not step.exact]
    if wrong:
        amount = sum(abs(step.unaccounted) or abs(step.missing - step.ring_drops - step.before_ring) for step in wrong)
        return 1, f"WRONG: {amount:,} of {sent:,} packets are unaccounted for: neither read nor reported as dropped"
    if dropped or before:
        lossless = max((step.rate_per_s for step in steps if not step.missing), default=0.0)
        parts = [f"{dropped:,} dropped by the full ring"] if dropped else []
        parts += [f"{before:,} by the CPU's backlog before the ring"] if before else []
        status, verdict = 2, f"LOST {dropped + before:,} of {sent:,} packets, each accounted for: {', '.join(parts)}"
        verdict += f"; nothing was lost at {lossless:,.0f} packets/s" if lossless else ""
    else:
        status, verdict = 0, f"nothing was lost: {read:,} of {sent:,} packets read, at up to {highest:,.0f} packets/s"
    if wanted is None:
        return 130, f"ended by a signal; until then: {verdict}"
    return status, verdict


def _tell(step: "Step", first: bool) -> None:
    if first:
        print(_line(_HEADERS))
    latency = step.report.total.walked.latency
    asked = "max" if step.asked_per_s is None else f"{step.asked_per_s:,}"
    counts = (f"{count:,}" for count in (step.sent, step.read, step.ring_drops + step.before_ring, step.missing))
    times = (microseconds(latency.percentile(percent)) for percent in (50, 99))
    print(
        _line((asked, f"{step.rate_per_s:,.0f}", step.means, *counts, *times, f"{step.reader_cpu_percent:.1f} %")), flush=True
    )
    if step.fell_short:
        say(f"note: the sender reached {step.rate_per_s:,.0f} of {step.asked_per_s:,} packets/s: the proof holds for that")
    if step.before_ring:
        say(f"note: {step.before_ring:,} of these were dropped before the ring: the receiving CPU's backlog was full")
    if step.refused:
        say(f"note: the sender was refused {step.refused:,} times and sent again: its CPU's backlog was full")
    if step.note:
        say(f"note: {step.note}")


def _line(cells: Sequence[str]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
