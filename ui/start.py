"""Where the command begins: where the app will start, its first words stand on the terminal before anything is imported.

The interpreter takes seven milliseconds, argparse five, the app two hundred. So this file imports nothing that the interpreter
has not loaded itself, and says at once that something is coming.
"""

import os
import sys

APP_OPTIONS = ("--ring", "--feed", "--feed-file", "--filter", "--theme")
APP_SWITCHES = ("--ascii",)
_VALUED = ("--root", "--state", *APP_OPTIONS)
# One line on the screen as it is, under which the app's own screen comes up; what is printed instead of the app overwrites it.
FRAME = b" quietcore  starting the collector ...\r"


def main() -> int:
    """Runs the command line of this process; its exit status."""
    if app_is_meant(sys.argv[1:]) and os.isatty(0) and os.isatty(1):
        try:  # noqa: SIM105 - contextlib would be the first import
            os.write(1, FRAME)
        except OSError:
            pass
    from ui.cli.main import main as command

    return command()


def chosen(words: list[str]) -> str | None:
    """The command among the words of a command line; None: the app, or the status report."""
    return next((word for word in _without_values(words) if not word.startswith("-")), None)


def app_is_meant(words: list[str]) -> bool:
    """Whether a command line, on a terminal, starts the app and nothing else: no command, no help, no error."""
    return all(
        word in (*_VALUED, *APP_SWITCHES, "--demo") or word.partition("=")[0] in _VALUED for word in _without_values(words)
    )


def _without_values(words: list[str]) -> list[str]:
    left, skip = [], False
    for word in words:
        if not skip:
            left.append(word)
        skip = not skip and word in _VALUED
    return left


if __name__ == "__main__":
    sys.exit(main())
