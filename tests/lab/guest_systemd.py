"""Inside the lab's guest: systemd as PID 1 of namespaces of its own, and the undo timer as its unit, on real NICs.

The guest's own PID 1 is a shell. A second systemd in a PID, mount and cgroup namespace is the whole thing for all that is
asked here: transient units with their sandboxes, and a session that ends.
"""

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Those of the image that wait for devices which this machine has not.
MASKED = (
    "apparmor console-setup e2scrub_reap keyboard-setup kmod-static-nodes ldconfig systemd-binfmt systemd-firstboot "
    "systemd-hwdb-update systemd-journal-catalog-update systemd-journal-flush systemd-machine-id-commit systemd-modules-load "
    "systemd-pstore systemd-random-seed systemd-remount-fs systemd-sysctl systemd-sysusers systemd-tmpfiles-setup "
    "systemd-tmpfiles-setup-dev systemd-udev-trigger systemd-udevd systemd-update-done systemd-update-utmp"
)
START = f"""
mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p /run/lock /run/systemd/system
umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
for unit in {MASKED}; do ln -s /dev/null /run/systemd/system/$unit.service; done
export container=lab
exec /lib/systemd/systemd --system --unit=sysinit.target --show-status=no --log-target=null
"""
PROFILE = """
summary = "what a unit must be able to put back"
[bind]
feed = "nic"
[cores]
rx = "first(1, cores(node(feed) - 0))"
[irq]
default = "0"
feed = { cores = "rx", spread = "one-each" }
[nic.feed]
rings = { rx = "max" }
[sysctl]
"vm.swappiness" = 7
"kernel.numa_balancing" = 0
"net.core.busy_poll" = 50
"""
STATE = "/var/lib/quietcore"
Check = Callable[..., None]


class Systemd:
    """A running systemd, entered by ``nsenter``."""

    def __init__(self) -> None:
        group = pathlib.Path("/sys/fs/cgroup/lab-systemd")
        group.mkdir(exist_ok=True)
        command = ["unshare", "--pid", "--fork", "--mount", "--cgroup", "--ipc", "--mount-proc", "bash", "-c", START]

        def enter() -> None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

        self.process = subprocess.Popen(
            command,
            preexec_fn=enter,  # noqa: PLW1509 — no thread here but this one
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pid = 0
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.5)
            found = subprocess.run(["pgrep", "-f", "^/lib/systemd/systemd --system"], capture_output=True, text=True)
            if found.stdout.split():
                self.pid = int(found.stdout.split()[0])
                if self.systemctl("is-active", "sysinit.target") == "active":
                    return
        raise RuntimeError("systemd did not come up")

    def run(self, *words: str, **options: object) -> "subprocess.CompletedProcess[str]":
        """A command inside, as in a session of its own."""
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            ["nsenter", "-t", str(self.pid), "-a", "--wd=/", "--", *words], capture_output=True, text=True, **options
        )

    def systemctl(self, *words: str) -> str:
        return self.run("systemctl", *words).stdout.strip()

    def quietcore(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.run(sys.executable, "-I", "-m", "ui.cli.main", *words)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def under_systemd(
    nic: str, snapshot: Callable[[str], dict[str, str]], differences: Callable[..., list[str]], check: Check
) -> None:
    """The timer as a unit: undone after the tool and its session are gone, and while the wall clock jumps; or confirmed."""
    print("== the undo timer as a unit of systemd", flush=True)
    profile = pathlib.Path("/tmp/lab-unit.toml")
    profile.write_text(PROFILE)
    profile.chmod(0o644)
    apply = ["apply", str(profile), "--bind", f"feed={nic}", "--allow", "link", "--json"]
    systemd = Systemd()
    try:
        before = snapshot(nic)
        for what, jumps_s in (("its session gone", ()), ("the wall clock an hour forward and two back", (3600, -7200))):
            done = systemd.quietcore(*apply, "--confirm-within", "12s")
            deadline = boottime_s() + 12
            check(f"{what}: apply", done.returncode == 0, done.stderr[-300:] if done.returncode else "")
            unit = next((w for w in done.stderr.split() if w.startswith("quietcore-undo-")), "none")
            active = systemd.systemctl("is-active", unit)
            check("its timer is a unit of the system", active == "active", f"{unit} {active}, {done.stderr.splitlines()[:1]}")
            check("and in no session", systemd.systemctl("show", "-p", "Slice", "--value", unit) == "system.slice")
            for jump_s in jumps_s:
                time.clock_settime(time.CLOCK_REALTIME, time.time() + jump_s)
                time.sleep(1.5)  # the timer looks once a second
            changed = differences(before, snapshot(nic))
            check("the host is changed", bool(changed), len(changed))
            # the deadline was set somewhere within the apply, whose end is all that is known here; an emulated guest takes
            # many seconds to undo sixty changes
            while differences(before, snapshot(nic)) and boottime_s() < deadline + 40:
                time.sleep(0.3)
            late_s = boottime_s() - deadline
            check("undone at its time by CLOCK_BOOTTIME", -12 < late_s < 30, f"{late_s:+.1f} s")
            left = differences(before, snapshot(nic))
            check("everything is as it was", not left, left[:5])
        done = systemd.quietcore(*apply, "--confirm-within", "60s")
        unit = next((w for w in done.stderr.split() if w.startswith("quietcore-undo-")), "none")
        confirmed = systemd.quietcore("confirm", "--json")
        check("confirmed over a new connection", confirmed.returncode == 0, confirmed.stdout[-200:])
        deadline = boottime_s() + 10
        while systemd.systemctl("is-active", unit) == "active" and boottime_s() < deadline:
            time.sleep(0.3)
        check("and its unit is gone", systemd.systemctl("is-active", unit) == "inactive")
        check("the host stays changed", bool(differences(before, snapshot(nic))))
        undone = systemd.quietcore("rollback", "--json")
        left = differences(before, snapshot(nic))
        check("rolled back, everything is as it was", undone.returncode == 0 and not left, left[:5])
    finally:
        systemd.stop()
