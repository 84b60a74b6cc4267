"""Programs that write the same knobs: stopped until the next boot by the real systemctl's exit statuses, or steered."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import PROJECT, Sim, tree_of

from tuner.host import commands, irqbalance, services
from tuner.host.files import HostFiles
from tuner.host.host import Inventory, open_host
from tuner.knobs.knob import Reading, Unsupported
from tuner.knobs.services import STOPPABLE, Stopped, checked, profile_line
from tuner.plan import look
from tuner.profile import ProfileError
from tuner.profile_files import load
from tuner.undo import rollback

KNOB = Stopped()


@pytest.fixture
def fake_systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A program in systemctl's place that writes down how it was called, and then does as it is told."""

    def make(script: str) -> Path:
        log = tmp_path / "calls"
        program = tmp_path / "systemctl"
        program.write_text(f'#!/bin/sh\necho "$*" >> {log}\nenv | sort > {tmp_path}/environment\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setattr(commands, "SYSTEMCTL", str(program))
        return log

    return make


def units(tmp_path: Path, *names: str) -> HostFiles:
    for name in names:
        path = tmp_path / "host/usr/lib/systemd/system" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[Service]\n")
    (tmp_path / "host").mkdir(exist_ok=True)
    return HostFiles(tmp_path / "host")


# ------------------------------------------------------------------------------------------- what systemctl is asked, and how


def test_a_unit_is_active_by_the_exit_status_alone(tmp_path, fake_systemctl):
    files = units(tmp_path, "irqbalance.service")
    fake_systemctl("echo active; exit 3")
    assert services.read_service(files, "irqbalance.service") == services.ServiceState(True, False)
    log = fake_systemctl("echo inactive; exit 0")
    assert services.read_service(files, "irqbalance.service").active
    assert log.read_text().splitlines()[-1] == "is-active --quiet -- irqbalance.service"


def test_for_a_unit_that_is_not_installed_nothing_is_run(tmp_path, fake_systemctl):
    log = fake_systemctl("exit 0")
    assert services.read_service(units(tmp_path), "numad.service") == services.ServiceState(False, False)
    assert not log.exists()


def test_which_mask_lies_over_a_unit(tmp_path, fake_systemctl):
    fake_systemctl("exit 3")
    files = units(tmp_path, "tuned.service")
    run, etc = tmp_path / "host/run/systemd/system", tmp_path / "host/etc/systemd/system"
    run.mkdir(parents=True)
    etc.mkdir(parents=True)
    (run / "tuned.service").symlink_to("/dev/null")
    assert services.read_service(files, "tuned.service").masked == "runtime"
    (etc / "tuned.service").symlink_to("/dev/null")
    assert services.read_service(files, "tuned.service") == services.ServiceState(True, False, "always")


def test_stopping_masks_first_and_starting_unmasks_first(fake_systemctl, tmp_path):
    log = fake_systemctl("exit 0")
    services.stop("tuned.service")
    services.start("tuned.service")
    assert log.read_text().splitlines() == [
        "mask --runtime --quiet --no-ask-password -- tuned.service",
        "stop --quiet --no-ask-password -- tuned.service",
        "unmask --runtime --quiet --no-ask-password -- tuned.service",
        "start --quiet --no-ask-password -- tuned.service",
    ]
    inherited = {line.partition("=")[0] for line in (tmp_path / "environment").read_text().splitlines()}
    assert inherited <= {*commands.ENVIRONMENT, "PWD", "_", "SHLVL", "OLDPWD"}


def test_a_refusal_carries_systemds_last_words(fake_systemctl):
    fake_systemctl("printf 'first\\nAccess \\033[1mdenied\\n' >&2; exit 4")
    with pytest.raises(OSError, match=r"systemctl mask tuned.service ended with status 4: Access \\x1b\[1mdenied") as caught:
        services.stop("tuned.service")
    assert caught.value.errno == errno.EIO


def test_a_systemctl_that_hangs_is_given_up(fake_systemctl, monkeypatch):
    fake_systemctl("exec sleep 30")
    monkeypatch.setattr(services, "_CHANGE_S", 0.3)
    start = time.monotonic()
    with pytest.raises(OSError, match="did not end within") as caught:
        services.stop("tuned.service")
    assert caught.value.errno == errno.ETIMEDOUT
    assert time.monotonic() - start < 10


def test_the_real_systemctl_of_this_machine_answers_for_a_host_without_systemd():
    if not os.path.exists(commands.SYSTEMCTL):
        pytest.skip("no systemctl on this machine")
    if services.has_systemd(HostFiles()):
        pytest.skip("systemd runs here: the lab has the test of it")
    assert commands.systemctl(["is-active", "--quiet", "--", "irqbalance.service"], 5.0)[0] != 0
    with pytest.raises(OSError, match="not PID 1") as caught:
        open_host().syscalls.service_state("irqbalance.service")
    assert caught.value.errno == errno.EOPNOTSUPP


# --------------------------------------------------------------------------------------------------------------- the knob


def test_no_profile_stops_sshd(sim: Sim):
    with pytest.raises(ProfileError, match=r"services.stop.0: unknown word 'ssh.service'"):
        load(sim.host.files, sim.profile('[services]\nstop = ["ssh.service"]\n'))
    with pytest.raises(PermissionError, match="may be stopped"):
        checked("sshd.service")
    with pytest.raises(PermissionError):
        KNOB.write(Inventory(sim.host), "ssh.service", "stopped", {})
    with pytest.raises(PermissionError):
        KNOB.restore(Inventory(sim.host), "ssh.service", {"active": True, "masked": ""})
    assert not [unit for unit in STOPPABLE if unit.startswith(("ssh", "systemd-", "dbus", "network", "chrony", "ntp"))]


def test_one_that_runs_although_it_is_masked_is_left_alone():
    reading = Reading("running", "running", undo={"active": True, "masked": "always"})
    with pytest.raises(Unsupported, match="could not be started again"):
        KNOB.compare(reading, "stopped")


def test_without_systemd_the_plan_names_the_process(sim: Sim, captured_host):
    root = captured_host("lab-8cpu-2numa")
    inventory = Inventory(open_host(root))
    assert KNOB.compare(KNOB.read(inventory, "irqbalance.service"), "stopped") == "ok"
    assert "not PID 1" in KNOB.read(inventory, "irqbalance.service").note

    class Threads:
        def __getattr__(self, name):
            return getattr(inventory.host.syscalls, name)

        def threads(self):
            one = inventory.host.syscalls.threads()[0]
            from dataclasses import replace

            return (replace(one, tid=812, pid=812, name="irqbalance", kernel=False),)

    from tuner.host.host import Host

    with pytest.raises(Unsupported, match=r"end process 812 \(irqbalance\) by hand"):
        KNOB.read(Inventory(Host(inventory.host.files, Threads())), "irqbalance.service")


def test_apply_needs_leave_to_stop_services_and_says_what_it_stops(sim: Sim):
    path = sim.profile('[services]\ntuned = "stop"\npower_daemons = "stop"\nnumad = "leave"\n')
    refused = sim.run("apply", path)
    assert refused.returncode == 4
    assert "tuned.service" in refused.stderr
    assert "--allow service" in refused.stderr
    done = sim.json("apply", path, "--allow", "service", status=0)
    states = {change["target"]: change["state"] for change in done["changes"]}
    assert states["tuned.service"] == states["thermald.service"] == states["tlp.service"] == "ok"
    assert "numad.service" not in states
    assert sim.json("verify", status=0)
    sim.host.syscalls.start_service("thermald.service")
    drifted = sim.json("verify", status=2)
    assert [c["target"] for c in drifted["changes"] if c["state"] == "differs"] == ["thermald.service"]


def test_what_tuned_takes_back_when_it_stops_is_set_all_the_same(sim: Sim):
    """Tuned had set a sysctl to what the profile wants; stopped, it puts the old value back."""
    sim.write("/proc/sys/vm/swappiness", "10")
    path = sim.profile('[services]\ntuned = "stop"\n[sysctl]\n"vm.swappiness" = 10\n"vm.stat_interval" = 120\n')
    from tuner.host.host import Host

    class Tuned:
        def __getattr__(self, name):
            return getattr(sim.host.syscalls, name)

        def stop_service(self, unit):
            sim.host.syscalls.stop_service(unit)
            sim.write("/proc/sys/vm/swappiness", "60")

    result = sim.apply(path, host=Host(sim.host.files, Tuned(), simulated=True))
    assert result.outcome == "confirmed", result.error
    assert sim.text("/proc/sys/vm/swappiness").strip() == "10"
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert sim.text("/proc/sys/vm/swappiness").strip() == "10"
    assert sim.changed() == ["/proc/sys/vm/swappiness"]


def test_every_line_that_stops_a_unit_is_one_of_the_language(sim: Sim):
    for unit in STOPPABLE:
        table, line = profile_line(unit).split(" ", 1)
        plan = sim.plan(sim.profile(f"{table}\n{line}\n"))
        assert unit in [change.identity for change in plan.changes]


# ------------------------------------------------------------------------------------------------------------- irqbalance


def test_the_answer_to_setup_is_read_and_nothing_else_taken_for_one():
    bans = irqbalance.parse_setup(
        "SLEEP 10 IRQ 25 LOAD 0 DIFF 7 CLASS 5 IRQ 26 LOAD 12 DIFF 0 CLASS 4 BANNED 00000001,000000f0"
    )
    assert bans == irqbalance.Bans(frozenset({4, 5, 6, 7, 32}), frozenset({25, 26}), 10)
    for bad in ("", "SLEEP 10", "SLEEP x BANNED 0", "SLEEP 10 BANNED zz", "SLEEP 10 BANNED 0\x1b[1m", "SLEEP 1 IRQ BANNED 1"):
        with pytest.raises(OSError, match="not what irqbalance answers"):
            irqbalance.parse_setup(bad)


def test_bans_are_added_to_those_of_others_and_taken_back(sim: Sim):
    sim.host.syscalls.set_irqbalance_bans(frozenset({1}), frozenset({9}))
    before = tree_of(sim.root)
    path = sim.profile('[bind]\nfeed = "nic"\n[cores]\nrx = "2-3"\n[services]\nirqbalance = "ban"\n[irq]\nfeed = "rx"\n')
    assert sim.apply(path, bindings={"feed": "eth2"}).outcome == "confirmed"
    bans = sim.host.syscalls.irqbalance_bans()
    queues = {irq.number for irq in Inventory(sim.host).irqs if irq.device == "eth2" and irq.receives}
    assert queues
    assert bans is not None
    assert bans.cpus == {1, 2, 3}
    assert bans.irqs == {9} | queues
    rollback(sim.host, sim.store, None, "test")
    assert tree_of(sim.root) == before


def test_without_an_irqbalance_there_is_nothing_to_steer(sim: Sim):
    sim.host.syscalls.stop_service("irqbalance.service")
    path = sim.profile('[cores]\nrx = "2-3"\n[services]\nirqbalance = "ban"\n')
    (change,) = sim.plan(path).changes
    assert (change.state, change.note) == ("ok", "irqbalance does not run")


def test_a_ban_without_cores_is_a_fault(sim: Sim):
    with pytest.raises(ProfileError, match="has no cores to keep irqbalance from"):
        sim.plan(sim.profile('[services]\nirqbalance = "ban"\n'))


def test_more_interrupts_than_a_request_holds_are_refused_before_anything_is_sent():
    with pytest.raises(OSError, match="500 bytes") as caught:
        irqbalance.set_bans(1, frozenset(), frozenset(range(100, 300)))
    assert caught.value.errno == errno.E2BIG


STEERED = """
import os, sys, time
from tuner.host.host import Inventory, open_host
from tuner.knobs.irqbalance import IrqbalanceBans
host = open_host()
knob, inventory = IrqbalanceBans(), Inventory(host)
deadline = time.monotonic() + 10
while True:
    try:
        before = knob.read(inventory, "irqbalance")
        assert before.now is not None
        break
    except (OSError, AssertionError):
        assert time.monotonic() < deadline, "its socket did not come up"
        time.sleep(0.1)
wanted = {"cpus": "1", "irqs": [next(irq.identity for irq in inventory.irqs)]}
assert knob.compare(before, wanted) == "differs", before
knob.write(inventory, "irqbalance", wanted, {})
after = knob.read(inventory, "irqbalance")
assert knob.compare(after, wanted) == "ok", after
assert after.now["cpus"] == "1"
knob.restore(inventory, "irqbalance", before.saved)
assert knob.same(knob.read(inventory, "irqbalance").now, before.now)
child = os.fork()
if child == 0:
    os.setuid(65534)
    try:
        knob.read(inventory, "irqbalance")
    except PermissionError:
        os._exit(0)
    os._exit(2)
assert os.waitpid(child, 0)[1] == 0
print("steered", before.now, after.now)
"""


@pytest.mark.parametrize("place", ["mkdir /run/irqbalance", "true"], ids=["its directory", "an abstract name"])
def test_the_real_irqbalance_is_steered_and_let_go(tmp_path, place):
    """In namespaces of its own, and on a /proc/irq that it cannot write to: no interrupt of this machine moves."""
    program = shutil.which("irqbalance", path="/usr/sbin:/usr/bin") or os.environ.get("QUIETCORE_IRQBALANCE")
    if program is None:
        pytest.skip("irqbalance is not installed")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("irqbalance does nothing on one CPU")
    script = (
        f"mount --make-rprivate / && mount -t tmpfs tmpfs /run && {place} && mount --bind /proc/irq /proc/irq && "
        "mount -o remount,bind,ro /proc/irq && ! (echo 1 > /proc/irq/default_smp_affinity) 2>/dev/null || exit 77\n"
        f'{program} --foreground --interval=1 & daemon=$!; "$0" -c "$1"; status=$?\n'
        "kill -KILL $daemon; wait $daemon 2>/dev/null; exit $status"
    )
    command = ["unshare", "--mount", "--net", "bash", "-c", script, sys.executable, STEERED]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    if run.returncode == 77 or "unshare failed" in run.stderr:
        pytest.skip(f"no namespaces with mounts of their own here: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("steered")


def test_the_state_of_a_unit_never_tracebacks_on_captured_hosts(captured_host):
    from tuner.knobs.knob import Wish

    for name in ("intel-2node-16core-i350-connectx3", "intel-4node-interleaved-bnx2", "lab-8cpu-2numa-isolated"):
        inventory = Inventory(open_host(captured_host(name)))
        for unit in STOPPABLE:
            change = look(inventory, Wish("services.stopped", unit, unit, "stopped", "test", {}))
            assert change.state in ("ok", "unsupported"), change
