"""What the kernel does when something is written.

It refuses with its errno before anything changed, stores what it would show, and rewrites the files that follow.

Every reaction is a function of the files alone, so writing back the old values gives back the old bytes.

A process that is killed in a system call does not stop the kernel half way. To keep that, each call is first written down in
a pending file, done under a lock, and finished by whoever opens the tree next if its process died.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator

from tuner.host.cpulist import CpuSet, parse_list, parse_mask
from tuner.host.files import HostFiles, replace_content
from tuner.host.simulated import attributes, cgroup_writes, cgroups, channels, cpuset_v1, hotplug, noise, power_writes
from tuner.host.simulated.documents import change_document, read_document
from tuner.host.simulated.settings import COUPLED, refusal
from tuner.host.simulated.shape import MARKER, Shape, interrupts
from tuner.host.simulated.tree import WORKQUEUES
from tuner.host.simulated.tree_devices import DEFAULT_COALESCE, default_indirection
from tuner.host.simulated.tree_irqs import IRQ_ROOT, affinity_files

PENDING = "/etc/quietcore/simulated.pending"


class SimulatedKernel:
    """The stand-in for a kernel below ``files.root``. One object serves one thread."""

    def __init__(self, files: HostFiles, shape: Shape) -> None:
        self._files = files
        self._shape = shape
        self._pending = files.path(PENDING)
        if os.path.exists(self._pending):
            self._finish_pending()

    def write(self, name: str, value: str) -> None:
        """See StandIn."""
        if not os.path.isfile(self._files.path(name)):
            raise refusal(errno.ENOENT, name)
        path = self._files.resolved(name)
        if cpuset_v1.concerns(self._files, path):
            shown = cpuset_v1.shown(self._files, path, value)
        else:
            check = cgroup_writes.shown if path.startswith(cgroups.ROOT + "/") else attributes.shown
            shown = check(self._files, self._shape, path, value.strip("\n"))
        with self._call("write", name, shown):
            self._write(name, shown)

    def make_directory(self, name: str) -> None:
        """See StandIn."""
        (cpuset_v1 if cpuset_v1.concerns(self._files, name) else cgroup_writes).check_make(self._files, name)
        with self._call("mkdir", name, ""):
            self._make(name)

    def remove_directory(self, name: str) -> None:
        """See StandIn."""
        (cpuset_v1 if cpuset_v1.concerns(self._files, name) else cgroup_writes).check_remove(self._files, name)
        with self._call("rmdir", name, ""):
            self._remove(name)

    def set_rings(self, ifname: str, rx: int, tx: int) -> None:
        """New rings, and what a driver does that makes its vectors anew: interrupts, RSS, coalescing are its defaults again."""
        with self._call("rings", ifname, f"{rx} {tx}"):
            self._set_rings(ifname, rx, tx)

    def set_channels(self, ifname: str, combined: int) -> None:
        """Another number of channels: see ``tuner.host.simulated.channels``."""
        document = read_document(self._files.path(f"/ethtool/{ifname}.json"))
        before = int(document["channels"]["combined"])
        if combined == before:
            return
        channels.check(document, combined)
        with self._call("channels", ifname, f"{before} {combined}"):
            self._set_channels(ifname, before, combined)

    @contextlib.contextmanager
    def _call(self, kind: str, name: str, value: str) -> Iterator[None]:
        with self._lock():
            replace_content(self._pending, json.dumps([kind, name, value]).encode())
            try:
                yield
            finally:
                os.unlink(self._pending)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        fd = os.open(self._files.path(MARKER), os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _finish_pending(self) -> None:
        with self._lock():
            try:
                with open(self._pending, encoding="utf-8") as file:
                    kind, name, value = json.load(file)
            except FileNotFoundError:  # its process was alive and is done
                return
            except ValueError:  # the process died before the call had begun
                os.unlink(self._pending)
                return
            if kind == "write":
                self._write(name, value)
            elif kind == "mkdir":
                self._make(name)
            elif kind == "rmdir":
                self._remove(name)
            elif kind == "rings":
                self._set_rings(name, *map(int, value.split()))
            elif kind == "channels":
                self._set_channels(name, *map(int, value.split()))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._files.path(cgroup_writes.NEW_FILE))
            os.unlink(self._pending)

    def _make(self, name: str) -> None:
        if cpuset_v1.concerns(self._files, name):
            cpuset_v1.make(self._files, name)
        else:
            cgroup_writes.make(self._files, self._shape, name)

    def _remove(self, name: str) -> None:
        if cpuset_v1.concerns(self._files, name):
            cpuset_v1.remove(self._files, name)
        else:
            cgroup_writes.remove(self._files, self._shape, name)

    def _write(self, name: str, shown: str) -> None:
        replace_content(self._files.path(name), (shown + "\n").encode())
        path = self._files.resolved(name)
        if path.startswith(IRQ_ROOT + "/") and path.endswith(("/smp_affinity", "/smp_affinity_list")):
            self._move_irq(path, shown)
        elif path.startswith("/proc/sys/") and (partner := COUPLED.get(path.removeprefix("/proc/sys/"))):
            self._store(f"/proc/sys/{partner}", "0")
        elif path == f"{WORKQUEUES}/cpumask":
            self._store(f"{WORKQUEUES}/cpumask_requested", shown)
            cgroup_writes.react(self._files, self._shape)
        elif hotplug.concerns(path):
            hotplug.react(self._files, self._shape, path, shown)
        elif noise.concerns(path):
            noise.react_to(self._files, self._shape, path, shown)
        elif cpuset_v1.concerns(self._files, path):
            cpuset_v1.react_to(self._files, path, shown)
        elif path.startswith(cgroups.ROOT + "/"):
            cgroup_writes.react_to(self._files, self._shape, path, shown)
        elif path.startswith("/sys/devices/pci") and path.endswith("/mtu"):
            self._reset(path.split("/")[-2])
        for name, content in power_writes.following(self._files, self._shape, path, shown).items():
            replace_content(self._files.path(name), content.encode())

    def _store(self, name: str, shown: str) -> None:
        replace_content(self._files.path(name), (shown + "\n").encode())

    def _move_irq(self, path: str, shown: str) -> None:
        wish = parse_list(shown) if path.endswith("_list") else parse_mask(shown)
        self._place_irq(int(path.split("/")[3]), wish)

    def _place_irq(self, number: int, wish: CpuSet) -> None:
        # the x86 vector goes to an online CPU
        online = hotplug.online_cpus(self._files, self._shape)
        for name, content in affinity_files(self._shape, number, wish, online).items():
            replace_content(self._files.path(f"{IRQ_ROOT}/{number}/{name}"), content.encode())

    def _set_rings(self, ifname: str, rx: int, tx: int) -> None:
        def change(document: dict[str, object]) -> None:
            if isinstance(rings := document["rings"], dict):
                rings |= {"rx": rx, "tx": tx}

        change_document(self._files.path(f"/ethtool/{ifname}.json"), change)
        self._reset(ifname)

    def _reset(self, ifname: str) -> None:
        def change(document: dict[str, object]) -> None:
            queues, rss = document.get("channels"), document.get("rss")
            if isinstance(rss, dict) and isinstance(queues, dict):
                rss["indirection"] = default_indirection(int(queues["combined"]))
            if isinstance(document.get("coalesce"), dict):
                document["coalesce"] = dict(DEFAULT_COALESCE)
            if isinstance(flows := document.get("flow_table"), dict):
                flows["rules"] = []

        change_document(self._files.path(f"/ethtool/{ifname}.json"), change)
        self._place_anew(ifname)

    def _set_channels(self, ifname: str, before: int, combined: int) -> None:
        channels.resize(self._files, self._shape, ifname, before, combined)
        self._place_anew(ifname)

    def _place_anew(self, ifname: str) -> None:
        """The NIC's vectors as its driver asks for them."""
        for irq in interrupts(self._shape):
            if irq.device == ifname and self._files.exists(f"{IRQ_ROOT}/{irq.number}"):
                self._place_irq(irq.number, irq.default)
