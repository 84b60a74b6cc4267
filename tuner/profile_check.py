"""What may stand in a profile, and where: a walk over its tables by the places that the families of knobs offer."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tuner.cores import FUNCTIONS
from tuner.host.faults import Fault
from tuner.host.text import printable
from tuner.knobs.sysctl import PARTNERS as SYSCTL_PARTNERS
from tuner.knobs.sysctl import REFUSED
from tuner.knobs.sysctl import check_value as check_sysctl
from tuner.knobs.sysctl import refusal as sysctl_refusal
from tuner.language import requirement
from tuner.language.entry import PART, Entry
from tuner.language.places import TOP, entry_of, meant, meant_elsewhere, part_of, words_below
from tuner.language.values import Cores
from tuner.profile import NAME, Document, Place, Profile, Setting, Value

PART_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN = ("summary", "extends", "drop", "require", "bind", "cores", "sysctl")
TABLES = tuple(dict.fromkeys([*_OWN, *TOP]))
# Names that the functions and the language itself use: a set of that name could not be written about.
_RESERVED = frozenset(FUNCTIONS) | {"all", "online", "N"}
TAKEN = _RESERVED | set(requirement.WORDS)
_DEPTH = 8
LIST_LIMIT = 256
_SEARCHES = 50


@dataclass(slots=True)
class Layer:
    """One file of a profile, checked by itself.

    Attributes:
        summary: its one line.
        extends: the profiles below it.
        settings: what it sets.
        drops: dotted places of what it takes away from the layers below it.
        requires: what it demands of a host.
        faults: what is wrong with it.
    """

    summary: str = ""
    extends: tuple[str, ...] = ()
    settings: dict[Place, Setting] = field(default_factory=dict)
    drops: list[Setting] = field(default_factory=list)
    requires: list[Setting] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class _Checker:
    """Walks one document; its layer grows on the way."""

    def __init__(self, document: Document, known: tuple[str, ...]) -> None:
        self.document = document
        self.known = known
        self.layer = Layer()
        self.searches = 0

    def fault(self, place: Iterable[str], what: str, hint: str = "") -> None:
        key = printable(".".join(place), 300)
        # names from the file are in the hint
        self.layer.faults.append(Fault(self.document.where(key), what, printable(hint, 600)))

    def keep(self, place: Place, value: Value) -> None:
        self.layer.settings[place] = self.setting(place, value)

    def setting(self, place: Place, value: Value) -> Setting:
        return Setting(value, self.document.where(printable(".".join(place))))

    def table(self, name: str) -> Mapping[str, object]:
        table = self.document.table.get(name, {}) if name in self.known else {}
        if isinstance(table, dict):
            return table
        self.fault((name,), "not a table", f"write [{name}]")
        return {}

    def texts(self, name: str, what: str, hint: str) -> list[str]:
        """A list of short texts."""
        value = self.document.table.get(name, []) if name in self.known else []
        if not isinstance(value, list) or len(value) > LIST_LIMIT or not all(_is_line(each) for each in value):
            self.fault((name,), what, hint)
            return []
        return value

    def entry(self, entry: Entry, place: Place, value: object) -> None:
        """A value at a place that the language knows."""

        def report(what: str, hint: str = "", *below: str) -> None:
            self.fault((*place, *below), what, hint)

        checked = entry.kind.check(value, report)
        if checked is not None:
            self.keep(place, checked)

    def walk(self, place: Place, value: object) -> None:
        """A table, down to the places that the language knows."""
        found = entry_of(place)
        if found is not None:
            self.entry(found, place, value)
            return
        below = words_below(place)
        if not below:
            self.unknown(place, "key", (word for word in words_below(place[:-1]) if word != PART), value)
        elif not isinstance(value, dict) or len(place) > _DEPTH:
            hint = f"write [{'.'.join(place)}]" if below[0] == PART else f"for example {below[0]} = …"
            bound = len(place) == 1 or place[-1] in self.parts
            self.fault(place, "not a table", hint if bound else self.elsewhere(place, value) or hint)
        else:
            for key, each in value.items():
                self.below(place, key, each)

    def below(self, place: Place, key: str, value: object) -> None:
        """One key of a table; iommu.passthrough = 1 without quotes is a table in TOML, and a word of the kernel's."""
        if isinstance(value, dict) and value and any(word.startswith(f"{key}.") for word in words_below(place)):
            for more, each in value.items():
                self.below(place, f"{key}.{more}", each)
        else:
            self.walk((*place, key), value)

    def unknown(self, place: Place, what: str, known: Iterable[str], value: object = None) -> None:
        hint = meant(place[-1], known)
        if not hint.startswith("did you mean"):
            hint = self.elsewhere(place, value) or hint
        self.fault(place, f"unknown {what}", hint)

    def elsewhere(self, place: Place, value: object = None) -> str:
        """Where a key belongs that is wrong here; a file of nothing but wrong keys is not searched for each of them."""
        self.searches += 1
        return meant_elsewhere(place, value, self.parts) if self.searches <= _SEARCHES else ""

    @property
    def parts(self) -> list[str]:
        bind = self.document.table.get("bind")
        return [name for name in bind if PART_NAME.fullmatch(name)] if isinstance(bind, dict) else []


def _is_line(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= 1000 and printable(value, 2000) == value


def check_layer(document: Document, known: tuple[str, ...] = TABLES, overlay: bool = False) -> Layer:
    """Checks one file by itself; what needs the merged profile is ``check_whole``'s.

    Args:
        document: the file.
        known: the tables and keys that it may have at its top.
        overlay: it is a host's own: its ``[bind]`` names NICs.
    """
    checker = _Checker(document, known)
    for key, value in document.table.items():
        if key not in known:
            checker.unknown((key,), "table" if isinstance(value, dict) else "key", known, value)
    _head(checker)
    for name, value in checker.table("bind").items():
        (_bind_nic if overlay else _bind)(checker, name, value)
    for name, value in checker.table("cores").items():
        _core_set(checker, name, value)
    for name, value in document.table.items():
        if name in known and name not in _OWN:
            checker.walk((name,), value)
    _sysctl(checker, (), checker.table("sysctl"))
    return checker.layer


def _head(checker: _Checker) -> None:
    """What stands above the tables."""
    layer = checker.layer
    if "summary" in checker.known:
        summary = checker.document.table.get("summary", "")
        if isinstance(summary, str) and printable(summary, 2000) == summary and len(summary) <= 200:
            layer.summary = summary
        else:
            checker.fault(("summary",), "not a line of text of at most 200 characters")
    if "extends" in checker.known:
        layer.extends = _extends(checker)
    hint = 'for example drop = ["irq.feed", "sysctl.vm.swappiness"]'
    for place in checker.texts("drop", "not a list of inherited settings", hint):
        if place.partition(".")[0] in checker.known:
            layer.drops.append(checker.setting(("drop",), place))
        else:
            checker.fault(("drop",), f"no place of a setting: '{printable(place, 60)}'", meant(place.partition(".")[0], TABLES))
    for text in checker.texts("require", "not a list of requirements", requirement.EXAMPLE):
        try:
            requirement.parse(text)
        except requirement.RequirementError as error:
            checker.fault(("require",), f"'{printable(text, 120)}': {error}", requirement.EXAMPLE)
        else:
            layer.requires.append(checker.setting(("require",), text))


def _extends(checker: _Checker) -> tuple[str, ...]:
    value = checker.document.table.get("extends", [])
    if not isinstance(value, list) or not all(isinstance(v, str) and NAME.fullmatch(v) for v in value):
        checker.fault(("extends",), "not a list of profile names", 'for example extends = ["base"]; names only, no paths')
        return ()
    return tuple(str(v) for v in value)


def _bind(checker: _Checker, name: str, value: object) -> None:
    if not PART_NAME.fullmatch(name):
        checker.fault(("bind", name), "not a name", "lower-case letters, digits and _")
    elif value != "nic":
        checker.fault(("bind", name), "unknown kind of part", f'{name} = "nic"; the NIC itself is given by --bind or host.toml')
    else:
        checker.keep(("bind", name), "nic")


def _bind_nic(checker: _Checker, name: str, value: object) -> None:
    """A part of a host's overlay: its value is the interface."""
    if not PART_NAME.fullmatch(name):
        checker.fault(("bind", name), "not a name", "lower-case letters, digits and _")
    elif isinstance(value, str) and value and len(value) <= 200 and printable(value) == value:
        checker.keep(("bind", name), value)
    else:
        checker.fault(("bind", name), "not an interface name", 'write feed = "eth2"')


def _core_set(checker: _Checker, name: str, value: object) -> None:
    if not PART_NAME.fullmatch(name) or name in TAKEN:
        hint = "it means something else in core sets" if name in TAKEN else "lower-case letters, digits and _"
        checker.fault(("cores", name), "cannot be the name of a core set", hint)
        return
    entry = Entry(("cores", name), Cores('"first(2, node(feed))"'), "a named core set")
    checker.entry(entry, ("cores", name), value)


def _sysctl(checker: _Checker, prefix: Place, table: Mapping[str, object]) -> None:
    for name, value in table.items():
        key = (*prefix, *name.split("."))
        if isinstance(value, dict) and len(prefix) < _DEPTH:  # net.core.busy_poll = 50 without quotes is a table of tables
            _sysctl(checker, key, value)
            continue
        place = ("sysctl", ".".join(key))
        if refused := sysctl_refusal(place[1]):
            checker.fault(place, refused, "" if name in REFUSED else checker.elsewhere((name,)))
            continue
        checked = check_sysctl(value, lambda what, hint="", *below, place=place: checker.fault((*place, *below), what, hint))
        if checked is not None:
            checker.keep(place, checked)


def check_whole(profile: Profile) -> list[Fault]:
    """What only the merged profile shows: parts that nothing binds, core sets that nobody defined."""
    faults: list[Fault] = []
    bindings, cores = profile.texts("bind"), profile.texts("cores")
    for place, setting in profile.settings.items():
        part = part_of(place)
        if part is not None and part not in bindings:
            faults.append(_unbound(setting, part, bindings))
        partner = SYSCTL_PARTNERS.get(place[1]) if place[0] == "sysctl" else None
        if partner and ("sysctl", partner) in profile.settings:
            faults.append(Fault(setting.source, f"and {partner}: the kernel knows one of them at a time"))
    known = {*cores, *bindings, *_RESERVED}
    for setting, expression in expressions_of(profile):
        for word in words_of(expression):
            if word not in known:
                close = meant(word, sorted(known))
                faults.append(Fault(setting.source, f"unknown core set '{printable(word)}'", close))
    for setting in profile.requires:
        faults += [
            _unbound(setting, part, bindings) for part in requirement.parse(setting.value).parts() if part not in bindings
        ]
    return faults


def _unbound(setting: Setting, part: str, bindings: Mapping[str, str]) -> Fault:
    hint = meant(part, bindings) if bindings else ""
    if not hint.startswith("did you mean"):
        name = PART_NAME.fullmatch(part)
        hint = f'add {part} = "nic" to [bind]' if name else meant_elsewhere((part,), parts=bindings) or "no name of a part"
    return Fault(setting.source, f"'{printable(part)}' is bound by nothing", hint)


def words_of(expression: str) -> list[str]:
    """The names in a core set, functions included."""
    return _WORD.findall(expression)


def expressions_of(profile: Profile) -> Iterator[tuple[Setting, str]]:
    """Every core set that a profile speaks of."""
    for place, setting in profile.settings.items():
        for expression in expressions_at(place, setting):
            yield setting, expression
    for setting in profile.requires:
        for expression in requirement.parse(setting.value).expressions():
            yield setting, expression


def expressions_at(place: Place, setting: Setting) -> Iterable[str]:
    """The core sets in one setting."""
    if place[0] == "cores":
        return (str(setting.value),)
    entry = entry_of(place)
    return entry.kind.expressions(setting.value) if entry is not None else ()
