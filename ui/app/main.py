"""Starts the app: a first frame at once, then Textual, the collector beside it, and for a demo a host that lives."""

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tuner.host.text import printable
from ui.app import aside
from ui.app.ending import Ending
from ui.cli.ring_sources import ring_words, without_ring
from ui.looks import Looks, LooksError, looks_of

if TYPE_CHECKING:
    from ui.app.app import QuietcoreApp
    from ui.app.state.model import Kind
    from ui.app.stream.source import Source


def main(arguments: argparse.Namespace) -> int:
    """Runs the app on this host until it is left; its exit status: 0, 1 where it could not run, 128 and the signal."""
    wrong = without_ring(arguments)
    if wrong:
        return _cannot(wrong)
    try:
        looks = _begin(arguments)
        with _options_of(arguments) as options:
            return _watch(arguments, looks, options)
    except (LooksError, OSError) as error:
        return _cannot(str(error))


def _watch(arguments: argparse.Namespace, looks: Looks, options: list[str]) -> int:
    from ui.app.stream.source import ChildSource

    words = [*ring_words(arguments), *(["--story"] if arguments.demo else [])]
    source = ChildSource(options, "0.5s", words)  # first: it starts while the rest is loaded
    aside.weigh_less()
    kind: Kind = "demo" if arguments.demo else "files" if arguments.root is not None else "live"
    why_not = "" if kind != "live" or os.geteuid() == 0 else "not root"
    try:
        return run(lambda: _app(arguments, looks, options, source, kind, why_not), arguments.state)
    finally:
        source.close()


def replay(arguments: argparse.Namespace) -> int:
    """Runs the app on a recording until it is left; its exit status."""
    from ingest.blocks import RecordingError
    from ingest.recording import Recording

    try:
        with Recording.open(arguments.file) as recording:
            if not len(recording):
                return _cannot(f"{arguments.file}: no sample is in it")
            looks = _begin(arguments, "reading the recording")
            from ui.app.stream.source import ReplaySource

            source = ReplaySource(recording)
            return run(lambda: _app(arguments, looks, [], source, "replay", "a recording is shown"), arguments.state)
    except (LooksError, OSError, RecordingError) as error:
        return _cannot(f"{arguments.file}: {error}")


def view(arguments: argparse.Namespace) -> int:
    """Runs the app on another host's samples, which come in on stdin, until it is left; its exit status."""
    try:
        looks = _begin(arguments, "waiting for the other host")
        stream = os.dup(0)  # keys come from the terminal
        terminal = os.open("/dev/tty", os.O_RDWR)
        os.dup2(terminal, 0)
        os.close(terminal)
    except (LooksError, OSError) as error:
        return _cannot(str(error))
    from ui.app.stream.source import PipeSource

    source = PipeSource(stream)
    return run(lambda: _app(arguments, looks, [], source, "view", "another host is shown"), arguments.state)


def _cannot(why: str) -> int:
    sys.stderr.write(f"quietcore: {printable(why, 400)}\n")
    return 1


def _begin(arguments: argparse.Namespace, words: str = "") -> Looks:
    """How it is to look, and the first words on the terminal, where ``ui/start.py`` said none: what is heavy comes later."""
    looks = looks_of(os.environ, getattr(arguments, "theme", None), getattr(arguments, "ascii", False))
    if words:
        sys.stdout.write(f" quietcore  {words} ...\r")
        sys.stdout.flush()
    aside.step_aside()
    return looks


def _options_of(arguments: argparse.Namespace) -> "contextlib.AbstractContextManager[list[str]]":
    """The global options of every child."""
    if arguments.demo and arguments.root is None:
        from ui.app.demo import demo_options

        return demo_options(arguments.state)
    named = (("--state", arguments.state), ("--root", arguments.root))
    return contextlib.nullcontext([word for name, value in named if value is not None for word in (name, value)])


def _app(
    arguments: argparse.Namespace, looks: Looks, options: list[str], source: "Source", kind: "Kind", why_not: str
) -> "QuietcoreApp":
    from ui.app.app import QuietcoreApp
    from ui.app.flow.ring_control import ChildRing
    from ui.app.flow.runner import ChildRunner
    from ui.app.state.model import Model
    from ui.app.stream.evidence import Evidence, applied
    from ui.app.stream.evidence_files import EvidenceFiles, state_directory
    from ui.cli.main import VERSION
    from ui.keymap import places as keymap_places
    from ui.keymap import read_keymap

    kept = state_directory(os.environ, arguments.state, root=os.geteuid() == 0)
    if kind == "demo":
        kept = os.path.join(os.path.dirname(options[options.index("--root") + 1]), "evidence")  # it goes with the demo
    evidence = Evidence(source.past, EvidenceFiles(kept))
    source.saw = evidence.saw
    keymap, places = read_keymap(keymap_places(os.environ)), (".", "~", arguments.state or "/var/lib/quietcore")
    model = Model(kind=kind, source_name=source.name, may_change=not why_not, why_not=why_not)
    app = QuietcoreApp(
        source, ChildRunner(options), ChildRing([]), model, keymap=keymap, looks=looks, evidence=evidence, places=places
    )
    evidence.about = lambda: {"quietcore": VERSION, "plan": applied(app.profiles_view.history)}
    return app


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
            _without_tls()
            app = make()
            gc.freeze()  # what was imported stays
        finally:
            gc.enable()
        error = app.live(ending)
        if error is not None:
            ending.restore()
            sys.stderr.write(ending.told(error))
            return 1
    if app.parting:
        sys.stderr.write(f"{app.parting}\n")
    return app.return_value or 0


def _without_tls() -> None:
    """Loads asyncio as on a Python without TLS: nothing here speaks it, and it takes 5 MB and as many milliseconds."""
    if "ssl" not in sys.modules:
        sys.modules["ssl"] = None  # type: ignore[assignment]
        try:
            import asyncio  # noqa: F401
        finally:
            del sys.modules["ssl"]
