"""/proc/irq of a simulated host, as the drivers left it."""

from tuner.host.cpulist import CpuSet, format_list, format_mask
from tuner.host.simulated.shape import Interrupt, Shape, interrupts, pick
from tuner.host.simulated.writer import TreeWriter

IRQ_ROOT = "/proc/irq"
READ_ONLY = 0o444


def affinity_files(shape: Shape, number: int, wish: CpuSet, online: CpuSet | None = None) -> dict[str, str]:
    """The four files that say where an interrupt is wanted and where it goes, by name, as the kernel prints them.

    ``online``: the CPUs that can be interrupted, where some cannot.
    """
    effective = {pick(wish if online is None else (wish & online or online), number)}
    return {
        "smp_affinity": format_mask(wish, shape.cpus) + "\n",
        "smp_affinity_list": format_list(wish) + "\n",
        "effective_affinity": format_mask(effective, shape.cpus) + "\n",
        "effective_affinity_list": format_list(effective) + "\n",
    }


def write_irqs(tree: TreeWriter, shape: Shape) -> None:
    """All of /proc/irq."""
    tree.values(IRQ_ROOT, {"default_smp_affinity": format_mask(shape.all_cpus, shape.cpus)})
    for irq in interrupts(shape):
        write_irq(tree, shape, irq)


def write_irq(tree: TreeWriter, shape: Shape, irq: Interrupt) -> None:
    """One interrupt, as its driver asked for it."""
    base = f"{IRQ_ROOT}/{irq.number}"
    for name, content in affinity_files(shape, irq.number, irq.default).items():
        tree.put(f"{base}/{name}", content, 0o644 if irq.writable and name.startswith("smp") else READ_ONLY)
    tree.values(
        base,
        {
            "affinity_hint": format_mask(irq.hint, shape.cpus),
            "node": irq.node,
            "spurious": "count 0\nunhandled 0\nlast_unhandled 0 ms",
        },
        READ_ONLY,
    )
    tree.directory(f"{base}/{irq.action}")
