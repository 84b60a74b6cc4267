"""Machine checks, the fair server, preemption, the watchdog and the masks of workqueues: what they say, and what is missing."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import Sim

from tuner.host.files import HostFiles
from tuner.host.host import Inventory, open_host
from tuner.knobs.knob import Unsupported
from tuner.knobs.noise import FairServer, IgnoreCorrectedErrors, MachineCheckInterval, Preemption
from tuner.knobs.watchdog import Watchdog
from tuner.knobs.workqueue import WorkqueueMasks
from tuner.plan import build
from tuner.profile import ProfileError
from tuner.profile_files import load


def test_a_machine_check_setting_is_the_hosts_though_each_cpu_has_a_file(sim: Sim) -> None:
    inventory = Inventory(sim.host)
    for knob, leaf, value in ((IgnoreCorrectedErrors(), "ignore_ce", True), (MachineCheckInterval(), "check_interval", 10)):
        found = knob.read(inventory, "host")
        knob.write(inventory, "host", value, {})
        assert sim.text(f"/sys/devices/system/machinecheck/machinecheck3/{leaf}") == f"{int(value)}\n"
        assert knob.compare(knob.read(inventory, "host"), value) == "ok"
        knob.restore(inventory, "host", found.saved)
    assert sim.changed() == []


def test_preemption_is_the_word_in_round_brackets_and_the_first_that_is_offered(sim: Sim) -> None:
    knob = Preemption()
    assert knob.read(Inventory(sim.host), "host").now == "voluntary"
    assert knob.parse("none voluntary (full) lazy") == "full"
    [change] = sim.plan(sim.profile('[noise]\npreempt = ["lazy", "full"]\n')).changes
    assert change.wanted == "full"
    with pytest.raises(ProfileError, match="no preemption model 'lazy'"):
        sim.plan(sim.profile('[noise]\npreempt = "lazy"\n'))


def test_the_fair_server_is_each_cpus_own_and_bounded_by_its_period(sim: Sim) -> None:
    profile = sim.profile('[noise]\nfair_server_runtime_ns = { "2-3" = 0, "1" = "at-most:10000000" }\n')
    assert {c.target: c.wanted for c in sim.plan(profile).changes} == {"CPU 2-3": 0, "CPU 1": 10000000}
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        sim.write("/sys/kernel/debug/sched/fair_server/cpu1/runtime", "1000000001")
    assert sim.apply(profile).outcome == "confirmed"
    assert sim.text("/sys/kernel/debug/sched/fair_server/cpu0/runtime") == "50000000\n"
    assert FairServer().read(Inventory(sim.host), "0-3").now == {"0": 50000000, "1": 10000000, "2-3": 0}


class Closed(HostFiles):
    """A kernel whose debugfs answers each open with an errno."""

    code = errno.EPERM

    def read(self, name: str) -> bytes:
        if name.startswith("/sys/kernel/debug/"):
            raise OSError(self.code, os.strerror(self.code), name)
        return super().read(name)


@pytest.mark.parametrize(
    ("code", "state", "said"),
    [(errno.EPERM, "unsupported", "locked down"), (errno.EACCES, "unverifiable", "may not be read by this user")],
)
def test_a_closed_debugfs_is_told_from_one_that_is_not_ours_to_read(sim: Sim, code: int, state: str, said: str) -> None:
    from dataclasses import replace

    files = Closed(sim.root)
    files.code = code
    profile = sim.profile('[noise]\npreempt = "full"\nfair_server_runtime_ns = 0\n')
    host = replace(sim.host, files=files)
    changes = build(Inventory(host), load(host.files, profile), {}).changes
    assert {c.state for c in changes} == {state}
    assert all(said in (c.error or "") for c in changes)


def test_without_debugfs_or_the_files_it_says_which(sim: Sim) -> None:
    import shutil

    debug = Path(sim.root) / "sys/kernel/debug"
    (debug / "sched/preempt").unlink()
    with pytest.raises(Unsupported, match="CONFIG_PREEMPT_DYNAMIC"):
        Preemption().read(Inventory(sim.host), "host")
    shutil.rmtree(debug)
    with pytest.raises(Unsupported, match="debugfs is not mounted"):
        FairServer().read(Inventory(sim.host), "1")
    shutil.rmtree(Path(sim.root) / "sys/devices/system/machinecheck")
    with pytest.raises(Unsupported, match="machinecheck0/ignore_ce"):
        IgnoreCorrectedErrors().read(Inventory(sim.host), "host")


def test_the_watchdog_is_never_given_a_cpu_that_is_not_there(sim: Sim) -> None:
    knob, inventory = Watchdog(), Inventory(sim.host)
    sim.write("/proc/sys/kernel/watchdog_cpumask", "9")
    assert sim.text("/proc/sys/kernel/watchdog_cpumask") == "\n"  # what the kernel makes of it, without a word
    with pytest.raises(OSError, match="none of CPU 9 is on this host"):
        knob.write(inventory, "host", "9", {})
    knob.write(inventory, "host", "0-1", {})
    assert knob.read(inventory, "host").now == "0-1"
    assert knob.same("0-1", "0,1")
    knob.restore(inventory, "host", "")  # an empty mask can be put back, too
    assert knob.read(inventory, "host").now == ""
    sim.write("/proc/sys/kernel/watchdog", "0")
    assert "is off" in knob.read(inventory, "host").note


def test_the_watchdog_is_said_once(sim: Sim) -> None:
    text = '[isolation]\nwatchdog = "0"\n[sysctl]\n"kernel.watchdog_cpumask" = "0"\n'
    with pytest.raises(ProfileError, match=r"kernel\.watchdog_cpumask"):
        sim.plan(sim.profile(text))


def test_each_workqueue_with_a_mask_is_kept_within_and_gets_its_own_back(sim: Sim) -> None:
    base = "/sys/devices/virtual/workqueue"
    directory = Path(sim.root + base) / "scsi_tmf_0"
    directory.mkdir()
    (directory / "cpumask").write_text("3\n")
    knob, inventory = WorkqueueMasks(), Inventory(sim.host)
    found = knob.read(inventory, "each")
    assert found.now == {"scsi_tmf_0": "0-1", "writeback": "0-3"}
    assert knob.compare(found, "0-1") == "differs"
    knob.write(inventory, "each", "0-1", {})
    after = knob.read(inventory, "each")
    assert (after.now, knob.compare(after, "0-1"), knob.compare(after, "0-2")) == ("0-1", "ok", "ok")
    knob.restore(inventory, "each", found.saved)
    assert knob.same(knob.read(inventory, "each").now, found.now)
    (directory / "cpumask").unlink()  # its driver left
    knob.restore(inventory, "each", found.saved)


def test_masks_of_single_workqueues_are_set_where_asked_for_or_where_there_is_no_other(sim: Sim) -> None:
    cores = '[isolation]\ncores = "2-3"\nworkqueues = "0-1"\n'
    assert "isolation.workqueue_masks" not in {c.knob for c in sim.plan(sim.profile(cores)).changes}
    for name in ("cpumask", "cpumask_requested"):  # as 3.10 has it
        (Path(sim.root) / f"sys/devices/virtual/workqueue/{name}").unlink()
    changes = {c.knob: c for c in sim.plan(sim.profile(cores)).changes}
    assert changes["isolation.workqueues"].state == "unsupported"
    assert (changes["isolation.workqueue_masks"].wanted, changes["isolation.workqueue_masks"].state) == ("0-1", "differs")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_this_kernels_watchdog_and_workqueues_are_written_and_put_back() -> None:
    inventory = Inventory(open_host())
    first = str(min(inventory.topology.online))
    for knob, identity in ((Watchdog(), "host"), (WorkqueueMasks(), "each")):
        try:
            found = knob.read(inventory, identity)
        except Unsupported as missing:
            pytest.skip(str(missing))
        try:
            knob.write(inventory, identity, first, {})
            assert knob.compare(knob.read(inventory, identity), first) == "ok"
        finally:
            knob.restore(inventory, identity, found.saved)
        assert knob.same(knob.read(inventory, identity).now, found.now)


def test_this_machine_says_of_each_setting_what_it_is_or_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "noise.toml"
    path.write_text(
        '[noise]\nignore_corrected_errors = true\nmce_check_interval_s = 0\nfair_server_runtime_ns = 0\n[cpus]\nsmt = "off"\n'
    )
    path.chmod(0o600)
    host = open_host()
    for change in build(Inventory(host), load(host.files, str(path)), {}).changes:
        assert change.state in ("ok", "differs", "unsupported", "unverifiable"), change
        assert change.error or change.state in ("ok", "differs")


@pytest.mark.parametrize(
    "name", ["intel-2node-16core-i350-connectx3", "intel-4node-interleaved-bnx2", "lab-8cpu-2numa-isolated", "lab-8cpu-2numa"]
)
def test_captured_hosts_answer_every_wish(captured_host: Callable[[str], str], name: str, tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(
        '[cores]\nhousekeeping = "smt(0)"\n[isolation]\ncores = "smt(first(2, cores(online - housekeeping)))"\n'
        'kernel_threads = "housekeeping"\nworkqueues = "housekeeping"\nwatchdog = "housekeeping"\n'
        '[noise]\nignore_corrected_errors = true\nmce_check_interval_s = 0\nfair_server_runtime_ns = 0\npreempt = "full"\n'
        '[cpus]\nsmt = "off"\n'
    )
    path.chmod(0o600)
    host = open_host(captured_host(name))
    plan = build(Inventory(host), load(host.files, str(path)), {})
    assert {c.state for c in plan.changes} <= {"ok", "differs", "unsupported", "unverifiable"}, plan.changes
