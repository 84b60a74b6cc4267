"""What was lost, by where: each physical interface, the host's own stages, and what feeds miss."""

from collections.abc import Sequence

from ingest.sample import LossSample, Sample
from ingest.stages import DETAIL, LOSS

FEED, TRANSMIT = 26, 27  # stages
HOST, FEEDS = "host", "feeds"
_BOTH = " A+B"


def key_of(loss: LossSample) -> str:
    """What a row of the ledger is called among screens: ``stage/where/counter``."""
    return f"{loss.stage}/{loss.where}/{loss.counter}"


def places_of(sample: Sample) -> dict[str, list[LossSample]]:
    """Where -> rows of the ledger that are losses there; ``feeds`` only where feeds are followed.

    A single line of a feed that has two is among them: what one of two misses is told, though nothing may be lost by it.
    """
    found: dict[str, list[LossSample]] = {nic.name: [] for nic in sample.nics if nic.physical}
    found[HOST] = []
    if sample.feeds:
        found[FEEDS] = []
    host = found[HOST]
    for loss in sample.losses:
        if loss.stage == FEED:
            if sample.feeds and loss.kind == DETAIL:
                found[FEEDS].append(loss)
        elif loss.kind == LOSS:
            found.get(loss.where, host).append(loss)
    return found


def counted(rows: Sequence[LossSample]) -> list[LossSample]:
    """What is really gone: of a feed with two lines, what both of them missed."""
    paired = {row.where.removesuffix(_BOTH) for row in rows if row.stage == FEED and row.where.endswith(_BOTH)}
    return [row for row in rows if row.stage != FEED or row.where.endswith(_BOTH) or row.where.partition(" ")[0] not in paired]


def lost_by_place(sample: Sample) -> dict[str, float]:
    """Packets or messages that are lost per second, by where."""
    found = {nic.name: 0.0 for nic in sample.nics if nic.physical} | {HOST: 0.0, FEEDS: 0.0}
    missed = []
    for loss in sample.losses:
        if loss.stage == FEED:
            missed.append(loss)
        elif loss.per_s > 0 and loss.kind == LOSS:
            found[loss.where if loss.where in found else HOST] += loss.per_s
    if missed:
        found[FEEDS] = sum(loss.per_s for loss in counted(missed))
    return found
