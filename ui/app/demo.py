"""The host of ``--demo`` for as long as the app: made by a process of its own, gone when the app is gone, however it went."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator


@contextlib.contextmanager
def demo_options(state: str | None) -> Iterator[list[str]]:
    """The global options under which commands work on it.

    Raises:
        OSError: it cannot be made.
    """
    import tempfile

    memory = "/dev/shm"  # noqa: S108 - a directory of our own is made in it
    with tempfile.TemporaryDirectory(prefix="quietcore-demo-", dir=memory if os.access(memory, os.W_OK) else None) as directory:
        _clean_up_after_us(directory)
        root = os.path.join(directory, "host")
        _make(root, state)
        yield ["--root", root, *(["--state", state] if state is not None else [])]


def _make(root: str, state: str | None) -> None:
    """By a child: the engine that tunes it is much memory, and not needed here."""
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            from ui.cli.demo import make_demo

            make_demo(root, state)
            status = 0
        os._exit(status)
    _, status = os.waitpid(child, 0)
    if status:
        raise OSError(5, "the demo's host could not be made: is there room for 25 MB?", root)


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
