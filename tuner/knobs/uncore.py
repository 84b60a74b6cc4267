"""``power.uncore_khz``: how fast the mesh, the last-level cache and the memory controllers run; and the firmware's own profile.

Source: Documentation/admin-guide/pm/intel_uncore_frequency_scaling.rst, drivers/platform/x86/intel/uncore-frequency. A die is
``package_NN_die_NN``, or ``uncoreNN`` with a ``package_id`` where the hardware speaks TPMI (Xeon 6).
"""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import parse_list
from tuner.host.files import HostFiles
from tuner.host.host import Inventory
from tuner.knobs.frequency_range import MAX, MIN, Limits, compared, parsed, steps
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported
from tuner.knobs.words import WordFile
from tuner.language.request import Request
from tuner.profile import Setting

ROOT = "/sys/devices/system/cpu/intel_uncore_frequency"
STEP_KHZ = 100_000  # UNCORE_FREQ_KHZ_MULTIPLIER: the rest of a division by it is dropped
_DIE = re.compile(r"package_(\d{1,4})_die_\d{1,4}|uncore\d{1,4}")


class UncoreRange(Knob):
    """The lowest and highest uncore frequency of one die, see ``frequency_range``; the identity is its directory's name."""

    family: ClassVar[str] = "power.uncore_khz"
    about: ClassVar[About] = About(
        "Between which frequencies a die's uncore may run, in kHz: mesh, last-level cache, memory controllers",
        "Lowest = highest on the NIC's package: an uncore that slows down makes every cache miss and every packet slower. It "
        "takes power from the cores' turbo",
        f"{ROOT}/package_NN_die_NN/{{min,max}}_freq_khz",
        "current_freq_khz",
        undo="the old range; what firmware set at first stands in initial_{min,max}_freq_khz",
        since="5.6; TPMI 6.5",
        quirks=(
            "in steps of 100 MHz: the rest is dropped",
            "reading asks one CPU of the die by an interrupt of its own (rdmsr_on_cpu), but for TPMI",
            "needs the module intel_uncore_frequency; Xeon 6 has floors of its own besides (elc_*)",
        ),
        source="Documentation/admin-guide/pm/intel_uncore_frequency_scaling.rst",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The range of the die."""
        limits = die_limits(inventory.host.files, identity)
        if limits is None:
            raise Unsupported(f"this host has no {ROOT}/{identity} (module intel_uncore_frequency)")
        return Reading(now=limits.now, effective=limits.effective)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Within a step."""
        return compared(parsed(reading.effective), wanted, STEP_KHZ)

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Writes the side that makes room first."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes what differs."""
        limits = die_limits(inventory.host.files, identity)
        if limits is None:
            raise Unsupported(f"this host has no {ROOT}/{identity}")
        for side, khz in steps(limits, undo):
            inventory.host.files.write(f"{ROOT}/{identity}/{side}_freq_khz", str(khz))

    def same(self, left: Json, right: Json) -> bool:
        """Equal ranges."""
        return bool(left == right)

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """Each die."""
        names = inventory.host.files.entries(ROOT)
        return [(name, name) for name in names if _DIE.fullmatch(name)]


class PlatformProfile(WordFile):
    """The firmware's profile; the identity is ``host``."""

    family: ClassVar[str] = "power.platform_profile"
    path: ClassVar[str] = "/sys/firmware/acpi/platform_profile"
    choices: ClassVar[str] = "/sys/firmware/acpi/platform_profile_choices"
    about: ClassVar[About] = About(
        "What firmware is told to favour: performance, balance, silence",
        "performance where firmware has it; mostly laptops and workstations do",
        path,
        since="5.12",
        quirks=("firmware may change it by itself, on a key or on heat",),
        source="Documentation/userspace-api/sysfs-platform_profile.rst",
    )


def dies(files: HostFiles) -> list[str]:
    """The dies of this host, by the names of their directories."""
    return [name for name in files.entries(ROOT) if _DIE.fullmatch(name)]


def die_limits(files: HostFiles, die: str) -> Limits | None:
    """The frequencies of a die; None where there is none of that name."""
    if not _DIE.fullmatch(die):
        return None
    values = [files.number(f"{ROOT}/{die}/{leaf}_freq_khz") for leaf in ("min", "max", "initial_min", "initial_max")]
    low, high, least, most = values
    if low is None or high is None:
        return None
    return Limits(low, high, low if least is None else least, high if most is None else most)


def package_of(files: HostFiles, die: str) -> int | None:
    """The package of a die."""
    match = _DIE.fullmatch(die)
    return int(match[1]) if match and match[1] else files.number(f"{ROOT}/{die}/package_id")


def ask(request: Request) -> None:
    """Both sides of each die together: they hold each other."""
    files = request.inventory.host.files
    known = dies(files)
    wanted: dict[str, dict[str, str]] = {}
    sources: dict[str, Setting] = {}
    for side in (MIN, MAX):
        setting = request.profile.get("power", f"uncore_{side}_khz")
        if setting is None:
            continue
        for cpus, value in request.by_cpus(setting):
            packages = {c.package for cpu in parse_list(cpus) if (c := request.inventory.topology.cpus.get(cpu)) is not None}
            mine = [die for die in known if package_of(files, die) in packages]
            # where there is none the host says so, once
            for die in mine or (["package_00_die_00"] if not known else []):
                if _other(wanted, die, side, _side(request, setting, files, die, value)):
                    request.fault(setting, f"wants two things of {die}", "core sets of one table must not share a package")
                sources[die] = setting
    for die, sides in wanted.items():
        text = f"{sides.get(MIN, '')}-{sides.get(MAX, '')}"
        request.wish("power.uncore_khz", die, die, text, sources[die])


def _other(wanted: dict[str, dict[str, str]], die: str, side: str, value: str) -> bool:
    return wanted.setdefault(die, {}).setdefault(side, value) != value


def _side(request: Request, setting: Setting, files: HostFiles, die: str, value: Json) -> str:
    limits = die_limits(files, die)
    if value in (MIN, MAX) or limits is None:
        return str(value)
    return str(request.amount(setting, value, limits.low, limits.most))
