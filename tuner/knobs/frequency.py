"""How fast cores run: governor, energy preference, range, turbo.

Source: Documentation/admin-guide/pm/{cpufreq,intel_pstate,amd-pstate}.rst, drivers/cpufreq/{cpufreq,intel_pstate,amd-pstate}.c.
What the kernel taught:

* A policy may span CPUs: the files of each of them are one and the same (cpuN/cpufreq is a link).
* intel_pstate and amd-pstate in active mode hold the energy preference at ``performance`` under the governor of that name, and
  refuse any other with EBUSY. amd-pstate leaves it there when the governor goes back; intel_pstate puts the old one back.
  So the governor comes first, what it moves is saved with it, and a preference is only ever written where no governor holds it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import CpuListError, CpuSet, format_list, parse_list
from tuner.host.files import HostFiles
from tuner.host.host import Inventory
from tuner.knobs.frequency_range import MAX, MIN, Limits, compared, parsed, resolved, steps
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported
from tuner.knobs.plain import CpuFiles, collapsed, expanded, offered, same_everywhere
from tuner.knobs.words import Offer, check_offered
from tuner.language.request import Request
from tuner.profile import Setting

CPU_ROOT = "/sys/devices/system/cpu"
# The drivers whose governor `performance` holds the energy preference (store_energy_performance_preference in both).
_HOLDING = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
_CPUFREQ = "Documentation/admin-guide/pm/cpufreq.rst, drivers/cpufreq/cpufreq.c"


class PolicyWord(CpuFiles):
    """A word of each CPU's frequency policy, with the words that all of them offer."""

    words: ClassVar[str]

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The word of each CPU."""
        reading = super().read(inventory, identity)
        known = [offered_on(inventory.host.files, cpu, self.words) for cpu in sorted(parse_list(identity))]
        lists = [set(words) for words in known if words]
        both = tuple(sorted(set.intersection(*lists))) if lists else ()
        return Offer(now=reading.now, effective=reading.effective, offered=both)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where every CPU has the word."""
        check_offered(reading, wanted)
        return super().compare(reading, wanted)


class Governor(PolicyWord):
    """The cpufreq governor of each CPU; the identity is the CPU list."""

    family: ClassVar[str] = "power.governor"
    leaf: ClassVar[str] = "cpufreq/scaling_governor"
    words: ClassVar[str] = "scaling_available_governors"
    about: ClassVar[About] = About(
        "Who chooses the frequency of a core",
        "performance on cores that trade: no ramp after a pause; on housekeeping cores powersave leaves turbo to the others",
        "/sys/devices/system/cpu/cpufreq/policyN/scaling_governor",
        "scaling_cur_freq, or APERF/MPERF; the governor is a policy, not a frequency",
        undo="the old word, then the energy preference that it had moved",
        quirks=(
            "a policy may span CPUs: all of them change",
            "performance also sets the energy preference to performance; amd-pstate leaves it there afterwards",
            "guests usually have no cpufreq at all",
        ),
        source=_CPUFREQ,
    )

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """The energy preference of the same CPUs."""
        del inventory
        return [("power.epp", identity)]


class EnergyPreference(PolicyWord):
    """The energy performance preference of each CPU; the identity is the CPU list."""

    family: ClassVar[str] = "power.epp"
    leaf: ClassVar[str] = "cpufreq/energy_performance_preference"
    words: ClassVar[str] = "energy_performance_available_preferences"
    about: ClassVar[About] = About(
        "What the hardware prefers where it chooses the frequency itself (HWP, CPPC)",
        "performance on cores that trade; balance_performance on housekeeping cores leaves turbo head-room to them",
        "/sys/devices/system/cpu/cpufreq/policyN/energy_performance_preference",
        since="4.10 (Intel), 6.3 (AMD)",
        quirks=(
            "EBUSY for all but performance while the governor is performance, which holds it there",
            "reading asks the CPU by an interrupt (rdmsr_on_cpu, about 2 µs of that core), but not where the governor holds it",
        ),
        source="Documentation/admin-guide/pm/intel_pstate.rst, drivers/cpufreq/{intel_pstate,amd-pstate}.c",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The word of each CPU, or its number where it is none of the words."""
        files = inventory.host.files
        cpus = sorted(parse_list(identity))
        if not any(files.exists(self.path(inventory, cpu)) for cpu in cpus):
            raise Unsupported(f"this host has no {self.path(inventory, min(cpus, default=0))}")
        values: dict[int, Json] = {}
        known: list[set[str]] = []
        for cpu in cpus:
            held = holds_preference(files, cpu) and files.exists(self.path(inventory, cpu))
            text = "performance" if held else files.optional(self.path(inventory, cpu))
            if text is not None:
                values[cpu] = self.parse(text)
                known.append(set(offered_on(files, cpu, self.words)))
        now = collapsed(values)
        lists = [words for words in known if words]
        return Offer(now=now, effective=now, offered=tuple(sorted(set.intersection(*lists))) if lists else ())


class EnergyBias(CpuFiles):
    """The energy performance bias of each CPU, 0 (performance) to 15 (power); the identity is the CPU list."""

    family: ClassVar[str] = "power.epb"
    leaf: ClassVar[str] = "power/energy_perf_bias"
    about: ClassVar[About] = About(
        "How eagerly an Intel CPU saves energy, 0 to 15: an older hint beside the energy preference",
        "0 on cores that trade; 6 is the usual default of firmware",
        "/sys/devices/system/cpu/cpuN/power/energy_perf_bias",
        since="5.2",
        quirks=("reading asks the CPU by an interrupt of its own (rdmsr_on_cpu): about 2 µs of that core",),
        source="Documentation/admin-guide/pm/intel_epb.rst, arch/x86/kernel/cpu/intel_epb.c",
    )


class FrequencyRange(Knob):
    """The lowest and highest frequency of each CPU, see ``frequency_range``; the identity is the CPU list."""

    family: ClassVar[str] = "power.freq_khz"
    about: ClassVar[About] = About(
        "Between which frequencies a core may run, in kHz",
        "Lowest = highest on cores that trade keeps them from ramping; a cap on housekeeping cores leaves turbo to the others",
        "/sys/devices/system/cpu/cpufreq/policyN/scaling_{min,max}_freq",
        "scaling_cur_freq, or APERF/MPERF: heat and AVX licences go below it",
        quirks=(
            "a minimum above the maximum is EINVAL up to 5.3, and quietly lowered since: the side that makes room goes first",
            "max means what the hardware has now: turbo moves it",
        ),
        source=_CPUFREQ,
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The range of each CPU, and the hardware's beside it."""
        found = self._limits(inventory, parse_list(identity))
        now = collapsed({cpu: limits.now for cpu, limits in found.items()})
        return Reading(now=now, effective=collapsed({cpu: limits.effective for cpu, limits in found.items()}))

    def compare(self, reading: Reading, wanted: Json) -> State:
        """The worst of all CPUs."""
        texts = reading.effective.values() if isinstance(reading.effective, Mapping) else [reading.effective]
        states = {compared(parsed(text), wanted) for text in texts}
        return "differs" if "differs" in states else "ok-rounded" if "ok-rounded" in states else "ok"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Writes the side that makes room first."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes each CPU whose range is another, and goes on where one is refused.

        Raises:
            OSError: the first refusal, after every CPU was tried.
        """
        refused: OSError | None = None
        for cpu, wanted in expanded(undo, identity).items():
            found = self._limits(inventory, frozenset({cpu}), needed=False)
            for side, khz in steps(found[cpu], wanted) if cpu in found else ():
                try:
                    inventory.host.files.write(f"{CPU_ROOT}/cpu{cpu}/cpufreq/scaling_{side}_freq", str(khz))
                except OSError as error:
                    refused = refused or error
        if refused is not None:
            raise refused

    def same(self, left: Json, right: Json) -> bool:
        """Equal on every CPU that both know."""
        return same_everywhere(left, right)

    @staticmethod
    def _limits(inventory: Inventory, cpus: CpuSet, needed: bool = True) -> dict[int, Limits]:
        found = {cpu: limits for cpu in sorted(cpus) if (limits := limits_of(inventory.host.files, cpu)) is not None}
        if needed and not found:
            raise Unsupported(f"this host has no {CPU_ROOT}/cpu{min(cpus, default=0)}/cpufreq/scaling_max_freq")
        return found

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """All CPUs."""
        cpus = format_list(inventory.topology.online)
        return [(f"CPU {cpus}", cpus)]


def limits_of(files: HostFiles, cpu: int) -> Limits | None:
    """The frequencies of a CPU; None where it has no cpufreq."""
    base = f"{CPU_ROOT}/cpu{cpu}/cpufreq"
    low, high = files.number(f"{base}/scaling_min_freq"), files.number(f"{base}/scaling_max_freq")
    if low is None or high is None:
        return None
    least, most = files.number(f"{base}/cpuinfo_min_freq"), files.number(f"{base}/cpuinfo_max_freq")
    return Limits(low, high, low if least is None else least, high if most is None else most)


def offered_on(files: HostFiles, cpu: int, leaf: str) -> tuple[str, ...]:
    """The words that a CPU's policy offers; empty where it does not say."""
    return offered(files.optional(f"{CPU_ROOT}/cpu{cpu}/cpufreq/{leaf}") or "")


def holds_preference(files: HostFiles, cpu: int, governor: str | None = None) -> bool:
    """Whether the CPU's governor, or the one given, holds the energy preference at ``performance``."""
    base = f"{CPU_ROOT}/cpu{cpu}/cpufreq"
    word = files.optional(f"{base}/scaling_governor") if governor is None else governor
    return word == "performance" and (files.optional(f"{base}/scaling_driver") or "") in _HOLDING


# ------------------------------------------------------------------------------------------------ what a profile asks


def ask(request: Request) -> None:
    """Governor, preference and range together: they hold each other."""
    governors = _each(request, "governor", _first_of(request, "scaling_available_governors"))
    preferences = _each(request, "epp", _first_of(request, "energy_performance_available_preferences"))
    _wish(request, request.profile.get("power", "governor"), "power.governor", governors)
    if (setting := request.profile.get("power", "epp")) is not None:
        files = request.inventory.host.files
        held = {cpu for cpu in preferences if holds_preference(files, cpu, governors.get(cpu))}
        if wrong := [cpu for cpu in held if preferences[cpu] != "performance"]:
            request.fault(
                setting,
                f"CPU {format_list(frozenset(wrong))}: the governor performance holds the preference at performance",
                'ask for power.governor = "powersave" there as well, or leave the preference out',
            )
        # a governor that holds it brings it about: never written there, it needs no undo that would be refused
        _wish(request, setting, "power.epp", {cpu: word for cpu, word in preferences.items() if cpu in held})
        _wish(request, setting, "power.epp", {cpu: word for cpu, word in preferences.items() if cpu not in held})
    _ask_range(request)


def _first_of(request: Request, leaf: str) -> Callable[[Setting, int, Json], Json]:
    def resolve(setting: Setting, cpu: int, value: Json) -> Json:
        return request.first(setting, value, offered_on(request.inventory.host.files, cpu, leaf) or None)

    return resolve


def _each(request: Request, key: str, resolve: Callable[[Setting, int, Json], Json]) -> dict[int, Json]:
    """CPU -> what it shall have; empty where the profile does not ask. A policy of two minds is a fault."""
    setting = request.profile.get("power", key)
    if setting is None:
        return {}
    found = {cpu: resolve(setting, cpu, value) for cpus, value in request.by_cpus(setting) for cpu in sorted(parse_list(cpus))}
    check_policies(request, setting, f"power.{key}", found)
    return found


def check_policies(request: Request, setting: Setting, name: str, found: Mapping[int, Json]) -> None:
    """A frequency policy that a setting names in part is a warning, one that it wants two things of a fault."""
    beyond: set[int] = set()
    for cpu, value in found.items():
        others = policy_of(request.inventory.host.files, cpu) & request.inventory.topology.online
        beyond |= others - found.keys()
        if unlike := [other for other in others if found.get(other, value) != value and other > cpu]:
            shared = format_list(frozenset({cpu, *unlike}))
            request.fault(setting, f"CPU {shared} share one frequency policy and cannot differ")
    if beyond:
        cpus = format_list(frozenset(beyond))
        request.warnings.append(f"{name} also changes CPU {cpus}, which share a frequency policy with those that it names")


def policy_of(files: HostFiles, cpu: int) -> CpuSet:
    """The CPUs of a CPU's frequency policy, itself included."""
    try:
        return parse_list(files.optional(f"{CPU_ROOT}/cpu{cpu}/cpufreq/related_cpus") or str(cpu)) | {cpu}
    except CpuListError:
        return frozenset({cpu})


def _wish(request: Request, setting: Setting | None, knob: str, found: Mapping[int, Json]) -> None:
    """One wish for all CPUs that shall have the same."""
    if setting is None:
        return
    groups: dict[Json, set[int]] = {}
    for cpu, value in found.items():
        groups.setdefault(value, set()).add(cpu)
    for value, members in groups.items():
        cpus = format_list(frozenset(members))
        request.wish(knob, f"CPU {cpus}", cpus, value, setting)


def _ask_range(request: Request) -> None:
    limits = {cpu: limits_of(request.inventory.host.files, cpu) for cpu in request.inventory.topology.online}

    def side(setting: Setting, cpu: int, value: Json) -> Json:
        known = limits.get(cpu)
        if value in (MIN, MAX) or known is None:
            return value if value in (MIN, MAX) else str(value).rpartition(":")[2]
        now = known.low if "min_freq_khz" in setting.source else known.high
        khz = request.amount(setting, value, now, known.most)
        if khz < known.least:
            request.fault(setting, f"asks for {khz} kHz; CPU {cpu} has no less than {known.least}", '"min" takes what there is')
        return str(khz)

    low, high = _each(request, "min_freq_khz", side), _each(request, "max_freq_khz", side)
    wanted = {cpu: f"{low.get(cpu, '')}-{high.get(cpu, '')}" for cpu in sorted({*low, *high})}
    setting = request.profile.get("power", "max_freq_khz") or request.profile.get("power", "min_freq_khz")
    for cpu, text in wanted.items():
        known = limits.get(cpu)
        if setting is not None and known is not None and (reason := _impossible(known, text)):
            request.fault(setting, f"CPU {cpu}: {reason}", "name both, the lower one first")
            break
    _wish(request, setting, "power.freq_khz", wanted)


def _impossible(limits: Limits, wanted: str) -> str:
    """Why a range cannot be; empty where it can."""
    low, high = resolved(wanted, limits)
    bottom, top = limits.low if low is None else low, limits.high if high is None else high
    return f"the lowest frequency would be {bottom} kHz and the highest {top} kHz" if bottom > top else ""
