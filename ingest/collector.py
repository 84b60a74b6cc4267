"""The collector: counters in, one sample a tick out, at a cost that is measured and told.

It reads procfs and sysfs, and once a second asks drivers and the network stack for counters that no file shows: no MSR, no
perf counter of another CPU, no tracepoint, each of which would interrupt the core that it asks about. It binds itself to
housekeeping CPUs, keeps its descriptors, and takes ticks at absolute times: one that comes too late is counted and left out,
never piled up.
"""

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ingest.alerts import Alerts
from ingest.core_samples import CoreReader
from ingest.counters import snmp, softirqs, softnet, stat
from ingest.counters.interrupts import Parser
from ingest.counters.kept import KeptFile
from ingest.counters.nic import Statistics
from ingest.irq_samples import IrqReader
from ingest.judgement import RESERVED
from ingest.ledger import Ledger
from ingest.loss_reader import LossReader
from ingest.losses import PROTOCOL_COUNTERS
from ingest.nic_samples import NicReader
from ingest.rates import Rates
from ingest.roles import default_roles, isolated_cpus
from ingest.sample import Cost, Event, Sample
from tuner.host.cpulist import format_list
from tuner.host.host import Host
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.host.topology import Topology, read_topology

if TYPE_CHECKING:
    from ingest.ring_samples import RingReader

# Affinities, roles and interfaces change when somebody changes them: reading N small files every tick would be the main cost.
SLOW_S = 5.0
_LOOKS = 10  # ticks in which a change of the interfaces is to show everywhere
_RESERVED = frozenset({"isolated", "rx", "tx", "app"})


class Clock(Protocol):
    """What time it is: the module ``time``, or a story's."""

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC."""

    def time(self) -> float:
        """The wall clock, in seconds since 1970."""

    def process_time_ns(self) -> int:
        """What this process used of its CPUs for watching."""


class Collector:
    """One host's counters, read tick by tick.

    Args:
        host: where to read.
        active: the active profile's name and its roles (CPU -> role), asked for again every few seconds; the kernel's own
            knowledge fills the rest.
        rings: packet rings that are read beside it, and the feeds in them; whoever opened them closes them.
        clock: the one that the samples go by.
    """

    def __init__(
        self,
        host: Host,
        active: Callable[[], tuple[str, Mapping[int, str]]] | None = None,
        rings: "RingReader | None" = None,
        clock: Clock = time,
    ) -> None:
        self._host = host
        self._clock = clock
        self._alerts = Alerts()
        self._looked: list[tuple[Event, ...]] = []  # what a look at the roles brought that was made for an alert
        self._rings = rings
        self._active = active or _nothing_active
        self._profile = ""
        self._files = {
            name: KeptFile(host.files, path)
            for name, path in (
                ("interrupts", "/proc/interrupts"),
                ("softirqs", "/proc/softirqs"),
                ("softnet", "/proc/net/softnet_stat"),
                ("stat", "/proc/stat"),
                ("snmp", "/proc/net/snmp"),
                ("netstat", "/proc/net/netstat"),
            )
        }
        self._parser = Parser()
        self._protocols = snmp.Parser(PROTOCOL_COUNTERS)
        self._statistics = Statistics(host.files)
        self._rates = Rates()
        self._topology = read_topology(host.files)
        self._roles: dict[int, str] = {}
        self._irqs = IrqReader(host)
        self._nics = NicReader(host)
        self._cores = CoreReader()
        self._name = self._kernel = ""
        self._bound: tuple[set[int], str] = (set(), "")
        self.losses = LossReader(host)  # its ``rings`` and ``feeds`` are told by who follows them
        self._slow_until = 0.0
        self._listed: frozenset[str] = frozenset()
        self._looks = 0
        self._sequence = 0
        self._last_ns = 0
        self._last_cpu_ns = 0
        self.late_ticks = 0
        self.refresh()

    @property
    def topology(self) -> Topology:
        """The CPUs as they were last read."""
        return self._topology

    @property
    def roles(self) -> Mapping[int, str]:
        """CPU -> role."""
        return self._roles

    @property
    def nics(self) -> tuple[Nic, ...]:
        """The interfaces as they were last looked at."""
        return self._nics.nics

    @property
    def numbers(self) -> Mapping[str, int]:
        """Interface, as it is shown -> its ``ifindex``."""
        return {printable(nic.name): nic.ifindex for nic in self._nics.nics}

    def refresh(self) -> tuple[Event, ...]:
        """Looks at what seldom changes: CPUs, roles, interfaces. Done every few seconds; costs a dozen small files for each.

        Returns:
            the interfaces that came or went since the look before, once there was a sample.
        """
        before = self._nics.nics
        self._topology = read_topology(self._host.files)
        self._profile, given = self._active()
        self._roles = default_roles(self._topology, isolated_cpus(self._host.files, self._topology)) | {
            cpu: role for cpu, role in given.items() if cpu in self._topology.online
        }
        self._name, self._kernel = self._host.name, self._host.kernel
        self._cores.refresh(self._topology, self._roles)
        self._nics.refresh()
        self._irqs.refresh(self._nics.nics)
        self._slow_until = self._clock.monotonic_ns() / 1e9 + SLOW_S
        return tuple(_comings_and_goings(before, self._nics.nics)) if self._sequence else ()

    def _unsettled(self) -> bool:
        """Whether an interface came, went or was renamed just now, as far as /proc/net/dev tells.

        One that is unregistered leaves that list first, and sysfs some milliseconds later (net/core/dev.c,
        unregister_netdevice_many): so it is looked at again until both agree, or for some ticks.
        """
        names = self._statistics.names
        if names != self._listed:
            self._looks = _LOOKS if self._listed else 0
            self._listed = names
        self._looks = self._looks - 1 if self._looks and names != {nic.name for nic in self._nics.nics} else 0
        return self._looks > 0

    def tick(self, everything: bool = False) -> Sample:
        """Reads everything once. The first sample has no rates.

        Args:
            everything: also the counters that are read every second or five, for a ledger of exactly the time since the tick
                before where that one had everything, too.
        """
        if self._rings is not None:
            self._rings.take()  # before the counters: what a gap in it was is in them, then
        events = self.refresh() if self._clock.monotonic_ns() / 1e9 >= self._slow_until else ()
        now_ns = self._clock.monotonic_ns()
        interval_s = (now_ns - self._last_ns) / 1e9 if self._sequence else 0.0
        self._rates.begin(interval_s)
        table = self._parser.parse(self._files["interrupts"].read() or b"")
        if not self._topology.online.issuperset(table.cpus):  # a CPU came online
            events = (*events, *self.refresh())
        # the columns of the table are the CPUs that are online now; the topology was read some seconds ago
        rows = softnet.parse(self._files["softnet"].read() or b"", table.cpus or sorted(self._topology.online))
        deferred = softirqs.parse(self._files["softirqs"].read() or b"")
        times = stat.parse(self._files["stat"].read() or b"")
        protocols = self._protocols.parse(self._files["snmp"].read() or b"")
        protocols |= self._protocols.parse(self._files["netstat"].read() or b"")
        counters = self._statistics.read(nic.name for nic in self._nics.nics)
        if self._unsettled():
            events = (*events, *self.refresh())
            counters = self._statistics.read(nic.name for nic in self._nics.nics)
        irqs = self._irqs.samples(table, self._rates)
        if self._rings is not None:
            self._rings.tell(self.losses, self._nics.nics)
        losses = self.losses.read(now_ns, interval_s, self._nics.nics, counters, rows, protocols, everything)
        if self._rings is not None:
            events = (*events, *self._rings.events(Ledger(now_ns, losses, self.numbers), self.losses.asked_ns))
        nics = tuple(
            self._nics.sample(nic, counters[nic.name], self._irqs.receiving, self.losses.queues(nic.name), self._rates)
            for nic in self._nics.nics
        )
        cores = self._cores.samples(self._irqs.interrupts, self._irqs.moved, deferred, rows, times, self._rates)
        self._sequence += 1
        self._last_ns = now_ns
        sample = Sample(
            host=self._name,
            source=self._host.source,
            kernel=self._kernel,
            sequence=self._sequence,
            time_s=self._clock.time(),
            monotonic_ns=now_ns,
            interval_s=interval_s,
            cores=cores,
            irqs=irqs,
            nics=nics,
            losses=losses,
            rings=self._rings.rings if self._rings is not None else (),
            feeds=self._rings.feeds if self._rings is not None else (),
            events=events,
            cost=self._cost(interval_s),
            profile=self._profile,
        )
        return self._with_alerts(sample)

    def _with_alerts(self, sample: Sample) -> Sample:
        """The sample with what is to be told of it."""
        self._looked = []
        told = self._alerts.judge(sample, self._topology.nohz_full, self._is_reserved)
        news = (*told, *(event for look in self._looked for event in look))
        return replace(sample, events=(*sample.events, *news)) if news else sample

    def _is_reserved(self, cpu: int) -> bool:
        """Whether a core is one by what its role is now: looked at again, once a tick."""
        if not self._looked:
            self._looked.append(self.refresh())
        return self._roles.get(cpu) in RESERVED

    def _cost(self, interval_s: float) -> Cost:
        cpu_ns = self._clock.process_time_ns()
        spent = cpu_ns - self._last_cpu_ns if self._last_cpu_ns else 0
        self._last_cpu_ns = cpu_ns
        percent = spent / interval_s / 1e7 if interval_s else 0.0
        bound = os.sched_getaffinity(0)
        if bound != self._bound[0]:
            self._bound = bound, format_list(bound)
        reader_ns = self._rings.reader_cpu_ns if self._rings is not None else 0
        return Cost(spent, round(percent, 3), self._bound[1], self.late_ticks, reader_ns)

    def stream(
        self,
        interval_s: float,
        count: int | None = None,
        before: Callable[[float], object] | None = None,
        wait: Callable[[float], float | None] | None = None,
    ) -> Iterator[Sample]:
        """Samples every ``interval_s`` at absolute times, ``count`` of them or for ever; the first already has rates.

        ``before`` is called ahead of each with the interval: a simulated host moves its clock there. ``wait`` sleeps for so
        many seconds, or less, and says by which interval to go on from there; None: as before.
        """
        self.tick()
        wait = wait or time.sleep
        # every tool that wakes on the full second wakes together
        start = time.monotonic() + random.uniform(0.0, min(0.05, interval_s / 4))  # noqa: S311
        place = taken = 0
        while count is None or taken < count:
            told = wait(max(0.0, start + (place + 1) * interval_s - time.monotonic()))
            if told is not None:
                interval_s, start, place = told, time.monotonic(), 0
                continue
            place += 1
            # looked at behind the sleep: a process that was stopped in it is late, too
            missed = int((time.monotonic() - start - place * interval_s) / interval_s)
            if missed > 0:
                self.late_ticks += missed
                place += missed
            if before is not None:
                before(interval_s)
            yield self.tick()
            taken += 1

    def close(self) -> None:
        """Lets go of all descriptors."""
        for kept in self._files.values():
            kept.close()
        self._statistics.close()
        self.losses.close()


def _comings_and_goings(before: Iterable[Nic], now: Iterable[Nic]) -> Iterator[Event]:
    """An interface is another one if its number is (``ifindex``): a new one may have the name of one that is gone."""
    names, numbers = {nic.name: nic.ifindex for nic in now}, {nic.ifindex: nic.name for nic in now}
    known = {nic.name: nic.ifindex for nic in before}
    for name, number in sorted(known.items()):
        if names.get(name) != number:
            called = numbers.get(number) if number else None
            what = "the interface is gone" + (f": its name is {printable(called)} now" if called else "")
            yield Event("warn", printable(name), what)
    for name, number in sorted(names.items()):
        if known.get(name) != number:
            yield Event("info", printable(name), "the interface is here")


def _nothing_active() -> tuple[str, Mapping[int, str]]:
    return "", {}


def pin_to_housekeeping(topology: Topology, roles: Mapping[int, str]) -> frozenset[int]:
    """Binds this process to the CPUs that no role reserves; where all are reserved, or it is refused, it stays as it is.

    Returns:
        The CPUs on which it may run now.
    """
    free = frozenset(cpu for cpu in topology.online if roles.get(cpu, "general") not in _RESERVED) - topology.boot_isolated
    allowed = free & frozenset(os.sched_getaffinity(0)) or free
    if allowed:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, allowed)
    return frozenset(os.sched_getaffinity(0))
