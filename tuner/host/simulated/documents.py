"""The JSON files of a simulated tree: one way of writing them, so that what is put back is the same to the byte.

A kill leaves the old document or the new one (``replace_content``), and a change is made under a lock on the file itself,
because the life of the host and a system call of another process may change the same document.
"""

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tuner.host.files import READ_LIMIT, replace_content

Document = dict[str, Any]


def canonical(document: Document) -> str:
    """The one spelling of a document: a line for each part, and one for each row of a part that is a list of objects."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n".join("  " + json.dumps(row) for row in value)
            lines.append(f" {json.dumps(key)}: [\n{rows}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_document(path: str) -> Document:
    """The object in a file.

    Raises:
        OSError: as opening says it, EBADMSG where it is not JSON or no object, EFBIG where it is absurdly large.
    """
    with _locked(path, os.O_RDONLY, fcntl.LOCK_SH) as fd:
        return _parse(fd, path)


def change_document(path: str, change: Callable[[Document], None]) -> None:
    """Reads, changes and rewrites a document while no one else does. An exception of ``change`` leaves it as it was.

    Raises:
        OSError: as ``read_document``.
    """
    with _locked(path, os.O_RDWR, fcntl.LOCK_EX) as fd:
        document = _parse(fd, path)
        change(document)
        replace_content(path, canonical(document).encode())


@contextmanager
def _locked(path: str, flags: int, how: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, how)
        yield fd
    finally:
        os.close(fd)


def _parse(fd: int, path: str) -> Document:
    content = b""
    while part := os.read(fd, 1 << 20):
        content += part
        if len(content) > READ_LIMIT:
            raise OSError(errno.EFBIG, "more than 64 MiB", path)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise OSError(errno.EBADMSG, f"not a JSON document ({error})", path) from error
    if not isinstance(document, dict):
        raise OSError(errno.EBADMSG, "not a JSON object", path)
    return document
