"""What a core did that is to be left alone, judged from counts: who interrupted it, what ran there, and what belongs.

Pure: counts come in as plain mappings, from whoever reads them. What a count cannot tell (who sent an interrupt to another CPU,
which thread ran between two looks) is said, not guessed.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tuner.host.cpulist import CpuSet, format_list
from tuner.host.running import Ran

Kind = Literal["irq", "ipi", "timer", "softirq", "task", "idle-state", "other"]

HZ_MAX = 1000  # CONFIG_HZ of every distribution's kernel is at most that
_BY_TICK = frozenset({"TIMER", "SCHED", "RCU", "HRTIMER"})
_BY_DEVICE = frozenset({"NET_RX", "NET_TX", "BLOCK", "IRQ_POLL", "TASKLET", "HI"})

_NOTES = {
    "RES": "something was woken for this core; by whom cannot be read. A wake-up of what runs here counts, too",
    "CAL": "another CPU had this one call a function (static keys, membarrier, perf, reading an MSR); which cannot be read",
    "TLB": "another CPU changed the memory of a process that runs here",
    "IWI": "work that the kernel put off to an interrupt (printk, perf, BPF)",
    "NMI": "a watchdog or perf: kernel.nmi_watchdog = 0, isolation.watchdog",
    "PMI": "a performance counter ran over: kernel.nmi_watchdog = 0, or somebody profiles",
    "MCP": "the poll for corrected errors: noise.mce_check_interval_s = 0",
    "THR": "a corrected error was reported: noise.ignore_corrected_errors",
    "NET_RX": "no interrupt of its own brought packets here: RPS, loopback, or a thread that sends here",
    "SCHED": "load is balanced from this core",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that happened on a core. ``note`` says what may be behind it, or why it is to be expected."""

    kind: Kind
    name: str
    count: int
    per_s: float
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the command prints it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "count": self.count,
            "per_s": round(self.per_s, 3),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class CoreBehaviour:
    """One core: what has no business there, what belongs there, and what could not be seen."""

    cpu: int
    offenders: tuple[Finding, ...]
    expected: tuple[Finding, ...]
    unseen: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the command prints it."""
        return {
            "cpu": self.cpu,
            "offenders": [finding.to_json() for finding in self.offenders],
            "expected": [finding.to_json() for finding in self.expected],
            "unseen": list(self.unseen),
        }


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A row of /proc/interrupts that moved: its label, what kind of row it is, and its name for people."""

    label: str
    kind: Literal["device", "timer", "ipi", "other"]
    name: str
    counts: Mapping[int, int]  # CPU -> how many
    managed: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What was counted in ``seconds``.

    Attributes:
        interrupts: rows that moved.
        softirqs: vector -> CPU -> how many.
        threads: who ran; None where that could not be seen.
        switches: CPU -> times that any thread was put there; None on kernels without CONFIG_SCHEDSTATS.
        too_deep: (CPU, idle state with its latency, times) of states that wake up slower than the CPU's PM QoS allows.
        gone: CPUs that went offline meanwhile.
    """

    seconds: float
    interrupts: tuple[Interrupted, ...] = ()
    softirqs: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    threads: tuple[Ran, ...] | None = ()
    switches: Mapping[int, int] | None = None
    too_deep: tuple[tuple[int, str, int], ...] = ()
    gone: CpuSet = frozenset()


@dataclass(frozen=True, slots=True)
class Placed:
    """What belongs on the cores: interrupts by their label, threads by where they are bound; where the tick is switched off."""

    isolated: CpuSet
    interrupts: Mapping[str, CpuSet] = field(default_factory=dict)
    nohz_full: CpuSet = frozenset()


def judge(cores: CpuSet, observed: Observed, placed: Placed) -> tuple[CoreBehaviour, ...]:
    """One verdict for each core, ascending."""
    return tuple(_core(cpu, observed, placed) for cpu in sorted(cores))


def _core(cpu: int, observed: Observed, placed: Placed) -> CoreBehaviour:
    offenders: list[Finding] = []
    expected: list[Finding] = []
    found = [*_interrupts(cpu, observed, placed)]
    found += [*_softirqs(cpu, observed, placed, found), *_threads(cpu, observed, placed), *_idle(cpu, observed)]
    for foreign, finding in found:
        (offenders if foreign else expected).append(finding)
    unseen = []
    if cpu in observed.gone:
        unseen.append("it went offline meanwhile")
    if observed.threads is None:
        unseen.append("which threads ran: this host's files do not say")
    elif observed.switches is None:
        unseen.append("threads that came and went between two looks: this kernel has no /proc/schedstat to count them")
    order = sorted(offenders, key=lambda finding: -finding.count)
    return CoreBehaviour(cpu, tuple(order), tuple(expected), tuple(unseen))


def _interrupts(cpu: int, observed: Observed, placed: Placed) -> Iterator[tuple[bool, Finding]]:
    for row in observed.interrupts:
        count = row.counts.get(cpu, 0)
        if not count:
            continue
        per_s = count / observed.seconds
        if row.kind == "timer":
            yield _tick(cpu, count, per_s, observed.seconds, placed)
        elif row.kind == "device":
            own = cpu in placed.interrupts.get(row.label, frozenset())
            note = "placed here by the profile" if own else ""
            if row.managed and not own:
                note = "placed by the kernel itself: isolcpus=managed_irq,… at boot, or fewer queues"
            yield not own, Finding("irq", f"{row.label} {row.name}".strip(), count, per_s, note)
        else:
            kind: Kind = "ipi" if row.kind == "ipi" else "other"
            yield True, Finding(kind, f"{row.label} {row.name}".strip(), count, per_s, _NOTES.get(row.label, ""))


def _tick(cpu: int, count: int, per_s: float, seconds: float, placed: Placed) -> tuple[bool, Finding]:
    """The local timer: with nohz_full at most about one a second, else the tick is the kernel's own and to be expected."""
    foreign, note = False, "the tick, up to HZ a second: only nohz_full= at boot stops it"
    if cpu in placed.nohz_full:
        foreign = count > math.ceil(seconds) + 1
        note = "at most about one a second: the tick is stopped"
        if foreign:
            note = "the tick goes on in spite of nohz_full: two threads share the core, or a POSIX CPU timer or perf runs"
    elif per_s > 1.05 * HZ_MAX:
        foreign, note = True, "more than any tick: high-resolution timers of a thread that sleeps here"
    return foreign, Finding("timer", "LOC local timer", count, per_s, note)


def _softirqs(
    cpu: int, observed: Observed, placed: Placed, found: Iterable[tuple[bool, Finding]]
) -> Iterator[tuple[bool, Finding]]:
    device = [foreign for foreign, finding in found if finding.kind == "irq"]
    own = not all(device)
    for vector, counts in observed.softirqs.items():
        count = counts.get(cpu, 0)
        if not count:
            continue
        note, foreign = _NOTES.get(vector, "work of the interrupts that should not be here" if device else ""), True
        if vector in _BY_DEVICE and own:
            foreign, note = False, "work of the interrupts that are placed here"
        elif vector in _BY_TICK and cpu not in placed.nohz_full:
            foreign, note = False, "follows from the tick"
        elif vector in _BY_TICK and count <= math.ceil(observed.seconds) + 1:
            foreign, note = False, "at most about one a second"
        yield foreign, Finding("softirq", vector, count, count / observed.seconds, note)


def _threads(cpu: int, observed: Observed, placed: Placed) -> Iterator[tuple[bool, Finding]]:
    seen = 0
    for thread in observed.threads or ():
        if thread.cpu != cpu:
            continue
        seen += thread.times
        name = f"{thread.name} ({'kernel thread' if thread.kernel else 'process'} {thread.pid}"
        name += ")" if thread.tid == thread.pid else f", thread {thread.tid})"
        own = thread.movable and bool(thread.allowed) and thread.allowed <= placed.isolated
        note = "bound to isolated cores alone: put here" if own else f"may run on CPU {format_list(thread.allowed)}"
        if not thread.movable and len(thread.allowed) == 1:
            note = "belongs to this CPU: work that was queued to it by name"
        elif not thread.movable:
            note += ": unbound work, isolation.workqueues says where"
        yield not own, Finding("task", name, thread.times, thread.times / observed.seconds, note)
    total = (observed.switches or {}).get(cpu)
    if total is not None and total > seen:
        count = total - seen
        note = "threads that came and went between two looks: reading cannot name them"
        yield True, Finding("task", "unnamed", count, count / observed.seconds, note)


def _idle(cpu: int, observed: Observed) -> Iterator[tuple[bool, Finding]]:
    for where, state, count in observed.too_deep:
        if where == cpu:
            note = "the core slept deeper than its PM QoS latency allows"
            yield True, Finding("idle-state", state, count, count / observed.seconds, note)


def offended(cores: Iterable[CoreBehaviour]) -> bool:
    """Whether anything had no business on any of the cores."""
    return any(core.offenders for core in cores)
