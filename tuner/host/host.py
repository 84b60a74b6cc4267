"""A host: its files and its system calls, this machine's or a tree's."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from tuner.host.files import HostFiles
from tuner.host.irqs import Irq, read_irqs, role_of
from tuner.host.nics import Nic, read_nics
from tuner.host.syscalls import LinuxSyscalls, Syscalls
from tuner.host.text import printable
from tuner.host.threads import Thread
from tuner.host.topology import Topology, read_topology

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Host:
    """Where readings come from and writings go to. ``simulated``: a tree that a simulated kernel answers for."""

    files: HostFiles
    syscalls: Syscalls
    simulated: bool = False

    @property
    def name(self) -> str:
        """The host's own name, ``?`` where it does not say."""
        return printable(self.files.optional("/proc/sys/kernel/hostname") or self.files.optional("/etc/hostname") or "?", 64)

    @property
    def kernel(self) -> str:
        """The kernel's release, empty where it does not say."""
        return printable(self.files.optional("/proc/sys/kernel/osrelease") or "", 64)

    @property
    def source(self) -> str:
        """``live``, ``simulated``, or ``files`` for a captured tree."""
        if self.simulated:
            return "simulated"
        return "live" if self.files.real else "files"


def open_host(root: str | None = None) -> Host:
    """This machine, or the host whose files lie below ``root``.

    Raises:
        OSError: ``root`` is no directory with a /sys/devices/system/cpu in it.
    """
    files = HostFiles(root or "/")
    if not files.exists("/sys/devices/system/cpu"):
        raise FileNotFoundError(2, "no host here: it has no sys/devices/system/cpu", str(files.root))
    if files.real:
        return Host(files, LinuxSyscalls(files))
    from tuner.host.simulated import open_tree

    return open_tree(files)


class Inventory:
    """What a host has, read when first asked for and kept until ``refresh``: one reading serves a whole plan."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._still = False
        self._read: dict[tuple[str, ...], Any] = {}

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """For the time of one look nothing is written: what is dear to read is read once."""
        self._still = True
        try:
            yield
        finally:
            self._still, self._read = False, {}

    def once(self, key: tuple[str, ...], read: Callable[[], T]) -> T:
        """What ``read`` answers, and within ``still`` what it answered before: many settings come in one answer."""
        if key in self._read:
            found: T = self._read[key]
            return found
        answer = read()
        if self._still:
            self._read[key] = answer
        return answer

    def threads(self) -> tuple[Thread, ...]:
        """All threads, read anew at each call but within ``still``: thousands of them cost tens of milliseconds."""
        return self.once(("threads",), self.host.syscalls.threads)

    @cached_property
    def topology(self) -> Topology:
        """CPUs, cores, caches, nodes."""
        return read_topology(self.host.files)

    @cached_property
    def nics(self) -> tuple[Nic, ...]:
        """All network interfaces, with the addresses burnt into them."""
        return tuple(self._with_permanent_mac(nic) for nic in read_nics(self.host.files))

    def _with_permanent_mac(self, nic: Nic) -> Nic:
        if not nic.pci:
            return nic
        try:
            return replace(nic, permanent_mac=self.host.syscalls.permanent_address(nic.name) or "")
        except OSError:  # the driver does not say
            return nic

    @cached_property
    def irqs(self) -> tuple[Irq, ...]:
        """All interrupts in use."""
        return read_irqs(self.host.files, self.nics)

    def nic(self, name: str) -> Nic | None:
        """The interface of that name."""
        return next((nic for nic in self.nics if nic.name == name), None)

    def nic_by_identity(self, identity: str) -> Nic | None:
        """The interface with that PCI address and MAC, whatever it is called now."""
        return next((nic for nic in self.nics if nic.identity == identity), None)

    def irq(self, identity: str) -> Irq | None:
        """The interrupt with that identity, whatever its number, or the name of its interface, is now."""
        exact = next((irq for irq in self.irqs if irq.identity == identity), None)
        if exact is not None:
            return exact
        # a driver that requests its interrupts anew puts the interface's new name into theirs
        function, role = role_of(identity)
        alike = [irq for irq in self.irqs if irq.pci and role_of(irq.identity) == (function, role)]
        return alike[0] if len(alike) == 1 and (role or alike[0].action == alike[0].device) else None

    def refresh(self) -> None:
        """Forgets what a reset of a device may have changed: interfaces and interrupts."""
        self.__dict__.pop("nics", None)
        self.__dict__.pop("irqs", None)
