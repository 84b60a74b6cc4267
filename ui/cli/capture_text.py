"""Capture files for people: what one says besides its packets, and what was written to one."""

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.rings.capture_facts import CaptureFacts
    from ingest.rings.counters import Written


def capture_lines(facts: "CaptureFacts") -> list[str]:
    """The file, its span of time, and what in it was not looked into."""
    sections = f", {facts.sections} sections" if facts.sections > 1 else ""
    lines = [f"{facts.format} {facts.version}{sections}, {facts.read:,} of {facts.bytes:,} bytes read"]
    if facts.first_ns is not None and facts.last_ns is not None:
        lines.append(f"{_stamp(facts.first_ns)} to {_stamp(facts.last_ns)}")
    lines += [
        f"{each.packets:,} packets ({each.bytes:,} bytes) of link type {each.name}, which is not decoded"
        for each in facts.undecoded
    ]
    return lines


def written_lines(written: "Written") -> list[str]:
    """The file that was written, and why packets are not in it."""
    lines = [f"{written.packets:,} packets written to {written.file}, {written.bytes:,} bytes"]
    if written.lost:
        lines.append(f"{written.lost:,} packets not written: the file was too slow")
    if written.ended:
        lines.append(f"writing ended early: {written.ended}; {written.after:,} packets came after that")
    return lines


def _stamp(stamp_ns: int) -> str:
    """UTC with nanoseconds."""
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    time = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return f"{time:%Y-%m-%d %H:%M:%S}.{rest:09d} UTC"
