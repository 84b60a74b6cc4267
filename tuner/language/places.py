"""The places of the language as a tree: what stands at one, what lies below it, and what was meant where there is none."""

import difflib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from tuner.host.text import printable
from tuner.knobs.catalogue import ENTRIES
from tuner.knobs.sysctl import refusal
from tuner.language.entry import PART, Entry
from tuner.language.tables import Table
from tuner.language.values import Whole
from tuner.profile import Place

_NEAR = 0.75  # how alike a key and one that belongs elsewhere must be, to be taken for it


@dataclass(slots=True)
class _Node:
    """One table or value: what may stand here, and what below."""

    entry: Entry | None = None
    below: "dict[str, _Node]" = field(default_factory=dict)


def _tree() -> _Node:
    root = _Node()
    for entry in ENTRIES:
        node = root
        for word in entry.place:
            node = node.below.setdefault(word, _Node())
        node.entry = entry
    return root


_ROOT = _tree()
TOP = tuple(_ROOT.below)


def entry_of(place: Place) -> Entry | None:
    """The entry of a place; None for a table of some, for the language's own tables, and for what nobody knows."""
    node = _node(place)
    return node.entry if node is not None else None


def entry_above(place: Place) -> Entry | None:
    """The entry that a place lies in or is: ``irq.feed.spread`` is in that of ``irq.feed``."""
    return next((entry for n in range(len(place), 0, -1) if (entry := entry_of(place[:n])) is not None), None)


def words_below(place: Place) -> tuple[str, ...]:
    """What may follow a place, ``PART`` for any part; empty where nothing may."""
    node = _node(place)
    return tuple(node.below) if node is not None else ()


def _node(place: Place) -> _Node | None:
    node = _ROOT
    for word in place:
        found = node.below.get(word) or node.below.get(PART)
        if found is None:
            return None
        node = found
    return node


def part_of(place: Place) -> str | None:
    """The name of the part in a place, None where there is none."""
    entry = entry_of(place)
    return place[entry.place.index(PART)] if entry is not None and PART in entry.place else None


def shown(place: Iterable[str]) -> str:
    """A place of the language for people."""
    return ".".join("PART" if word == PART else word for word in place)


def meant(word: str, known: Iterable[str]) -> str:
    """A hint: the known word that it is nearest to, or all of them; empty where nothing is known."""
    known = list(known)
    close = difflib.get_close_matches(word[:100], known, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}" if known else ""


def meant_elsewhere(place: Place, value: object = None, parts: Iterable[str] = ()) -> str:
    """A hint for a key that belongs to another place; empty where none is like it.

    Args:
        place: where it stands; it is known to be wrong.
        value: what was written there: places that take it are likelier. None says nothing.
        parts: the parts that the profile binds: one of them stands for ``PART`` where there is just one.
    """
    parts = list(parts)
    dotted, leaf = ".".join(place)[:200], place[-1][:100]
    for start in range(len(place)):  # a sysctl in another table, quoted or not, or in none
        name = ".".join(place[start:])
        if "." in name and not refusal(name):
            return f'a sysctl: write it into [sysctl], as "{printable(name, 80)}" = …'
    without, leaves = _names()
    if dotted in without:  # the name of a knob, or a table without its part
        return _told(without[dotted], parts)
    if leaf in leaves:
        return _told(_likest(dotted, leaves[leaf], value), parts)
    close = difflib.get_close_matches(leaf, leaves, n=1, cutoff=_NEAR)
    return _told(_likest(dotted, leaves[close[0]], value), parts) if close else ""


@cache
def _names() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Places by their name without the part, and by their last word."""
    without: dict[str, str] = {}
    leaves: dict[str, list[str]] = {}
    for place in dict.fromkeys(_all()):
        without[".".join(word for word in place if word != PART)] = shown(place)
        leaves.setdefault(place[-1], []).append(shown(place))
    return without, leaves


def _likest(dotted: str, texts: list[str], value: object) -> str:
    """Of places with one last word: where the value fits best, and of such the likest by name."""
    return max(texts, key=lambda text: (*_fit(text, value), difflib.SequenceMatcher(None, dotted, text).ratio()))


def _fit(text: str, value: object) -> tuple[bool, float]:
    """Whether a place takes a value, and how far from the middle of its range a number is there, in powers of two below 0."""
    entry = entry_of(tuple(PART if word == "PART" else word for word in text.split(".")))
    if value is None or entry is None or entry.kind.check(value, lambda *_: None) is None:
        return False, 0.0
    if not isinstance(entry.kind, Whole) or not isinstance(value, int):
        return True, 0.0
    low, high = max(entry.kind.low, 1), entry.kind.high
    return True, -abs(math.log2(max(value, 1)) - math.log2(low * high) / 2)


def _all() -> Iterator[Place]:
    """Every place with a name of its own, tables and the keys of tables among them; one that is any part is none."""
    for entry in ENTRIES:
        for n in range(2, len(entry.place) + 1):
            if entry.place[n - 1] != PART:
                yield entry.place[:n]
        if isinstance(entry.kind, Table):
            for key in entry.kind.keys:
                yield (*entry.place, key)


def _told(text: str, parts: list[str]) -> str:
    return f"it belongs to {text.replace('PART', parts[0]) if len(parts) == 1 else text}"
