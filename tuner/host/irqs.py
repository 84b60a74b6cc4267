"""Interrupts by what they serve, with the affinity that was asked for and the one in effect.

Facts behind the reading (kernel/irq/proc.c, kernel/irq/manage.c, Documentation/core-api/irq/irq-affinity.rst):

* Numbers are handed out anew at every driver reload, channel change or boot: an interrupt is (device, action name).
* ``smp_affinity`` is a wish. On x86 ``effective_affinity_list`` names the one CPU that the vector was given; without
  interrupt remapping the move happens at the next interrupt, so the old CPU can still be shown for a while.
* Managed interrupts (the multi-queue storage drivers') refuse user space: their files are 0444 from 6.11 on, before that
  only the write tells (EIO). The drivers are known by the names of their queues, so nothing is written to find out.
* ``/proc/irq/N`` holds a directory per action, named like it; a number without one is not in use.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tuner.host.cpulist import CpuListError, CpuSet, parse_list, parse_mask
from tuner.host.files import HostFiles
from tuner.host.nics import Nic
from tuner.host.text import is_number

IRQ_ROOT = "/proc/irq"

# The last number in the action's name is the queue: eth2-TxRx-3, vmx0-rxtx-3, virtio2-input.3, mlx5_comp3@pci:…,
# mlx4-3@0000:…, nvme0q3, eth4-Rx3 (cxgb4), eth0-q3-rx (xen-netfront).
_QUEUE = re.compile(r"(?:[-.]|comp|blk|q|rx)(\d{1,5})(?:-[rt]x)?(?:@.*)?$", re.IGNORECASE)
# Not queues although they end in a number: link and mailbox vectors.
_NO_QUEUE = re.compile(r"(?:event|config|misc|async|mgmn?t|other|lsc|oicr|mbx)[a-z_]*[-.]?\d*(?:@.*)?$", re.IGNORECASE)
_SENDS_ONLY = re.compile(r"(?:-tx-?\d+$|-xdp-\d+$|-q\d+-tx$|output\.)", re.IGNORECASE)
# Hardware number and flow type in /proc/interrupts: "5-edge", "30 Level", "-event".
_FLOW = re.compile(r"-?\d+(?:-\S+| Edge| Level)?|-\S+")
# Queue interrupts of drivers that hand them to the kernel's own spreading (PCI_IRQ_AFFINITY, since 4.8..4.11): nvme I/O
# queues (queue 0 is the admin queue and is not managed), virtio-blk and virtio-scsi requests, the SCSI HBAs' reply queues.
_MANAGED = re.compile(r"nvme\d+q[1-9]\d*|virtio\d+-(?:req\.\d+|request)|(?:megasas|mpt[23]sas)\d+-msix\d+|mpi3mr\d+-msix\d+")
# IRQF_NOBALANCING: the kernel answers EIO to any affinity (arch/x86/kernel/time.c).
_FIXED = frozenset({"timer", "cascade", "hpet0"})


@dataclass(frozen=True, slots=True)
class Irq:
    """One numbered interrupt in use.

    ``device`` is a NIC's name, else a PCI address, else empty; ``ordinal`` tells vectors of one function apart to which the
    driver gave one name.
    """

    number: int
    pci: str
    device: str
    action: str
    actions: tuple[str, ...]
    chip: str
    queue: int | None
    receives: bool  # serves a receive queue
    requested: CpuSet
    effective: CpuSet
    managed: bool  # the kernel places it; user space may not
    ordinal: int = 0

    @property
    def label(self) -> str:
        """For people: ``eth2/eth2-TxRx-3``."""
        return self._named(self.device)

    @property
    def identity(self) -> str:
        """What stays when number and interface name change: ``0000:42:00.0/eth2-TxRx-3``.

        An interrupt without a device is a wire (IO-APIC): there the number stays.
        """
        return self._named(self.pci)

    def _named(self, owner: str) -> str:
        suffix = f"#{self.ordinal}" if self.ordinal else ""
        return f"{owner or f'irq{self.number}'}/{self.action}{suffix}"


def role_of(identity: str) -> tuple[str, str]:
    """(PCI address, what is left of the action without an interface's name) of an identity: ``TxRx-3``, ``Rx3``, ``q3-rx``.

    The second is empty where the action is a name and nothing else.
    """
    function, _, action = identity.partition("/")
    parts = action.split("-")
    two = len(parts) > 2 and (parts[-1].isdecimal() or parts[-1] in ("rx", "tx"))
    return function, "-".join(parts[-2:] if two else parts[-1:]) if len(parts) > 1 else ""


def read_irqs(files: HostFiles, nics: Iterable[Nic]) -> tuple[Irq, ...]:
    """All interrupts in use, by number: four small reads each, and one walk over the PCI functions' ``msi_irqs``."""
    by_function: dict[str, list[str]] = {}
    for nic in nics:
        by_function.setdefault(nic.pci or "", []).append(nic.name)
    owners = _pci_owners(files)
    described = _described(files)
    found: list[Irq] = []
    seen: Counter[tuple[str, str]] = Counter()
    for number in sorted({int(e) for e in files.entries(IRQ_ROOT) if is_number(e)}):
        chip, actions = described.get(number, ("", ()))
        actions = actions or _action_directories(files, number)
        if actions:
            pci = owners.get(number, "")
            names = by_function.get(pci, []) if pci else [name for group in by_function.values() for name in group]
            device = _by_name(actions[0], names) or (names[0] if pci and names else pci)
            queue = queue_of(actions[0], device)
            irq = _read_irq(files, number, chip, actions)
            receives = device in names and queue is not None and not _SENDS_ONLY.search(irq.action)
            ordinal = seen[pci, irq.action] if pci else 0
            found.append(replace(irq, pci=pci, device=device, queue=queue, receives=receives, ordinal=ordinal))
            seen[pci, irq.action] += 1
    return tuple(found)


def queue_of(action: str, device: str = "") -> int | None:
    """The queue that an interrupt serves, None for one that serves none (link, mailbox, configuration).

    What the driver took from the interface's name says nothing: a NIC may be called ``mgmt0`` or ``feed-1``.
    """
    served = re.sub(rf"(?:^|(?<=-)){re.escape(device)}(?=[-@]|$)", "", action, count=1) if device else action
    match = _QUEUE.search(served) if not _NO_QUEUE.search(served) else None
    return int(match[1]) if match else None


def _action_directories(files: HostFiles, number: int) -> tuple[str, ...]:
    base = f"{IRQ_ROOT}/{number}"
    return tuple(e for e in files.entries(base) if e not in _FILES and os.path.isdir(files.path(f"{base}/{e}")))


_FILES = frozenset(
    {"affinity_hint", "effective_affinity", "effective_affinity_list", "node", "smp_affinity", "smp_affinity_list", "spurious"}
)


def read_affinity(files: HostFiles, number: int) -> tuple[CpuSet, CpuSet]:
    """(requested, effective) CPUs of one interrupt; kernels before 4.13 have no effective one: it is the requested then.

    Raises:
        OSError: the number is gone.
    """
    requested = parse_list(files.text(f"{IRQ_ROOT}/{number}/smp_affinity_list"))
    effective = _optional_list(files, f"{IRQ_ROOT}/{number}/effective_affinity_list")
    return requested, effective or requested


def read_default_affinity(files: HostFiles) -> CpuSet:
    """The CPUs of interrupts that will be requested later (/proc/irq/default_smp_affinity, a mask).

    Raises:
        OSError: the host has no such file.
        CpuListError: it holds no mask.
    """
    return parse_mask(files.text(f"{IRQ_ROOT}/default_smp_affinity"))


def _read_irq(files: HostFiles, number: int, chip: str, actions: tuple[str, ...]) -> Irq:
    try:
        requested, effective = read_affinity(files, number)
    except (OSError, CpuListError):
        requested, effective = frozenset(), frozenset()
    action = actions[0]
    writable = files.writable_by_owner(f"{IRQ_ROOT}/{number}/smp_affinity_list")
    return Irq(
        number=number,
        pci="",
        device="",
        action=action,
        actions=actions,
        chip=chip,
        queue=None,
        receives=False,
        requested=requested,
        effective=effective,
        managed=not writable or action in _FIXED or bool(_MANAGED.fullmatch(action)),
    )


def _optional_list(files: HostFiles, name: str) -> CpuSet:
    try:
        return parse_list(files.optional(name) or "")
    except CpuListError:
        return frozenset()


def _pci_owners(files: HostFiles) -> Mapping[int, str]:
    owners = {}
    for function in files.entries("/sys/bus/pci/devices"):
        vectors = files.entries(f"/sys/bus/pci/devices/{function}/msi_irqs")
        owners.update({int(v): function for v in vectors if is_number(v)})
    return owners


def _by_name(action: str, nics: list[str]) -> str:
    # eth0-rx-0, eth0, i40e-eth0-TxRx-0: drivers that name the interface; the longest name first, eth0-1 before eth0
    longest_first = sorted(nics, key=len, reverse=True)
    leading = (n for n in longest_first if action == n or action.startswith((n + "-", n + "@")))
    return next(leading, None) or next((n for n in longest_first if f"-{n}-" in action), "")


def _described(files: HostFiles) -> dict[int, tuple[str, tuple[str, ...]]]:
    """Number -> (chip, actions) from /proc/interrupts, which alone says both at the cost of one file."""
    lines = (files.optional("/proc/interrupts") or "").split("\n")
    columns = sum(word.startswith("CPU") for word in lines[0].split())
    described = {}
    for line in lines[1:]:
        label, colon, rest = line.partition(":")
        if colon and is_number(label.strip()):
            described[int(label)] = _split_description(rest.split(None, columns)[columns:])
    return described


def _split_description(tail: list[str]) -> tuple[str, tuple[str, ...]]:
    # "PCI-MSI 34603008-edge      vmx0-rxtx-0, other": chip, hardware number and flow type, then the actions behind at least
    # two blanks (kernel/irq/proc.c show_interrupts); "PCI-MSI-edge      eth0" on old kernels without domains. Chips of
    # hypervisors have blanks in their names, "xen-dyn    -event     eth0-q0-rx" has no number.
    parts = re.split(r" {2,}", tail[0].strip(" ")) if tail else [""]
    if len(parts) == 1 or (len(parts) == 2 and " " not in parts[0] and _FLOW.fullmatch(parts[1])):
        return parts[0], ()
    chip, blank, last = parts[0].rpartition(" ")
    return (chip if blank and _FLOW.fullmatch(last) else parts[0]), tuple(parts[-1].split(", "))
