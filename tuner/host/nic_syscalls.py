"""The part of the ``Syscalls`` port that is about one NIC's queues, stack and stamps."""

from collections.abc import Sequence
from typing import Protocol

from tuner.host import flow_rules, hwtstamp, qdiscs, rss
from tuner.host.flow_rules import Flow, FlowTable
from tuner.host.hwtstamp import Timestamping
from tuner.host.interface_ioctl import ethtool_request, interface_request
from tuner.host.qdiscs import Qdisc
from tuner.host.rss import Rss


class NicSyscalls(Protocol):
    """Every method raises OSError with the kernel's errno; EOPNOTSUPP: not on this NIC."""

    def rss(self, ifname: str) -> Rss:
        """Indirection table and key."""

    def set_rss_table(self, ifname: str, table: Sequence[int] | None) -> None:
        """A new table; None: the driver's default."""

    def set_rss_key(self, ifname: str, key: bytes) -> None:
        """A new key."""

    def hash_fields(self, ifname: str, flow: str) -> str:
        """What is hashed of a flow of ``tuner.host.rss.FLOWS``, as letters."""

    def set_hash_fields(self, ifname: str, flow: str, fields: str) -> None:
        """Hashes these of it."""

    def flow_table(self, ifname: str) -> FlowTable:
        """The NIC's flow rules, everybody's."""

    def set_flow_rule(self, ifname: str, flow: Flow, queue: int, location: int | None) -> int:
        """Inserts a rule, see ``tuner.host.flow_rules.insert_rule``; gives back its location."""

    def release_flow_rule(self, ifname: str, location: int) -> None:
        """Takes a rule away."""

    def timestamping(self, ifname: str) -> Timestamping:
        """Which packets get a hardware timestamp."""

    def set_timestamping(self, ifname: str, wanted: Timestamping) -> Timestamping:
        """Asks for that; what the driver made of it."""

    def qdiscs(self, ifname: str) -> tuple[Qdisc, ...]:
        """Queueing disciplines of the way out, the root first."""

    def qdisc_filters(self, ifname: str) -> int:
        """How many filters hang on the root."""

    def set_qdisc(self, ifname: str, wanted: Qdisc) -> None:
        """Puts a discipline where another is: what is queued is dropped."""

    def release_root_qdisc(self, ifname: str) -> None:
        """Gives the root back to the kernel's default."""


class LinuxNicSyscalls:
    """This machine's kernel."""

    def rss(self, ifname: str) -> Rss:
        """See NicSyscalls."""
        return rss.read_rss(lambda request: ethtool_request(ifname, request))

    def set_rss_table(self, ifname: str, table: Sequence[int] | None) -> None:
        """See NicSyscalls."""
        rss.write_table(lambda request: ethtool_request(ifname, request), table)

    def set_rss_key(self, ifname: str, key: bytes) -> None:
        """See NicSyscalls."""
        rss.write_key(lambda request: ethtool_request(ifname, request), key)

    def hash_fields(self, ifname: str, flow: str) -> str:
        """See NicSyscalls."""
        return rss.read_hash_fields(lambda request: ethtool_request(ifname, request), flow)

    def set_hash_fields(self, ifname: str, flow: str, fields: str) -> None:
        """See NicSyscalls."""
        rss.write_hash_fields(lambda request: ethtool_request(ifname, request), flow, fields)

    def flow_table(self, ifname: str) -> FlowTable:
        """See NicSyscalls."""
        return flow_rules.read_flow_table(lambda request: ethtool_request(ifname, request))

    def set_flow_rule(self, ifname: str, flow: Flow, queue: int, location: int | None) -> int:
        """See NicSyscalls."""
        return flow_rules.insert_rule(lambda request: ethtool_request(ifname, request), flow, queue, location)

    def release_flow_rule(self, ifname: str, location: int) -> None:
        """See NicSyscalls."""
        flow_rules.remove_rule(lambda request: ethtool_request(ifname, request), location)

    def timestamping(self, ifname: str) -> Timestamping:
        """See NicSyscalls."""
        return hwtstamp.read_timestamping(lambda number, buffer: interface_request(ifname, number, buffer))

    def set_timestamping(self, ifname: str, wanted: Timestamping) -> Timestamping:
        """See NicSyscalls."""
        return hwtstamp.write_timestamping(lambda number, buffer: interface_request(ifname, number, buffer), wanted)

    def qdiscs(self, ifname: str) -> tuple[Qdisc, ...]:
        """See NicSyscalls."""
        return qdiscs.read_qdiscs(ifname)

    def qdisc_filters(self, ifname: str) -> int:
        """See NicSyscalls."""
        return qdiscs.count_filters(ifname)

    def set_qdisc(self, ifname: str, wanted: Qdisc) -> None:
        """See NicSyscalls."""
        qdiscs.write_qdisc(ifname, wanted)

    def release_root_qdisc(self, ifname: str) -> None:
        """See NicSyscalls."""
        qdiscs.remove_root(ifname)
