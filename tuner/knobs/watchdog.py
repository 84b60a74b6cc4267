"""``isolation.watchdog``: on which CPUs the lockup detector ticks. Source: Documentation/admin-guide/sysctl/kernel.rst."""

import errno
from typing import ClassVar

from tuner.host.cpulist import CpuListError, format_list, parse_list
from tuner.host.host import Inventory
from tuner.knobs.knob import About, Json, Reading
from tuner.knobs.plain import HostFile


class Watchdog(HostFile):
    """The CPUs of the soft- and hard-lockup detectors, as a CPU list; the identity is ``host``."""

    family: ClassVar[str] = "isolation.watchdog"
    about: ClassVar[About] = About(
        "On which CPUs the kernel's lockup detector has its timer, and its NMI",
        "The housekeeping cores: elsewhere it interrupts every few seconds (watchdog_thresh * 2 / 5) and takes a PMU counter. "
        "A core without it hangs unnoticed",
        "/proc/sys/kernel/watchdog_cpumask",
        "rows NMI and PMI of /proc/interrupts stand still on the other cores",
        "the detector is stopped and started on all its CPUs: one interrupt each",
        since="4.3",
        quirks=(
            "CPUs that do not exist are dropped without a word, to an empty mask if none is left: the set is checked first",
            "with nohz_full= the CPUs in it are left out from boot",
            "it does nothing while kernel.watchdog is 0",
        ),
        source="Documentation/admin-guide/sysctl/kernel.rst, kernel/watchdog.c",
    )
    path: ClassVar[str] = "/proc/sys/kernel/watchdog_cpumask"

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The mask; a note where the detector is off."""
        reading = super().read(inventory, identity)
        off = inventory.host.files.optional("/proc/sys/kernel/watchdog") == "0"
        return Reading(reading.now, reading.effective, note="the lockup detector is off (kernel.watchdog = 0)" if off else "")

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes the list.

        Raises:
            OSError: EINVAL where none of its CPUs is online, which the kernel would take as no CPU at all.
        """
        if undo and not parse_list(str(undo)) & inventory.topology.present:
            raise OSError(errno.EINVAL, f"none of CPU {undo} is on this host", self.path)
        super().restore(inventory, identity, undo)

    def parse(self, text: str) -> Json:
        """The CPU list, as this project writes it; what is none stays as it is."""
        try:
            return format_list(parse_list(text))
        except CpuListError:
            return text

    def spell(self, value: Json) -> str:
        """The list; a mask that was empty is a line without one."""
        return str(value) or "\n"

    def same(self, left: Json, right: Json) -> bool:
        """Equal sets of CPUs."""
        return bool(self.parse(str(left)) == self.parse(str(right)))
