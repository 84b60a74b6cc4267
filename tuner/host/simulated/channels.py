"""What a simulated host makes of another number of channels: interrupts, queues and the RSS table follow.

Source: ixgbe_set_channels and what it calls (close, vectors given back and asked for anew, open), net/core/net-sysfs.c (queue
directories), net/ethtool/channels.c (EINVAL for more than there are, or fewer than a table that was set points at).
"""

import errno
import os
import shutil

from tuner.host.files import HostFiles, replace_content
from tuner.host.simulated import counters
from tuner.host.simulated.documents import Document, change_document
from tuner.host.simulated.shape import Interrupt, PciFunction, Shape, interrupts, nics
from tuner.host.simulated.tree_devices import READ_ONLY, default_indirection, write_queues
from tuner.host.simulated.tree_irqs import IRQ_ROOT, write_irq
from tuner.host.simulated.writer import TreeWriter


def check(document: Document, combined: int) -> None:
    """Refuses what ethtool_set_channels refuses.

    Raises:
        OSError: EINVAL.
    """
    channels, rss = document["channels"], document.get("rss")
    table = rss["indirection"] if isinstance(rss, dict) else []
    configured = table != default_indirection(int(channels["combined"]))
    if not 0 < combined <= int(channels["combined_max"]) or (configured and max(table, default=0) >= combined):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def resize(files: HostFiles, shape: Shape, ifname: str, before: int, combined: int) -> None:
    """From ``before`` channels to ``combined``. Done twice, or again after a death in its middle, it comes to the same."""
    base = files.resolved(f"/sys/class/net/{ifname}")
    function = next((f for f in nics(shape) if f.directory == base.rsplit("/", 2)[0]), None)
    if function is None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), ifname)
    numbered = {irq.number: irq for irq in interrupts(shape)}
    queues = [numbered[n] for n, vector in zip(function.irqs, function.vectors, strict=True) if "-TxRx-" in vector]
    for queue in range(min(before, combined), max(before, combined)):
        _remove(files, function, base, queues[queue], queue)
    tree = TreeWriter(files.root)
    for queue in range(before, combined):
        write_irq(tree, shape, queues[queue])
        tree.put(f"{function.directory}/msi_irqs/{queues[queue].number}", "msix\n", READ_ONLY)
    write_queues(tree, shape.cpus, base, range(before, combined), function.queues)
    _list(files, shape, queues[:combined], queues[combined:])

    def change(document: Document) -> None:
        old = int(document["channels"]["combined"])
        document["channels"]["combined"] = combined
        if isinstance(document.get("rss"), dict) and document["rss"]["indirection"] == default_indirection(old):
            document["rss"]["indirection"] = default_indirection(combined)

    change_document(files.path(f"/ethtool/{ifname}.json"), change)


def _remove(files: HostFiles, function: PciFunction, base: str, irq: Interrupt, queue: int) -> None:
    for name in (f"{IRQ_ROOT}/{irq.number}", f"{base}/queues/rx-{queue}", f"{base}/queues/tx-{queue}"):
        shutil.rmtree(files.path(name), ignore_errors=True)
    vector = files.path(f"{function.directory}/msi_irqs/{irq.number}")
    if os.path.exists(vector):
        os.unlink(vector)


def _list(files: HostFiles, shape: Shape, there: list[Interrupt], gone: list[Interrupt]) -> None:
    """/proc/interrupts: the rows of new vectors begin at 0."""
    fresh = counters.interrupts_table(shape.cpus, [(irq.number, irq.chip, irq.action) for irq in there])
    head, *lines = files.read("/proc/interrupts").decode().splitlines(keepends=True)
    rows = {line.partition(":")[0].strip(): line for line in lines if line.strip()}
    for irq in gone:
        rows.pop(str(irq.number), None)
    for irq in there:
        rows.setdefault(str(irq.number), fresh.line(str(irq.number)))
    numbers = sorted((label for label in rows if label.isdecimal()), key=int)
    ordered = [rows[n] for n in numbers] + [line for label, line in rows.items() if not label.isdecimal()]
    replace_content(files.path("/proc/interrupts"), (head + "".join(ordered)).encode())
