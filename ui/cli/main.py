"""The one command: parses what is asked, imports the room that answers, and turns its outcome into an exit status.

Start-up is part of the interface: every module of a command is imported when that command is asked for, and not before.
"""

import argparse
import importlib
import os
import sys
import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NoReturn

from ui.start import APP_OPTIONS, APP_SWITCHES
from ui.start import chosen as _chosen

VERSION = "0.1.0"

# name -> (module, one line of help); in the order in which somebody meets them
COMMANDS: dict[str, tuple[str, str]] = {
    "status": ("ui.cli.status", "one report: cores by role, NICs, losses, conflicts, active profile, drift"),
    "watch": ("ui.cli.watch", "the sample stream: a table, or JSON lines"),
    "record": ("ui.cli.record", "the sample stream to a file, to be replayed"),
    "replay": ("ui.cli.replay", "a recording: in the app, as JSON lines, or in a few words"),
    "view": ("ui.cli.view", "another host's samples, piped in over SSH"),
    "ring": ("ui.cli.ring", "packets of interfaces or of a capture: rate, drops, latency, feeds"),
    "selftest": ("ui.cli.selftest", "a proof in seconds: whether this host's ring loses any of so many packets a second"),
    "profiles": ("ui.cli.profiles", "shipped and local profiles: list, show, check"),
    "plan": ("ui.cli.plan", "what a profile would change, why, what it disturbs, and how it is undone"),
    "apply": ("ui.cli.apply", "apply a profile as one transaction"),
    "confirm": ("ui.cli.confirm", "keep a transaction that undoes itself otherwise"),
    "rollback": ("ui.cli.rollback", "undo a transaction"),
    "recover": ("ui.cli.recover", "end what a crash or a power cut left in the middle"),
    "verify": ("ui.cli.verify", "every setting of a profile: asked for, in effect, or not"),
    "suggest": ("ui.cli.suggest", "a commented profile for this host, from its topology and NICs"),
    "doctor": ("ui.cli.doctor", "who else writes this host's knobs, and what its settings contradict, each with its remedy"),
    "history": ("ui.cli.history", "all transactions of this host"),
    "explain": ("ui.cli.explain", "what a knob is, what it is worth, and how it stands here"),
    "simulate": ("ui.cli.simulate", "write a simulated host to try everything on"),
    "keys": ("ui.cli.keys", "the app's keys, screen by screen, and what is wrong with a keymap file"),
    "completion": ("ui.cli.completion", "a shell's tab completion, to be sourced"),
}

EXIT_STATUS = """\
exit status:
  0  done; the host is as wanted
  1  error: bad usage, bad input, I/O; nothing was changed
  2  the host differs from the profile (plan, verify); something was found (doctor)
  3  as wanted, but for what needs a reboot
  4  refused: locked, a transaction pending, a disruption that was not allowed, a conflict; nothing was changed
  5  failed and rolled back: the host is as before
  6  degraded: the rollback left something behind, which is listed
"""

EPILOG = f"""\
Without a command: the app on a terminal, the status report elsewhere. The app reads packet rings beside its counters where
they are named: quietcore --ring packet:eth2 --feed moldudp64; see quietcore watch --help.

a first round, on a simulated host:
  quietcore simulate /tmp/host
  quietcore --root /tmp/host plan feed-handler
  quietcore --root /tmp/host apply feed-handler --allow link
  quietcore --root /tmp/host verify
  quietcore --root /tmp/host rollback

{EXIT_STATUS}"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose usage errors leave with 1: 2 means that a host differs."""

    def error(self, message: str) -> NoReturn:
        """Says what is wrong, and how to find out more."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: {message}\ntry: {self.prog} --help\n")


def global_options(parser: argparse.ArgumentParser, default: object = argparse.SUPPRESS) -> None:
    """The options that may stand anywhere; a command with actions of its own gives them to each action."""
    group = parser.add_argument_group("options of every command")
    group.add_argument(
        "--root", metavar="DIR", default=default, help="a host as files: DIR/proc, DIR/sys, DIR/etc (default: /)"
    )
    group.add_argument("--state", metavar="DIR", default=default, help="where journals are kept (default: /var/lib/quietcore)")
    group.add_argument("--json", action="store_true", default=default or False, help="one JSON object on stdout")
    group.add_argument(
        "--demo", action="store_true", default=default or False, help="a simulated host that lives while this runs"
    )


def app_options(parser: argparse.ArgumentParser) -> None:
    """How the app looks, and what it watches beside the counters; ``watch`` has the latter behind its name, too."""
    from ui.cli.ring_sources import ring_options
    from ui.looks import THEMES

    ring_options(parser, "for the app: ")
    theme_help = (
        "for the app: dark, light, ansi (the terminal's own sixteen colours) or mono (none); T goes on to the next "
        "(default: QUIETCORE_THEME, else by NO_COLOR, TERM and COLORTERM)"
    )
    parser.add_argument("--theme", metavar="THEME", choices=THEMES, help=theme_help)
    ascii_help = "for the app: nothing but ASCII (default: on a console, and where LANG names no UTF-8)"
    parser.add_argument("--ascii", action="store_true", help=ascii_help)


def build_parser(chosen: str | None) -> Parser:
    """The parser; only the chosen command's own arguments are filled in, and only its module is imported."""
    parser = Parser(
        prog="quietcore",
        description="See what disturbs each core and where packets are lost; change the host by a profile; prove or undo it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"quietcore {VERSION}")
    global_options(parser, default=None)
    app_options(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=Parser)
    for name, (module, help_line) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=help_line,
            description=help_line[0].upper() + help_line[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == chosen:
            importlib.import_module(module).configure(command)
            command.epilog = wrapped(command.epilog or "")
        global_options(command)
    return parser


def wrapped(text: str) -> str:
    """Running text as lines that any terminal holds; what is indented stays as it was written."""
    blocks = groupby(text.split("\n"), key=lambda line: "" if not line else line[0] == " ")
    return "\n".join(
        "\n".join(lines) if kind in ("", True) else textwrap.fill(" ".join(lines), 79, break_on_hyphens=False)
        for kind, lines in blocks
    )


def open_streams() -> None:
    """Puts /dev/null where a standard descriptor is closed: else the next file that is opened, a journal, would be stdout."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    open_streams()
    argv = sys.argv[1:] if argv is None else list(argv)
    chosen = _chosen(argv)
    try:
        parser = build_parser(chosen)
        arguments = parser.parse_args(argv)
        before = argv[: argv.index(chosen)] if chosen is not None else argv
        of_app = [name for name in (*APP_OPTIONS, *APP_SWITCHES) if any(word.partition("=")[0] == name for word in before)]
        if of_app and arguments.command is not None:
            parser.error(f"{', '.join(of_app)} before a command: these are the app's; watch and ring have some of them behind")
        if arguments.command is None:
            if of_app and (arguments.json or not (sys.stdin.isatty() and sys.stdout.isatty())):
                parser.error(
                    f"{', '.join(of_app)}: for the app, which needs a terminal; elsewhere: quietcore watch, quietcore status"
                )
            if sys.stdin.isatty() and sys.stdout.isatty() and not arguments.json:
                return _app(arguments)
            arguments.command = "status"
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader left; Python would complain again when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _app(arguments: argparse.Namespace) -> int:
    from ui.app.main import main as app

    return app(arguments)


def _run(arguments: argparse.Namespace) -> int:
    try:
        status: int = importlib.import_module(COMMANDS[arguments.command][0]).run(arguments)
    except _error("tuner.profile", "ProfileError") as error:
        return _failed(arguments, 1, [fault.told() for fault in error.faults])
    except _error("tuner.store", "Refused") as error:
        return _failed(arguments, 4, [f"refused: {error}"])
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(arguments, 1, [f"{where}{error.strerror or error}"])
    return status


def _error(module: str, name: str) -> Any:
    """A kind of error, to be caught; nothing, where its module was not imported: then it cannot have been raised."""
    return getattr(sys.modules.get(module), name, ())


def _failed(arguments: argparse.Namespace, status: int, reasons: Sequence[str]) -> int:
    """Says on stderr, and under ``--json`` on stdout too, why nothing was done."""
    from tuner.host.text import printable
    from ui.cli.output import emit, say

    shown = [printable(reason, 2000) for reason in reasons]
    for reason in shown:
        say(f"quietcore {arguments.command}: {reason}")
    if arguments.json:
        emit({"command": arguments.command, "changed": False, "error": "; ".join(shown), "faults": shown})
    return status


if __name__ == "__main__":
    sys.exit(main())
