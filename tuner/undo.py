"""Putting back what a transaction changed: in reverse, from what the journal saved, leaving alone what others changed since.

``undo`` may be cut off anywhere and started again: what was put back is put back again to the same value, or found to be so.
"""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.host.host import Host, Inventory
from tuner.host.text import printable
from tuner.journal import Journal, JournalError
from tuner.knobs.catalogue import knob_of
from tuner.knobs.knob import Gone, KernelManaged, Knob, Unsupported
from tuner.patience import patiently
from tuner.reset import put_back, snapshot, wait_for_carrier
from tuner.store import UNFINISHED, Refused, Store, TransactionRecord


@dataclass(frozen=True, slots=True)
class Undone:
    """How putting back one change ended: ``restored``, ``skipped`` (somebody else changed it since), ``gone``, ``residual``."""

    knob: str
    target: str
    result: str
    detail: str = ""

    @property
    def residual(self) -> bool:
        """Whether the host is not as before because of it."""
        return self.result == "residual"


def undo(host: Host, journal: Journal, transaction: TransactionRecord, reason: str, force: bool = False) -> list[Undone]:
    """Puts back every change that was begun, the last first, and goes on where one fails.

    A host in the middle of a transaction is put back even where the journal cannot be written any more: what could not be
    recorded is a residual then, and the next recovery finds everything restored.

    Args:
        host: the host.
        journal: the transaction's journal, open.
        transaction: what the journal held when this was called.
        reason: why, for the journal.
        force: put back also what somebody else changed since.

    Raises:
        JournalError: the journal of a transaction that holds the host as a whole cannot be written, or what stands in it
            could not be read; nothing was put back.
    """
    if transaction.contents.damage:
        raise JournalError(
            errno.EBADMSG, f"cannot undo by a journal like this: {transaction.contents.damage}", transaction.path
        )
    notes = _Notes(journal)
    notes.add({"record": "rolling-back", "reason": reason}, durable=True)
    if notes.lost is not None and transaction.state in ("confirmed", "degraded", "rolled-back"):
        raise notes.lost
    changes = list(transaction.plan["changes"]) if transaction.plan else []
    # what was changed at run time ended with its boot
    places = transaction.started if transaction.boot_id == host.syscalls.boot_id() else lasting(transaction)
    inventory = Inventory(host)
    again = {"residual", "skipped"} if force else {"residual"}
    results: list[Undone] = []
    for n in sorted(places, reverse=True):
        already = transaction.undone.get(n)
        if n >= len(changes) or (already is not None and already["result"] not in again):
            continue
        result = _undo_one(inventory, transaction, n, changes[n], force, notes)
        undid = {"record": "undid", "n": n, "result": result.result, "detail": result.detail}
        notes.add(undid | (_left(inventory, changes[n]) if result.residual else {}))
        results.append(result)
    residuals = [r for r in results if r.residual]
    notes.add({"record": "degraded" if residuals else "rolled-back"}, durable=True)
    if notes.lost is not None:
        results.append(
            Undone("journal", printable(journal.path), "residual", f"{notes.lost.strerror}; quietcore recover ends it")
        )
    return results


def lasting(transaction: TransactionRecord) -> set[int]:
    """Places in the plan whose writing was begun, and of which a reboot takes nothing back: words for the next boot."""
    changes = list(transaction.plan["changes"]) if transaction.plan else []
    return {n for n in transaction.started if n < len(changes) and _lasts(str(changes[n]["knob"]))}


def _lasts(name: str) -> bool:
    try:
        return knob_of(name).lasting
    except KeyError:  # another version's
        return False


def _left(inventory: Inventory, change: Mapping[str, Any]) -> dict[str, Any]:
    """How a residual was left: by that the next try tells whether somebody else has been there since."""
    try:
        return {"now": knob_of(str(change["knob"])).read(inventory, str(change["identity"])).now}
    except (OSError, LookupError, ValueError):
        return {}


class _Notes:
    """Records for the journal for as long as it takes them; ``lost`` is why it took no more."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.lost: JournalError | None = None

    def add(self, record: Mapping[str, Any], durable: bool = False) -> None:
        if self.lost is None:
            try:
                self._journal.append(record, durable)
            except JournalError as error:
                self.lost = error


def _undo_one(
    inventory: Inventory, transaction: TransactionRecord, n: int, change: Mapping[str, Any], force: bool, notes: _Notes
) -> Undone:
    name, target = str(change["knob"]), printable(str(change["target"]))
    identity = str(change["identity"])
    wrote = transaction.wrote.get(n)
    if wrote is not None and wrote["state"] == "kernel-managed":
        return Undone(name, target, "restored", "was never ours")
    # a write or a restoration of several steps that was cut off leaves what nobody wrote, and is ours all the same
    whole = wrote is not None and n not in transaction.undoing
    try:
        knob = knob_of(name)
        if whole and not force and (theirs := _theirs(inventory, knob, transaction, n, change)):
            return Undone(name, target, "skipped", theirs)
        collateral = transaction.collateral.get(n, [])
        if whole and n in transaction.settled:
            # what others moved since the apply is theirs: the reset of this restoration must not take it from them
            collateral = [*(now := snapshot(inventory, knob, identity)), *_vanished(collateral, now)]
            notes.add({"record": "collateral", "n": n, "settings": collateral})
        notes.add({"record": "undo", "n": n})
        _restore(inventory, knob, change)
        if knob.resets and change["disruption"] != "none" and transaction.had_carrier(n):
            wait_for_carrier(inventory, identity, lambda _: None)
        # where it was cut off, the reset may have been, too: a setting may only seem to be what it was
        put_back(inventory, collateral, always=not whole)
        return _read_back(inventory, knob, change)
    except (Gone, Unsupported) as error:  # it was there when the plan was made
        return Undone(name, target, "gone", printable(str(error)))
    except (OSError, LookupError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENODEV:
            return Undone(name, target, "gone", printable(str(error)))
        return Undone(name, target, "residual", _said(error))


def _vanished(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What the change itself made disappear, as the interrupts of fewer channels: it comes back with the old value."""
    there = {(each["knob"], each["identity"]) for each in now}
    return [each for each in before if (each["knob"], each["identity"]) not in there]


def _theirs(inventory: Inventory, knob: Knob, transaction: TransactionRecord, n: int, change: Mapping[str, Any]) -> str:
    """What to say where the setting is neither what we left nor what it was; empty where it is ours to put back."""
    ours = transaction.undone.get(n, {}).get("now", transaction.wrote[n]["now"])
    now = knob.read(inventory, str(change["identity"])).now
    if knob.same(now, ours) or knob.same(now, change["now"]):
        return ""
    return f"somebody changed it to {printable(str(now), 60)}; we left {printable(str(ours), 60)}"


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror + (f" ({error.filename})" if error.filename else ""))
    return printable(str(error))


def _restore(inventory: Inventory, knob: Knob, change: Mapping[str, Any]) -> None:
    identity = str(change["identity"])

    def is_as_before() -> bool:
        return change["undo"] == change["now"] and knob.same(knob.read(inventory, identity).now, change["now"])

    if knob.resets and is_as_before():
        return  # never written: to reset the device once more would only cost packets
    try:
        patiently(lambda: knob.restore(inventory, identity, change["undo"]))
    except KernelManaged:  # whether it was ever ours shows in the reading
        return
    except OSError:
        if not is_as_before():  # else it refused the new value as it refuses the old one
            raise


def _read_back(inventory: Inventory, knob: Knob, change: Mapping[str, Any]) -> Undone:
    name, target = str(change["knob"]), str(change["target"])
    now = knob.read(inventory, str(change["identity"])).now
    if knob.same(now, change["now"]):
        return Undone(name, target, "restored")
    return Undone(name, target, "residual", f"was {printable(str(change['now']), 60)}, is {printable(str(now), 60)}")


def rollback(host: Host, store: Store, number: int | None, reason: str, force: bool = False) -> tuple[int, list[Undone]] | None:
    """Undoes one transaction, the newest that holds the host if none is named. The caller holds the lock.

    Of an earlier boot's transaction that is what outlives a boot: what it changed at run time is gone.

    Returns:
        Its number and how each change ended; None where there is nothing to undo.

    Raises:
        Refused: no such transaction, or a newer one stands on it.
        JournalError: its journal cannot be written.
    """
    boot_id = host.syscalls.boot_id()
    holding = [t for t in store.unended() if t.state in ("applied", "confirmed", "degraded")]
    undoable = [t for t in holding if t.boot_id == boot_id or lasting(t)]
    if number is None:
        if not undoable:
            return None
        number = undoable[0].number
    transaction = store.get(number)
    if not transaction.contents.records:
        raise Refused(f"there is no transaction {number}")
    skipped = any(record["result"] == "skipped" for record in transaction.undone.values())
    if transaction.state == "void" or (transaction.state == "rolled-back" and not (force and skipped)):
        return None
    if transaction.boot_id != boot_id:
        if not lasting(transaction):
            raise Refused(f"transaction {number} is of an earlier boot: what it changed at run time is gone since")
        undoable = [t for t in undoable if lasting(t)]  # no other stands on words for a boot
    if newer := [t.number for t in undoable if t.number > number and t.state != "degraded"]:
        raise Refused(f"transaction {newer[0]} is newer and stands on it: roll that back first")
    with Journal.reopen(transaction.path) as journal:
        return number, undo(host, journal, transaction, reason, force)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What recovery did with one transaction that was cut off."""

    number: int
    verdict: str
    undone: tuple[Undone, ...] = ()


def recover(host: Host, store: Store) -> list[Recovered]:
    """Ends every transaction that was cut off: undone in the boot that made it, void in any other.

    What outlives a boot (words for the kernel's command line) is undone in any other boot, too, unless it was confirmed: a host
    that came up badly with words that nobody confirmed comes up without them the next time.

    The caller holds the lock. The decision is made from the journal alone. A transaction that is applied and waits for its
    confirmation is left to its undo timer, unless its time is over.

    Raises:
        JournalError: a journal cannot be written.
        Refused: a journal of this boot is damaged, so that nobody can say what was changed; all others were seen to.
    """
    boot_id = host.syscalls.boot_id()
    ended: list[Recovered] = []
    damaged: list[TransactionRecord] = []
    for transaction in sorted(store.unended(), key=lambda t: t.number):
        if transaction.begin and transaction.boot_id != boot_id:
            ended += _of_earlier_boot(host, store, transaction)
        elif transaction.state == "damaged":
            damaged.append(transaction)
        elif reason := _why_undo(transaction, host.syscalls.boottime_ns()):
            with Journal.reopen(transaction.path) as journal:
                undone = undo(host, journal, transaction, reason)
            verdict = "degraded" if any(u.residual for u in undone) else "rolled back"
            ended.append(Recovered(transaction.number, f"{verdict}: {reason}", tuple(undone)))
    if damaged:
        done = "".join(f"; transaction {one.number}: {one.verdict}" for one in ended)
        raise Refused(f"{damaged[0].path}: {damaged[0].contents.damage}; look at it, then move it away{done}")
    return ended


def _of_earlier_boot(host: Host, store: Store, transaction: TransactionRecord) -> list[Recovered]:
    """Ends a transaction of another boot; one that holds words for every boot, and was confirmed, goes on holding them."""
    number = transaction.number
    # a power cut may leave anything behind the last durable record: of another boot, none of it matters any more
    with Journal.reopen(transaction.path) as journal:
        transaction = store.get(number)
        if not lasting(transaction):
            journal.append({"record": "void", "reason": "made before this boot"}, durable=True)
            return [Recovered(number, "void: what it changed at run time ended with its boot")]
        if transaction.state in ("confirmed", "degraded"):
            return []
        undone = undo(host, journal, transaction, "not confirmed before the reboot")
    verdict = "degraded" if any(u.residual for u in undone) else "rolled back"
    return [Recovered(number, f"{verdict}: it was not confirmed before the reboot", tuple(undone))]


def _why_undo(transaction: TransactionRecord, now_ns: int) -> str:
    """Why a transaction of this boot is to be undone; empty where it is not."""
    if transaction.state in UNFINISHED:
        return "it was cut off"
    deadline_ns = transaction.deadline_ns
    overdue = transaction.state == "applied" and deadline_ns is not None and now_ns >= deadline_ns
    return "not confirmed in time" if overdue else ""
