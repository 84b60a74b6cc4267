"""Writes the files of a simulated host of any size: /proc, /sys, /etc, and the two kinds of documents for what is no file."""

import errno
import os
import shutil
import uuid
from pathlib import Path

from tuner.host.cpulist import format_list, format_mask
from tuner.host.simulated import counters, grub, noise, services, tree_cpus, tree_devices, tree_irqs, tree_power, tree_threads
from tuner.host.simulated.settings import SYSCTLS
from tuner.host.simulated.shape import HOSTNAME, MARKER, RELEASE, Shape, interrupts, marker_text, nics
from tuner.host.simulated.writer import TreeWriter

READ_ONLY = 0o444
BOOT_TIME = 1_767_225_600  # a fixed day, so that the same shape gives the same bytes
WORKQUEUES = "/sys/devices/virtual/workqueue"


def write_tree(
    directory: str | os.PathLike[str],
    nodes: int = 2,
    cores: int = 16,
    smt: int = 2,
    nics: int = 2,
    queues: int = 8,
    seed: int = 1,
    management: int = 0,
) -> Shape:
    """Writes a simulated host into ``directory``, which is made where it is missing. The same arguments give the same bytes.

    Args:
        directory: new, or empty.
        nodes: NUMA nodes, each a package with one last-level cache.
        cores: physical cores per node.
        smt: threads per core.
        nics: NICs (eth2, eth3, …).
        queues: receive queues of each feed NIC.
        seed: of the life that the host may lead.
        management: 1: with a NIC more, eth0, by which the default route leaves.

    Raises:
        ShapeError: a size out of bounds; nothing was written.
        FileExistsError: the directory holds something already; nothing was written.
        OSError: it cannot be written.
    """
    shape = Shape(nodes=nodes, cores=cores, smt=smt, nics=nics, queues=queues, seed=seed, management=management)
    root = Path(directory)
    made = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    if next(root.iterdir(), None) is not None:
        raise FileExistsError(errno.EEXIST, "the directory is not empty", str(directory))
    try:
        _write_parts(TreeWriter(root), shape)
    except BaseException:  # also Ctrl-C: half a host is of no use
        for entry in root.iterdir():
            shutil.rmtree(entry, ignore_errors=True)
        if made:
            root.rmdir()
        raise
    return shape


def _write_parts(tree: TreeWriter, shape: Shape) -> None:
    tree_cpus.write_cpus(tree, shape)
    tree_cpus.write_nodes(tree, shape)
    tree_power.write_power(tree, shape)
    tree_devices.write_devices(tree, shape)
    tree_irqs.write_irqs(tree, shape)
    tree_threads.write_threads(tree, shape)
    noise.write_noise(tree, shape)
    services.write_services(tree)
    grub.write_menu(tree)
    _write_settings(tree, shape)
    _write_counters(tree, shape)
    _write_texts(tree, shape)
    tree.put(MARKER, marker_text(shape))  # last: a tree that was not finished is not taken for one


def _write_settings(tree: TreeWriter, shape: Shape) -> None:
    for name, setting in SYSCTLS.items():
        tree.put(f"/proc/sys/{name}", setting.default + "\n", READ_ONLY if setting.read_only else 0o644)
    boot_id = uuid.uuid5(uuid.NAMESPACE_DNS, f"{shape}.simulated.quietcore")
    tree.values("/proc/sys/kernel", {"osrelease": RELEASE, "random/boot_id": str(boot_id)}, READ_ONLY)
    names = {"hostname": HOSTNAME, "domainname": "(none)", "watchdog_cpumask": format_list(shape.all_cpus)}
    tree.values("/proc/sys/kernel", names)
    everything = format_mask(shape.all_cpus, shape.cpus)
    tree.values(WORKQUEUES, {"cpumask": everything, "writeback/cpumask": everything})
    read_only = {"cpumask_requested": everything, "cpumask_isolated": format_mask((), shape.cpus)}
    tree.values(WORKQUEUES, read_only, READ_ONLY)
    tree_power.write_memory(tree)


def _write_counters(tree: TreeWriter, shape: Shape) -> None:
    numbered = [(irq.number, irq.chip, irq.action) for irq in interrupts(shape)]
    rows = counters.interrupts_table(shape.cpus, numbered)
    softirqs = counters.softirqs_table(shape.cpus)
    statistics = {name: dict.fromkeys(tree_devices.STATISTICS, 0) for name in ("lo", *(nic.name for nic in nics(shape)))}
    tree.put("/proc/interrupts", rows.render(counters.interrupts_heading(shape.cpus)), READ_ONLY)
    tree.put("/proc/softirqs", softirqs.render(counters.softirqs_heading(shape.cpus)), READ_ONLY)
    tree.put("/proc/stat", counters.Stat(shape.cpus, BOOT_TIME).render(rows, softirqs), READ_ONLY)
    tree.put("/proc/net/softnet_stat", counters.Softnet(shape.cpus).render(), READ_ONLY)
    tree.put("/proc/net/dev", counters.network_devices(statistics), READ_ONLY)
    tree.put("/proc/net/snmp", counters.snmp({}), READ_ONLY)
    tree.put("/proc/net/netstat", counters.netstat(), READ_ONLY)
    tree.put("/proc/net/udp", counters.udp_sockets(0), READ_ONLY)
    tree.put("/proc/net/packet", "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n", READ_ONLY)
    tree.put("/proc/net/stat/nf_conntrack", counters.conntrack(shape.cpus), READ_ONLY)


def _write_texts(tree: TreeWriter, shape: Shape) -> None:
    total = shape.nodes * tree_cpus.NODE_MEMORY_KB
    memory = {
        "MemTotal": total,
        "MemFree": total * 3 // 4,
        "MemAvailable": total * 7 // 8,
        "Buffers": 0,
        "Cached": total // 8,
        "SwapTotal": 0,
        "SwapFree": 0,
    }
    pages = {"HugePages_Total": 0, "HugePages_Free": 0, "HugePages_Rsvd": 0, "HugePages_Surp": 0}
    meminfo = [f"{name + ':':<16}{value:>8} kB\n" for name, value in memory.items()]
    meminfo += [f"{name + ':':<16}{value:>8}\n" for name, value in pages.items()] + ["Hugepagesize:       2048 kB\n"]
    texts = {
        "/proc/cpuinfo": tree_cpus.cpuinfo(shape),
        "/proc/cmdline": "BOOT_IMAGE=/boot/vmlinuz-simulated root=/dev/nvme0n1p2 ro quiet\n",
        "/proc/version": f"Linux version {RELEASE} (quietcore@simulated) #1 SMP PREEMPT_DYNAMIC quietcore simulation\n",
        "/proc/uptime": "0.00 0.00\n",
        "/proc/loadavg": "1.00 1.00 1.00 2/400 4242\n",
        "/proc/meminfo": "".join(meminfo),
        "/proc/net/route": tree_devices.routes(shape),
        "/proc/net/igmp": tree_devices.memberships(shape),
        "/proc/mounts": "proc /proc proc rw 0 0\nsysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n",
    }
    for name, content in texts.items():
        tree.put(name, content, READ_ONLY)
    tree.put("/etc/hostname", HOSTNAME + "\n")
    tree.put("/etc/os-release", 'PRETTY_NAME="Quietcore simulated host"\nNAME="Quietcore simulated host"\nID=simulated\n')
    bind = '[bind]\nfeed = "eth2"\n' if shape.nics else "[bind]\n"
    tree.put("/etc/quietcore/host.toml", bind)
