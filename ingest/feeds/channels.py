"""A site's own formats and channels: ``/etc/quietcore/feeds.toml``.

A channel is one stream of numbers that a venue sends twice, as line A and line B, to two addresses over disjoint paths::

    [format.our_house]          # a framing of one's own; format_table.py says what its keys mean
    endian = "big"
    sequence = { at = 0, bytes = 8 }

    [channel.itch]
    format = "moldudp64"
    a = "233.54.12.111:26477"
    b = "233.49.196.111:26477"
"""

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ingest.feeds.format_table import NAME, Checker, FeedFileError, Format, read_format
from ingest.feeds.formats import find_format, followed, parse_feed, shipped, split_port, unknown_feed
from ingest.rings.layout import Framing
from tuner.host.faults import Fault
from tuner.host.files import HostFiles
from tuner.host.text import printable
from tuner.host.trusted import Distrusted, read_trusted

SITE_FILE = "/etc/quietcore/feeds.toml"
SIZE_LIMIT = 64 * 1024
_TABLES = ("format", "channel")
_LINES = ("a", "b")
_CHANNEL_KEYS = ("format", *_LINES)


@dataclass(frozen=True, slots=True)
class Line:
    """Where a line is sent: 4 or 16 bytes of address, a UDP port; ``name`` is ``A`` or ``B``."""

    address: bytes
    port: int
    name: str

    def __str__(self) -> str:
        address = ipaddress.ip_address(self.address)
        return f"[{address}]:{self.port}" if address.version == 6 else f"{address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Channel:
    """One numbered stream and the lines that carry it. ``framing.port`` is the lines' port where they share one, else 0."""

    name: str
    framing: Framing
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """What ``--feed`` may name: the shipped formats with the site's own behind them, and the site's channels."""

    formats: Mapping[str, Format]
    channels: Mapping[str, Channel]


def read_site(path: str) -> Site:
    """The site's file, which root or the caller has to own, and nobody else may write.

    Raises:
        FeedFileError: everything that is wrong with it.
    """
    checker = Checker(printable(os.path.basename(path)))
    document: Mapping[str, object] = {}
    try:
        raw = read_trusted(path, checker.file, SIZE_LIMIT, "a file of feeds", trusted_owner=True)
        document = tomllib.loads(raw.decode())
    except Distrusted as error:
        raise FeedFileError([Fault(printable(path), error.what, error.hint)]) from error
    except UnicodeDecodeError as error:
        checker.fault((), f"not UTF-8: byte {error.start}")
    except RecursionError:
        checker.fault((), "nested too deeply")
    except ValueError as error:  # TOMLDecodeError, and a plain ValueError for an integer of thousands of digits
        checker.fault((), f"not TOML: {error}")
    site = _check(checker, document)
    if checker.faults:
        raise FeedFileError(checker.faults)
    return site


def site_of(files: HostFiles, feed_file: str | None = None) -> Site:
    """The site's formats and channels: from ``feed_file``, or from the host's own file where it has one.

    Raises:
        FeedFileError: everything that is wrong with the file.
    """
    if feed_file is not None:
        return read_site(feed_file)
    if files.exists(SITE_FILE):
        return read_site(files.path(SITE_FILE))
    return Site(shipped(), {})


def choose_feed(text: str, site: Site) -> tuple[Framing, tuple[Line, ...]]:
    """What ``--feed`` names: ``FORMAT``, ``FORMAT:PORT`` or ``CHANNEL``; the lines are a channel's, none for a format.

    Raises:
        ValueError: neither, a format that the ring does not follow, or no port.
    """
    name, port = split_port(text)
    channel = site.channels.get(name)
    if channel is None:
        if find_format(name, site.formats) is None:
            raise unknown_feed(name, {**site.formats, **site.channels})
        return parse_feed(text, site.formats), ()
    if port:
        raise ValueError(f"channel {name} has its ports in the file; write {name} alone")
    return channel.framing, channel.lines


def _check(checker: Checker, document: Mapping[str, object]) -> Site:
    for key in document:
        if key not in _TABLES:
            checker.unknown((key,), "table" if isinstance(document[key], dict) else "key", _TABLES)
    formats = dict(shipped())
    broken: set[str] = set()
    for name, value in checker.table(("format",), document.get("format", {})).items():
        entry = read_format(checker, name, value)
        if find_format(name, formats) is not None:
            checker.fault(("format", name), "a shipped format has this name", "give yours another")
        elif entry is not None and (both := [each for each in entry.aliases if find_format(each, formats) is not None]):
            checker.fault(("format", name, "aliases"), f"{both[0]} names another format already")
        elif entry is not None:
            formats[name] = entry
        else:
            broken.add(name)
    channels: dict[str, Channel] = {}
    taken: dict[tuple[bytes, int], str] = {}
    for name, value in checker.table(("channel",), document.get("channel", {})).items():
        channel = _channel(checker, name, value, formats, broken, taken)
        if channel is not None:
            channels[name] = channel
    return Site(formats, channels)


def _channel(
    checker: Checker,
    name: str,
    value: object,
    formats: Mapping[str, Format],
    broken: set[str],
    taken: dict[tuple[bytes, int], str],
) -> Channel | None:
    place = ("channel", name)
    before = len(checker.faults)
    table = checker.table(place, value)
    if not NAME.fullmatch(name):
        checker.fault(place, "not a name", "lower-case letters, digits, - and _, at most 64")
    elif find_format(name, formats) is not None or name in ("list", "infer"):
        checker.fault(place, "--feed has another meaning for this name", "give the channel another")
    for key in table:
        if key not in _CHANNEL_KEYS:
            checker.unknown((*place, key), "key", _CHANNEL_KEYS)
    framing = _framing(checker, place, table, formats, broken) if isinstance(value, dict) else None
    found = [_line(checker, (*place, key), table[key], taken) for key in _LINES if key in table]
    lines = [line for line in found if line is not None]
    if "a" not in table and isinstance(value, dict):
        checker.fault((*place, "a"), "missing", 'a = "233.54.12.111:26477"; b is the second line where there is one')
    if framing is None or len(checker.faults) > before:
        return None
    ports = {line.port for line in lines}
    return Channel(name, replace(framing, port=ports.pop() if len(ports) == 1 else 0), tuple(lines))


def _framing(
    checker: Checker, place: tuple[str, ...], table: Mapping[str, object], formats: Mapping[str, Format], broken: set[str]
) -> Framing | None:
    name = table.get("format")
    if not isinstance(name, str):
        checker.fault((*place, "format"), "not the name of a format" if "format" in table else "missing", 'as "moldudp64"')
        return None
    entry = find_format(name, formats)
    if entry is None:
        if name not in broken:  # what is wrong with that one was said
            checker.fault((*place, "format"), str(unknown_feed(name, formats)))
        return None
    try:
        return followed(entry)
    except ValueError as error:
        checker.fault((*place, "format"), str(error))
        return None


def _line(checker: Checker, place: tuple[str, ...], value: object, taken: dict[tuple[bytes, int], str]) -> Line | None:
    found = _endpoint(value) if isinstance(value, str) else None
    if found is None:
        checker.fault(place, "not an address and a UDP port", 'as "233.54.12.111:26477" or "[ff15::1]:26477"')
        return None
    if found in taken:
        checker.fault(place, f"{value} is {taken[found]} already")
        return None
    taken[found] = printable(".".join(place))
    return Line(*found, place[-1].upper())


def _endpoint(text: str) -> tuple[bytes, int] | None:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        return None
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        return None
    scoped = isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None
    if bracketed != (address.version == 6) or address.is_unspecified or scoped:
        return None
    return address.packed, int(port)
