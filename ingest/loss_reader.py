"""Reads what the ledger of losses is made of, each source no more often than it may cost.

* every tick: softnet_stat, snmp and netstat, which the collector has read anyhow;
* once a second: the drivers' own counters and the kernel's of each interface, its queues' and the standard's by generic
  netlink, UDP sockets, connection tracking, IPv6, queueing disciplines. Drivers' counters and disciplines wait for the RTNL
  lock: while an interface is being reset, the tick is late;
* every five seconds: joined groups, packet sockets, rules of nftables, PCIe and carrier.

Between two reads their rows stay as they were, with the rate since the read before. A tree of files costs nothing and is read
at every tick.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_

from ingest import losses
from ingest.counters import aer, conntrack, driver, igmp, link_stats, nftables, packet_sockets, qdisc, snmp6, sockets
from ingest.counters.ethtool_standard import Standard, StandardReader, completed
from ingest.counters.genetlink import Families
from ingest.counters.kept import KeptFile
from ingest.counters.netdev_queues import OTHER_DROPS, QueueReader, Queues, preferred
from ingest.counters.softnet import Softnet
from ingest.nic_losses import NicReading, nic_counts
from ingest.rates import PACKETS_PER_S, Rates
from ingest.sample import LossSample
from ingest.stages import HOST, Count, Unseen, complete, rated
from tuner.host import netlink
from tuner.host.host import Host
from tuner.host.nics import Nic
from tuner.host.text import printable

SECOND_NS, SLOW_NS = 1_000_000_000, 5_000_000_000
_FILES = {
    "udp": "/proc/net/udp",
    "udp6": "/proc/net/udp6",
    "snmp6": "/proc/net/snmp6",
    "conntrack": "/proc/net/stat/nf_conntrack",
    "igmp": "/proc/net/igmp",
    "packet": "/proc/net/packet",
}
Rows = list[Count | Unseen]
_NO_QUEUES: Mapping[int, "QueueCount"] = {}


@dataclass(frozen=True, slots=True)
class QueueCount:
    """What a driver counts for one receive queue, since the queues were last made; None where it does not."""

    packets: int | None = None
    packets_per_s: float | None = None
    drops: int | None = None
    drops_per_s: float | None = None


class Paced:
    """Rows that are read every so often, and stay in between.

    Args:
        period_ns: from read to read. A tick that comes a tenth of it early is not sent away, for the average holds.
        read: makes the rows.
    """

    def __init__(self, period_ns: int, read: Callable[[], Iterable[Count | Unseen]]) -> None:
        self._period_ns = period_ns
        self._read = read
        self._due_ns: int | None = None
        self.last_ns = 0  # when they were read
        self._rows: tuple[LossSample, ...] = ()
        self.rates = Rates(PACKETS_PER_S)

    def rows(self, now_ns: int, due: bool = False) -> tuple[LossSample, ...]:
        """The rows as they were at the last read; as they are now where it is time, or ``due``."""
        early_ns = self._period_ns // 10
        early = self._due_ns is not None and now_ns < self._due_ns - early_ns
        if early and not due:
            return self._rows
        self.rates.begin((now_ns - self.last_ns) / 1e9 if self._due_ns is not None else 0.0)
        self._due_ns = (now_ns if early else max(self._due_ns or 0, now_ns - early_ns)) + self._period_ns
        self.last_ns = now_ns
        self._rows = rated(list(self._read()), self.rates)
        return self._rows


class LossReader:
    """The ledger of one host, read tick by tick.

    Attributes:
        rings: interface of a packet ring (or ``packet:`` and the interface) -> its drops since it was opened, as its owner
            tells them.
        feeds: name of a feed -> messages missing in it, as its follower tells them. It falls where one comes late.
        following: what is followed, empty where nothing is.
        odd: (what, note) -> datagrams of what is followed that are in no feed.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._files = {name: KeptFile(host.files, path, sockets.LIMIT) for name, path in _FILES.items()}
        self._nics: Sequence[Nic] = ()
        self._names: Mapping[int, str] = {}
        self._statistics: Mapping[str, Mapping[str, int]] = {}
        self._links: dict[str, tuple[int | None, aer.PcieState | None]] = {}
        self._queues: dict[str, dict[int, QueueCount]] = {}
        families = Families(host.syscalls.netlink_dump)
        self._of_queues, self._of_standard = QueueReader(families), StandardReader(families)
        self._udp_known = False
        self._tick = Rates(PACKETS_PER_S)
        self._told: tuple[object, ...] = ()  # what the tick's rows were made of
        self._still: tuple[LossSample, ...] | None = None  # these rows, where they stand still
        self._ledger: tuple[tuple[object, ...], tuple[LossSample, ...]] = ((), ())
        live = host.files.real
        self._second = Paced(SECOND_NS if live else 0, self._read_second)
        self._slow = Paced(SLOW_NS if live else 0, self._read_slow)
        self.rings: Mapping[str, int] = {}
        self.feeds: Mapping[str, int] = {}
        self.following = ""
        self.odd: Mapping[tuple[str, str], int] = {}
        self._missing: Mapping[str, int] = {}  # the feeds as they were at the tick before

    def read(
        self,
        now_ns: int,
        interval_s: float,
        nics: Sequence[Nic],
        statistics: Mapping[str, Mapping[str, int]],
        softnet: Sequence[Softnet],
        protocols: Mapping[str, int],
        everything: bool = False,
    ) -> tuple[LossSample, ...]:
        """Every stage from the wire to the application, with what it lost.

        Args:
            now_ns: CLOCK_MONOTONIC.
            interval_s: since the tick before, 0 at the first.
            nics: all interfaces.
            statistics: interface -> the kernel's counters of it.
            softnet: rows of softnet_stat.
            protocols: counters of snmp and netstat.
            everything: read all sources, whether it is their time or not.
        """
        physical = [nic for nic in nics if nic.physical]
        # in a container the virtual interface is all the hardware there is; elsewhere it would count packets again
        self._nics = physical or [nic for nic in nics if nic.name != "lo"]
        self._names = {nic.ifindex: nic.name for nic in nics}
        self._statistics = statistics
        self._udp_known = "Udp.RcvbufErrors" in protocols
        slow = self._slow.rows(now_ns, everything)  # first: the second's rows show the links
        second = self._second.rows(now_ns, everything)
        first = self._rows_of_tick(interval_s, softnet, protocols)
        parts = first, second, slow, nics
        if len(self._ledger[0]) != len(parts) or not all(map(is_, self._ledger[0], parts)):
            names = (printable(nic.name) for nic in self._nics)
            self._ledger = parts, complete((*first, *second, *slow), names)
        return self._ledger[1]

    def _rows_of_tick(
        self, interval_s: float, softnet: Sequence[Softnet], protocols: Mapping[str, int]
    ) -> tuple[LossSample, ...]:
        """The rows of what is read at every tick; the same ones as long as nothing moves, which is how it should be."""
        lost = [(row.cpu, row.drops, row.squeezes, row.flow_limits) for row in softnet]
        told = lost, protocols, dict(self.rings), dict(self.feeds), self.following, self.odd
        unmoved = told == self._told
        if unmoved and self._still is not None:
            return self._still
        self._tick.begin(interval_s)
        counts: Rows = [*losses.protocol_counts(protocols, {}), *losses.softnet_counts(softnet)]
        counts += [*losses.ring_counts(self.rings, ()), *losses.odd_counts(self.odd)]
        counts += losses.silent_feed(self.feeds, self.following)
        rows = (*rated(counts, self._tick), *losses.feed_rows(self.feeds, self._missing, self._tick))
        self._missing = dict(self.feeds)
        self._told, self._still = told, rows if unmoved else None
        return rows

    @property
    def asked_ns(self) -> int:
        """When the rows that are read once a second were last read (CLOCK_MONOTONIC); the tick's are newer."""
        return self._second.last_ns

    def queues(self, nic: str) -> Mapping[int, QueueCount]:
        """Receive queue -> what the driver of this interface counts for it, as of the last read."""
        return self._queues.get(nic, _NO_QUEUES)

    def close(self) -> None:
        """Lets go of all descriptors."""
        for kept in self._files.values():
            kept.close()

    def _file(self, name: str) -> bytes:
        return self._files[name].read() or b""

    def _read_second(self) -> Rows:
        rows: Rows = []
        self._queues = {}
        ask = self._host.syscalls.netlink_dump
        other_hosts: Mapping[int, int] = {}
        with contextlib.suppress(OSError):
            other_hosts = link_stats.parse(ask(netlink.ROUTE, link_stats.REQUEST, link_stats.QUESTION))
        by_queue: Mapping[int, Queues] = {}
        with contextlib.suppress(OSError):
            by_queue = self._of_queues.read()
        by_standard: Mapping[int, Standard] = {}
        with contextlib.suppress(OSError):
            by_standard = self._of_standard.read()
        for nic in self._nics:
            own, why = self._own(nic, by_queue.get(nic.ifindex), by_standard.get(nic.ifindex))
            rows += nic_counts(self._of_nic(nic, other_hosts.get(nic.ifindex), own, why))
        rows += losses.protocol_counts({}, snmp6.parse(self._file("snmp6"), losses.PROTOCOL_COUNTERS_6))
        bound = (*sockets.parse(self._file("udp")), *sockets.parse(self._file("udp6")))
        rows += losses.socket_counts(bound, self._udp_known)
        rows += losses.conntrack_counts(conntrack.parse(self._file("conntrack")))
        try:
            found = qdisc.parse(ask(netlink.ROUTE, qdisc.REQUEST, qdisc.QUESTION))
        except OSError as error:
            rows.append(Unseen(12, HOST, f"queueing disciplines cannot be read: {_words(error)}"))
        else:
            rows += losses.qdisc_counts(found, self._names)
        return rows

    def _own(self, nic: Nic, queues: Queues | None, standard: Standard | None) -> tuple[driver.Classified | None, str]:
        """What the driver counts, by whatever names; None where it counts nothing that is known, and why."""
        own, why = None, ""
        if nic.driver in driver.driver_map():
            try:
                own = driver.classify(nic.driver, self._host.syscalls.driver_statistics(nic.name))
            except OSError as error:
                why = f"the driver's counters cannot be read: {_words(error)}"
        if queues or standard is not None:
            own = own or driver.Classified(nic.driver, known=False)
            own = preferred(own, queues or {})
            own = completed(own, standard or Standard())
        if own is not None:
            self._queues[nic.name] = self._count_queues(nic.name, own)
        return own, why

    def _of_nic(self, nic: Nic, other_hosts: int | None, own: driver.Classified | None, why: str) -> NicReading:
        downs, pcie = self._links.get(nic.name, (None, None))
        name = printable(nic.name)
        statistics = self._statistics.get(nic.name, {})
        return NicReading(name, printable(nic.driver), statistics, own, downs, other_hosts, pcie, why)

    def _count_queues(self, name: str, own: driver.Classified) -> dict[int, QueueCount]:
        rates = self._second.rates
        packets, drops = own.by_queue(driver.QUEUE_PACKETS), own.by_queue("nic.nodesc") or own.by_queue(OTHER_DROPS)
        found = {}
        for queue in packets.keys() | drops.keys():
            came, lost = packets.get(queue), drops.get(queue)
            found[queue] = QueueCount(
                came,
                None if came is None else rates.of(("queue", name, "packets", queue), came),
                lost,
                None if lost is None else rates.of(("queue", name, "drops", queue), lost),
            )
        return found

    def _read_slow(self) -> Rows:
        files = self._host.files
        self._links = {
            nic.name: (
                files.number(f"/sys/class/net/{nic.name}/carrier_down_count"),
                aer.read(files, nic.pci) if nic.pci else None,
            )
            for nic in self._nics
        }
        rows: Rows = [*losses.membership_rows(igmp.parse(self._file("igmp")))]
        listeners = packet_sockets.parse(self._file("packet"))
        if not self.rings:
            rows += losses.ring_counts({}, listeners)
        rows += self._rules()
        return rows

    def _rules(self) -> Rows:
        ask = self._host.syscalls.netlink_dump
        try:
            rules = nftables.parse_rules(ask(netlink.NETFILTER, nftables.RULES, nftables.QUESTION))
            policies = nftables.parse_policies(ask(netlink.NETFILTER, nftables.CHAINS, nftables.QUESTION))
        except OSError as error:
            return [Unseen(14, "nftables", f"its rules cannot be read: {_words(error)}")]
        rows: Rows = [*losses.rule_counts((*rules, *policies))]
        with contextlib.suppress(OSError):
            old = self._host.files.text("/proc/net/ip_tables_names").split()
            if old:
                rows.append(Unseen(14, "iptables", f"the old iptables ({printable(' '.join(old), 40)}) is not read"))
        return rows


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
