"""Where interrupts and neighbours disturb cores that trade.

Source: kernel/irq/proc.c (effective affinity), /proc/stat; what two threads of one core share is told by their siblings list.
"""

from collections.abc import Iterator

from tuner.doctor.finding import Finding
from tuner.doctor.view import View
from tuner.host.cpulist import CpuListError, CpuSet, format_list, parse_list
from tuner.host.irqs import Irq
from tuner.host.text import printable

_SPINS, _BUSY = 0.9, 0.05  # shares of a moment


def on_isolated(view: View) -> Iterator[Finding]:
    """Interrupts of devices that land on isolated cores, and were not placed there by the applied profile."""
    if not view.isolated:
        return
    placed: dict[str, CpuSet] = {}
    for (knob, identity), value in view.wanted.items():
        if knob == "irq.affinity":
            try:
                placed[identity] = parse_list(str(value))
            except CpuListError:
                continue
    strays: dict[bool, list[Irq]] = {True: [], False: []}
    for irq in view.inventory.irqs:
        landing = irq.effective & view.isolated
        if landing and irq.action not in ("timer", "cascade") and not landing <= placed.get(irq.identity, frozenset()):
            strays[irq.managed].append(irq)
    for managed, irqs in strays.items():
        if not irqs:
            continue
        cpus = frozenset(cpu for irq in irqs for cpu in irq.effective & view.isolated)
        remedy = (
            f'[boot] isolcpus = "managed_irq,{{{format_list(view.isolated)}}}"' if managed else '[irq] default = "housekeeping"'
        )
        yield Finding(
            "irq-on-isolated",
            "medium" if managed else "high",
            f"CPU {format_list(cpus)}",
            f"{len(irqs)} {'managed ' if managed else ''}interrupt{'s' if len(irqs) > 1 else ''} land on isolated cores: "
            + printable(", ".join(irq.label for irq in irqs[:4]), 120)
            + (" …" if len(irqs) > 4 else ""),
            tuple(f"/proc/irq/{irq.number}/effective_affinity_list: {format_list(irq.effective)}" for irq in irqs[:8]),
            "each interrupt, and the work behind it, stops whatever runs there for microseconds",
            remedy,
        )


def on_spinner(view: View) -> Iterator[Finding]:
    """Receive interrupts on an isolated core on which a pinned thread spins."""
    pinned: dict[int, str] = {}
    for thread in view.threads:
        if not thread.kernel and len(thread.allowed) == 1 and (cpu := next(iter(thread.allowed))) in view.isolated:
            pinned.setdefault(cpu, thread.name)
    for irq in view.inventory.irqs:
        cpus = [cpu for cpu in irq.effective if cpu in pinned and view.busy_share(cpu) >= _SPINS]
        if irq.receives and cpus:
            name, share = printable(pinned[cpus[0]], 30), view.busy_share(cpus[0])
            yield Finding(
                "irq-on-spinner",
                "medium",
                f"CPU {cpus[0]}",
                f"{printable(irq.label)} interrupts a core on which {name} spins ({share:.0%} busy)",
                (f"/proc/irq/{irq.number}/effective_affinity_list: {format_list(irq.effective)}", "/proc/stat"),
                "a thread that polls needs no interrupt: it is stopped by each, and the packet is handled before it may go on",
                "place the queue on a neighbour in its cache: [irq] PART = …; or [nic.PART] coalesce = { rx_usecs = 60 }",
            )


def remote_node(view: View) -> Iterator[Finding]:
    """Receive interrupts on another NUMA node than their NIC."""
    topology = view.inventory.topology
    for nic in view.inventory.nics:
        local = topology.nodes.get(nic.node, frozenset()) & topology.online
        if not nic.physical or not local or len(topology.nodes) < 2:
            continue
        remote = [irq for irq in view.inventory.irqs if irq.device == nic.name and irq.receives and irq.effective - local]
        if not remote:
            continue
        cpus = format_list(frozenset(cpu for irq in remote for cpu in irq.effective - local))
        feeds = nic.name in view.bindings.values() or nic.name in view.groups
        part = next((part for part, name in view.bindings.items() if name == nic.name), "feed")
        yield Finding(
            "remote-node",
            "medium" if feeds and nic.up else "low",
            printable(nic.name),
            f"{len(remote)} receive queues of {printable(nic.name)} (node {nic.node}) interrupt CPU {cpus} of another node",
            (
                f"/sys/class/net/{printable(nic.name)}/device/numa_node: {nic.node}",
                *(f"/proc/irq/{irq.number}/effective_affinity_list: {format_list(irq.effective)}" for irq in remote[:4]),
            ),
            "each packet's descriptor and data cross the link between the nodes: some hundred nanoseconds for every miss",
            f'[cores] rx = "first({len(remote)}, cores(node({part}) - housekeeping))" and [irq] {part} = "rx"',
        )


def busy_sibling(view: View) -> Iterator[Finding]:
    """An isolated core whose other thread works."""
    topology = view.inventory.topology
    for cpu in sorted(view.isolated):
        for sibling in sorted(topology.siblings([cpu]) - view.isolated):
            share = view.busy_share(sibling)
            if share >= _BUSY:
                yield Finding(
                    "busy-sibling",
                    "medium",
                    f"CPU {cpu}",
                    f"CPU {cpu} is isolated; CPU {sibling}, the other thread of its core, is not, and is {share:.0%} busy",
                    (f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", "/proc/stat"),
                    "two threads share one core's execution units and first caches: the isolated one slows by a third and more",
                    '[isolation] cores = "smt(rx)", so that the siblings are isolated, too',
                )


LINTS = (on_isolated, on_spinner, remote_node, busy_sibling)
