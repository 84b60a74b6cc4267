"""The directory of evidence: recordings that were frozen around an event, each with a small JSON file beside it.

``ev-0007.rec`` was kept by an event, ``ev-0008-kept.rec`` by hand: the name alone says what may be removed to make room. A file
is written under another name, synced, and only then gets its own; so what is there is whole, and what failed left nothing.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.host.text import printable

MOST_FILES = 20
MOST_BYTES = 200 * 1024 * 1024
SUFFIX = ".rec"
_NAME = re.compile(rf"ev-([0-9]{{4,8}})(-kept)?{re.escape(SUFFIX)}")
_TEMPORARY = re.compile(r"\.ev-[0-9]{1,10}\.tmp(?:\.[a-z0-9.]{1,40})?")


class NoRoom(OSError):
    """The directory is full of what may not be removed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One recording in the directory. ``size`` is in bytes, with the file beside it."""

    number: int
    by_hand: bool
    path: str
    size: int = 0

    @property
    def name(self) -> str:
        """``ev-0007``."""
        return f"ev-{self.number:04}"


def state_directory(environment: Mapping[str, str], state: str | None, *, root: bool) -> str:
    """Where evidence goes: below the state directory for root, else below ``$XDG_STATE_HOME`` (~/.local/state).

    The base directory specification has relative paths ignored.
    """
    if root:
        return os.path.join(os.path.abspath(state or "/var/lib/quietcore"), "evidence")
    base = environment.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "quietcore", "evidence")


class EvidenceFiles:
    """The files in one directory.

    Args:
        path: of the directory; made where it is missing.
        most_files: how many recordings it may hold.
        most_bytes: how many bytes, with the files beside them.
    """

    def __init__(self, path: str, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self.most_files, self.most_bytes = most_files, most_bytes

    def check(self) -> None:
        """Whether the directory can be written, or made: nothing is made before there is something to keep.

        Where it is there, what a process that died left unfinished in it is removed.

        Raises:
            OSError: it cannot be made or written, or others can write it.
        """
        if os.path.lexists(self.path):
            self._check_there()
            return
        above = os.path.dirname(self.path)
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        if not (os.path.isdir(above) and os.access(above, os.W_OK | os.X_OK)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), printable(above))

    def _prepare(self) -> None:
        os.makedirs(self.path, 0o700, exist_ok=True)
        self._check_there()

    def _check_there(self) -> None:
        status = os.stat(self.path)
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{printable(self.path)} belongs to another user, or others can write it")
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise PermissionError(f"{printable(self.path)} cannot be written")
        for name in os.listdir(self.path):
            if _TEMPORARY.fullmatch(name) and not _is_running(int(name.split(".")[1].removeprefix("ev-"))):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self.path, name))

    def kept(self) -> list[Kept]:
        """What is there, the oldest first."""
        found = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.path):
                name = _NAME.fullmatch(entry.name)
                if name and entry.is_file(follow_symlinks=False):
                    size = entry.stat(follow_symlinks=False).st_size + _size(_beside(entry.path))
                    found.append(Kept(int(name[1]), name[2] is not None, entry.path, size))
        return sorted(found, key=lambda each: each.number)

    def keep(
        self,
        write: Callable[[str], object],
        facts: Callable[[str], Mapping[str, Any]],
        *,
        by_hand: bool,
        instead: Kept | None = None,
    ) -> Kept:
        """Writes one recording and the file beside it; both or none.

        Args:
            write: writes the recording to a path.
            facts: what goes beside it, given its name.
            by_hand: whether somebody asked for it; then nothing ever removes it.
            instead: the recording that it takes the place of.

        Raises:
            NoRoom: what was kept by hand fills the directory.
            OSError: it could not be written.
        """
        self._prepare()
        temporary = os.path.join(self.path, f".ev-{os.getpid()}.tmp")
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            write(temporary)
            os.chmod(temporary, 0o600)
            _sync(temporary)
            with self._alone():
                there = self.kept()
                number = instead.number if instead else there[-1].number + 1 if there else 1
                made = Kept(number, by_hand, os.path.join(self.path, _file(number, by_hand)))
                _write_facts(temporary + ".json", facts(made.name))
                size = os.stat(temporary).st_size + _size(temporary + ".json")
                self._make_room(size, [each for each in there if instead is None or each.path != instead.path])
                os.rename(temporary + ".json", _beside(made.path))
                os.rename(temporary, made.path)
                if instead is not None and instead.path != made.path:
                    _remove(instead.path)
                _sync(self.path)
        finally:
            for path in (temporary, temporary + ".json"):
                with contextlib.suppress(OSError):
                    os.unlink(path)
        return Kept(made.number, by_hand, made.path, size)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two apps of one user choose their numbers one after the other."""
        number = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)

    def _make_room(self, size: int, there: list[Kept]) -> None:
        """Removes the oldest of what events kept, until one more fits."""
        removable = [each for each in there if not each.by_hand]
        count, total = len(there), sum(each.size for each in there)
        going = []
        while count + 1 > self.most_files or total + size > self.most_bytes:
            if not removable:
                words = (
                    f"{printable(self.path)} holds {count} recordings, {total / 1e6:.0f} MB, that were kept by hand or are new"
                )
                raise NoRoom(f"{words}; one of {size / 1e6:.0f} MB has no room beside them: remove some")
            going.append(removable.pop(0))
            count, total = count - 1, total - going[-1].size
        for each in going:
            _remove(each.path)


def _file(number: int, by_hand: bool) -> str:
    return f"ev-{number:04}{'-kept' if by_hand else ''}{SUFFIX}"


def _beside(path: str) -> str:
    return path.removesuffix(SUFFIX) + ".json"


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _remove(path: str) -> None:
    for each in (path, _beside(path)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(each)


def _write_facts(path: str, facts: Mapping[str, Any]) -> None:
    with open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump(facts, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _sync(path: str) -> None:
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
