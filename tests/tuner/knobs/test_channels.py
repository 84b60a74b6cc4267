"""Channels: the queues that will be, their interrupts, and everything back. On a simulated ixgbe, and on a real veth."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import Sim, tree_of
from nic_namespace import apply_and_roll_back
from port import Faults, die, faulty, in_child

from tuner.host.host import Inventory
from tuner.host.irqs import Irq
from tuner.undo import recover

HEAD = 'summary = "x"\n[bind]\nfeed = "nic"\n'
TWO = HEAD + '[nic.feed]\nchannels = { combined = 2 }\n[irq]\nfeed = "2-3"\ndefault = "0"\n'
FOUR = HEAD + '[nic.feed]\nchannels = { combined = "max" }\n[irq]\nfeed = "0-3"\ndefault = "1"\n'


@pytest.fixture
def tuned(new_sim: Callable[..., Sim]) -> Sim:
    """A NIC of four queues, each of whose interrupts and queues somebody set differently."""
    sim = new_sim(cores=4, queues=4)
    for queue, irq in enumerate(irqs(sim)):
        sim.write(f"/proc/irq/{irq.number}/smp_affinity_list", f"{queue % 3}-3")
    for queue in range(4):
        sim.write(f"/sys/class/net/eth2/queues/rx-{queue}/rps_cpus", f"{1 << queue:x}")
    return Sim(sim.root, sim.state, tree_of(sim.root))


def irqs(sim: Sim) -> list[Irq]:
    return [irq for irq in Inventory(sim.host).irqs if irq.device == "eth2"]


def placed(sim: Sim) -> dict[str, str]:
    return {irq.action: ",".join(map(str, sorted(irq.requested))) for irq in irqs(sim)}


def test_fewer_channels_and_everything_back(tuned: Sim) -> None:
    profile = tuned.profile(TWO)
    plan = tuned.plan(profile)
    wishes = {c.target: c.wanted for c in plan.changes if c.target.startswith("eth2/")}
    assert wishes == {"eth2/queue 0": "2", "eth2/queue 1": "3", "eth2/eth2": "0"}  # no wish for a queue that goes
    tuned.json("apply", profile, "--allow", "link", status=0)
    assert placed(tuned) == {"eth2-TxRx-0": "2", "eth2-TxRx-1": "3", "eth2": "0"}
    assert json.loads(tuned.text("/ethtool/eth2.json"))["rss"]["indirection"][:4] == [0, 1, 0, 1]
    assert tuned.json("verify", status=0)["summary"]["gone"] == 0
    assert tuned.json("apply", profile, "--allow", "link", status=0)["outcome"] == "unchanged"
    tuned.json("rollback", status=0)
    assert tuned.changed() == []


def test_more_channels_bring_interrupts_that_are_placed(tuned: Sim) -> None:
    tuned.host.syscalls.set_nic_values("eth2", "channels", {"combined": 2})
    fewer = Sim(tuned.root, tuned.state, tree_of(tuned.root))
    profile = fewer.profile(FOUR)
    plan = fewer.json("plan", profile, status=2)
    coming = [c for c in plan["changes"] if c["note"] == "comes with nic.channels"]
    assert {(c["target"], c["state"], c["now"]) for c in coming} == {
        ("eth2/queue 2", "differs", None),
        ("eth2/queue 3", "differs", None),
    }
    assert fewer.json("apply", profile, "--allow", "link", status=0)["outcome"] == "confirmed"
    assert placed(fewer) == {"eth2-TxRx-0": "0", "eth2-TxRx-1": "1", "eth2-TxRx-2": "2", "eth2-TxRx-3": "3", "eth2": "1"}
    fewer.json("verify", status=0)
    undone = fewer.json("rollback", status=0)["undone"]
    assert {each["result"] for each in undone} == {"restored"}
    assert fewer.changed() == []


@pytest.mark.parametrize("text", [TWO, FOUR], ids=["fewer", "more"])
def test_a_death_at_every_change_with_affinities_set_by_hand(new_sim: Callable[..., Sim], text: str) -> None:
    sim = new_sim(cores=4, queues=4)
    if text == FOUR:
        sim.host.syscalls.set_nic_values("eth2", "channels", {"combined": 2})
    for queue, irq in enumerate(irqs(sim)):
        sim.write(f"/proc/irq/{irq.number}/smp_affinity_list", f"{queue % 3}-3")
    sim.write("/sys/class/net/eth2/queues/rx-1/rps_cpus", "5")
    before = Sim(sim.root, sim.state, tree_of(sim.root))
    profile, number = before.profile(text), 1
    while in_child(lambda number=number: before.apply(profile, host=faulty(before, Faults(at={number: die})))):
        with before.store.lock():
            recover(before.host, before.store)
        assert before.changed() == [], number
        number += 1
    assert number > 3


def test_what_others_moved_since_is_theirs(tuned: Sim) -> None:
    tuned.json("apply", tuned.profile(TWO), "--allow", "link", status=0)
    tuned.write("/sys/class/net/eth2/queues/rx-0/rps_cpus", "c")
    tuned.json("rollback", status=0)
    assert tuned.changed() == [p for p in tuned.changed() if p.endswith("rx-0/rps_cpus")] != []
    assert tuned.text("/sys/class/net/eth2/queues/rx-0/rps_cpus") == "c\n"


def test_an_rss_table_that_points_past_the_new_number_is_refused_with_the_reason(tuned: Sim) -> None:
    rss = json.loads(tuned.host.syscalls.driver_settings("eth2")["rss"])
    tuned.host.syscalls.set_driver_setting("eth2", "rss", json.dumps(rss | {"indirection": [3] * 128}))
    set_by_hand = Sim(tuned.root, tuned.state, tree_of(tuned.root))
    refused = set_by_hand.json("apply", set_by_hand.profile(TWO), "--allow", "link", status=5)
    assert "points at a queue that would go" in refused["error"]
    assert set_by_hand.changed() == []


def test_a_table_set_within_the_new_number_stays_and_comes_back(tuned: Sim) -> None:
    rss = json.loads(tuned.host.syscalls.driver_settings("eth2")["rss"])
    tuned.host.syscalls.set_driver_setting("eth2", "rss", json.dumps(rss | {"indirection": [1] * 128}))
    set_by_hand = Sim(tuned.root, tuned.state, tree_of(tuned.root))
    set_by_hand.json("apply", set_by_hand.profile(TWO), "--allow", "link", status=0)
    assert json.loads(set_by_hand.text("/ethtool/eth2.json"))["rss"]["indirection"] == [1] * 128
    set_by_hand.json("rollback", status=0)
    assert set_by_hand.changed() == []


def test_more_than_there_are_is_a_fault_of_the_plan(tuned: Sim) -> None:
    profile = tuned.profile(HEAD + "[nic.feed]\nchannels = { combined = 40 }\n")
    assert "at most 4 here" in tuned.json("plan", profile, status=1)["error"]


def test_a_kind_that_the_nic_does_not_count_is_unsupported(tuned: Sim) -> None:
    (change,) = tuned.json("plan", tuned.profile(HEAD + "[nic.feed]\nchannels = { rx = 2 }\n"), status=0)["changes"]
    assert change["state"] == "unsupported"
    assert "counts combined" in change["error"]


def test_count_of_a_core_set(tuned: Sim) -> None:
    profile = tuned.profile(HEAD + '[cores]\nrx = "1-3"\n[nic.feed]\nchannels = { combined = "count(rx)" }\n')
    (change,) = tuned.plan(profile).changes
    assert (change.wanted, change.state, change.disruption) == (3, "differs", "link")


def test_a_driver_that_shows_its_channels_only(tuned: Sim) -> None:
    """vmxnet3: no request is made to find out, and no interrupt is taken for one that goes."""
    driver = Path(tuned.root, "sys/class/net/eth2/device/driver")
    driver.unlink()
    driver.symlink_to("../../../../bus/pci/drivers/vmxnet3")
    plan = tuned.plan(tuned.profile(TWO))
    assert [(c.state, c.note) for c in plan.changes if "channels" in c.knob] == [
        ("unsupported", "vmxnet3 lets nobody change them")
    ]
    assert len([c for c in plan.changes if "eth2-TxRx" in c.target]) == 4


def test_a_real_veth_loses_two_queues_and_gets_them_back(tmp_path: Path) -> None:
    """The kernel's own: queue directories go, and come back without what was set in them."""
    found = apply_and_roll_back(HEAD + "[nic.feed]\nchannels = { rx = 2, tx = 2 }\n", str(tmp_path / "state"))
    assert found["before"]["channels"] == {"rx": 4, "tx": 4}
    assert found["before"]["rps"]["rx-3"] == "2"
    assert found["applied"][0] == 0, found["applied"]
    assert found["during"]["channels"] == {"rx": 2, "tx": 2}
    assert found["during"]["queues"] == ["rx-0", "rx-1", "tx-0", "tx-1"]
    assert found["verify"][0] == 0
    assert found["rollback"][0] == 0
    assert found["after"] == found["before"]
