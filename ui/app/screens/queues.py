"""The receive queues of an interface: which core serves each, what comes, and whether that core should be left alone."""

from collections.abc import Mapping

from ingest.judgement import RESERVED
from ingest.sample import NicSample, QueueSample, Sample
from ui.app.state.history import History
from ui.app.state.interrupts import cpus_of
from ui.app.widgets.ramp import bar, drawn, short
from ui.app.widgets.table import Column, Row, Value
from ui.app.widgets.tones import BAD

KEYS = ("queue", "irq", "core", "role", "rate", "pps", "drops", "share", "stray")
ORDERS = (("queue", "queue", False), ("rate", "rate", True), ("drops", "drops", True), ("role", "role", False))
_WIDE = 130


def counted(nic: NicSample) -> bool:
    """Whether the driver counts packets or drops of any queue."""
    return any(queue.packets is not None or queue.drops is not None for queue in nic.queues)


def columns(with_counts: bool, width: int) -> tuple[Column, ...]:
    """For ``LiveTable``. Where there is room, the last column is a history."""
    found = [
        Column("queue", 6, True, "queue"), Column("irq", 5, True, "irq"), Column("core", 10, True),
        Column("role", 12, key="role"), Column("irq/s", 7, True, "rate"),
    ]  # fmt: skip
    if with_counts:
        found += [Column("packets/s", 9, True, "pps"), Column("drops/s", 7, True, "drops")]
    if width < _WIDE:
        return (*found, Column("share", 0))
    return (*found, Column("share", 20), Column("packets/s, newest on the right" if with_counts else "irq/s over time", 0))


def rows(sample: Sample, nic: NicSample, history: History, width: int) -> list[Row]:
    """One for each queue. Red: its interrupt lands on a core that is reserved, or it drops."""
    roles = {core.cpu: core.role for core in sample.cores}
    with_counts = counted(nic)
    by_packets = bool(nic.queues) and all(queue.packets_per_s is not None for queue in nic.queues)
    total = sum(_weight(queue, by_packets) for queue in nic.queues)
    shown = columns(with_counts, width)
    taken = sum(column.width + 1 for column in shown) - 1
    room = max(1, width - taken)
    share_room = 20 if width >= _WIDE else room
    found = []
    for queue in nic.queues:
        share = _weight(queue, by_packets) / total if total > 0 else 0.0
        past = drawn(history.queue_levels(nic.name, queue.queue, room)).rjust(room) if width >= _WIDE else None
        found.append(_row(nic.name, queue, roles, share, share_room, with_counts, past))
    return found


def _weight(queue: QueueSample, by_packets: bool) -> float:
    return (queue.packets_per_s or 0.0) if by_packets else queue.interrupts_per_s


def _row(
    nic: str, queue: QueueSample, roles: Mapping[int, str], share: float, room: int, with_counts: bool, past: str | None
) -> Row:
    """``with_counts``: whether the driver counts any queue; of one where it does not, that is said by ``-``."""
    there = {roles.get(cpu, "-") for cpu in cpus_of(queue.cpus)}
    role = there.pop() if len(there) == 1 else "several" if there else "-"
    stray = queue.interrupts_per_s > 0 and (role in RESERVED or bool(there & RESERVED))
    rates = ["-" if each is None else short(each) for each in (queue.packets_per_s, queue.drops_per_s)] if with_counts else []
    shown = f"{bar(share, max(1, room - 5))} {100 * share:.0f}%" if 0 <= share <= 1 else "-"
    irq = "-" if queue.irq is None else str(queue.irq)
    cells = (f"rx{queue.queue}", irq, queue.cpus or "-", role, short(queue.interrupts_per_s), *rates, shown)
    values: dict[str, Value] = {
        "queue": queue.queue, "irq": queue.irq, "core": queue.cpus, "role": role, "rate": queue.interrupts_per_s,
        "pps": queue.packets_per_s, "drops": queue.drops_per_s, "share": share, "stray": stray, "packets": queue.packets,
        "dropped": queue.drops,
    }  # fmt: skip
    tone = BAD if stray or queue.drops_per_s else ""
    return Row(f"{nic}/{queue.queue}", cells if past is None else (*cells, past), tone, values)
