"""``quietcore history``: every transaction of this host, or all that one of them did, as its journal tells it."""

import argparse
import time
from collections.abc import Mapping
from typing import Any

from tuner.host.text import printable
from tuner.journal import Record
from tuner.store import Refused, TransactionRecord
from ui.cli.context import Context, open_context
from ui.cli.output import banner, emit
from ui.cli.table import table


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("transaction", metavar="TXN", nargs="?", type=int, help="tell all that this one did, record by record")
    parser.epilog = "The journals are text: one record a line, below DIR/transactions of the state directory."


def run(arguments: argparse.Namespace) -> int:
    """Lists the transactions, the oldest first, or the records of one."""
    with open_context(arguments) as context:
        if arguments.transaction is not None:
            return _one(arguments, context)
        transactions = context.store.all()
        if arguments.json:
            journals = context.store.transactions_directory
            emit({"command": "history", "journals": journals, "transactions": [_record(context, t) for t in transactions]})
            return 0
        banner(context.host)
        if not transactions:
            print("no transaction yet")
            return 0
        rows = [
            (str(t.number), _time(t.begin), t.profile, t.state, str(len(t.started)), t.contents.damage or _last_reason(t))
            for t in transactions
        ]
        print(table(("txn", "begun", "profile", "state", "writes", ""), rows))
        return 0


def _one(arguments: argparse.Namespace, context: Context) -> int:
    if arguments.transaction not in context.store.numbers():
        raise Refused(f"there is no transaction {arguments.transaction}")
    transaction = context.store.get(arguments.transaction)
    if arguments.json:
        emit({"command": "history", **_record(context, transaction), "records": list(transaction.contents.records)})
        return 0
    banner(context.host)
    for record in transaction.contents.records:
        print(f"{_time(record):19}  {record['record']:12}  {_told(transaction, record)}".rstrip())
    if transaction.contents.damage:
        print(f"{'':19}  damage        {transaction.contents.damage}")
    return 0


def _told(transaction: TransactionRecord, record: Record) -> str:
    """What one record says, in words."""
    kind = record["record"]
    change = _change(transaction, record)
    if kind == "begin":
        by, boot = printable(str(record.get("process", "?"))), printable(str(record.get("boot_id", "?")), 8)
        host = printable(str(record.get("host", "?")))
        sets = "".join(f" --set {printable(str(k))}={_short(v)}" for k, v in dict(record.get("set", {})).items())
        return f"profile {printable(transaction.profile)}{sets} on {host}, process {by}, boot {boot}"
    if kind == "plan":
        return f"{len(record['changes'])} settings, {sum(c.get('state') == 'differs' for c in record['changes'])} to change"
    if kind == "armed":
        return f"undone unless confirmed within {float(record.get('seconds', 0)):g} s"
    if kind == "write":
        return f"{_name(change)}: {_short(change.get('now'))} -> {_short(change.get('wanted'))}"
    if kind == "wrote":
        return f"{_name(change)}: {record.get('state')}, now {_short(record.get('now'))}"
    if kind == "collateral":
        return f"{_name(change)}: {len(record.get('settings', ()))} settings saved that it may move"
    if kind == "undid":
        return f"{_name(change)}: {record.get('result')} {printable(str(record.get('detail', '')))}"
    if kind == "undo":
        return _name(change)
    return printable(str(record.get("reason") or record.get("by") or ""))


def _change(transaction: TransactionRecord, record: Record) -> Mapping[str, Any]:
    changes = transaction.plan["changes"] if transaction.plan else []
    n = record.get("n")
    return changes[n] if isinstance(n, int) and 0 <= n < len(changes) else {}


def _name(change: Mapping[str, Any]) -> str:
    return printable(f"{change.get('knob', '?')} {change.get('target', '?')}")


def _short(value: object) -> str:
    return printable(str(value), 40)


def _time(record: Mapping[str, Any]) -> str:
    # wall clock, for people only: nothing is decided by it
    seconds = record.get("time_s")
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if isinstance(seconds, (int, float)) else ""


def _last_reason(transaction: TransactionRecord) -> str:
    reasons = [str(r["reason"]) for r in transaction.contents.records if "reason" in r]
    return reasons[-1] if reasons else ""


def _record(context: Context, transaction: TransactionRecord) -> dict[str, object]:
    deadline = transaction.deadline_ns
    waits = transaction.state == "applied" and deadline is not None
    remaining_s = max(0.0, ((deadline or 0) - context.host.syscalls.boottime_ns()) / 1e9) if waits else None
    return {
        "transaction": transaction.number,
        "profile": transaction.begin.get("profile"),
        "set": transaction.begin.get("set", {}),
        "state": transaction.state,
        "time_s": transaction.begin.get("time_s"),
        "boot_id": transaction.boot_id,
        "writes": len(transaction.started),
        "reason": _last_reason(transaction),
        "damage": transaction.contents.damage,
        "undo_in_s": remaining_s,
        "undone": [
            {"n": n, "result": record["result"], "detail": record["detail"]} for n, record in sorted(transaction.undone.items())
        ],
    }
