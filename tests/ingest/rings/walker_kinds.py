"""The walkers side by side, over copies of the same memory."""

from dataclasses import replace

import pytest
from ring_images import NOW_NS

from ingest.rings.layout import Area, Following
from ingest.rings.walk import Walker, WalkerMissing
from ingest.rings.walk_native import NativeWalker
from ingest.rings.walk_numpy import NumpyWalker
from ingest.rings.walk_python import PythonWalker


class EveryColumn(NumpyWalker):
    """Reads even a single packet as a column, and never many at once."""

    few, many = 1, 7


KINDS: dict[str, type[Walker]] = {
    "native": NativeWalker,
    "numpy": NumpyWalker,
    "columns": EveryColumn,
    "python": PythonWalker,
}


def native_or_skip() -> None:
    from ingest.rings.native import load

    try:
        load()
    except WalkerMissing as missing:
        pytest.skip(str(missing))


def agreed(areas: list[Area], following: Following | None) -> tuple[object, ...]:
    """What all walkers say, each with memory of its own."""
    native_or_skip()
    native = outcome(NativeWalker, areas, following)
    for kind in (PythonWalker, NumpyWalker, EveryColumn):
        assert outcome(kind, areas, following) == native, kind
    return native


def outcome(kind: type[Walker], areas: list[Area], framing: Following | None) -> tuple[object, ...]:
    copies = [replace(area, memory=bytearray(area.memory)) for area in areas]
    walker = kind(copies, framing, NOW_NS)
    drained = (walker.drain(), walker.drain())
    walked, followed = walker.take(), walker.followed()
    walker.close()
    return drained, walked, followed, [bytes(copy.memory) for copy in copies]
