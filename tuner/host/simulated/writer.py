"""Writes new files of a simulated tree, many thousands of them: one open, one write, no directory made twice."""

import os
from collections.abc import Mapping
from pathlib import Path


class TreeWriter:
    """Files below ``directory``, named by their absolute paths on the host."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.root = str(Path(directory).absolute())
        self._made: set[str] = set()

    def put(self, name: str, content: str, mode: int = 0o644) -> None:
        """One file with exactly this content. The mode is the kernel's: 0444 says that user space may not write."""
        path = self.root + name
        self._make(os.path.dirname(path))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.write(fd, content.encode())
            os.fchmod(fd, mode)  # whatever the umask says
        finally:
            os.close(fd)

    def values(self, directory: str, values: Mapping[str, str | int], mode: int = 0o644) -> None:
        """One file for each value, with the line end that kernel files have."""
        for name, value in values.items():
            self.put(f"{directory}/{name}", f"{value}\n", mode)

    def directory(self, name: str) -> None:
        """An empty directory."""
        self._make(self.root + name)

    def link(self, name: str, target: str) -> None:
        """A relative link from ``name`` to the host path ``target``, as sysfs makes them."""
        self._make(os.path.dirname(self.root + name))
        os.symlink(os.path.relpath(target, os.path.dirname(name)), self.root + name)

    def _make(self, path: str) -> None:
        if path not in self._made:
            os.makedirs(path, exist_ok=True)
            self._made.add(path)
