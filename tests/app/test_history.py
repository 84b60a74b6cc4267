"""Figures over time: columns of one or of several samples say the highest that was, wherever the view ends."""

import random

import pytest

from ingest.sample import CoreSample, Sample
from ui.app.state.history import SAMPLES, History
from ui.app.state.policy import METRICS
from ui.app.widgets.ramp import levels

INTR = METRICS[0]


def taken(history, rows, cores=3, seed=1, share=0.3):
    """Samples of few cores, of which some stay the very same objects; the figures as they were given."""
    draw = random.Random(seed)
    kept = [CoreSample(cpu, 0, 0, cpu, 0, (cpu,), "general") for cpu in range(cores)]
    given = [[] for _ in range(cores)]
    for number in range(rows):
        for cpu in range(cores):
            if draw.random() < share:
                kept[cpu] = CoreSample(cpu, 0, 0, cpu, 0, (cpu,), "general", interruptions_per_s=float(draw.randrange(20_000)))
            given[cpu].append(kept[cpu].interruptions_per_s)
        history.take(Sample("h", "live", "6", number, number * 0.1, number, 0.1, tuple(kept), (), (), ()))
    return given


def folded(figures, each, hidden, columns):
    """The same, the slow way: columns end at fixed samples."""
    shown = list(enumerate(figures))[: len(figures) - hidden]
    found = {}
    for number, value in shown:
        found[number // each] = max(value, found.get(number // each, 0.0))
    return list(found.values())[-columns:]


@pytest.mark.parametrize("share", [0.05, 1.0])
@pytest.mark.parametrize("each", [1, 2, 5, 10])
@pytest.mark.parametrize("rows", [1, 7, 599, 600, 603])
def test_columns_hold_the_highest_of_their_samples(rows, each, share):
    history = History()
    history.column_s = each * 0.1
    given = taken(history, rows, share=share)
    for hidden in (0, 1, 3):
        if hidden < rows:
            history.look(hidden)
            for cpu in range(3):
                wanted = folded(given[cpu], each, hidden, 50)
                assert history.core_values(cpu, INTR.name, 50) == wanted
                assert history.core_levels(cpu, INTR.name, 50) == levels(wanted, INTR.top)


def test_a_longer_column_can_be_asked_for_at_any_time_and_goes_on():
    history = History()
    history.column_s = 0.1
    given = taken(history, 450, cores=2)
    assert history.core_values(1, INTR.name, 80) == folded(given[1], 1, 0, 80)
    history.column_s = 0.5
    assert history.core_values(1, INTR.name, 80) == folded(given[1], 5, 0, 80)
    more = taken(history, 33, cores=2, seed=2)
    assert history.core_values(1, INTR.name, 80) == folded(given[1] + more[1], 5, 0, 80)


def test_columns_reach_further_back_than_samples():
    history = History()
    history.column_s = 0.5
    given = taken(history, 1, cores=1)[0]
    history.core_values(0, INTR.name, 1)  # asked for from the start
    given += taken(history, 3 * SAMPLES, cores=1, seed=5)[0]
    assert history.core_values(0, INTR.name, 300) == folded(given, 5, 0, 300)


def test_what_is_not_there_is_empty():
    history = History()
    assert history.core_levels(0, INTR.name, 10) == b""
    taken(history, 3, cores=1)
    assert history.core_levels(7, INTR.name, 10) == b""
    assert history.core_values(0, "nothing", 10) == []
    history.look(3)
    assert history.core_values(0, INTR.name, 10) == []
