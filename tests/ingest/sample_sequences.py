"""Random sequences of samples, for whatever carries them from one place to another."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from hypothesis import strategies as st

from ingest.changes import Encoder
from ingest.sample import CoreSample, Cost, Event, IrqSample, LossSample, NicSample, QueueSample, Sample

WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=6)
COUNTS = st.integers(0, 2**64)
RATES = st.one_of(st.just(0.0), st.floats(0, 1e18, allow_nan=False), st.integers(0, 9))
CPUS = st.integers(0, 4095)
KINDS = {
    int: COUNTS,
    float: RATES,
    str: WORDS,
    bool: st.booleans(),
    int | None: st.none() | COUNTS,
    float | None: st.none() | RATES,
    tuple[int, ...]: st.lists(CPUS, max_size=3).map(tuple),
    tuple[tuple[int, int], ...]: st.lists(st.tuples(CPUS, COUNTS), max_size=3).map(tuple),
    tuple[tuple[int, float], ...]: st.lists(st.tuples(CPUS, RATES), max_size=3).map(tuple),
    dict[str, int]: st.dictionaries(st.sampled_from("abcd"), COUNTS, max_size=3),
}
OPEN = st.lists(st.dictionaries(st.sampled_from("abc"), st.one_of(COUNTS, WORDS, st.lists(RATES, max_size=2))), max_size=3)


def rows(kind: type, **more: Any) -> Any:
    return st.builds(kind, **{each.name: KINDS[each.type] for each in fields(kind) if each.type in KINDS} | more)


def lists(kind: type, **more: Any) -> Any:
    return st.lists(rows(kind, **more), max_size=3).map(tuple)


PARTS = {
    "cores": lists(CoreSample),
    "irqs": lists(IrqSample),
    "nics": lists(NicSample, queues=lists(QueueSample)),
    "losses": lists(LossSample),
    "rings": OPEN.map(tuple),
    "feeds": OPEN.map(tuple),
    "drift": OPEN.map(tuple),
    "events": lists(Event),
    "cost": rows(Cost),
    "host": WORDS,
    "profile": WORDS,
    "interval_s": RATES,
}
FIRST = rows(Sample, **PARTS)


@st.composite
def _touched(draw: Any, row: Any) -> Any:
    """The row with some fields of its own, mostly such as a tick changes."""
    names = [each.name for each in fields(row) if each.type in KINDS]
    chosen = draw(st.sets(st.sampled_from(names), max_size=3))
    change = {name: draw(KINDS[next(each.type for each in fields(row) if each.name == name)]) for name in chosen}
    if "counters" in change:
        change["counters"] = {name: draw(COUNTS) for name in row.counters}
    if isinstance(row, NicSample) and row.queues and draw(st.booleans()):
        change["queues"] = tuple(draw(_touched(queue)) for queue in row.queues)
    return replace(row, **change)


@st.composite
def _next(draw: Any, last: Sample) -> Sample:
    change: dict[str, Any] = {"sequence": last.sequence + draw(st.sampled_from((1, 1, 1, 2)))}
    for name in draw(st.sets(st.sampled_from(sorted(PARTS)))):
        value = getattr(last, name)
        if name in ("cores", "irqs", "nics", "losses") and draw(st.integers(0, 3)):
            change[name] = tuple(draw(_touched(row)) if draw(st.booleans()) else row for row in value)
        elif name in ("rings", "feeds") and draw(st.booleans()):
            change[name] = tuple({key: draw(COUNTS) for key in each} for each in value)
        else:
            change[name] = draw(PARTS[name])
    return replace(last, **change)


@st.composite
def sequences(draw: Any, longest: int = 6) -> list[Sample]:
    """Samples one after the other, as a host of no particular kind would have them."""
    found = [draw(FIRST)]
    for _ in range(draw(st.integers(0, longest - 1))):
        found.append(draw(_next(found[-1])))
    return found


CORE = CoreSample(0, 0, 0, 0, 0, (0,), "general")


def tick(number: int) -> Sample:
    """A host of two cores, one of which moves."""
    cores = (replace(CORE, busy_percent=number / 8), replace(CORE, cpu=1))
    return Sample("box", "live", "6.12", number, 1_700_000_000.0 + number, number, 1.0, cores, (), (), ())


def blocks_of(samples: list[Sample], every: int = 4) -> Iterator[tuple[float, bool, bytes]]:
    """Time, whether it is whole, and line of each."""
    encoder = Encoder(every)
    for sample in samples:
        line = encoder.line(sample).encode()
        yield sample.time_s, encoder.whole, line
