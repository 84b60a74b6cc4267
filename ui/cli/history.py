"""``quietcore history``: every transaction of this host, as its journal tells it."""

import argparse
import time

from tuner.store import TransactionRecord
from ui.cli.context import Context, open_context
from ui.cli.output import banner, emit
from ui.cli.table import table


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments: none of its own."""
    parser.epilog = "The journals are text: one record a line, below DIR/transactions of the state directory."


def run(arguments: argparse.Namespace) -> int:
    """Lists the transactions, the oldest first."""
    with open_context(arguments) as context:
        transactions = context.store.all()
        if arguments.json:
            emit({"command": "history", "transactions": [_record(context, t) for t in transactions]})
            return 0
        banner(context.host)
        if not transactions:
            print("no transaction yet")
            return 0
        rows = [
            (str(t.number), _time(t), t.profile, t.state, str(len(t.started)), t.contents.damage or _last_reason(t))
            for t in transactions
        ]
        print(table(("txn", "begun", "profile", "state", "writes", ""), rows))
        return 0


def _time(transaction: TransactionRecord) -> str:
    # wall clock, for people only: nothing is decided by it
    seconds = transaction.begin.get("time_s")
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "?"


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
