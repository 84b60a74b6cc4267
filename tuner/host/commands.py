"""The few programs that are run for what no file and no request does: by absolute path, no shell, a clean environment.

What counts is the exit status. What they print is shown to people where one failed, and never read for anything.
"""

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from tuner.host.text import printable

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "LANG": "C", "TERM": "dumb"}


def status(words: Sequence[str], limit_s: float, output: IO[bytes] | None = None, more: Mapping[str, str] | None = None) -> int:
    """Runs a program to its end; its exit status.

    Args:
        words: the program by its absolute path, and its arguments.
        limit_s: seconds that it may take; it is killed then.
        output: an open file for its stdout; nowhere without one.
        more: variables besides the few that every program gets.

    Raises:
        OSError: it cannot be run; ETIMEDOUT: it took too long.
    """
    return _run(words, limit_s, output, more)[0]


def demand(
    words: Sequence[str], limit_s: float, output: IO[bytes] | None = None, more: Mapping[str, str] | None = None
) -> None:
    """Runs a program that must succeed.

    Raises:
        OSError: as ``status``; EIO with its last words where it failed.
    """
    code, said = _run(words, limit_s, output, more)
    if code != 0:
        name = " ".join([os.path.basename(words[0]), *words[1:]])
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise OSError(errno.EIO, f"{name} ended with status {code}" + (f": {printable(last, 300)}" if last else ""))


def _run(words: Sequence[str], limit_s: float, output: IO[bytes] | None, more: Mapping[str, str] | None) -> tuple[int, bytes]:
    try:
        done = subprocess.run(
            list(words),
            env=ENVIRONMENT | dict(more or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if output is None else output,
            stderr=subprocess.PIPE,
            check=False,
            timeout=limit_s,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        name = " ".join([os.path.basename(words[0]), *words[1:]])
        raise OSError(errno.ETIMEDOUT, f"{name} did not end within {limit_s:.0f} s") from None
    return done.returncode, done.stderr
