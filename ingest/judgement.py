"""What is wrong on a core, given what the core is for, and what is wrong on the way of a packet: one judgement for all views.

High is not bad: eight thousand interrupts a second are a housekeeping core's work; one a second is a fault on an isolated one.
Pure: rows of a sample in, findings out. ``ingest.alerts`` makes events of those that last.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ingest.sample import CoreSample, IrqSample, LossSample, NicSample
from ingest.stages import LOSS, WARNING

INFO, WARN, CRIT = "info", "warn", "crit"
# cores on which nothing runs but what was put there; those of rx and tx serve their NIC's interrupts
RESERVED = frozenset({"isolated", "app"})
DISTURBED_PER_S = 1.0  # interrupts that a reserved core should not have
TICKING_PER_S = 2.0  # a stopped tick left one a second until 4.17; since then others do it remotely (sched_tick_remote)

DEVICE, IPI, TICK, BACKLOG, BUDGET = "device", "ipi", "tick", "backlog", "budget"
LOST, PRESSURE, LINK, FLAP, STALE, LATE = "lost", "pressure", "link", "flap", "stale", "late"

# stage -> level of a loss there. Not told: what filters turned away (4, 12, 14), nobody's port (17), TCP, which sends again
# (23), what a feed misses (26: ``ingest.feeds.gap_watch`` tells of that), and the backlog (11), which is judged by core.
_LEVELS = {2: CRIT, 5: CRIT, 7: CRIT, 8: CRIT, 9: CRIT, 15: WARN, 18: CRIT, 19: CRIT, 21: WARN, 27: WARN}
_PAUSE, _OF_RING, _SOCKETS = 3, (5, 7), (18, 19)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong now.

    ``key`` is the same as long as it is the same matter. ``what`` is a phrase without figures, ``per_s`` its rate, of what
    ``unit`` names. Level ``info`` deserves a colour and is no alert. The fields behind ``unit`` say which row it is about.
    """

    key: str
    kind: str
    level: str
    where: str
    what: str
    per_s: float = 0.0
    unit: str = ""
    cpu: int | None = None
    irq: str = ""
    nic: str = ""
    queue: int | None = None
    counter: str = ""
    feed: str = ""

    @property
    def sentence(self) -> str:
        """The phrase with its rate."""
        unit = "" if self.unit in ("interrupts", "ticks") else f" {self.unit}"
        return f"{self.what}: {rate(self.per_s)}{unit}/s" if self.unit else self.what


def rate(per_s: float) -> str:
    """A rate for people: small ones with one place."""
    return f"{per_s:.1f}" if 0 < per_s < 9.95 and per_s != round(per_s) else f"{per_s:,.0f}"


# ---- cores


def of_core(core: CoreSample, rows: Iterable[tuple[IrqSample, float]] = (), nohz_full: bool = False) -> tuple[Finding, ...]:
    """What is wrong on a core, the gravest first.

    Args:
        core: the core.
        rows: the device interrupts that came to it, with their rates there (``interrupting``); without them the busiest row of
            all stands for them.
        nohz_full: whether the tick is to be stopped there (``/sys/devices/system/cpu/nohz_full``).
    """
    reserved = core.role in RESERVED
    disturbed = reserved and core.interruptions_per_s >= DISTURBED_PER_S
    if not (disturbed or core.backlog_drops_per_s or core.squeezes_per_s):
        return ()
    found: list[Finding] = []
    cpu, where = core.cpu, f"CPU {core.cpu}"
    if core.backlog_drops_per_s > 0:
        what = "softnet backlog full: raise net.core.netdev_max_backlog"
        key = f"backlog {where}"
        found.append(
            Finding(key, BACKLOG, CRIT, where, what, core.backlog_drops_per_s, "packets", cpu, counter="softnet dropped")
        )
    if disturbed:
        found += _disturbances(core, rows, where, nohz_full)
    if core.squeezes_per_s > 0:
        key, what = f"budget {where}", "softirq budget used up (net.core.netdev_budget)"
        found.append(
            Finding(key, BUDGET, INFO, where, what, core.squeezes_per_s, "rounds", cpu, counter="softnet time_squeeze")
        )
    return tuple(found)


def _disturbances(core: CoreSample, rows: Iterable[tuple[IrqSample, float]], where: str, nohz_full: bool) -> Iterator[Finding]:
    cpu, role = core.cpu, f"{'an' if core.role[:1] in 'ai' else 'a'} {core.role} core"
    if core.device_per_s >= DISTURBED_PER_S:
        named = [(f"IRQ {irq.irq} {irq.name}", irq.irq, irq.device, irq.queue, per_s) for irq, per_s in rows]
        if not named:
            label = core.top_cause.partition(" ")[0]
            known = label.isdigit()
            named = [(f"IRQ {core.top_cause}" if known else "a device", label if known else "", "", None, core.device_per_s)]
        for name, label, device, queue, per_s in named:
            what = f"{name} interrupts {role}"
            # a PCI address is no NIC
            nic = "" if ":" in device else device
            yield Finding(f"irq {label} {where}", DEVICE, WARN, where, what, per_s, "interrupts", cpu, label, nic, queue)
    if core.ipi_per_s >= DISTURBED_PER_S:
        what = f"other cores interrupt {role} (inter-processor interrupts)"
        yield Finding(f"ipi {where}", IPI, WARN, where, what, core.ipi_per_s, "interrupts", cpu)
    if core.timer_per_s > TICKING_PER_S:
        level = WARN if nohz_full else INFO
        why = (
            "nohz_full should stop it: more than one task runs there, or a timer"
            if nohz_full
            else "nohz_full stops it, at boot"
        )
        yield Finding(
            f"tick {where}", TICK, level, where, f"the tick runs on {role} ({why})", core.timer_per_s, "ticks", cpu, "LOC"
        )


def interrupting(irqs: Iterable[IrqSample], cpus: Iterable[int]) -> Mapping[int, list[tuple[IrqSample, float]]]:
    """CPU -> the device interrupts that came to it in the sample, with their rates there, the busiest first.

    Args:
        irqs: of a sample.
        cpus: the CPUs to look for.
    """
    found: dict[int, list[tuple[IrqSample, float]]] = {cpu: [] for cpu in cpus}
    for irq in irqs:
        if irq.per_cpu_per_s and irq.irq.isdigit():
            for cpu, per_s in irq.per_cpu_per_s:
                if cpu in found:
                    found[cpu].append((irq, per_s))
    for rows in found.values():
        rows.sort(key=lambda row: -row[1])
    return found


def weight(core: CoreSample) -> float:
    """How much a core deserves to be looked at first: faults of reserved cores before the work of others."""
    if core.backlog_drops_per_s > 0:
        return 3e9 + core.backlog_drops_per_s
    if core.role in RESERVED:
        disturbed = core.interruptions_per_s - core.timer_per_s
        return 2e9 + disturbed if disturbed >= DISTURBED_PER_S else 1.0
    return core.interruptions_per_s


# ---- the way of a packet


def of_loss(row: LossSample, nic: NicSample | None = None) -> Finding | None:
    """What a row of the ledger tells of now; None where it tells of nothing that anybody must be told.

    Args:
        row: of a sample's ledger.
        nic: the interface that it is of, for its queues and its ring.
    """
    if row.per_s <= 0 or not row.visible:
        return None
    key = f"{row.stage} {row.where} {row.name}"
    named = f"{row.name} (stage {row.stage}, {row.counter})"
    of_nic = row.where if nic is not None else ""
    if row.stage == _PAUSE and row.kind == WARNING:
        what = f"{named}: it has to hold back, or drops for everybody"
        return Finding(key, PRESSURE, WARN, row.where, what, row.per_s, "frames", nic=of_nic, counter=row.counter)
    level = _LEVELS.get(row.stage)
    if level is None or row.kind != LOSS:
        return None
    where, queue = row.where, None
    if nic is not None and row.stage in _OF_RING:
        losing = [each.queue for each in nic.queues if each.drops_per_s]
        queue = losing[0] if len(losing) == 1 else None
        named += f", queue{'s' if len(losing) > 1 else ''} {', '.join(map(str, losing[:8]))}" if losing else ""
        named += f", its ring {nic.rx_ring:,} of {nic.rx_ring_max:,}" if nic.rx_ring and nic.rx_ring_max else ""
    if row.stage in _SOCKETS and row.where == "host":
        where = "sockets"
    return Finding(key, LOST, level, where, named, row.per_s, "packets", None, "", of_nic, queue, row.counter)


def of_link(nic: NicSample) -> Finding | None:
    """Whether an interface that is up has no link."""
    if nic.carrier or not nic.up or not nic.physical:
        return None
    return Finding(f"link {nic.name}", LINK, CRIT, nic.name, "the link is down", nic=nic.name)
