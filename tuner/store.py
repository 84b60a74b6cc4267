"""The state directory: one journal per transaction, one lock, and what the journals add up to.

Layout: ``DIR/transactions/000042.journal`` (0600), ``DIR/undo.log``. The directory is 0700 and belongs to who runs the tool;
another owner or a mode that lets others write is refused, since a journal says what is written as root.
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tuner.journal import Contents, Journal, Record, glance, read_journal, sync_directory
from tuner.lock import Locked, held

_NAME = re.compile(r"(?!0{6})[0-9]{6}\.journal|[1-9][0-9]{6,8}\.journal")

State = Literal["void", "prepared", "applying", "applied", "confirmed", "rolling-back", "rolled-back", "degraded", "damaged"]

_STATE_AFTER: dict[str, State] = {
    "void": "void",
    "confirmed": "confirmed",
    "applied": "applied",
    "rolled-back": "rolled-back",
    "degraded": "degraded",
    "rolling-back": "rolling-back",
    "undo": "rolling-back",
    "undid": "rolling-back",
    "collateral": "applying",
    "write": "applying",
    "wrote": "applying",
    "settled": "applying",
}

# A transaction in one of these holds the host as its profile wants it.
ACTIVE: frozenset[State] = frozenset({"applied", "confirmed"})
# The last records of those that can be forgotten.
_OVER = frozenset({"void", "rolled-back"})
# One in these was cut off in the middle: the next run ends it.
UNFINISHED: frozenset[State] = frozenset({"prepared", "applying", "rolling-back"})


class Refused(Exception):
    """The command may not run now; the text says why and what to do. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """What one journal adds up to."""

    number: int
    path: str
    contents: Contents

    def _last(self, kind: str) -> Record | None:
        return next((r for r in reversed(self.contents.records) if r["record"] == kind), None)

    def _all(self, kind: str) -> list[Record]:
        return [r for r in self.contents.records if r["record"] == kind]

    @property
    def begin(self) -> Mapping[str, Any]:
        """The first record; empty where the journal was cut before it."""
        return self._last("begin") or {}

    @property
    def plan(self) -> Record | None:
        """The record with all changes; without it nothing was ever written."""
        return self._last("plan")

    @property
    def state(self) -> State:
        """Where the transaction stands, from the journal alone."""
        kinds = [r["record"] for r in self.contents.records]
        if self.contents.damage:
            return "damaged"
        if "plan" not in kinds:
            return "void"
        return next((_STATE_AFTER[kind] for kind in reversed(kinds) if kind in _STATE_AFTER), "prepared")

    @property
    def boot_id(self) -> str:
        """The boot in which it was made."""
        return str(self.begin.get("boot_id", ""))

    @property
    def process(self) -> str:
        """The process that made it, as ``tuner.lock.process`` names it."""
        return str(self.begin.get("process", ""))

    @property
    def profile(self) -> str:
        """The profile's name."""
        return str(self.begin.get("profile", {}).get("name", "?"))

    @property
    def deadline_ns(self) -> int | None:
        """CLOCK_BOOTTIME at which it is undone unless confirmed; None where nothing was armed."""
        armed = self._last("armed")
        return int(armed["deadline_boottime_ns"]) if armed else None

    @property
    def started(self) -> set[int]:
        """Places in the plan whose writing was begun."""
        return {int(r["n"]) for r in self._all("write")}

    def had_carrier(self, n: int) -> bool:
        """Whether the NIC of a change that resets it had a carrier before: where a journal does not say, it had."""
        return all(r.get("carrier", True) for r in self._all("write") if r["n"] == n)

    @property
    def wrote(self) -> dict[int, Record]:
        """Place in the plan -> what was read back after it was written."""
        return {int(r["n"]): r for r in self._all("wrote")}

    @property
    def settled(self) -> set[int]:
        """Places in the plan after whose reset the device had everything back."""
        return {int(r["n"]) for r in self._all("settled")}

    @property
    def collateral(self) -> dict[int, list[Mapping[str, Any]]]:
        """Place in the plan -> settings that the change, or its putting back, can move, as they were before the latest."""
        return {int(r["n"]): list(r["settings"]) for r in self._all("collateral")}

    @property
    def undoing(self) -> set[int]:
        """Places in the plan whose putting back was begun and cut off."""
        places: set[int] = set()
        for record in self.contents.records:
            if record["record"] == "undo":
                places.add(int(record["n"]))
            elif record["record"] == "undid":
                places.discard(int(record["n"]))
        return places

    @property
    def undone(self) -> dict[int, Record]:
        """Place in the plan -> how putting it back ended, the latest try."""
        return {int(r["n"]): r for r in self._all("undid")}


class Store:
    """The transactions in one state directory. ``lock`` is what is locked for its host: see ``tuner.lock.lock_path``."""

    def __init__(self, directory: str, lock: str) -> None:
        self.directory = os.path.abspath(directory)
        self.lock_path = lock
        self.transactions_directory = os.path.join(self.directory, "transactions")

    def numbers(self) -> list[int]:
        """The numbers of all transactions, ascending; empty where there is no state yet.

        Raises:
            PermissionError: the state belongs to somebody else and may not be read.
        """
        try:
            names = os.listdir(self.transactions_directory)
        except FileNotFoundError:
            return []
        return sorted(int(n.removesuffix(".journal")) for n in names if _NAME.fullmatch(n))

    def all(self) -> list[TransactionRecord]:
        """Every transaction, the oldest first."""
        return [self.get(number) for number in self.numbers()]

    def unended(self) -> Iterator[TransactionRecord]:
        """Every transaction that is not over, the newest first.

        What was rolled back or is void is told by its last record, so that a host's first thousand transactions cost its next
        one nothing.
        """
        for number in reversed(self.numbers()):
            if glance(self._path(number))[1] not in _OVER:
                yield self.get(number)

    def _path(self, number: int) -> str:
        return os.path.join(self.transactions_directory, f"{number:06d}.journal")

    def get(self, number: int) -> TransactionRecord:
        """One transaction by its number."""
        path = self._path(number)
        return TransactionRecord(number, path, read_journal(path))

    def active(self, boot_id: str) -> TransactionRecord | None:
        """The newest transaction that holds the host now."""
        return next((t for t in self.unended() if t.state in ACTIVE and t.boot_id == boot_id), None)

    def pending(self, boot_id: str) -> TransactionRecord | None:
        """The transaction that waits to be confirmed."""
        return next((t for t in self.unended() if t.state == "applied" and t.boot_id == boot_id), None)

    def kernel_managed(self, boot_id: str) -> frozenset[tuple[str, str]]:
        """(knob, identity) of what the kernel refused to hand over in this boot: before 6.11 only a write tells."""
        found = set()
        for number in self.numbers():
            if glance(self._path(number))[0] not in ("", boot_id):
                continue
            transaction = self.get(number)
            changes = transaction.plan["changes"] if transaction.plan and transaction.boot_id == boot_id else []
            for n, record in transaction.wrote.items():
                if record["state"] == "kernel-managed" and n < len(changes):
                    found.add((str(changes[n]["knob"]), str(changes[n]["identity"])))
        return frozenset(found)

    def prepare(self) -> None:
        """Makes the directories where they are missing, and refuses those that others could have filled.

        Raises:
            Refused: wrong owner or mode.
            OSError: they cannot be made.
        """
        for path in (self.directory, self.transactions_directory):
            if not os.path.isdir(path):
                os.makedirs(path, 0o700, exist_ok=True)
                sync_directory(os.path.dirname(path))
            status = os.stat(path)
            if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise Refused(f"{path} belongs to another user or can be written by others: chown it, chmod 700 it")

    @contextlib.contextmanager
    def lock(self, wait_s: float = 0.0) -> Iterator[None]:
        """Holds the host's one lock.

        Raises:
            Refused: another run holds it; its process is named.
        """
        self.prepare()
        try:
            with held(self.lock_path, wait_s):
                yield
        except Locked as reason:
            raise Refused(str(reason)) from None

    def begin(self, begin: Record, plan: Record) -> tuple[int, Journal]:
        """A new transaction, durable before this returns.

        Raises:
            JournalError: it could not be made durable.
        """
        number = max(self.numbers(), default=0) + 1
        return number, Journal.create(self._path(number), [{**begin, "transaction": number}, plan])
