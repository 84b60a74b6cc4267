"""From a profile to wishes: what each table of the language asks of which part of this host."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tuner.cores import CoreSetError, CoreSets
from tuner.host.cpulist import CpuSet, format_list
from tuner.host.faults import Fault
from tuner.host.host import Inventory
from tuner.host.irqs import Irq
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.knobs.knob import Json, Unsupported, Wish
from tuner.knobs.nic import read_rings, wanted_size
from tuner.knobs.partition import CGROUP, has_partitions, torn, wanted_text
from tuner.knobs.sysctl import path_of as sysctl_path
from tuner.profile import Profile, ProfileError, Setting
from tuner.profile_check import AT_LEAST

# Sets that own their CPUs: two of them must not share one.
_EXCLUSIVE = ("housekeeping", "rx", "tx", "app")


@dataclass(slots=True)
class Wanted:
    """What a profile asks of a host, with what should be known before it is done."""

    bindings: dict[str, str]
    wishes: list[Wish] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def wish(self, knob: str, target: str, identity: str, wanted: Json, setting: Setting, **options: Json) -> None:
        """Adds one wish."""
        self.wishes.append(Wish(knob, target, identity, wanted, setting.source, options))


def collect(inventory: Inventory, profile: Profile, bindings: Mapping[str, str]) -> Wanted:
    """All wishes of a profile on this host, in the order of the profile.

    Raises:
        ProfileError: every part of it that makes no sense here.
        CoreSetError: an expression that cannot be evaluated here.
    """
    wanted = Wanted(bindings=bind(inventory, profile, bindings))
    sets = CoreSets(inventory, profile.texts("cores"), wanted.bindings)
    cores = _Cores(sets, profile, wanted)
    cores.check_roles()
    _rings(inventory, profile, wanted)
    _interrupts(inventory, profile, cores, wanted)
    _isolation(inventory, profile, cores, wanted)
    for place, setting in profile.below("sysctl").items():
        key = place[0]
        wanted.wish(f"sysctl.{key}", "host", key, _sysctl_value(inventory, key, setting.value), setting)
    wanted.warnings += sets.warnings
    if wanted.faults:
        raise ProfileError(wanted.faults)
    return wanted


def _sysctl_value(inventory: Inventory, key: str, value: Json) -> Json:
    """The value itself; for ``at-least:N`` what the host has, where that is more."""
    if not isinstance(value, str) or not value.startswith(AT_LEAST):
        return value
    floor = int(value.removeprefix(AT_LEAST))
    now = inventory.host.files.number(sysctl_path(key))
    return floor if now is None else max(floor, now)


def bind(inventory: Inventory, profile: Profile, bindings: Mapping[str, str]) -> dict[str, str]:
    """A NIC for each part that the profile binds: the one given, else the only one that it can mean.

    Raises:
        ProfileError: a NIC that is not here, a part that could be several NICs.
    """
    known = profile.texts("bind")
    candidates = [nic for nic in inventory.nics if nic.physical and nic.name != "lo"]
    described = ", ".join(_describe(nic) for nic in candidates) or "this host has no physical NIC"
    bound: dict[str, str] = {}
    faults = []
    for part in known:
        name = bindings.get(part)
        eligible = [nic.name for nic in candidates if not nic.default_route]
        if name is None and len(eligible) == 1:
            name = eligible[0]
        if name is None:
            hint = f"--bind {part}={candidates[0].name if candidates else 'NIC'}, or [bind] in /etc/quietcore/host.toml"
            faults.append(Fault(f"bind.{part}", f"no NIC is named for it; this host has: {described}", hint))
        elif inventory.nic(name) is None:
            faults.append(Fault(f"bind.{part}", f"no interface '{printable(name)}' here; this host has: {described}"))
        else:
            bound[part] = name
    if faults:
        raise ProfileError(faults)
    return bound


def _describe(nic: Nic) -> str:
    node = f", node {nic.node}" if nic.node >= 0 else ""
    route = ", carries the default route" if nic.default_route else ""
    return f"{printable(nic.name)} ({nic.driver or 'no driver'}{node}{route})"


@dataclass(slots=True)
class _Cores:
    """Core sets of a profile where it uses them, with the rules that keep a host alive."""

    sets: CoreSets
    profile: Profile
    wanted: Wanted

    def of(self, setting: Setting, expression: str | None = None) -> CpuSet:
        """The CPUs that a setting names; none is a fault, for whoever needs cores needs at least one."""
        text = str(setting.value) if expression is None else expression
        cpus = self.sets.evaluate(text)
        if not cpus:
            self.wanted.faults.append(Fault(setting.source, f"'{printable(text, 60)}' is empty on this host"))
        return cpus

    def check_roles(self) -> None:
        """Records what each named set is here, and refuses roles that share CPUs."""
        named = {name: self.sets.named(name) for name in self.sets.names}
        self.wanted.roles = {name: format_list(cpus) for name, cpus in named.items()}
        roles = [name for name in _EXCLUSIVE if name in named]
        for i, one in enumerate(roles):
            for other in roles[i + 1 :]:
                if shared := named[one] & named[other]:
                    source = self.profile.settings["cores", other].source
                    self.wanted.faults.append(Fault(source, f"shares CPU {format_list(shared)} with '{one}'"))


def _rings(inventory: Inventory, profile: Profile, wanted: Wanted) -> None:
    for place, setting in profile.below("nic").items():
        part, _, ring = place
        nic = inventory.nic(wanted.bindings[part])
        if nic is None or isinstance(setting.value, Mapping):
            continue
        try:
            rings = read_rings(inventory, nic)
        except Unsupported:
            maximum = 0
        else:
            maximum = rings.rx_max if ring == "rx" else rings.tx_max
        size = wanted_size(setting.value, maximum)
        if maximum and size > maximum:
            wanted.faults.append(
                Fault(setting.source, f"{nic.name} has at most {maximum}", f'"max:{size}" takes what there is')
            )
        wanted.wish(f"nic.rings.{ring}", nic.name, nic.identity, size if maximum else setting.value, setting)


def _interrupts(inventory: Inventory, profile: Profile, cores: _Cores, wanted: Wanted) -> None:
    placed: set[str] = set()
    for place, setting in profile.below("irq").items():
        if place != ("default",):
            _queue_interrupts(inventory, cores, wanted, wanted.bindings[place[0]], setting, placed)
    default = profile.get("irq", "default")
    if default is None:
        return
    cpus = format_list(cores.of(default))
    wanted.wish("irq.default_affinity", "host", "default", cpus, default)
    for irq in inventory.irqs:
        if irq.identity not in placed:
            wanted.wish("irq.affinity", irq.label, irq.identity, cpus, default)


def _queue_interrupts(
    inventory: Inventory, cores: _Cores, wanted: Wanted, nic: str, setting: Setting, placed: set[str]
) -> None:
    value = setting.value if isinstance(setting.value, Mapping) else {"cores": str(setting.value), "spread": "one-each"}
    cpus = sorted(cores.of(setting, value["cores"]))
    own = [irq for irq in inventory.irqs if irq.device == nic]
    # a NIC with one vector for everything has no queue of its own to name
    queues = sorted([irq for irq in own if irq.queue is not None] or own, key=_queue_order)
    if not queues:
        wanted.warnings.append(f"{printable(nic)}: no queue interrupts are to be seen; {setting.source} has nothing to place")
    for irq in queues:
        if cpus:
            chosen = [cpus[(irq.queue or 0) % len(cpus)]] if value["spread"] == "one-each" else cpus
            wanted.wish("irq.affinity", irq.label, irq.identity, format_list(chosen), setting)
            placed.add(irq.identity)


def _queue_order(irq: Irq) -> tuple[int, int]:
    return irq.queue or 0, irq.number


def _isolation(inventory: Inventory, profile: Profile, cores: _Cores, wanted: Wanted) -> None:
    setting = profile.get("isolation", "cores")
    if setting is None:
        for place, orphan in profile.below("isolation").items():
            wanted.faults.append(Fault(orphan.source, f"'{place[0]}' needs isolation.cores, which is not given"))
        return
    isolated = cores.of(setting)
    _check_isolated(inventory, cores, wanted, isolated, setting)
    if not isolated or wanted.faults:
        return
    wanted.wish("isolation.partition", f"cgroup {CGROUP}", CGROUP, wanted_text(isolated), setting)
    where = format_list(isolated)
    wanted.wish("isolation.user_threads", f"CPU {where}", where, 0, setting)
    kernel = profile.get("isolation", "kernel_threads")
    if kernel is not None:
        wanted.wish("isolation.kernel_threads", f"CPU {where}", where, 0, kernel, to=format_list(cores.of(kernel)))
    workqueues = profile.get("isolation", "workqueues")
    if workqueues is not None:
        wanted.wish("isolation.workqueues", "host", "unbound", format_list(cores.of(workqueues)), workqueues)
    if has_partitions(inventory.host):
        for pid, name in torn(inventory.host.syscalls.threads(), isolated):
            wanted.conflicts.append(
                f"process {pid} ({printable(name)}) has threads pinned to CPU {where} and others elsewhere: the partition "
                "would take its CPUs away; stop it, or unpin it, and start it inside the partition afterwards"
            )


def _check_isolated(inventory: Inventory, cores: _Cores, wanted: Wanted, isolated: CpuSet, setting: Setting) -> None:
    topology = inventory.topology
    if 0 in isolated:
        wanted.faults.append(Fault(setting.source, "would isolate CPU 0, on which the kernel itself depends"))
    if isolated >= topology.online:
        wanted.faults.append(Fault(setting.source, "leaves no CPU for housekeeping"))
    try:
        housekeeping = cores.sets.named("housekeeping") if "housekeeping" in cores.sets.names else frozenset[int]()
    except CoreSetError:
        return
    if shared := isolated & housekeeping:
        wanted.faults.append(Fault(setting.source, f"isolates CPU {format_list(shared)}, which is housekeeping"))
    elif siblings := isolated & topology.siblings(housekeeping):
        wanted.faults.append(
            Fault(
                setting.source,
                f"isolates CPU {format_list(siblings)}, whose core also does housekeeping",
                "add smt(…) to housekeeping, or take the sibling out",
            )
        )
    partial = _busy_siblings(inventory, isolated)
    if partial:
        wanted.warnings.append(
            f"CPU {format_list(partial)} shares a core with an isolated CPU and is not isolated itself: "
            "work on it slows the isolated one"
        )


def _busy_siblings(inventory: Inventory, isolated: Iterable[int]) -> CpuSet:
    isolated = frozenset(isolated)
    return inventory.topology.siblings(isolated) - isolated
