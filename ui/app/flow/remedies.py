"""From what is red to the plan that ends it: settings of the profile language, and the line of the plan to select.

A remedy stands on top of whatever profile holds the host (``quietcore plan observe --on-top``), so that it leaves the rest of
that in force, and changes one setting alone. It is asked for each row that is drawn: so it looks into the sample and nowhere
else, by indexes that are made once a sample.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from ingest.judgement import RESERVED, TICKING_PER_S
from ingest.sample import CoreSample, Event, IrqSample, LossSample, NicSample, Sample
from tuner.host.cpulist import CpuListError, format_list, parse_list
from tuner.host.text import is_number
from ui.app.state.model import Pointed

_SERVES = frozenset({"rx", "tx"})
_DEEP = 4096  # descriptors: more no longer fits the share of the last-level cache into which a NIC writes
_PART = "port"  # what a remedy calls the NIC that it is about


@dataclass(frozen=True, slots=True)
class Remedy:
    """``sets`` are ``--set`` arguments and ``binds`` ``--bind`` ones, over ``profile`` (empty: on top of what is applied).

    ``knob`` and ``target`` name the line of the plan, which is the only one to be changed where it stands ``alone``.
    ``more`` are settings to try one after the other where the host has the former already; ``because`` is the red thing.
    """

    title: str  # short, for a column: "move to 0-7"
    sets: tuple[str, ...]
    knob: str
    target: str
    profile: str = ""
    because: str = ""
    binds: tuple[str, ...] = ()
    alone: bool = True
    more: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What follows ``quietcore plan``."""
        words = [self.profile] if self.profile else ["observe", "--on-top"]
        words += [word for bind in self.binds for word in ("--bind", bind)]
        words += [word for each in self.sets for word in ("--set", each)]
        words += ["--only", f"{self.knob}@{self.target}"] if self.alone else []
        return tuple(words)

    def stronger(self) -> "Remedy | None":
        """The next step, where this one is in force already."""
        return replace(self, sets=self.more[:1], more=self.more[1:]) if self.more else None


def remedy(sample: Sample, pointed: Pointed) -> Remedy | None:
    """What would end it; None where nothing is wrong or nothing that a profile sets would help."""
    found = _find(sample, pointed)
    return found if isinstance(found, Remedy) else None


def why_none(sample: Sample, pointed: Pointed) -> str:
    """Why there is no remedy; empty where there is one."""
    found = _find(sample, pointed)
    return found if isinstance(found, str) else ""


def _find(sample: Sample, pointed: Pointed) -> Remedy | str:
    way = _WAYS.get(pointed.kind)
    if way is None:
        return "nothing here has a remedy that a profile could set"
    found = way(_index(sample), pointed)
    if isinstance(found, Remedy) and not found.because:
        return replace(found, because=pointed.words)
    return found


# ---- a sample by its keys


@dataclass
class _Index:
    """A sample by its keys; each part is made when it is first asked for."""

    sample: Sample
    kept: dict[str, object] = field(default_factory=dict)

    @cached_property
    def cores(self) -> Mapping[int, CoreSample]:
        return {core.cpu: core for core in self.sample.cores}

    @cached_property
    def irqs(self) -> Mapping[str, IrqSample]:
        return {irq.irq: irq for irq in self.sample.irqs}

    @cached_property
    def nics(self) -> Mapping[str, NicSample]:
        return {nic.name: nic for nic in self.sample.nics}

    @cached_property
    def losses(self) -> Mapping[str, LossSample]:
        return {f"{row.stage}/{row.where}/{row.counter}": row for row in self.sample.losses}

    @cached_property
    def drift(self) -> Mapping[tuple[str, str], Mapping[str, object]]:
        return {(str(row.get("knob")), str(row.get("target"))): row for row in self.sample.drift}

    @cached_property
    def reserved(self) -> frozenset[int]:
        return frozenset(core.cpu for core in self.sample.cores if core.role in RESERVED)

    @cached_property
    def rx(self) -> tuple[int, ...]:
        return tuple(sorted(core.cpu for core in self.sample.cores if core.role == "rx"))

    @cached_property
    def housekeeping(self) -> str:
        """Where everything may be sent that has no place of its own, as a CPU list."""
        cores = self.sample.cores
        named = [core.cpu for core in cores if core.role == "housekeeping"]
        return format_list(named or [c.cpu for c in cores if c.role not in RESERVED | _SERVES])

    @cached_property
    def busiest(self) -> Mapping[int, IrqSample]:
        """Reserved CPU -> the device interrupt that comes to it most."""
        rates: dict[int, tuple[float, IrqSample]] = {}
        for irq in self.sample.irqs:
            if irq.per_cpu_per_s and is_number(irq.irq):
                for cpu, per_s in irq.per_cpu_per_s:
                    if cpu in self.reserved and per_s > rates.get(cpu, (0.0, irq))[0]:
                        rates[cpu] = per_s, irq
        return {cpu: irq for cpu, (_, irq) in rates.items()}


_newest: list[_Index] = []


def _index(sample: Sample) -> _Index:
    if not _newest or _newest[0].sample is not sample:
        _newest[:] = [_Index(sample)]
    return _newest[0]


# ---- what each kind of thing needs


def _core(index: _Index, pointed: Pointed) -> Remedy | str:
    core = index.cores.get(int(pointed.key)) if is_number(pointed.key) else None
    if core is None:
        return "that core is not in the sample"
    if core.backlog_drops_per_s > 0:
        return _BACKLOG
    if core.cpu in index.reserved:
        if core.device_per_s > 0 and core.cpu in index.busiest:
            return _of_irq(index, index.busiest[core.cpu])
        if core.ipi_per_s >= 1.0:
            return "inter-processor interrupts are sent by other cores: no setting ends them, and who sends is not counted"
        if core.timer_per_s > TICKING_PER_S:
            return _tick(index)
    if core.squeezes_per_s > 0:
        return _BUDGET
    return f"nothing is wrong on core {core.cpu}"


def _irq(index: _Index, pointed: Pointed) -> Remedy | str:
    irq = index.irqs.get(pointed.key)
    if irq is None:
        return "that interrupt is not in the sample"
    if is_number(irq.irq):
        return _of_irq(index, irq)
    if irq.irq == "LOC" and any(cpu in index.reserved for cpu, per_s in irq.per_cpu_per_s if per_s > TICKING_PER_S):
        return _tick(index)
    return f"{irq.irq} comes from the cores themselves: it has no affinity to set"


def _of_irq(index: _Index, irq: IrqSample) -> Remedy | str:
    target = f"{irq.device or f'irq{irq.irq}'}/{irq.name}"
    moved = index.drift.get(("irq.affinity", target)) or index.drift.get(
        ("irq.queue_affinity", f"{irq.device}/queue {irq.queue}")
    )
    if moved is not None:
        return _again(moved)
    if not index.reserved:
        return "no core of this host is reserved: no interrupt is out of place"
    if not index.reserved & _cpus(irq):
        return f"interrupt {irq.irq} stays off the reserved cores"
    if irq.managed:
        return _managed(index, irq)
    place = index.housekeeping
    if irq.receives and irq.queue is not None and index.rx:
        place = str(index.rx[irq.queue % len(index.rx)])
    if not place:
        return "every core here is reserved: there is none to move it to"
    because = f"IRQ {irq.irq} {irq.name} interrupts a core that is to be left alone"
    return Remedy(f"move to {place}", (f'irq.default="{place}"',), "irq.affinity", target, because=because)


def _cpus(irq: IrqSample) -> frozenset[int]:
    """Where it comes, and where it may."""
    came = frozenset(cpu for cpu, per_s in irq.per_cpu_per_s if per_s > 0)
    try:
        return came | parse_list(irq.effective or "") | parse_list(irq.requested or "")
    except CpuListError:
        return came


def _managed(index: _Index, irq: IrqSample) -> Remedy:
    """The kernel spreads these itself, and leaves out at boot the CPUs that it is told to (isolcpus=managed_irq, 5.6)."""
    cpus = format_list(index.reserved)
    because = f"the kernel places IRQ {irq.irq} {irq.name} itself, also on cores that are to be left alone"
    return Remedy("managed_irq, boot", (f'boot.isolcpus="managed_irq,{cpus}"',), "boot.words", "next boot", because=because)


def _tick(index: _Index) -> Remedy:
    cpus = format_list(index.reserved)
    return Remedy("nohz_full, boot", (f'boot.nohz_full="{cpus}"',), "boot.words", "next boot")


def _nic(index: _Index, pointed: Pointed) -> Remedy | str:
    nic = index.nics.get(pointed.key)
    if nic is None:
        return "that interface is not in the sample"
    if nic.drops_per_s > 0:
        return _ring(nic)
    for row in index.sample.losses:
        if row.where == nic.name and row.per_s > 0 and row.stage in _OF_RING:
            return _ring(nic)
    return f"{nic.name} loses nothing now"


def _queue(index: _Index, pointed: Pointed) -> Remedy | str:
    name, _, number = pointed.key.rpartition("/")
    nic = index.nics.get(name)
    queue = next((each for each in nic.queues if str(each.queue) == number), None) if nic is not None else None
    if nic is None or queue is None:
        return "that queue is not in the sample"
    if queue.drops_per_s:
        return _ring(nic)
    irq = index.irqs.get(str(queue.irq)) if queue.irq is not None else None
    if irq is not None and (index.reserved & _cpus(irq) or index.drift):
        return _of_irq(index, irq)
    return f"queue {queue.queue} of {nic.name} loses nothing now, and interrupts where it may"


def _ring(nic: NicSample) -> Remedy | str:
    moved = f"{nic.name} loses packets for want of receive descriptors"
    if nic.rx_ring is None or not nic.rx_ring_max:
        return f"the driver of {nic.name} ({nic.driver or 'none'}) has no ring of variable size"
    if nic.rx_ring >= nic.rx_ring_max:
        return f"the ring of {nic.name} is as deep as it can be ({nic.rx_ring}): spread its queues over more cores"
    size = "max" if nic.rx_ring >= _DEEP else f"max:{_DEEP}"
    depth = nic.rx_ring_max if size == "max" else min(_DEEP, nic.rx_ring_max)
    words = (f'nic.{_PART}.rings.rx="{size}"',)
    return Remedy(f"ring rx {depth}", words, "nic.rings.rx", nic.name, because=moved, binds=(f"{_PART}={nic.name}",))


def _loss(index: _Index, pointed: Pointed) -> Remedy | str:
    row = pointed.record if isinstance(pointed.record, LossSample) else index.losses.get(pointed.key)
    return _of_loss(index, row) if row is not None else "that place of loss is not in the sample"


def _of_loss(index: _Index, row: LossSample) -> Remedy | str:
    if not row.visible:
        return f"not visible here: {row.note}" if row.note else "not visible here"
    if not (row.per_s or row.total):
        return "nothing was lost there"
    if row.stage in _OF_RING:
        nic = index.nics.get(row.where)
        return _ring(nic) if nic is not None else f"{row.where} is not in the sample"
    found = _BY_COUNTER.get(row.counter) or _BY_STAGE.get(row.stage)
    return found if found is not None else f"{row.name}: no setting of this host ends that"


def _feed(index: _Index, pointed: Pointed) -> Remedy | str:
    """The first place on the way that loses now, or lost, of those that a feed's interface can be blamed for."""
    names = [name for name, nic in index.nics.items() if name and nic.physical and name in pointed.key]
    why = "no place of loss moves with it: see the verdict"
    for moving in (True, False):
        for row in index.sample.losses:
            if row.kind != "loss" or not row.visible or not (row.per_s if moving else row.total):
                continue
            if row.stage in (*_OF_RING, 11, 18) and (row.where in names or row.where not in index.nics):
                found = _of_loss(index, row)
                if isinstance(found, Remedy):
                    return replace(found, because=f"{pointed.words or pointed.key}: {row.name} on {row.where}")
                why = found
    return why


def _event(index: _Index, pointed: Pointed) -> Remedy | str:
    event = pointed.record
    if not isinstance(event, Event):
        return "that event has no remedy"
    if event.ended:
        return "that is over"
    found = _of_event(index, event)
    return replace(found, because=f"{event.where}: {event.what}") if isinstance(found, Remedy) else found


def _of_event(index: _Index, event: Event) -> Remedy | str:
    knob = event.what.partition(" ")[0]
    if (moved := index.drift.get((knob, event.where))) is not None:
        return _again(moved)

    def at(kind: str, key: object) -> Pointed:
        return Pointed(kind, str(key), event.what)

    irq, cpu, nic = event.irq, event.cpu, event.nic
    counter, feed = event.counter, event.feed
    if counter in _BY_COUNTER:
        return _BY_COUNTER[counter]
    if irq:
        return _irq(index, at("irq", irq))
    if counter:
        row = next((r for r in index.sample.losses if r.counter == counter and r.where in (nic, event.where, "host")), None)
        if row is not None:
            return _of_loss(index, row)
    if feed:
        return _feed(index, at("feed", f"{feed} {nic}"))
    if cpu is not None:
        return _core(index, at("core", cpu))
    if nic or event.where in index.nics:
        return _nic(index, at("nic", nic or event.where))
    return "that event has no remedy that a profile could set"


def _change(index: _Index, pointed: Pointed) -> Remedy | str:
    knob, _, target = pointed.key.partition("/")
    moved = index.drift.get((knob, target))
    return _again(moved) if moved is not None else "that is the plan itself: a applies what is picked"


def _again(moved: Mapping[str, object]) -> Remedy:
    """What is applied once more: all that moved, with this line selected."""
    knob, target = str(moved.get("knob")), str(moved.get("target"))
    because = f"{knob} of {target} moved since it was applied; perhaps {moved.get('suspect') or 'by hand'}"
    return Remedy(f"back to {moved.get('wanted')}", (), knob, target, because=because, alone=False)


def _sysctl(title: str, key: str, *steps: int, because: str = "") -> Remedy:
    first, *more = (f'sysctl."{key}"="at-least:{step}"' for step in steps)
    return Remedy(title, (first,), f"sysctl.{key}", "host", because=because, more=tuple(more))


_BACKLOG = _sysctl("backlog 10000", "net.core.netdev_max_backlog", 10_000, 50_000, 250_000)
_BUDGET = _sysctl("budget 600", "net.core.netdev_budget", 600, 1200)
_BUFFER = _sysctl("rmem_max 64M", "net.core.rmem_max", 1 << 26, 1 << 28)
_OF_RING = (3, 5, 7)  # stages that end with more descriptors: the switch told to wait, the NIC's buffer, no descriptor
_BY_COUNTER: Mapping[str, Remedy | str] = {
    "softnet dropped": _BACKLOG,
    "softnet time_squeeze": _BUDGET,
    "TcpExt.IPReversePathFilter": Remedy(
        "rp_filter loose", ("sysctl.'net.ipv4.conf.all.rp_filter'=2",), "sysctl.net.ipv4.conf.all.rp_filter", "host"
    ),
    "Udp.InCsumErrors": "wrong checksums come over the wire: no setting of this host ends that",
}
_WIRE = "comes over the wire: a cable, a transceiver, the switch; no setting of this host ends that"
_BY_STAGE: Mapping[int, Remedy | str] = {
    0: "upstream of this host: compare the other line",
    1: _WIRE,
    2: _WIRE,
    4: "nobody here had asked for these packets",
    9: "the hypervisor drops it: ask who runs that",
    10: _BUDGET,
    11: _BACKLOG,
    17: "nobody listens on that port",
    18: _BUFFER,
    19: "net.ipv4.udp_mem is sized by this host's memory: set it in a profile of your own",
    21: "the reader of the packet ring is too slow: quietcore ring --cpu gives it more cores",
    25: "the application has to read faster",
}
_WAYS: Mapping[str, Callable[[_Index, Pointed], Remedy | str]] = {
    "core": _core,
    "irq": _irq,
    "nic": _nic,
    "queue": _queue,
    "loss": _loss,
    "feed": _feed,
    "event": _event,
    "change": _change,
}
