"""``[isolation]``: which cores nobody strays onto: partition or v1 cpuset, threads, workqueues, watchdog as one."""

from tuner.cores import CoreSetError
from tuner.host.cpulist import CpuSet, format_list
from tuner.host.text import printable
from tuner.knobs.cpuset_v1 import CpusetV1, has_cpuset_v1, overlapping
from tuner.knobs.partition import CGROUP, Partition, has_partitions, torn, wanted_text
from tuner.knobs.threads import KernelThreads, UserThreads
from tuner.knobs.watchdog import Watchdog
from tuner.knobs.workqueue import WorkqueueMasks, Workqueues, has_global_mask
from tuner.language.entry import Entry, Family
from tuner.language.request import Request
from tuner.language.values import Cores
from tuner.profile import Setting


def _ask(request: Request) -> None:
    _watchdog(request)
    _masks(request)
    setting = request.profile.get("isolation", "cores")
    if setting is None:
        for place, orphan in request.profile.below("isolation").items():
            if place[0] in NEEDS_CORES:
                request.fault(orphan, f"'{place[0]}' needs isolation.cores, which is not given")
        return
    isolated = request.cpus(setting)
    check_isolated(request, isolated, setting)
    if not isolated or request.faults:
        return
    _set_apart(request, isolated, setting)
    where = format_list(isolated)
    request.wish("isolation.user_threads", f"CPU {where}", where, 0, setting)
    kernel = request.profile.get("isolation", "kernel_threads")
    if kernel is not None:
        request.wish("isolation.kernel_threads", f"CPU {where}", where, 0, kernel, to=format_list(request.cpus(kernel)))
    workqueues = request.profile.get("isolation", "workqueues")
    if workqueues is not None:
        cpus = format_list(request.cpus(workqueues))
        request.wish("isolation.workqueues", "host", "unbound", cpus, workqueues)


def _set_apart(request: Request, isolated: CpuSet, setting: Setting) -> None:
    """By what the host has: a partition of cgroup v2, else an exclusive cpuset of v1; with what stands in the way."""
    host, where = request.inventory.host, format_list(isolated)
    if not has_partitions(host) and has_cpuset_v1(host.files):
        request.wish("isolation.cpuset_v1", f"cpuset {CGROUP}", CGROUP, wanted_text(isolated), setting)
        for name in overlapping(host.files, isolated, CGROUP):
            request.conflicts.append(
                f"the cpuset {printable(name)} has some of CPU {where}, and an exclusive one shares them with nobody: narrow "
                "its cpuset.cpus first (docker, libvirt and kubelet make such cpusets)"
            )
        return
    request.wish("isolation.partition", f"cgroup {CGROUP}", CGROUP, wanted_text(isolated), setting)
    if has_partitions(host):
        for pid, name in torn(request.inventory.threads(), isolated):
            request.conflicts.append(
                f"process {pid} ({printable(name)}) has threads pinned to CPU {where} and others elsewhere: the partition "
                "would take its CPUs away; stop it, or unpin it, and start it inside the partition afterwards"
            )


def _masks(request: Request) -> None:
    """Masks of single workqueues: asked for, or all that there is before 4.1, where no mask bounds them all."""
    setting = request.profile.get("isolation", "workqueue_masks")
    if setting is None and not has_global_mask(request.inventory.host.files):
        setting = request.profile.get("isolation", "workqueues")
    if setting is not None and (cpus := request.cpus(setting)):
        request.wish("isolation.workqueue_masks", "host", "each", format_list(cpus), setting)


def _watchdog(request: Request) -> None:
    setting = request.profile.get("isolation", "watchdog")
    if setting is None:
        return
    if request.profile.get("sysctl", "kernel.watchdog_cpumask") is not None:
        request.fault(setting, "and sysctl.kernel.watchdog_cpumask say the same thing", "keep one of them")
    if cpus := request.cpus(setting):
        request.wish("isolation.watchdog", "host", "host", format_list(cpus), setting)


def check_isolated(request: Request, isolated: CpuSet, setting: Setting) -> None:
    """Refuses what would leave the host without a CPU for itself, or a trading core with a busy sibling."""
    topology = request.inventory.topology
    if 0 in isolated:
        request.fault(setting, "would isolate CPU 0, on which the kernel itself depends")
    if isolated >= topology.online:
        request.fault(setting, "leaves no CPU for housekeeping")
    try:
        housekeeping = request.sets.named("housekeeping") if "housekeeping" in request.sets.names else frozenset[int]()
    except CoreSetError:
        return
    if shared := isolated & housekeeping:
        request.fault(setting, f"isolates CPU {format_list(shared)}, which is housekeeping")
    elif siblings := isolated & topology.siblings(housekeeping):
        request.fault(
            setting,
            f"isolates CPU {format_list(siblings)}, whose core also does housekeeping",
            "add smt(…) to housekeeping, or take the sibling out",
        )
    if partial := topology.siblings(isolated) - isolated:
        request.warnings.append(
            f"CPU {format_list(partial)} shares a core with an isolated CPU and is not isolated itself: "
            "work on it slows the isolated one"
        )


NEEDS_CORES = ("kernel_threads", "workqueues")

FAMILY = Family(
    "Isolation",
    (Partition(), CpusetV1(), UserThreads(), KernelThreads(), Workqueues(), WorkqueueMasks(), Watchdog()),
    (
        Entry(
            ("isolation", "cores"),
            Cores(),
            "cores on which nothing runs that was not put there",
            knobs=("isolation.partition", "isolation.cpuset_v1", "isolation.user_threads"),
        ),
        Entry(("isolation", "kernel_threads"), Cores('"housekeeping"'), "where kernel threads go that are bound to no CPU"),
        Entry(
            ("isolation", "workqueues"),
            Cores('"housekeeping"'),
            "where unbound work of the kernel runs",
            knobs=("isolation.workqueues", "isolation.workqueue_masks"),
        ),
        Entry(("isolation", "workqueue_masks"), Cores('"housekeeping"'), "the same for workqueues with a mask of their own"),
        Entry(("isolation", "watchdog"), Cores('"housekeeping"'), "where the lockup detector has its timer"),
    ),
    _ask,
)
