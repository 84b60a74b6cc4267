"""Faults in this process: a host of which the Nth change fails, dies, or does something else than it says.

Every change of the simulated host counts: a write, a directory made or removed, a ring set, a thread bound. Journal records
count apart. A death is real: the process is a fork that ends in ``_exit`` there, and what the kernel keeps is all that is left.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine import Sim

from tuner.host.files import HostFiles
from tuner.host.host import Host
from tuner.journal import Journal, JournalError, encode

ERRNOS = (
    errno.EBUSY, errno.EPERM, errno.EACCES, errno.EINVAL, errno.EIO,
    errno.ENODEV, errno.ENOENT, errno.EOPNOTSUPP, errno.ERANGE, errno.ENOSPC,
)  # fmt: skip
DEAD = 99
MUTATORS = ("set_", "start_", "stop_", "hold_", "release_")


@dataclass(slots=True)
class Faults:
    """What goes wrong, by the number of the change (from 1): an errno, or something to call in its place.

    Attributes:
        made: every change that was asked for, as words: what, on what.
        lasting: (word in the change's name) -> errno: each of those changes fails, however often it is tried.
    """

    at: Mapping[int, int | Callable[[], None]] = field(default_factory=dict)
    lasting: Mapping[str, int] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def __call__(self, what: str, change: Callable[[], Any]) -> Any:
        self.made.append(what)
        fault = self.at.get(len(self.made))
        number = next((code for word, code in self.lasting.items() if word in what), fault)
        if number is None:
            return change()
        if not isinstance(number, int):
            return number()
        raise OSError(number, os.strerror(number), what)


class FaultyFiles(HostFiles):
    """The files of a simulated host, between the engine and the simulated kernel."""

    def __init__(self, inner: HostFiles, faults: Faults) -> None:
        super().__init__(inner.root)
        self.stand_in = inner.stand_in
        self._faults = faults

    def write(self, name: str, value: str) -> None:
        """One change."""
        self._faults(f"write {name} {value}", lambda: super(FaultyFiles, self).write(name, value))

    def make_directory(self, name: str) -> None:
        """One change."""
        self._faults(f"mkdir {name}", lambda: super(FaultyFiles, self).make_directory(name))

    def remove_directory(self, name: str) -> None:
        """One change."""
        self._faults(f"rmdir {name}", lambda: super(FaultyFiles, self).remove_directory(name))


class FaultySyscalls:
    """The system calls of a simulated host; what changes nothing passes."""

    def __init__(self, inner: Any, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)
        if not name.startswith(MUTATORS):
            return call
        return lambda *a, **k: self._faults(f"{name} {a} {k}", lambda: call(*a, **k))


def faulty(sim: Sim, faults: Faults) -> Host:
    """The simulated host with these faults in it."""
    host = sim.host
    return Host(FaultyFiles(host.files, faults), FaultySyscalls(host.syscalls, faults), simulated=True)


def die() -> None:
    """The end of this process, as a SIGKILL would be: nothing is flushed, closed or undone."""
    os._exit(DEAD)


def in_child(work: Callable[[], object]) -> bool:
    """Runs ``work`` in a fork; whether it died in ``die``.

    Raises:
        AssertionError: it ended by an exception of its own.
    """
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001
            import traceback

            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, DEAD)
    return os.waitstatus_to_exitcode(status) == DEAD


@contextmanager
def journal_dies(number: int, torn: bool) -> Iterator[None]:
    """The process dies as it writes the Nth record from now: before it, or (``torn``) in its middle."""

    def at(count: int, journal: Journal, record: Mapping[str, Any]) -> None:
        if count == number:
            if torn:
                line = encode(record)
                os.write(journal._fd, line[: len(line) // 2])
            die()

    with _before_each_record(at):
        yield


@contextmanager
def journal_fails(number: int, code: int, lasting: bool) -> Iterator[None]:
    """The Nth record from now cannot be written, and where it is ``lasting`` none after it."""

    def at(count: int, journal: Journal, _record: Mapping[str, Any]) -> None:
        if count == number or (lasting and count > number):
            raise JournalError(code, f"cannot write the journal: {os.strerror(code)}", journal.path)

    with _before_each_record(at):
        yield


@contextmanager
def _before_each_record(at: Callable[[int, Journal, Mapping[str, Any]], None]) -> Iterator[None]:
    append = Journal.append
    count = 0

    def counted(journal: Journal, record: Mapping[str, Any], durable: bool = False) -> None:
        nonlocal count
        count += 1
        at(count, journal, record)
        append(journal, record, durable)

    Journal.append = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        Journal.append = append  # type: ignore[method-assign]
