"""The ledger's form: every place between the wire and the application where a packet can be lost, in that order.

A packet is lost once. So every row has a kind, and only rows of kind ``loss`` and ``filtered`` may ever be added up:

* ``loss``: packets that are gone. * ``filtered``: packets that nobody here had asked for; normal on a shared wire.
* ``delay``: work that came late, which may become a loss elsewhere. * ``warning``: pressure, corrected errors, events.
* ``detail``: a part of another row of the same stage. * ``aggregate``: a sum over rows of several stages.

What this host cannot see is said to be invisible and why: a missing counter is not a zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ingest.rates import Rates
from ingest.sample import LossSample

LOSS, FILTERED, DELAY, WARNING, DETAIL, AGGREGATE = "loss", "filtered", "delay", "warning", "detail", "aggregate"
ADDED = (LOSS, FILTERED)
HOST = "host"
TRANSMIT = 27  # behind the stages of reception

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """One place. ``of_nic``: it is counted by each interface; ``unseen``: why a host may have no counter for it."""

    number: int
    name: str
    unseen: str
    of_nic: bool = False


STAGES = (
    Stage(0, "upstream: venue, network, switch", "no counter of this host moves: compare the other line, or another host"),
    Stage(1, "wire", "the driver tells of no errors on the wire", of_nic=True),
    Stage(2, "MAC", "the driver tells of no bad frames", of_nic=True),
    Stage(3, "pause sent to the switch", "the driver does not count pause frames", of_nic=True),
    Stage(4, "NIC filter", "the driver does not count what the NIC turned away", of_nic=True),
    Stage(5, "NIC packet buffer", "the driver does not count overruns of the NIC's buffer", of_nic=True),
    Stage(6, "PCIe", "neither the driver nor AER counts errors of the link", of_nic=True),
    Stage(7, "no receive descriptor", "the driver does not count packets that found no descriptor", of_nic=True),
    Stage(8, "driver", "the driver tells of none", of_nic=True),
    Stage(9, "hypervisor", "what a hypervisor drops is counted on its side"),
    Stage(10, "softirq late", "no softnet_stat"),
    Stage(11, "softnet backlog", "no softnet_stat"),
    Stage(12, "traffic control, ingress", "netlink was not asked, or did not answer"),
    Stage(13, "no protocol handler", "no statistics of the interface", of_nic=True),
    Stage(14, "netfilter", "no conntrack statistics, and no right to read rules (CAP_NET_ADMIN)"),
    Stage(15, "IP", "no /proc/net/snmp and netstat"),
    Stage(16, "multicast membership", "that a group sends nothing has no counter: compare the other line"),
    Stage(17, "UDP: no socket", "no /proc/net/snmp"),
    Stage(18, "UDP: socket buffer full", "no /proc/net/snmp"),
    Stage(19, "UDP: memory", "no /proc/net/snmp, or a kernel before 5.11"),
    Stage(20, "told to the application", "only a socket with SO_RXQ_OVFL is told, with its next datagram"),
    Stage(21, "packet ring", "only the owner of an AF_PACKET ring can read its drops"),
    Stage(22, "AF_XDP", "only the owner of an AF_XDP socket can read its drops"),
    Stage(23, "TCP receive", "no /proc/net/netstat"),
    Stage(24, "kernel bypass", "a bypass stack keeps its own counters; stages 10 to 23 do not see its packets"),
    Stage(25, "application's ring", "only the application knows its cursors"),
    Stage(26, "feed sequence", "no feed is being followed"),
    Stage(TRANSMIT, "transmit", "no statistics of the interface", of_nic=True),
)
NAMES = {stage.number: stage.name for stage in STAGES}


@dataclass(frozen=True, slots=True)
class Count:
    """What one row of the ledger counts, before it has a rate.

    ``parts`` are the counters that add up to it, each with a key that is its own: parts wrap and start anew one by one.
    """

    stage: int
    where: str
    counter: str
    parts: tuple[tuple[Key, int], ...]
    name: str = ""
    kind: str = LOSS
    note: str = ""
    bits: int = 64  # how wide the kernel counts; 32 wrap

    @property
    def total(self) -> int:
        """All of it, as the kernel has it."""
        return sum(value for _, value in self.parts)


@dataclass(frozen=True, slots=True)
class Unseen:
    """A stage that has no counter here, and why."""

    stage: int
    where: str
    why: str
    counter: str = ""


def single(stage: int, where: str, counter: str, value: int, name: str = "", **more: str | int) -> Count:
    """A row of one counter."""
    return Count(stage, where, counter, (((where, counter), value),), name, **more)  # type: ignore[arg-type]


def rated(counts: Iterable[Count | Unseen], rates: Rates) -> tuple[LossSample, ...]:
    """Rows with their rates per second since these counters were last rated."""
    return tuple(_unseen(each) if isinstance(each, Unseen) else _seen(each, rates) for each in counts)


def _seen(count: Count, rates: Rates) -> LossSample:
    key = (str(count.stage), count.kind)
    step = sum(rates.step((*key, *part), value, count.bits) for part, value in count.parts)
    return LossSample(
        stage=count.stage,
        name=count.name or NAMES[count.stage],
        where=count.where,
        counter=count.counter,
        total=count.total,
        per_s=rates.per_s(step),
        kind=count.kind,
        note=count.note,
    )


def _unseen(each: Unseen) -> LossSample:
    return LossSample(each.stage, NAMES[each.stage], each.where, each.counter, 0, 0.0, visible=False, note=each.why)


def complete(rows: Iterable[LossSample], nics: Iterable[str] = ()) -> tuple[LossSample, ...]:
    """All rows from the wire to the application; a stage that has none gets one that says why.

    Args:
        rows: what was found.
        nics: the interfaces of which every stage of an interface is expected.
    """
    found = list(rows)
    there = {(row.stage, row.where) for row in found}
    stages = {row.stage for row in found}
    nics = tuple(nics)
    for stage in STAGES:
        if stage.of_nic and nics:
            missing = [Unseen(stage.number, nic, stage.unseen) for nic in nics if (stage.number, nic) not in there]
        else:
            missing = [] if stage.number in stages else [Unseen(stage.number, HOST, stage.unseen)]
        found += [_unseen(each) for each in missing]
    return tuple(sorted(found, key=lambda row: (row.stage, row.kind not in ADDED, not row.visible)))


def lost(rows: Iterable[LossSample]) -> dict[int, int]:
    """Stage -> packets lost or turned away there since boot, nothing counted twice."""
    found: dict[int, int] = {}
    for row in rows:
        if row.visible and row.kind in ADDED:
            found[row.stage] = found.get(row.stage, 0) + row.total
    return found


def worst_first(rows: Iterable[LossSample]) -> list[LossSample]:
    """Visible rows that tell of something: losses before warnings, what loses now before what lost once, parts last."""
    kinds = {LOSS: 0, FILTERED: 1, DELAY: 2, WARNING: 3, AGGREGATE: 4, DETAIL: 5}
    told = [row for row in rows if row.visible and (row.total or row.per_s)]
    return sorted(told, key=lambda row: (kinds.get(row.kind, 9), not row.per_s, -row.per_s, -row.total, row.stage))


def folded(rows: Iterable[LossSample], alike: int = 3) -> list[LossSample]:
    """Rows in their order, but of one stage and counter no more than ``alike``: the others are one row behind them."""
    found: dict[tuple[int, str, str], list[LossSample]] = {}
    for row in rows:
        found.setdefault((row.stage, row.name, row.counter), []).append(row)
    told: list[LossSample] = []
    for group in found.values():
        told += group[:alike]
        rest = group[alike:]
        if rest:
            total, per_s = sum(row.total for row in rest), sum(row.per_s for row in rest)
            told.append(replace(rest[0], where=f"and {len(rest)} more", total=total, per_s=per_s, note=""))
    return told


def invisible(rows: Iterable[LossSample]) -> Mapping[int, tuple[str, ...]]:
    """Stage -> where it is not visible, for those of which nothing at all is seen there."""
    found: dict[int, tuple[str, ...]] = {}
    for row in rows:
        if not row.visible:
            found[row.stage] = (*found.get(row.stage, ()), row.where)
    return found


def ranges(stages: Sequence[int]) -> str:
    """Numbers of stages in words: ``0 9 20-22``."""
    groups: list[list[int]] = []
    for stage in sorted(stages):
        if groups and stage == groups[-1][-1] + 1:
            groups[-1].append(stage)
        else:
            groups.append([stage])
    return " ".join(str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)
