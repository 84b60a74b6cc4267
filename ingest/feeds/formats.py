"""The formats that are shipped, and which one ``--feed`` names."""

import difflib
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ingest.feeds.format_table import Checker, FeedFileError, Format, read_format
from ingest.rings.layout import Framing
from tuner.host.text import printable

FILE = Path(__file__).with_name("formats.toml")


def read_formats(text: str, file: str) -> dict[str, Format]:
    """The formats of a file that holds nothing else, by name, in its order.

    Raises:
        FeedFileError: everything that is wrong with it.
    """
    checker = Checker(file)
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        checker.fault((), f"not TOML: {error}")
        raise FeedFileError(checker.faults) from error
    for key in document:
        if key != "format":
            checker.unknown((key,), "table", ["format"])
    found: dict[str, Format] = {}
    taken: set[str] = set()
    for name, table in checker.table(("format",), document.get("format", {})).items():
        entry = read_format(checker, name, table)
        if entry is None:
            continue
        for each in (name, *entry.aliases):
            if each in taken:
                checker.fault(("format", name), f"{each} names two formats")
            taken.add(each)
        found[name] = entry
    if checker.faults:
        raise FeedFileError(checker.faults)
    return found


@functools.cache
def shipped() -> Mapping[str, Format]:
    """The shipped formats, read once."""
    return read_formats(FILE.read_text(encoding="utf-8"), FILE.name)


def feed_words() -> tuple[str, ...]:
    """What ``--feed`` offers: the formats that the ring follows, and the two words that ask about formats."""
    return (*(entry.name for entry in shipped().values() if entry.framing is not None), "list", "infer")


def find_format(name: str, formats: Mapping[str, Format]) -> Format | None:
    """The format of that name or alias."""
    if name in formats:
        return formats[name]
    return next((entry for entry in formats.values() if name in entry.aliases), None)


def followed(entry: Format) -> Framing:
    """The framing of a format.

    Raises:
        ValueError: the ring does not follow it, and why.
    """
    if entry.framing is None:
        raise ValueError(f"{entry.name} cannot be followed: {entry.refusal}")
    return entry.framing


def unknown_feed(name: str, known: Mapping[str, object]) -> ValueError:
    """Says that ``known`` holds no such name, and which was probably meant."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"
    return ValueError(f"unknown feed format '{printable(name, 40)}'; {hint}")


def parse_feed(text: str, formats: Mapping[str, Format] | None = None) -> Framing:
    """``FORMAT`` or ``FORMAT:PORT``, the UDP port to which the feed is sent.

    Args:
        text: as it was typed.
        formats: by name; None: the shipped ones.

    Raises:
        ValueError: an unknown format, one that the ring does not follow, or no port.
    """
    formats = shipped() if formats is None else formats
    name, port = split_port(text)
    entry = find_format(name, formats)
    if entry is None:
        raise unknown_feed(name, formats)
    return replace(followed(entry), port=port)


def split_port(text: str) -> tuple[str, int]:
    """``NAME:PORT`` as both; port 0 where there is no colon.

    Raises:
        ValueError: what stands behind the colon is no UDP port.
    """
    name, colon, port_text = text.partition(":")
    if not colon:
        return name, 0
    port = int(port_text) if port_text.isascii() and port_text.isdigit() and len(port_text) <= 5 else 0
    if not 0 < port < 65536:
        raise ValueError(f"'{printable(port_text, 40)}' is no UDP port; write {printable(name, 40)}:30001")
    return name, port
