"""``quietcore recover``: ends what a kill, a crash or a power cut left in the middle."""

import argparse

from tuner.undo import Recovered, recover
from ui.cli.context import open_context
from ui.cli.interrupts import noted
from ui.cli.output import banner, emit, needs_root, telling
from ui.cli.undone import print_undone, undone_records


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments: none of its own."""
    parser.epilog = (
        "Decides from the journals alone: what was cut off in this boot is undone; of an earlier boot nothing is left to undo "
        "but words for the kernel's command line that nobody confirmed: they are taken away. apply and rollback do the same "
        "before they start."
    )


def run(arguments: argparse.Namespace) -> int:
    """Recovers and says what was done."""
    with open_context(arguments) as context:
        needs_root(context.host, "recover")
        banner(context.host)
        with context.store.lock(), noted():
            ended = recover(context.host, context.store)
        left = any(each.residual for one in ended for each in one.undone)
        with telling():
            _report(arguments, ended)
        return 6 if left else 0


def _report(arguments: argparse.Namespace, ended: list[Recovered]) -> None:
    if arguments.json:
        transactions = [
            {"transaction": one.number, "verdict": one.verdict, "undone": undone_records(one.undone)} for one in ended
        ]
        emit({"command": "recover", "changed": bool(ended), "transactions": transactions})
        return
    if not ended:
        print("nothing to recover")
    for one in ended:
        print(f"transaction {one.number}: {one.verdict}")
        print_undone(one.undone)
