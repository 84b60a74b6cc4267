"""Starts the app: a first frame at once, then Textual, the collector beside it, and for a demo a host that lives."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator

from ui.cli.output import say
from ui.cli.ring_sources import ring_words, without_ring


def main(arguments: argparse.Namespace) -> int:
    """Runs the app until it is left; its exit status."""
    wrong = without_ring(arguments)
    if wrong:
        say(f"quietcore: {wrong}")
        return 1
    sys.stdout.write("\x1b[2J\x1b[H quietcore  starting the collector…\r\n")
    sys.stdout.flush()
    with _host_options(arguments) as (options, simulated):
        from ui.app.app import QuietcoreApp
        from ui.app.evidence import Evidence, applied
        from ui.app.evidence_files import EvidenceFiles, state_directory
        from ui.app.model import Model
        from ui.app.ring_control import ChildRing
        from ui.app.runner import ChildRunner
        from ui.app.source import ChildSource
        from ui.cli.main import VERSION

        may_change = simulated or arguments.root is not None or os.geteuid() == 0
        kind = "demo" if simulated else "files" if arguments.root is not None else "live"
        model = Model(kind=kind, may_change=may_change, why_not="" if may_change else "not root")
        source = ChildSource(options, "0.5s", ring_words(arguments))
        kept = state_directory(os.environ, arguments.state, root=os.geteuid() == 0)
        if simulated:
            kept = os.path.join(os.path.dirname(options[-1]), "evidence")  # it goes with the demo
        evidence = Evidence(source.past, EvidenceFiles(kept))
        source.saw = evidence.saw
        try:
            app = QuietcoreApp(source, ChildRunner(options), ChildRing([]), model, evidence)
            evidence.about = lambda: {"quietcore": VERSION, "plan": applied(app.profiles_view.history)}
            app.run()
        finally:
            source.close()
    return app.return_value or 0


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
