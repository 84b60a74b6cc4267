"""Huge pages, PCIe links, the clock: what a write that succeeds did not do, and this machine's kernel."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine import Sim, tree_of
from machine import kept, needs

from tuner.host.host import Inventory, open_host
from tuner.knobs.clock import ClockSource
from tuner.knobs.hugepages import HugePages, available_kb, path_of, shortage
from tuner.knobs.knob import Unsupported
from tuner.knobs.memory import KhugepagedDefrag, SamePageMerging, TransparentDefrag, TransparentHugePages
from tuner.knobs.pcie import DEVICES, AspmPolicy, LinkSleep, switches
from tuner.knobs.words import Offer, WordFile
from tuner.profile import ProfileError
from tuner.undo import rollback

NODE0 = "node0/2048kB"
CLOCK = "/sys/devices/system/clocksource/clocksource0"


@pytest.fixture
def feed(sim: Sim) -> Inventory:
    return Inventory(sim.host)


def memory(sim: Sim, text: str, table: str = "memory") -> str:
    return sim.profile(f'summary = "x"\n[{table}]\n{text}')


def faults(sim: Sim, path: str) -> str:
    with pytest.raises(ProfileError) as caught:
        sim.plan(path, {})
    return "; ".join(str(fault) for fault in caught.value.faults)


# ------------------------------------------------------------------------------------------------------------- huge pages


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hugepages = 1024", "not a table"),
        ('hugepages = { "0" = 1024 }', "not a table"),
        ('hugepages = { "0" = { "2MB" = 1 } }', "did you mean 2M?"),
        ('hugepages = { "0" = { "2M" = -1 } }', "out of range"),
        ('hugepages = { "0" = { "2M" = 1 }, "1" = { "2M" = 1 } }', "names node 0 twice"),
        ('thp = "sometimes"', "unknown word 'sometimes'"),
        ("ksm = 0", "neither true nor false"),
    ],
)
def test_what_is_wrong_is_told(sim: Sim, text: str, told: str) -> None:
    assert told in faults(sim, memory(sim, text))


def test_more_than_there_is_is_a_fault_before_anything_is_written(sim: Sim) -> None:
    told = faults(sim, memory(sim, 'hugepages = { "0" = { "2M" = 1000000 } }'))
    assert (
        "1000000 pages of 2048 kB on node 0 need 2048000000 kB more, and 50331648 kB are available there: 24576 at most" in told
    )
    assert sim.changed() == []


def test_memory_that_is_gone_by_the_time_of_the_write(sim: Sim) -> None:
    path = memory(sim, 'hugepages = { "0" = { "2M" = 64 } }')
    plan = sim.plan(path)

    def taken(line: str) -> None:  # somebody takes the memory after the plan was made
        del line
        meminfo = Path(sim.root + "/sys/devices/system/node/node0/meminfo")
        meminfo.chmod(0o644)
        meminfo.write_text("Node 0 MemFree: 1000 kB\n")

    assert plan.differing
    result = sim.apply(path, progress=taken)
    assert result.outcome == "rolled-back"
    assert "need 131072 kB more, and 1000 kB are available there" in result.error
    assert sim.text("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages") == "0\n"


def test_fewer_than_asked_for_is_a_failure_although_the_write_succeeded(sim: Sim) -> None:
    """The kernel found less than meminfo promised: fragmented."""
    meminfo = Path(sim.root + "/sys/devices/system/node/node0/meminfo")
    meminfo.chmod(0o644)
    meminfo.write_text("Node 0 MemFree:        99999999 kB\n")
    before = Sim(sim.root, sim.state, tree_of(sim.root))
    Path(sim.root + "/proc/meminfo").unlink()
    result = sim.apply(memory(sim, 'hugepages = { "0" = { "2M" = 30000 } }'))
    assert result.outcome == "rolled-back"
    assert "wrote 30000, reads back 24576" in result.error
    assert {path for path in before.changed() if "hugepages" in path} == set()


def test_what_is_available_counts_half_of_what_can_be_given_up(tmp_path: Path) -> None:
    node = tmp_path / "sys/devices/system/node/node1"
    node.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (node / "meminfo").write_text(
        "Node 1 MemTotal:       1000 kB\nNode 1 MemFree:        100 kB\nNode 1 Active(file):   50 kB\n"
        "Node 1 Inactive(file):  40 kB\nNode 1 SReclaimable:   10 kB\nNode 1 HugePages_Total:     0\n"
    )
    (tmp_path / "sys/devices/system/cpu").mkdir()
    files = open_host(str(tmp_path)).files
    assert available_kb(files, 1) == 150
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   120 kB\n")
    assert available_kb(files, 1) == 120
    assert available_kb(files, 7) == 0
    assert shortage(files, "node1/2048kB", 1) == ""  # no such pages here: unsupported, not short


def test_huge_pages_need_a_word_of_their_own_and_come_back(sim: Sim) -> None:
    path = memory(sim, 'hugepages = { "0" = { "2M" = 64, "1G" = "at-least:1" } }')
    assert "--accept-irreversible" in sim.json("apply", path, status=4)["error"]
    sim.json("apply", path, "--accept-irreversible", status=0)
    assert sim.text("/proc/sys/vm/nr_hugepages") == "64\n"
    sim.json("rollback", status=0)
    assert sim.changed() == []


@pytest.mark.parametrize("identity", ["node0", "node0/2048", "../node0/2048kB", "node0/2048kB/../x", "", "node0/2048kB\n"])
def test_an_identity_from_a_journal_is_no_path(identity: str) -> None:
    with pytest.raises(ValueError, match="not a node"):
        path_of(identity)


def test_huge_pages_of_this_machine() -> None:
    """Four pages more, and back; more than there is is refused before the kernel would take it all."""
    path = path_of(NODE0)
    needs(path)
    knob, inventory = HugePages(), Inventory(open_host())
    with kept(path):
        before = knob.read(inventory, NODE0)
        free = available_kb(inventory.host.files, 0)
        if free < 64 << 10:
            pytest.skip("less than 64 MiB are available on this machine")
        knob.write(inventory, NODE0, before.now + 4, {})
        assert knob.compare(knob.read(inventory, NODE0), before.now + 4) == "ok"
        with pytest.raises(OSError, match="are available there") as refused:
            knob.write(inventory, NODE0, before.now + 4 + free // 1024, {})
        assert refused.value.errno == errno.ENOMEM
        assert knob.read(inventory, NODE0).now == before.now + 4
        knob.restore(inventory, NODE0, before.saved)
        knob.restore(inventory, NODE0, before.saved)
        assert knob.read(inventory, NODE0).now == before.now


# ------------------------------------------------------------------------------------------------ words, on this machine


@pytest.mark.parametrize(
    ("knob", "wanted"),
    [(TransparentHugePages(), "never"), (TransparentDefrag(), "defer"), (KhugepagedDefrag(), False), (SamePageMerging(), True)],
)
def test_memory_settings_of_this_machine(knob: WordFile, wanted: object) -> None:
    needs(knob.path)
    inventory = Inventory(open_host())
    with kept(knob.path):
        before = knob.read(inventory, "host")
        knob.write(inventory, "host", wanted, {})
        assert knob.compare(knob.read(inventory, "host"), wanted) == "ok"
        knob.restore(inventory, "host", before.saved)
        knob.restore(inventory, "host", before.saved)
        assert knob.read(inventory, "host") == before


def test_a_word_that_nobody_offers_is_never_written_here() -> None:
    for knob in (TransparentHugePages(), ClockSource()):
        needs(knob.path)
        reading = knob.read(Inventory(open_host()), "host")
        assert isinstance(reading, Offer)
        assert reading.now in reading.offered
        with pytest.raises(Unsupported, match="this host offers"):
            knob.compare(reading, "bogus")


def test_the_clock_source_of_this_machine_takes_anything_and_keeps_what_it_had() -> None:
    """Why a word is looked up first: the kernel takes ``bogus`` without a word, and the reading after it is the old one."""
    knob, inventory = ClockSource(), Inventory(open_host())
    needs(knob.path)
    with kept(knob.path):
        before = knob.read(inventory, "host")
        assert isinstance(before, Offer)
        knob.write(inventory, "host", "bogus", {})
        assert knob.read(inventory, "host") == before
        other = next((word for word in before.offered if word != before.now), None)
        if other is None:
            pytest.skip("this machine has one clock source")
        knob.write(inventory, "host", other, {})
        assert knob.compare(knob.read(inventory, "host"), other) == "ok"
        knob.restore(inventory, "host", before.saved)
        assert knob.read(inventory, "host") == before


def test_merging_that_is_off_with_everything_unmerged_is_off(sim: Sim, feed: Inventory) -> None:
    knob = SamePageMerging()
    sim.write(knob.path, "2")
    assert knob.compare(knob.read(feed, "host"), False) == "ok"
    assert knob.compare(knob.read(feed, "host"), True) == "differs"
    before = Sim(sim.root, sim.state, tree_of(sim.root))
    assert sim.apply(memory(sim, "ksm = true")).outcome == "confirmed"
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert before.changed() == []


# -------------------------------------------------------------------------------------------------------------- PCIe links


def link_of(sim: Sim) -> Path:
    return Path(os.path.realpath(sim.root + "/sys/class/net/eth2/device/link"))


def test_one_nic_stays_awake_and_the_other_links_may_sleep(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim(nics=2)
    path = sim.profile('summary = "x"\n[bind]\nfeed = "nic"\n[nic.feed]\naspm = false\n')
    (change,) = sim.plan(path).changes
    assert change.now == {"0000:04:00.0": "l1_aspm l1_1_aspm l1_2_aspm clkpm"}
    assert (change.target, change.effective, change.disruption) == ("eth2", True, "none")
    assert sim.apply(path).outcome == "confirmed"
    assert {file.read_text() for file in link_of(sim).iterdir()} == {"0\n"}
    assert sim.text("/sys/class/net/eth3/device/link/l1_aspm") == "1\n"
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert sim.changed() == []


def test_states_that_were_off_before_stay_off(sim: Sim) -> None:
    sim.write("/sys/class/net/eth2/device/link/l1_2_aspm", "0")
    before = Sim(sim.root, sim.state, tree_of(sim.root))
    assert sim.apply(sim.profile('summary = "x"\n[bind]\nfeed = "nic"\n[nic.feed]\naspm = false\n')).outcome == "confirmed"
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert before.changed() == []


def test_the_link_of_the_bridge_above_is_one_of_them(sim: Sim, feed: Inventory) -> None:
    bridge = link_of(sim).parent.parent / "link"
    bridge.mkdir()
    (bridge / "l0s_aspm").write_text("1\n")
    knob, identity = LinkSleep(), feed.nics[0].identity
    before = knob.read(feed, identity)
    assert len(before.now) == 2
    knob.write(feed, identity, False, {})
    assert (bridge / "l0s_aspm").read_text() == "0\n"
    assert knob.compare(knob.read(feed, identity), False) == "ok"
    knob.restore(feed, identity, before.saved)
    assert knob.same(knob.read(feed, identity).now, before.now)


def test_where_the_policy_forbids_sleep_nothing_is_switched_on(sim: Sim) -> None:
    sim.write(AspmPolicy.path, "performance")
    before = Sim(sim.root, sim.state, tree_of(sim.root))
    result = sim.apply(sim.profile('summary = "x"\n[bind]\nfeed = "nic"\n[nic.feed]\naspm = true\n'))
    assert result.outcome == "rolled-back"
    assert "nic.aspm on eth2" in result.error
    assert before.changed() == []


def test_firmware_that_keeps_aspm_is_told_without_a_write(sim: Sim, feed: Inventory) -> None:
    for file in link_of(sim).iterdir():
        file.unlink()
    path = sim.profile('summary = "x"\n[bind]\nfeed = "nic"\n[pcie]\naspm_policy = "performance"\n[nic.feed]\naspm = false\n')
    plan = sim.plan(path)
    assert [change.state for change in plan.changes] == ["unsupported", "unsupported"]
    assert "firmware keeps ASPM" in str(plan.changes[0].error)
    assert not any(switches(feed.host.files, device) for device in feed.host.files.entries(DEVICES))


def test_the_policy_of_this_machine_is_what_its_kernel_says() -> None:
    needs(AspmPolicy.path)
    inventory = Inventory(open_host())
    steered = any(switches(inventory.host.files, device) for device in inventory.host.files.entries(DEVICES))
    with refused_unless(steered):
        assert AspmPolicy().read(inventory, "host").now in Path(AspmPolicy.path).read_text()


@contextmanager
def refused_unless(steered: bool) -> Iterator[None]:
    if steered:
        yield
    else:
        with pytest.raises(Unsupported, match="steers no link"):
            yield
