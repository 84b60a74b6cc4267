"""What may stand in a profile, and where: every table of the language with its kinds of values."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tuner.cores import FUNCTIONS
from tuner.host.faults import Fault
from tuner.host.text import printable
from tuner.knobs.sysctl import PARTNERS as SYSCTL_PARTNERS
from tuner.knobs.sysctl import refusal as sysctl_refusal
from tuner.profile import NAME, Document, Place, Profile, Setting, Value

_BINDING = re.compile(r"[a-z][a-z0-9_]{0,31}")
_RING = re.compile(r"max(?::[1-9]\d{0,5})?")
_NUMBER = re.compile(r"[0-9]{1,19}")  # as many digits as a kernel's long has
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TABLES = ("summary", "extends", "bind", "cores", "irq", "nic", "isolation", "sysctl")
SPREADS = ("one-each", "all")
ISOLATION = ("cores", "kernel_threads", "workqueues")
RINGS = ("rx", "tx")
AT_LEAST = "at-least:"
# Names that the functions and the language itself use: a set of that name could not be written about.
_RESERVED = frozenset(FUNCTIONS) | {"all", "online", "N"}


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
        key = printable(".".join(place))
        self.faults.append(Fault(f"{self.document.name}: {key}", what, printable(hint, 400)))  # names from the file are in it

    def unknown(self, place: Place, what: str, known: Iterable[str]) -> None:
        known = list(known)
        close = difflib.get_close_matches(place[-1], known, n=1)
        self.fault(place, f"unknown {what}", f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}")

    def keep(self, place: Place, value: Value) -> None:
        self.settings[place] = Setting(value, f"{self.document.name}: {printable('.'.join(place))}")

    def table(self, name: str) -> Mapping[str, object]:
        table = self.document.table.get(name, {})
        if isinstance(table, dict):
            return table
        self.fault((name,), "not a table", f"write [{name}]")
        return {}

    def text(self, place: Place, value: object, example: str) -> str | None:
        """A string without control characters, not empty and not endless."""
        if isinstance(value, str) and value.strip() and len(value) <= 1000 and printable(value, 2000) == value:
            return value
        what = "holds control characters" if isinstance(value, str) and value.strip() else "not a text"
        self.fault(place, what, f"for example {example}")
        return None


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
    for name, value in checker.table("irq").items():
        _irq(checker, name, value)
    for name, value in checker.table("nic").items():
        _nic(checker, name, value)
    for name, value in checker.table("isolation").items():
        if name in ISOLATION:
            _expression(checker, ("isolation", name), value, '"rx + app"')
        else:
            checker.unknown(("isolation", name), "key", ISOLATION)
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
    else:
        _expression(checker, ("cores", name), value, '"first(2, node(feed))"')


def _expression(checker: _Checker, place: Place, value: object, example: str) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        value = str(value)  # cores = 3 is what everybody tries
    text = checker.text(place, value, example)
    if text is not None:
        checker.keep(place, text)


def _irq(checker: _Checker, name: str, value: object) -> None:
    place = ("irq", name)
    if name == "default" or isinstance(value, str):
        _expression(checker, place, value, '"housekeeping"')
        return
    if not isinstance(value, dict):
        checker.fault(place, "neither a core set nor a table", f'for example {name} = {{ cores = "rx", spread = "one-each" }}')
        return
    for key in value:
        if key not in ("cores", "spread"):
            checker.unknown((*place, key), "key", ("cores", "spread"))
    cores = checker.text((*place, "cores"), value.get("cores"), '"rx"')
    spread = value.get("spread", "one-each")
    if spread not in SPREADS:
        checker.fault((*place, "spread"), "unknown way to spread", f"known: {', '.join(SPREADS)}")
    elif cores is not None:
        checker.keep(place, {"cores": cores, "spread": str(spread)})


def _nic(checker: _Checker, name: str, value: object) -> None:
    if not isinstance(value, dict):
        checker.fault(("nic", name), "not a table", f"write [nic.{name}]")
        return
    for key, table in value.items():
        if key != "rings":
            checker.unknown(("nic", name, key), "key", ("rings",))
        elif not isinstance(table, dict):
            checker.fault(("nic", name, key), "not a table", 'for example rings = { rx = "max:4096" }')
        else:
            for ring, size in table.items():
                _ring(checker, ("nic", name, "rings", ring), size)


def _ring(checker: _Checker, place: Place, size: object) -> None:
    if place[-1] not in RINGS:
        checker.unknown(place, "ring", RINGS)
    elif _is_size(size):
        checker.keep(place, size)  # type: ignore[arg-type]
    else:
        checker.fault(place, "not a ring size", 'descriptors as 4096, "max", or "max:4096" for at most 4096')


def _is_size(size: object) -> bool:
    if isinstance(size, str):
        return bool(_RING.fullmatch(size))
    return isinstance(size, int) and not isinstance(size, bool) and 0 < size <= 1 << 20


def _sysctl(checker: _Checker, prefix: Place, table: Mapping[str, object]) -> None:
    for name, value in table.items():
        key = (*prefix, *name.split("."))
        if isinstance(value, dict) and len(prefix) < 8:  # net.core.busy_poll = 50 without quotes is a table of tables
            _sysctl(checker, key, value)
            continue
        place = ("sysctl", ".".join(key))
        refused = sysctl_refusal(place[1])
        if refused:
            checker.fault(place, refused)
        elif isinstance(value, str) and value.startswith(AT_LEAST):
            if _NUMBER.fullmatch(value.removeprefix(AT_LEAST)):
                checker.keep(place, value)
            else:
                checker.fault(place, "not a number to reach", 'for example "at-least:67108864", which never lowers')
        elif isinstance(value, bool):
            checker.keep(place, int(value))
        elif isinstance(value, int):
            checker.keep(place, value)
        else:
            # the kernel prints vectors with tabs, and that is what gets copied
            text = checker.text(place, value.replace("\t", " ") if isinstance(value, str) else value, "50")
            if text is not None:
                checker.keep(place, " ".join(text.split()))


def check_whole(profile: Profile) -> list[Fault]:
    """What only the merged profile shows: parts that nothing binds, core sets that nobody defined."""
    faults: list[Fault] = []
    bindings, cores = profile.texts("bind"), profile.texts("cores")
    for place, setting in profile.settings.items():
        part = place[1] if place[0] in ("nic", "irq") and place != ("irq", "default") else None
        if part is not None and part not in bindings:
            close = difflib.get_close_matches(part, bindings, n=1)
            hint = f"did you mean {close[0]}?" if close else f'add {printable(part)} = "nic" to [bind]'
            faults.append(Fault(setting.source, f"'{printable(part)}' is bound by nothing", hint))
    for (_, *key), setting in profile.settings.items():
        partner = SYSCTL_PARTNERS.get(key[0])
        if partner and ("sysctl", partner) in profile.settings:
            faults.append(Fault(setting.source, f"and {partner}: the kernel knows one of them at a time"))
    known = {*cores, *bindings, *_RESERVED}
    for setting in _expressions(profile):
        for word in _WORD.findall(str(setting.value)):
            if word not in known:
                close = difflib.get_close_matches(word, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
                faults.append(Fault(setting.source, f"unknown core set '{printable(word)}'", hint))
    return faults


def _expressions(profile: Profile) -> list[Setting]:
    found: list[Setting] = []
    keep: Callable[[Setting], None] = found.append
    for place, setting in profile.settings.items():
        if place[0] in ("cores", "isolation"):
            keep(setting)
        elif place[0] == "irq":
            value = setting.value
            keep(Setting(value["cores"], f"{setting.source}.cores") if isinstance(value, Mapping) else setting)
    return found
