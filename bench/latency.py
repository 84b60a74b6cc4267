"""latency mode: from the kernel's stamp to the reader, and what a stalled reader loses

1 k, 10 k and 100 k packets/s through a veth pair into a ring in latency mode (TPACKET_V2, drained every 100 us while packets
come). p50 and p99 are from the kernel's stamp at reception to the walker's reading, of all packets of a round; the figures
are the medians of rounds, so that one round with a busy neighbour does not decide. The reader's share is the CPU of its
thread.

A stall: the reading process is stopped for 100 ms (SIGSTOP) three times within a load of 20 k packets/s, in both modes. The
ring is to hold what comes meanwhile: nothing may be missing, by the kernel's counters and by the packets' numbers.
"""

import signal
import time

from bench.figures import Board, DisagreementError, Figure, UnavailableError, median, spread
from bench.live import two_cpus
from bench.receivers import Receiver, receive, veth_pair
from ingest.load.demand import LoadError
from ingest.load.measure import Measurement, Setup, Step
from ingest.load.namespaces import VethPair

RATES = (1_000, 10_000, 100_000)
ROUNDS = 5
SECONDS = 0.8
STALL_S, STALLS, STALL_RATE = 0.1, 3, 20_000


def step(pair: VethPair, cpus: tuple[int, int], rate_per_s: int, seconds: float) -> Step:
    """One load into a ring in latency mode.

    Raises:
        DisagreementError: its packets are not all accounted for.
    """
    setup = Setup(reader_cpu=cpus[0], sender_cpu=cpus[1], mode="latency", rings=1)
    try:
        taken = Measurement(pair, setup).step(rate_per_s, seconds)
    except LoadError as error:
        raise UnavailableError(str(error)) from error
    if not taken.exact:
        raise DisagreementError(f"sent {taken.sent}, read {taken.read}, dropped {taken.ring_drops}, missing {taken.missing}")
    return taken


def stalled(pair: VethPair, cpus: tuple[int, int], mode: str) -> int:
    """Packets that are missing after the stalls."""

    def stall(receiver: Receiver) -> None:
        for _ in range(STALLS):
            time.sleep(STALL_S)
            receiver.signal(signal.SIGSTOP)
            time.sleep(STALL_S)
            receiver.signal(signal.SIGCONT)

    outcome = receive("ours", pair, cpus, STALL_RATE, (2 * STALLS + 1) * STALL_S, mode, stall)
    return outcome.missing


def main(board: Board, *, brief: bool = False) -> None:
    """Prints percentiles, CPU shares and losses."""
    cpus = two_cpus()
    with veth_pair() as pair:
        taken: dict[int, list[Step]] = {rate: [] for rate in RATES}
        for _ in range(1 if brief else ROUNDS):
            for rate, steps in taken.items():
                steps.append(step(pair, cpus, rate, 0.3 if brief else SECONDS))
        for rate, steps in taken.items():
            name = f"{rate // 1000} k packets/s"
            for percent, most in ((50, 80), (99, 250)):
                values = [(each.report.total.walked.latency.percentile(percent) or 0) / 1e3 for each in steps]
                note = f"{spread(values)}, max {max(each.report.total.walked.latency.max_ns for each in steps) / 1e3:.0f} us"
                board.put(Figure(f"{name}: p{percent}", median(values), at_most=most, unit="us", note=note))
            share = [each.reader_cpu_percent for each in steps]
            board.put(Figure(f"{name}: reader", median(share), at_most=20, unit="%", note=f"of one core {spread(share)}"))
        for mode in ("latency", "throughput"):
            lost = stalled(pair, cpus, mode)
            name = f"{STALLS} stalls of {STALL_S * 1e3:.0f} ms at {STALL_RATE // 1000} k packets/s, {mode} mode: lost"
            board.put(Figure(name, lost, at_most=0))
