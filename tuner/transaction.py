"""The transaction: journal first, then write, then read back; and back again, exactly.

States: prepared (journal durable) → armed → applying(k) → applied → confirmed | rolling-back(k) → rolled-back | degraded.

Whatever kills it, the journal alone tells the next run which changes were begun, and each of those can be put back from any
state between. A change that cannot be made, or reads back as something else, takes all that were made before it back with it.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tuner.host.host import Host, Inventory
from tuner.host.text import printable
from tuner.journal import READABLE_FROM, SCHEMA, Journal
from tuner.knobs.catalogue import knob_of
from tuner.knobs.knob import KernelManaged
from tuner.lock import process
from tuner.patience import patiently
from tuner.permission import Options
from tuner.plan import Change, Plan, look, wish_of
from tuner.reset import has_carrier, put_back, snapshot, wait_for_carrier
from tuner.store import Refused, Store
from tuner.undo import Undone, undo

Outcome = Literal["unchanged", "applied", "confirmed", "rolled-back", "degraded"]
Progress = Callable[[str], None]
Arm = Callable[[int], None]  # starts the undo timer of a transaction; see tuner.deadman

# Some drivers answer a request before its work item has run; what is not so after that was refused without a word.
_SETTLE_S = (0.01, 0.03, 0.1)


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended. ``changes`` are all changes of the plan as they are now; ``error`` says what went wrong."""

    outcome: Outcome
    number: int | None
    changes: tuple[Change, ...]
    error: str = ""
    undone: tuple[Undone, ...] = ()


def apply(
    host: Host, store: Store, plan: Plan, options: Options, arm: Arm, progress: Progress, stopped: Callable[[], str]
) -> Result:
    """Applies a plan as one transaction. The caller holds the store's lock and has asked ``tuner.permission.check_allowed``.

    Args:
        host: the host that the plan was built for.
        store: where the journal goes.
        plan: what to do.
        options: see there.
        arm: starts the undo timer for a transaction; it outlives this process.
        progress: told what happens, a line at a time.
        stopped: a reason to stop between two changes (a signal came), else empty.

    Raises:
        JournalError: the journal could not be made; nothing was changed.
        OSError: the undo timer could not be armed; nothing was changed.
    """
    if not plan.differing:
        return Result("unchanged", None, plan.changes)
    number, journal = store.begin(
        _begin_record(host, plan), {"record": "plan", "changes": [_journaled(c) for c in plan.changes]}
    )
    with journal:
        try:
            if options.confirm_within_s is not None:
                _arm(host, journal, number, options.confirm_within_s, arm)
        except OSError:
            journal.append({"record": "void", "reason": "the undo timer could not be armed"}, durable=True)
            raise
        run = _Run(host, Inventory(host), journal, list(plan.changes), _unheard(progress), stopped, plan.left)
        try:
            run.all()
            # one record, so that no kill can leave a transaction that waits without a timer
            waits = options.confirm_within_s is not None
            journal.append({"record": "applied"} if waits else {"record": "confirmed", "by": "apply"}, durable=True)
        except BaseException as error:  # whatever it was, the host does not stay between two states
            reason = printable(str(error) or repr(error), 500)
            run.progress(f"failed: {reason}; rolling back")
            undone = undo(host, journal, store.get(number), reason)
            if not isinstance(error, (OSError, LookupError, ValueError)):
                raise
            outcome: Outcome = "degraded" if any(u.residual for u in undone) else "rolled-back"
            return Result(outcome, number, run.looked_at_again(reason), reason, tuple(undone))
    return Result("applied" if options.confirm_within_s is not None else "confirmed", number, tuple(run.changes))


def _unheard(progress: Progress) -> Progress:
    """``progress``, whose failure is no failure of the transaction: the terminal may be gone, the pipe closed."""

    def tell(line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            progress(line)

    return tell


@dataclass(slots=True)
class _Run:
    """The writing part: one change after the other, each between two records."""

    host: Host
    inventory: Inventory
    journal: Journal
    changes: list[Change]
    progress: Progress
    stopped: Callable[[], str]
    left: frozenset[tuple[str, str]] = frozenset()  # what stays as it is
    at: int | None = None  # the change at hand
    begun: set[int] = field(default_factory=set)  # places whose writing was begun

    def all(self) -> None:
        """Every change that differs, in order."""
        # tuned takes its own settings back when it is stopped; irqbalance went on moving interrupts since the plan was made
        unsettled = False
        for n, planned in enumerate(self.changes):
            if self._is_left(planned):
                continue
            seen = unsettled and planned.state in ("ok", "ok-rounded")
            change = look(self.inventory, wish_of(planned)) if seen else planned
            if change.state != "differs":
                continue
            self._stop_if_asked()
            self.at = n
            self._one(n, planned)
            self.at = None
            unsettled = unsettled or planned.knob.startswith("services.")
        self._stop_if_asked()
        # a reset may have moved what was right when the plan was made
        self.changes = [look(self.inventory, wish_of(c)) if c.state in ("ok", "ok-rounded") else c for c in self.changes]
        if moved := [c for c in self.changes if c.state == "differs" and not self._is_left(c)]:
            raise OSError(errno.EIO, f"{moved[0].knob} on {moved[0].target} was right and is now {moved[0].now}")

    def looked_at_again(self, reason: str) -> tuple[Change, ...]:
        """The changes as they are after everything was undone; ``reason`` stands with the one that failed."""
        inventory = Inventory(self.host)
        changes = [c if c.state == "kernel-managed" else look(inventory, wish_of(c)) for c in self.changes]
        if self.at is not None:
            changes[self.at] = replace(changes[self.at], error=reason)
        return tuple(changes)

    def _is_left(self, change: Change) -> bool:
        return (change.knob, change.identity) in self.left

    def _stop_if_asked(self) -> None:
        if reason := self.stopped():
            raise InterruptedError(errno.EINTR, f"stopped by {reason}")

    def _one(self, n: int, change: Change) -> None:
        knob = knob_of(change.knob)
        before = look(self.inventory, wish_of(change))
        if before.state in ("ok", "ok-rounded"):  # an earlier change brought it about
            self.changes[n] = replace(before, undo=change.undo) if n in self.begun else before
            if n in self.begun:
                self._wrote(n, before)
            return
        resets = knob.resets and change.disruption != "none"
        collateral = snapshot(self.inventory, knob, change.identity)
        carrier = resets and has_carrier(self.inventory, change.identity)
        for place in self._in_one_request(n, change):
            other = self.changes[place]
            self.progress(f"{other.knob} {other.target}: {_shown(other.now)} -> {_shown(other.wanted)}")
            if collateral:
                self.journal.append({"record": "collateral", "n": place, "settings": collateral})
            # what outlives a boot must be found after a power cut, too
            write: dict[str, Any] = {"record": "write", "n": place} | ({"carrier": carrier} if resets else {})
            self.journal.append(write, durable=knob.lasting)
            self.begun.add(place)
        managed = False
        try:
            self._write(change)
        except KernelManaged:
            managed = True
        after = self._settled(change)
        after = replace(after, undo=change.undo, state="kernel-managed" if managed else after.state)
        self._wrote(n, after)
        self.changes[n] = after
        if after.state in ("differs", "failed", "gone", "unsupported"):
            raise OSError(
                errno.EIO,
                f"{change.knob} on {change.target}: wrote {_shown(change.wanted)}, reads back "
                f"{_shown(after.now)}, effective {_shown(after.effective)}. {after.error or after.note}",
            )
        if resets:
            self._after_reset(change, collateral, carrier)

    def _wrote(self, n: int, after: Change) -> None:
        self.journal.append({"record": "wrote", "n": n, "state": after.state, "now": after.now, "effective": after.effective})

    def _in_one_request(self, n: int, change: Change) -> list[int]:
        """The places of the changes that go to the kernel together with this one: a reset each would be one too many."""
        request = change.options.get("request")
        if request is None:
            return [n]
        return [
            place
            for place, other in enumerate(self.changes)
            if place == n
            or (place > n and other.state == "differs" and other.options.get("request") == request and not self._is_left(other))
        ]

    def _settled(self, change: Change) -> Change:
        after = look(self.inventory, wish_of(change))
        for wait_s in _SETTLE_S:
            if after.state != "differs":
                break
            time.sleep(wait_s)
            after = look(self.inventory, wish_of(change))
        return after

    def _write(self, change: Change) -> None:
        knob = knob_of(change.knob)
        try:
            patiently(lambda: knob.write(self.inventory, change.identity, change.wanted, change.options))
        except OSError as error:
            raise type(error)(
                error.errno,
                f"{change.knob} on {change.target}: writing {_shown(change.wanted)}: {error.strerror}"
                + (f" ({error.filename})" if error.filename else ""),
            ) from error

    def _after_reset(self, change: Change, collateral: Sequence[Mapping[str, Any]], carrier: bool) -> None:
        """Waits for the carrier and puts back what the driver forgot; also what a later change sets, which may never come."""
        if carrier:
            wait_for_carrier(self.inventory, change.identity, self.progress)
        self.inventory.refresh()
        put_back(self.inventory, collateral)
        for place in self._in_one_request(self.at or 0, change):
            self.journal.append({"record": "settled", "n": place})


def _arm(host: Host, journal: Journal, number: int, seconds: float, arm: Arm) -> None:
    deadline = host.syscalls.boottime_ns() + int(seconds * 1e9)
    journal.append({"record": "armed", "deadline_boottime_ns": deadline, "seconds": seconds}, durable=True)
    arm(number)


def _begin_record(host: Host, plan: Plan) -> dict[str, Any]:
    return {
        "record": "begin",
        "schema": SCHEMA,
        "readable_from": READABLE_FROM,
        "boot_id": host.syscalls.boot_id(),
        "boottime_ns": host.syscalls.boottime_ns(),
        "time_s": time.time(),
        "host": host.name,
        "process": process(os.getpid()),
        "profile": {"name": plan.profile, "sha256": plan.sha256},
        "layers": dict(plan.layers),
        "set": dict(plan.sets),
        "bindings": dict(plan.bindings),
        "roles": dict(plan.roles),
    }


_OFTEN_EMPTY = frozenset({"error", "note", "irreversible", "options"})


def _journaled(change: Change) -> dict[str, Any]:
    """As short as it can be: a journal is synced to the disk before anything is written, and holds hundreds of these."""
    whole = change.to_json() | {"identity": change.identity, "options": dict(change.options)}
    return {key: value for key, value in whole.items() if key not in _OFTEN_EMPTY or value}


def _shown(value: object) -> str:
    return printable(str(value), 60)


def confirm(host: Host, store: Store, number: int) -> None:
    """Keeps a transaction that waits for it. The caller holds the lock.

    Raises:
        Refused: it does not wait, or its time or its boot is over.
    """
    transaction = store.get(number)
    if not transaction.contents.records:
        raise Refused(f"there is no transaction {number}")
    if transaction.boot_id != host.syscalls.boot_id():
        raise Refused(f"transaction {number} is of an earlier boot: what it changed at run time is gone since")
    if transaction.state != "applied":
        raise Refused(f"transaction {number} is {transaction.state}: there is nothing to confirm")
    if transaction.deadline_ns is not None and host.syscalls.boottime_ns() >= transaction.deadline_ns:
        raise Refused(f"transaction {number} was to be confirmed earlier: it is being undone")
    with Journal.reopen(transaction.path) as journal:
        journal.append({"record": "confirmed", "by": "confirm"}, durable=True)
