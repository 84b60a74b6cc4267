"""CPUs that go offline between plan, apply and rollback: refused and undone, or restored with what there is (promise R8)."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine import Sim, tree_of
from port import Faults, faulty

from tuner.host.cpulist import parse_list
from tuner.permission import Options
from tuner.transaction import apply
from tuner.undo import rollback

pytestmark = pytest.mark.promise("R8")


def offline(sim: Sim, on: bool = False) -> None:
    """CPU 3 goes away or comes back: its directory stays, its topology does not."""
    root = Path(sim.root) / "sys/devices/system"
    cpus = "0-3" if on else "0-2"
    (root / "cpu/online").write_text(f"{cpus}\n")
    (root / "node/node0/cpulist").write_text(f"{cpus}\n")
    (root / "cpu/cpu3/online").write_text(f"{int(on)}\n")
    there, aside = root / "cpu/cpu3/topology", root / "cpu/cpu3/topology.aside"
    (aside if on else there).rename(there if on else aside)


class WithoutCpu3(Faults):
    """A kernel that refuses an affinity of which no CPU is online (irq_set_affinity: EINVAL)."""

    def __call__(self, what: str, change: Callable[[], Any]) -> Any:
        if "smp_affinity_list" in what and parse_list(what.rsplit(maxsplit=1)[-1]) <= {3}:
            self.made.append(what)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), what)
        return super().__call__(what, change)


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
        result = apply(faulty(sim, WithoutCpu3()), sim.store, plan, options, lambda _: None, lambda _: None, lambda: "")
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


def test_a_cpu_that_goes_offline_between_apply_and_rollback(pair: tuple[Sim, Sim]) -> None:
    """What was on it alone is a residual until it comes back; all else is restored."""
    sim, alike = pair
    for each in pair:
        each.write("/proc/irq/1/smp_affinity_list", "3")
    assert sim.apply().outcome == "confirmed"
    offline(sim)
    offline(alike)
    done = rollback(faulty(sim, WithoutCpu3()), sim.store, None, "test")
    assert done is not None
    assert [(each.knob, each.target) for each in done[1] if each.result != "restored"] == [("irq.affinity", "irq1/i8042")]
    assert [t.state for t in sim.store.all()] == ["degraded"]
    for each in pair:
        offline(each, on=True)
    assert sim.run("rollback").returncode == 0
    assert tree_of(sim.root) == tree_of(alike.root)


def test_what_the_kernel_moved_from_an_offline_cpu_is_told_and_left(sim: Sim) -> None:
    assert sim.apply().outcome == "confirmed"
    offline(sim)
    sim.write("/proc/irq/32/smp_affinity_list", "0-2")  # irq_migrate_all_off_this_cpu: any online CPU instead
    record = sim.json("rollback", status=0)
    assert [u["target"] for u in record["undone"] if u["result"] == "skipped"] == ["eth2/eth2-TxRx-1"]
    assert {u["result"] for u in record["undone"]} == {"skipped", "restored"}
