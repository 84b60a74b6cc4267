"""Inside the lab's guest: power, memory, PCIe and clock on a stock kernel, and the latency that a unit of systemd holds.

``guest_power_knobs.py`` runs both by themselves; ``tests/lab/guest.py`` may call ``power_knobs`` and ``latency_under_systemd``.
"""

import os
import pathlib
import struct
import sys
import time
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.lab.guest_systemd import Systemd

CPU = "/sys/devices/system/cpu"
WATCHED = (
    f"{CPU}/cpu*/cpuidle/state*/disable",
    f"{CPU}/cpu*/power/pm_qos_resume_latency_us",
    f"{CPU}/cpuidle/current_governor",
    f"{CPU}/cpufreq/policy*/scaling_*",
    f"{CPU}/cpufreq/policy*/energy_performance_preference",
    "/sys/kernel/mm/transparent_hugepage/**/*",
    "/sys/kernel/mm/ksm/run",
    "/sys/devices/system/node/node*/hugepages/*/nr_hugepages",
    "/sys/module/pcie_aspm/parameters/policy",
    "/sys/bus/pci/devices/*/link/*",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource",
)
PROFILE = """
summary = "everything of power, memory, PCIe and the clock that a guest may have"
[bind]
feed = "nic"
[cores]
rx = "first(2, cores(node(feed) - 0))"
[power]
governor = { "rx" = ["performance"] }
epp = { "rx" = "performance" }
min_freq_khz = { "rx" = "max" }
turbo = true
uncore_min_khz = { "node(feed)" = "max" }
cpuidle_governor = ["ladder", "teo", "haltpoll"]
cstate_limit_us = { "rx" = 0 }
resume_latency_us = { "rx" = "n/a", "0" = 100 }
[memory]
thp = "never"
thp_defrag = "never"
khugepaged_defrag = false
ksm = true
hugepages = { "node(feed)" = { "2M" = 16 }, "node(1)" = { "2M" = 4 } }
[pcie]
aspm_policy = ["performance"]
[nic.feed]
aspm = false
[clock]
clocksource = ["acpi_pm", "hpet", "tsc"]
"""
LATENCY_US = 1_000_000_007
LATENCY = f'summary = "held"\n[power]\ndma_latency_us = {LATENCY_US}\n'
Check = Callable[..., None]


def values() -> dict[str, str]:
    """Every file that the profile may touch."""
    found = {}
    for pattern in WATCHED:
        for path in pathlib.Path("/").glob(pattern[1:]):
            try:
                found[str(path)] = path.read_text().strip()
            except OSError:
                continue
    return {
        path: text for path, text in found.items() if not path.endswith(("scaling_cur_freq", "/pages_collapsed", "/full_scans"))
    }


def moved(before: dict[str, str]) -> dict[str, str]:
    after = values()
    return {
        path: f"{before.get(path)} -> {after.get(path)}"
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    }


def power_knobs(nic: str, command: Callable[..., tuple[int, dict]], check: Check) -> None:
    """Applied, verified, rolled back; everything that the profile touches is compared."""
    print(f"== power, memory, PCIe and clock, with {nic}", flush=True)
    profile = pathlib.Path("/tmp/lab-power.toml")
    profile.write_text(PROFILE)
    profile.chmod(0o644)
    words = (str(profile), "--bind", f"feed={nic}")
    before = values()
    _, plan = command("plan", *words)
    for change in plan.get("changes", []):
        print(
            f"   {change['knob']:28} {change['target']:14} {change['state']:12} {change['error'] or change['now']}", flush=True
        )
    check(
        "nothing of it fails to be read", not [c for c in plan["changes"] if c["state"] in ("failed", "gone")], plan["summary"]
    )
    status, applied = command("apply", *words, "--accept-irreversible")
    check("apply", status == 0, applied.get("error"))
    check("and it changed the host", len(moved(before)) > 10, len(moved(before)))
    status, verdict = command("verify")
    check("verify", status == 0, [c for c in verdict["changes"] if c["state"] not in ("ok", "ok-rounded", "unsupported")])
    status, undone = command("rollback")
    check("rollback", status == 0, [u for u in undone["undone"] if u["result"] != "restored"])
    check("everything is as it was", not moved(before), moved(before))


def limit_us() -> int:
    with open("/dev/cpu_dma_latency", "rb", buffering=0) as file:
        return int(struct.unpack("=i", file.read(4))[0])


def until(what: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def latency_under_systemd(check: Check) -> None:
    """Held by a unit that starts again when it is killed, and that ends by a rollback, or by the undo timer in its sandbox."""
    print("== the latency that a unit of systemd holds", flush=True)
    profile = pathlib.Path("/tmp/lab-latency.toml")
    profile.write_text(LATENCY)
    profile.chmod(0o644)
    unit = f"quietcore-dma-latency-{LATENCY_US}us.service"
    before = limit_us()
    systemd = Systemd()
    try:
        done = systemd.quietcore("apply", str(profile), "--json")
        check("apply", done.returncode == 0, done.stderr[-300:] if done.returncode else "")
        check("the kernel has the limit", limit_us() == LATENCY_US, limit_us())
        check("a unit holds it", systemd.systemctl("is-active", unit) == "active")
        check("in no session", systemd.systemctl("show", "-p", "Slice", "--value", unit) == "system.slice")
        pid = systemd.systemctl("show", "-p", "MainPID", "--value", unit)
        if int(pid or 0) > 1:
            systemd.run("kill", "-KILL", pid)
        again = lambda: systemd.systemctl("show", "-p", "MainPID", "--value", unit) not in (pid, "0", "")  # noqa: E731
        check("killed, it starts again", until(again) and until(lambda: limit_us() == LATENCY_US), limit_us())
        done = systemd.quietcore("verify", "--json")
        check("verify", done.returncode == 0, done.stdout[-300:] if done.returncode else "")
        done = systemd.quietcore("rollback", "--json")
        check("rollback", done.returncode == 0, done.stdout[-300:] if done.returncode else "")
        check("the limit is what it was", limit_us() == before, limit_us())
        check("and its unit is gone", until(lambda: systemd.systemctl("is-active", unit) == "inactive"))
        done = systemd.quietcore("apply", str(profile), "--confirm-within", "8s", "--json")
        check("apply with a timer", done.returncode == 0 and limit_us() == LATENCY_US, done.stderr[-300:])
        check("the timer undoes it from its sandbox without devices", until(lambda: limit_us() == before, 60), limit_us())
        check("and its unit is gone", until(lambda: systemd.systemctl("is-active", unit) == "inactive"))
        check("and says that it is restored", '"result": "restored"' in systemd.quietcore("history", "--json").stdout)
        check("held again", systemd.quietcore("apply", str(profile), "--json").returncode == 0 and limit_us() == LATENCY_US)
        profile.write_text(LATENCY.replace(str(LATENCY_US), str(LATENCY_US // 2)))
        done = systemd.quietcore("apply", str(profile), "--confirm-within", "8s", "--json")
        check("another takes over", done.returncode == 0 and limit_us() == LATENCY_US // 2, limit_us())
        check("the timer has the first one hold again", until(lambda: limit_us() == LATENCY_US, 60), limit_us())
        check("as a unit", until(lambda: systemd.systemctl("is-active", unit) == "active"))
        done = systemd.quietcore("rollback", "--json")
        check("rolled back, the limit is what it was", done.returncode == 0 and limit_us() == before, done.stdout[-300:])
    finally:
        systemd.stop()


if __name__ == "__main__":
    from tests.lab.guest import check, command, failures

    os.makedirs("/run/quietcore", exist_ok=True)
    power_knobs("vmx0", command, check)
    latency_under_systemd(check)
    print(f"\n{len(failures)} failed" if failures else "\nlab: all held", flush=True)
    sys.exit(1 if failures else 0)
