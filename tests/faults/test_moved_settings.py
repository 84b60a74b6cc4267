"""What a change moves besides: a reset NIC gets back what was not ours (R5); what cannot come back is said first (R6, R22)."""

import errno
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine import RECEIVER, Sim, tree_of
from port import Faults, faulty

from tuner.undo import rollback

APPLY = ("apply", RECEIVER, "--allow", "link")


@pytest.fixture
def tuned(sim: Sim) -> Sim:
    """A host on which somebody tuned the NIC by hand before: nothing of it is in a profile."""
    calls = sim.host.syscalls
    calls.set_driver_setting("eth2", "coalesce", json.dumps({"rx_usecs": 7, "tx_usecs": 9}))
    rss = json.loads(calls.driver_settings("eth2")["rss"])
    calls.set_driver_setting("eth2", "rss", json.dumps(rss | {"indirection": [0] * len(rss["indirection"])}))
    sim.write("/sys/class/net/eth2/queues/rx-1/rps_cpus", "3")
    sim.write("/proc/irq/32/smp_affinity_list", "1")
    return Sim(sim.root, sim.state, tree_of(sim.root))


def by_hand(sim: Sim) -> tuple[str, str]:
    settings = sim.host.syscalls.driver_settings("eth2")
    return settings["coalesce"], settings["rss"]


@pytest.mark.promise("R5")
def test_a_reset_gives_back_what_was_not_ours(tuned: Sim) -> None:
    before = by_hand(tuned)
    tuned.json(*APPLY, status=0)
    assert tuned.host.syscalls.rings("eth2").rx == 4096
    assert by_hand(tuned) == before
    assert tuned.text("/sys/class/net/eth2/queues/rx-1/rps_cpus") == "3\n"
    tuned.json("rollback", status=0)
    assert tuned.changed() == []


@pytest.mark.promise("R5")
def test_a_reset_that_was_cut_off_gives_it_back_all_the_same(tuned: Sim) -> None:
    """The driver forgot, and the apply died before it could put anything back."""

    def forget() -> None:
        tuned.host.syscalls.set_rings("eth2", rx=4096)
        raise OSError(errno.EIO, "and then nothing answers")

    result = tuned.apply(host=faulty(tuned, Faults(at={1: forget})))
    assert result.outcome == "rolled-back"
    assert tuned.changed() == []


@pytest.mark.promise("R6")
def test_a_driver_that_refuses_its_old_value_is_a_residual(tuned: Sim) -> None:
    """sfc: 60/150 µs are its defaults, and it takes them from nobody."""
    faults = Faults(lasting={"'coalesce'": errno.EINVAL})
    result = tuned.apply(host=faulty(tuned, faults))
    assert result.outcome == "degraded"
    assert [each.knob for each in result.undone if each.residual] == ["nic.rings.rx"]
    assert tuned.changed() == ["/ethtool/eth2.json"]
    again = rollback(tuned.host, tuned.store, None, "the firmware was mended")
    assert again is not None
    assert not any(each.residual for each in again[1])
    assert tuned.changed() == []


@pytest.mark.promise("R5")
@pytest.mark.parametrize(
    ("key", "value", "partner"),
    [("dirty_bytes", 268435456, "dirty_ratio"), ("dirty_background_bytes", 1 << 20, "dirty_background_ratio"),
     ("overcommit_kbytes", 65536, "overcommit_ratio"), ("dirty_ratio", 3, "dirty_bytes")],
)  # fmt: skip
def test_one_of_a_pair_takes_the_other_with_it_and_gives_it_back(sim: Sim, key: str, value: int, partner: str) -> None:
    profile = sim.profile(f'summary = "x"\n[sysctl]\n"vm.{key}" = {value}\n')
    sim.json("apply", profile, status=0)
    assert sim.text(f"/proc/sys/vm/{partner}") == "0\n"
    sim.json("rollback", status=0)
    assert sim.changed() == []


@pytest.mark.promise("R5")
def test_a_pair_the_other_way_round_comes_back_too(sim: Sim) -> None:
    sim.write("/proc/sys/vm/dirty_bytes", "1048576")
    bytes_set = Sim(sim.root, sim.state, tree_of(sim.root))
    profile = sim.profile('summary = "x"\n[sysctl]\n"vm.dirty_ratio" = 3\n')
    sim.json("apply", profile, status=0)
    sim.json("rollback", status=0)
    assert bytes_set.changed() == []


@pytest.mark.promise("R5")
def test_both_of_a_pair_are_a_fault_of_the_profile(sim: Sim) -> None:
    profile = sim.profile('summary = "x"\n[sysctl]\n"vm.dirty_bytes" = 8192\n"vm.dirty_ratio" = 3\n')
    assert "one of them at a time" in sim.json("plan", profile, status=1)["error"]


@pytest.mark.promise("R6")
def test_what_cannot_be_undone_needs_a_word_of_its_own(sim: Sim) -> None:
    profile = sim.profile('summary = "x"\n[sysctl]\n"net.ipv4.ip_forward" = 1\n"vm.swappiness" = 1\n')
    plan = sim.json("plan", profile, status=2)
    assert "defaults of a host or a router" in plan["changes"][0]["irreversible"]
    assert plan["changes"][1]["irreversible"] == ""
    refused = sim.json("apply", profile, status=4)
    assert "--accept-irreversible" in refused["error"]
    assert sim.changed() == []
    sim.json("apply", profile, "--accept-irreversible", status=0)
    sim.json("rollback", status=0)
    assert sim.changed() == []


@contextmanager
def traffic(sim: Sim, name: str) -> Iterator[None]:
    """The receive counter of a NIC, advancing by itself."""
    path = Path(f"{sim.root}/sys/class/net/{name}/statistics/rx_packets")
    before, over = path.read_bytes(), threading.Event()

    def count() -> None:
        packets = int(before)
        while not over.wait(0.01):
            packets += 100
            sim.host.files.store(f"/sys/class/net/{name}/statistics/rx_packets", f"{packets}\n")

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        path.write_bytes(before)


@pytest.mark.promise("R22")
def test_no_reset_under_traffic_where_trading_goes_on(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim(nics=2)
    with traffic(sim, "eth2"):
        refused = sim.json(*APPLY, "--live", status=4)
        assert "eth2 carries" in refused["error"]
    assert sim.changed() == []
    with traffic(sim, "eth3"):  # somebody else's
        sim.json(*APPLY, "--live", status=0)
    sim.json("rollback", status=0)
    with traffic(sim, "eth2"):  # allowed, and nobody asked for the guard
        sim.json(*APPLY, status=0)


def test_flow_rules_that_somebody_made_survive_our_reset_and_its_undoing(sim: Sim) -> None:
    """Drivers drop the rules with the rings; one whose place was taken meanwhile is its new owner's."""
    from tuner.host.flow_rules import DROP, Flow

    syscalls = sim.host.syscalls
    theirs = {syscalls.set_flow_rule("eth2", Flow("udp", "239.1.1.1", 30001), 1, None): 1}
    theirs[syscalls.set_flow_rule("eth2", Flow("tcp", "", 9000), DROP, None)] = DROP
    before = tree_of(sim.root)
    assert sim.apply(sim.profile('[bind]\nfeed = "nic"\n[nic.feed]\nrings = { rx = 4096 }\n')).outcome == "confirmed"
    assert {place: rule.queue for place, rule in sim.host.syscalls.flow_table("eth2").rules.items()} == theirs
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert tree_of(sim.root) == before
