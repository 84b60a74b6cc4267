"""The language as JSON Schema (draft 2020-12), made from the places of the families: for editors that check while one writes.

What only the merged profile or a host can tell stays with ``quietcore profiles check`` and ``plan``: names of core sets and
parts, what is inherited, numbers within ``at-least:N``.
"""

import re
from collections.abc import Iterable
from typing import Any

from tuner.knobs import sysctl
from tuner.knobs.catalogue import ENTRIES
from tuner.language.entry import PART, Entry
from tuner.language.values import UNSAFE, Cores, Schema, Text
from tuner.profile import NAME
from tuner.profile_check import LIST_LIMIT, PART_NAME, TAKEN

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_DRIVERS_NAME = rf"[^\s{UNSAFE}](?:[^{UNSAFE}]{{0,29}}[^\s{UNSAFE}])?"
_LEAF = r"[A-Za-z0-9_][A-Za-z0-9_-]*"


def profile_schema() -> Schema:
    """The schema of a profile's file."""
    properties: dict[str, Schema] = {
        "summary": {"type": "string", "maxLength": 200, "description": "one line: what it is for"},
        "extends": {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{NAME.pattern}$"},
            "description": "names of profiles whose settings come first",
        },
        "drop": _lines("inherited settings or tables of them that shall not be set, by their dotted place"),
        "require": _lines('what must hold before anything is written, as "count(rx) >= 4"'),
        "bind": {
            "type": "object",
            "patternProperties": {f"^{PART_NAME.pattern}$": {"const": "nic"}},
            "additionalProperties": False,
            "description": "parts of the host that the profile speaks of",
        },
        "cores": {
            "type": "object",
            "patternProperties": {f"^{_but(TAKEN)}{PART_NAME.pattern}$": Cores().schema()},
            "additionalProperties": False,
            "description": "named sets of CPUs",
        },
        "sysctl": {"$ref": "#/$defs/sysctls", "description": "the kernel's own settings below /proc/sys, keys in quotes"},
    }
    for top in dict.fromkeys(entry.place[0] for entry in ENTRIES):
        properties[top] = _table([entry for entry in ENTRIES if entry.place[0] == top], 1)
    return {
        "$schema": DRAFT,
        "title": "A profile of Quietcore",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": _sysctls(),
    }


def _lines(about: str) -> Schema:
    return {"type": "array", "items": Text("x").schema(), "maxItems": LIST_LIMIT, "description": about}


def _but(words: Iterable[str]) -> str:
    """The beginning of an expression that takes none of these words."""
    words = sorted(words)
    return f"(?!(?:{'|'.join(re.escape(word) for word in words)})$)" if words else ""


def _table(entries: list[Entry], depth: int) -> Schema:
    """What may stand below the first ``depth`` words that these places share."""
    whole = next((entry for entry in entries if len(entry.place) == depth), None)
    if whole is not None:
        return {**whole.kind.schema(), "description": whole.about}
    words = list(dict.fromkeys(entry.place[depth] for entry in entries))
    below = {word: _table([entry for entry in entries if entry.place[depth] == word], depth + 1) for word in words}
    named = {word: schema for word, schema in below.items() if word != PART}
    table: Schema = {"type": "object", "properties": named, "additionalProperties": False}
    if PART in below:
        name = PART_NAME.pattern if depth == 1 else _DRIVERS_NAME  # deeper down it is a driver's own
        table["patternProperties"] = {f"^{_but(named)}{name}$": below[PART]}
    return table


def _sysctls() -> dict[str, Any]:
    """Sysctls by their whole name, or as the tables that a name without quotes makes."""
    bound = "(?:at-least|at-most):"
    text = Text("50").schema()
    plain = str(text["pattern"]).replace("^", f"^(?!{bound})", 1).replace(r"\u0000-\u001f", r"\u0000-\u0008\u000a-\u001f")
    number: Schema = {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 64) - 1}
    value: Schema = {
        "anyOf": [
            {"type": "boolean"},
            number,
            {"type": "string", "pattern": f"^{bound}[0-9]{{1,19}}$"},
            {"type": "string", "maxLength": text["maxLength"], "pattern": plain},
        ]
    }
    below: Schema = {"$ref": "#/$defs/sysctl_tables"}
    either: Schema = {"anyOf": [{"$ref": "#/$defs/sysctl_value"}, below]}
    starts = [prefix.rstrip(".").split(".") for prefix in sysctl.PREFIXES]
    full = "|".join(rf"{re.escape('.'.join(words))}(?:\.{_LEAF}){{1,{7 - len(words)}}}" for words in starts)
    kernel = "|".join(re.escape(name) for name in sorted(sysctl.KERNEL))
    tables = sorted({".".join(words[:n]) for words in (*starts, ["kernel"]) for n in range(1, len(words) + 1)})
    return {
        "sysctl_value": value,
        "sysctl_tables": {"type": "object", "additionalProperties": either},
        "sysctls": {
            "type": "object",
            "properties": dict.fromkeys(tables, below),
            "patternProperties": {f"^{_but(sysctl.REFUSED)}(?:{full}|{kernel})$": either},
            "additionalProperties": False,
        },
    }
