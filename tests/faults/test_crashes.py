"""Death at every change and at every journal record of apply, rollback, confirm and recover, before it and in its middle (R1).

The processes are forks that end at once; the same with SIGKILL at system calls of the real command is ``test_kill``.
"""

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from engine import Sim, tree_of
from port import Faults, die, faulty, in_child, journal_dies, journal_fails

from tuner.transaction import confirm
from tuner.undo import recover, rollback


def dies_at_change(sim: Sim, number: int, after: bool, work: Callable[..., object]) -> bool:
    """Runs ``work(host)`` in a process that dies before its Nth change, or right ``after`` it."""

    def run() -> None:
        faults = Faults(at={number + 1 if after else number: die})
        work(faulty(sim, faults))
        if after and len(faults.made) == number:
            die()

    return in_child(run)


def dies_at_record(sim: Sim, number: int, torn: bool, work: Callable[..., object]) -> bool:
    """Runs ``work(host)`` in a process that dies before it wrote its Nth record, or half-way through it (``torn``)."""

    def run() -> None:
        with journal_dies(number, torn):
            work(sim.host)

    return in_child(run)


def every_death(
    sim: Sim, prepare: Callable[[], object], work: Callable[..., object], check: Callable[[], str]
) -> dict[str, int]:
    """``prepare``, die at a point of ``work``, recover, ``check``, for every point that there is; verdicts counted."""
    verdicts: dict[str, int] = {}
    for dies in (dies_at_change, dies_at_record):
        for flag in (False, True):
            number = 1
            while True:
                prepare()
                died = dies(sim, number, flag, work)
                if died:
                    with sim.store.lock():
                        recover(sim.host, sim.store)
                    verdict = check()
                    assert verdict != "mixed", (dies.__name__, number, flag, sim.changed()[:5])
                    verdicts[verdict] = verdicts.get(verdict, 0) + 1
                with sim.store.lock():
                    while rollback(sim.host, sim.store, None, "next point") is not None:
                        pass
                assert sim.changed() == []
                if not died:
                    break
                number += 1
    return verdicts


@pytest.fixture
def applied(new_sim: Callable[..., Sim]) -> dict[str, tuple[str, int, bytes]]:
    """What the tree is once the profile is applied."""
    sim = new_sim()
    assert sim.apply().outcome == "confirmed"
    return tree_of(sim.root)


def verdict_of(sim: Sim, new: object) -> str:
    now = tree_of(sim.root)
    return "old" if now == sim.before else "new" if now == new else "mixed"


@pytest.mark.promise("R1")
def test_apply(new_sim: Callable[..., Sim], applied: object, held: Callable[[int], None]) -> None:
    sim = new_sim()
    points = every_death(sim, lambda: None, lambda host: sim.apply(host=host), partial(verdict_of, sim, applied))
    assert points["old"] > 100
    held(sum(points.values()))


@pytest.mark.promise("R1")
def test_apply_that_is_to_be_confirmed(new_sim: Callable[..., Sim], applied: object, held: Callable[[int], None]) -> None:
    sim = new_sim()
    points = every_death(
        sim,
        lambda: None,
        lambda host: sim.apply(host=host, confirm_within_s=60.0, arm=lambda _: None),
        partial(verdict_of, sim, applied),
    )
    assert points["old"] > 100
    held(sum(points.values()))


@pytest.mark.promise("R1")
def test_rollback(new_sim: Callable[..., Sim], applied: object, held: Callable[[int], None]) -> None:
    sim = new_sim()
    points = every_death(
        sim, sim.apply, lambda host: rollback(host, sim.store, None, "asked for"), partial(verdict_of, sim, applied)
    )
    assert points["old"] > 80
    held(sum(points.values()))


@pytest.mark.promise("R1")
def test_confirm(new_sim: Callable[..., Sim], applied: object, held: Callable[[int], None]) -> None:
    sim = new_sim()
    points = every_death(
        sim,
        lambda: sim.apply(confirm_within_s=60.0),
        lambda host: confirm(host, sim.store, sim.store.numbers()[-1]),
        partial(verdict_of, sim, applied),
    )
    assert points == {"new": 2}  # before its one record, and in its middle: still applied, still waiting
    held(2)


@pytest.mark.promise("R1")
def test_recover_that_dies_itself(new_sim: Callable[..., Sim], held: Callable[[int], None]) -> None:
    """Two deaths: one in the middle of an apply, one at every point of the recovery from it."""
    sim = new_sim()

    def half() -> None:
        assert dies_at_change(sim, 17, True, lambda host: sim.apply(host=host))

    points = every_death(sim, half, lambda host: recover(host, sim.store), lambda: "mixed" if sim.changed() else "old")
    assert points["old"] > 60
    held(sum(points.values()))


@pytest.mark.promise("R12")
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_no_room_for_a_record(new_sim: Callable[..., Sim], lasting: bool, held: Callable[[int], None]) -> None:
    """At every record of an apply: the host is put back at once, also where nothing more can be written down."""
    sim = new_sim()
    number = 0
    while True:
        number += 1
        with journal_fails(number, errno.ENOSPC, lasting):
            result = sim.apply()
        if result.outcome == "confirmed":
            break
        assert result.outcome in ("rolled-back", "degraded")
        assert "No space left on device" in result.error
        assert sim.changed() == [], number
        with sim.store.lock():
            recover(sim.host, sim.store)
            assert recover(sim.host, sim.store) == []
        assert sim.changed() == [], number
    assert number > 40
    held(number - 1)


@pytest.mark.promise("R10")
def test_another_boot_voids_and_restores_nothing(sim: Sim) -> None:
    """In the middle, waiting, and kept: what was changed at run time ended with its boot."""
    assert dies_at_change(sim, 17, True, lambda host: sim.apply(host=host))
    boot = Path(f"{sim.root}/proc/sys/kernel/random/boot_id")
    before = boot.read_text()
    half = tree_of(sim.root)
    boot.chmod(0o644)
    boot.write_text("11111111-2222-3333-4444-555555555555\n")
    with sim.store.lock():
        (ended,) = recover(sim.host, sim.store)
    assert ended.verdict.startswith("void")
    assert sim.store.get(1).state == "void"
    boot.write_text(before)
    boot.chmod(0o444)
    assert tree_of(sim.root) == half
