"""The one lock of a host: whoever changes it holds it, whatever state directory they use.

flock(2): the kernel lets go of it when its holder dies, and nothing has to be cleaned up. Who holds it stands in /proc/locks,
so that no file with a process number can lie.
"""

import contextlib
import fcntl
import os
import re
import signal
import stat
import time
from collections.abc import Iterator

RUNTIME = "/run/quietcore"
_POLL_S = 0.02
_FLOCK = re.compile(r"^\d+: FLOCK +ADVISORY +WRITE +(\d+) +\S+:(\d+) ", re.MULTILINE)


class Locked(Exception):
    """Somebody else holds the lock; the text names the process."""


def lock_path(root: str) -> str:
    """What is locked for the host below ``root``: a file of its own for this machine, the directory itself for a tree."""
    return f"{RUNTIME}/lock" if os.path.realpath(root) == "/" else os.path.realpath(root)


@contextlib.contextmanager
def held(path: str, wait_s: float = 0.0) -> Iterator[None]:
    """Holds the lock on ``path``, a directory, or a file that is made where it is missing.

    Raises:
        Locked: another process holds it for longer than ``wait_s``.
        OSError: it cannot be opened, or its directory can be written by others.
    """
    fd = _open(path)
    deadline = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Locked(f"another run changes this host ({holder(fd)}): wait for its end") from None
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(fd)


def _open(path: str) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    if os.path.isdir(path):
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | flags)
    directory = os.path.dirname(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o755)
    status = os.lstat(directory)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(1, "is not a directory of this user's that nobody else may write", directory)
    return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)


def holder(fd: int) -> str:
    """``process 812`` for whoever holds the flock on an open file; ``some process`` where /proc does not tell."""
    pid = _holder(os.fstat(fd).st_ino)
    return f"process {pid}" if pid else "some process"


def _holder(inode: int) -> int:
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            held_by = [int(pid) for pid, number in _FLOCK.findall(file.read()) if int(number) == inode]
    except OSError:
        return 0
    return held_by[0] if held_by else 0  # also 0: a process that this PID namespace does not know


def process(pid: int) -> str:
    """``PID:START`` of a process of this machine, empty where there is none: numbers are used again."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return f"{pid}:{file.read().rpartition(')')[2].split()[19]}"
    except (OSError, IndexError):
        return ""


def end_holder(path: str, name: str) -> bool:
    """Kills the process that holds the lock on ``path``, if it is the one named as ``process`` names it; whether it did."""
    try:
        pid = _holder(os.stat(path).st_ino)
    except OSError:
        return False
    if not pid or not name or process(pid) != name:
        return False
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False
