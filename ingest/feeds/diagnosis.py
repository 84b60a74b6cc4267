"""Where a channel's numbers were lost: what its two lines and this host's own counters say of one interval, together.

Lines A and B carry the same numbers over disjoint paths. So a number that one line lost and the other brought was lost on that
line's own path, before this host or in it; one that both lost was lost before the paths part, or where they meet again. Which
half it was say the loss counters of the line's interface: they moved, or they did not.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass


class Verdict(enum.Enum):
    """One thing that an interval shows."""

    FINE = "fine"
    NETWORK = "network"  # on the way of one line to this host
    HOST_PATH = "host-path"  # in this host, on the way of one line
    UPSTREAM = "upstream"  # at the exchange, or in a switch that both lines cross
    SHARED_QUEUE = "shared-queue"  # in this host, in the RX queue that both lines share
    HOST = "host"  # in this host, on both ways at once
    MIXED = "mixed"  # on both ways, of which one only shows it in this host
    LINE_SILENT = "line-silent"
    BOTH_SILENT = "both-silent"


@dataclass(frozen=True, slots=True)
class LineInterval:
    """One line over one interval.

    Attributes:
        name: ``A`` or ``B``.
        interface: on which it comes in.
        packets: datagrams that came.
        received: numbers that came.
        lost: numbers newly found missing; below 0 where more came late than went missing.
        moved: names of the loss counters of its interface and its queues that moved.
        dropped: how many numbers at most the packets held that these counted; None where that is not known.
    """

    name: str
    interface: str
    packets: int
    received: int
    lost: int
    moved: tuple[str, ...] = ()
    dropped: int | None = None

    def explains(self, lost: int, already: int = 0) -> bool:
        """Whether its counters account for at least half of what is lost, beyond what they account for ``already``."""
        return bool(self.moved) and (self.dropped is None or 2 * max(0, self.dropped - already) >= lost)


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict with the line of which it speaks, empty for both, and a sentence for people."""

    verdict: Verdict
    line: str
    sentence: str


def diagnose(a: LineInterval, b: LineInterval, lost_on_both: int, shared_queue: bool) -> tuple[Finding, ...]:
    """What the interval shows, the gravest first; one ``FINE`` where nothing is wrong.

    Args:
        a: line A.
        b: line B.
        lost_on_both: numbers newly found missing on both lines, after the hold-off.
        shared_queue: whether both lines are received by one RX queue.
    """
    findings = [*_both(a, b, lost_on_both, shared_queue), *_alone(a, b, lost_on_both), *_silent(a, b)]
    if findings:
        return tuple(findings)
    return (Finding(Verdict.FINE, "", f"Both lines came whole: {a.received:,} numbers on A, {b.received:,} on B."),)


def _silent(a: LineInterval, b: LineInterval) -> Iterator[Finding]:
    if not (a.packets or b.packets):
        where = a.interface if a.interface == b.interface else f"{a.interface} and {b.interface}"
        yield Finding(
            Verdict.BOTH_SILENT,
            "",
            f"Neither line brought a datagram: the venue is closed, or neither group is joined on {where}"
            + (f"; but {_names(a, b)} moved: look there first." if a.moved or b.moved else "."),
        )
        return
    for line, other in ((a, b), (b, a)):
        if line.packets:
            continue
        if line.explains(other.received):
            sentence = (
                f"Line {line.name} is silent while {other.name} flows, and {_names(line)} of {line.interface} moved: "
                "its datagrams reach this host and are dropped here."
            )
            yield Finding(Verdict.HOST_PATH, line.name, sentence)
        else:
            sentence = (
                f"Line {line.name} is silent while {other.name} flows: see that its group is joined on {line.interface} "
                "and that the switch's IGMP snooping has a querier."
            )
            yield Finding(Verdict.LINE_SILENT, line.name, sentence)


def _both(a: LineInterval, b: LineInterval, lost: int, shared_queue: bool) -> Iterator[Finding]:
    if lost <= 0 or not (a.packets and b.packets):
        return  # with one line silent the other's losses are its own: there was nothing to fill them
    both = f"{lost:,} numbers are missing on both lines"
    here_a, here_b = (line.explains(lost, max(0, line.lost - lost)) for line in (a, b))
    if shared_queue and (here_a or here_b):
        sentence = f"{both}, and {_names(a, b)} moved: they were dropped in the RX queue that both share; part the lines."
        yield Finding(Verdict.SHARED_QUEUE, "", sentence)
    elif here_a and here_b:
        sentence = f"{both}, and {_names(a, b)} moved: this host dropped them on both paths at once."
        yield Finding(Verdict.HOST, "", sentence)
    elif here_a or here_b:
        here, there = (a, b) if here_a else (b, a)
        moved = "counted enough" if there.moved else "moved"
        sentence = (
            f"{both}, but only {_names(here)} of {here.interface} {moved}: this host dropped them on line {here.name}, "
            f"the network on line {there.name}, or they never left the exchange."
        )
        yield Finding(Verdict.MIXED, "", sentence)
    else:
        moved = f"{_names(a, b)} counted too few for it" if a.moved or b.moved else "no counter of this host moved"
        sentence = f"{both}, and {moved}: the exchange, or a switch that both lines cross."
        if shared_queue:
            sentence += " Both share one RX queue, too: see that its driver counts what the queue drops."
        yield Finding(Verdict.UPSTREAM, "", sentence)


def _alone(a: LineInterval, b: LineInterval, lost_on_both: int) -> Iterator[Finding]:
    for line, other in ((a, b), (b, a)):
        if not line.packets:
            continue
        filled = other.packets > 0
        lost = line.lost - max(lost_on_both, 0) if filled else line.lost
        if lost <= 0:
            continue
        alone = f"Line {line.name} lost {lost:,} numbers " + (
            f"that {other.name} brought" if filled else f"that nobody brought, since {other.name} is silent"
        )
        if line.explains(lost):
            sentence = f"{alone}, and {_names(line)} of {line.interface} moved: this host dropped them."
            yield Finding(Verdict.HOST_PATH, line.name, sentence)
        else:
            few = f"{_names(line)} of {line.interface} counted too few"
            moved = few if line.moved else f"no counter of {line.interface} moved"
            sentence = f"{alone}, and {moved}: network {line.name}, before this host."
            yield Finding(Verdict.NETWORK, line.name, sentence)


def _names(*lines: LineInterval) -> str:
    """The counters that moved, each once."""
    return ", ".join(dict.fromkeys(name for line in lines for name in line.moved))
