"""Where a feed's gap was most likely lost: a judgement over the ledger of the same interval, with its reasons.

Pure: a gap and rows in, a stage and words out. The rules, in the order in which they are asked:

1. A line that brought nothing while its group was to be heard, and no drop that moved: membership (16). Silence has no counter.
2. Of the stages that lost packets in the interval, the first one on the way from the wire that explains at least half of the
   gap. First, not largest: descriptors run out (7) because a CPU was late, and then the backlog overflows (11), too.
3. If none does, the largest of them, and what it leaves unexplained.
4. Nothing here moved: the switch, where this NIC asked it to wait (3); the venue or what is common to both lines, where the
   other line misses the same; this line's network, where the other line is whole; else upstream (0), with what is invisible.

``rx_dropped`` is no proof: it holds LLDP and other frames that nobody handles, typically one in 30 s. Nor are corrected errors.
But it bounds the backlog (11), which is counted by CPU for all interfaces together: each of its drops is one of ``rx_dropped``
of the interface, too (net/core/dev.c, enqueue_to_backlog). What a CPU dropped beyond that was another interface's.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingest.sample import LossSample
from ingest.stages import DELAY, DETAIL, FILTERED, HOST, LOSS, NAMES, TRANSMIT, WARNING, invisible

_RING, _FEED = 21, 26
WHOLE, SAME, SILENT, UNKNOWN = "whole", "same", "silent", "unknown"
EXPLAINS = 0.5  # of a gap, or it is not the reason
_BACKLOG = 11
_BEFORE_HOST = range(1, 10)  # stages that belong to an interface


@dataclass(frozen=True, slots=True)
class Gap:
    """What a feed misses.

    Attributes:
        nic: the interface of the line, as the ledger shows it.
        lost: messages or packets that are missing.
        interval_s: the time in which they went missing, which is the time of the rates.
        received: packets of the line in the interval, None where nobody counts them.
        other_line: ``whole`` (it has what is missing), ``same`` (it misses the same), ``silent``, or ``unknown``.
        joined: whether the group is joined on the interface, None where that is not known.
        other_nic: the other line's interface, empty where there is none.
        also: more interfaces that its packets come through: those beneath a bond or a VLAN.
        per_packet: how many of what is missing a packet holds, on average.
    """

    nic: str
    lost: int
    interval_s: float
    received: int | None = None
    other_line: str = UNKNOWN
    joined: bool | None = None
    other_nic: str = ""
    also: tuple[str, ...] = ()
    per_packet: float = 1.0

    @property
    def nics(self) -> tuple[str, ...]:
        """All interfaces of the line."""
        return (self.nic, *self.also)


@dataclass(frozen=True, slots=True)
class Likely:
    """A verdict. ``explained``: how many of the missing packets its counter accounts for, at most all."""

    stage: int
    name: str
    where: str
    explained: int
    why: str


def likely_stage(gap: Gap, rows: Iterable[LossSample]) -> Likely:
    """The stage at which the gap was most likely lost.

    Args:
        gap: what is missing.
        rows: the ledger of the same interval.

    Raises:
        ValueError: a gap of nothing, or in no time.
    """
    if gap.lost <= 0 or not gap.interval_s > 0:
        raise ValueError(f"no gap: {gap.lost} lost in {gap.interval_s} s")
    mine = [row for row in rows if _concerns(row, gap)]
    stages = lost_by_stage(mine, gap)
    if not stages:
        return _silence(gap, mine) if gap.received == 0 else _nothing_moved(gap, mine)
    enough = [stage for stage, (packets, _) in stages.items() if packets >= EXPLAINS * gap.lost]
    stage = min(enough) if enough else max(stages, key=lambda each: stages[each][0])
    packets, row = stages[stage]
    words = [_counted(row, packets, gap), *_reasons(stage, gap, mine)]
    also = [f"{NAMES[other]} {stages[other][0]:.0f}" for other in stages if other != stage]
    words += [f"{gap.lost - packets:.0f} are not explained by it"] if packets < EXPLAINS * gap.lost else []
    words += [f"also moved: {', '.join(also)}"] if also else []
    return Likely(stage, NAMES[stage], row.where, min(gap.lost, round(packets)), "; ".join(words))


def lost_by_stage(rows: Iterable[LossSample], gap: Gap) -> dict[int, tuple[float, LossSample]]:
    """Stage -> what was lost there that may be the line's, in the gap's unit, and the row that lost most; from the wire on."""
    mine = [row for row in rows if _concerns(row, gap)]
    moved = [row for row in mine if row.kind == LOSS and row.visible and row.per_s > 0 and row.stage < _FEED]
    found: dict[int, tuple[float, LossSample]] = {}
    for row in sorted(moved, key=lambda each: (each.stage, -each.per_s)):
        lost, first = found.get(row.stage, (0.0, row))
        found[row.stage] = (lost + _missing(row, gap), first)
    if _BACKLOG in found:
        lost, first = found[_BACKLOG]
        found[_BACKLOG] = (min(lost, _backlog_at_most(mine, gap)), first)
    return {stage: each for stage, each in found.items() if each[0] > 0}


def _concerns(row: LossSample, gap: Gap) -> bool:
    """Whether a row may tell of this line: its interface, or a stage that is the whole host's. Transmission never does."""
    if row.stage == TRANSMIT:
        return False
    if row.stage == _RING and row.visible:
        return row.where.removeprefix("packet:") in gap.nics
    return row.where in gap.nics if row.stage in (*_BEFORE_HOST, 13) and row.where != HOST else True


def _missing(row: LossSample, gap: Gap) -> float:
    return row.per_s * gap.interval_s * gap.per_packet


def _backlog_at_most(mine: Sequence[LossSample], gap: Gap) -> float:
    """What the backlogs can have dropped of this line: no more than its interfaces' ``rx_dropped``, where that is told."""
    told = [row for row in mine if row.stage == 13 and row.counter == "rx_dropped" and row.visible]
    return sum(_missing(row, gap) for row in told) if told else math.inf


def _counted(row: LossSample, lost: float, gap: Gap) -> str:
    if gap.per_packet > 1:
        count = f"{lost / gap.per_packet:.0f} packets of some {gap.per_packet:.1f} each; {gap.lost} are missing"
    elif round(lost) <= gap.lost:
        count = f"{lost:.0f} of the {gap.lost} that are missing"
    else:
        count = f"{lost:.0f}, and {gap.lost} are missing"
    return f"{row.counter} on {row.where} counted {count}"


def _rising(mine: Sequence[LossSample], stage: int, *kinds: str) -> list[LossSample]:
    return [row for row in mine if row.stage == stage and row.kind in kinds and row.visible and row.per_s > 0]


def _reasons(stage: int, gap: Gap, mine: Sequence[LossSample]) -> list[str]:
    """What moved beside it and tells why."""
    words = []
    if stage == 2 and gap.other_line == WHOLE:
        words.append("the other line is whole: cable or optics of this one")
    if stage == 5:
        words += [f"PCIe held it up ({row.counter})" for row in _rising(mine, 6, WARNING)[:1]]
        words += [f"descriptors were short ({row.counter})" for row in _rising(mine, 7, WARNING, LOSS)[:1]]
    if stage in (5, 7):
        words += [f"softirq was late on {row.where}" for row in _rising(mine, 10, DELAY)[:2]]
    if stage == 18:
        sockets = sorted(_rising(mine, 18, DETAIL), key=lambda each: (each.counter != "sk_drops", -each.per_s))
        words += [f"worst socket {row.where} ({row.note})" for row in sockets[:1]]
    if gap.other_line == SAME and stage in (5, 7, 11):
        words.append("both lines miss the same: do they share a queue or a CPU of this host?")
    return words


def _silence(gap: Gap, mine: Sequence[LossSample]) -> Likely:
    if gap.joined is False:
        return _verdict(16, gap.nic, 0, "nothing came, and the group is not joined on this interface")
    joined = "the group is joined" if gap.joined else "whether the group is joined is not known"
    if gap.other_line == SILENT:
        return _verdict(0, HOST, 0, f"both lines are silent and {joined}: the venue, or what both lines share")
    filtered = _rising(mine, 4, FILTERED) + _rising(mine, 16, FILTERED)
    words = f"nothing came while {joined}: membership (no querier, snooping, wrong interface), or the line is down"
    return _verdict(16, gap.nic, 0, words + (f"; {filtered[0].counter} moved" if filtered else ""))


def _nothing_moved(gap: Gap, mine: Sequence[LossSample]) -> Likely:
    paused = _rising(mine, 3, WARNING)
    if paused:
        where, counter = paused[0].where, paused[0].counter
        return _verdict(3, where, 0, f"no drop here, but {counter} moved on {where}: the switch was told to wait, and dropped")
    seen = {row.stage for row in mine if row.visible}
    blind = [str(stage) for stage in sorted(invisible(mine)) if 0 < stage < _FEED and stage not in seen]
    unseen = f"; stages not visible here: {', '.join(blind)}" if blind else ""
    if gap.other_line == SAME:
        why = f"no drop here, and the other line misses the same: the venue, or what both lines share{unseen}"
        return _verdict(0, HOST, 0, why)
    if gap.other_line == WHOLE:
        return _verdict(0, HOST, 0, f"no drop here, and the other line is whole: the network of {gap.nic}'s line{unseen}")
    return _verdict(0, HOST, 0, f"no drop of this host moved{unseen}")


def _verdict(stage: int, where: str, explained: int, why: str) -> Likely:
    return Likely(stage, NAMES[stage], where, explained, why)
