"""What a profile requires of a host before anything is written: ``count(rx) >= 4``, ``rx <= node(feed)``, ``kernel >= 6.1``.

A requirement compares two sides by one of ``== != < <= > >=``. A side is ``count(S)`` (how many CPUs a core set has here) or a
number, ``kernel`` (the running one) or a version, ``driver(X)`` (of the NIC that a part is bound to) or a quoted text, or a
core set: between sets ``<=`` means "lies within". Versions are compared to as many numbers as are written: ``kernel == 6.1`` is
true of 6.1.55.
"""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tuner.host.cpulist import format_list
from tuner.host.text import printable
from tuner.language.request import Request

Sort = Literal["kernel", "count", "driver", "text", "plain"]

_LIMIT = 1000
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_SPLIT = re.compile(r"""((?:[^"'<>=!]|"[^"]*"|'[^']*')*)(==|!=|<=|>=|<|>)((?:[^"'<>=!]|"[^"]*"|'[^']*')*)""")
_SIDES: tuple[tuple[Sort, re.Pattern[str]], ...] = (
    ("kernel", re.compile(r"(kernel)")),
    ("count", re.compile(r"count\((.+)\)")),
    ("driver", re.compile(r"driver\(\s*([a-z][a-z0-9_]*)\s*\)")),
    ("text", re.compile(r""""([^"]*)"|'([^']*)'""")),
)
_NUMBER = re.compile(r"[0-9]{1,9}")
_VERSION = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,5}){0,3}")
EXAMPLE = 'for example require = ["count(rx) >= 4", "kernel >= 6.1"]'
# Words of this language that a core set of the same name would hide.
WORDS = ("kernel", "driver")


class RequirementError(ValueError):
    """A requirement that cannot be read, or that compares what cannot be compared."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side: what sort of thing it is, and the core set, the part or the text in it."""

    sort: Sort
    text: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """Two sides and the sign between them; ``text`` is as it was written."""

    text: str
    left: Side
    sign: str
    right: Side

    def expressions(self) -> Iterable[str]:
        """The core sets in it."""
        for side in (self.left, self.right):
            if side.sort == "count" or (side.sort == "plain" and not _VERSION.fullmatch(side.text)):
                yield side.text

    def parts(self) -> Iterable[str]:
        """The bound parts whose drivers it asks for."""
        return (side.text for side in (self.left, self.right) if side.sort == "driver")


def parse(text: str) -> Requirement:
    """Reads one.

    Raises:
        RequirementError: no comparison, or one of things that cannot be compared.
    """
    match = _SPLIT.fullmatch(text) if len(text) <= _LIMIT else None
    if match is None or not match[1].strip() or not match[3].strip():
        raise RequirementError("not a comparison of two things by one of == != <= >= < >")
    left, right = _side(match[1].strip()), _side(match[3].strip())
    for one, other in ((left, right), (right, left)):
        wanted = {"kernel": "a version, as 6.1", "count": "a number, or count(…)", "driver": 'a text, as "ice"'}.get(one.sort)
        good = {
            "kernel": other.sort == "plain" and _VERSION.fullmatch(other.text),
            "count": other.sort == "count" or (other.sort == "plain" and _NUMBER.fullmatch(other.text)),
            "driver": other.sort in ("text", "driver"),
        }.get(one.sort, True)
        if not good:
            raise RequirementError(f"compares {_named(one)} with {_named(other)}, not with {wanted}")
        if one.sort == "text" and other.sort != "driver":
            raise RequirementError("compares a text with what is no driver(…)")
        if one.sort == "driver" and match[2] not in ("==", "!="):
            raise RequirementError("compares texts by more than == and !=")
    return Requirement(text, left, match[2], right)


def _side(text: str) -> Side:
    for sort, pattern in _SIDES:
        if match := pattern.fullmatch(text):
            return Side(sort, next(group for group in match.groups() if group is not None))
    return Side("plain", text)


def _named(side: Side) -> str:
    plain = {"count": f"count({side.text})", "driver": f"driver({side.text})", "text": f'"{side.text}"'}
    return printable(plain.get(side.sort, side.text), 60)


def unmet(requirement: Requirement, request: Request) -> str:
    """Why it does not hold on this host: both sides with their values; empty where it holds.

    Raises:
        CoreSetError: a core set in it makes no sense here.
        CpuListError: the same.
    """
    sorts: set[str] = {requirement.left.sort, requirement.right.sort}
    left, shown_left = _value(requirement.left, request, sorts)
    right, shown_right = _value(requirement.right, request, sorts)
    if "kernel" in sorts:
        if not (left and right):
            return "this host does not say which kernel it runs"
        written = min(len(left), len(right))
        left, right = left[:written], right[:written]
    if _OPERATORS[requirement.sign](left, right):
        return ""
    told = [f"{_named(s)} is {v}" for s, v in ((requirement.left, shown_left), (requirement.right, shown_right)) if v]
    return f"'{printable(requirement.text, 120)}' does not hold here: " + ", ".join(told)


def _value(side: Side, request: Request, sorts: set[str]) -> tuple[Any, str]:
    """What a side is here, to be compared, and in words; no words where it says it itself."""
    if side.sort == "kernel":
        release = request.inventory.host.kernel
        return _version(release), release
    if side.sort == "driver":
        driver = request.nic(side.text).driver
        return driver, f'"{printable(driver)}" (of {printable(request.bindings[side.text])})' if driver else "not known"
    if side.sort == "text":
        return side.text, ""
    if side.sort == "plain" and "kernel" in sorts:
        return _version(side.text), ""
    if side.sort == "plain" and "count" in sorts:
        return int(side.text), ""
    cpus = request.sets.evaluate(side.text)
    listed = f"CPU {format_list(cpus)}" if cpus else "empty"
    return (len(cpus), f"{len(cpus)} ({listed})") if side.sort == "count" else (cpus, listed)


def _version(release: str) -> tuple[int, ...]:
    match = _VERSION.match(release)
    return tuple(int(number) for number in match[0].split(".")) if match else ()
