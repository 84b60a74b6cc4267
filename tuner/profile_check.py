"""What may stand in a profile, and where: a walk over its tables by the places that the families of knobs offer."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tuner.cores import FUNCTIONS
from tuner.host.faults import Fault
from tuner.host.text import printable
from tuner.knobs.catalogue import ENTRIES
from tuner.knobs.sysctl import PARTNERS as SYSCTL_PARTNERS
from tuner.knobs.sysctl import check_value as check_sysctl
from tuner.knobs.sysctl import refusal as sysctl_refusal
from tuner.language.entry import PART, Entry
from tuner.language.values import Cores
from tuner.profile import NAME, Document, Place, Profile, Setting, Value

_BINDING = re.compile(r"[a-z][a-z0-9_]{0,31}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN = ("summary", "extends", "bind", "cores", "sysctl")
TABLES = tuple(dict.fromkeys([*_OWN, *(entry.place[0] for entry in ENTRIES)]))
# Names that the functions and the language itself use: a set of that name could not be written about.
_RESERVED = frozenset(FUNCTIONS) | {"all", "online", "N"}
_DEPTH = 8


@dataclass(slots=True)
class Layer:
    """One file of a profile, checked by itself."""

    summary: str
    extends: tuple[str, ...]
    settings: dict[Place, Setting]
    faults: list[Fault]


class _Checker:
    """Walks one document; ``faults`` and ``settings`` grow on the way."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.settings: dict[Place, Setting] = {}
        self.faults: list[Fault] = []

    def fault(self, place: Iterable[str], what: str, hint: str = "") -> None:
        key = printable(".".join(place), 300)
        self.faults.append(Fault(f"{self.document.name}: {key}", what, printable(hint, 600)))  # names from the file are in it

    def unknown(self, place: Place, what: str, known: Iterable[str]) -> None:
        known = list(known)
        close = difflib.get_close_matches(place[-1][:100], known, n=1)
        self.fault(place, f"unknown {what}", f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}")

    def keep(self, place: Place, value: Value) -> None:
        self.settings[place] = Setting(value, f"{self.document.name}: {printable('.'.join(place))}")

    def table(self, name: str) -> Mapping[str, object]:
        table = self.document.table.get(name, {})
        if isinstance(table, dict):
            return table
        self.fault((name,), "not a table", f"write [{name}]")
        return {}

    def entry(self, entry: Entry, place: Place, value: object) -> None:
        """A value at a place that the language knows."""

        def report(what: str, hint: str = "", *below: str) -> None:
            self.fault((*place, *below), what, hint)

        checked = entry.kind.check(value, report)
        if checked is not None:
            self.keep(place, checked)

    def walk(self, place: Place, value: object) -> None:
        """A table, down to the places that the language knows."""
        found = next((entry for entry in ENTRIES if entry.matches(place)), None)
        if found is not None:
            self.entry(found, place, value)
            return
        below = [entry for entry in ENTRIES if _leads(entry.place, place)]
        if not below:
            siblings = [e.place[len(place) - 1] for e in ENTRIES if _leads(e.place, place[:-1])]
            self.unknown(place, "key", dict.fromkeys(s for s in siblings if s != PART))
        elif not isinstance(value, dict) or len(place) > _DEPTH:
            name = below[0].place[len(place)]
            self.fault(place, "not a table", f"write [{'.'.join(place)}]" if name == PART else f"for example {name} = …")
        else:
            for key, each in value.items():
                self.walk((*place, key), each)


def _leads(entry: Place, place: Place) -> bool:
    """Whether an entry lies below a place."""
    return len(entry) > len(place) and all(ours in (PART, theirs) for ours, theirs in zip(entry, place, strict=False))


def check_layer(document: Document) -> Layer:
    """Checks one file by itself; what needs the merged profile is ``check_whole``'s."""
    checker = _Checker(document)
    for key in document.table:
        if key not in TABLES:
            checker.unknown((key,), "table" if isinstance(document.table[key], dict) else "key", TABLES)
    summary = document.table.get("summary", "")
    if not isinstance(summary, str) or printable(summary, 2000) != summary or len(summary) > 200:
        checker.fault(("summary",), "not a line of text of at most 200 characters")
        summary = ""
    extends = _extends(checker)
    for name, value in checker.table("bind").items():
        _bind(checker, name, value)
    for name, value in checker.table("cores").items():
        _core_set(checker, name, value)
    for name, value in document.table.items():
        if name in TABLES and name not in _OWN:
            checker.walk((name,), value)
    _sysctl(checker, (), checker.table("sysctl"))
    return Layer(str(summary), extends, checker.settings, checker.faults)


def _extends(checker: _Checker) -> tuple[str, ...]:
    value = checker.document.table.get("extends", [])
    if not isinstance(value, list) or not all(isinstance(v, str) and NAME.fullmatch(v) for v in value):
        checker.fault(("extends",), "not a list of profile names", 'for example extends = ["base"]; names only, no paths')
        return ()
    return tuple(str(v) for v in value)


def _bind(checker: _Checker, name: str, value: object) -> None:
    if not _BINDING.fullmatch(name):
        checker.fault(("bind", name), "not a name", "lower-case letters, digits and _")
    elif value != "nic":
        checker.fault(("bind", name), "unknown kind of part", f'{name} = "nic"; the NIC itself is given by --bind or host.toml')
    else:
        checker.keep(("bind", name), "nic")


def _core_set(checker: _Checker, name: str, value: object) -> None:
    if not _BINDING.fullmatch(name) or name in _RESERVED:
        hint = "it means something else in core sets" if name in _RESERVED else "lower-case letters, digits and _"
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
            checker.fault(place, refused)
            continue
        checked = check_sysctl(value, lambda what, hint="", *below, place=place: checker.fault((*place, *below), what, hint))
        if checked is not None:
            checker.keep(place, checked)


def check_whole(profile: Profile) -> list[Fault]:
    """What only the merged profile shows: parts that nothing binds, core sets that nobody defined."""
    faults: list[Fault] = []
    bindings, cores = profile.texts("bind"), profile.texts("cores")
    for place, setting in profile.settings.items():
        part = _part(place)
        if part is not None and part not in bindings:
            close = difflib.get_close_matches(part, bindings, n=1)
            hint = f"did you mean {close[0]}?" if close else f'add {printable(part)} = "nic" to [bind]'
            faults.append(Fault(setting.source, f"'{printable(part)}' is bound by nothing", hint))
        partner = SYSCTL_PARTNERS.get(place[1]) if place[0] == "sysctl" else None
        if partner and ("sysctl", partner) in profile.settings:
            faults.append(Fault(setting.source, f"and {partner}: the kernel knows one of them at a time"))
    known = {*cores, *bindings, *_RESERVED}
    for setting, expression in _expressions(profile):
        for word in _WORD.findall(expression):
            if word not in known:
                close = difflib.get_close_matches(word, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
                faults.append(Fault(setting.source, f"unknown core set '{printable(word)}'", hint))
    return faults


def entry_of(place: Place) -> Entry | None:
    """The entry of a place, None for the language's own tables."""
    return next((entry for entry in ENTRIES if entry.matches(place)), None)


def _part(place: Place) -> str | None:
    entry = entry_of(place)
    return place[entry.place.index(PART)] if entry is not None and PART in entry.place else None


def _expressions(profile: Profile) -> Iterator[tuple[Setting, str]]:
    for place, setting in profile.settings.items():
        if place[0] == "cores":
            yield setting, str(setting.value)
        elif (entry := entry_of(place)) is not None:
            for expression in entry.kind.expressions(setting.value):
                yield setting, expression
