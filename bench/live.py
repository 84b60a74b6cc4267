"""packets through a veth pair: our ring in throughput mode beside libpcap, tcpdump and dumpcap

128-byte MoldUDP64 datagrams at 100 k, 300 k and 1 M packets/s and as fast as the sender can. Every receiver is a process on
the same CPU with a ring of 64 MiB, the sender and its softirq are on another; they take turns, and the figures are medians.
"libpcap" is pcap_dispatch with the textbook's work behind it and the same block timeout as ours; tcpdump and dumpcap only
write to /dev/null, and do no accounting.

CPU per packet is that of the whole process (all threads, user and system) from before the load until after it. At low rates
it is the waking up, some 1000 times a second, that is paid for, and all receivers tie; walking shows as it gets faster. Loss
is what of the packets that reached the interface a receiver does not have; ours are counted twice, by the kernel's counters
and by the packets' own numbers, and these two have to agree. A sender that is slower because a receiver is dearer to the
kernel shows in the rate that was reached.
"""

import os

from bench.figures import Board, Figure, UnavailableError, median
from bench.receivers import Outcome, available, receive, veth_pair

RATES = (100_000, 300_000, 1_000_000, None)
ROUNDS = 5
SECONDS = 0.5


def two_cpus() -> tuple[int, int]:
    """Of the receiver and of the sender.

    Raises:
        UnavailableError: there is one only.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise UnavailableError("this process may run on one CPU only")
    return cpus[1], cpus[0]


def name_of(rate: int | None) -> str:
    return "flat out" if rate is None else f"{rate / 1e6:g} M/s" if rate >= 1_000_000 else f"{rate // 1000} k/s"


def main(board: Board, *, brief: bool = False) -> None:
    """Prints each receiver's loss and CPU per packet at each rate, and ours as a ratio to libpcap's."""
    found, missing = available()
    for words in missing:
        board.note(f"not compared: {words}")
    board.note(", ".join(version for version in found.values() if version))
    cpus, results = two_cpus(), {}
    with veth_pair() as pair:
        for rate in RATES:
            outcomes: dict[str, list[Outcome]] = {name: [] for name in found}
            for _ in range(1 if brief else ROUNDS):
                for name in found:
                    outcomes[name].append(receive(name, pair, cpus, rate, 0.2 if brief else SECONDS))
            results[rate] = outcomes
            for name, each in outcomes.items():
                board.note(f"{name_of(rate):10}{name:9}{told(each)}")
    judge(board, results)


def told(outcomes: list[Outcome]) -> str:
    """One receiver at one rate, in words."""
    rate = median(each.sent.rate_per_s for each in outcomes)
    cpu = median(each.cpu_ns_per_packet for each in outcomes)
    lost, drops = sum(each.missing for each in outcomes), sum(each.drops for each in outcomes)
    arrived = sum(each.arrived for each in outcomes)
    loss = f"lost {100 * lost / max(1, arrived):.3g} % ({lost:,}; the kernel says {drops:,})" if lost or drops else "lost none"
    return f"{rate / 1e6:6.3f} M packets/s ({outcomes[0].sent.means})  {cpu:7.1f} ns CPU/packet  {loss}"


def judge(board: Board, results: dict[int | None, dict[str, list[Outcome]]]) -> None:
    worse = []
    for rate, outcomes in results.items():
        lossless = {name for name, each in outcomes.items() if not sum(one.missing for one in each)}
        if lossless and "ours" not in lossless:
            worse.append(name_of(rate))
    rivals = {name for outcomes in results.values() for name in outcomes} - {"ours"}
    if rivals:
        note = f"of {len(results)}{': ' + ', '.join(worse) if worse else ''}"
        board.put(Figure("rates at which a rival lost nothing and we did", len(worse), at_most=0, note=note))
    for rate, outcomes in results.items():
        for rival in sorted(rivals):
            if rival in outcomes:
                pairs = zip(outcomes["ours"], outcomes[rival], strict=True)
                ratio = median(ours.cpu_ns_per_packet / theirs.cpu_ns_per_packet for ours, theirs in pairs)
                target = 0.5 if rival == "libpcap" and rate is None else None
                board.put(Figure(f"{name_of(rate)}: CPU per packet, ours / {rival}", ratio, at_most=target))
