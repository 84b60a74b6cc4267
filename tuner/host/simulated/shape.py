"""How large a simulated host is, and where its parts sit: everything else follows from these few numbers.

CPUs are numbered as x86 firmware does it: first one thread of every core, node by node, then the second threads in the same
order. So with 2 nodes of 16 cores, 0-15 and 32-47 are node 0, and 5 and 37 share a core.
"""

import errno
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from tuner.host.cpulist import CpuSet
from tuner.host.files import HostFiles

MARKER = "/etc/quietcore/simulated.json"
MARKER_SCHEMA = "quietcore/simulated/1"

MAX_CPUS = 1024
HZ = 250  # CONFIG_HZ of the distributions' kernels: ticks a second
USER_HZ = 100  # the unit of /proc/stat and of start times
RELEASE = "6.12.0-simulated"
HOSTNAME = "simulated"


class ShapeError(ValueError):
    """A size that no simulated host can have, with what is allowed."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a host: ``cores`` are physical cores per node, ``smt`` threads per core, ``queues`` receive queues a NIC.

    ``management``: 1 where it is reached over a NIC besides (eth0), 0 where over its console.

    Raises:
        ShapeError: a number out of bounds.
    """

    nodes: int = 2
    cores: int = 16
    smt: int = 2
    nics: int = 2
    queues: int = 8
    seed: int = 1
    management: int = field(default=0, repr=False)  # the host is named after the rest: it is the same one, with a NIC more

    def __post_init__(self) -> None:
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ShapeError(f"{name} is {value!r}: a whole number from {low} to {high} is wanted")
        if self.cpus > MAX_CPUS:
            raise ShapeError(
                f"{self.nodes} nodes x {self.cores} cores x {self.smt} threads are {self.cpus} CPUs: at most {MAX_CPUS}"
            )

    @property
    def cpus(self) -> int:
        """Number of logical CPUs."""
        return self.nodes * self.cores * self.smt

    @property
    def all_cpus(self) -> CpuSet:
        """All CPUs."""
        return frozenset(range(self.cpus))

    def node_of(self, cpu: int) -> int:
        """The NUMA node (and package) of a CPU."""
        return cpu % (self.nodes * self.cores) // self.cores

    def core_of(self, cpu: int) -> int:
        """The core's number within its package."""
        return cpu % self.cores

    def siblings(self, cpu: int) -> CpuSet:
        """The threads of a CPU's core."""
        stride = self.nodes * self.cores
        return frozenset(cpu % stride + thread * stride for thread in range(self.smt))

    def node_cpus(self, node: int) -> CpuSet:
        """The CPUs of a node."""
        return frozenset(cpu for cpu in range(self.cpus) if self.node_of(cpu) == node)


_BOUNDS = (
    ("nodes", 1, 16),
    ("cores", 1, 512),
    ("smt", 1, 4),
    ("nics", 0, 16),
    ("queues", 1, 128),
    ("seed", 0, 2**31),
    ("management", 0, 1),
)


@dataclass(frozen=True, slots=True)
class PciFunction:
    """One PCI function behind a root port. ``vectors`` are the actions of its MSI-X vectors, in order."""

    name: str  # the interface or the driver's name for the device
    driver: str
    node: int
    slot: int
    root_bus: int
    vendor: str
    device: str
    pci_class: str
    vectors: tuple[str, ...]
    first_irq: int
    nic: bool = False
    ifindex: int = 0
    speed_mbps: int = 0

    @property
    def address(self) -> str:
        """The function's PCI address."""
        return f"0000:{self.root_bus + 1 + self.slot:02x}:00.0"

    @property
    def directory(self) -> str:
        """Its directory in sysfs, behind its root port."""
        return f"/sys/devices/pci0000:{self.root_bus:02x}/0000:{self.root_bus:02x}:{self.slot:02x}.0/{self.address}"

    @property
    def mac(self) -> str:
        """A locally administered address that follows from the place of the NIC."""
        return f"02:51:43:00:{self.root_bus + 1 + self.slot:02x}:{self.ifindex:02x}"

    @property
    def queues(self) -> int:
        """The number of receive queues, for a NIC."""
        return sum("-TxRx-" in vector for vector in self.vectors)

    @property
    def irqs(self) -> range:
        """The numbers of its interrupts."""
        return range(self.first_irq, self.first_irq + len(self.vectors))


@dataclass(frozen=True, slots=True)
class Interrupt:
    """One numbered interrupt of the simulated host, as its driver asked for it."""

    number: int
    chip: str  # as /proc/interrupts shows chip, hardware number and trigger
    action: str
    node: int
    default: CpuSet  # what the driver, or the kernel for it, asks for
    hint: CpuSet
    writable: bool  # False: managed or IRQF_NOBALANCING, whose files are 0444 since 6.11
    device: str  # the name of its PciFunction; empty for a wire


_LEGACY = ((0, "timer", 2), (1, "i8042", 1), (4, "ttyS0", 4), (8, "rtc0", 8), (9, "acpi", 9))
_FIRST_MSI = 24
NVME_QUEUES = 16
MANAGEMENT_QUEUES = 4


def pci_functions(shape: Shape) -> tuple[PciFunction, ...]:
    """The devices of the host: a disk and two controllers on node 0, NICs round the nodes."""
    found: list[PciFunction] = []
    slots = [0] * shape.nodes
    irq = _FIRST_MSI

    def add(
        name: str, driver: str, ids: tuple[str, str, str], vectors: tuple[str, ...], node: int, ifindex: int, speed: int
    ) -> None:
        nonlocal irq
        found.append(
            PciFunction(
                name=name,
                driver=driver,
                node=node,
                slot=slots[node],
                root_bus=node * (256 // shape.nodes),
                vendor=ids[0],
                device=ids[1],
                pci_class=ids[2],
                vectors=vectors,
                first_irq=irq,
                nic=bool(ifindex),
                ifindex=ifindex,
                speed_mbps=speed,
            )
        )
        slots[node] += 1
        irq += len(vectors)

    disk_queues = tuple(f"nvme0q{q}" for q in range(min(shape.cpus, NVME_QUEUES) + 1))
    add("nvme0", "nvme", ("0x144d", "0xa80a", "0x010802"), disk_queues, 0, 0, 0)
    add("ahci", "ahci", ("0x8086", "0xa182", "0x010601"), ("ahci[0000:02:00.0]",), 0, 0, 0)
    add("xhci", "xhci_hcd", ("0x8086", "0xa12f", "0x0c0330"), ("xhci_hcd",), 0, 0, 0)
    for i in range(shape.nics):
        name = f"eth{i + 2}"
        vectors = (*(f"{name}-TxRx-{queue}" for queue in range(shape.queues)), name)
        add(name, "ixgbe", ("0x8086", "0x1563", "0x020000"), vectors, i % shape.nodes, i + 2, 10000)
    if shape.management:  # last: what stands before it is the same with and without it
        vectors = ("eth0", *(f"eth0-TxRx-{queue}" for queue in range(MANAGEMENT_QUEUES)))
        add("eth0", "igb", ("0x8086", "0x1521", "0x020000"), vectors, 0, shape.nics + 2, 1000)
    return tuple(found)


def nics(shape: Shape) -> tuple[PciFunction, ...]:
    """The network interfaces, those of the feeds from eth2 on first; no route leaves by these."""
    return tuple(f for f in pci_functions(shape) if f.nic)


def interrupts(shape: Shape) -> Iterator[Interrupt]:
    """All numbered interrupts, ascending."""
    for number, action, pin in _LEGACY:
        trigger = "fasteoi" if action == "acpi" else "edge"
        yield Interrupt(
            number,
            f"IR-IO-APIC {pin:>3}-{trigger}",
            action,
            0,
            frozenset({0}) if action == "timer" else shape.all_cpus,
            frozenset(),
            action != "timer",
            "",
        )
    for function in pci_functions(shape):
        local = shape.node_cpus(function.node)
        ordered = sorted(local)
        for vector, action in enumerate(function.vectors):
            managed = function.driver == "nvme" and vector > 0
            hinted = "-TxRx-" in action and function.driver == "ixgbe"
            yield Interrupt(
                number=function.first_irq + vector,
                chip=f"IR-PCI-MSIX-{function.address} {vector:>4}-edge",
                action=action,
                node=function.node,
                default=_managed_share(shape, vector - 1, len(function.vectors) - 1) if managed else local,
                hint=frozenset({ordered[vector % len(ordered)]}) if hinted else frozenset(),
                writable=not managed,
                device=function.name,
            )


def _managed_share(shape: Shape, queue: int, queues: int) -> CpuSet:
    # lib/group_cpus.c: the CPUs dealt out evenly, whole cores together where it works out
    by_core = sorted(range(shape.cpus), key=lambda cpu: (shape.node_of(cpu), shape.core_of(cpu), cpu))
    first = queue * shape.cpus // queues
    return frozenset(by_core[first : (queue + 1) * shape.cpus // queues])


def pick(cpus: CpuSet, number: int) -> int:
    """The one CPU that an interrupt is delivered to: x86 gives a vector on a single CPU of the mask."""
    return sorted(cpus)[number % len(cpus)]


def marker_text(shape: Shape) -> str:
    """The content of the marker file."""
    return json.dumps({"schema": MARKER_SCHEMA} | asdict(shape), indent=1) + "\n"


def read_shape(files: HostFiles) -> Shape | None:
    """The shape of a simulated tree; None where the tree is not one.

    Raises:
        OSError: the marker is there but cannot be read, EBADMSG where it holds something else.
    """
    if files.real or not files.exists(MARKER):
        return None
    try:
        fields = json.loads(files.read(MARKER))
        if fields.pop("schema") != MARKER_SCHEMA:
            raise ShapeError(f"not of schema {MARKER_SCHEMA}")
        return Shape(**fields)
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise OSError(errno.EBADMSG, f"not the marker of a simulated host ({error})", files.path(MARKER)) from error
