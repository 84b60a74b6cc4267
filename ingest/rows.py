"""Frozen records as JSON and back, checked field by field, at a cost that a host of hundreds of cores can bear each tick.

``dataclasses.asdict`` copies every value of every row: nine milliseconds for 128 cores. Here the values of a row come out in
one call of C (``operator.attrgetter``), and what comes in is compared by the types of a whole row at once with those of rows
that were found right before; only types not met yet are looked at one by one.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from types import NoneType
from typing import Any, Generic, TypeVar

from tuner.host.text import printable

MAX_LINE = 16 << 20  # bytes; 128 cores are 140 kB, and a hostile line must not fill the memory
_MAX_TEXT = 4000
_MAX_MET = 256  # combinations of types that are remembered: a hostile stream could think of a new one in each row
_MAX_INTEGER = 1 << 80

T = TypeVar("T")
Freeze = Callable[[Any], Any]
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


class Rows(Generic[T]):
    """The rows of one frozen dataclass.

    Args:
        kind: the dataclass; its annotations say what each field may be.
        nested: field -> what makes its value of what JSON has, for fields that hold rows of their own. It raises ValueError or
            TypeError.
    """

    def __init__(self, kind: type[T], nested: Mapping[str, Freeze] | None = None) -> None:
        self.kind = kind
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]
        self.names = tuple(each.name for each in fields)
        self.places = {name: at for at, name in enumerate(self.names)}
        self.values: Callable[[T], tuple[Any, ...]] = attrgetter(*self.names)
        self._types: list[frozenset[type]] = []
        self.freezes: dict[int, Freeze] = {}  # field number -> what makes its value of a list or an object
        for at, each in enumerate(fields):
            freeze = (nested or {}).get(each.name)
            types, freeze = (frozenset({list, dict}), freeze) if freeze else _KINDS[each.type]
            self._types.append(types)
            if freeze is not None:
                self.freezes[at] = freeze
        self._met: set[tuple[type, ...]] = set()

    def record(self, row: T) -> dict[str, Any]:
        """A row as JSON has it, in the order of its fields."""
        return dict(zip(self.names, self.values(row), strict=True))

    def build(self, record: Any) -> T:
        """The row of a record: unknown fields are ignored, missing ones take their defaults.

        Raises:
            ValueError: no record, or a field of the wrong kind.
            TypeError: a field without a default is missing.
        """
        if type(record) is not dict:
            raise ValueError(f"not a record: {_shown(record)}")
        if tuple(record) != self.names:
            known = {name: self.value(at, record[name]) for at, name in enumerate(self.names) if name in record}
            return self.kind(**known)
        values = list(record.values())
        types = tuple(map(type, values))
        if types not in self._met:
            self.look(range(len(types)), values)
            if len(self._met) < _MAX_MET:
                self._met.add(types)
        for at, freeze in self.freezes.items():
            values[at] = freeze(values[at])
        return self.kind(*values)

    def many(self, records: Any) -> tuple[T, ...]:
        """The rows of a list; raises as ``build`` does."""
        if type(records) is not list:
            raise ValueError(f"not a list: {_shown(records)}")
        return tuple(map(self.build, records))

    def value(self, at: int, value: Any) -> Any:
        """What field number ``at`` holds for a value of JSON.

        Raises:
            ValueError: it cannot be that.
        """
        if type(value) not in self._types[at]:
            raise ValueError(f"{self.names[at]} cannot be {_shown(value)}")
        freeze = self.freezes.get(at)
        return value if freeze is None else freeze(value)

    def look(self, fields: Iterable[int], values: Sequence[Any]) -> None:
        """Looks at the types of some fields' values.

        Raises:
            ValueError: one that it cannot be, or more or fewer values than fields.
        """
        for at, value in zip(fields, values, strict=True):
            if type(value) not in self._types[at]:
                raise ValueError(f"{self.names[at]} cannot be {_shown(value)}")


def to_line(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON without its end.

    Raises:
        ValueError: a number that is none in JSON.
    """
    return _encode(record)


def from_line(line: str | bytes) -> dict[str, Any]:
    """The record in a line of JSON: its texts printable, its numbers finite, of any kind otherwise.

    Raises:
        ValueError: longer than ``MAX_LINE``, torn, no object, a number beyond all bounds.
        RecursionError: nested without end.
    """
    if len(line) > MAX_LINE:
        raise ValueError(f"a line of {len(line)} bytes; the longest is {MAX_LINE}")
    raw, text = (line.encode(), line) if isinstance(line, str) else (line, str(line, "utf-8"))
    record = _decode(text)
    if type(record) is not dict:
        raise ValueError("not a JSON object")
    if _doubtful(raw):
        checked = _harmless(record)
        return checked if isinstance(checked, dict) else {}
    return record


def mappings(value: Any) -> tuple[dict[str, Any], ...]:
    """A list of objects, frozen as far as the list.

    Raises:
        ValueError: anything else.
    """
    if type(value) is not list or not set(map(type, value)) <= {dict}:
        raise ValueError(f"not a list of objects: {_shown(value)}")
    return tuple(value)


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")


_decode = json.JSONDecoder(parse_constant=_refuse).decode
_FORM = bytes(0x30 if chr(byte) in "0123456789" else 0x65 if chr(byte) == "E" else byte for byte in range(256))


def _doubtful(line: bytes) -> bool:
    """Whether texts or numbers of a line could do harm. Seldom, so that the closer look may cost ten times as much.

    A control character needs a backslash in JSON, and any other that misleads a terminal is no ASCII. A number beyond all
    bounds needs many digits or an exponent of three.
    """
    if b"\\" in line or not line.isascii():
        return True
    form = line.translate(_FORM, b"+")
    return b"0" * 24 in form or b"e000" in form


def _harmless(value: Any) -> Any:
    """The value with printable texts.

    Raises:
        ValueError: a number that is not finite, or an integer beyond 80 bits.
    """
    if isinstance(value, str):
        return printable(value, _MAX_TEXT)
    if isinstance(value, dict):
        return {printable(key, _MAX_TEXT): _harmless(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_harmless(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number beyond all bounds")
    if isinstance(value, int) and abs(value) >= _MAX_INTEGER:
        raise ValueError("an integer of more than 80 bits")
    return value


def _shown(value: Any) -> str:
    return printable(repr(value), 60) if isinstance(value, str | int | float | NoneType) else type(value).__name__


def _all(types: set[type], values: Iterable[Any]) -> None:
    if not set(map(type, values)) <= types:
        raise ValueError("a list or an object holds what it cannot")


def _integers(values: list[Any]) -> tuple[int, ...]:
    _all({int}, values)
    return tuple(values)


def _pairs(types: frozenset[type]) -> Freeze:
    def freeze(values: list[Any]) -> tuple[tuple[Any, Any], ...]:
        pairs = tuple([(one, two) for one, two in values if type(one) is int and type(two) in types])
        if len(pairs) != len(values):
            raise ValueError("a list of pairs holds what it cannot")
        return pairs

    return freeze


def _counts(values: dict[str, Any]) -> dict[str, int]:
    _all({int}, values.values())
    return values


_KINDS: dict[Any, tuple[frozenset[type], Freeze | None]] = {
    int: (frozenset({int}), None),
    float: (frozenset({int, float}), None),
    str: (frozenset({str}), None),
    bool: (frozenset({bool}), None),
    int | None: (frozenset({int, NoneType}), None),
    float | None: (frozenset({int, float, NoneType}), None),
    tuple[int, ...]: (frozenset({list}), _integers),
    tuple[tuple[int, int], ...]: (frozenset({list}), _pairs(frozenset({int}))),
    tuple[tuple[int, float], ...]: (frozenset({list}), _pairs(frozenset({int, float}))),
    dict[str, int]: (frozenset({dict}), _counts),
}
