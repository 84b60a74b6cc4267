"""``isolation.workqueues`` and ``isolation.workqueue_masks``: on which CPUs unbound work runs.

Source: Documentation/core-api/workqueue.rst; kernel/workqueue.c. The mask has no list form. From 6.8 on ``cpumask_requested``
keeps the wish apart from what is left of it after boot isolation and partitions. A workqueue with a mask of its own runs on
what both masks share, and on the global one's CPUs where they share nothing; 3.10 (RHEL 7) has only the masks of their own.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import format_list, format_mask, parse_list, parse_mask
from tuner.host.files import HostFiles
from tuner.host.host import Inventory
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported

_BASE = "/sys/devices/virtual/workqueue"


def has_global_mask(files: HostFiles) -> bool:
    """Whether one mask bounds all unbound workqueues (4.1)."""
    return files.exists(f"{_BASE}/cpumask")


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


class WorkqueueMasks(Knob):
    """The masks of the workqueues that have one of their own, as CPU lists by name; the identity is always ``each``.

    A reading is one CPU list where all have the same, else ``{workqueue: CPU list}``.
    """

    family: ClassVar[str] = "isolation.workqueue_masks"
    about: ClassVar[About] = About(
        "On which CPUs workqueues run that have a mask of their own: writeback, blkcg_punt_bio, drivers'",
        "The housekeeping cores. The global mask bounds them anyway where there is one (4.1); before, this is all",
        "/sys/devices/virtual/workqueue/NAME/cpumask",
        quirks=(
            "an empty mask is EINVAL, one too wide EOVERFLOW",
            "a mask that shares nothing with the global one counts as the global one",
        ),
        source="Documentation/core-api/workqueue.rst, kernel/workqueue.c (apply_wqattrs_prepare)",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The mask of each."""
        del identity
        masks = self._masks(inventory)
        if not masks:
            raise Unsupported(f"no workqueue here has a mask of its own below {_BASE}")
        values = set(masks.values())
        now: Json = values.pop() if len(values) == 1 else masks
        return Reading(now=now, effective=now, undo=masks, note=", ".join(masks))

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where each is within what is wanted."""
        allowed = parse_list(str(wanted))
        masks = reading.effective.values() if isinstance(reading.effective, Mapping) else [reading.effective]
        return "ok" if all(parse_list(str(mask)) <= allowed for mask in masks) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Writes each that goes beyond."""
        del options
        allowed = parse_list(str(wanted))
        beyond = {name: wanted for name, mask in self._masks(inventory).items() if not parse_list(mask) <= allowed}
        self.restore(inventory, identity, beyond)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes each whose mask is another; one that left with its driver has none to be written."""
        del identity
        now = self._masks(inventory)
        for name, mask in undo.items():
            if name in now and not self.same(now[name], mask):
                text = format_mask(parse_list(str(mask)), inventory.topology.count)
                inventory.host.files.write(f"{_BASE}/{name}/cpumask", text)

    def same(self, left: Json, right: Json) -> bool:
        """Equal sets of CPUs for every workqueue that both know."""
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            return all(self.same(left[name], right[name]) for name in left.keys() & right.keys())
        if isinstance(left, Mapping) or isinstance(right, Mapping):
            many, one = (left, right) if isinstance(left, Mapping) else (right, left)
            return all(self.same(each, one) for each in many.values())
        return parse_list(str(left)) == parse_list(str(right))

    @staticmethod
    def _masks(inventory: Inventory) -> dict[str, str]:
        files, possible = inventory.host.files, inventory.topology.possible
        found = {name: files.optional(f"{_BASE}/{name}/cpumask") for name in files.entries(_BASE) if "cpumask" not in name}
        return {name: format_list(parse_mask(text) & possible) for name, text in found.items() if text}

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """All of them together."""
        del inventory
        return [("host", "each")]
