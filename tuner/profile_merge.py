"""One layer over the other: what is inherited, replaced and dropped; then the host's overlay; then ``--set``.

A setting is replaced as a whole; a key within one is reached by ``--set`` alone.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tuner.host.faults import Fault
from tuner.host.text import printable
from tuner.language.places import entry_above, meant, part_of
from tuner.language.requirement import parse
from tuner.profile import Document, Place, Profile, Setting, Value
from tuner.profile_check import PART_NAME, TABLES, Layer, check_layer, expressions_at, words_of

OVERLAY_TABLES = tuple(name for name in TABLES if name not in ("summary", "extends", "bind"))
SET_TABLES = tuple(name for name in OVERLAY_TABLES if name not in ("drop", "require"))
_SET = "--set"
_QUOTED = re.compile(r"""^["'\[{]""")
_SPLIT = re.compile(r"""((?:[^"'=]|"[^"]*"|'[^']*')*)=(.*)""", re.DOTALL)
_SET_LIMIT = 4096


@dataclass(slots=True)
class Merge:
    """Settings that grow as layers are laid; ``faults`` are those that only the order shows."""

    settings: dict[Place, Setting] = field(default_factory=dict)
    requires: list[Setting] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _laid: set[str] = field(default_factory=set)

    def lay(self, layer: Layer, strict: bool = True) -> None:
        """Lays one layer over what is there; ``strict``: what it drops must have been there."""
        for drop in layer.drops:
            place = drop.value
            gone = [each for each in self.settings if _within(".".join(each), place)]
            for each in gone:
                del self.settings[each]
            if place == "require":
                self.requires.clear()
            if strict and not gone and not any(_within(each, place) for each in self._laid):
                hint = meant(place, sorted(self._laid)) if self._laid else "it extends nothing that sets something"
                self.faults.append(Fault(drop.source, f"'{printable(place, 60)}' is not inherited", printable(hint, 600)))
        self.settings.update(layer.settings)
        self._laid.update(".".join(place) for place in layer.settings)
        self.requires += layer.requires
        if layer.requires:
            self._laid.add("require")


def _within(place: str, of: str) -> bool:
    return place == of or place.startswith(f"{of}.")


def with_overlay(profile: Profile, document: Document, layer: Layer, bound: Iterable[str]) -> Profile:
    """The profile with the host's overlay over it; what that says of parts which this profile does not bind stays out.

    Args:
        profile: a checked profile. One that sets nothing still sets nothing afterwards.
        document: the overlay.
        layer: the overlay, checked.
        bound: parts that the overlay binds.
    """
    if not profile.settings:
        return profile
    elsewhere = set(bound) - set(profile.texts("bind"))
    merge = Merge(dict(profile.settings), list(profile.requires))
    merge.lay(_applicable(layer, profile, elsewhere), strict=False)
    return replace(
        profile,
        settings=merge.settings,
        requires=tuple(merge.requires),
        layers=(*profile.layers, document.name),
        documents=(*profile.documents, document),
    )


def _applicable(layer: Layer, profile: Profile, elsewhere: set[str]) -> Layer:
    """The layer without what speaks of parts that only other profiles bind, or of core sets that are left out for that."""
    left = dict(layer.settings)
    absent = set(elsewhere)
    while out := [place for place, setting in left.items() if _names(place, setting) & absent]:
        for place in out:
            del left[place]
            if place[0] == "cores" and ("cores", place[1]) not in profile.settings:
                absent.add(place[1])
    requires = [setting for setting in layer.requires if not _required_names(setting) & absent]
    return replace(layer, settings=left, requires=requires)


def _names(place: Place, setting: Setting) -> set[str]:
    names = {word for expression in expressions_at(place, setting) for word in words_of(expression)}
    part = part_of(place)
    return names | {part} if part is not None else names


def _required_names(setting: Setting) -> set[str]:
    requirement = parse(setting.value)
    return {word for each in requirement.expressions() for word in words_of(each)} | set(requirement.parts())


def with_sets(profile: Profile, pairs: Sequence[str]) -> tuple[Profile, list[Fault]]:
    """The profile with every ``KEY=VALUE`` over it, the later over the earlier, and what is wrong with them."""
    faults: list[Fault] = []
    for pair in pairs:
        path, value, wrong = _read_pair(pair)
        if wrong is not None:
            faults.append(wrong)
            continue
        entry = entry_above(path)
        inside = 0 if entry is None else len(entry.place)
        old = profile.settings.get(path[:inside])
        whole = _put(old.value if old is not None else None, path[inside:], value) if inside else value
        document = Document(_SET, "", _nested(path[:inside] or path, whole))
        layer = check_layer(document, SET_TABLES)
        faults += layer.faults
        said = Setting(None, document.where(printable(".".join(path))))
        settings = {place: replace(said, value=setting.value) for place, setting in layer.settings.items()}
        profile = replace(profile, settings={**profile.settings, **settings}, sets={**profile.sets, ".".join(path): value})
    return profile, faults


def with_parts(profile: Profile, parts: Iterable[str]) -> Profile:
    """The profile with parts bound that ``--set`` speaks of and ``--bind`` names: then no profile need have them."""
    spoken = {
        name
        for place, setting in profile.settings.items()
        if any(".".join(place).startswith(each) or each.startswith(".".join(place)) for each in profile.sets)
        for name in _names(place, setting)
    }
    known = profile.texts("bind")
    found = [part for part in parts if part in spoken and part not in known and PART_NAME.fullmatch(part)]
    own: dict[Place, Setting] = {("bind", part): Setting("nic", f"--bind {part}") for part in found}
    return replace(profile, settings={**profile.settings, **own}) if own else profile


def _put(old: Value, path: Place, value: Value) -> Value:
    """The value of a place with one key below it exchanged."""
    if not path:
        return value
    below = old if isinstance(old, Mapping) else {}
    return {**below, path[0]: _put(below.get(path[0]), path[1:], value)}


def _nested(path: Place, value: Value) -> dict[str, Value]:
    return {path[0]: _nested(path[1:], value) if len(path) > 1 else value}


def _read_pair(pair: str) -> tuple[Place, Value, Fault | None]:
    """Place and value of ``nic.feed.rings.rx=1024``."""

    def wrong(what: str, hint: str) -> tuple[Place, Value, Fault]:
        return (), None, Fault(f"{_SET} {printable(pair, 80)}", what, hint)

    example = "for example --set nic.feed.rings.rx=1024"
    match = _SPLIT.fullmatch(pair)
    if match is None or not match[1].strip() or not match[2].strip():
        return wrong("not KEY=VALUE", example)
    if len(pair) > _SET_LIMIT or printable(pair, 2 * _SET_LIMIT) != pair:
        return wrong(f"more than {_SET_LIMIT} characters, or control characters", example)
    path = _path(match[1])
    if path is None:
        return wrong("not a dotted place", "what is not letters, digits, - and _ stands in quotes")
    if path[0] not in SET_TABLES:
        hint = "which NIC a part is, is said by --bind" if path[0] == "bind" else meant(path[0], SET_TABLES)
        return wrong("no place of a setting", printable(hint, 600))
    text = match[2].strip()
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except (ValueError, RecursionError):
        if _QUOTED.match(text):
            return wrong("the value is not TOML", "for example --set 'cores.rx=\"2-3\"', or bare words")
        value = text
    return path, value, None


def _path(key: str) -> Place | None:
    try:
        node: Value = tomllib.loads(f"{key.strip()} = 0")
    except (ValueError, RecursionError):
        return None
    path: Place = ()
    while isinstance(node, dict) and len(path) < 64:
        ((word, node),) = node.items()
        path = (*path, word)
    return path if not isinstance(node, dict) else None
