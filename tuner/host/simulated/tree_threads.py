"""The threads of a simulated host (``/threads.json``), and the cgroups that hold them.

``affinity`` is what was asked for, as the kernel keeps it beside the cgroup's restriction (``user_cpus_ptr``, since 6.2):
what a thread is allowed is both together, and comes back when a restriction goes.
"""

from collections.abc import Iterator
from typing import Any

from tuner.host.cpulist import CpuSet, format_list
from tuner.host.simulated import cgroups
from tuner.host.simulated.documents import canonical
from tuner.host.simulated.shape import Shape, nics, pick
from tuner.host.simulated.writer import TreeWriter

THREADS = "/threads.json"
FEED_GROUP = "/system.slice/md-feed.service"
SPINNER = "md_feed/rx0"  # the thread that polls its sockets and never sleeps

# name, cgroup, number of threads
_SERVICES = (
    ("systemd", "/init.scope", 1),
    ("systemd-journal", "/system.slice/systemd-journald.service", 1),
    ("systemd-udevd", "/system.slice/systemd-udevd.service", 1),
    ("dbus-daemon", "/system.slice/dbus.service", 1),
    ("chronyd", "/system.slice/chrony.service", 1),
    ("sshd", "/system.slice/ssh.service", 1),
    ("cron", "/system.slice/cron.service", 1),
    ("rsyslogd", "/system.slice/rsyslog.service", 4),
    ("node_exporter", "/system.slice/node-exporter.service", 8),
    ("order_gateway", "/system.slice/order-gateway.service", 6),
    ("bash", "/user.slice", 1),
)
# movable: they run anywhere until told otherwise
_KERNEL_WIDE = (
    "rcu_preempt",
    "kauditd",
    "khungtaskd",
    "oom_reaper",
    "ksmd",
    "khugepaged",
    "kdevtmpfs",
    "watchdogd",
    "jbd2/nvme0n1p2-8",
)
_PER_CPU = ("cpuhp/{}", "migration/{}", "ksoftirqd/{}", "kworker/{}:0-events", "kworker/{}:0H-events_highpri")


def feed_cpu(shape: Shape) -> int:
    """The CPU to which the feed handler was pinned, all its threads (``taskset``): the fifth core of its NIC's node."""
    node = nics(shape)[0].node if shape.nics else 0
    return node * shape.cores + min(4, shape.cores - 1)


def thread_rows(shape: Shape) -> list[dict[str, Any]]:
    """All threads, as rows of the document."""
    rows = [_row(1, 1, "systemd", shape.all_cpus, "/init.scope"), _row(2, 2, "kthreadd", shape.all_cpus, "/", kernel=True)]
    tid = 3
    for name, allowed, movable in _kernel_threads(shape):
        rows.append(_row(tid, tid, name, allowed, "/", kernel=True, movable=movable))
        tid += 1
    tid = 700 if tid < 700 else tid + 100
    for name, cgroup, count in _SERVICES[1:]:
        rows += [_row(tid + i, tid, name, shape.all_cpus, cgroup) for i in range(count)]
        tid += count + 3
    pinned = frozenset({feed_cpu(shape)})
    for i, name in enumerate(("md_feed", "md_feed/rx0", "md_feed/log")):
        rows.append(_row(tid + i, tid, name, pinned, FEED_GROUP))
    return rows


def _kernel_threads(shape: Shape) -> Iterator[tuple[str, CpuSet, bool]]:
    for name in _KERNEL_WIDE:
        yield name, shape.all_cpus, True
    for node in range(shape.nodes):
        yield f"kswapd{node}", shape.node_cpus(node), True
        yield f"kcompactd{node}", shape.node_cpus(node), True
    for i in range(2):
        yield f"kworker/u{shape.cpus * 2}:{i}-events_unbound", shape.all_cpus, False
    for cpu in range(shape.cpus):
        for pattern in _PER_CPU:
            yield pattern.format(cpu), frozenset({cpu}), False


def _row(
    tid: int, pid: int, name: str, affinity: CpuSet, cgroup: str, *, kernel: bool = False, movable: bool = True
) -> dict[str, Any]:
    return {
        "tid": tid,
        "pid": pid,
        "name": name[:15] if not kernel else name,
        "start_ticks": 3 * tid + (0 if kernel else 500),
        "kernel": kernel,
        "movable": movable,
        "affinity": format_list(affinity),
        "cgroup": cgroup,
        "last_cpu": pick(affinity, tid),
    }


def write_threads(tree: TreeWriter, shape: Shape) -> None:
    """The document of all threads, and the cgroups with their members."""
    rows = thread_rows(shape)
    tree.put(THREADS, canonical({"schema": "quietcore/threads/1", "threads": rows}))
    members: dict[str, set[int]] = {}
    for row in rows:
        members.setdefault(row["cgroup"], set()).add(row["pid"])
    groups = sorted({part for cgroup in members for part in _with_parents(cgroup)} | {"/user.slice"})
    everything, mems = format_list(shape.all_cpus), format_list(range(shape.nodes))
    for group in groups:
        procs = "".join(f"{pid}\n" for pid in sorted(members.get(group, ())))
        if group == "/":
            _write_root(tree, everything, mems, procs, len(groups) - 1)
            continue
        parent_is_root = group.count("/") == 1
        below = sum(other.startswith(group + "/") for other in groups)
        populated = any(other == group or other.startswith(group + "/") for other in members)
        content = cgroups.files_of_group(cgroups.DEFAULT_SUBTREE if parent_is_root else ("memory", "pids"))
        content["cgroup.controllers"] = " ".join(cgroups.DEFAULT_SUBTREE if parent_is_root else ("memory", "pids"))
        content["cgroup.subtree_control"] = "memory pids" if below else ""
        content["cgroup.stat"] = f"nr_descendants {below}\nnr_dying_descendants 0"
        content["cgroup.events"] = f"populated {int(populated)}\nfrozen 0"
        content.pop("cgroup.procs")
        for name, value in content.items():
            tree.put(f"{cgroups.ROOT}{group}/{name}", value + "\n", 0o444 if name in cgroups.READ_ONLY else 0o644)
        tree.put(f"{cgroups.ROOT}{group}/cgroup.procs", procs)


def _with_parents(cgroup: str) -> Iterator[str]:
    yield "/"
    parts = cgroup.strip("/").split("/")
    for depth in range(1, len(parts) + 1):
        if parts[0]:
            yield "/" + "/".join(parts[:depth])


def _write_root(tree: TreeWriter, cpus: str, mems: str, procs: str, below: int) -> None:
    read_only = {
        "cgroup.controllers": " ".join(cgroups.CONTROLLERS),
        "cgroup.stat": f"nr_descendants {below}\nnr_dying_descendants 0",
        "cpuset.cpus.effective": cpus,
        "cpuset.cpus.isolated": "",
        "cpuset.mems.effective": mems,
    }
    tree.values(cgroups.ROOT, read_only, 0o444)
    tree.values(
        cgroups.ROOT,
        {
            "cgroup.subtree_control": " ".join(cgroups.DEFAULT_SUBTREE),
            "cgroup.max.depth": "max",
            "cgroup.max.descendants": "max",
        },
    )
    tree.put(f"{cgroups.ROOT}/cgroup.procs", procs)
