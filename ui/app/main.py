"""Starts the app: a first frame at once, then Textual, the collector beside it, and for a demo a host that lives."""

import argparse
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ui.app import aside
from ui.app.ending import Ending
from ui.cli.ring_sources import ring_words, without_ring
from ui.looks import Looks, LooksError, looks_of

if TYPE_CHECKING:
    from ui.app.app import QuietcoreApp
    from ui.app.source import Source


def main(arguments: argparse.Namespace) -> int:
    """Runs the app until it is left; its exit status: 0, 1 where it could not run, 128 and the signal that ended it."""
    wrong = without_ring(arguments) or without_terminal()
    if wrong:
        sys.stderr.write(f"quietcore: {wrong}\n")
        return 1
    try:
        looks = looks_of(os.environ, arguments.theme, arguments.ascii)
    except LooksError as error:
        sys.stderr.write(f"quietcore: {error}\n")
        return 1
    sys.stdout.write(f"\x1b[2J\x1b[H quietcore  starting the collector{'...' if looks.ascii else '…'}\r\n")
    sys.stdout.flush()
    aside.step_aside()
    with _host_options(arguments) as (options, simulated):
        from ui.app.source import ChildSource

        source = ChildSource(options, "0.5s", ring_words(arguments))  # first: it starts while the rest is loaded
        aside.weigh_less()
        try:
            return run(lambda: _app(arguments, looks, options, source, simulated), arguments.state)
        finally:
            source.close()


def _app(arguments: argparse.Namespace, looks: Looks, options: list[str], source: "Source", simulated: bool) -> "QuietcoreApp":
    from ui.app.app import QuietcoreApp
    from ui.app.model import Model
    from ui.app.ring_control import ChildRing
    from ui.app.runner import ChildRunner
    from ui.keymap import places as keymap_places
    from ui.keymap import read_keymap

    may_change = simulated or arguments.root is not None or os.geteuid() == 0
    kind = "demo" if simulated else "files" if arguments.root is not None else "live"
    model = Model(kind=kind, may_change=may_change, why_not="" if may_change else "not root")
    keymap, places = read_keymap(keymap_places(os.environ)), (".", "~", arguments.state or "/var/lib/quietcore")
    return QuietcoreApp(source, ChildRunner(options), ChildRing([]), model, looks=looks, keymap=keymap, places=places)


def run(make: Callable[[], "QuietcoreApp"], state: str | None) -> int:
    """Makes an app and runs it; its exit status. Whatever ends it, the terminal is as it was.

    Args:
        make: imports what is heavy; nothing that it makes is looked through for garbage meanwhile.
        state: the directory for a crash's traceback.
    """
    ending = Ending(state)
    with ending.watched():
        gc.disable()
        try:
            app = make()
            gc.freeze()  # what was imported stays
        finally:
            gc.enable()
        error = app.live(ending)
        if error is not None:
            ending.restore()
            sys.stderr.write(ending.told(error))
            return 1
    return app.return_value or 0


def without_terminal() -> str:
    """Why the app cannot be shown here; empty where it can."""
    term = os.environ.get("TERM", "")
    if term not in ("", "dumb", "unknown"):
        return ""
    named = f"TERM={term}" if term else "TERM is not set"
    return (
        f"{named}: this terminal cannot show the app; quietcore status is a report of now, quietcore watch goes on"
        "; or name the terminal: TERM=xterm-256color quietcore"
    )


@contextlib.contextmanager
def _host_options(arguments: argparse.Namespace) -> Iterator[tuple[list[str], bool]]:
    """The global options of every child; a demo host lasts as long as the app."""
    options = []
    if arguments.state is not None:
        options += ["--state", arguments.state]
    if not arguments.demo or arguments.root is not None:
        if arguments.root is not None:
            options += ["--root", arguments.root]
        yield options, False
        return
    import tempfile

    from tuner.host.simulated import write_tree

    memory = "/dev/shm"  # noqa: S108 - a directory of our own is made in it
    with tempfile.TemporaryDirectory(prefix="quietcore-demo-", dir=memory if os.access(memory, os.W_OK) else None) as directory:
        _clean_up_after_us(directory)
        root = os.path.join(directory, "host")
        write_tree(root)
        yield [*options, "--root", root], True


def _clean_up_after_us(directory: str) -> None:
    """Leaves a process behind that removes the directory when this one is gone, however it went.

    A closed terminal ends the app by SIGHUP within half a second, and no handler of Textual's runs.
    """
    import shutil

    watched, held = os.pipe()
    if os.fork():
        os.close(watched)
        os.set_inheritable(held, False)
        return
    with contextlib.suppress(BaseException):
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.close(held)
        os.read(watched, 1)  # nothing is ever written: this ends when the other end is closed
        time.sleep(1.0)  # the children of the app end after it
        shutil.rmtree(directory, ignore_errors=True)
    os._exit(0)
