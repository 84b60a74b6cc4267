"""Other programs that write the same knobs: found by name, told with what they do and what to do about it.

Source: the programs' own documentation and source; irqbalance rebalances every 10 s and honours only boot-time isolation.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tuner.host.threads import Thread


@dataclass(frozen=True, slots=True)
class Conflict:
    """A program that runs here and undoes what a profile does."""

    program: str
    pid: int
    what: str
    remedy: str


# name -> what it does, what to do about it, the families of knobs that it writes
_WRITERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "irqbalance": ("rewrites interrupt affinities every ten seconds", "systemctl mask --now irqbalance", ("irq.",)),
    "tuned": (
        "sets the same knobs, again at every start and device event",
        "systemctl disable --now tuned",
        ("sysctl.", "irq.", "nic.", "isolation."),
    ),
    "numad": ("moves processes between nodes", "systemctl disable --now numad", ("isolation.",)),
    "ksmtuned": ("turns page merging on again", "systemctl disable --now ksmtuned", ("sysctl.vm.",)),
    "power-profiles-": ("sets governor and energy preference", "systemctl mask --now power-profiles-daemon", ("power.",)),
    "thermald": ("limits frequencies", "systemctl disable --now thermald", ("power.",)),
    "tlp": ("sets power knobs at every power event", "systemctl mask --now tlp", ("power.", "sysctl.vm.")),
    "auto-cpufreq": ("sets governor and turbo", "auto-cpufreq --remove", ("power.",)),
}
# Who writes a knob without running all the time.
_VISITORS = {
    "irq.": "a driver that made its interrupts anew, or udev with a .link file",
    "nic.": "NetworkManager, udev with a .link file, or a reload of the driver",
    "sysctl.": "sysctl --system at the installation of a package, or a container runtime",
    "isolation.": "systemd, when it sets the CPUs of a slice",
}


def find(threads: Iterable[Thread]) -> tuple[Conflict, ...]:
    """The conflicting programs among these threads, by process."""
    leaders = [t for t in threads if t.tid == t.pid and not t.kernel and t.name in _WRITERS]
    return tuple(Conflict(t.name, t.pid, *_WRITERS[t.name][:2]) for t in sorted(leaders, key=lambda t: t.pid))


def suspect(knob: str, running: Iterable[Conflict]) -> str:
    """Who may have changed a setting since it was applied: a program that runs and writes such knobs, else who is known to."""
    for conflict in running:
        if knob.startswith(_WRITERS[conflict.program][2]):
            return f"{conflict.program} (process {conflict.pid}) {conflict.what}"
    return next((who for family, who in _VISITORS.items() if knob.startswith(family)), "somebody by hand")
