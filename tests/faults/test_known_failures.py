"""How tuners of this field were seen to fail, and that this one does not: a test for each, by number.

A number that has its test elsewhere, or cannot apply here, stands in ``ELSEWHERE`` with the place or the reason.
"""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine import PROJECT, Sim, command_line
from port import Faults, die, faulty, in_child

from tuner.host.cpulist import format_mask, parse_mask
from tuner.host.host import Inventory
from tuner.knobs.catalogue import knob_of
from tuner.undo import recover, rollback

ELSEWHERE = {
    2: "tests/tuner/knobs/test_dma_latency.py::test_whoever_starts_it_may_be_killed_anywhere: a latency outlives whoever asked",
    15: "cannot apply: nothing acts by itself on load or on an idle link; every write is part of an apply",
    21: "tests/tuner/knobs/test_boot.py: a kill at every file operation, the real grub-mkconfig, pending-reboot until it is so",
    23: "tests/tuner/knobs/test_power_knobs.py::test_idle_states_are_chosen_by_latency_and_found_by_name",
    18: "cannot apply: no daemon tunes; who watches says its cost in every sample (test_collector.py)",
}
SWAPPINESS = "/proc/sys/vm/swappiness"
SYSCTL = '[sysctl]\n"vm.swappiness" = 9\n"vm.stat_interval" = 90\n'


def test_1_a_crash_does_not_make_the_tuned_value_the_original(sim: Sim) -> None:
    """Apply 9, killed, started again, ended cleanly: the value is the one from before, not 9."""
    profile = sim.profile(SYSCTL)
    assert in_child(lambda: sim.apply(profile, host=faulty(sim, Faults(at={2: die}))))
    assert sim.text(SWAPPINESS) == "9\n"
    assert sim.apply(profile).outcome == "confirmed"
    rollback(sim.host, sim.store, None, "a clean end")
    with sim.store.lock():
        recover(sim.host, sim.store)
    assert sim.text(SWAPPINESS) == "60\n"
    assert sim.changed() == []


def test_3_every_original_is_on_the_disk_before_the_first_write(sim: Sim) -> None:
    assert in_child(lambda: sim.apply(host=faulty(sim, Faults(at={1: die}))))
    transaction = sim.store.all()[-1]
    assert not transaction.wrote
    differing = [c for c in transaction.plan["changes"] if c["state"] == "differs"]
    assert len(differing) > 20
    assert all("undo" in c and c["undo"] is not None for c in differing)


def test_4_a_write_that_fails_fails_the_command(sim: Sim) -> None:
    """A ring larger than the NIC takes, and a driver that refuses: never a success in the end."""
    assert sim.run("plan", sim.profile('[bind]\nfeed = "nic"\n[nic.feed]\nrings = { rx = 8192 }\n')).returncode == 1
    result = sim.apply(host=faulty(sim, Faults(lasting={"set_rings": errno.EIO})))
    assert result.outcome == "rolled-back"
    assert "nic.rings.rx on eth2" in result.error


def test_5_the_default_affinity_is_verified_the_right_way_round(sim: Sim) -> None:
    """Everything where 2-3 shall be free differs; what is stricter than asked for does not."""
    profile = sim.profile('[irq]\ndefault = "0-1"\n')
    for mask, state in (("f", "differs"), ("c", "differs"), ("3", "ok"), ("1", "ok")):
        sim.write("/proc/irq/default_smp_affinity", mask)
        assert next(c.state for c in sim.plan(profile).changes if c.knob == "irq.default_affinity") == state, mask


@pytest.mark.parametrize("code", [errno.EIO, errno.EPERM])
def test_6_an_interrupt_of_the_kernels_own_is_a_state_on_every_kernel(sim: Sim, code: int) -> None:
    """EIO up to 6.10, EPERM since: told as kernel-managed, and verify is content with it ever after."""
    profile = sim.profile('[bind]\nfeed = "nic"\n[irq]\nfeed = "3"\n')
    result = sim.apply(profile, host=faulty(sim, Faults(at={1: code})))
    assert result.outcome == "confirmed"
    states = {c.state for c in result.changes}
    assert states == {"kernel-managed", "ok"}
    assert sim.run("verify").returncode == 0


def test_7_the_effective_affinity_counts(sim: Sim) -> None:
    profile = sim.profile('[bind]\nfeed = "nic"\n[irq]\nfeed = "3"\n')
    assert sim.apply(profile).outcome == "confirmed"
    irq = next(irq for irq in Inventory(sim.host).irqs if irq.device == "eth2" and irq.queue == 0)
    Path(sim.root + f"/proc/irq/{irq.number}/effective_affinity_list").write_text("0\n")
    assert [c.state for c in sim.plan(profile).changes].count("unverifiable") == 1


def test_8_threads_are_verified_as_well(sim: Sim) -> None:
    assert {"isolation.user_threads", "isolation.kernel_threads"} <= {c.knob for c in sim.plan().differing}
    assert sim.apply().outcome == "confirmed"
    told = {c.knob: c.now for c in sim.plan().changes}
    assert (told["isolation.user_threads"], told["isolation.kernel_threads"]) == (0, 0)


def test_9_verify_names_each_setting_and_its_state(sim: Sim) -> None:
    assert sim.apply(sim.profile(SYSCTL)).outcome == "confirmed"
    sim.write(SWAPPINESS, "33")
    record = sim.json("verify", status=2)
    told = {c["knob"]: (c["state"], c["now"], c["wanted"]) for c in record["changes"]}
    assert told == {"sysctl.vm.swappiness": ("differs", 33, 9), "sysctl.vm.stat_interval": ("ok", 90, 90)}


def test_10_masks_are_compared_by_meaning() -> None:
    assert (
        parse_mask("fffffffffffffff0")
        == parse_mask("ffffffff,fffffff0")
        == parse_mask("0000,ffffffff,fffffff0".replace("0000,", "00000000,"))
    )
    assert parse_mask(format_mask(frozenset({0, 63, 64}), 128)) == {0, 63, 64}
    knob = knob_of("irq.affinity")
    assert knob.same("0-3", "0,1,2,3")


def test_11_no_other_programs_text_is_read() -> None:
    """NIC settings come by ioctl and netlink; no line of the engine runs a program to read what it prints."""
    # start the undo timer, a service, the making of a menu, a holder: they show what was said of a failure, no more
    allowed = {"tuner/arming.py", "tuner/host/commands.py", "tuner/host/dma_latency.py"}
    for path in (PROJECT / "tuner").rglob("*.py"):
        name = str(path.relative_to(PROJECT))
        text = path.read_text()
        assert "check_output" not in text, name
        assert "getoutput" not in text, name
        assert name in allowed or not re.search(r"capture_output\s*=\s*True|stdout\s*=\s*subprocess\.PIPE", text), name


def test_12_and_13_an_interrupt_is_its_device_and_name_never_its_number(sim: Sim) -> None:
    """After a driver asked for its interrupts anew, another number is written to, and nobody else's."""
    profile = sim.profile('[bind]\nfeed = "nic"\n[irq]\nfeed = "3"\n')
    assert sim.apply(profile).outcome == "confirmed"
    record = sim.store.all()[-1].plan["changes"][0]
    assert not re.search(r"(^|\D)31(\D|$)", record["identity"])
    old = Path(sim.root + "/proc/irq/31")
    moved = Path(sim.root + "/proc/irq/99")
    old.rename(moved)
    sysfs = Path(sim.root + "/sys/kernel/irq")
    if (sysfs / "31").exists():
        (sysfs / "31").rename(sysfs / "99")
    text = Path(sim.root + "/proc/interrupts").read_text()
    Path(sim.root + "/proc/interrupts").write_text(re.sub(r"^( *)31:", r"\g<1>99:", text, flags=re.MULTILINE))
    for vector in Path(sim.root).glob("sys/devices/**/msi_irqs/31"):
        vector.rename(vector.with_name("99"))
    done = rollback(sim.host, sim.store, None, "test")
    assert done is not None
    assert {each.result for each in done[1]} <= {"restored", "gone"}
    assert not old.exists()


def test_14_only_the_bound_nic_is_touched_and_the_way_in_only_with_a_timer(new_sim) -> None:
    sim = new_sim(nics=2)
    done = sim.run(
        "plan", sim.profile('[bind]\nfeed = "nic"\n[nic.feed]\nrings = { rx = 4096 }\n'), "--bind", "feed=eth2", "--json"
    )
    assert {c["target"] for c in json.loads(done.stdout)["changes"]} == {"eth2"}
    way_in = "eth3"
    route = Path(sim.root + "/proc/net/route")
    route.write_text(route.read_text().splitlines()[0] + f"\n{way_in}\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
    refused = sim.run(
        "apply",
        sim.profile('[bind]\nfeed = "nic"\n[nic.feed]\nrings = { rx = 4096 }\n'),
        "--bind",
        f"feed={way_in}",
        "--allow",
        "link",
    )
    assert refused.returncode == 4, refused.stderr
    assert "--confirm-within" in refused.stderr
    assert sim.changed() == ["/proc/net/route"]


def test_16_the_sibling_of_a_housekeeping_core_is_never_isolated(new_sim) -> None:
    sim = new_sim(nodes=1, cores=4, smt=2)
    done = sim.run("plan", sim.profile('[cores]\nhousekeeping = "0"\n[isolation]\ncores = "1-7"\n'))
    assert done.returncode == 1
    assert "isolates CPU 4, whose core also does housekeeping" in done.stderr


def test_17_no_process_that_ends_takes_the_settings_back(sim: Sim) -> None:
    """Whoever watches may end or be killed: what was applied stays."""
    assert sim.apply(sim.profile(SYSCTL)).outcome == "confirmed"
    process = subprocess.Popen(
        command_line("watch", "--json", "--interval", "0.1", root=sim.root, state=sim.state),
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    time.sleep(0.1)
    assert sim.text(SWAPPINESS) == "9\n"


def test_19_threads_are_chosen_by_where_they_may_run_never_by_a_pattern(sim: Sim) -> None:
    """A process whose command line looks like a kernel thread's is a process."""
    document = json.loads(sim.text("/threads.json"))
    like = next(t for t in document["threads"] if not t.get("kernel") and t["tid"] != 1)
    like["name"] = "ksoftirqd/2"
    Path(sim.root + "/threads.json").write_text(json.dumps(document))
    threads = [t for t in sim.host.syscalls.threads() if t.name == "ksoftirqd/2" and not t.kernel]
    assert [t.tid for t in threads] == [like["tid"]]
    assert sim.apply().outcome == "confirmed"


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_19_the_result_does_not_depend_on_the_order_of_the_file(sim: Sim, order: tuple[str, str]) -> None:
    tables = {"one": '[irq]\ndefault = "0"\n', "two": '[sysctl]\n"vm.swappiness" = 9\n'}
    assert sim.apply(sim.profile(tables[order[0]] + tables[order[1]])).outcome == "confirmed"
    assert [c["knob"].split(".")[0] for c in sim.store.all()[-1].plan["changes"]][-1] == "sysctl"


def test_20_who_writes_a_sysctl_again_is_told_of(sim: Sim) -> None:
    assert sim.apply(sim.profile(SYSCTL)).outcome == "confirmed"
    sim.write(SWAPPINESS, "60")
    assert "sysctl --system" in sim.run("verify").stdout


@pytest.mark.parametrize("command", ["plan", "apply", "verify"])
def test_22_a_profile_that_is_not_there_is_an_error_that_names_those_that_are(sim: Sim, command: str) -> None:
    done = sim.run(command, "feed-handlr")
    assert done.returncode == 1
    assert "there is no such profile" in done.stderr
    assert "feed-handler" in done.stderr
    assert sim.changed() == []


def test_every_number_has_its_test_or_its_reason() -> None:
    text = Path(__file__).read_text()
    tested = {
        int(n) for name in re.findall(r"^def test_((?:\d+_(?:and_)?)+)", text, re.MULTILINE) for n in re.findall(r"\d+", name)
    }
    assert tested | set(ELSEWHERE) == set(range(1, 24))
    assert sys.version_info >= (3, 11)
    assert os.path.exists(PROJECT / "tests")
