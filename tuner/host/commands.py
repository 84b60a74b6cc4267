"""The few programs that are run for what no file and no request does: absolute path, no shell, a clean environment.

What counts is the exit status. What they print is shown to people where one failed, and never read for anything.
"""

import errno
from collections.abc import Sequence
from typing import IO

from tuner.host.text import printable

SYSTEMCTL = "/usr/bin/systemctl"
GRUB_MKCONFIG = "/usr/sbin/grub-mkconfig"
GRUB_SCRIPT_CHECK = "/usr/bin/grub-script-check"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "LANG": "C", "TERM": "dumb"}


def systemctl(arguments: Sequence[str], limit_s: float) -> tuple[int, str]:
    """``systemctl`` to its end, or until ``limit_s`` seconds are over: its exit status and its last words.

    Raises:
        OSError: it cannot be run; ETIMEDOUT: it took too long, and was killed.
    """
    words = [SYSTEMCTL, *arguments]
    return _ended(words, limit_s)


def grub_mkconfig(output: IO[bytes], limit_s: float) -> None:
    """A boot menu by the settings as they are, into an open file.

    Raises:
        OSError: as ``systemctl``; EIO: it failed.
    """
    words = [GRUB_MKCONFIG]
    demand("grub-mkconfig", _ended(words, limit_s, output))


def grub_script_check(path: str, limit_s: float) -> None:
    """Whether GRUB can read a boot menu.

    Raises:
        OSError: as ``systemctl``; EIO: it cannot.
    """
    words = [GRUB_SCRIPT_CHECK, path]
    demand("grub-script-check", _ended(words, limit_s))


def demand(name: str, ended: tuple[int, str]) -> None:
    """Makes a status that is not 0 an error.

    Raises:
        OSError: EIO, with the program's last words.
    """
    status, said = ended
    if status != 0:
        raise OSError(errno.EIO, f"{name} ended with status {status}" + (f": {said}" if said else ""))


def _ended(words: list[str], limit_s: float, output: IO[bytes] | None = None) -> tuple[int, str]:
    import subprocess  # most commands run no other program, and it costs 4 ms

    try:
        done = subprocess.run(
            words,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if output is None else output,
            stderr=subprocess.PIPE,
            check=False,
            timeout=limit_s,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"{' '.join(words)} did not end within {limit_s:g} s") from None
    return done.returncode, printable(done.stderr.decode(errors="replace").strip().rpartition("\n")[2], 300)
