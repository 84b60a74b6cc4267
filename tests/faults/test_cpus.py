"""CPUs that go offline between plan, apply and rollback: refused and undone, or restored with what there is (promise R8)."""

import json
from collections.abc import Callable

import pytest
from engine import Sim, differing, tree_of

from tuner.permission import Options
from tuner.transaction import apply
from tuner.undo import rollback

pytestmark = pytest.mark.promise("R8")


def offline(sim: Sim, on: bool = False) -> None:
    """CPU 3 goes away or comes back, as the simulated kernel does it."""
    sim.write("/sys/devices/system/cpu/cpu3/online", str(int(on)))


@pytest.fixture
def pair(new_sim: Callable[..., Sim]) -> tuple[Sim, Sim]:
    """The host of the test, and one on which only the hardware changes: what the first must be like in the end."""
    return new_sim(), new_sim()


def test_a_cpu_that_goes_offline_between_plan_and_write(pair: tuple[Sim, Sim]) -> None:
    sim, alike = pair
    plan = sim.plan()
    offline(sim)
    offline(alike)
    options = Options(allow=frozenset({"link"}))
    with sim.store.lock():
        result = apply(sim.host, sim.store, plan, options, lambda _: None, lambda _: None, lambda: "")
    assert result.outcome == "rolled-back"
    assert "irq.affinity on eth2/eth2-TxRx-1: writing 3: Invalid argument" in result.error
    assert tree_of(sim.root) == tree_of(alike.root)


def test_a_cpu_that_goes_offline_before_the_command_is_not_planned_with(sim: Sim) -> None:
    offline(sim)
    for profile, status in (
        (sim.profile('[irq]\ndefault = "online"\n'), 2),
        (sim.profile('[irq]\ndefault = "2-3"\n', "off"), 1),
    ):
        done = sim.run("plan", profile, "--json")
        assert "Traceback" not in done.stderr
        assert done.returncode == status, done.stdout
        wanted = {c["wanted"] for c in json.loads(done.stdout).get("changes", []) if c["knob"] == "irq.affinity"}
        assert wanted == ({"0-2"} if status == 2 else set())
    assert "CPU 3" in done.stderr


def test_a_cpu_that_goes_offline_between_apply_and_rollback(sim: Sim) -> None:
    """Who was bound to it alone is a residual until it comes back; all else is restored."""
    sim.write("/proc/irq/1/smp_affinity_list", "3")
    before = tree_of(sim.root)
    assert sim.apply().outcome == "confirmed"
    offline(sim)
    done = rollback(sim.host, sim.store, None, "test")
    assert done is not None
    # the interrupt, and the threads that moved into the partition
    residuals = {(each.knob, each.target) for each in done[1] if each.residual}
    assert residuals == {("irq.affinity", "irq1/i8042"), ("isolation.partition", "cgroup quietcore")}
    assert [t.state for t in sim.store.all()] == ["degraded"]
    offline(sim, on=True)
    assert sim.run("rollback").returncode == 0
    left = {path.rpartition("/")[0] for path in differing(before, tree_of(sim.root))}
    assert left == {"/proc/irq/32"}  # which the kernel moved away from the CPU, see below


def test_what_the_kernel_moved_from_an_offline_cpu_is_told_and_left(sim: Sim) -> None:
    assert sim.apply().outcome == "confirmed"
    assert sim.text("/proc/irq/32/smp_affinity_list") == "3\n"
    offline(sim)
    assert sim.text("/proc/irq/32/smp_affinity_list") == "0-2\n"  # irq_migrate_all_off_this_cpu: any online CPU instead
    record = sim.json("rollback", status=6)
    assert [u["target"] for u in record["undone"] if u["result"] == "skipped"] == ["eth2/eth2-TxRx-1"]
    assert {u["result"] for u in record["undone"]} == {"skipped", "restored", "residual"}
    assert [u["knob"] for u in record["undone"] if u["result"] == "residual"] == ["isolation.partition"]
