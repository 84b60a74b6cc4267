"""Other programs that write the same knobs: found by name, told with what they do and what to do about it.

Source: the programs' own documentation and source; ``tuner.knobs.services`` has them, since it can stop them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tuner.host.threads import Thread
from tuner.knobs.services import STOPPABLE, profile_line


@dataclass(frozen=True, slots=True)
class Conflict:
    """A program that runs here and undoes what a profile does."""

    program: str
    pid: int
    what: str
    remedy: str


_UNITS = {program.process: unit for unit, program in STOPPABLE.items() if program.writes}
# Who writes a knob without running all the time.
_VISITORS = {
    "irq.": "a driver that made its interrupts anew, or udev with a .link file",
    "nic.": "NetworkManager, udev with a .link file, or a reload of the driver",
    "sysctl.": "sysctl --system at the installation of a package, or a container runtime",
    "isolation.": "systemd, when it sets the CPUs of a slice",
    "boot.": "update-grub with other settings",
}


def find(threads: Iterable[Thread]) -> tuple[Conflict, ...]:
    """The conflicting programs among these threads, by process."""
    leaders = [t for t in threads if t.tid == t.pid and not t.kernel and t.name in _UNITS]
    return tuple(
        Conflict(t.name, t.pid, STOPPABLE[_UNITS[t.name]].what, profile_line(_UNITS[t.name]))
        for t in sorted(leaders, key=lambda t: t.pid)
    )


def unit_of(conflict: Conflict) -> str:
    """The unit behind a conflicting program."""
    return _UNITS[conflict.program]


def suspect(knob: str, running: Iterable[Conflict]) -> str:
    """Who may have changed a setting since it was applied: a program that runs and writes such knobs, else who is known to."""
    for conflict in running:
        if knob.startswith(STOPPABLE[unit_of(conflict)].writes):
            return f"{conflict.program} (process {conflict.pid}) {conflict.what}"
    return next((who for family, who in _VISITORS.items() if knob.startswith(family)), "somebody by hand")
