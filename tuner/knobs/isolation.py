"""``[isolation]``: which cores nobody strays onto, by a partition, threads and workqueues as one."""

from tuner.cores import CoreSetError
from tuner.host.cpulist import CpuSet, format_list
from tuner.host.text import printable
from tuner.knobs.partition import CGROUP, Partition, has_partitions, torn, wanted_text
from tuner.knobs.threads import KernelThreads, UserThreads
from tuner.knobs.workqueue import Workqueues
from tuner.language.entry import Entry, Family
from tuner.language.request import Request
from tuner.language.values import Cores
from tuner.profile import Setting


def _ask(request: Request) -> None:
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
    request.wish("isolation.partition", f"cgroup {CGROUP}", CGROUP, wanted_text(isolated), setting)
    where = format_list(isolated)
    request.wish("isolation.user_threads", f"CPU {where}", where, 0, setting)
    kernel = request.profile.get("isolation", "kernel_threads")
    if kernel is not None:
        request.wish("isolation.kernel_threads", f"CPU {where}", where, 0, kernel, to=format_list(request.cpus(kernel)))
    workqueues = request.profile.get("isolation", "workqueues")
    if workqueues is not None:
        request.wish("isolation.workqueues", "host", "unbound", format_list(request.cpus(workqueues)), workqueues)
    host = request.inventory.host
    if has_partitions(host):
        for pid, name in torn(request.inventory.threads(), isolated):
            request.conflicts.append(
                f"process {pid} ({printable(name)}) has threads pinned to CPU {where} and others elsewhere: the partition "
                "would take its CPUs away; stop it, or unpin it, and start it inside the partition afterwards"
            )


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
    (Partition(), UserThreads(), KernelThreads(), Workqueues()),
    (
        Entry(
            ("isolation", "cores"),
            Cores(),
            "cores on which nothing runs that was not put there",
            knobs=("isolation.partition", "isolation.user_threads"),
        ),
        Entry(("isolation", "kernel_threads"), Cores('"housekeeping"'), "where kernel threads go that are bound to no CPU"),
        Entry(("isolation", "workqueues"), Cores('"housekeeping"'), "where unbound work of the kernel runs"),
    ),
    _ask,
)
