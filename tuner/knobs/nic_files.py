"""Knobs that are files of one NIC: a single one, or the same of each queue. A new one is a class with leaf and ``about``.

The identity is ``tuner.host.nics.Nic.identity``, for the name in the path may be another one by the time it is put back.
Source: net/core/net-sysfs.c.
"""

from collections.abc import Mapping
from typing import ClassVar

from tuner.host.host import Inventory
from tuner.host.nics import NET_ROOT, Nic
from tuner.host.text import is_number
from tuner.knobs.knob import Json, Knob, Reading, State, Unsupported
from tuner.knobs.nic import find_nic
from tuner.knobs.plain import collapsed, expanded, number_or_text, same_everywhere


class NicFile(Knob):
    """One value of a NIC in one file."""

    leaf: ClassVar[str]  # below /sys/class/net/IF/

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The file's value."""
        nic = find_nic(inventory, identity)
        path = self.path(nic)
        try:
            value = number_or_text(inventory.host.files.text(path))
        except FileNotFoundError as error:
            raise Unsupported(f"this host has no {path}") from error
        return Reading(now=value, effective=value)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal values."""
        return "ok" if self.same(reading.effective, wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """One write."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """The same with the saved value."""
        inventory.refresh()  # another NIC may have taken the name since
        value = int(undo) if isinstance(undo, bool) else undo
        inventory.host.files.write(self.path(find_nic(inventory, identity)), str(value))
        inventory.refresh()

    def same(self, left: Json, right: Json) -> bool:
        """Equal values."""
        return bool(left == right)

    def path(self, nic: Nic) -> str:
        """The file."""
        return f"{NET_ROOT}/{nic.name}/{self.leaf}"


class QueueFiles(Knob):
    """The same setting of each queue of a NIC, as one change.

    A reading's ``now`` is one value where all queues have the same, else ``{queue list: value}``; ``effective`` is queue ->
    value. What is wanted is only dealt out to queues when it is compared or written: their number may change before that.
    """

    way: ClassVar[str]  # rx or tx
    leaf: ClassVar[str]  # below /sys/class/net/IF/queues/WAY-N/

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The value of each queue."""
        nic = find_nic(inventory, identity)
        values = {}
        for queue in queues(inventory, nic, self.way):
            text = inventory.host.files.optional(self.path(nic, queue))
            if text:  # a captured tree keeps an empty file of what the kernel refused to show
                values[queue] = self.parse(text)
        if not values:
            raise Unsupported(self.missing(nic))
        return Reading(now=collapsed(values), effective={str(queue): value for queue, value in values.items()})

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where every queue has what is dealt to it."""
        now = {int(queue): value for queue, value in reading.effective.items()}
        states = {self.compare_value(now[queue], value) for queue, value in self.dealt(wanted, list(now)).items()}
        return next((state for state in ("differs", "ok-rounded") if state in states), "ok")

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Writes each queue whose value is another."""
        del options
        inventory.refresh()
        nic = find_nic(inventory, identity)
        self._write(inventory, nic, self.dealt(wanted, queues(inventory, nic, self.way)))

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes each queue whose value is another; one that is gone has nothing to be put back."""
        inventory.refresh()
        nic = find_nic(inventory, identity)
        there = queues(inventory, nic, self.way)
        saved = expanded(undo, ",".join(map(str, there)))
        self._write(inventory, nic, {queue: value for queue, value in saved.items() if queue in there})

    def _write(self, inventory: Inventory, nic: Nic, values: Mapping[int, Json]) -> None:
        """Goes on where one is refused, and raises the first refusal after all were tried."""
        refused: OSError | None = None
        files = inventory.host.files
        for queue, value in values.items():
            path = self.path(nic, queue)
            now = files.optional(path)
            if not now or self.parse(now) == value:
                continue
            try:
                files.write(path, self.spell(inventory, value))
            except OSError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def same(self, left: Json, right: Json) -> bool:
        """Equal for every queue that both know."""
        return same_everywhere(left, right)

    def path(self, nic: Nic, queue: int) -> str:
        """The file of one queue."""
        return f"{NET_ROOT}/{nic.name}/queues/{self.way}-{queue}/{self.leaf}"

    def missing(self, nic: Nic) -> str:
        """What to say where no queue has it."""
        return f"no queue of {nic.name} has {self.leaf}"

    def dealt(self, wanted: Json, queues: list[int]) -> dict[int, Json]:
        """The value for each queue."""
        return dict.fromkeys(queues, wanted)

    def compare_value(self, now: Json, wanted: Json) -> State:
        """One queue."""
        return "ok" if now == wanted else "differs"

    def parse(self, text: str) -> Json:
        """The value in a file's text."""
        return number_or_text(text)

    def spell(self, inventory: Inventory, value: Json) -> str:
        """What is written for a value."""
        del inventory
        return str(value)


def queues(inventory: Inventory, nic: Nic, way: str) -> list[int]:
    """The numbers of a NIC's queues, as they are now."""
    names = inventory.host.files.entries(f"{NET_ROOT}/{nic.name}/queues")
    return sorted(int(name[3:]) for name in names if name.startswith(f"{way}-") and is_number(name[3:]))
