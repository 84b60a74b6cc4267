"""Every family of knobs, by a profile of its own in ``knobs/``: applied, verified, rolled back, refused, and killed anywhere.

A family is held by its file there: what it sets must differ from a simulated host, so that there is something to break.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import Sim
from port import ERRNOS, Faults, die, faulty, in_child

from tuner.knobs.catalogue import FAMILIES, knob_of
from tuner.plan import Plan
from tuner.undo import recover, rollback

PROFILES = sorted((Path(__file__).parent / "knobs").glob("*.toml"))
# what no simulated host can show: each with its reason, and with the test that has it instead
ELSEWHERE: dict[str, str] = {
    "isolation.user_threads": "follows from the threads there are (test_crashes)",
    "isolation.kernel_threads": "follows from the threads there are (test_crashes)",
    "nic.channels.rx": "the simulated NIC counts combined channels (tests/tuner/knobs/test_channels.py has a real veth)",
    "nic.channels.tx": "as nic.channels.rx",
    "power.policy_turbo": "not with intel_pstate, which the simulated host has (test_power_knobs)",
    "isolation.cpuset_v1": "a host has it or a partition (test_cpuset_v1)",
    "cpus.smt": "this host has one thread a core (test_smt)",
}


@pytest.fixture
def sim(new_sim: Callable[..., Sim]) -> Sim:
    return new_sim(nodes=2, cores=4, smt=1, nics=2, queues=4)


def bindings(sim: Sim, path: Path) -> dict[str, str]:
    """Each part that the profile binds to a NIC of its own."""
    import tomllib

    parts = tomllib.loads(path.read_text()).get("bind", {})
    return dict(zip(parts, ("eth2", "eth3"), strict=False))


def plan_of(sim: Sim, path: Path) -> Plan:
    return sim.plan(sim.profile(path.read_text(), path.stem), bindings(sim, path))


def apply(sim: Sim, path: Path, faults: Faults | None = None):
    return sim.apply(
        sim.profile(path.read_text(), path.stem), host=faulty(sim, faults or Faults()), bindings=bindings(sim, path)
    )


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_it_is_applied_verified_and_put_back_to_the_byte(sim: Sim, path: Path) -> None:
    plan = plan_of(sim, path)
    assert plan.differing, "nothing in it differs from the simulated host"
    assert not [c for c in plan.changes if c.state in ("failed", "gone", "unsupported")], plan.changes
    result = apply(sim, path)
    assert result.outcome == "confirmed", result.error
    after = plan_of(sim, path)
    assert {c.state for c in after.changes} <= {"ok", "ok-rounded", "kernel-managed", "pending-reboot"}, after.differing
    assert apply(sim, path).outcome == "unchanged"
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert sim.changed() == []


@pytest.mark.promise("R2")
@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_change_of_it_refused(sim: Sim, path: Path, held: Callable[[int], None]) -> None:
    faults = Faults()
    assert apply(sim, path, faults).outcome == "confirmed"
    rollback(sim.host, sim.store, None, "was a rehearsal")
    for number, what in enumerate(faults.made, start=1):
        code = ERRNOS[number % len(ERRNOS)]
        result = apply(sim, path, Faults(at={number: code}))
        if code == errno.EBUSY or ("smp_affinity" in what and code in (errno.EPERM, errno.EIO)):
            rollback(sim.host, sim.store, None, "tolerated")
        else:
            assert result.outcome == "rolled-back", (what, errno.errorcode[code], result.error)
            assert os.strerror(code) in result.error, (what, result.error)
        assert sim.changed() == [], (what, errno.errorcode[code])
        held(1)


@pytest.mark.promise("R1")
@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_death_at_every_change_of_it(sim: Sim, path: Path, held: Callable[[int], None]) -> None:
    number = 1
    while in_child(lambda number=number: apply(sim, path, Faults(at={number: die}))):
        with sim.store.lock():
            recover(sim.host, sim.store)
        assert sim.changed() == [], number
        held(1)
        number += 1
    assert number > 1


def test_every_knob_is_held_by_a_profile(sim: Sim) -> None:
    held = {change.knob for path in PROFILES for change in plan_of(sim, path).differing}
    families = {knob_of(name).family for name in held} | set(ELSEWHERE)
    missing = {knob.family for family in FAMILIES for knob in family.knobs} - families
    assert not missing, f"no profile in {PROFILES[0].parent.name}/ changes {sorted(missing)}"
    assert all(knob_of(name).about.summary for name in held)
