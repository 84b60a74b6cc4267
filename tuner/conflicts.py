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


_WRITERS = {
    "irqbalance": ("rewrites interrupt affinities every ten seconds", "systemctl mask --now irqbalance"),
    "tuned": ("sets the same knobs, again at every start and device event", "systemctl disable --now tuned"),
    "numad": ("moves processes between nodes", "systemctl disable --now numad"),
    "ksmtuned": ("turns page merging on again", "systemctl disable --now ksmtuned"),
    "power-profiles-": ("sets governor and energy preference", "systemctl mask --now power-profiles-daemon"),
    "thermald": ("limits frequencies", "systemctl disable --now thermald"),
    "tlp": ("sets power knobs at every power event", "systemctl mask --now tlp"),
    "auto-cpufreq": ("sets governor and turbo", "auto-cpufreq --remove"),
}


def find(threads: Iterable[Thread]) -> tuple[Conflict, ...]:
    """The conflicting programs among these threads, by process."""
    leaders = [t for t in threads if t.tid == t.pid and not t.kernel and t.name in _WRITERS]
    return tuple(Conflict(t.name, t.pid, *_WRITERS[t.name]) for t in sorted(leaders, key=lambda t: t.pid))
