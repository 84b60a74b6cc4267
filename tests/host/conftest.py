"""The captured hosts as paths, and small trees written by hand."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tuner.host.files import HostFiles


@pytest.fixture(scope="session")
def captured(captured_host: Callable[[str], str]) -> Callable[[str], Path]:
    """The root of a captured host, by the name of its archive."""
    return lambda name: Path(captured_host(name))


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, str | bytes]], HostFiles]:
    """Writes files below a new root, by their names on the host: what ends in ``/`` is a directory, ``->`` a link."""

    def write(files: Mapping[str, str | bytes]) -> HostFiles:
        root = os.fsencode(tmp_path / "root")
        for name, content in files.items():
            raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
            path = root + os.fsencode(name)
            if name.endswith("/"):
                os.makedirs(path, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if raw.startswith(b"-> "):
                os.symlink(raw[3:], path)
            else:
                with open(path, "wb") as file:
                    file.write(raw)
        return HostFiles(os.fsdecode(root))

    return write
