"""Turbo, and how slow the hardware may go: settings of the frequency driver as a whole, and of policies from 6.11 on.

Source: Documentation/admin-guide/pm/{cpufreq,intel_pstate}.rst, drivers/cpufreq/{cpufreq,intel_pstate}.c. intel_pstate has
``no_turbo`` and no ``boost``; the others have ``boost``, which sets that of every policy when it is written.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import format_list, parse_list
from tuner.host.host import Inventory
from tuner.knobs.frequency import CPU_ROOT, check_policies
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported
from tuner.knobs.plain import CpuFiles, HostFile
from tuner.language.request import Request
from tuner.profile import Place, Setting

NO_TURBO = f"{CPU_ROOT}/intel_pstate/no_turbo"
BOOST = f"{CPU_ROOT}/cpufreq/boost"
_WHY = (
    "On for the lowest latency; off only where one frequency matters more than a high one: a core that turbos changes its "
    "frequency with what its neighbours do"
)


class Turbo(Knob):
    """Whether cores may run above their base frequency; the identity is ``host``."""

    family: ClassVar[str] = "power.turbo"
    about: ClassVar[About] = About(
        "Whether cores may run above their base frequency",
        _WHY,
        "/sys/devices/system/cpu/intel_pstate/no_turbo (the other way round), else /sys/devices/system/cpu/cpufreq/boost",
        quirks=(
            "EPERM where firmware switched it off",
            "it moves what the hardware's highest frequency is: of a range, max means another number afterwards",
        ),
        source="Documentation/admin-guide/pm/{cpufreq,intel_pstate}.rst",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """``True`` where they may."""
        del identity
        files = inventory.host.files
        if (off := files.optional(NO_TURBO)) is not None:
            return Reading(now=off == "0", effective=off == "0")
        if (on := files.optional(BOOST)) is not None:
            return Reading(now=on == "1", effective=on == "1")
        raise Unsupported(f"this host has neither {NO_TURBO} nor {BOOST}")

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal."""
        return "ok" if self.same(reading.effective, wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """One write."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """The same with the saved value."""
        del identity
        files = inventory.host.files
        if files.exists(NO_TURBO):
            files.write(NO_TURBO, str(int(not undo)))
        else:
            files.write(BOOST, str(int(bool(undo))))

    def same(self, left: Json, right: Json) -> bool:
        """Equal."""
        return bool(left) == bool(right)

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """The boost of every policy."""
        del identity
        return [("power.policy_turbo", format_list(inventory.topology.online))]


class PolicyTurbo(CpuFiles):
    """Whether each CPU may; the identity is the CPU list."""

    family: ClassVar[str] = "power.policy_turbo"
    leaf: ClassVar[str] = "cpufreq/boost"
    about: ClassVar[About] = About(
        "Whether the cores of one frequency policy may run above their base frequency",
        "Off on housekeeping cores leaves their share of power and heat to those that trade",
        "/sys/devices/system/cpu/cpufreq/policyN/boost",
        since="6.11; not with intel_pstate",
        quirks=("EINVAL while it is off for the host",),
        source="Documentation/ABI/testing/sysfs-devices-system-cpu, drivers/cpufreq/cpufreq.c",
    )


class LeastPerformance(HostFile):
    """The least performance that intel_pstate asks for, in percent; the identity is ``host``."""

    family: ClassVar[str] = "power.min_perf_percent"
    path: ClassVar[str] = f"{CPU_ROOT}/intel_pstate/min_perf_pct"
    about: ClassVar[About] = About(
        "The least performance that intel_pstate asks of the hardware, in percent of the highest",
        "100 where the governor alone does not keep the cores up; it holds for housekeeping cores, too",
        "/sys/devices/system/cpu/intel_pstate/min_perf_pct",
        quirks=("clamped to max_perf_pct, and to what the hardware can do at least: ask for no less than it shows at first",),
        source="Documentation/admin-guide/pm/intel_pstate.rst",
    )


def ask_turbo(request: Request, place: Place, setting: Setting) -> None:
    """One value for the host, or a table of core sets for policies."""
    del place
    if not isinstance(setting.value, Mapping):
        request.wish("power.turbo", "host", "host", setting.value, setting)
        return
    found: dict[int, Json] = {}
    for cpus, value in request.by_cpus(setting):
        request.wish("power.policy_turbo", f"CPU {cpus}", cpus, value, setting)
        found |= dict.fromkeys(sorted(parse_list(cpus)), value)
    check_policies(request, setting, "power.turbo", found)
