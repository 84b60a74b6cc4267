"""What there is to say of each knob: what it is, where a profile asks for it, with which values, and how it stands on a host.

``quietcore explain`` and docs/knobs.md are made of it, so that neither can say what the code does not do.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from tuner.host.cpulist import format_list
from tuner.host.host import Inventory
from tuner.host.text import printable
from tuner.knobs import sysctl_notes
from tuner.knobs.catalogue import FAMILIES, NAMED, knob_of
from tuner.knobs.knob import About, Gone, Json, Knob, Unsupported
from tuner.knobs.plain import CpuFiles, HostFile
from tuner.knobs.sysctl import refusal
from tuner.language.entry import PART, Entry, Family, OnCpus, OnHost, OnNic
from tuner.language.places import entry_above, shown

_SYSCTL = "sysctl"
_READ_LIMIT = 512
_ALIKE = 4  # places that differ in nothing but their names, from so many on, are one line
_BARE = re.compile(r"[A-Za-z0-9_-]+")  # what TOML takes for a key without quotes


@dataclass(frozen=True, slots=True)
class Asked:
    """A place of a profile that leads to a knob: what may stand there, and a line that could."""

    place: str
    values: str
    about: str
    example: str


@dataclass(frozen=True, slots=True)
class Reference:
    """One knob, for people. ``name`` is that of plans and journals; ``heading`` its family's."""

    name: str
    heading: str
    about: About
    disruption: str
    resets: bool
    privilege: str
    irreversible: str
    asked: tuple[Asked, ...]

    def to_json(self) -> dict[str, Json]:
        """The same as an object."""
        about = {each: getattr(self.about, each) for each in About.__slots__}
        return {
            "knob": self.name,
            "family": self.heading,
            **about | {"quirks": list(self.about.quirks)},
            "disruption": self.disruption,
            "resets": self.resets,
            "privilege": self.privilege,
            "irreversible": self.irreversible,
            "profile": [{each: getattr(asked, each) for each in Asked.__slots__} for asked in self.asked],
        }


@dataclass(frozen=True, slots=True)
class Standing:
    """How a knob stands on a host; ``error`` says why it cannot be read."""

    target: str
    now: Json
    effective: Json
    note: str = ""
    error: str = ""


def references() -> tuple[Reference, ...]:
    """All knobs that a profile can ask for, in the order of application; sysctls are one."""
    return tuple(_reference(knob.family, family) for family in FAMILIES for knob in family.knobs)


def reference(name: str) -> Reference:
    """One knob, or one sysctl.

    Raises:
        KeyError: there is no such knob, or a profile may not name such a sysctl.
    """
    if name.startswith("sysctl.") and refusal(name.removeprefix("sysctl.")):
        raise KeyError(name)
    knob = knob_of(name)
    return _reference(name, next(family for family in FAMILIES if knob in family.knobs))


def _reference(name: str, family: Family) -> Reference:
    knob = knob_of(name)
    key = name.removeprefix("sysctl.")
    return Reference(
        name=name,
        heading=family.name,
        about=_about_of_sysctl(knob, key) if name.startswith("sysctl.") else knob.about,
        disruption=knob.disruption,
        resets=knob.resets,
        privilege=knob.privilege,
        irreversible=knob.irreversible(key) if name.startswith("sysctl.") else "",
        asked=_sysctl_asked(key) if name.split(".", maxsplit=1)[0] == _SYSCTL else tuple(_all_asked(entries_of(knob, family))),
    )


def sysctl_references() -> tuple[Reference, ...]:
    """The sysctls of which there is more to say than that they are some, each like a knob; without those that are knobs."""
    known = {knob.family for _, knob in _all()}
    return tuple(reference(name) for name in (f"sysctl.{each}" for each in sysctl_notes.names()) if name not in known)


def _about_of_sysctl(knob: Knob, key: str) -> About:
    try:
        return sysctl_notes.about_of(key)
    except KeyError:
        return knob.about


def _sysctl_asked(key: str) -> tuple[Asked, ...]:
    name = "NAME" if key == _SYSCTL else key
    values = 'a number, `true` or `false`, text, `"at-least:N"`, `"at-most:N"`'
    return (Asked(f'sysctl."{name}"', values, "by its name, in quotes", f'sysctl."{name}" = …'),)


def entries_of(knob: Knob, family: Family) -> tuple[Entry, ...]:
    """The places that lead to a knob.

    They are those that say so, in whichever family; else those of its own that are called like it without their part; else all
    of its own which lead to no other knob.
    """
    names = {each.family for each in family.knobs}
    own = [entry for entry in family.entries if knob.family in _leads_to(entry, names)]
    others = [entry for each in FAMILIES if each is not family for entry in each.entries if knob.family in entry.knobs]
    return (*(own or [entry for entry in family.entries if not _leads_to(entry, names)]), *others)


def _leads_to(entry: Entry, names: Iterable[str]) -> tuple[str, ...]:
    if entry.knobs:
        return entry.knobs
    if isinstance(entry.ask, (OnHost, OnNic, OnCpus)):
        return (entry.ask.knob,)
    without = ".".join(word for word in entry.place if word != PART)
    return tuple(name for name in names if name == without or name.startswith(f"{without}."))


def _all_asked(entries: Iterable[Entry]) -> Iterator[Asked]:
    """Each place with what it takes; names that say all there is to say share a line; what is only refused has none."""
    taken = [entry for entry in entries if entry.kind.sample()]
    for (above, about), group in groupby(taken, key=lambda entry: (entry.place[:-1], entry.about)):
        alike = list(group)
        if len(alike) < _ALIKE:
            yield from (Asked(shown(each.place), each.kind.words(), about, example_of(each)) for each in alike)
        else:
            names = ", ".join(each.place[-1] for each in alike)
            yield Asked(f"{shown(above)}.NAME", alike[0].kind.words(), f"{about} ({names})", example_of(alike[0]))


def example_of(entry: Entry) -> str:
    """A line of a profile that the place takes, empty where it takes none."""
    key = ".".join("feed" if word == PART else word if _BARE.fullmatch(word) else f'"{word}"' for word in entry.place)
    value = entry.kind.sample()
    return f"{key} = {value}" if value else ""


def find(text: str) -> tuple[Reference, ...]:
    """The knobs that somebody means by a name, a family's prefix, a place of a profile, or the bare name of a sysctl.

    Raises:
        KeyError: none; the argument is what was probably meant, empty where nothing is like it.
    """
    known = {each.name: each for each in references()}
    noted = [each.name for each in sysctl_references()]
    if text in known:
        return (known[text],)
    for name in (text, f"sysctl.{text}"):
        if name.startswith("sysctl.") and not refusal(name.removeprefix("sysctl.").replace('"', "")):
            return (reference(name.replace('"', "")),)
    if text.startswith(tuple(f"{each}." for each in NAMED if each != _SYSCTL)):  # of those that only a host has names for
        return (reference(text),)
    if below := tuple(each for name, each in known.items() if name.startswith(f"{text}.")):
        return below
    place = tuple(PART if word == "PART" else word for word in text.split("."))
    entry = entry_above(place)
    if entry is not None:
        found = (_reference(knob.family, family) for family, knob in _all() if entry in entries_of(knob, family))
        return tuple(found)
    raise KeyError(next(iter(difflib.get_close_matches(text[:100], [*known, *noted, *_words([*known, *noted])], n=1)), ""))


def _words(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield name.rpartition(".")[2]


def _all() -> Iterator[tuple[Family, Knob]]:
    for family in FAMILIES:
        for knob in family.knobs:
            yield family, knob


def standings(inventory: Inventory, name: str) -> list[Standing]:
    """How a knob stands on this host, target by target; empty where nobody says what it could be read of."""
    knob = knob_of(name)
    found = []
    for target, identity in targets(inventory, knob, name)[:_READ_LIMIT]:
        try:
            reading = knob.read(inventory, identity)
        except (Unsupported, Gone) as why:
            found.append(Standing(printable(target), None, None, error=printable(str(why))))
        except OSError as why:
            found.append(Standing(printable(target), None, None, error=f"cannot be read: {why.strerror}"))
        except ValueError as why:
            found.append(Standing(printable(target), None, None, error=printable(str(why))))
        else:
            found.append(Standing(printable(target), reading.now, reading.effective, printable(reading.note)))
    return found


def targets(inventory: Inventory, knob: Knob, name: str) -> Sequence[tuple[str, str]]:
    """(shown, identity) of what a knob can be read of here."""
    if name.startswith("sysctl."):
        return [("host", name.removeprefix("sysctl."))]
    if own := knob.targets(inventory):
        one = name.removeprefix(f"{knob.family}.") if name != knob.family else ""
        return [each for each in own if not one or each[1].rpartition(" ")[2] == one]
    family = next((family for family, each in _all() if each is knob), None)
    asks = {type(entry.ask) for entry in (entries_of(knob, family) if family is not None else ())}
    if isinstance(knob, HostFile) or OnHost in asks:
        return [("host", "host")]
    if isinstance(knob, CpuFiles) or OnCpus in asks:
        cpus = format_list(inventory.topology.online)
        return [(f"CPU {cpus}", cpus)]
    if OnNic in asks or name.startswith("nic."):
        return [(nic.name, nic.identity) for nic in inventory.nics if nic.physical]
    return ()


def plain(value: Json) -> str:
    """A reading for people: groups of CPUs side by side; what is empty is said to be."""
    if value is None or value in ("", {}, []):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{printable(str(key), 60)}: {plain(each)}" for key, each in value.items())
    return printable(str(value), 200)
