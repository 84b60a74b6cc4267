"""Knobs that are files: one of the host's, or one of each CPU's. A new one of these is a class with a path and an ``about``.

The kernel's rules for all of them: one write is one value, the error comes from the write, and a success may have changed
nothing or something else: so every knob is read back (Documentation/filesystems/sysfs.rst).
"""

from collections.abc import Callable, Mapping
from operator import eq
from typing import ClassVar

from tuner.host.cpulist import format_list, parse_list
from tuner.host.host import Inventory
from tuner.knobs.knob import Json, Knob, Reading, State, Unsupported


def number_or_text(text: str) -> Json:
    """A decimal number as one, else the text."""
    return int(text) if text.lstrip("-").isascii() and text.lstrip("-").isdigit() and len(text) <= 20 else text


def chosen(text: str) -> str:
    """The word in brackets of ``always [madvise] never``; the whole text where none is."""
    inside = text.partition("[")[2].partition("]")[0].strip()
    return inside or text


def offered(text: str) -> tuple[str, ...]:
    """All words of such a list."""
    return tuple(text.replace("[", " ").replace("]", " ").split())


class HostFile(Knob):
    """One value in one file; the identity is ``host``."""

    path: ClassVar[str]

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The file's value."""
        del identity
        value = self.parse(_text(inventory, self.path))
        return Reading(now=value, effective=value)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where what is in effect means what is wanted."""
        return "ok" if self.same(reading.effective, wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """One write."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """The same with the saved value."""
        del identity
        inventory.host.files.write(self.path, self.spell(undo))

    def same(self, left: Json, right: Json) -> bool:
        """Equal values."""
        return bool(left == right)

    def parse(self, text: str) -> Json:
        """The value in the file's text."""
        return number_or_text(text)

    def spell(self, value: Json) -> str:
        """What is written for a value; a flag is 1 or 0."""
        return str(int(value)) if isinstance(value, bool) else str(value)


class Choice(HostFile):
    """One of some words, shown as ``always [madvise] never``."""

    def parse(self, text: str) -> Json:
        """The word in brackets."""
        return chosen(text)


class CpuFiles(Knob):
    """The same setting of each CPU; the identity is the list of the CPUs.

    A reading is one value where all have the same, else ``{CPU list: value}``. A CPU that is offline has no such file and is
    left out; where none has it, the host does not support it.
    """

    leaf: ClassVar[str]  # below /sys/devices/system/cpu/cpuN/

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The value of each CPU."""
        values = {}
        for cpu in sorted(parse_list(identity)):
            text = inventory.host.files.optional(self.path(inventory, cpu))
            if text is not None:
                values[cpu] = self.parse(text)
        if not values:
            raise Unsupported(f"this host has no {self.path(inventory, min(parse_list(identity), default=0))}")
        now = collapsed(values)
        return Reading(now=now, effective=now)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where every CPU has what is wanted."""
        values = reading.effective.values() if isinstance(reading.effective, Mapping) else [reading.effective]
        return "ok" if all(self.same_value(each, wanted) for each in values) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Writes each CPU whose value is another."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes each CPU whose value is another, and goes on where one is refused.

        Raises:
            OSError: the first refusal, after every CPU was tried.
        """
        refused: OSError | None = None
        files = inventory.host.files
        for cpu, value in expanded(undo, identity).items():
            path = self.path(inventory, cpu)
            now = files.optional(path)
            if now is None or self.same_value(self.parse(now), value):
                continue
            try:
                files.write(path, self.spell(value))
            except OSError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def same(self, left: Json, right: Json) -> bool:
        """Equal on every CPU that both know."""
        return same_everywhere(left, right, self.same_value)

    def path(self, inventory: Inventory, cpu: int) -> str:
        """The file of one CPU."""
        del inventory
        return f"/sys/devices/system/cpu/cpu{cpu}/{self.leaf}"

    def same_value(self, left: Json, right: Json) -> bool:
        """Equal values of one CPU."""
        return bool(left == right)

    def parse(self, text: str) -> Json:
        """The value in the file's text."""
        return number_or_text(text)

    def spell(self, value: Json) -> str:
        """What is written for a value; a flag is 1 or 0."""
        return str(int(value)) if isinstance(value, bool) else str(value)


def collapsed(values: Mapping[int, Json]) -> Json:
    """One value where all are equal, else ``{CPU list: value}`` in the order of the lowest CPU."""
    groups: list[tuple[Json, list[int]]] = []
    for cpu, value in values.items():
        members = next((cpus for each, cpus in groups if each == value), None)
        if members is None:
            groups.append((value, [cpu]))
        else:
            members.append(cpu)
    if len(groups) == 1:
        return groups[0][0]
    return {format_list(frozenset(cpus)): value for value, cpus in groups}


def expanded(value: Json, cpus: str) -> dict[int, Json]:
    """CPU -> value, from what ``collapsed`` made; ``cpus`` are meant where it is one value."""
    if isinstance(value, Mapping):
        return {cpu: each for key, each in value.items() for cpu in parse_list(str(key))}
    return dict.fromkeys(sorted(parse_list(cpus)), value)


def same_everywhere(left: Json, right: Json, same: Callable[[Json, Json], bool] = eq) -> bool:
    """Whether two of what ``collapsed`` makes mean the same, on every member that both know."""
    if not isinstance(left, Mapping) and not isinstance(right, Mapping):
        return bool(same(left, right))
    members = ",".join(key for each in (left, right) if isinstance(each, Mapping) for key in each)
    ours, theirs = expanded(left, members), expanded(right, members)
    return all(same(ours[each], theirs[each]) for each in ours.keys() & theirs.keys())


def _text(inventory: Inventory, path: str) -> str:
    try:
        return inventory.host.files.text(path)
    except FileNotFoundError as error:
        raise Unsupported(f"this kernel has no {path}") from error
