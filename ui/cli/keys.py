"""``quietcore keys``: the keys of the app as they are in force, from the one table and the keymap files."""

import argparse
import os
from collections.abc import Iterator, Sequence

from tuner.host.text import printable
from ui.cli.output import emit, say
from ui.cli.table import table
from ui.key_names import spelled
from ui.keymap import EVERYWHERE, Keymap, places, read_keymap
from ui.keys import SCREENS, Command

_NEEDS = {"root": "needs root", "host": "on this host or a simulated one", "past": "needs samples to look back at"}


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("--screen", choices=SCREENS, metavar="SCREEN", help=f"only what works on it: {', '.join(SCREENS)}")
    parser.add_argument(
        "--check", action="store_true", help="say what is wrong with the keymap files, and exit with 1 if anything is"
    )
    parser.epilog = (
        "Other keys are said by a file, $XDG_CONFIG_HOME/quietcore/keys.toml (~/.config), over /etc/quietcore/keys.toml:\n\n"
        '  [everywhere]\n  pause = ["p", "ctrl+x"]\n  copy = []\n\n  [irqs]\n  breaks = "b"\n\n'
        "A table for each screen and one for everywhere; in it commands by the names that are listed here, and for each a key "
        "or a list of keys. [] takes a key away: the palette still has the command. Quit, help and back always have a key. A "
        "file with a fault changes nothing: the app says so and starts with the keys that it would have without it."
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the keys, or what is wrong with the files."""
    keymap = read_keymap(places(os.environ))
    shown = [printable(fault.told(), 2000) for fault in keymap.faults]
    if arguments.json:
        commands = [_record(each) for each in _listed(keymap, arguments.screen)]
        emit({"command": "keys", "files": [printable(file) for file in keymap.files], "faults": shown, "keys": commands})
    elif not arguments.check:
        print("\n".join(_told(keymap, arguments.screen)))
    for fault in shown:
        say(f"quietcore keys: {fault}")
    if arguments.check and not arguments.json and not shown:
        files = ", ".join(printable(file) for file in keymap.files) or "no keymap file: the keys are the app's own"
        say(f"quietcore keys: nothing is wrong ({files})")
    return 1 if arguments.check and shown else 0


def _listed(keymap: Keymap, screen: str | None) -> Sequence[Command]:
    return keymap.keys.commands if screen is None else keymap.keys.commands_of(screen)


def _record(command: Command) -> dict[str, object]:
    return {
        "name": command.name,
        "keys": [spelled(key) for key in command.keys],
        "title": command.title,
        "explained": command.explained,
        "screens": list(command.where) or [EVERYWHERE],
        "needs": command.needs,
        "action": command.action,
    }


def _told(keymap: Keymap, screen: str | None) -> Iterator[str]:
    """A table for each screen, and one for everywhere."""
    listed = _listed(keymap, screen)
    for heading in (EVERYWHERE, *([screen] if screen is not None else SCREENS)):
        rows = [
            (" ".join(map(spelled, each.keys)) or "-", each.name, each.explained + _needs(each))
            for each in listed
            if (heading in each.where if heading != EVERYWHERE else not each.where)
        ]
        if rows:
            yield f"[{heading}]"
            yield table(("keys", "command", "does"), rows)
            yield ""
    yield "files: " + (", ".join(printable(file) for file in keymap.files) or "none; the keys are the app's own")


def _needs(command: Command) -> str:
    return f" ({_NEEDS[command.needs]})" if command.needs else ""
