"""One table of a TOML file as a format: what its keys mean, and everything that is wrong with it at once.

Offsets (``at``) and widths (``bytes``) are of the UDP payload::

    endian = "big"                       # of all numbers of the header
    sequence = { at = 10, bytes = 8 }    # the first number that the datagram holds; 4 or 8 bytes
    count = { at = 18, bytes = 2, end = 0xFFFF }   # how many it holds; without it a datagram is one number; ``end``: none
    scope = { at = 3, bytes = 1, is = "unit" }     # tells parallel streams of one address and port apart
    epoch = { at = 0, bytes = 10, is = "session" } # where it changes the numbering began anew; ``mask``: bits of one byte
    flag = { at = 2, ignore = [13], reset = [12] } # one byte; not accounted, or begins anew; ``only``: ignore all others
    high = { at = 12, mask = 0x70 }      # bits 32 and up of the sequence
    chain = { at = 8, bytes = 2 }        # several headers in one datagram: how long each is with what belongs to it
    time = { at = 8, unit = "ns" }       # the sender's clock: "ns" and "ms" since 1970, or "s+ns"
    size = { at = 0, bytes = 2, excludes = 0 }     # the datagram's length
    zero_unsequenced = true              # sequence 0 is no number
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ingest.rings.layout import MILLISECONDS, NANOSECONDS, SECONDS_AND_NANOSECONDS, Framing
from tuner.host.faults import Fault, FaultyFileError
from tuner.host.text import printable

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
CHECKED = {
    "captures": "captures of real traffic",
    "dissector": "dissector",
    "specification": "specification",
    "memory": "from memory",
}
TIME_UNITS = {"ns": NANOSECONDS, "s+ns": SECONDS_AND_NANOSECONDS, "ms": MILLISECONDS}
_ENDIANS = ("big", "little")
_WORDS = ("used_by", "note", "refusal")
_BYTE = range(256)
_OFFSET = range(65536)
_WIDTH = (1, 2, 4)
# key -> its own keys, each with the numbers that it may hold; what may not stand together is Framing's to say
_FIELDS: Mapping[str, Mapping[str, Sequence[int]]] = {
    "sequence": {"at": _OFFSET, "bytes": (4, 8)},
    "count": {"at": _OFFSET, "bytes": _WIDTH, "end": range(1 << 32)},
    "scope": {"at": _OFFSET, "bytes": range(1, 9)},
    "epoch": {"at": _OFFSET, "bytes": range(1, 17), "mask": range(1, 256)},
    "flag": {"at": _OFFSET},
    "high": {"at": _OFFSET, "mask": range(1, 256)},
    "chain": {"at": _OFFSET, "bytes": _WIDTH},
    "time": {"at": _OFFSET},
    "size": {"at": _OFFSET, "bytes": _WIDTH, "excludes": range(65536)},
}
_OPTIONAL = frozenset({"end", "mask", "excludes"})
_LISTS = ("ignore", "only", "reset")
_NAMED = frozenset({"scope", "epoch", "flag"})
KEYS = ("endian", *_FIELDS, "zero_unsequenced", "aliases", "used_by", "checked", "note", "transport", "refusal")


class FeedFileError(FaultyFileError):
    """A file of feeds that cannot be used."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format by its name. ``framing`` is None for what the ring cannot follow; ``refusal`` says why.

    ``checked`` are keys of ``CHECKED``; ``scope``, ``epoch`` and ``flag`` say in the venue's words what those bytes are.
    """

    name: str
    framing: Framing | None
    used_by: str = ""
    checked: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    scope: str = ""
    epoch: str = ""
    flag: str = ""
    note: str = ""
    refusal: str = ""


@dataclass(slots=True)
class Checker:
    """Walks one file; ``faults`` grows on the way."""

    file: str
    faults: list[Fault] = field(default_factory=list)

    def fault(self, place: Iterable[str], what: str, hint: str = "") -> None:
        """Keeps one fault; names from the file are made visible here."""
        key = printable(".".join(place))
        self.faults.append(Fault(f"{self.file}: {key}" if key else self.file, printable(what, 400), printable(hint, 800)))

    def unknown(self, place: tuple[str, ...], what: str, known: Iterable[str]) -> None:
        """A name that is none of ``known``."""
        known = list(known)
        close = difflib.get_close_matches(place[-1], known, n=1)
        self.fault(place, f"unknown {what}", f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}")

    def table(self, place: tuple[str, ...], value: object) -> Mapping[str, object]:
        """A table; an empty one, and a fault, for anything else."""
        if isinstance(value, dict):
            return value
        self.fault(place, "not a table", f"write [{printable('.'.join(place))}], or {{ … }} on one line")
        return {}

    def text(self, place: tuple[str, ...], value: object) -> str:
        """A line of text, empty where it is none."""
        if isinstance(value, str) and value.strip() and len(value) <= 200 and printable(value, 400) == value:
            return value
        self.fault(place, "not a line of text of at most 200 characters")
        return ""

    def integer(self, place: tuple[str, ...], value: object, allowed: Sequence[int]) -> int | None:
        """One of the numbers that are allowed; None, and a fault, for anything else."""
        if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
            return value
        if isinstance(allowed, range):
            self.fault(place, f"not a number from {allowed[0]} to {allowed[-1]}")
        else:
            self.fault(place, f"not one of {', '.join(map(str, allowed))}")
        return None


def read_format(checker: Checker, name: str, value: object) -> Format | None:
    """The format ``[format.NAME]``; None where there are faults, which ``checker`` holds then."""
    place = ("format", name)
    before = len(checker.faults)
    table = checker.table(place, value)
    if not NAME.fullmatch(name):
        checker.fault(place, "not a name", "lower-case letters, digits, - and _, at most 64")
    for key in table:
        if key not in KEYS:
            checker.unknown((*place, key), "key", KEYS)
    words = {key: checker.text((*place, key), table[key]) for key in _WORDS if key in table}
    checked = _names(checker, (*place, "checked"), table.get("checked", []), CHECKED)
    aliases = _names(checker, (*place, "aliases"), table.get("aliases", []), None)
    framing, named = None, dict.fromkeys(_NAMED, "")
    if table.get("transport", "udp") == "udp":
        framing, named = _framing(checker, place, name, table)
    elif table.get("transport") != "tcp":
        checker.fault((*place, "transport"), 'neither "udp" nor "tcp"')
    elif "refusal" not in table:
        checker.fault((*place, "refusal"), "missing", "what the ring does not follow says why")
    if len(checker.faults) > before:
        return None
    return Format(name, framing, checked=checked, aliases=aliases, **named, **words)


def _names(checker: Checker, place: tuple[str, ...], value: object, known: Iterable[str] | None) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and NAME.fullmatch(each) for each in value):
        checker.fault(place, "not a list of names")
        return ()
    for each in value:
        if known is not None and each not in known:
            checker.unknown((*place, each), "word", known)
    return tuple(value)


def _framing(
    checker: Checker, place: tuple[str, ...], name: str, table: Mapping[str, object]
) -> tuple[Framing | None, dict[str, str]]:
    """The framing, and what the venue calls its scope, epoch and flag."""
    before = len(checker.faults)
    named = dict.fromkeys(_NAMED, "")
    values: dict[str, object] = {}
    if "refusal" in table:
        checker.fault((*place, "refusal"), "belongs to a format that the ring does not follow")
    if table.get("endian") in _ENDIANS:
        values["big_endian"] = table["endian"] == "big"
    else:
        checker.fault((*place, "endian"), "neither big nor little" if "endian" in table else "missing", 'endian = "big"')
    if "sequence" not in table:
        checker.fault((*place, "sequence"), "missing", "sequence = { at = 0, bytes = 8 }")
    zero = table.get("zero_unsequenced", False)
    if not isinstance(zero, bool):
        checker.fault((*place, "zero_unsequenced"), "neither true nor false")
    values["zero_unsequenced"] = zero
    for key in _FIELDS:
        if key in table:
            values |= _field(checker, (*place, key), table[key], named)
    if len(checker.faults) > before:
        return None, named
    try:
        return Framing(name=name, **values), named  # type: ignore[arg-type]  # each was checked above
    except ValueError as error:
        checker.fault(place, str(error))
        return None, named


def _field(checker: Checker, place: tuple[str, ...], value: object, named: dict[str, str]) -> dict[str, object]:
    key = place[-1]
    known = list(_FIELDS[key])
    known += ["unit"] * (key == "time") + list(_LISTS) * (key == "flag") + ["is"] * (key in _NAMED)
    table = checker.table(place, value)
    if not isinstance(value, dict):
        return {}
    for each in table:
        if each not in known:
            checker.unknown((*place, each), "key", known)
    found: dict[str, object] = {}
    for each, allowed in _FIELDS[key].items():
        if each in table:
            found[each] = checker.integer((*place, each), table[each], allowed)
        elif each not in _OPTIONAL:
            checker.fault((*place, each), "missing")
    if "is" in table and key in _NAMED:
        named[key] = checker.text((*place, "is"), table["is"])
    if key == "flag":
        found |= _flag_values(checker, place, table)
    if key == "time":
        unit = table.get("unit")
        if not isinstance(unit, str) or unit not in TIME_UNITS:
            checker.fault((*place, "unit"), "no unit of time", f"one of {', '.join(TIME_UNITS)}")
        else:
            found["kind"] = TIME_UNITS[unit]
    found = {f"{key}_{_ATTRIBUTES.get(each, each)}": number for each, number in found.items()}
    if "count_end" in found:
        found["end_count"] = found.pop("count_end")
    return found


# what Framing calls the keys of a field
_ATTRIBUTES = {"at": "offset", "bytes": "width", "ignore": "ignored", "reset": "resets"}


def _flag_values(checker: Checker, place: tuple[str, ...], table: Mapping[str, object]) -> dict[str, object]:
    sets: dict[str, frozenset[int]] = {}
    for each in _LISTS:
        value = table.get(each, [])
        if not isinstance(value, list):
            checker.fault((*place, each), "not a list of numbers from 0 to 255")
            value = []
        numbers = [checker.integer((*place, each), number, _BYTE) for number in value]
        sets[each] = frozenset(number for number in numbers if number is not None)
    if sets["only"] and sets["ignore"]:
        checker.fault(place, "says only and ignore", "only: all others are ignored; ignore: these are")
    if not any(sets.values()):
        checker.fault(place, "no values", "ignore = [13], only = [1, 11] or reset = [12]")
    ignored = frozenset(range(256)) - sets["only"] if sets["only"] else sets["ignore"]
    return {"width": 1, "ignore": ignored, "reset": sets["reset"]}
