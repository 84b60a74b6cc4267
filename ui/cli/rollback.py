"""``quietcore rollback``: puts back what a transaction changed."""

import argparse

from tuner.undo import Undone, recover, rollback
from ui.cli.context import open_context
from ui.cli.interrupts import noted
from ui.cli.output import banner, emit, needs_root, telling
from ui.cli.telling import unhindered
from ui.cli.undone import print_undone, undone_records


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "transaction", metavar="TXN", nargs="?", type=int, help="its number (default: the newest that holds the host)"
    )
    parser.add_argument("--force", action="store_true", help="put back also what somebody else changed since")
    parser.epilog = (
        "What somebody else changed since it was applied is left alone and listed. What could not be put back is listed, too, "
        "and tried again by the next rollback of that transaction. Of an earlier boot's transaction the words for the kernel's "
        "command line are taken away. Exit status 6 where something is left."
    )


def run(arguments: argparse.Namespace) -> int:
    """Undoes the transaction."""
    with open_context(arguments) as context:
        needs_root(context.host, "rollback")
        banner(context.host)
        with context.store.lock(), noted(), unhindered() as tell:
            for ended in recover(context.host, context.store):
                tell(f"transaction {ended.number}: {ended.verdict}")
            done = rollback(context.host, context.store, arguments.transaction, "asked for", arguments.force)
        number, undone = done if done is not None else (arguments.transaction, [])
        left = any(each.residual for each in undone)
        outcome = "unchanged" if done is None else ("degraded" if left else "rolled-back")
        with telling():
            _report(arguments, number, outcome, undone)
        return 6 if left else 0


def _report(arguments: argparse.Namespace, number: int | None, outcome: str, undone: list[Undone]) -> None:
    if arguments.json:
        record = {"command": "rollback", "transaction": number, "outcome": outcome, "changed": outcome != "unchanged"}
        emit(record | {"undone": undone_records(undone)})
    elif outcome == "unchanged":
        print("nothing to roll back")
    else:
        print(f"transaction {number}: {outcome}")
        print_undone(undone)
