"""All files of the host, below one root: the only room that opens anything under /proc, /sys or /etc.

Facts that shape it (Documentation/filesystems, fs/kernfs, fs/proc, and measured):

* A write's error comes from ``write(2)``, not from ``open``; buffered files lose it at an implicit close. So a write is one
  ``os.open`` and one ``os.write``, the errno is kept, and the caller reads back.
* kernfs and procfs take one write as one value: there is no temporary file and no rename on /sys.
* A descriptor kept over a CPU's or a NIC's departure answers ENODEV for ever: paths are opened anew for each write.
* A regular file below another root than ``/`` stands for a kernel file. It is overwritten in place, in one write padded to the
  old length, so that a kill can leave the old value or the new one and nothing else.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Protocol

# No /proc or /sys file that is read whole comes near this, but for /proc/interrupts of the largest machines.
READ_LIMIT = 64 << 20


class StandIn(Protocol):
    """What answers writes in the kernel's place where the root is a tree of files.

    It refuses with the kernel's errno before anything changed, stores what the kernel would show, and rewrites the files that
    depend on it.
    """

    def write(self, name: str, value: str) -> None:
        """One write of ``value`` to an existing file that its owner may write."""

    def make_directory(self, name: str) -> None:
        """One mkdir."""

    def remove_directory(self, name: str) -> None:
        """One rmdir."""


class HostFiles:
    """The files below ``root``, named by their absolute paths on the host (``/proc/irq/…``).

    Args:
        root: ``/`` for this machine, else a directory that holds ``proc``, ``sys``, ``etc``.

    Attributes:
        stand_in: for a root that is not ``/``: the simulated kernel, None for a tree that just keeps what is written.
    """

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self.root = Path(root).resolve()
        self.real = self.root == Path("/")
        self.stand_in: StandIn | None = None
        self._prefix = "" if self.real else str(self.root)

    def path(self, name: str) -> str:
        """Where the host's file ``name`` lies on this machine.

        Raises:
            ValueError: a name that is not absolute, or that climbs out of the root.
        """
        if not name.startswith("/") or "\0" in name or "/../" in name + "/":
            raise ValueError(f"not an absolute path of the host: {name!r}")
        return self._prefix + name

    def _inside(self, name: str) -> str:
        """``path``, for what is to be changed below another root: no link of a tree may lead a write out of it."""
        path = self.path(name)
        if not self.real and not (os.path.realpath(os.path.dirname(path)) + "/").startswith(self._prefix + "/"):
            raise PermissionError(errno.EPERM, "a symbolic link on the way leads out of the host's tree", path)
        return path

    def read(self, name: str) -> bytes:
        """The whole file, by unbuffered reads (a seq_file hands out 4 KiB at a time whatever is asked).

        Raises:
            OSError: as the kernel says it; ENODEV and EIO mean that the thing behind the file went away.
        """
        fd = os.open(self.path(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            parts = []
            size = 0
            while part := os.read(fd, 1 << 16):
                parts.append(part)
                size += len(part)
                if size > READ_LIMIT:
                    raise OSError(errno.EFBIG, "more than 64 MiB where a kernel file was expected", name)
            return b"".join(parts)
        finally:
            os.close(fd)

    def text(self, name: str) -> str:
        """The file as text without its white space at both ends; bytes that are not UTF-8 become surrogates."""
        return self.read(name).decode("utf-8", "surrogateescape").strip()

    def optional(self, name: str) -> str | None:
        """The file's text, or None where the host has no such file or cannot answer (a link that is down: EINVAL)."""
        try:
            return self.text(name)
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """The file's decimal number, or None where it is absent or holds something else."""
        try:
            return int(self.text(name))
        except (OSError, ValueError):
            return None

    def entries(self, name: str) -> list[str]:
        """The sorted names in a directory; empty where there is no such directory."""
        try:
            return sorted(os.listdir(self.path(name)))
        except OSError:
            return []

    def exists(self, name: str) -> bool:
        """Whether the host has this file or directory."""
        return os.path.lexists(self.path(name))

    def writable_by_owner(self, name: str) -> bool:
        """Whether the file's mode lets its owner write: on 0444 the kernel refuses user space (managed IRQs, >= 6.11)."""
        try:
            return bool(os.stat(self.path(name)).st_mode & stat.S_IWUSR)
        except OSError:
            return False

    def link(self, name: str) -> str | None:
        """What a symbolic link says, unresolved; None where there is none."""
        try:
            return os.readlink(self.path(name))
        except OSError:
            return None

    def resolved(self, name: str) -> str:
        """The host path behind symbolic links, as a path of the host; links that leave the root stay as they are."""
        real = os.path.realpath(self.path(name))
        if self.real:
            return real
        return real[len(self._prefix) :] if real.startswith(self._prefix + "/") else name

    def write(self, name: str, value: str) -> None:
        """Hands ``value`` to the kernel in one write. Read it back: success may have changed nothing, or something else.

        Raises:
            OSError: the errno of the write; EPERM where the file's mode forbids it, which root would not be told.
        """
        path = self._inside(name)
        if self.real:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, value.encode("utf-8", "surrogateescape"))
            finally:
                os.close(fd)
            return
        if not self.writable_by_owner(name) and os.path.exists(path):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        if self.stand_in is None:
            self.store(name, value + "\n")
            return
        self.stand_in.write(name, value)

    def store(self, name: str, content: str) -> None:
        """Replaces the content of a file below a root that is not ``/``, creating it where it is missing.

        Only what stands in for a kernel calls this besides ``write``.
        """
        if self.real:
            raise ValueError("the files of this machine's kernel cannot be replaced")
        replace_content(self._inside(name), content.encode("utf-8", "surrogateescape"))

    def place(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Puts a file of settings on the disk, whole: a new one beside it that takes its name, both synchronised.

        Never for files of a kernel. A power cut leaves the old file or the new one.
        """
        path = self._inside(name)
        fresh = f"{path}.quietcore-new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            os.fchmod(fd, mode)  # whatever the umask says
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(fresh, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh)
            raise
        self._synchronise(path)

    def discard(self, name: str) -> None:
        """Takes a file of settings from the disk; none is there to take: nothing happens."""
        path = self._inside(name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            self._synchronise(path)

    @staticmethod
    def _synchronise(path: str) -> None:
        fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def make_directory(self, name: str) -> None:
        """Makes one directory (a cgroup). An existing one is an OSError with EEXIST."""
        if self.stand_in is not None:
            self.stand_in.make_directory(name)
        else:
            os.mkdir(self._inside(name), 0o755)

    def remove_directory(self, name: str) -> None:
        """Removes a cgroup: on the kernel its files go with it, below another root they are removed first."""
        path = self._inside(name)
        if self.stand_in is not None:
            self.stand_in.remove_directory(name)
        else:
            if not self.real:
                for entry in os.listdir(path):
                    os.unlink(os.path.join(path, entry))
            os.rmdir(path)


def replace_content(path: str, content: bytes) -> None:
    """Overwrites a regular file in place: one write padded with newlines to the old length, then the length.

    A kill between the two leaves the new value with empty lines behind it, which no reader of /proc or /sys minds.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        old_size = os.fstat(fd).st_size
        os.write(fd, content.ljust(old_size, b"\n"))
        if old_size > len(content):
            os.ftruncate(fd, len(content))
    finally:
        os.close(fd)
