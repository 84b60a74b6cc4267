"""What a third party wrote is its own: no rollback that is not forced takes it away (promise R17); and what follows a switch.

The state machine of ``test_machine`` keeps away from what is a defect here, so that it finds the next one.
"""

import errno
import json

import pytest
from engine import Sim
from port import Faults, faulty

from tuner.undo import rollback

pytestmark = pytest.mark.promise("R17")
RINGS = '[bind]\nfeed = "nic"\n[nic.feed]\nrings = { rx = 4096 }\n'
QUEUE = "/proc/irq/31/smp_affinity_list"  # of eth2-TxRx-0


@pytest.mark.parametrize("profile", ["feed-handler", "rings alone"])
def test_an_interrupt_that_somebody_moved_keeps_its_place_through_the_reset_of_a_rollback(sim: Sim, profile: str) -> None:
    name = profile if profile == "feed-handler" else sim.profile(RINGS)
    assert sim.apply(name).outcome == "confirmed"
    sim.write(QUEUE, "1")
    done = rollback(sim.host, sim.store, None, "test")
    assert done is not None
    assert "residual" not in {each.result for each in done[1]}
    assert sim.text(QUEUE) == "1\n"


def test_a_residual_that_somebody_changed_since_is_theirs(sim: Sim) -> None:
    profile = sim.profile('[sysctl]\n"vm.swappiness" = 10\n')
    assert sim.apply(profile).outcome == "confirmed"
    done = rollback(faulty(sim, Faults(at={1: errno.EIO})), sim.store, None, "test")
    assert done is not None
    assert done[1][0].residual
    sim.write("/proc/sys/vm/swappiness", "33")
    done = rollback(sim.host, sim.store, None, "again")
    assert done is not None
    assert [each.result for each in done[1]] == ["skipped"]
    assert sim.text("/proc/sys/vm/swappiness") == "33\n"


def affinities(sim: Sim) -> dict[int, str]:
    return {thread["tid"]: thread["affinity"] for thread in json.loads(sim.text("/threads.json"))["threads"]}


def test_a_smaller_partition_gives_cpus_back_to_threads_that_were_never_bound(sim: Sim) -> None:
    before = affinities(sim)
    assert sim.apply().outcome == "confirmed"  # isolates 2-3
    assert affinities(sim) == before
    assert sim.apply(sim.profile('[isolation]\ncores = "3"\n')).outcome == "confirmed"
    assert affinities(sim) == before


def test_rolling_back_two_partitions_leaves_no_thread_bound(sim: Sim) -> None:
    assert sim.apply().outcome == "confirmed"
    assert sim.apply(sim.profile('[isolation]\ncores = "3"\n')).outcome == "confirmed"
    for _ in range(2):
        done = rollback(sim.host, sim.store, None, "test")
        assert done is not None
        assert {each.result for each in done[1]} == {"restored"}
    assert sim.changed() == []


def test_a_larger_partition_and_back(sim: Sim) -> None:
    assert sim.apply(sim.profile('[isolation]\ncores = "3"\n')).outcome == "confirmed"
    assert sim.apply().outcome == "confirmed"
    for _ in range(2):
        assert rollback(sim.host, sim.store, None, "test") is not None
    assert sim.changed() == []


def test_a_device_that_is_busy_for_a_moment_is_put_back_all_the_same(sim: Sim) -> None:
    assert sim.apply().outcome == "confirmed"
    done = rollback(faulty(sim, Faults(at={1: errno.EBUSY})), sim.store, None, "test")
    assert done is not None
    assert not any(each.residual for each in done[1])
    assert sim.changed() == []


@pytest.mark.parametrize("wrote", ["10", "60"])
def test_the_same_value_from_somebody_else_is_no_drift(sim: Sim, wrote: str) -> None:
    """Ours, or what it was before: there is nothing to lose."""
    profile = sim.profile('[sysctl]\n"vm.swappiness" = 10\n')
    assert sim.apply(profile).outcome == "confirmed"
    sim.write("/proc/sys/vm/swappiness", wrote)
    assert sim.json("rollback", status=0)["undone"][0]["result"] == "restored"
    assert sim.changed() == []


def test_force_takes_it_back_also_afterwards(sim: Sim) -> None:
    assert sim.apply().outcome == "confirmed"
    sim.write("/proc/sys/vm/swappiness", "33")
    assert sim.run("rollback").returncode == 0
    assert sim.changed() == ["/proc/sys/vm/swappiness"]
    undone = sim.json("rollback", "1", "--force", status=0)["undone"]
    assert [(each["knob"], each["result"]) for each in undone] == [("sysctl.vm.swappiness", "restored")]
    assert sim.changed() == []
