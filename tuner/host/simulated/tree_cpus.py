"""The CPUs, caches and memory nodes of a simulated host, as /sys/devices/system and /proc/cpuinfo show them."""

from tuner.host.cpulist import CpuSet, format_list, format_mask
from tuner.host.simulated.shape import Shape
from tuner.host.simulated.writer import TreeWriter

CPU_ROOT = "/sys/devices/system/cpu"
NODE_ROOT = "/sys/devices/system/node"
NODE_MEMORY_KB = 64 << 20

READ_ONLY = 0o444

# directory, level, type, size, shared by the whole node
_CACHES = (
    ("index0", 1, "Data", "48K", False),
    ("index1", 1, "Instruction", "32K", False),
    ("index2", 2, "Unified", "2048K", False),
    ("index3", 3, "Unified", "61440K", True),
)


def write_cpus(tree: TreeWriter, shape: Shape) -> None:
    """All of /sys/devices/system/cpu."""
    everything = format_list(shape.all_cpus)
    tree.values(
        CPU_ROOT,
        {
            "online": everything,
            "possible": everything,
            "present": everything,
            "offline": "",
            "isolated": "",
            "nohz_full": "",
            "kernel_max": 8191,
            "smt/active": int(shape.smt > 1),
        },
        READ_ONLY,
    )
    tree.values(CPU_ROOT, {"smt/control": "on" if shape.smt > 1 else "notsupported"})
    for node in range(shape.nodes):
        local = shape.node_cpus(node)
        masks = {local: _both(local, shape.cpus)}
        for cpu in sorted(local):
            siblings = shape.siblings(cpu)
            masks.setdefault(siblings, _both(siblings, shape.cpus))
            _write_topology(tree, shape, cpu, masks[local], masks[siblings])
            _write_caches(tree, shape, cpu, masks[local], masks[siblings])
            _write_place(tree, shape, cpu)


def write_cpu_details(tree: TreeWriter, shape: Shape, cpu: int, online: CpuSet) -> None:
    """What a CPU that is online shows besides, where its core and its node may have others that are not."""
    local = _both(shape.node_cpus(shape.node_of(cpu)) & online, shape.cpus)
    core = _both(shape.siblings(cpu) & online, shape.cpus)
    _write_topology(tree, shape, cpu, local, core)
    _write_caches(tree, shape, cpu, local, core)


def _both(cpus: CpuSet, count: int) -> tuple[str, str]:
    return format_mask(cpus, count), format_list(cpus)


def _write_topology(tree: TreeWriter, shape: Shape, cpu: int, local: tuple[str, str], core: tuple[str, str]) -> None:
    base = f"{CPU_ROOT}/cpu{cpu}"
    tree.values(
        f"{base}/topology",
        {
            "core_id": shape.core_of(cpu),
            "physical_package_id": shape.node_of(cpu),
            "die_id": 0,
            "core_cpus": core[0],
            "core_cpus_list": core[1],
            "thread_siblings": core[0],
            "thread_siblings_list": core[1],
            "package_cpus": local[0],
            "package_cpus_list": local[1],
            "core_siblings": local[0],
            "core_siblings_list": local[1],
        },
        READ_ONLY,
    )


def _write_place(tree: TreeWriter, shape: Shape, cpu: int) -> None:
    base = f"{CPU_ROOT}/cpu{cpu}"
    if cpu:  # CPU 0 cannot be taken offline: no file
        tree.values(base, {"online": 1})
    tree.link(f"{base}/node{shape.node_of(cpu)}", f"{NODE_ROOT}/node{shape.node_of(cpu)}")


def _write_caches(tree: TreeWriter, shape: Shape, cpu: int, local: tuple[str, str], core: tuple[str, str]) -> None:
    for index, level, kind, size, shared in _CACHES:
        mask, cpus = local if shared else core
        tree.values(
            f"{CPU_ROOT}/cpu{cpu}/cache/{index}",
            {
                "level": level,
                "type": kind,
                "size": size,
                "shared_cpu_map": mask,
                "shared_cpu_list": cpus,
                "id": shape.node_of(cpu) if shared else cpu % (shape.nodes * shape.cores),
            },
            READ_ONLY,
        )


def write_nodes(tree: TreeWriter, shape: Shape) -> None:
    """All of /sys/devices/system/node."""
    everything = format_list(range(shape.nodes))
    names = ("online", "possible", "has_cpu", "has_memory", "has_normal_memory")
    tree.values(NODE_ROOT, dict.fromkeys(names, everything), READ_ONLY)
    for node in range(shape.nodes):
        mask, cpus = _both(shape.node_cpus(node), shape.cpus)
        base = f"{NODE_ROOT}/node{node}"
        tree.values(
            base,
            {
                "cpulist": cpus,
                "cpumap": mask,
                "distance": " ".join("10" if n == node else "21" for n in range(shape.nodes)),
                "numastat": "\n".join(f"{name} 0" for name in ("numa_hit", "numa_miss", "numa_foreign", "interleave_hit")),
            },
            READ_ONLY,
        )
        tree.put(f"{base}/meminfo", node_meminfo(node), READ_ONLY)
        for size in ("hugepages-2048kB", "hugepages-1048576kB"):
            tree.values(f"{base}/hugepages/{size}", {"nr_hugepages": 0})
            tree.values(f"{base}/hugepages/{size}", {"free_hugepages": 0, "surplus_hugepages": 0}, READ_ONLY)


def node_meminfo(node: int, huge_kb: int = 0, huge_pages: int = 0) -> str:
    """The content of a node's meminfo while ``huge_kb`` are huge pages, ``huge_pages`` of them of 2 MB."""
    free = NODE_MEMORY_KB * 3 // 4 - huge_kb
    sizes = {"MemTotal": NODE_MEMORY_KB, "MemFree": free, "MemUsed": NODE_MEMORY_KB - free}
    pages = {"HugePages_Total": huge_pages, "HugePages_Free": huge_pages, "HugePages_Surp": 0}
    lines = [f"Node {node} {name + ':':<16}{size:>8} kB\n" for name, size in sizes.items()]
    return "".join(lines + [f"Node {node} {name + ':':<17}{count:>5}\n" for name, count in pages.items()])


def cpuinfo(shape: Shape) -> str:
    """The content of /proc/cpuinfo: the lines that programs read."""
    return "".join([_cpuinfo_block(shape, cpu) for cpu in range(shape.cpus)])


def _cpuinfo_block(shape: Shape, cpu: int) -> str:
    return (
        f"processor\t: {cpu}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\n"
        f"model name\t: Simulated CPU\nstepping\t: 8\ncpu MHz\t\t: 2400.000\ncache size\t: 61440 KB\n"
        f"physical id\t: {shape.node_of(cpu)}\nsiblings\t: {shape.cores * shape.smt}\ncore id\t\t: {shape.core_of(cpu)}\n"
        f"cpu cores\t: {shape.cores}\n"
        "flags\t\t: fpu tsc msr apic constant_tsc nonstop_tsc rdtscp x2apic tsc_deadline_timer tsc_known_freq\n\n"
    )
