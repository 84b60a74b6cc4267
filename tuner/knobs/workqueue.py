"""``isolation.workqueues``: on which CPUs unbound work runs.

Source: Documentation/core-api/workqueue.rst; kernel/workqueue.c. The mask has no list form. From 6.8 on ``cpumask_requested``
keeps the wish apart from what is left of it after boot isolation and partitions.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import format_list, format_mask, parse_list, parse_mask
from tuner.host.host import Inventory
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported

_BASE = "/sys/devices/virtual/workqueue"


class Workqueues(Knob):
    """The CPUs of unbound workqueues, as a CPU list; the identity is always ``unbound``."""

    family: ClassVar[str] = "isolation.workqueues"
    about: ClassVar[About] = About(
        "On which CPUs unbound work of the kernel runs",
        "The housekeeping cores; work that a driver queues to a CPU by name still runs there",
        "/sys/devices/virtual/workqueue/cpumask",
        "the same file; cpumask_requested keeps the wish apart from 6.8 on",
        quirks=("an empty mask is EINVAL, one too wide EOVERFLOW",),
        source="Documentation/core-api/workqueue.rst, kernel/workqueue.c",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """Requested and effective CPUs."""
        del identity
        files = inventory.host.files
        effective = files.optional(f"{_BASE}/cpumask")
        if effective is None:
            raise Unsupported(f"this kernel has no {_BASE}/cpumask")
        requested = files.optional(f"{_BASE}/cpumask_requested") or effective
        possible = inventory.topology.possible
        now, used = parse_mask(requested) & possible, parse_mask(effective) & possible
        return Reading(now=format_list(now), effective=format_list(used))

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where just these were asked for and no others are used."""
        inside = parse_list(reading.effective) <= parse_list(str(wanted))
        return "ok" if self.same(reading.now, wanted) and inside else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Writes the mask."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes the saved mask."""
        del identity
        inventory.host.files.write(f"{_BASE}/cpumask", format_mask(parse_list(str(undo)), inventory.topology.count))

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """The one there is."""
        del inventory
        return [("host", "unbound")]

    def same(self, left: Json, right: Json) -> bool:
        """Equal sets of CPUs."""
        return parse_list(str(left)) == parse_list(str(right))
