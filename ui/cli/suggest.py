"""``quietcore suggest``: a commented profile for this host, from its topology and NICs. Writes nothing but its output."""

import argparse

from tuner.suggest.suggestion import suggest
from ui.cli.context import open_context
from ui.cli.output import emit, say
from ui.cli.plan import binding


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "--bind",
        metavar="PART=NIC",
        type=binding,
        help="the NIC to write for, and what the profile calls it (default: feed, and the fastest that is no default route)",
    )
    parser.epilog = (
        "Cores come by topology: CPU 0's core keeps house, siblings stay with their core, trading cores are near the NIC. What "
        "this host, its kernel or its driver does not have is in the text as a comment that says why.\n\n"
        "  quietcore suggest > mine.toml\n"
        "  quietcore plan ./mine.toml --bind feed=eth2"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the profile."""
    part, name = arguments.bind or ("feed", None)
    with open_context(arguments) as context:
        try:
            made = suggest(context.inventory, part, name)
        except LookupError as error:
            say(f"quietcore suggest: {error}")
            return 1
        for warning in made.plan.warnings:
            say(f"note: {warning}")
        for conflict in made.plan.conflicts:
            say(f"conflict: {conflict}")
        if arguments.json:
            emit(
                {
                    "command": "suggest",
                    "nic": made.nic.name if made.nic else None,
                    "profile": made.text,
                    "roles": dict(made.plan.roles),
                    "left_out": [{"setting": setting, "why": why} for setting, why in made.left_out],
                }
            )
        else:
            print(made.text, end="")
    return 0
