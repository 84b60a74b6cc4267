"""What the host itself tells of losses, from the softirq to the feed: rows of the ledger (``ingest.stages``) out of readings.

A packet is lost once: what a counter contains of another (``InErrors`` all of UDP's, ``InHdrErrors`` the checksums, softnet's
drops the flow limit, the protocols' drops each socket's) is a detail, or is left out. Sources: net/core/dev.c, net/ipv4/proc.c,
ip_input.c, udp.c, tcp_input.c.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ingest.counters.igmp import Joined
from ingest.counters.nftables import DropRule
from ingest.counters.packet_sockets import PacketSocket
from ingest.counters.qdisc import Qdisc
from ingest.counters.sockets import UdpSocket
from ingest.counters.softnet import Softnet
from ingest.rates import Rates
from ingest.sample import LossSample
from ingest.stages import AGGREGATE, DELAY, DETAIL, FILTERED, HOST, LOSS, TRANSMIT, WARNING, Count, Key, Unseen, single
from tuner.host.text import printable

# stage, name, counter, kind, note
_PROTOCOLS = (
    (
        15,
        "IP: reverse path filter",
        "TcpExt.IPReversePathFilter",
        LOSS,
        "rp_filter: the way back leads out of another interface",
    ),
    (15, "IP: header", "Ip.InHdrErrors", LOSS, ""),
    (15, "IP: checksum", "IpExt.InCsumErrors", DETAIL, "a part of InHdrErrors"),
    (15, "IP: truncated", "IpExt.InTruncatedPkts", LOSS, ""),
    (15, "IP: not our address", "Ip.InAddrErrors", LOSS, ""),
    (15, "IP: no route", "IpExt.InNoRoutes", LOSS, ""),
    (15, "IP: unknown protocol", "Ip.InUnknownProtos", LOSS, ""),
    (15, "IP: discarded", "Ip.InDiscards", LOSS, ""),
    (15, "IP: fragments never whole", "Ip.ReasmFails", LOSS, "one for each datagram, or fragment"),
    (16, "multicast: no socket wanted it", "Udp.IgnoredMulti", FILTERED, "it came in, and no socket here had joined and bound"),
    (17, "UDP: no socket", "Udp.NoPorts", LOSS, "wrong port, or nobody listens"),
    (18, "UDP: socket buffer full", "Udp.RcvbufErrors", LOSS, "the application is too slow, or SO_RCVBUF too small"),
    (18, "UDP: checksum", "Udp.InCsumErrors", LOSS, ""),
    (19, "UDP: memory", "Udp.MemErrors", LOSS, "net.ipv4.udp_mem"),
    (23, "TCP: receive queue full", "TcpExt.TCPRcvQDrop", LOSS, "the peer sends it again"),
    (23, "TCP: window closed", "TcpExt.TCPZeroWindowDrop", LOSS, "the peer sends it again"),
    (23, "TCP: socket was busy", "TcpExt.TCPBacklogDrop", LOSS, "the peer sends it again"),
    (23, "TCP: out of order queue", "TcpExt.TCPOFODrop", LOSS, "the peer sends it again"),
    (23, "TCP: pruned", "TcpExt.RcvPruned", LOSS, "the peer sends it again"),
    (23, "TCP: memory pressure", "TcpExt.PruneCalled", WARNING, "rounds of pruning, not packets"),
    (23, "TCP: out of order pruned", "TcpExt.OfoPruned", WARNING, "rounds, not packets"),
    (TRANSMIT, "transmit: no route", "Ip.OutNoRoutes", LOSS, ""),
    (TRANSMIT, "transmit: IP discarded", "Ip.OutDiscards", AGGREGATE, "what a queueing discipline refused stands here, too"),
)
_PROTOCOLS_6 = (
    (15, "IPv6: header", "Ip6InHdrErrors", LOSS, ""),
    (15, "IPv6: not our address", "Ip6InAddrErrors", LOSS, ""),
    (15, "IPv6: no route", "Ip6InNoRoutes", LOSS, ""),
    (15, "IPv6: discarded", "Ip6InDiscards", LOSS, ""),
    (16, "multicast: no socket wanted it (IPv6)", "Udp6IgnoredMulti", FILTERED, ""),
    (17, "UDP: no socket (IPv6)", "Udp6NoPorts", LOSS, ""),
    (18, "UDP: socket buffer full (IPv6)", "Udp6RcvbufErrors", LOSS, ""),
    (19, "UDP: memory (IPv6)", "Udp6MemErrors", LOSS, ""),
)
PROTOCOL_COUNTERS = tuple(counter for _, _, counter, _, _ in _PROTOCOLS)
PROTOCOL_COUNTERS_6 = tuple(counter for _, _, counter, _, _ in _PROTOCOLS_6)
SHOWN_SOCKETS = 16  # the worst of them
_SHOWN_RULES = 16
ALL_CPUS = "all CPUs"


def protocol_counts(counters: Mapping[str, int], counters_6: Mapping[str, int]) -> Iterator[Count]:
    """Stages 15 to 19, 23 and transmission, by the counters of snmp, netstat and snmp6; what a kernel lacks has no row."""
    for stage, name, counter, kind, note in (*_PROTOCOLS, *_PROTOCOLS_6):
        value = counters.get(counter, counters_6.get(counter))
        if value is not None:
            yield single(stage, HOST, counter, value, name, kind=kind, note=note, bits=0)


def softnet_counts(rows: Sequence[Softnet]) -> Iterator[Count | Unseen]:
    """Stages 10 and 11: a row of the ledger for each CPU that has lost or been late, one for all others together."""
    if not rows:
        for stage in (10, 11):
            yield Unseen(stage, HOST, "no softnet_stat, or CPUs come and go just now")
        return
    late = "no loss yet: the ring fills meanwhile"
    yield from _per_cpu(rows, 10, "softirq late", "softnet time_squeeze", [r.squeezes for r in rows], DELAY, late)
    yield from _per_cpu(rows, 11, "softnet backlog", "softnet dropped", [r.drops for r in rows], LOSS, "RPS or loopback")
    limited = [row.flow_limits for row in rows]
    if any(limited):
        yield from _per_cpu(rows, 11, "softnet flow limit", "softnet flow_limit", limited, DETAIL, "a part of dropped")


def _per_cpu(
    rows: Sequence[Softnet], stage: int, name: str, counter: str, values: Sequence[int], kind: str, note: str
) -> Iterator[Count]:
    quiet: list[tuple[Key, int]] = []
    for row, value in zip(rows, values, strict=True):
        part = ((f"CPU {row.cpu}", counter), value)
        if value:
            yield Count(stage, f"CPU {row.cpu}", counter, (part,), name, kind, note, 32)
        else:
            quiet.append(part)
    if quiet:  # rated all the same: the first drop of a CPU must not be taken for its old count
        where = ALL_CPUS if len(quiet) == len(rows) else "other CPUs"
        yield Count(stage, where, counter, tuple(quiet), name, kind, "", 32)


def socket_counts(sockets: Iterable[UdpSocket], total_known: bool) -> Iterator[Count]:
    """Stage 18, socket by socket: the worst of those that dropped anything, and one row for all others together.

    Args:
        sockets: all of the namespace.
        total_known: whether the protocol's own count is a row already; else these are the losses.
    """
    kind = DETAIL if total_known else LOSS
    by_owner = {(each.name, each.inode): each for each in sockets}  # the kernel's own all have inode 0
    worst = sorted((each for each in by_owner.values() if each.drops), key=lambda each: -each.drops)
    quiet = [each for each in by_owner.values() if not each.drops]
    for each in worst[:SHOWN_SOCKETS]:
        note = f"socket inode {each.inode}, {each.queued} B wait; its buffer, its checksums and its filter"
        yield Count(18, each.name, "sk_drops", (_socket_part(each),), "UDP socket", kind, note, 32)
    rest = (*worst[SHOWN_SOCKETS:], *quiet)
    if rest:  # rated all the same: the first drop of a socket must not be taken for its old count
        parts = tuple(_socket_part(each) for each in rest)
        yield Count(
            18, f"{len(rest)} other socket{'s' if len(rest) > 1 else ''}", "sk_drops", parts, "UDP sockets", kind, "", 32
        )


def _socket_part(each: UdpSocket) -> tuple[Key, int]:
    return (each.name, "drops", str(each.inode)), each.drops


def membership_rows(joined: Iterable[Joined]) -> Iterator[Unseen]:
    """Stage 16: what is joined where. That a joined group is silent has no counter."""
    for each in joined:
        if each.groups:
            count = f"{len(each.groups)} group{'s' if len(each.groups) > 1 else ''} joined"
            shown = ", ".join(each.groups[:3]) + (", …" if len(each.groups) > 3 else "")
            why = f"{count} ({printable(each.version, 8)}: {shown}); silence has no counter: compare the other line"
            yield Unseen(16, printable(each.ifname), why, "/proc/net/igmp")


def conntrack_counts(rows: Sequence[Mapping[str, int]]) -> Iterator[Count]:
    """Stage 14: connection tracking, all CPUs together. No rows: this kernel does not track."""
    names = {name for row in rows for name in row}
    for name, title, kind, note in (
        ("drop", "connection tracking: dropped", LOSS, "table full, no memory, or a clash"),
        ("insert_failed", "connection tracking: not confirmed", WARNING, "lost as well; clashes stand under drop, too"),
        ("early_drop", "connection tracking: entry thrown out", WARNING, "entries, not packets: the table is full"),
    ):
        if name in names:
            parts = tuple(((HOST, "conntrack", name, str(i)), row[name]) for i, row in enumerate(rows) if name in row)
            yield Count(14, HOST, f"nf_conntrack {name}", parts, title, kind, note, 32)


def rule_counts(rules: Sequence[DropRule]) -> Iterator[Count]:
    """Stages 12 and 14: rules of nftables that count and drop, the worst one by one, the others together."""
    for stage, name, of_stage in (
        (12, "nftables before the protocols", [rule for rule in rules if rule.early]),
        (14, "nftables", [rule for rule in rules if not rule.early]),
    ):
        worst = sorted(of_stage, key=lambda rule: -rule.packets)
        for rule in worst[:_SHOWN_RULES]:
            yield single(stage, printable(rule.name, 60), "counter before drop", rule.packets, f"{name}: dropped")
        if len(worst) > _SHOWN_RULES:
            rest = worst[_SHOWN_RULES:]
            parts = tuple(((rule.name, "counter before drop"), rule.packets) for rule in rest)
            yield Count(stage, f"{len(rest)} other rules", "counter before drop", parts, f"{name}: dropped")


def qdisc_counts(qdiscs: Iterable[Qdisc], names: Mapping[int, str]) -> Iterator[Count]:
    """Stages 12 and transmission: traffic control. ``names`` are the interfaces by their index."""
    ingress = 0
    for qdisc in qdiscs:
        where = printable(names.get(qdisc.ifindex, f"interface {qdisc.ifindex}"))
        counter = f"qdisc {printable(qdisc.kind, 16)}"
        if qdisc.ingress:
            ingress += 1
            note = "verdicts of filters, in both directions" if qdisc.kind == "clsact" else "verdicts of filters"
            yield single(12, where, f"{counter} drops", qdisc.drops, "traffic control", note=note, bits=32)
        else:
            yield single(TRANSMIT, where, f"{counter} drops", qdisc.drops, "transmit: queueing discipline", bits=32)
            if qdisc.overlimits:
                name = "transmit: held back"
                yield single(TRANSMIT, where, f"{counter} overlimits", qdisc.overlimits, name, kind=DELAY, bits=32)
    if not ingress:
        yield Count(12, HOST, "qdisc ingress drops", (), "traffic control", note="no filter at any interface's entry")


def ring_counts(rings: Mapping[str, int], others: Sequence[PacketSocket]) -> Iterator[Count | Unseen]:
    """Stage 21: rings whose owner tells their drops, and how many sockets there are that tell nobody else."""
    for name, drops in rings.items():
        yield single(21, printable(name), "PACKET_STATISTICS tp_drops", drops, "packet ring")
    if others and not rings:
        sockets = f"{len(others)} AF_PACKET socket{'s' if len(others) > 1 else ''} here"
        yield Unseen(21, HOST, f"{sockets}: only the owner of each can read its drops", "/proc/net/packet")


def feed_rows(feeds: Mapping[str, int], before: Mapping[str, int], rates: Rates) -> Iterator[LossSample]:
    """Stage 26: messages missing from a feed, as its follower counts them. They are lost at the stages above, too.

    Not rated as a counter is: a message that comes late is missing no more, which is no counter that began anew.

    Args:
        feeds: name -> how many are missing now.
        before: the same at the tick before; a feed that was not there had none missing.
        rates: of this tick.
    """
    for name, lost in feeds.items():
        per_s = rates.per_s(max(0, lost - before.get(name, 0)))
        note = "lost at a stage above"
        yield LossSample(26, "feed sequence", printable(name, 80), "sequence gaps", lost, per_s, kind=DETAIL, note=note)


def odd_counts(odd: Mapping[tuple[str, str], int]) -> Iterator[Count]:
    """Stage 26: datagrams of what is followed that are in no feed, by (what, note). None is lost: each came."""
    for (what, note), count in odd.items():
        yield single(26, HOST, f"{what} datagrams", count, f"feed: {what}", kind=WARNING, note=note)


def silent_feed(feeds: Mapping[str, int], following: str) -> Iterator[Unseen]:
    """Stage 26 where a feed is followed of which nothing came yet."""
    if following and not feeds:
        yield Unseen(26, printable(following, 80), "it is followed, but nothing of it came yet")
