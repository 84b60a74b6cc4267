"""Opens a file of settings once, checks the open file, and reads no more than it may hold.

What root obeys must be nobody else's: a name could be exchanged between check and use, so the checks are on the descriptor.
"""

import os
import stat


class Distrusted(ValueError):
    """A file that is not read; ``what`` is wrong with it, ``hint`` is what to do."""

    def __init__(self, what: str, hint: str = "") -> None:
        self.what = what
        self.hint = hint
        super().__init__(f"{what} ({hint})" if hint else what)


class Unopened(Distrusted):
    """It is not there, a symbolic link, or not for this user."""


def read_trusted(path: str, shown: str, limit: int, holds: str, trusted_owner: bool) -> bytes:
    """The file's bytes.

    Args:
        path: a file on this machine; a symbolic link is refused.
        shown: its name as hints call it.
        limit: bytes that it may have.
        holds: what it is, as in ``a profile has at most 65536``.
        trusted_owner: demand that root or the caller owns it, and that neither group nor others may write it.

    Raises:
        Unopened: it cannot be opened.
        Distrusted: no regular file, too large, others', or not text.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        reason = "a symbolic link" if os.path.islink(path) else error.strerror
        raise Unopened(f"cannot be opened: {reason}") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Distrusted("not a regular file")
        if status.st_size > limit:
            raise Distrusted(f"{status.st_size} bytes; {holds} has at most {limit}")
        if trusted_owner and (status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022):
            raise Distrusted("others can write it", f"chown root {shown}; chmod go-w {shown}")
        raw = os.read(fd, limit + 1)
    finally:
        os.close(fd)
    if len(raw) > limit:
        raise Distrusted(f"more than {limit} bytes; {holds} has at most {limit}")
    if b"\0" in raw:
        raise Distrusted("holds NUL bytes: not a text file")
    return raw
