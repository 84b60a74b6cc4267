"""``--story``, and whether a command's samples are those of a story; ``ui.cli.story`` tells it."""

import argparse
import errno
import math

from ui.cli.context import Context

_SLOWEST, _FASTEST = 0.01, 10_000.0


def story_option(parser: argparse.ArgumentParser) -> None:
    """The option; it says the pace, and is None where it is not given."""
    words = "with --live: the minute of --demo happens on it, PACE seconds of it in a second (default: 1)"
    parser.add_argument("--story", metavar="PACE", type=_pace, nargs="?", const=1.0, help=words)


def _pace(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not _SLOWEST <= number <= _FASTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no pace: a number from 0.01 to 10000, 1 being as fast as time")
    return number


def without_life(arguments: argparse.Namespace) -> str:
    """What is wrong where a story is wanted of a host that does not live; empty where nothing is."""
    if arguments.story is None or arguments.live or arguments.demo:
        return ""
    return "--story: on a host that lives; add --live and a simulated --root, or --demo"


def story_pace(context: Context, arguments: argparse.Namespace) -> float | None:
    """How fast the story of this host is to be told; None: it has none. A demo's always has one.

    Raises:
        OSError: EINVAL: one is asked for, and the host is no simulated one.
    """
    if arguments.story is not None and not context.host.simulated:
        raise OSError(errno.EINVAL, "no simulated host, and a story happens on no other", context.root)
    pace: float | None = arguments.story
    return 1.0 if pace is None and context.simulation is not None else pace
