"""The captured hosts that lie beside the project, unpacked once, and small trees written by hand."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tuner.host.files import HostFiles

HOSTS = Path(__file__).resolve().parents[2] / ".." / "shared" / "hosts"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(scope="session")
def captured() -> Iterator[Callable[[str], Path]]:
    """The root of a captured host, by the name of its archive: read it, or edit a copy of a part of it."""
    directory = Path(tempfile.mkdtemp(prefix="quietcore-hosts-", dir=MEMORY))

    def unpack(name: str) -> Path:
        archives = list(HOSTS.glob(f"{name}.tar.*"))
        if not archives:
            pytest.skip(f"the captured host {name} is not in {os.path.relpath(HOSTS)}")
        place = directory / name
        if not place.exists():
            place.mkdir()
            subprocess.run(["tar", "xf", str(archives[0]), "-C", str(place)], check=True)
        return next(path.parent for path in (place / "sys", *place.glob("*/sys")) if path.is_dir())

    yield unpack
    shutil.rmtree(directory, ignore_errors=True)


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
