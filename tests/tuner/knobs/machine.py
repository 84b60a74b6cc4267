"""Settings of this machine's kernel in a test: one test at a time, and put back whatever happens."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def kept(*paths: str) -> Iterator[None]:
    """Files of this machine whose values are put back; the word in brackets where there is one."""
    with open(os.path.join(tempfile.gettempdir(), "quietcore-test-machine.lock"), "w") as lock:  # other runs write them, too
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = {path: Path(path).read_text() for path in paths}
        try:
            yield
        finally:
            for path, text in before.items():
                if Path(path).read_text() != text:
                    Path(path).write_text(text.partition("[")[2].partition("]")[0] or text)
            assert {path: Path(path).read_text() for path in paths} == before


def needs(*paths: str) -> None:
    """Skips a test where the kernel has no such setting, or not for this user."""
    for path in paths:
        if not os.access(path, os.W_OK):
            pytest.skip(f"no {path} that this user may write")
