"""Kinds of values that a profile can hold: each checks one, names its core sets, and describes itself to an editor.

A kind never raises on bad input: it reports every fault that it finds, so that a file's faults all show at once.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tuner.host.text import printable

Json = Any
Schema = dict[str, Any]  # JSON Schema, draft 2020-12

AT_LEAST, AT_MOST = "at-least:", "at-most:"
_BOUND = re.compile(r"(?:at-least|at-most):([0-9]{1,19})")  # not \d, which takes the digits of every script
_MAXIMUM = re.compile(r"max(?::([1-9][0-9]{0,18}))?")
_COUNT = re.compile(r"count\((.{1,900})\)")
# For editors: what tuner.host.text.printable would have to change, as the inside of a regular expression's class.
UNSAFE = r"\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069"
_PLAIN = rf"^[^{UNSAFE}]*[^\s{UNSAFE}][^{UNSAFE}]*$"
LIST_LIMIT = 64


class Report(Protocol):
    """Takes a fault: what is wrong, what to do instead, and where below the value it stands."""

    def __call__(self, what: str, hint: str = "", *below: str) -> None:
        """One fault."""


class Kind(Protocol):
    """What may stand at a place."""

    def check(self, value: object, report: Report) -> Json:
        """The value as it is kept; None after a fault was reported."""

    def expressions(self, value: Json) -> Iterable[str]:
        """The core sets in a checked value."""

    def schema(self) -> Schema:
        """The same rules for an editor."""

    def words(self) -> str:
        """The same rules for people, in a few words."""

    def sample(self) -> str:
        """A value that it takes, as TOML; empty where it takes none."""


def plain_text(limit: int) -> Schema:
    """Not empty, no control characters, at most so many characters."""
    return {"type": "string", "maxLength": limit, "pattern": _PLAIN}


def is_number(value: object) -> bool:
    """A whole number; TOML's ``true`` is none."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Flag:
    """``true`` or ``false``."""

    def check(self, value: object, report: Report) -> Json:
        """A TOML boolean; 0 and 1 are what habit writes."""
        if isinstance(value, bool):
            return value
        report("neither true nor false", "write true or false, without quotes")
        return None

    def expressions(self, value: Json) -> Iterable[str]:
        """None."""
        del value
        return ()

    def schema(self) -> Schema:
        """A boolean."""
        return {"type": "boolean"}

    def words(self) -> str:
        """For people."""
        return "`true` or `false`"

    def sample(self) -> str:
        """On, whatever it is."""
        return "true"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from ``low`` to ``high``, in ``unit``.

    Attributes:
        named: words that stand for a number or for what no number says (``n/a``).
        maximum: ``max`` and ``max:N`` are taken: as much as the host has, at most N.
        bounds: ``at-least:N`` (raise only) and ``at-most:N`` (lower only) are taken.
        counted: ``count(S)`` is taken: as many as the core set has CPUs.
        example: for the fault's hint, where the words alone do not teach.
    """

    low: int = 0
    high: int = (1 << 63) - 1
    unit: str = ""
    named: tuple[str, ...] = ()
    maximum: bool = False
    bounds: bool = True
    counted: bool = False
    example: str = ""

    def check(self, value: object, report: Report) -> Json:
        """A number within the bounds, or one of the forms."""
        if is_number(value):
            return self._within(int(value), value, report)  # type: ignore[call-overload]
        if isinstance(value, float):
            what = "not a number" if math.isnan(value) or math.isinf(value) else "not a whole number"
            report(what, self._example())
            return None
        if isinstance(value, str):
            if value in self.named or (self.counted and _COUNT.fullmatch(value) and printable(value, 2000) == value):
                return value
            if match := (self.maximum and _MAXIMUM.fullmatch(value)) or (self.bounds and _BOUND.fullmatch(value)):
                return value if match[1] is None else self._within(int(match[1]), value, report)
        if isinstance(value, str) and value.startswith((AT_LEAST, AT_MOST)):
            report("not a number to reach", f'for example "{value.partition(":")[0]}:67108864"')
        else:
            report("not a number" + (f" of {self.unit}" if self.unit else ""), self._example())
        return None

    def _within(self, number: int, value: object, report: Report) -> Json:
        if self.low <= number <= self.high:
            return value
        report(
            f"out of range: {printable(str(number), 40)}",
            f"from {self.low} to {self.high}" + (f" {self.unit}" if self.unit else ""),
        )
        return None

    def _example(self) -> str:
        return self.example or self.words().replace("`", "")

    def expressions(self, value: Json) -> Iterable[str]:
        """What is counted."""
        match = _COUNT.fullmatch(value) if isinstance(value, str) else None
        return (match[1],) if match else ()

    def schema(self) -> Schema:
        """An integer, or the text of a form."""
        forms: list[Schema] = [{"type": "integer", "minimum": self.low, "maximum": self.high}]
        if self.named:
            forms.append({"enum": list(self.named)})
        if patterns := [p.pattern for p, taken in self._patterns() if taken]:
            whole = "^(?:" + "|".join(patterns) + ")$"
            forms.append({"type": "string", "pattern": whole.replace(".{1,900}", f"[^{UNSAFE}]{{1,900}}")})
        return forms[0] if len(forms) == 1 else {"anyOf": forms}

    def _patterns(self) -> tuple[tuple[re.Pattern[str], bool], ...]:
        return (_MAXIMUM, self.maximum), (_BOUND, self.bounds), (_COUNT, self.counted)

    def words(self) -> str:
        """For people."""
        high = f" to {self.high}" if self.high < (1 << 62) else " or more"
        forms = [f"{self.low}{high}" + (f" {self.unit}" if self.unit else "")]
        forms += [f'`"{word}"`' for word in self.named]
        forms += ['`"max"`, `"max:N"`'] if self.maximum else []
        forms += ['`"count(S)"`'] if self.counted else []
        forms += ['`"at-least:N"`, `"at-most:N"`'] if self.bounds else []
        return ", ".join(forms)

    def sample(self) -> str:
        """As much as there is, a word, or the number next to nought."""
        word = "max" if self.maximum else self.named[0] if self.named else ""
        return f'"{word}"' if word else str(min(max(self.low, 0), self.high))


@dataclass(frozen=True, slots=True)
class Word:
    """One of some words, or a list of them: the first that the host offers.

    Attributes:
        known: the words; empty: any short text (``free``), which the host is asked about.
    """

    known: tuple[str, ...] = ()
    example: str = ""

    def check(self, value: object, report: Report) -> Json:
        """A word, or a list of some."""
        if isinstance(value, list):
            if not 0 < len(value) <= LIST_LIMIT:
                report("an empty list", f"for example [{self._example()}], the first that the host has")
                return None
            kept = [self._one(each, report) for each in value]
            return None if None in kept else kept
        return self._one(value, report)

    def _one(self, value: object, report: Report) -> str | None:
        if not isinstance(value, str) or not value.strip() or len(value) > 64 or printable(value, 200) != value:
            report("not a word", f"for example {self._example()}")
            return None
        if self.known and value not in self.known:
            report(f"unknown word '{printable(value, 40)}'", f"known: {', '.join(self.known)}")
            return None
        return value

    def _example(self) -> str:
        return f'"{self.example or (self.known or ("performance",))[0]}"'

    def expressions(self, value: Json) -> Iterable[str]:
        """None."""
        del value
        return ()

    def schema(self) -> Schema:
        """An enumeration, or a list of it."""
        one: Schema = {"enum": list(self.known)} if self.known else plain_text(64)
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": LIST_LIMIT}]}

    def words(self) -> str:
        """For people."""
        return (
            ", ".join(f'`"{word}"`' for word in self.known) or "a word that the host offers"
        ) + ", or a list: the first offered"

    def sample(self) -> str:
        """The example, or the first word."""
        return self._example()


@dataclass(frozen=True, slots=True)
class Text:
    """A short text without control characters."""

    example: str
    limit: int = 1000

    def check(self, value: object, report: Report) -> Json:
        """Not empty, not endless, nothing that a terminal would act on."""
        if isinstance(value, str) and value.strip() and len(value) <= self.limit and printable(value, 2 * self.limit) == value:
            return value
        report(
            "holds control characters" if isinstance(value, str) and value.strip() else "not a text",
            f"for example {self.example}",
        )
        return None

    def expressions(self, value: Json) -> Iterable[str]:
        """None."""
        del value
        return ()

    def schema(self) -> Schema:
        """A string."""
        return plain_text(self.limit)

    def words(self) -> str:
        """For people."""
        return f"text, as `{self.example}`"

    def sample(self) -> str:
        """The example."""
        return self.example if self.example[:1] in "\"'" else f'"{self.example}"'


@dataclass(frozen=True, slots=True)
class Cores:
    """A core set: an expression over the host's topology."""

    example: str = '"rx + app"'

    def check(self, value: object, report: Report) -> Json:
        """Its text; ``cores = 3`` is what everybody tries."""
        if is_number(value) and int(value) >= 0:  # type: ignore[call-overload]
            value = str(value)
        return Text(self.example).check(value, report)

    def expressions(self, value: Json) -> Iterable[str]:
        """Itself."""
        return (str(value),)

    def schema(self) -> Schema:
        """A string, or the number of a CPU."""
        return {"anyOf": [plain_text(1000), {"type": "integer", "minimum": 0}]}

    def words(self) -> str:
        """For people."""
        return "a core set"

    def sample(self) -> str:
        """The example."""
        return self.example
