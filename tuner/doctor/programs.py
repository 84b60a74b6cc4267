"""Programs that write the same knobs, or own the same cores: by their processes, and by the files that start them.

Source: the programs' documentation; for irqbalance cputree.c (setup_banned_cpus), for the kubelet its CPU manager's state file,
for libvirt the domain format (cputune).
"""

import json
import re
from collections.abc import Iterator

from tuner.conflicts import find, unit_of
from tuner.doctor.finding import Finding
from tuner.doctor.view import View
from tuner.host.cpulist import format_list
from tuner.host.text import printable
from tuner.knobs.services import STOPPABLE

_CLOCKS = {
    "chronyd": "chrony",
    "ntpd": "ntp",
    "systemd-timesyn": "systemd-timesyncd",
    "phc2sys": "phc2sys",
    "ptpd": "ptpd",
    "ptpd2": "ptpd",
}
# Scripts of NIC vendors that set affinities, and what else writes a NIC's settings from a script.
_WRITES = re.compile(
    r"^[^#\n]*?(mlnx_affinity|mlnx_tune|set_irq_affinity\w*|sfcaffinity_config|sfcirqaffinity|/smp_affinity"
    r"|\bethtool\s+(?:-[GLCKAXN]|--(?:set-\w+|features|config-\w+|coalesce))\b|scaling_governor|RUN_AFFINITY_TUNER=yes)",
    re.MULTILINE,
)
_SCRIPTS = (
    "/etc/init.d",
    "/etc/rc.d/init.d",
    "/etc/network/if-up.d",
    "/etc/NetworkManager/dispatcher.d",
    "/etc/networkd-dispatcher/routable.d",
    "/etc/udev/rules.d",
    "/etc/cron.d",
    "/etc/infiniband",
)
_OWN_UNITS = frozenset({"irqbalance", "cpufrequtils", "tuned"})  # their init scripts are the services' own


def irqbalance_moves_cores(view: View) -> Iterator[Finding]:
    """It runs, and knows nothing of a partition that was made at run time, or of what a profile placed."""
    at_run_time = view.partitioned - view.inventory.topology.boot_isolated
    placed = [identity for knob, identity in view.wanted if knob == "irq.affinity"]
    for process in view.processes("irqbalance"):
        try:
            bans = view.inventory.host.syscalls.irqbalance_bans()
        except OSError:  # it answers root alone
            bans = None
        steered = bans is not None and (bans.cpus or bans.irqs)
        if bans is not None and steered and at_run_time <= bans.cpus and (bans.irqs or not placed):
            continue
        evidence = [f"process {process.pid} (irqbalance)"]
        if at_run_time:
            evidence.append(f"CPU {format_list(at_run_time)} are isolated by a partition, not by the kernel's command line")
        if placed:
            evidence.append(f"{len(placed)} interrupts are placed by the applied profile")
        yield Finding(
            "irqbalance",
            "high" if at_run_time or placed else "medium",
            "irqbalance",
            "irqbalance runs and moves interrupts as it likes",
            tuple(evidence),
            "every ten seconds it spreads interrupts anew; it spares only what isolcpus= or nohz_full= isolated at boot",
            '[services] irqbalance = "stop", or "ban" to keep it from isolated and rx cores only',
        )


def rivals(view: View) -> Iterator[Finding]:
    """Other programs that run and write knobs that a profile sets."""
    for conflict in find(view.threads):
        if conflict.program == "irqbalance":
            continue
        program = STOPPABLE[unit_of(conflict)]
        contested = sorted({knob for knob, _ in view.wanted if knob.startswith(program.writes)})
        evidence = [f"process {conflict.pid} ({conflict.program})"]
        if conflict.program == "tuned" and (active := view.files.optional("/etc/tuned/active_profile")):
            evidence.append(f"/etc/tuned/active_profile: {printable(active, 60)}")
        if contested:
            evidence.append(f"the applied profile sets {', '.join(contested[:4])}" + (" …" if len(contested) > 4 else ""))
        yield Finding(
            "rival",
            "high" if contested else "medium",
            conflict.program,
            f"{conflict.program} runs: it {conflict.what}",
            tuple(evidence),
            "two programs that set one knob undo each other, and the one that comes last wins",
            conflict.remedy,
        )


def tuned_waits(view: View) -> Iterator[Finding]:
    """It does not run, but has a profile and starts at the next boot."""
    active = view.files.optional("/etc/tuned/active_profile")
    enabled = "/etc/systemd/system/multi-user.target.wants/tuned.service"
    if active and not view.processes("tuned") and view.files.exists(enabled):
        yield Finding(
            "rival",
            "low",
            "tuned",
            f"tuned does not run now, and applies {printable(active, 60)} at the next boot",
            (f"/etc/tuned/active_profile: {printable(active, 60)}", enabled),
            "after a reboot it sets the same knobs before any profile is applied here",
            "systemctl disable tuned, where this host is tuned by profiles of quietcore",
        )


def two_clocks(view: View) -> Iterator[Finding]:
    """More than one program that steers CLOCK_REALTIME."""
    if view.processes("timemaster"):  # it starts chronyd and phc2sys, and tells them who steers
        return
    found = view.processes(*_CLOCKS)
    kinds = sorted({_CLOCKS[process.name] for process in found})
    if len(kinds) > 1:
        yield Finding(
            "two-clocks",
            "high",
            " and ".join(kinds),
            f"{len(kinds)} programs steer the system clock: {', '.join(kinds)}",
            tuple(f"process {process.pid} ({process.name})" for process in found),
            "each takes the other's correction for an error: time stamps go up and down like a saw",
            "systemctl disable --now all but one of them; with PTP, phc2sys or chrony with a PHC refclock, not both",
        )


def core_owners(view: View) -> Iterator[Finding]:
    """The kubelet or libvirt give cores to others."""
    try:
        state = json.loads(view.text("/var/lib/kubelet/cpu_manager_state", "core-owner") or "{}")
        policy = state.get("policyName") if isinstance(state, dict) else None
    except (ValueError, RecursionError):
        policy = None
    if policy == "static":
        yield Finding(
            "core-owner",
            "high" if view.isolated else "medium",
            "kubelet",
            "the kubelet's CPU manager gives cores to containers (static policy)",
            ("/var/lib/kubelet/cpu_manager_state: policyName static",),
            "it owns the cpusets below kubepods: a partition takes its cores away, and it takes them back",
            "reservedSystemCPUs (and cpu-manager-policy none) in the kubelet's configuration for the cores of this profile",
        )
    domains = view.names("/etc/libvirt/qemu", "core-owner", lambda name: name.endswith(".xml"))
    pinned = [path for path in domains if "<vcpupin" in view.text(path, "core-owner")]
    if pinned:
        yield Finding(
            "core-owner",
            "high" if view.isolated else "medium",
            "libvirt",
            f"{len(pinned)} virtual machines have their processors pinned",
            tuple(printable(path) for path in pinned[:5]),
            "a machine that is pinned to cores of a partition loses them, and one that starts later takes them",
            "leave their cores out of isolation.cores, or change <vcpupin> (virsh edit)",
        )


def scripts(view: View) -> Iterator[Finding]:
    """Scripts of vendors and of the house that write affinities, NIC settings or governors."""
    paths = [path for directory in _SCRIPTS for path in view.names(directory, "script", lambda name: not name.endswith("~"))]
    paths += [path for path in ("/etc/rc.local", "/etc/rc.d/rc.local", "/etc/crontab") if view.files.exists(path)]
    for path in paths:
        if path.rpartition("/")[2] in _OWN_UNITS:
            continue
        found = sorted({" ".join(match[1].split()) for match in _WRITES.finditer(view.text(path, "script"))})
        if found:
            yield Finding(
                "script",
                "medium",
                printable(path),
                f"a script writes what profiles set: {printable(', '.join(found), 120)}",
                (printable(path),),
                "it runs at boot, when a link comes up or on a clock, and nobody sees that it undid a setting",
                "take it out, and say the same in a profile: [irq], [nic.PART], [power]",
            )


LINTS = (irqbalance_moves_cores, rivals, tuned_waits, two_clocks, core_owners, scripts)
