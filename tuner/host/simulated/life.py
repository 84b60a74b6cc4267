"""Lets a simulated host live: its counters advance as the load and its settings have it.

The clock is the caller's: nothing happens between two calls of ``advance``. Files are overwritten in place, because readers
keep them open; who reads a file in the very moment of a write may see half of each, as no kernel would show it. So read in
the thread that advances, or after it.
"""

import errno
import math
import os
from collections import Counter

from tuner.host.cpulist import CpuListError, CpuSet, parse_list
from tuner.host.files import replace_content
from tuner.host.host import Host
from tuner.host.simulated import counters
from tuner.host.simulated.cgroups import ROOT
from tuner.host.simulated.documents import Document, change_document, read_document
from tuner.host.simulated.load import ORDINARY, Events, Load, Placement, Weather
from tuner.host.simulated.shape import USER_HZ, ShapeError, interrupts, nics, pick, read_shape
from tuner.host.simulated.tree import BOOT_TIME
from tuner.host.simulated.tree_devices import STATISTICS
from tuner.host.simulated.tree_threads import FEED_GROUP, SPINNER, THREADS

MAX_SECONDS = 86_400.0
# nanoseconds of CPU for an interrupt, and for a packet in softirq context
_IRQ_NS, _PACKET_NS = 900, 1400


class Simulation:
    """The life of a simulated host, going on from the counters that its files hold.

    Attributes:
        weather: what goes on besides its settings, from the next tick on.

    Raises:
        ShapeError: the host is no simulated one.
        OSError: its files cannot be read.
    """

    def __init__(self, host: Host) -> None:
        shape = read_shape(host.files)
        if shape is None:
            raise ShapeError(f"{host.files.root} is not a simulated host")
        self._host = host
        self._files = host.files
        self._shape = shape
        self._nics = nics(shape)
        self._numbers = [irq.number for irq in interrupts(shape)]
        self._interrupts = counters.interrupts_table(shape.cpus, [(i.number, i.chip, i.action) for i in interrupts(shape)])
        self._softirqs = counters.softirqs_table(shape.cpus)
        self._softnet = counters.Softnet(shape.cpus)
        self._stat = counters.Stat(shape.cpus, BOOT_TIME)
        try:
            self._load_counters()
        except (ValueError, IndexError) as error:
            raise OSError(errno.EBADMSG, f"not the counters of a simulated host ({error})", str(host.files.root)) from error
        self._jiffies_rest: dict[tuple[int, str], float] = {}
        self._threads_seen: tuple[object, ...] = ()
        self._spinning: CpuSet = frozenset()
        self._absent: frozenset[str] = frozenset()  # interrupts that fewer channels left out
        self.weather: Weather = ORDINARY
        self._load = Load(shape, f"{shape.seed}/{self._uptime_s}")

    def _load_counters(self) -> None:
        counters.load_table(self._interrupts, self._files.text("/proc/interrupts"))
        counters.load_table(self._softirqs, self._files.text("/proc/softirqs"))
        self._softnet.load(self._files.text("/proc/net/softnet_stat"))
        self._stat.load(self._files.text("/proc/stat"))
        self._protocol = Counter(counters.read_paired(self._files.text("/proc/net/snmp")))
        self._statistics = {name: self._read_statistics(name) for name in ("lo", *(nic.name for nic in self._nics))}
        self._uptime_s = float(self._files.text("/proc/uptime").split()[0])
        self._idle_s = float(self._files.text("/proc/uptime").split()[1])

    def advance(self, seconds: float) -> None:
        """Lets ``seconds`` pass.

        Raises:
            ValueError: not a number above 0 and up to a day.
            OSError: the tree is gone or cannot be written.
        """
        if not (math.isfinite(seconds) and 0 < seconds <= MAX_SECONDS):
            raise ValueError(f"{seconds!r} s cannot pass: more than 0, up to {MAX_SECONDS:.0f}")
        events = self._load.tick(self._placement(), seconds, self.weather)
        self._uptime_s += seconds
        self._count(events, seconds)
        self._write()
        for nic in self._nics:
            self._write_nic(nic.name, events)

    def _placement(self) -> Placement:
        isolated = self._cpus(f"{ROOT}/cpuset.cpus.isolated")
        placed = {number: self._cpus(f"/proc/irq/{number}/effective_affinity_list") for number in self._numbers}
        self._absent = frozenset(str(number) for number, cpus in placed.items() if not cpus)
        documents = {nic.name: read_document(self._ethtool_path(nic.name)) for nic in self._nics}
        return Placement(
            isolated=isolated,
            irq_cpu={number: min(cpus) for number, cpus in placed.items() if cpus},
            spinning=self._spinning_cpus(isolated),
            rx_ring={name: _part(document, "rings", "rx") for name, document in documents.items()},
            queues={name: _part(document, "channels", "combined") for name, document in documents.items()},
            pause_tx={name: bool(_part(document, "pause", "tx")) for name, document in documents.items()},
            rmem_max=self._files.number("/proc/sys/net/core/rmem_max") or 0,
            budget=self._files.number("/proc/sys/net/core/netdev_budget") or 1,
        )

    def _cpus(self, name: str) -> CpuSet:
        try:
            return parse_list(self._files.optional(name) or "") & self._shape.all_cpus
        except CpuListError:
            return frozenset()

    def _spinning_cpus(self, isolated: CpuSet) -> CpuSet:
        """Where the feed handler spins: threads are looked at again only when they or their CPUs may have moved."""
        seen = (
            os.stat(self._files.path(THREADS)).st_mtime_ns,
            isolated,
            self._files.optional(f"{ROOT}/cpuset.cpus.effective"),
            self._files.optional(f"{ROOT}{FEED_GROUP}/cpuset.cpus.effective"),
        )
        if seen != self._threads_seen:
            threads = [thread for thread in self._host.syscalls.threads() if thread.name == SPINNER]
            self._spinning = frozenset(pick(thread.allowed, thread.tid) for thread in threads if thread.allowed)
            self._threads_seen = seen
        return self._spinning

    def _count(self, events: Events, seconds: float) -> None:
        hard: Counter[int] = Counter()
        for (row, cpu), more in events.interrupts.items():
            self._interrupts.count(row, cpu, more)
            hard[cpu] += more
        for (kind, cpu), more in events.softirqs.items():
            self._softirqs.count(kind, cpu, more)
        for cpu in range(self._shape.cpus):
            packets = events.processed[cpu]
            if packets or events.squeezed[cpu]:
                self._softnet.count(cpu, packets, events.squeezed[cpu])
            self._pass_time(cpu, seconds, events, hard[cpu] * _IRQ_NS / 1e9, packets * _PACKET_NS / 1e9)
        for (nic, statistic), more in events.nic.items():
            self._statistics[nic][statistic] += more
        self._stat.switches += sum(hard.values())
        self._stat.processes += int(seconds)
        self._protocol.update(events.protocol)

    def _pass_time(self, cpu: int, seconds: float, events: Events, irq_s: float, softirq_s: float) -> None:
        """Deals a CPU's time out: interrupts first, then threads; what is left is idle."""
        left = seconds
        row = self._stat.jiffies[cpu]
        wanted = (("irq", irq_s), ("softirq", softirq_s), ("system", events.system_s[cpu]), ("user", events.user_s[cpu]))
        for kind, amount in (*wanted, ("idle", seconds)):
            used = min(left, amount)
            left -= used
            exact = used * USER_HZ + self._jiffies_rest.get((cpu, kind), 0.0)
            row[counters.JIFFIES.index(kind)] += int(exact)
            self._jiffies_rest[cpu, kind] = exact - int(exact)
            if kind == "idle":
                self._idle_s += used

    def _write(self) -> None:
        cpus = self._shape.cpus
        self._replace("/proc/interrupts", self._interrupts.render(counters.interrupts_heading(cpus), self._absent))
        self._replace("/proc/softirqs", self._softirqs.render(counters.softirqs_heading(cpus)))
        self._replace("/proc/stat", self._stat.render(self._interrupts, self._softirqs))
        self._replace("/proc/net/softnet_stat", self._softnet.render())
        self._replace("/proc/net/dev", counters.network_devices(self._statistics))
        self._replace("/proc/net/snmp", counters.snmp(self._protocol))
        self._replace("/proc/net/udp", counters.udp_sockets(self._protocol["Udp/RcvbufErrors"]))
        self._replace("/proc/uptime", f"{self._uptime_s:.2f} {self._idle_s:.2f}\n")

    def _write_nic(self, name: str, events: Events) -> None:
        for (nic, statistic), more in events.nic.items():
            if nic == name and more:
                self._replace(f"/sys/class/net/{name}/statistics/{statistic}", f"{self._statistics[name][statistic]}\n")

        def change(document: Document) -> None:
            for (nic, statistic), more in events.driver.items():
                if nic == name and statistic in document["stats"]:
                    document["stats"][statistic] += more

        change_document(self._ethtool_path(name), change)

    def _read_statistics(self, name: str) -> dict[str, int]:
        return {s: self._files.number(f"/sys/class/net/{name}/statistics/{s}") or 0 for s in STATISTICS}

    def _ethtool_path(self, name: str) -> str:
        return self._files.path(f"/ethtool/{name}.json")

    def _replace(self, name: str, content: str) -> None:
        replace_content(self._files.path(name), content.encode())


def _part(document: Document, part: str, name: str) -> int:
    value = document.get(part)
    number = value.get(name) if isinstance(value, dict) else None
    return int(number) if isinstance(number, int) else 0
