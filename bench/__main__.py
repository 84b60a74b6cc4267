"""``python -m bench [PART ...]``: everything that is measured, one after the other, in some minutes.

Each figure is a ratio (or, where the promise is one, a time) out of this one run: medians of rounds in which the things
compared take turns on the same CPUs. Beside it stands its target and whether it is met. A missed figure is a fact about this
machine and this hour, so it fails nothing: compare runs of a quiet machine. What does fail (exit status 1) is a disagreement:
a walker, a ring or a sender whose counters do not say the same of the same packets.

Traffic flows through a veth pair in two namespaces that have no name and go with the process. Without the rights for that, a
part says so and is left out.
"""

import argparse
import contextlib
import importlib
import sys
import textwrap
import time

from bench.figures import Board, DisagreementError, UnavailableError

PARTS = ("commands", "walkers", "threads", "memory", "interrupts", "tick", "latency", "live", "app")


def parser() -> argparse.ArgumentParser:
    """The options; the epilogue is the parts' own docstrings."""
    told = []
    for name in PARTS:
        text = importlib.import_module(f"bench.{name}").__doc__ or ""
        told.append(f"{name}\n{textwrap.indent(text.strip(), '  ')}\n")
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog="The parts, and how to read their figures:\n\n" + "\n".join(told),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)}; all of it by default")
    made.add_argument("--brief", action="store_true", help="a fraction of the rounds: to see that it runs, not for figures")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Runs the parts. Returns 1 where counters disagreed, else 0 whatever was missed."""
    options = parser().parse_args(arguments)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        print(f"bench: there is no part {min(unknown)!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 1
    board, status, started = Board(), 0, time.monotonic()
    for name in options.parts or PARTS:
        part = importlib.import_module(f"bench.{name}")
        board.heading(f"{name}: {(part.__doc__ or '').strip().splitlines()[0]}")
        try:
            part.main(board, brief=options.brief)
        except UnavailableError as why:
            board.note(f"left out: {why}")
        except DisagreementError as what:
            print(f"bench: {name}: counters disagree: {what}", file=sys.stderr)
            status = 1
    board.heading(f"{board.summary()}; {time.monotonic() - started:.0f} s")
    return status


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
