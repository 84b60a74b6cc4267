"""``quietcore ring --feed``: what a feed may be called, the table of formats, and inference from what comes in."""

import argparse
import ipaddress
from collections.abc import Sequence
from typing import Any

from ingest.feeds.channels import Site, choose_feed, site_of
from ingest.feeds.format_table import CHECKED, Format
from ingest.feeds.formats import find_format, shipped, split_port
from ingest.feeds.inference import NAME, SAMPLE, Certainty, Hypothesis, Inference, as_table, infer
from ingest.feeds.sampling import Stream, take_sample
from ingest.rings.layout import Following, Group
from tuner.host.files import HostFiles
from ui.cli.output import emit, say
from ui.cli.table import table

SECONDS = 10.0  # of a sample that nobody limits


def followed_feed(arguments: argparse.Namespace) -> Following:
    """What ``--feed`` names: all datagrams of a format, or a channel's two lines. A shipped format needs no file of the site.

    Raises:
        ValueError: an unknown name, or a file that cannot be used; the text names every fault of it.
    """
    name, _ = split_port(arguments.feed)
    site = Site(shipped(), {})
    if arguments.feed_file is not None or find_format(name, site.formats) is None:
        site = _site(arguments)
    framing, lines = choose_feed(arguments.feed, site)
    if not lines:
        return Following((framing,))
    groups = tuple(Group(line.address, line.port, 0, 0, "AB".index(line.name)) for line in lines)
    return Following((framing,), None, groups, (name,))


def print_formats(arguments: argparse.Namespace) -> int:
    """``--feed list``: every format and channel that may be named.

    Raises:
        ValueError: the site's file cannot be used.
    """
    site = _site(arguments)
    if arguments.json:
        emit({"command": "ring", "formats": [_format_record(f) for f in site.formats.values()], "channels": _channels(site)})
        return 0
    rows = [format_row(entry) for entry in site.formats.values()]
    print(table(("format", "numbers", "checked by", "used by"), [(row[0], row[1], row[-1], row[2]) for row in rows]))
    channels = _channels(site)
    if channels:
        lines = [(c["channel"], c["format"], ", ".join(f"{x['line']} {x['stream']}" for x in c["lines"])) for c in channels]
        print("\n" + table(("channel", "format", "lines"), lines))
    say("docs/feeds.md has where each header holds what; --feed infer guesses the format of what comes in")
    return 0


def format_row(entry: Format) -> tuple[str, str, str, str]:
    """(name, what is numbered, who uses it, how it was checked) of a format, for people."""
    if entry.framing is None:
        numbers = "TCP: not followed"
    elif entry.framing.count_width or entry.framing.chain_width:
        numbers = "messages"
    else:
        numbers = "datagrams"
    return entry.name, numbers, entry.used_by, ", ".join(CHECKED[each] for each in entry.checked) or "not said"


def _format_record(entry: Format) -> dict[str, Any]:
    return {
        "format": entry.name,
        "aliases": list(entry.aliases),
        "numbers": format_row(entry)[1],
        "used_by": entry.used_by,
        "checked": list(entry.checked),
        "note": entry.note,
        "refusal": entry.refusal or None,
    }


def _channels(site: Site) -> list[dict[str, Any]]:
    return [
        {
            "channel": channel.name,
            "format": channel.framing.name,
            "lines": [{"line": line.name, "stream": str(line)} for line in channel.lines],
        }
        for channel in site.channels.values()
    ]


def _site(arguments: argparse.Namespace) -> Site:
    return site_of(HostFiles(arguments.root or "/"), arguments.feed_file)


def print_inference(arguments: argparse.Namespace, ifname: str) -> int:
    """``--feed infer``: samples what comes in and says what it looks like; follows nothing. 1 where no datagram came.

    Raises:
        SampleError: nothing can be read from this interface.
        ValueError: what stands behind ``infer:`` is no port.
    """
    _, port = split_port(arguments.feed)
    formats = _site(arguments).formats
    seconds = arguments.seconds or SECONDS
    if not arguments.json:
        say(f"sampling packet:{ifname} for up to {seconds:g} s, or {SAMPLE:,} datagrams of each stream")
    streams = take_sample(ifname, port, seconds, SAMPLE)
    if not streams:
        say(f"quietcore ring: no UDP datagram{f' to port {port}' if port else ''} came in {seconds:g} s")
    inferred = [(stream, infer(stream.payloads, formats)) for stream in streams]
    if arguments.json:
        emit({"command": "ring", "source": f"packet:{ifname}", "inferred": [_record(*each) for each in inferred]})
    elif inferred:
        print("\n\n".join(inference_text(*each) for each in inferred))
    return 0 if streams else 1


def inference_text(stream: Stream, inference: Inference) -> str:
    """What one stream looks like, and that this is a guess."""
    name, best = _stream_name(stream), inference.best
    if best is None:
        few = f"only {inference.datagrams} different datagrams" if inference.datagrams < 100 else "no numbering was found"
        return f"{name}: inferred nothing from {len(stream.payloads):,} datagrams: {few}"
    lines = [
        f"{name}: INFERRED, not known: {best}",
        f"  on {best.accounted:,} of {inference.datagrams:,} datagrams: {best.gaps:,} gaps, {best.missing:,} numbers missing, "
        f"{best.late:,} late, none backwards" + (f"; {best.scopes} parallel numberings" if best.scopes > 1 else ""),
        f"  how sure: {inference.certainty.value}{_others(inference.also)}",
    ]
    if inference.one_each:
        lines.append("  every datagram held one number: whether a count lies somewhere, this sample cannot tell")
    if best.known:
        lines.append(f"  to follow it: --feed {best.framing.name}:{stream.port}")
    else:
        lines.append("  to follow it, check it, give it a name and put it into /etc/quietcore/feeds.toml:")
        lines += [f"    {line}" for line in as_table(best.framing, NAME).splitlines()]
    return "\n".join(lines)


def _others(also: Sequence[Hypothesis], most: int = 3) -> str:
    if not also:
        return ""
    more = f", and {len(also) - most} more" if len(also) > most else ""
    return ": " + "; ".join(str(each) for each in also[:most]) + more


def _record(stream: Stream, inference: Inference) -> dict[str, Any]:
    best = inference.best
    return {
        "stream": _stream_name(stream),
        "datagrams": len(stream.payloads),
        "certainty": inference.certainty.name.lower(),
        "one_each": inference.one_each,
        "best": None if best is None else _hypothesis(best),
        "also": [_hypothesis(each) for each in inference.also] if inference.certainty is not Certainty.NOTHING else [],
    }


def _hypothesis(each: Hypothesis) -> dict[str, Any]:
    framing = each.framing
    return {
        "format": framing.name if each.known else None,
        "sequence": {"at": framing.sequence_offset, "bytes": framing.sequence_width},
        "count": {"at": framing.count_offset, "bytes": framing.count_width} if framing.count_width else None,
        "endian": "big" if framing.big_endian else "little",
        "accounted": each.accounted,
        "gaps": each.gaps,
        "missing": each.missing,
        "late": each.late,
        "alike": each.alike,
    }


def _stream_name(stream: Stream) -> str:
    address = ipaddress.ip_address(stream.address)
    return f"[{address}]:{stream.port}" if address.version == 6 else f"{address}:{stream.port}"
