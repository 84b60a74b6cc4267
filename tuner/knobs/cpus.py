"""``[cpus]``: which CPUs there are at all: hyper-threading on or off, and single CPUs taken offline.

Source: Documentation/core-api/cpu_hotplug.rst; kernel/cpu.c (cpuhp_smt_disable, cpu_down_maps_locked); kernel/irq/cpuhotplug.c;
kernel/cgroup/cpuset.c (cpuset_handle_hotplug, hotplug_update_tasks_legacy). What a CPU takes with it when it goes:

* An interrupt that may land only there gets all CPUs, for good; and virtio_net, whenever any CPU comes or goes, deals out all
  of its interrupts anew (virtnet_cpu_online). So all are saved, asked for again where a CPU is left, and put back after.
* A thread that may run only there gets more CPUs; up to 6.1 threads of any cgroup whose CPUs change forget the affinity that
  they had set for themselves. So every thread that was bound is given its CPUs again, after the change and after its undoing.
* A cpuset of cgroup v1 loses the CPU, and does not get it back with the CPU: this is put back, too.

It is done last and undone first: everything else is set, and put back, on a host with all its CPUs.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from tuner.cores import CoreSetError
from tuner.host.cpulist import CpuListError, CpuSet, format_list, parse_list
from tuner.host.files import HostFiles
from tuner.host.host import Host, Inventory
from tuner.host.irqs import IRQ_ROOT
from tuner.host.text import printable
from tuner.host.topology import CPU_ROOT, read_topology
from tuner.knobs.affinities import put_back, saved
from tuner.knobs.cpuset_v1 import ROOT as CPUSET_V1
from tuner.knobs.knob import About, Disruption, Json, Reading, State, Unsupported
from tuner.knobs.partition import bound, cgroup_root
from tuner.knobs.plain import CpuFiles, HostFile, collapsed, expanded
from tuner.language.entry import Entry, Family
from tuner.language.request import Request
from tuner.language.values import Cores, Word
from tuner.profile import Place, Setting

CONTROL = f"{CPU_ROOT}/smt/control"
_NO_SMT = ("notsupported", "notimplemented")


def _interrupts(inventory: Inventory) -> list[tuple[str, str]]:
    """All that somebody may place: a driver that hears of CPUs coming and going deals its own out anew, whatever they are."""
    return [("irq.affinity", irq.identity) for irq in inventory.irqs if irq.requested and not irq.managed]


def _keep_placed(inventory: Inventory, before: Mapping[str, CpuSet]) -> None:
    """Asks again for what an interrupt was asked for before, where one of those CPUs is left."""
    inventory.refresh()
    online = _online(inventory.host.files)
    for irq in inventory.irqs:
        wanted = before.get(irq.identity, frozenset())
        if irq.requested != wanted and wanted & online and not irq.managed:
            with contextlib.suppress(OSError):  # what is not so shows in the setting that placed it
                inventory.host.files.write(f"{IRQ_ROOT}/{irq.number}/smp_affinity_list", format_list(wanted))
    inventory.refresh()


def _requested(inventory: Inventory) -> dict[str, CpuSet]:
    inventory.refresh()  # earlier changes of the same plan placed them
    return {irq.identity: irq.requested for irq in inventory.irqs if irq.requested and not irq.managed}


def _bindings(host: Host) -> dict[str, Json]:
    """What a change of the CPUs may take from threads and v1 cpusets."""
    try:
        root = cgroup_root(host.files)
    except Unsupported:
        root = "/sys/fs/cgroup"
    cpusets = {path: host.files.optional(f"{path}/cpuset.cpus") or "" for path in _cpusets(host.files, CPUSET_V1)}
    return {"affinities": saved(bound(host.files, root, host.syscalls.threads())), "cpusets": cpusets}


def _cpusets(files: HostFiles, base: str) -> Iterator[str]:
    """All v1 cpusets below the root, parents first."""
    for name in files.entries(base):
        if files.exists(f"{base}/{name}/cpuset.cpus"):
            yield f"{base}/{name}"
            yield from _cpusets(files, f"{base}/{name}")


def _give_back(host: Host, undo: Mapping[str, Json]) -> None:
    for path, cpus in undo["cpusets"].items():
        if cpus and host.files.exists(path) and host.files.optional(f"{path}/cpuset.cpus") != cpus:
            host.files.write(f"{path}/cpuset.cpus", cpus)
    put_back(host, undo["affinities"])


def _keep_bound(host: Host, before: Mapping[str, Json], gone: CpuSet) -> None:
    """After CPUs went: who was bound and has a CPU left is bound as before."""
    put_back(host, {cpus: names for cpus, names in before["affinities"].items() if parse_list(cpus) - gone})


class Offline(CpuFiles):
    """1 for each CPU that is online, 0 for one that is not; the identity is the list of the CPUs."""

    family: ClassVar[str] = "cpus.offline"
    about: ClassVar[About] = About(
        "CPUs that are taken offline",
        "The second thread of a core that trades: an idle sibling still shares its caches and wakes for timers, an offline one "
        "does not. Softer than to switch hyper-threading off, since housekeeping cores keep their threads",
        "/sys/devices/system/cpu/cpuN/online",
        "/sys/devices/system/cpu/online",
        "all CPUs stop for a moment (stop_machine), jitter for tens of ms; threads and interrupts move, also those of NICs",
        "the CPU is brought back, then interrupts, threads and v1 cpusets get what they had",
        quirks=(
            "CPU 0 has no such file on most kernels, and none from 6.5 on",
            "the last CPU that is online, or that the kernel keeps for housekeeping, is refused: EBUSY",
            "with hyper-threading off a second thread cannot be brought online: EPERM",
            "a thread that sleeps and has no other CPU keeps its mask, and is given others only when it wakes",
            "managed interrupts whose CPUs are all gone are shut down, and started again when one returns",
        ),
        source="Documentation/core-api/cpu_hotplug.rst, kernel/cpu.c, kernel/irq/cpuhotplug.c",
    )
    disruption: ClassVar[Disruption] = "service"
    leaf: ClassVar[str] = "online"

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """Whether each is online."""
        reading = super().read(inventory, identity)
        return Reading(reading.now, reading.effective, undo={"online": reading.now} | _bindings(inventory.host))

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Takes them offline, the highest first; threads that had bound themselves are bound as before."""
        del options
        before, placed = _bindings(inventory.host), _requested(inventory)
        for cpu in sorted(parse_list(identity), reverse=True):
            if inventory.host.files.optional(self.path(inventory, cpu)) not in (None, str(wanted)):
                inventory.host.files.write(self.path(inventory, cpu), str(wanted))
        _keep_bound(inventory.host, before, parse_list(identity))
        _keep_placed(inventory, placed)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Brings back those that were online, then what went with them."""
        super().restore(inventory, identity, undo["online"])
        _give_back(inventory.host, undo)

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """All interrupts: see the head of this file."""
        del identity
        return _interrupts(inventory)


class Smt(HostFile):
    """Hyper-threading: ``on``, ``off``, or why neither: ``forceoff``, ``notsupported``. The identity is ``host``."""

    family: ClassVar[str] = "cpus.smt"
    about: ClassVar[About] = About(
        "Whether cores run more than one thread each",
        "off where the neighbour's thread costs more than it brings: every core is then one CPU with all of its caches. It "
        "also halves what is left for housekeeping; to take only the siblings of trading cores offline is the softer way",
        CONTROL,
        "/sys/devices/system/cpu/smt/active, and the list of online CPUs",
        "every second thread goes offline, one after the other: seconds of jitter, interrupts and threads move",
        "on again; second threads that were offline before are taken offline again, then interrupts, threads and v1 cpusets "
        "get what they had",
        "4.19",
        (
            "forceoff (nosmt=force) cannot be undone before a reboot",
            "notsupported in most guests; where no core has a second thread it is off whatever is asked",
            "on brings back also what was taken offline one by one",
        ),
        "Documentation/ABI/testing/sysfs-devices-system-cpu, kernel/cpu.c (cpuhp_smt_disable)",
    )
    disruption: ClassVar[Disruption] = "service"
    path: ClassVar[str] = CONTROL

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """What is asked for, and whether any core runs two threads."""
        control = super().read(inventory, identity).now
        files = inventory.host.files
        active = files.optional(f"{CPU_ROOT}/smt/active")
        online = {cpu: files.number(f"{CPU_ROOT}/cpu{cpu}/online") for cpu in sorted(inventory.topology.present)}
        undo = {"control": control, "online": collapsed({cpu: flag for cpu, flag in online.items() if flag is not None})}
        return Reading(
            now=control,
            effective={"1": "on", "0": "off"}.get(active or "", control),
            undo=undo | _bindings(inventory.host),
            note="no core of this host has a second thread" if control in _NO_SMT else "",
        )

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where cores run as many threads as wanted.

        Raises:
            Unsupported: it is wanted on where that cannot be.
        """
        if wanted == "off":
            return "ok" if reading.now in ("off", "forceoff") or reading.effective == "off" else "differs"
        if reading.now in _NO_SMT:
            raise Unsupported(f"no core of this host has a second thread ({CONTROL}: {reading.now})")
        if reading.now == "forceoff":
            raise Unsupported("hyper-threading was switched off for good on the kernel command line (nosmt=force)")
        return "ok" if reading.now == "on" else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """One write; threads that had bound themselves are bound as before."""
        del identity, options
        before, placed = _bindings(inventory.host), _requested(inventory)
        had = _online(inventory.host.files)
        inventory.host.files.write(CONTROL, str(wanted))
        _keep_bound(inventory.host, before, had - _online(inventory.host.files))
        _keep_placed(inventory, placed)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """The old control, then each CPU as it was, then what went with them."""
        del identity
        files = inventory.host.files
        if files.text(CONTROL) != undo["control"]:
            files.write(CONTROL, str(undo["control"]))
        everything = format_list(inventory.topology.present)
        for cpu, flag in expanded(undo["online"], everything).items():
            now = files.optional(f"{CPU_ROOT}/cpu{cpu}/online")
            if now is not None and now != str(flag):
                files.write(f"{CPU_ROOT}/cpu{cpu}/online", str(flag))
        _give_back(inventory.host, undo)

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """All interrupts: see the head of this file."""
        del identity
        return _interrupts(inventory)


def _online(files: HostFiles) -> CpuSet:
    return read_topology(files).online


def _smt(request: Request, place: Place, setting: Setting) -> None:
    del place
    wanted = request.first(setting, setting.value, None)
    if wanted == "on" and request.profile.get("cpus", "offline") is not None:
        request.warnings.append("cpus.smt = on brings every second thread online before cpus.offline takes CPUs away")
    request.wish("cpus.smt", "host", "host", wanted, setting)


def _offline(request: Request, place: Place, setting: Setting) -> None:
    del place
    cpus = _named(request, setting)
    topology = request.inventory.topology
    if not cpus:
        if not request.faults:
            request.warnings.append(
                f"{setting.source}: of '{printable(setting.value, 60)}' nothing is online, so there is nothing to do"
            )
        return
    if 0 in cpus:
        request.fault(setting, "would take CPU 0 offline, on which the kernel itself depends")
    if cpus >= topology.online:
        request.fault(setting, "leaves no CPU online")
    for role in ("housekeeping", "rx", "tx", "app"):
        with contextlib.suppress(CoreSetError, CpuListError):
            owned = request.sets.named(role) if role in request.sets.names else frozenset[int]()
            if owned and role == "housekeeping" and owned <= cpus:
                request.fault(setting, "takes the last housekeeping CPU offline")
            elif (shared := owned & cpus) and role != "housekeeping":
                request.fault(
                    setting,
                    f"takes CPU {format_list(shared)} offline, which is '{role}'",
                    f"smt({role}) - {role} are its siblings",
                )
    isolated = request.profile.get("isolation", "cores")
    if isolated is not None:
        with contextlib.suppress(CoreSetError, CpuListError):
            if shared := request.sets.evaluate(str(isolated.value)) & cpus:
                request.fault(
                    setting, f"takes CPU {format_list(shared)} offline, which isolation.cores names", "take it out there"
                )
    request.wish("cpus.offline", f"CPU {format_list(cpus)}", format_list(cpus), 0, setting)


def _named(request: Request, setting: Setting) -> CpuSet:
    """The CPUs of the setting. A plain list may name CPUs that are offline already; expressions speak of those online."""
    topology = request.inventory.topology
    with contextlib.suppress(CpuListError):
        cpus = parse_list(str(setting.value), topology.count)
        if missing := cpus - topology.present:
            request.fault(setting, f"CPU {format_list(missing)} is not on this host")
        return cpus & topology.present
    try:
        return request.sets.evaluate(str(setting.value))
    except (CoreSetError, CpuListError) as error:
        request.fault(setting, str(error))
        return frozenset()


FAMILY = Family(
    "CPUs",
    (Smt(), Offline()),
    (
        Entry(("cpus", "smt"), Word(("on", "off")), "hyper-threading of the whole host", _smt),
        Entry(("cpus", "offline"), Cores('"smt(rx) - rx"'), "CPUs that are taken offline", _offline),
    ),
)
