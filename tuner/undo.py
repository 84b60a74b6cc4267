"""Putting back what a transaction changed: in reverse, from what the journal saved, leaving alone what others changed since.

``undo`` may be cut off anywhere and started again: what was put back is put back again to the same value, or found to be so.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.host.host import Host, Inventory
from tuner.host.text import printable
from tuner.journal import Journal
from tuner.knobs.catalogue import knob_of
from tuner.knobs.knob import Gone, KernelManaged, Knob
from tuner.reset import put_back, wait_for_carrier
from tuner.store import Refused, Store, TransactionRecord


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

    Args:
        host: the host.
        journal: the transaction's journal, open.
        transaction: what the journal held when this was called.
        reason: why, for the journal.
        force: put back also what somebody else changed since.

    Raises:
        JournalError: the journal cannot be written; what was put back until then stays so.
    """
    journal.append({"record": "rolling-back", "reason": reason}, durable=True)
    changes = list(transaction.plan["changes"]) if transaction.plan else []
    inventory = Inventory(host)
    results: list[Undone] = []
    for n in sorted(transaction.started, reverse=True):
        already = transaction.undone.get(n)
        if n >= len(changes) or (already is not None and already["result"] != "residual"):
            continue
        result = _undo_one(inventory, transaction, n, changes[n], force)
        journal.append({"record": "undid", "n": n, "result": result.result, "detail": result.detail})
        results.append(result)
    residuals = [r for r in results if r.residual]
    journal.append({"record": "degraded" if residuals else "rolled-back"}, durable=True)
    return results


def _undo_one(inventory: Inventory, transaction: TransactionRecord, n: int, change: Mapping[str, Any], force: bool) -> Undone:
    knob = knob_of(str(change["knob"]))
    name, target = str(change["knob"]), str(change["target"])
    wrote = transaction.wrote.get(n)
    if wrote is not None and wrote["state"] == "kernel-managed":
        return Undone(name, target, "restored", "was never ours")
    try:
        if wrote is not None and not force:
            now = knob.read(inventory, str(change["identity"])).now
            if not knob.same(now, wrote["now"]) and not knob.same(now, change["now"]):
                return Undone(
                    name, target, "skipped", f"somebody changed it to {printable(str(now), 60)}; we wrote {wrote['now']}"
                )
        _restore(inventory, knob, change)
        if knob.resets:
            wait_for_carrier(inventory, str(change["identity"]), lambda _: None)
            # where the write was cut off, the reset may have been, too: a setting may only seem to be what it was
            put_back(inventory, transaction.collateral.get(n, []), always=wrote is None)
        return _read_back(inventory, knob, change)
    except Gone as error:
        return Undone(name, target, "gone", str(error))
    except KernelManaged:
        return Undone(name, target, "restored", "the kernel places it itself")
    except (OSError, LookupError, ValueError) as error:
        return Undone(name, target, "residual", printable(str(error)))


def _restore(inventory: Inventory, knob: Knob, change: Mapping[str, Any]) -> None:
    identity = str(change["identity"])
    if knob.resets and knob.same(knob.read(inventory, identity).now, change["now"]):
        return  # never written: to reset the device once more would only cost packets
    knob.restore(inventory, identity, change["undo"])


def _read_back(inventory: Inventory, knob: Knob, change: Mapping[str, Any]) -> Undone:
    name, target = str(change["knob"]), str(change["target"])
    now = knob.read(inventory, str(change["identity"])).now
    if knob.same(now, change["now"]):
        return Undone(name, target, "restored")
    return Undone(name, target, "residual", f"was {printable(str(change['now']), 60)}, is {printable(str(now), 60)}")


def rollback(host: Host, store: Store, number: int | None, reason: str, force: bool = False) -> tuple[int, list[Undone]] | None:
    """Undoes one transaction, the newest that holds the host if none is named. The caller holds the lock.

    Returns:
        Its number and how each change ended; None where there is nothing to undo.

    Raises:
        Refused: no such transaction, or a newer one stands on it.
        JournalError: its journal cannot be written.
    """
    boot_id = host.syscalls.boot_id()
    undoable = [t for t in store.all() if t.state in ("applied", "confirmed", "degraded") and t.boot_id == boot_id]
    if number is None:
        if not undoable:
            return None
        number = undoable[-1].number
    transaction = store.get(number)
    if not transaction.contents.records:
        raise Refused(f"there is no transaction {number}")
    if transaction.state in ("rolled-back", "void"):
        return None
    if transaction.boot_id != boot_id:
        raise Refused(f"transaction {number} is of an earlier boot: what it changed at run time is gone since")
    if newer := [t.number for t in undoable if t.number > number and t.state != "degraded"]:
        raise Refused(f"transaction {newer[-1]} is newer and stands on it: roll that back first")
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

    The caller holds the lock. The decision is made from the journal alone. A transaction that is applied and waits for its
    confirmation is left to its undo timer, unless its time is over.

    Raises:
        JournalError: a journal cannot be written.
        Refused: a journal is damaged, so that nobody can say what was changed.
    """
    boot_id, now_ns = host.syscalls.boot_id(), host.syscalls.boottime_ns()
    ended: list[Recovered] = []
    for transaction in store.all():
        state = transaction.state
        if state == "damaged":
            raise Refused(f"{transaction.path}: {transaction.contents.damage}; look at it, then move it away")
        overdue = state == "applied" and transaction.deadline_ns is not None and now_ns >= transaction.deadline_ns
        if (
            state not in ("prepared", "applying", "rolling-back")
            and not overdue
            and not (state in ("applied", "confirmed", "degraded") and transaction.boot_id != boot_id)
        ):
            continue
        with Journal.reopen(transaction.path) as journal:
            if transaction.boot_id != boot_id:
                journal.append({"record": "void", "reason": "made before this boot", "time_s": time.time()}, durable=True)
                ended.append(Recovered(transaction.number, "void: what it changed at run time ended with its boot"))
                continue
            reason = "not confirmed in time" if overdue else "it was cut off"
            undone = undo(host, journal, transaction, reason)
        verdict = "degraded" if any(u.residual for u in undone) else "rolled back"
        ended.append(Recovered(transaction.number, f"{verdict}: {reason}", tuple(undone)))
    return ended
