"""The one record that everything watched is told in: a ``Sample`` per tick, as one JSON line between processes.

A sample holds both the counters as the kernel has them (so that anybody can check them against /proc) and the rates since
the sample before. Totals are the kernel's unsigned counters; where a 32-bit counter wrapped, the rate is right all the same.
All rates are per second, all times nanoseconds unless the name says otherwise. Readers ignore fields that they do not know.
"""

from dataclasses import dataclass, field
from typing import Any

from ingest.rows import Rows, from_line, mappings, to_line

SCHEMA = "quietcore/1"


@dataclass(frozen=True, slots=True)
class CoreSample:
    """One online CPU.

    ``interruptions_per_s`` is the headline: the sum of all rows of /proc/interrupts for this CPU (device interrupts, timer
    tick, inter-processor interrupts, NMIs). ``top_cause`` names the busiest of them, with its rate in ``top_cause_per_s``.
    ``role`` is ``isolated``, ``housekeeping``, a role of the active profile (``rx``, ``app``), or ``general`` on a host
    where nothing is isolated.
    """

    cpu: int
    node: int
    package: int
    core: int
    llc: int  # the lowest CPU that shares the last-level cache
    siblings: tuple[int, ...]
    role: str
    interruptions_per_s: float = 0.0
    top_cause: str = ""
    top_cause_per_s: float = 0.0
    interrupts: int = 0
    device_per_s: float = 0.0
    timer_per_s: float = 0.0
    ipi_per_s: float = 0.0
    softirqs: int = 0
    softirqs_per_s: float = 0.0
    net_rx_per_s: float = 0.0  # NET_RX softirqs
    packets: int = 0  # softnet_stat column 1
    packets_per_s: float = 0.0
    backlog_drops: int = 0  # softnet_stat column 2
    backlog_drops_per_s: float = 0.0
    squeezes: int = 0  # softnet_stat column 3: a delay, not a loss
    squeezes_per_s: float = 0.0
    busy_percent: float = 0.0  # user + nice + system + irq + softirq
    steal_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class IrqSample:
    """One row of /proc/interrupts. ``irq`` is the row's label (``142``, ``LOC``), ``name`` what it is for."""

    irq: str
    name: str
    device: str  # NIC name or PCI address; empty where no device is known
    queue: int | None
    total: int
    per_s: float
    per_cpu: tuple[tuple[int, int], ...] = ()  # (cpu, total), CPUs with a count only
    per_cpu_per_s: tuple[tuple[int, float], ...] = ()  # (cpu, rate), CPUs that moved only
    requested: str = ""  # CPU list; numbered interrupts only
    effective: str = ""
    managed: bool = False
    receives: bool = False  # serves a receive queue of a NIC


@dataclass(frozen=True, slots=True)
class QueueSample:
    """One receive queue of a NIC with the interrupt that serves it."""

    queue: int
    irq: int | None
    cpus: str  # effective affinity of its interrupt, a CPU list
    interrupts_per_s: float
    packets: int | None = None  # None where the driver counts no packets per queue
    packets_per_s: float | None = None
    drops: int | None = None
    drops_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class NicSample:
    """One network interface. ``counters`` are the kernel's own (``/sys/class/net/X/statistics``), since boot."""

    name: str
    driver: str
    node: int  # -1: the firmware does not say
    up: bool
    speed_mbps: int | None
    rx_packets_per_s: float
    tx_packets_per_s: float
    rx_bytes_per_s: float
    tx_bytes_per_s: float
    drops_per_s: float  # rx_dropped + rx_missed_errors, as this driver counts them
    rx_ring: int | None = None
    rx_ring_max: int | None = None
    physical: bool = True
    carrier: bool = True  # ``up`` is what was asked for; this is whether there is a link
    counters: dict[str, int] = field(default_factory=dict)
    queues: tuple[QueueSample, ...] = ()


@dataclass(frozen=True, slots=True)
class LossSample:
    """One place between the wire and the application where packets can be lost.

    ``stage`` orders the places from wire to application; ``visible`` is False where this host has no counter for it, and
    ``note`` says why. ``kind`` is ``loss``, ``filtered`` (nobody here wanted it), ``delay``, ``warning``, ``detail`` (a part of
    another row) or ``aggregate`` (contains others): only the first two may be added up.
    """

    stage: int
    name: str
    where: str  # the NIC, CPU or protocol that counted
    counter: str
    total: int
    per_s: float
    visible: bool = True
    kind: str = "loss"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened between two samples: ``level`` is ``info``, ``warn`` or ``crit``.

    What has an onset and an end has a ``key``, the same in all that is told of it: when it began, when it became ten times as
    much, and, of level ``info`` with ``ended``, when it was over. ``since_s`` is the wall clock of its onset, ``count`` how
    many there were since (interrupts, packets, ticks). The fields behind lead to the row that it is about, if to any.
    """

    level: str
    where: str
    what: str
    key: str = ""
    ended: bool = False
    since_s: float = 0.0
    count: int = 0
    cpu: int | None = None
    irq: str = ""  # label of a row of /proc/interrupts
    nic: str = ""
    queue: int | None = None
    counter: str = ""  # of a row of the ledger of losses
    feed: str = ""  # a stream, or a channel


@dataclass(frozen=True, slots=True)
class Cost:
    """What watching cost since the sample before, and on which CPU it was paid."""

    cpu_ns: int = 0  # user + system time of the collector
    cpu_percent: float = 0.0
    cpus: str = ""  # CPU list to which the collector is bound
    late_ticks: int = 0  # ticks that came too late to be taken, since the start
    ring_cpu_ns: int = 0  # of ``cpu_ns``, about: what the reader of packet rings used


@dataclass(frozen=True, slots=True)
class Sample:
    """One tick. ``source`` is ``live``, ``simulated`` or ``files`` (another root); a replay keeps what it recorded.

    ``rings`` and ``feeds`` are filled where packet rings are read beside the counters; ``ingest.ring_samples`` has their keys.
    """

    host: str
    source: str
    kernel: str
    sequence: int
    time_s: float  # wall clock, for display only
    monotonic_ns: int
    interval_s: float  # 0 for a first sample: there is no rate yet
    cores: tuple[CoreSample, ...]
    irqs: tuple[IrqSample, ...]
    nics: tuple[NicSample, ...]
    losses: tuple[LossSample, ...]
    rings: tuple[dict[str, Any], ...] = ()
    feeds: tuple[dict[str, Any], ...] = ()
    events: tuple[Event, ...] = ()
    cost: Cost = field(default_factory=Cost)
    profile: str = ""  # the active profile, empty where none is
    # settings that were applied and moved since: knob, target, wanted, now, effective, state, seen_s, at_start, suspect
    drift: tuple[dict[str, Any], ...] = ()

    def to_json(self, command: str = "watch") -> str:
        """One line without its end, ``"schema"`` first.

        Raises:
            ValueError: a number in it is none in JSON.
        """
        record = {"schema": SCHEMA, "command": command} | SAMPLE.record(self)
        record["cores"] = list(map(CORES.record, self.cores))
        record["irqs"] = list(map(IRQS.record, self.irqs))
        record["nics"] = list(map(nic_record, self.nics))
        record["losses"] = list(map(LOSSES.record, self.losses))
        record["events"] = list(map(EVENTS.record, self.events))
        record["cost"] = COST.record(self.cost)
        return to_line(record)


CORES, IRQS, LOSSES, EVENTS = Rows(CoreSample), Rows(IrqSample), Rows(LossSample), Rows(Event)
QUEUES, COST = Rows(QueueSample), Rows(Cost)
NICS = Rows(NicSample, {"queues": QUEUES.many})
SAMPLE = Rows(
    Sample,
    {
        "cores": CORES.many,
        "irqs": IRQS.many,
        "nics": NICS.many,
        "losses": LOSSES.many,
        "rings": mappings,
        "feeds": mappings,
        "events": EVENTS.many,
        "cost": COST.build,
        "drift": mappings,
    },
)


def nic_record(nic: NicSample) -> dict[str, Any]:
    """A NIC as JSON has it."""
    return NICS.record(nic) | {"queues": list(map(QUEUES.record, nic.queues))}


class SampleError(ValueError):
    """A line that is no sample: another schema, a torn line, a field of the wrong kind."""


def from_json(line: str | bytes) -> Sample:
    """The sample in one line of JSON. Whoever wrote it: its texts are printable, its numbers finite, its fields of their kind.

    Raises:
        SampleError: not a sample of this schema. Unknown fields are ignored, missing ones take their defaults.
    """
    try:
        return sample_of(from_line(line))
    except (ValueError, TypeError, RecursionError) as error:
        raise SampleError(f"not a sample: {error}") from error


def sample_of(record: dict[str, Any]) -> Sample:
    """The sample of a line's record.

    Raises:
        ValueError: of another schema, or a field of the wrong kind.
        TypeError: a field without a default is missing.
    """
    if record.get("schema") != SCHEMA:
        raise ValueError(f"not a line of schema {SCHEMA}")
    if "base" in record:
        raise ValueError("a line of changes, which a whole line must precede; quietcore view - reads them")
    return SAMPLE.build(record)
