"""Behaviour: watches cores that are to be left alone, for some seconds, from the others. For ``verify --observe``.

It reads /proc/interrupts, /proc/softirqs, /proc/schedstat, the idle states and /proc/TID from housekeeping cores: nothing that
interrupts, traces, or runs on a core that is observed.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ingest.collector import pin_to_housekeeping
from ingest.counters import interrupts, schedstat, softirqs
from ingest.roles import isolated_cpus
from tuner.behaviour import CoreBehaviour, Interrupted, Observed, Placed, judge
from tuner.host.cpulist import CpuListError, CpuSet, format_list, parse_list
from tuner.host.host import Host, Inventory
from tuner.host.running import RunningThreads
from tuner.host.text import printable
from tuner.host.topology import CPU_ROOT
from tuner.plan import Change
from ui.cli.table import table

_LOOK_S = 0.2  # between two looks at the threads
_SHARE = 10  # of the time that may go into looking at them: one part in so many
_WRAP = 1 << 32
_ISOLATION = ("isolation.partition", "isolation.cpuset_v1")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What was seen in ``seconds``."""

    seconds: float
    cores: tuple[CoreBehaviour, ...]

    def to_json(self) -> dict[str, Any]:
        """The part ``observed`` of ``verify --json``."""
        return {"seconds": round(self.seconds, 3), "cores": [core.to_json() for core in self.cores]}


class Unobservable(LookupError):
    """There is nothing to observe, or no way to."""


def cores_to_observe(inventory: Inventory, changes: Iterable[Change], named: str | None) -> tuple[CpuSet, CpuSet]:
    """(cores to observe, cores that are isolated): those that were named, else those that the profile or the host isolates.

    Raises:
        Unobservable: none is, or a named one is not online.
    """
    online = inventory.topology.online
    isolated = isolated_cpus(inventory.host.files, inventory.topology)
    for change in changes:
        if change.knob in _ISOLATION:
            isolated |= parse_list(str(change.wanted).split()[-1]) & online
    if named is None:
        if not isolated:
            raise Unobservable("no core of this host is isolated: name those to observe with --cpus")
        return isolated, isolated
    try:
        cores = parse_list(named)
    except CpuListError as error:
        raise Unobservable(f"--cpus {printable(named, 60)}: {error}") from error
    if not cores or cores - online:
        missing = format_list(cores - online) or printable(named, 60)
        raise Unobservable(f"--cpus: CPU {missing} is not online here")
    return cores, isolated | cores


def placed_interrupts(inventory: Inventory, changes: Iterable[Change]) -> dict[str, CpuSet]:
    """Interrupt number as text -> where the profile wants it."""
    placed = {}
    for change in changes:
        if change.knob == "irq.affinity" and (irq := inventory.irq(change.identity)) is not None:
            placed[str(irq.number)] = parse_list(str(change.wanted))
    return placed


def observe(
    inventory: Inventory,
    cores: CpuSet,
    placed: Placed,
    seconds: float,
    stopped: threading.Event,
    advance: Callable[[float], None] | None = None,
) -> Behaviour:
    """Watches ``cores`` for ``seconds``, or until ``stopped``.

    Args:
        inventory: the host.
        cores: those that are to be left alone.
        placed: what belongs there.
        seconds: how long.
        stopped: set by who wants the end earlier; what was seen by then is the result.
        advance: lets a simulated host live for some seconds; None: time passes by itself.

    Raises:
        Unobservable: a tree of files, in which nothing happens.
    """
    host = inventory.host
    if not host.files.real and not host.simulated:
        raise Unobservable("files do not behave: observe a live host, or a simulated one")
    where = os.sched_getaffinity(0)
    if host.files.real:
        pin_to_housekeeping(inventory.topology, dict.fromkeys(cores, "isolated"))
    try:
        return _watch(inventory, cores, placed, seconds, stopped, advance)
    finally:
        if host.files.real:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, where)


def _watch(
    inventory: Inventory,
    cores: CpuSet,
    placed: Placed,
    seconds: float,
    stopped: threading.Event,
    advance: Callable[[float], None] | None,
) -> Behaviour:
    host = inventory.host
    # the tree has threads.json, which says where they may run and not when they do
    threads = RunningThreads(host.files, cores) if host.files.real else None
    if threads is not None:
        threads.look()
    before, start = _Look.at(host, cores), time.monotonic()
    if advance is not None:
        advance(seconds)
        passed = seconds
    else:
        _wait(threads, seconds, stopped)
        passed = time.monotonic() - start
    after = _Look.at(host, cores)
    if threads is not None:
        threads.look()
    managed = {str(irq.number): irq.managed for irq in inventory.irqs}
    observed = Observed(
        seconds=passed,
        interrupts=tuple(_moved(before.interrupts, after.interrupts, cores, managed)),
        softirqs=_softirqs(before.softirqs, after.softirqs, cores),
        threads=threads.found() if threads is not None else None,
        switches=_switches(before.switches, after.switches, cores),
        too_deep=tuple((cpu, name, times - before.idle.get((cpu, name), times)) for (cpu, name), times in after.idle.items()),
        gone=cores - frozenset(after.interrupts.cpus),
    )
    return Behaviour(passed, judge(cores, observed, placed))


def _wait(threads: RunningThreads | None, seconds: float, stopped: threading.Event) -> None:
    end = time.monotonic() + seconds
    pause_s = _LOOK_S
    while (left := end - time.monotonic()) > 0 and not stopped.wait(min(left, pause_s)):
        if threads is not None and time.monotonic() < end:
            spent = time.thread_time()
            threads.look()
            pause_s = max(_LOOK_S, _SHARE * (time.thread_time() - spent))


@dataclass(frozen=True, slots=True)
class _Look:
    """All counts at one moment."""

    interrupts: interrupts.Table
    softirqs: softirqs.Softirqs
    switches: Mapping[int, int]
    idle: Mapping[tuple[int, str], int]

    @classmethod
    def at(cls, host: Host, cores: CpuSet) -> "_Look":
        """One look; what the host does not have is empty."""
        return cls(
            interrupts.parse(_raw(host, "/proc/interrupts")),
            softirqs.parse(_raw(host, "/proc/softirqs")),
            schedstat.parse(_raw(host, "/proc/schedstat")),
            _too_deep(host, cores),
        )


def _raw(host: Host, name: str) -> bytes:
    try:
        return host.files.read(name)
    except OSError:
        return b""


def _moved(
    before: interrupts.Table, after: interrupts.Table, cores: CpuSet, managed: Mapping[str, bool]
) -> Iterable[Interrupted]:
    for label, row in after.rows.items():
        old = before.rows.get(label)
        if old is None:  # requested meanwhile: what it counts began then
            was: dict[int, int] = {}
        else:
            was = dict(zip(before.cpus, old.counts, strict=True))
        counts = {
            cpu: (count - was.get(cpu, 0 if old is None else count)) % _WRAP
            for cpu, count in zip(after.cpus, row.counts, strict=True)
            if cpu in cores
        }
        if any(counts.values()):
            kind = row.kind if row.kind in ("device", "timer", "ipi") else "other"
            name = printable(row.text.split("  ")[-1].strip() if kind == "device" else row.text, 60)
            yield Interrupted(label, kind, name, counts, managed.get(label, False))  # type: ignore[arg-type]


def _softirqs(before: softirqs.Softirqs, after: softirqs.Softirqs, cores: CpuSet) -> dict[str, dict[int, int]]:
    found = {}
    for vector, counts in after.rows.items():
        was = dict(zip(before.cpus, before.rows.get(vector, counts), strict=False))
        pairs = zip(after.cpus, counts, strict=True)
        found[vector] = {cpu: (count - was.get(cpu, count)) % _WRAP for cpu, count in pairs if cpu in cores}
    return found


def _switches(before: Mapping[int, int], after: Mapping[int, int], cores: CpuSet) -> dict[int, int] | None:
    if not after:
        return None
    return {cpu: after[cpu] - before[cpu] for cpu in cores if cpu in before and cpu in after}


def _too_deep(host: Host, cores: CpuSet) -> dict[tuple[int, str], int]:
    """(CPU, state) -> times entered, of states that wake up slower than PM QoS allows (n/a: 0 us; 0: no limit)."""
    files, found = host.files, {}
    for cpu in sorted(cores):
        base = f"{CPU_ROOT}/cpu{cpu}"
        text = files.optional(f"{base}/power/pm_qos_resume_latency_us")
        limit = 0 if text == "n/a" else int(text) if text and text.isdigit() and text != "0" else None
        if limit is None:
            continue
        for state in files.entries(f"{base}/cpuidle"):
            latency, usage = (files.number(f"{base}/cpuidle/{state}/{leaf}") for leaf in ("latency", "usage"))
            if latency is not None and usage is not None and latency > limit:
                name = printable(files.optional(f"{base}/cpuidle/{state}/name") or state, 20)
                found[cpu, f"{name} ({latency} us, allowed {limit} us)"] = usage
    return found


def behaviour_text(behaviour: Behaviour) -> str:
    """For people: every offender by name; what belongs there is counted."""
    lines = [f"observed for {behaviour.seconds:.1f} s:"]
    rows = [
        (str(core.cpu), found.kind, found.name, str(found.count), f"{found.per_s:.1f}", found.note)
        for core in behaviour.cores
        for found in core.offenders
    ]
    if rows:
        lines.append(table(("cpu", "kind", "what", "count", "/s", ""), rows, "rllrrl"))
    if quiet := frozenset(core.cpu for core in behaviour.cores if not core.offenders):
        lines.append(f"CPU {format_list(quiet)}: nothing that does not belong there")
    ticks = {f.per_s for core in behaviour.cores for f in core.expected if f.kind == "timer"}
    if ticks and max(ticks) > 2:
        lines.append(f"the local timer ran, up to {max(ticks):.0f} a second: only nohz_full= at boot stops the tick")
    unseen = sorted({what for core in behaviour.cores for what in core.unseen})
    lines += [f"not to be seen: {what}" for what in unseen]
    return "\n".join(printable(line, 4000) if "\n" not in line else line for line in lines)
