"""CPUs of a simulated host that go offline and return, and all that the kernel rewrites then.

Sources: kernel/cpu.c, drivers/base/cpu.c, kernel/irq/cpuhotplug.c (migrate_one_irq), kernel/cgroup/cpuset.c. What it leaves
out: an interrupt that had other CPUs, too, goes back to the one that it had as soon as that returns (on the kernel it waits for
the next write), and /proc/interrupts keeps the column of a CPU that is gone.
"""

import errno
import os
import shutil

from tuner.host.cpulist import CpuSet, format_list, format_mask, parse_list
from tuner.host.files import HostFiles, replace_content
from tuner.host.simulated import cgroup_writes, cpuset_v1
from tuner.host.simulated.settings import refusal
from tuner.host.simulated.shape import Shape, interrupts
from tuner.host.simulated.tree_cpus import CPU_ROOT, NODE_ROOT, write_cpu_details
from tuner.host.simulated.tree_irqs import IRQ_ROOT, affinity_files
from tuner.host.simulated.writer import TreeWriter

CONTROL = f"{CPU_ROOT}/smt/control"
_YES, _NO = ("1", "y", "Y", "on"), ("0", "n", "N", "off")


def concerns(path: str) -> bool:
    """Whether a write to this file takes CPUs away or brings them back."""
    return path == CONTROL or (path.startswith(f"{CPU_ROOT}/cpu") and path.endswith("/online"))


def online_cpus(files: HostFiles, shape: Shape) -> CpuSet:
    """The CPUs that are online, by the file of each; CPU 0 has none and always is."""
    return frozenset(cpu for cpu in shape.all_cpus if files.optional(f"{CPU_ROOT}/cpu{cpu}/online") != "0")


def shown(files: HostFiles, shape: Shape, path: str, value: str) -> str:
    """What the file will show.

    Raises:
        OSError: EBUSY for the last CPU, EPERM for a second thread while hyper-threading is off, ENODEV without any, EINVAL.
    """
    word = value.strip()
    control = files.optional(CONTROL) or ""
    if path == CONTROL:
        if word not in ("on", "off", "forceoff"):
            raise refusal(errno.EINVAL, path)
        if control in ("notsupported", "notimplemented"):
            raise refusal(errno.ENODEV, path)
        if control == "forceoff":
            raise refusal(errno.EPERM, path)
        return word
    if word not in _YES + _NO:
        raise refusal(errno.EINVAL, path)
    cpu = int(path.removeprefix(f"{CPU_ROOT}/cpu").partition("/")[0])
    if word in _YES:
        if control in ("off", "forceoff") and cpu != min(shape.siblings(cpu)):
            raise refusal(errno.EPERM, path)
        return "1"
    if online_cpus(files, shape) == {cpu}:
        raise refusal(errno.EBUSY, path)
    return "0"


def react(files: HostFiles, shape: Shape, path: str, content: str) -> None:
    """After one of the files was stored: everything that follows from who is online."""
    if path == CONTROL:
        for cpu in sorted(shape.all_cpus):
            if cpu != min(shape.siblings(cpu)):
                _update(files, f"{CPU_ROOT}/cpu{cpu}/online", "1" if content == "on" else "0")
    online = online_cpus(files, shape)
    _update(files, f"{CPU_ROOT}/online", format_list(online))
    _update(files, f"{CPU_ROOT}/offline", format_list(shape.all_cpus - online))
    _update(files, f"{CPU_ROOT}/smt/active", str(int(any(len(shape.siblings(cpu) & online) > 1 for cpu in online))))
    for node in range(shape.nodes):
        local = shape.node_cpus(node) & online
        _update(files, f"{NODE_ROOT}/node{node}/cpulist", format_list(local))
        _update(files, f"{NODE_ROOT}/node{node}/cpumap", format_mask(local, shape.cpus))
    for cpu in sorted(shape.all_cpus):
        _details(files, shape, cpu, online)
    _interrupts(files, shape, online)
    cpuset_v1.react(files, online)
    cgroup_writes.react(files, shape)


def _details(files: HostFiles, shape: Shape, cpu: int, online: CpuSet) -> None:
    if cpu not in online:
        for name in ("topology", "cache"):
            shutil.rmtree(files.path(f"{CPU_ROOT}/cpu{cpu}/{name}"), ignore_errors=True)
        return
    contents = _Contents()
    write_cpu_details(contents, shape, cpu, online)
    for name, (content, mode) in contents.found.items():
        path = files.path(name)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            replace_content(path, content)
            os.chmod(path, mode)
        elif files.read(name) != content:
            replace_content(path, content)


class _Contents(TreeWriter):
    """Takes down what would be written."""

    def __init__(self) -> None:
        super().__init__("/")
        self.found: dict[str, tuple[bytes, int]] = {}

    def put(self, name: str, content: str, mode: int = 0o644) -> None:
        """One file."""
        self.found[name] = (content.encode(), mode)


def _interrupts(files: HostFiles, shape: Shape, online: CpuSet) -> None:
    for irq in interrupts(shape):
        if not irq.writable:  # managed ones are shut down with their last CPU, and keep their mask
            continue
        wish = parse_list(files.text(f"{IRQ_ROOT}/{irq.number}/smp_affinity_list"))
        for name, content in affinity_files(shape, irq.number, wish if wish & online else online, online).items():
            _update(files, f"{IRQ_ROOT}/{irq.number}/{name}", content.strip())


def _update(files: HostFiles, name: str, value: str) -> None:
    content = (value + "\n").encode()
    if files.read(name) != content:
        replace_content(files.path(name), content)
