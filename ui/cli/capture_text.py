"""What a capture file says besides its packets, for people."""

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.rings.capture_facts import CaptureFacts


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


def _stamp(stamp_ns: int) -> str:
    """UTC with nanoseconds."""
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    time = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return f"{time:%Y-%m-%d %H:%M:%S}.{rest:09d} UTC"
