"""/proc/softirqs: deferred work per CPU, by kind. Columns are the *possible* CPUs (fs/proc/softirqs.c); 32-bit counts."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Softirqs:
    """``rows`` maps the kind (``NET_RX``) to counts in the order of ``cpus``."""

    cpus: tuple[int, ...]
    rows: Mapping[str, tuple[int, ...]]


def parse(raw: bytes) -> Softirqs:
    """The table; a line that is no row is left out."""
    header, _, body = raw.partition(b"\n")
    cpus = _columns(header)
    rows = {}
    for line in body.split(b"\n"):
        row = _row(line, len(cpus))
        if row is not None:
            rows[row[0]] = row[1]
    return Softirqs(cpus, rows)


@functools.lru_cache(maxsize=8)
def _columns(header: bytes) -> tuple[int, ...]:
    return tuple(int(word[3:]) for word in header.split() if word.startswith(b"CPU") and word[3:].isdigit())


@functools.lru_cache(maxsize=16)  # some kinds never move
def _row(line: bytes, columns: int) -> tuple[str, tuple[int, ...]] | None:
    label, colon, rest = line.partition(b":")
    counts = rest.split()
    if not colon or not counts or len(counts) < columns or not b"".join(counts).isdigit():
        return None
    return label.strip().decode("ascii", "replace"), tuple(map(int, counts[:columns]))
