"""What a transaction costs (R21): on the simulated host, in this process, as medians."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import Sim, tree_of

from tuner.host.host import Inventory
from tuner.plan import look, wish_of
from tuner.undo import recover, rollback


def sixty(sim: Sim) -> str:
    """``feed-handler`` on a host of two 24-queue NICs: more than sixty settings to change."""
    plan = sim.plan()
    assert len(plan.differing) >= 60, len(plan.differing)
    return "feed-handler"


@pytest.mark.promise("R21")
def test_sixty_settings_are_applied_and_verified_within_a_second(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim(nodes=2, cores=16, smt=1, nics=2, queues=24)
    profile = sixty(sim)
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        result = sim.apply(profile)
        inventory = Inventory(sim.host)
        states = {look(inventory, wish_of(change)).state for change in result.changes if change.state != "kernel-managed"}
        spent.append(time.perf_counter() - start)
        assert result.outcome == "confirmed"
        assert states <= {"ok", "ok-rounded", "unsupported", "kernel-managed"}
        assert Path(sim.store.get(result.number or 0).path).stat().st_size <= 64 * 1024
        rollback(sim.host, sim.store, None, "again")
        assert Path(sim.store.get(result.number or 0).path).stat().st_size <= 64 * 1024
    assert sim.changed() == []
    assert statistics.median(spent) <= 1.0, spent


@pytest.mark.promise("R21")
def test_a_recovery_decides_within_a_tenth_of_a_second(new_sim: Callable[..., Sim]) -> None:
    """With five hundred transactions behind it, and one that holds the host: nothing to do is found out as quickly."""
    sim = new_sim()
    sim.apply("base")
    rollback(sim.host, sim.store, 1, "over")
    over = Path(sim.store.get(1).path).read_bytes()
    for number in range(2, 501):
        Path(sim.store.get(number).path).write_bytes(over)
    sim.apply()
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        with sim.store.lock():
            assert recover(sim.host, sim.store) == []
        spent.append(time.perf_counter() - start)
    assert statistics.median(spent) <= 0.1, spent


@pytest.mark.promise("R18")
def test_from_one_profile_to_the_next_only_what_differs_is_written(sim: Sim) -> None:
    """Never a whole undoing in between (R18)."""
    first = sim.apply("base")
    tree = tree_of(sim.root)
    assert sim.apply("base").outcome == "unchanged"
    assert tree_of(sim.root) == tree
    second = sim.apply("feed-handler")  # extends base
    written = sim.store.get(second.number or 0)
    assert written.plan is not None
    again = [(written.plan["changes"][n]["knob"], written.plan["changes"][n]["wanted"]) for n in written.started]
    assert len(again) > 8
    assert not [each for each in again if each in [(change.knob, change.wanted) for change in first.changes]]
    assert not [record for record in written.contents.records if record["record"] in ("undo", "undid", "rolling-back")]
