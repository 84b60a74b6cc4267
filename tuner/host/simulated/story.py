"""What happens on the demo's host, one thing after the other: a script over its life, by its own clock.

========  =====================================================================================================
0 s       calm: a tuned host under market data
8 s       somebody moves the admin interrupt of a disk to an isolated core, where nothing but the application runs
18-30 s   the market bursts, about once a second: more packets than the ring of the first feed's NIC holds
34 s      the remedy, where nobody has had it applied by then; and from then on calm
========  =====================================================================================================

The script moves one affinity and makes the weather. All else follows from the settings, as on any simulated host: the
interrupts go where their affinity leads them, a ring that is large enough loses nothing. So who finds the remedy himself ends
the trouble at once. The same steps give the same counters.
"""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tuner.host.cpulist import CpuListError, CpuSet, parse_list
from tuner.host.host import Host
from tuner.host.simulated.cgroups import ROOT
from tuner.host.simulated.life import Simulation
from tuner.host.simulated.load import Weather
from tuner.host.simulated.shape import nics, pci_functions, read_shape

STRAY_S, REMEDY_S, END_S = 8.0, 34.0, 60.0
BURSTS_S = (18.5, *(21.5 + second for second in range(9)))  # the first alone, so that the verdict on it is of it alone
BURST = 3_000  # packets; the ring of a tuned NIC holds 4096
FEED_PACKETS_PER_S = 48_000.0  # of each line
_ADMIN_PER_S, _WAKES_PER_S = 12.0, 9.0
_STEP_S = 1.0  # the longest in which the script looks only once


@dataclass(frozen=True, slots=True)
class Told:
    """What the story itself has to say, beside what the counters do: ``level`` as an event's."""

    level: str
    where: str
    what: str


class Remedy(Protocol):
    """Whoever applies the remedy where nobody did."""

    def wanted(self) -> bool:
        """Whether the host is still the one that it is for."""

    def start(self) -> str:
        """Begins, and says what it does."""

    def outcome(self, wait: bool) -> Told | None:
        """How it ended; None while it goes on, which it does not for one who waits."""

    def close(self) -> None:
        """Ends it."""


def calm(host: Host) -> Weather:
    """The weather of a demo's host while nothing happens: its lines A and B carry the same, and no ring runs over."""
    shape = read_shape(host.files)
    feeds = [nic.name for nic in nics(shape) if nic.driver == "ixgbe"][:2] if shape is not None else []
    return Weather(chance=False, packets_per_s=dict.fromkeys(feeds, FEED_PACKETS_PER_S), disk_admin_per_s=_ADMIN_PER_S)


class Story:
    """A simulated host whose life follows the script. It is a clock, too: its time passes by ``advance`` alone.

    Args:
        host: the simulated host.
        remedy: who applies it; None: nobody.
        patient: wait for the remedy in ``advance``, so that it takes no time of the story.
        began: wall clock (s) and CLOCK_MONOTONIC (ns) at its beginning; now, where not given.

    Raises:
        ShapeError, OSError: as ``Simulation``.
    """

    def __init__(
        self, host: Host, remedy: Remedy | None = None, patient: bool = False, began: tuple[float, int] | None = None
    ) -> None:
        self._host = host
        self._remedy = remedy
        self._patient = patient
        self._began = began or (time.time(), time.monotonic_ns())
        self.elapsed_s = 0.0
        self.simulation = Simulation(host)
        self._calm = self.simulation.weather = calm(host)
        shape = read_shape(host.files)
        self._lines = tuple(self._calm.packets_per_s)
        disks = [function for function in pci_functions(shape) if function.driver == "nvme"] if shape is not None else []
        self._irq = disks[0].first_irq if disks else None
        self._strayed = self._applied = self._applying = False
        self._news: list[Told] = []
        self._lived_ns = 0

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC, as far as the story has come."""
        return self._began[1] + round(self.elapsed_s * 1e9)

    def time(self) -> float:
        """The wall clock (s), as far as the story has come."""
        return self._began[0] + self.elapsed_s

    def process_time_ns(self) -> int:
        """What this process used of its CPUs, but for the life of the host: no watcher of a real one has that."""
        return time.process_time_ns() - self._lived_ns

    def news(self) -> tuple[Told, ...]:
        """What there is to say since it was asked last."""
        found, self._news = tuple(self._news), []
        return found

    def advance(self, seconds: float) -> None:
        """Lets ``seconds`` pass.

        Raises:
            ValueError, OSError: as ``Simulation.advance``.
        """
        before_ns = time.process_time_ns()
        left = seconds
        while left > 0:
            step = min(left, _STEP_S)
            left = left - step if left > step else 0.0
            self._act()
            self.simulation.weather = self._weather(self.elapsed_s, self.elapsed_s + step)
            self.simulation.advance(step)
            self.elapsed_s += step
        self._lived_ns += time.process_time_ns() - before_ns

    def close(self) -> None:
        """Ends what it began in other processes."""
        if self._remedy is not None:
            self._remedy.close()

    def _weather(self, from_s: float, until_s: float) -> Weather:
        bursts: Mapping[str, tuple[int, ...]] = {}
        due = sum(from_s <= at_s < until_s for at_s in BURSTS_S)
        if due:
            bursts = dict.fromkeys(self._lines, (BURST,) * due)
        return Weather(False, self._calm.packets_per_s, bursts, _ADMIN_PER_S, _WAKES_PER_S)

    def _act(self) -> None:
        if not self._strayed and self.elapsed_s >= STRAY_S:
            self._strayed = True
            isolated = sorted(self._isolated())
            if self._irq is not None and isolated:
                # an application's core where the tuned host has its rx cores first
                self._host.files.write(f"/proc/irq/{self._irq}/smp_affinity_list", str(isolated[len(isolated) // 4]))
        if self._remedy is None or self._applied:
            return
        if not self._applying and self.elapsed_s >= REMEDY_S and self._needed() and self._remedy.wanted():
            self._applying = True
            self._news.append(Told("info", "remedy", self._remedy.start()))
        if self._applying:
            outcome = self._remedy.outcome(self._patient)
            if outcome is not None:
                self._applied = True
                self._news.append(outcome)

    def _needed(self) -> bool:
        """Whether anything of the trouble is still there."""
        if self._irq is not None and self._cpus(f"/proc/irq/{self._irq}/effective_affinity_list") & self._isolated():
            return True
        with contextlib.suppress(OSError):  # an interface that is gone
            return any(self._host.syscalls.rings(name).rx < BURST for name in self._lines)
        return False

    def _isolated(self) -> CpuSet:
        return self._cpus(f"{ROOT}/cpuset.cpus.isolated")

    def _cpus(self, name: str) -> CpuSet:
        try:
            return parse_list(self._host.files.optional(name) or "")
        except CpuListError:
            return frozenset()
