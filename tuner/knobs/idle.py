"""How deep cores sleep: idle states, the latency that each CPU bears, the governor that chooses, and what umwait may do.

Source: Documentation/admin-guide/pm/cpuidle.rst, Documentation/ABI/testing/{sysfs-devices-power,sysfs-devices-system-cpu},
drivers/cpuidle/sysfs.c, arch/x86/kernel/cpu/umwait.c. A state's number means nothing: 3 is C3 here and C6 there. Its exit
latency is what it costs, and so it is what a profile names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tuner.host.cpulist import format_list, parse_list
from tuner.host.files import HostFiles
from tuner.host.host import Inventory
from tuner.host.text import is_number, printable
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported
from tuner.knobs.plain import CpuFiles, HostFile, collapsed, expanded
from tuner.knobs.words import WordFile
from tuner.language.request import Request
from tuner.profile import Place, Setting

CPU_ROOT = "/sys/devices/system/cpu"
_CPUIDLE = "Documentation/admin-guide/pm/cpuidle.rst"
_TRADING = ("rx", "tx", "app")


class IdleGovernor(WordFile):
    """Who chooses the idle state; the identity is ``host``."""

    family: ClassVar[str] = "power.cpuidle_governor"
    path: ClassVar[str] = f"{CPU_ROOT}/cpuidle/current_governor"
    choices: ClassVar[str] = f"{CPU_ROOT}/cpuidle/available_governors"
    about: ClassVar[About] = About(
        "Who chooses how deep an idle core sleeps",
        "menu or teo; haltpoll in guests. Where a trading core may not sleep at all, power.resume_latency_us says so better",
        f"{CPU_ROOT}/cpuidle/current_governor",
        since="5.7 for writing it without a boot word",
        quirks=("ladder ignores that a state in the middle is disabled",),
        source=_CPUIDLE,
    )


class ResumeLatency(CpuFiles):
    """The longest exit latency that each CPU bears, in µs: ``n/a`` for none at all, 0 for any; the identity is the CPU list."""

    family: ClassVar[str] = "power.resume_latency_us"
    leaf: ClassVar[str] = "power/pm_qos_resume_latency_us"
    about: ClassVar[About] = About(
        "The longest exit latency that a CPU's idle states may have, in µs",
        "n/a on cores that trade: they poll instead. 0 on housekeeping cores: no limit; what they save is turbo for the others",
        "/sys/devices/system/cpu/cpuN/power/pm_qos_resume_latency_us",
        "usage and time of cpuidle/stateK",
        since="4.11 for CPUs",
        quirks=(
            "0 is no limit at all, and n/a is no latency: the wrong way round for whoever guesses",
            "all of user space shares this one request",
        ),
        source="Documentation/ABI/testing/sysfs-devices-power, drivers/base/power/sysfs.c",
    )


@dataclass(frozen=True, slots=True)
class IdleState:
    """One idle state of one CPU: its directory, name, exit latency in µs, and whether it is switched off."""

    path: str
    name: str
    latency_us: int
    off: bool


class IdleStates(Knob):
    """Which idle states each CPU has, those that are off behind a ``-``: ``POLL, C1, -C6``; the identity is the CPU list.

    What is wanted is the longest exit latency in µs: every state above it is off. Those below are left as they are.
    """

    family: ClassVar[str] = "power.cstate_limit_us"
    about: ClassVar[About] = About(
        "The longest exit latency of a CPU's idle states, in µs: each state above it is switched off",
        "2 on cores that trade leaves C1; power.resume_latency_us does the same by asking, and goes with a reboot of the asker",
        "/sys/devices/system/cpu/cpuN/cpuidle/stateK/{name,latency,disable}",
        "usage and time of each state",
        undo="each state that was on before is on again; states are found by their names",
        quirks=(
            "any number but 0 switches a state off, and reads back as 1",
            "the governor ladder ignores it for states in the middle",
            "the polling state has no latency and stays",
        ),
        source=_CPUIDLE,
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The states of each CPU; effective is the longest latency of those that are on."""
        found = {cpu: idle_states(inventory.host.files, cpu) for cpu in sorted(parse_list(identity))}
        found = {cpu: states for cpu, states in found.items() if states}
        if not found:
            raise Unsupported("this host has no idle states to switch (no cpuidle driver)")
        now = {cpu: ", ".join(("-" if s.off else "") + s.name for s in states) for cpu, states in found.items()}
        deepest = {cpu: max((s.latency_us for s in states if not s.off), default=0) for cpu, states in found.items()}
        return Reading(now=collapsed(now), effective=collapsed(deepest))

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where no CPU has a deeper state on."""
        deepest = reading.effective.values() if isinstance(reading.effective, Mapping) else [reading.effective]
        return "ok" if max(deepest) <= int(wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Switches off what is too deep."""
        del options
        switched = [
            (state, True)
            for cpu in sorted(parse_list(identity))
            for state in idle_states(inventory.host.files, cpu)
            if state.latency_us > int(wanted)
        ]
        _switch(inventory.host.files, switched)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Switches each state to what it was."""
        switched: list[tuple[IdleState, bool]] = []
        for cpu, text in expanded(undo, identity).items():
            before = str(text).split(", ")
            switched += [
                (state, "-" + state.name in before)
                for state in idle_states(inventory.host.files, cpu)
                if state.name in before or "-" + state.name in before
            ]
        _switch(inventory.host.files, switched)

    def same(self, left: Json, right: Json) -> bool:
        """Equal on every CPU that both know."""
        if not isinstance(left, Mapping) and not isinstance(right, Mapping):
            return bool(left == right)
        cpus = ",".join(key for each in (left, right) if isinstance(each, Mapping) for key in each)
        ours, theirs = expanded(left, cpus), expanded(right, cpus)
        return all(ours[cpu] == theirs[cpu] for cpu in ours.keys() & theirs.keys())


def idle_states(files: HostFiles, cpu: int) -> list[IdleState]:
    """The idle states of a CPU, the shallowest first; empty where it has none. Files of memory: nobody is interrupted."""
    base = f"{CPU_ROOT}/cpu{cpu}/cpuidle"
    numbers = sorted(int(e[5:]) for e in files.entries(base) if e.startswith("state") and is_number(e[5:]))
    found: list[IdleState] = []
    for number in numbers:
        path = f"{base}/state{number}"
        off, latency_us = files.number(f"{path}/disable"), files.number(f"{path}/latency")
        if off is None or latency_us is None:
            continue
        name = printable(files.optional(f"{path}/name") or "", 32).replace(",", " ") or f"state{number}"
        if any(state.name == name for state in found):
            name = f"{name} ({number})"
        found.append(IdleState(path, name, latency_us, bool(off)))
    return found


def _switch(files: HostFiles, switched: list[tuple[IdleState, bool]]) -> None:
    refused: OSError | None = None
    for state, off in switched:
        if state.off != off:
            try:
                files.write(f"{state.path}/disable", str(int(off)))
            except OSError as error:
                refused = refused or error
    if refused is not None:
        raise refused


class UmwaitDeep(HostFile):
    """Whether user space may enter C0.2; the identity is ``host``."""

    family: ClassVar[str] = "power.umwait.enable_c02"
    path: ClassVar[str] = f"{CPU_ROOT}/umwait_control/enable_c02"
    about: ClassVar[About] = About(
        "Whether umwait and tpause may enter C0.2, which takes longer to leave than C0.1",
        "false where an application spins by them; of no effect where none does",
        path,
        since="5.4",
        source="Documentation/ABI/testing/sysfs-devices-system-cpu, arch/x86/kernel/cpu/umwait.c",
    )


class UmwaitTime(HostFile):
    """How long umwait may wait, in cycles of the TSC; the identity is ``host``."""

    family: ClassVar[str] = "power.umwait.max_time_cycles"
    path: ClassVar[str] = f"{CPU_ROOT}/umwait_control/max_time"
    about: ClassVar[About] = About(
        "How long umwait and tpause may wait at most, in cycles of the TSC, a multiple of 4; 0 for no limit",
        "Leave it, unless an application waits for less than it thinks: its waits end early by this limit",
        path,
        since="5.4",
        quirks=("not a multiple of 4: EINVAL",),
        source="Documentation/ABI/testing/sysfs-devices-system-cpu, arch/x86/kernel/cpu/umwait.c",
    )


def ask_resume_latency(request: Request, place: Place, setting: Setting) -> None:
    """One wish for each value; 0 on a core that trades is what whoever guesses writes."""
    del place
    trading = frozenset(cpu for name in _TRADING if name in request.roles for cpu in parse_list(request.roles[name]))
    for cpus, value in request.by_cpus(setting):
        request.wish("power.resume_latency_us", f"CPU {cpus}", cpus, value, setting)
        if value == 0 and (meant := parse_list(cpus) & trading):
            request.warnings.append(
                f'power.resume_latency_us = 0 on CPU {format_list(meant)} is no limit at all; "n/a" is no latency'
            )


def ask_umwait_time(request: Request, place: Place, setting: Setting) -> None:
    """A multiple of 4."""
    del place
    if int(setting.value) % 4:
        request.fault(setting, "is no multiple of 4", f"for example {int(setting.value) // 4 * 4}")
    request.wish("power.umwait.max_time_cycles", "host", "host", setting.value, setting)
