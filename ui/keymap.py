"""The keymap file: other keys for the commands of ``ui/keys.py``.

``$XDG_CONFIG_HOME/quietcore/keys.toml``, over ``/etc/quietcore/keys.toml``::

    [everywhere]
    pause = ["p", "space"]
    copy = []                # no key: the palette still has it

    [irqs]
    breaks = "b"

A file is taken whole or not at all: one with a fault changes nothing, and everything that is wrong with it is said at once.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tuner.host.faults import Fault
from tuner.host.text import printable
from tuner.host.trusted import Distrusted, read_trusted
from ui.key_names import KeyNameError, key_of, spelled
from ui.keys import COMMANDS, SCREENS, Command, Keys, Screen, rekeyed

ROOM = 64 * 1024  # bytes
EVERYWHERE = "everywhere"
NEVER_LOST = ("quit", "help", "back")
_SECTIONS = (EVERYWHERE, *SCREENS)

_BY_DEFAULT = {each.name: each.keys for each in COMMANDS}

# (section, command's name) -> toolkit's names of keys
Said = Mapping[tuple[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Keymap:
    """The keys in force, the files that they come from beside the table, and what is wrong with files that were not taken."""

    keys: Keys
    files: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()


def places(environ: Mapping[str, str]) -> list[str]:
    """Where keymap files are looked for; a later one goes over an earlier one.

    The person's own is at ``$XDG_CONFIG_HOME``, which counts only if it is absolute (XDG Base Directory Specification).
    """
    config = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(config):
        config = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".config")
    return ["/etc/quietcore/keys.toml", os.path.join(config, "quietcore", "keys.toml")]


def read_keymap(paths: Sequence[str]) -> Keymap:
    """The table, changed by those of these files that are there and right. Never fails: faults are told, and change nothing."""
    said: dict[tuple[str, str], tuple[str, ...]] = {}
    files: list[str] = []
    faults: list[Fault] = []
    for path in paths:
        if not os.path.lexists(path):
            continue
        mine, wrong = _read(path)
        after = said | mine
        wrong += [Fault(path, *each) for each in _clashes(Keys(commands(after)), mine)]
        if wrong:
            faults += wrong
            continue
        said = after
        files.append(path)
    return Keymap(Keys(commands(said)), tuple(files), tuple(faults))


def commands(said: Said) -> list[Command]:
    """The table with the keys that were said; a command of several screens is one row for each set of keys."""
    rows: list[Command] = []
    for command in COMMANDS:
        general = said.get((EVERYWHERE, command.name), command.keys)
        if not command.where:
            rows.append(rekeyed(command, general))
            continue
        alike: dict[tuple[str, ...], list[Screen]] = {}
        for screen in command.where:
            alike.setdefault(said.get((screen, command.name), general), []).append(screen)
        rows += [replace(rekeyed(command, keys), where=tuple(where)) for keys, where in alike.items()]
    return rows


# ------------------------------------------------------------------------------------------------------------ one file


def _read(path: str) -> tuple[dict[tuple[str, str], tuple[str, ...]], list[Fault]]:
    import tomllib  # the app starts without it where there is no keymap

    try:
        # a link into a directory of dotfiles is usual; what it leads to is what is checked
        raw = read_trusted(os.path.realpath(path), path, ROOM, "a keymap", trusted_owner=True)
        content = tomllib.loads(raw.decode())
    except Distrusted as error:
        return {}, [Fault(path, error.what, error.hint)]
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        return {}, [Fault(path, f"not TOML: {printable(str(error), 200)}")]
    said: dict[tuple[str, str], tuple[str, ...]] = {}
    faults: list[Fault] = []
    for section, entries in content.items():
        place = f"[{printable(section, 40)}]"
        if section not in _SECTIONS:
            faults.append(Fault(path, f"{place}: there is no such screen", _meant(section, _SECTIONS)))
        elif not isinstance(entries, dict):
            hint = f"[{section}] on a line of its own, its commands below it"
            faults.append(Fault(path, f"{place}: not a table of commands", hint))
        else:
            for name, value in entries.items():
                try:
                    command = _command(section, name)
                    said[section, command] = _keys(command, value)
                except _Wrong as error:
                    faults.append(Fault(path, f"{place} {printable(name, 40)}: {error}", error.hint))
    return said, faults


class _Wrong(ValueError):
    """What is wrong with one entry, and what was probably meant."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


def _command(section: str, text: str) -> str:
    """The command that an entry names; hyphens and underscores may stand for spaces."""
    name = text.lower().replace("-", " ").replace("_", " ")
    known = {each.name: each for each in COMMANDS if section == EVERYWHERE or section in each.where}
    if name in known:
        return name
    elsewhere = next((each for each in COMMANDS if each.name == name), None)
    if elsewhere is not None:
        where = f"[{elsewhere.where[0]}]" if elsewhere.where else f"[{EVERYWHERE}]"
        raise _Wrong("not a command of this screen", f"it belongs under {where}")
    raise _Wrong("there is no such command", _meant(name, list(known)))


def _keys(name: str, value: object) -> tuple[str, ...]:
    """The keys of an entry."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise _Wrong(f"{printable(repr(value), 40)} is no key", 'a key or a list of keys: "p", or ["p", "space"]')
    if not texts and name in NEVER_LOST:
        raise _Wrong("cannot be without a key", f"{', '.join(NEVER_LOST)} always have one")
    found = []
    for text in texts:
        try:
            found.append(key_of(text))
        except KeyNameError as error:
            raise _Wrong(f"{printable(repr(text), 40)} is no key to be had", str(error)) from error
    return tuple(dict.fromkeys(found))


def _meant(word: str, known: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word[:60], known, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"


# -------------------------------------------------------------------------------------------------- keys that two want


def _clashes(keys: Keys, mine: Said) -> Iterator[tuple[str, str]]:
    """What the entries of one file make impossible, and what to do."""
    told = set()
    for screen in SCREENS:
        own = [each for each in keys.commands if screen in each.where]
        general = [each for each in keys.commands if not each.where]
        for first, second, key in (*_same(own), *_same(general)):
            entry = _entry(mine, screen, second) or _entry(mine, screen, first)
            if entry is not None and (entry, key) not in told:
                told.add((entry, key))
                other = first if entry[1] == second.name else second
                where = f" on {screen}" if other.where else ""
                yield (
                    f"[{entry[0]}] {entry[1]}: {spelled(key)} is {other.name}{where} already",
                    f"give {other.name} another key",
                )
        yield from _shadowed(screen, own, general, mine)


def _shadowed(screen: str, own: list[Command], general: list[Command], mine: Said) -> Iterator[tuple[str, str]]:
    """What a screen's own command takes from one that works everywhere: the table does so, and so may a file that says it."""
    taken = {key: each for each in own for key in each.keys}
    for command in general:
        lost = [key for key in command.keys if key in taken]
        new = [key for key in lost if key not in _BY_DEFAULT[command.name]]
        if not lost:
            continue
        by = taken[(new or lost)[0]]
        entry = _entry(mine, screen, by)
        if (EVERYWHERE, command.name) in mine and (new or len(lost) == len(command.keys)):
            where = f"[{EVERYWHERE}] {command.name}: {spelled((new or lost)[0])} is {by.name} on {screen}"
            yield where, f"give it another key, or {by.name} one"
        elif entry is not None and len(lost) == len(command.keys):
            also = "" if command.name in NEVER_LOST else ", or []"
            yield f"[{entry[0]}] {entry[1]}: leaves {command.name} without a key on {screen}", f"give {command.name} one{also}"


def _same(group: Sequence[Command]) -> Iterator[tuple[Command, Command, str]]:
    """Pairs of commands with one key."""
    first: dict[str, Command] = {}
    for command in group:
        for key in command.keys:
            if key in first:
                yield first[key], command, key
            first.setdefault(key, command)


def _entry(mine: Said, screen: str, command: Command) -> tuple[str, str] | None:
    """The entry of the file that gave a command its keys on a screen."""
    return next(((each, command.name) for each in (screen, EVERYWHERE) if (each, command.name) in mine), None)
