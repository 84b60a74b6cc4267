"""What ``ring``, ``watch`` and the app have in common: which packets of which interfaces, and by which numbers."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.rings.filter import Filter
    from ingest.rings.layout import Following
    from ingest.rings.source import Source


def feed_options(parser: argparse.ArgumentParser, feed_help: str, lead: str = "") -> None:
    """``--feed``, ``--feed-file`` and ``--filter``; ``lead`` begins the help of each but the first."""
    parser.add_argument("--feed", metavar="FORMAT[:PORT]", help=feed_help)
    file_help = f"{lead}the site's formats and channels (default: /etc/quietcore/feeds.toml)"
    parser.add_argument("--feed-file", metavar="FILE", help=file_help)
    filter_help = f"{lead}only these packets, as 'udp dst 239.1.1.1:30001'"
    parser.add_argument("--filter", metavar="EXPRESSION", help=filter_help + ("" if lead else "; see below"))


def ring_options(parser: argparse.ArgumentParser, lead: str = "") -> None:
    """``--ring`` and what belongs to it: rings that are read beside the counters, by ``watch`` and by the app."""
    ring_help = f"{lead}also read packet:INTERFACE; may be given several times"
    parser.add_argument("--ring", metavar="SOURCE", action="append", default=[], help=ring_help)
    feed_options(parser, f"{lead}follow the numbers of a feed in these rings: a format, or a channel of the site's file", lead)


def ring_words(arguments: argparse.Namespace) -> list[str]:
    """The same options as words, for a child."""
    given = [("ring", source) for source in arguments.ring]
    given += [(name.replace("_", "-"), getattr(arguments, name)) for name in ("feed", "feed_file", "filter")]
    return [f"--{name}={value}" for name, value in given if value is not None]


def without_ring(arguments: argparse.Namespace) -> str:
    """What is wrong where options of packets are given and no ring; empty where nothing is."""
    named = [f"--{name.replace('_', '-')}" for name in ("feed", "feed_file", "filter") if getattr(arguments, name) is not None]
    if not named or arguments.ring:
        return ""
    return f"{', '.join(named)}: of packets, which a ring has to bring; add --ring packet:INTERFACE"


def sources_of(texts: Sequence[str]) -> "list[Source]":
    """The sources that are named.

    Raises:
        SourceError: one is none; the text says what may stand there.
    """
    from ingest.rings.source import parse_source

    return [parse_source(text) for text in texts]


def filter_of(arguments: argparse.Namespace) -> "Filter | None":
    """What ``--filter`` says.

    Raises:
        FilterError: no such expression, and where it ends to be one.
    """
    from ingest.rings.filter import parse_filter

    return parse_filter(arguments.filter) if arguments.filter is not None else None


def following_of(arguments: argparse.Namespace) -> "Following | None":
    """What ``--feed`` names.

    Raises:
        ValueError: an unknown name, or a file that cannot be used; the text names every fault of it.
    """
    if arguments.feed is None:
        return None
    from ui.cli.ring_feeds import followed_feed

    return followed_feed(arguments)


def told(command: str, action: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """The status of ``action``, or 1 and words where no ring can be had, or the feed is none."""
    from ingest.feeds.format_table import FeedFileError
    from ingest.feeds.sampling import SampleError
    from ingest.rings.capture import CaptureError
    from ingest.rings.packet import RingError, WalkerMissing
    from ingest.rings.pcapng_writer import WriteError
    from ui.cli.output import say

    try:
        return action(arguments)
    except FeedFileError as error:
        for fault in error.faults:
            say(f"quietcore {command}: {fault}")
    except (RingError, CaptureError, WriteError, WalkerMissing, SampleError, ValueError) as error:
        say(f"quietcore {command}: {error}")
    return 1
