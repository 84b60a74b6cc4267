"""RSS, flow rules, stamps and special sysctls on a simulated host: what is refused before anything is written, and why."""

import errno
import re
from collections.abc import Callable

import pytest
from engine import Sim
from hypothesis import given
from hypothesis import strategies as st

from tuner.host.flow_rules import Flow
from tuner.host.host import Inventory
from tuner.host.hwtstamp import RECEIVE, Timestamping, read_timestamping
from tuner.knobs import sysctl_notes
from tuner.knobs.catalogue import knob_of
from tuner.knobs.hwtstamp import covers
from tuner.knobs.queue_cpus import ReceiveCpus, TransmitCpus
from tuner.knobs.rss import entries, key_of, spelled
from tuner.knobs.steering import parse, spell
from tuner.knobs.sysctl import refusal
from tuner.plan import Plan
from tuner.profile import ProfileError
from tuner.undo import rollback


@pytest.fixture
def sim(new_sim: Callable[..., Sim]) -> Sim:
    return new_sim(nodes=1, cores=4, smt=1, nics=2, queues=4)


def plan(sim: Sim, text: str) -> Plan:
    return sim.plan(sim.profile(f'[bind]\nfeed = "nic"\n{text}'), {"feed": "eth2"})


def apply(sim: Sim, text: str):
    return sim.apply(sim.profile(f'[bind]\nfeed = "nic"\n{text}'), bindings={"feed": "eth2"})


def identity(sim: Sim, name: str = "eth2") -> str:
    return next(nic.identity for nic in Inventory(sim.host).nics if nic.name == name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('rss = { table = "equal" }', "rss.table: not an indirection table"),
        ('rss = { table = "queues:3-1" }', "rss.table: not a list of queues"),
        ('rss = { table = "weights:0,0" }', "rss.table: no queue has a weight"),
        ("rss = { table = [true] }", "rss.table: not an indirection table"),
        ('rss = { table = "equal:9" }', "'equal:9' does not fit eth2: it has 4 receive queues"),
        ('rss = { key = "zz" }', "rss.key: not a key"),
        ('rss = { key = "00112233445566778899aabbccddeeff" }', "is a key of 16 octets; eth2 takes 40"),
        ('rss = { hash_udp4 = "sx" }', "hash_udp4: not a choice of fields"),
        ('steering = [{ udp = "239.1.1.1:30001" }]', "steering.0: one of queue and drop"),
        ('steering = [{ udp = "239.1.1.1:30001", queue = 0, drop = true }]', "one of queue and drop"),
        ('steering = [{ udp = "239.1.1.1:30001", tcp = "1.1.1.1:1", queue = 0 }]', "one of udp and tcp"),
        ('steering = [{ udp = "239.1.1.1", queue = 0 }]', "steering.0.udp: not ADDRESS:PORT"),
        ('steering = [{ udp = "[ff15::1]:30001", queue = 0 }]', "steering.0.udp: not ADDRESS:PORT"),
        ('steering = [{ udp = "239.1.1.1:70000", queue = 0 }]', "steering.0.udp: not ADDRESS:PORT"),
        ('steering = [{ udp = "*:*", queue = 0 }]', "matches everything"),
        ('steering = [{ udp = "239.1.1.1:1", queue = 9 }]', "names queue 9; eth2 has 4 receive queues"),
        (
            'steering = [{ udp = "239.1.1.1:1", queue = 0 }, { udp = "239.1.1.1:1", drop = true }]',
            "names udp:239.1.1.1:1 twice",
        ),
        ('steering = { udp = "239.1.1.1:1" }', "steering: not a list"),
        ("xps = { spread = 'all' }", "xps: neither cores nor queues"),
        ("xps = { cores = '1', queues = ['1'] }", "xps: both cores and queues"),
        ("rps = { queues = ['1'], spread = 'all' }", "rps.spread: a spread beside queues"),
        ("xps = '64'", "nic.feed.xps"),
        ("mtu = 1279", "mtu: out of range"),
        ("qdisc = 'htb'", "qdisc: unknown word 'htb'"),
        ("hwtstamp = 'everything'", "hwtstamp.rx: unknown word 'everything'"),
        ("runtime_pm = 'off'", "runtime_pm: unknown word 'off'"),
        ("rp_filter = 3", "rp_filter: out of range"),
        ("napi = { threaded = 1 }", "napi.threaded: neither true nor false"),
        ("rps_flow_cnt = -1", "rps_flow_cnt: out of range"),
    ],
)
def test_what_makes_no_sense_is_a_fault_with_its_place(sim: Sim, text: str, said: str) -> None:
    with pytest.raises(ProfileError, match=re.escape(said)):
        plan(sim, f"[nic.feed]\n{text}\n")
    assert sim.changed() == []


@given(st.lists(st.integers(0, 15), min_size=1, max_size=512))
def test_a_table_is_spelled_and_read_again(table: list[int]) -> None:
    text = spelled(table)
    assert entries(text, len(table), 16) == tuple(table)
    assert len(text) <= 8 * len(table) + 20


@given(st.sampled_from(["udp", "tcp"]), st.ip_addresses(v=4), st.integers(0, 65535), st.booleans(), st.integers(0, 65535))
def test_a_flow_is_spelled_and_read_again(protocol: str, address: object, port: int, named: bool, source: int) -> None:
    flow = Flow(protocol, str(address) if named else "", port, "" if named else str(address), source)
    assert parse(spell(flow)) == flow


def test_dealing_out() -> None:
    assert TransmitCpus().dealt("one-each 1-3", [0, 1, 2, 3]) == {0: "1", 1: "2", 2: "3", 3: ""}
    assert TransmitCpus().dealt("one-each 1-5", [0, 1]) == {0: "1,3,5", 1: "2,4"}
    assert ReceiveCpus().dealt("one-each 1-3", [0, 1, 2, 3]) == {0: "1", 1: "2", 2: "3", 3: "1"}
    assert ReceiveCpus().dealt("all 1-3", [0, 1]) == {0: "1-3", 1: "1-3"}
    assert ReceiveCpus().dealt("off", [0, 1]) == {0: "", 1: ""}
    assert ReceiveCpus().dealt(["2", "3"], [0, 1, 2]) == {0: "2", 1: "3", 2: ""}
    assert entries("weights:3,1", 8, 2) == (0, 0, 0, 0, 0, 0, 1, 1)
    assert key_of("symmetric", 5).hex() == "6d5a6d5a6d"


def test_rules_of_others_are_left_alone_and_given_back(sim: Sim) -> None:
    syscalls = sim.host.syscalls
    theirs = {
        2045: (Flow("udp", "239.1.1.1", 30001), 3),  # the same flow, to another queue
        7: (Flow("tcp", "", 80), 1),
    }
    for place, (flow, queue) in theirs.items():
        syscalls.set_flow_rule("eth2", flow, queue, place)
    before = syscalls.flow_table("eth2")
    text = '[nic.feed]\nsteering = [{ udp = "239.1.1.1:30001", queue = 0 }, { udp = "239.1.1.2:30001", queue = 1 }]\n'
    change = plan(sim, text).changes[0]
    assert change.now == {"udp:239.1.1.1:30001": 3}
    assert change.note == "1 of 2 rules are not there"
    assert apply(sim, text).outcome == "confirmed"
    made = sim.host.syscalls.flow_table("eth2").rules
    assert {place: rule.queue for place, rule in made.items()} == {2045: 0, 2044: 1, 7: 1}
    # another rule that somebody adds meanwhile stays
    sim.host.syscalls.set_flow_rule("eth2", Flow("udp", "239.9.9.9", 9), 2, 100)
    rollback(sim.host, sim.store, None, "test")
    after = dict(sim.host.syscalls.flow_table("eth2").rules)
    assert after.pop(100).flow == Flow("udp", "239.9.9.9", 9)
    assert after == before.rules


def test_a_rule_that_vanished_shows(sim: Sim) -> None:
    text = '[nic.feed]\nsteering = [{ udp = "239.1.1.1:30001", drop = true }]\n'
    assert apply(sim, text).outcome == "confirmed"
    assert [c.state for c in plan(sim, text).changes] == ["ok"]
    sim.host.syscalls.release_flow_rule("eth2", 2045)
    assert [c.state for c in plan(sim, text).changes] == ["differs"]


def test_a_full_flow_table_is_said_and_rolled_back(sim: Sim) -> None:
    path = sim.host.files.path("/ethtool/eth2.json")
    small = sim.text("/ethtool/eth2.json").replace('"size": 2046', '"size": 1')
    with open(path, "w") as file:
        file.write(small)
    text = '[nic.feed]\nsteering = [{ udp = "239.1.1.1:1", queue = 0 }, { udp = "239.1.1.1:2", queue = 0 }]\n'
    result = apply(sim, text)
    assert result.outcome == "rolled-back"
    assert "no free place" in result.error
    assert sim.text("/ethtool/eth2.json") == small


def test_a_driver_that_makes_another_rule_leaves_none_behind(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = Inventory(sim.host)
    syscalls = inventory.host.syscalls
    insert = syscalls.set_flow_rule

    def other(ifname: str, flow: Flow, queue: int, location: int | None) -> int:
        return insert(ifname, Flow(flow.protocol, flow.to), queue, location)  # drops the port

    monkeypatch.setattr(type(syscalls), "set_flow_rule", lambda _, *words: other(*words))
    with pytest.raises(OSError, match="made another rule") as refused:
        knob_of("nic.steering").write(inventory, f"{identity(sim)}|udp:239.1.1.1:1", {"udp:239.1.1.1:1": 0}, {})
    assert refused.value.errno == errno.EIO
    assert not syscalls.flow_table("eth2").rules


def test_a_table_set_by_hand_comes_back_as_such(sim: Sim) -> None:
    syscalls = sim.host.syscalls
    syscalls.set_rss_table("eth2", [3] * 100 + [1] * 28)
    now = plan(sim, '[nic.feed.rss]\ntable = "default"\n').changes[0]
    assert (now.now, now.state) == ("runs:3*100,1*28", "differs")
    assert apply(sim, '[nic.feed.rss]\ntable = "default"\n').outcome == "confirmed"
    rollback(sim.host, sim.store, None, "test")
    assert sim.host.syscalls.rss("eth2").table == (3,) * 100 + (1,) * 28


def test_as_many_queues_as_a_core_set_has_cpus(sim: Sim) -> None:
    assert plan(sim, '[cores]\nrx = "2-3"\n[nic.feed.rss]\ntable = "equal:count(rx)"\n').changes[0].wanted == "equal:2"


def test_rps_leaves_out_what_the_kernel_would(sim: Sim) -> None:
    with open(sim.root + "/sys/devices/system/cpu/isolated", "w") as file:
        file.write("2-3\n")
    found = plan(sim, '[nic.feed]\nrps = "1-2"\n')
    assert found.changes[0].wanted == "one-each 1"
    assert any("CPU 2 was isolated at boot" in warning for warning in found.warnings)
    with pytest.raises(ProfileError, match="CPU 2-3 was isolated at boot"):
        plan(sim, '[nic.feed]\nrps = "2-3"\n')


def test_an_interface_driver_decides_what_is_disturbed(sim: Sim) -> None:
    text = '[nic.feed]\nhwtstamp = "all"\nrss = { table = "equal:2" }\n'
    assert {c.disruption for c in plan(sim, text).changes} == {"none"}
    nic = sim.host.files.resolved("/sys/class/net/eth2/device")
    import os

    os.unlink(sim.root + nic + "/driver")
    os.makedirs(sim.root + "/sys/bus/pci/drivers/bnxt_en")
    os.symlink("/sys/bus/pci/drivers/bnxt_en", sim.root + nic + "/driver")
    assert {c.disruption for c in plan(sim, text).changes} == {"link"}


def test_stamps_that_take_in_the_wanted_ones() -> None:
    assert all(covers("all", each) for each in RECEIVE)
    assert covers("ptpv2-event", "ptpv2-l4-sync")
    assert covers("ptpv2-l2-event", "ptpv2-l2-delay-req")
    assert covers("ptpv2-sync", "ptpv2-l4-sync")
    assert not covers("ptpv2-sync", "ptpv2-l4-delay-req")
    assert not covers("ptpv2-l4-event", "ptpv2-l2-sync")
    assert not covers("ptpv2-event", "ptpv1-l4-sync")
    assert not covers("none", "all")
    assert not covers("ptpv2-event", "all")
    assert not covers("some", "none")
    assert read_timestamping(lambda _, raw: raw[:8] + b"\x63\0\0\0") == Timestamping("off", "number 99")


def test_ptp4l_on_the_nic_is_a_conflict_and_elsewhere_a_warning(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuner.host.simulated.syscalls import SimulatedSyscalls
    from tuner.host.threads import Thread

    ptp4l = Thread(4242, 4242, 1, "ptp4l", False, True, frozenset({0}), "/", 0)
    monkeypatch.setattr(SimulatedSyscalls, "threads", lambda _: (ptp4l,))
    found = plan(sim, '[nic.feed]\nhwtstamp = "all"\n')
    assert not found.conflicts
    assert any("ptp4l (process 4242)" in warning for warning in found.warnings)
    import os

    os.makedirs(sim.root + "/proc/4242", exist_ok=True)
    with open(sim.root + "/proc/4242/cmdline", "w") as file:
        file.write("ptp4l\x00-i\x00eth2\x00-m")
    assert any("sets the timestamps of eth2" in conflict for conflict in plan(sim, '[nic.feed]\nhwtstamp = "all"\n').conflicts)


def test_a_round_of_softirq_has_a_floor(sim: Sim) -> None:
    profile = '[sysctl]\n"net.core.netdev_budget_usecs" = 2000\n'
    assert [c.state for c in plan(sim, profile).changes] == ["differs"]  # nobody can tell how often this kernel ticks
    import gzip

    with open(sim.root + "/proc/config.gz", "wb") as file:
        file.write(gzip.compress(b"CONFIG_HZ_250=y\nCONFIG_HZ=250\n"))
    with pytest.raises(ProfileError, match=r"ticks 250 times a second.*8000 or more"):
        plan(sim, profile)
    assert plan(sim, profile.replace("2000", "8000")).changes[0].state == "ok"


def test_the_watchdogs_cpus_are_checked_and_compared_as_cpus(sim: Sim) -> None:
    with pytest.raises(ProfileError, match=r"kernel\.watchdog_cpumask"):
        plan(sim, '[sysctl]\n"kernel.watchdog_cpumask" = "64"\n')
    change = plan(sim, '[cores]\nhousekeeping = "0-1"\n[sysctl]\n"kernel.watchdog_cpumask" = "housekeeping"\n').changes[0]
    assert (change.wanted, change.state) == ("0-1", "differs")
    assert plan(sim, '[sysctl]\n"kernel.watchdog_cpumask" = "0,1,2,3"\n').changes[0].state == "ok"


def test_rounding_of_the_flow_table_is_no_failure(sim: Sim) -> None:
    assert apply(sim, '[sysctl]\n"net.core.rps_sock_flow_entries" = 1000\n').outcome == "confirmed"
    assert sim.text("/proc/sys/net/core/rps_sock_flow_entries") == "1024\n"


def test_what_is_written_about_sysctls() -> None:
    names = sysctl_notes.names()
    assert len(names) >= 45
    for name in names:
        about = sysctl_notes.about_of(f"sysctl.{name}")
        assert refusal(name) == "", name
        assert about == sysctl_notes.about_of(name)
        for sentence in (about.summary, about.why, about.effective, about.risk, *about.quirks):
            assert not sentence.endswith("."), (name, sentence)
        assert len(about.summary) <= 120
        assert about.why
        assert about.source.startswith("Documentation/")
    with pytest.raises(KeyError):
        sysctl_notes.about_of("kernel.core_pattern")


@pytest.mark.parametrize("name", ["intel-2node-16core-i350-connectx3", "intel-4node-interleaved-bnx2", "lab-8cpu-2numa"])
def test_captured_hosts_get_a_plan(captured_host: Callable[[str], str], name: str, tmp_path) -> None:
    from tuner.host.host import open_host
    from tuner.plan import build
    from tuner.profile_files import load

    host = open_host(captured_host(name))
    nic = next((nic for nic in Inventory(host).nics if nic.physical), None)
    assert nic is not None
    profile = tmp_path / "own.toml"
    profile.write_text(
        '[bind]\nfeed = "nic"\n[nic.feed]\nmtu = 1500\ntxqueuelen = 100\nxps = "0"\nrps = "off"\nrps_flow_cnt = 0\n'
        'qdisc = "noqueue"\n'
        'hwtstamp = "all"\nruntime_pm = "on"\nrp_filter = 2\nforce_igmp_version = 2\nnapi = { threaded = true }\n'
        'rss = { table = "equal:1", key = "symmetric", hash_udp4 = "sdfn" }\nsteering = [{ udp = "239.1.1.1:1", queue = 0 }]\n'
    )
    profile.chmod(0o644)
    changes = build(Inventory(host), load(host.files, str(profile)), {"feed": nic.name}).changes
    assert len(changes) >= 12
    assert {c.state for c in changes} <= {"ok", "differs", "unsupported"}, [
        (c.knob, c.state, c.error) for c in changes if c.state == "failed"
    ]
