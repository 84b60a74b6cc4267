"""Every change refused with every errno that the kernel is known to answer with (promise R2), and pairs of refusals (R3)."""

import errno
import os
from collections.abc import Callable
from itertools import combinations
from threading import Timer

import pytest
from engine import Sim
from port import ERRNOS, Faults, faulty

from tuner.undo import recover, rollback

# Two NIC resets, interrupts, a sysctl pair: one change of each kind that a pair of faults can meet.
SMALL = """
summary = "eight changes"
[bind]
feed = "nic"
[nic.feed]
rings = { rx = 4096, tx = 4096 }
[irq]
feed = { cores = "2-3", spread = "one-each" }
[sysctl]
"vm.swappiness" = 10
"vm.stat_interval" = 120
"net.core.busy_poll" = 50
"net.core.busy_read" = 50
"""


def changes_of(sim: Sim, profile: str) -> list[str]:
    """The changes that a whole apply makes, as words; the host is as before afterwards."""
    faults = Faults()
    assert sim.apply(profile, host=faulty(sim, faults)).outcome == "confirmed"
    made = list(faults.made)
    rollback(sim.host, sim.store, None, "was a rehearsal")
    assert sim.changed() == []
    return made


def tolerated(what: str, code: int) -> bool:
    """Whether one such refusal is no failure: a busy device is asked again, an interrupt may be the kernel's own."""
    return code == errno.EBUSY or ("smp_affinity_list" in what and code in (errno.EPERM, errno.EIO))


@pytest.mark.promise("R2")
@pytest.mark.parametrize("code", ERRNOS, ids=errno.errorcode.get)
def test_every_change_refused_once(new_sim: Callable[..., Sim], code: int, held: Callable[[int], None]) -> None:
    sim = new_sim()
    made = changes_of(sim, "feed-handler")
    held(len(made))
    for number, what in enumerate(made, start=1):
        result = sim.apply(host=faulty(sim, Faults(at={number: code})))
        if tolerated(what, code):
            assert result.outcome == "confirmed", (what, result.error)
            assert rollback(sim.host, sim.store, None, "test") is not None
        else:
            assert result.outcome == "rolled-back", (what, result)
            assert os.strerror(code) in result.error, (what, result.error)
            assert any(change.knob in result.error for change in result.changes), result.error
        assert sim.changed() == [], (what, code)


@pytest.mark.promise("R2")
def test_a_device_that_stays_busy_is_asked_three_times_within_a_second(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim()
    faults = Faults(lasting={"swappiness 10": errno.EBUSY})
    result = sim.apply(host=faulty(sim, faults))
    assert result.outcome == "rolled-back"
    assert "sysctl.vm.swappiness on host: writing 10: Device or resource busy" in result.error
    assert sum("swappiness 10" in what for what in faults.made) == 3
    assert sim.changed() == []


@pytest.mark.promise("R3")
def test_pairs_a_change_refused_and_then_one_of_the_undoing(new_sim: Callable[..., Sim], held: Callable[[int], None]) -> None:
    """All pairs (i, j > i): what cannot be put back is a residual, is said, and only it is tried again."""
    sim = new_sim()
    profile = sim.profile(SMALL)
    made = changes_of(sim, profile)
    pairs = degraded = 0
    for first in range(1, len(made) + 1):
        for second in range(first + 1, 2 * first + 8):
            faults = Faults(at={first: errno.EINVAL, second: errno.EINVAL})
            result = sim.apply(profile, host=faulty(sim, faults))
            if len(faults.made) < second:
                assert result.outcome == "rolled-back"
                break
            pairs += 1
            residuals = [each for each in result.undone if each.residual]
            assert result.outcome == ("degraded" if residuals else "rolled-back")
            assert residuals or not sim.changed(), (made[first - 1], faults.made[second - 1])
            if residuals:
                degraded += 1
                again = Faults()
                done = rollback(faulty(sim, again), sim.store, None, "again")
                assert done is not None
                assert len(done[1]) == len(residuals)
                assert not any(each.residual for each in done[1])
                assert 1 <= len(again.made) <= 4, again.made
            assert sim.changed() == [], (first, second)
    assert pairs >= 28
    assert degraded >= 20
    held(pairs)


@pytest.mark.promise("R3")
def test_pairs_of_settings_that_cannot_be_put_back(new_sim: Callable[..., Sim], held: Callable[[int], None]) -> None:
    """Any two of the eight refuse their old value for ever: the other six are restored, the two are listed."""
    sim = new_sim()
    profile = sim.profile(SMALL)
    forward = Faults()
    assert sim.apply(profile, host=faulty(sim, forward)).outcome == "confirmed"
    backward = Faults()
    rollback(faulty(sim, backward), sim.store, None, "rehearsal")
    assert sim.changed() == []
    pairs = 0
    for one, other in combinations(sorted(set(backward.made)), 2):
        assert sim.apply(profile).outcome == "confirmed"
        stuck = Faults(lasting={one: errno.EIO, other: errno.EIO})
        done = rollback(faulty(sim, stuck), sim.store, None, "stuck")
        assert done is not None
        residuals = [each for each in done[1] if each.residual]
        assert 1 <= len(residuals) <= 2, (one, other, done)
        assert sim.store.get(done[0]).state == "degraded"
        done = rollback(sim.host, sim.store, None, "freed")
        assert done is not None
        assert len(done[1]) == len(residuals)
        assert sim.changed() == [], (one, other)
        pairs += 1
    assert pairs >= 28
    held(pairs)


def place_of(made: list[str], word: str) -> int:
    return next(n for n, what in enumerate(made, start=1) if word in what)


@pytest.mark.promise("R4")
@pytest.mark.parametrize("instead", [None, "11"], ids=["ignored", "rounded"])
def test_accepted_but_not_so(new_sim: Callable[..., Sim], instead: str | None) -> None:
    """A write that succeeds and changes nothing, or something else, is a failure, and everything is undone (R4)."""
    sim = new_sim()

    def otherwise() -> None:
        if instead is not None:
            sim.write("/proc/sys/vm/swappiness", instead)

    faults = Faults(at={place_of(changes_of(sim, "feed-handler"), "swappiness"): otherwise})
    result = sim.apply(host=faulty(sim, faults))
    assert result.outcome == "rolled-back"
    assert f"wrote 10, reads back {instead or 60}" in result.error
    assert sim.changed() == []


@pytest.mark.promise("R4")
def test_accepted_and_so_a_moment_later(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim()
    late = Timer(0.03, sim.write, ("/proc/sys/vm/swappiness", "10"))
    faults = Faults(at={place_of(changes_of(sim, "feed-handler"), "swappiness"): late.start})
    assert sim.apply(host=faulty(sim, faults)).outcome == "confirmed"
    rollback(sim.host, sim.store, None, "test")
    assert sim.changed() == []


@pytest.mark.promise("R4")
def test_a_ring_that_is_rounded_up_is_as_wanted(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim()
    host = sim.host
    faults = Faults(at={1: lambda: host.syscalls.set_rings("eth2", rx=4096)})
    profile = sim.profile(SMALL.replace("rx = 4096", "rx = 4090"))
    result = sim.apply(profile, host=faulty(sim, faults))
    assert result.outcome == "confirmed"
    assert next(c for c in result.changes if c.knob == "nic.rings.rx").state == "ok-rounded"
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert sim.changed() == []


def test_nothing_is_left_to_recover_after_any_of_it(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim()
    sim.apply(host=faulty(sim, Faults(at={5: errno.EINVAL})))
    with sim.store.lock():
        assert recover(sim.host, sim.store) == []
