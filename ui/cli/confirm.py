"""``quietcore confirm``: keeps a transaction that would undo itself."""

import argparse

from tuner.store import Refused
from tuner.transaction import confirm
from ui.cli.context import open_context
from ui.cli.output import banner, emit, needs_root, telling


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("transaction", metavar="TXN", nargs="?", type=int, help="its number (default: the one that waits)")
    parser.epilog = (
        "Give it over a new connection: that the host can still be reached is what is being confirmed. "
        "Refused (4) where nothing waits, or where the time is over."
    )


def run(arguments: argparse.Namespace) -> int:
    """Confirms the transaction."""
    with open_context(arguments) as context:
        needs_root(context.host, "confirm")
        banner(context.host)
        with context.store.lock(wait_s=5.0):
            number = arguments.transaction
            if number is None:
                pending = context.store.pending(context.host.syscalls.boot_id())
                if pending is None:
                    raise Refused("no transaction waits to be confirmed")
                number = pending.number
            confirm(context.host, context.store, number)
        with telling():
            if arguments.json:
                emit({"command": "confirm", "transaction": number, "changed": False, "outcome": "confirmed"})
            else:
                print(f"transaction {number}: confirmed")
        return 0
