"""Sequence accounting of many datagrams at once: a row of numbers that follow each other is one step of its stream.

Whatever does not follow goes through ``SequencedStream`` number by number, and what is no plain datagram through
``datagram_python.py``, both in the order of arrival within a stream: the outcome is that of the walker in Python.
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ingest.histogram import BUCKETS
from ingest.rings.counters import Followed
from ingest.rings.datagram_python import Sequences, is_narrow, whole
from ingest.rings.frames_numpy import LATE, SLOTS, Column, Frames, buckets_of, wire
from ingest.rings.layout import STREAMS, Following, Framing, Group
from ingest.rings.sequence_columns import Numbered, PayloadReader, Words, by_stream
from ingest.rings.sequence_python import Latencies, Numbers, SequencedStream

_GROUP = wire(0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF)  # destination address and port, from the address on
_ROUTES = 4096  # groups whose framing is remembered
_NOWHERE = STREAMS  # the place of datagrams that are not followed

One = Callable[[int], None]


class _Spread:
    """The latencies of all streams, a row for each; ``UNTIMED`` and ``LATE`` both count as having none."""

    def __init__(self) -> None:
        self._counts = np.zeros((STREAMS + 1) * SLOTS, np.int64)  # pages that no stream touches cost nothing
        self._max_ns = np.full(STREAMS + 1, -1, np.int64)

    def add(self, places: Column, buckets: Column, values_ns: Column) -> None:
        np.add.at(self._counts, places * SLOTS + buckets, 1)
        np.maximum.at(self._max_ns, places, values_ns)

    def move_to(self, place: int, latencies: Latencies) -> None:
        counts = self._counts[place * SLOTS : (place + 1) * SLOTS]
        if counts.any():
            latencies.add_counted(counts[:BUCKETS].tolist(), int(counts[LATE:].sum()), max(0, int(self._max_ns[place])))
            counts[:] = 0
            self._max_ns[place] = -1


class ColumnSequences(Sequences):
    """``Sequences`` that also takes datagrams as columns."""

    def __init__(self, following: Following) -> None:
        super().__init__(following)
        self._readers = [PayloadReader(framing) for framing in following.framings]
        self.reach = max((reader.reach for reader in self._readers if reader.reads), default=0)
        self._routes: dict[int, tuple[PayloadReader | None, Framing, Group | None] | None] = {}
        self._places: dict[tuple[bytes, int, int], int] = {}
        self._latencies, self._sent = _Spread(), _Spread()

    def columns(self, frames: Frames, first: int, end: int, now_ns: int, one: One) -> None:
        """The datagrams among the frames from ``first`` on and before ``end``; ``one`` follows that of one frame."""
        at: Column = np.flatnonzero(frames.usual[first:end])
        if not at.size:
            return
        at += first
        keys: Words = frames.rows.field(frames.net + 16, "=u8")[at] & np.uint64(_GROUP)
        order = by_stream(keys)
        if order is not None:
            at, keys = at[order], keys[order]
        numbered, by_hand = self._read(frames, at, keys)
        if not self._room_for(numbered, sum(places.size for places in by_hand)):
            by_hand, numbered = [at], []
        if by_hand:
            for place in np.sort(np.concatenate(by_hand)).tolist():
                one(place)
        for each in numbered:
            self._follow_rows(each, frames, now_ns)

    def leave_unread(self, datagrams: int) -> None:
        """Counts datagrams that are fragments, or cut within their headers."""
        self._unread += datagrams

    def _read(self, frames: Frames, at: Column, keys: Words) -> tuple[list[Numbered], list[Column]]:
        """Reads the datagrams by framing; those that cannot be read as columns are the second list."""
        bounds = np.flatnonzero(keys[1:] != keys[:-1]) + 1
        starts, ends = [0, *bounds.tolist()], [*bounds.tolist(), keys.size]
        pieces: dict[PayloadReader | None, list[slice]] = {}
        for start, end in zip(starts, ends, strict=True):
            route = self._route(int(keys[start]))
            if route is not None:
                pieces.setdefault(route[0], []).append(slice(start, end))
        by_hand = [at[piece] for piece in pieces.pop(None, [])]
        numbered = []
        for reader, slices in pieces.items():
            if reader is not None:
                mine, its = (np.concatenate([column[piece] for piece in slices]) for column in (at, keys))
                numbered.append(reader.read(frames, mine, its))
        return numbered, by_hand

    def _route(self, key: int) -> tuple[PayloadReader | None, Framing, Group | None] | None:
        """How a group's datagrams are read (None: one by one), by which framing, on which line; None: not at all."""
        if key not in self._routes:
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            address, port = _destination(key)
            line = self._lines.get((address, port))
            framing = self._framing(line, port)
            if framing is None:
                self._routes[key] = None
            else:
                reader = self._readers[self._following.framings.index(framing)]
                by_hand = not reader.reads or (line is not None and line.channel is not None)
                self._routes[key] = (None if by_hand else reader, framing, line)
        return self._routes[key]

    def _room_for(self, numbered: list[Numbered], by_hand: int) -> bool:
        """Whether it makes no difference in which order these streams begin: there is room for all of them, or for none."""
        room = STREAMS - len(self._streams) - len(self._channels)
        if room <= 0:
            return True
        begun = {key for each in numbered for key in _keys(each)}
        return 2 * by_hand + len(begun - self._streams.keys()) <= room

    def _follow_rows(self, numbered: Numbered, frames: Frames, now_ns: int) -> None:
        self._unread += numbered.unread
        self._ignored += numbered.ignored
        if not numbered.at.size:
            return
        starts = numbered.starts
        sizes = np.diff(starts, append=numbered.at.size)
        stamps = frames.stamp[numbered.at]
        totals, silent = np.cumsum(numbered.count), np.cumsum(numbered.count == 0)
        places: list[int] = []
        streams: list[SequencedStream | None] = []
        for key, start, size in zip(_keys(numbered), starts.tolist(), sizes.tolist(), strict=True):
            stream = self._begun(key, numbered)
            streams.append(stream)
            places.append(self._places.setdefault(key, len(self._places)) if stream is not None else _NOWHERE)
            if stream is None:
                self._unfollowed += size
            else:
                _follow_row(stream, numbered, start, start + size, stamps, totals, silent)
        spread = np.repeat(np.array(places, np.int64), sizes)
        self._latencies.add(spread, frames.bucket[numbered.at], frames.latency[numbered.at])
        if numbered.sent is not None:
            self._send_times(numbered, spread, streams, now_ns)

    def _begun(self, key: tuple[bytes, int, int], numbered: Numbered) -> SequencedStream | None:
        found = self._streams.get(key)
        if found is None:
            if len(self._streams) + len(self._channels) >= STREAMS:
                return None
            found = self._streams[key] = (SequencedStream(), numbered.framing, self._lines.get(key[:2]))
        return found[0]

    def _send_times(self, numbered: Numbered, spread: Column, streams: list[SequencedStream | None], now_ns: int) -> None:
        if numbered.sent is None:
            return
        difference = (np.uint64(now_ns) - numbered.sent).view(np.int64)
        told = numbered.sent != 0
        nearest = np.minimum.reduceat(np.where(told, difference, np.iinfo(np.int64).max), numbered.starts)
        some = np.logical_or.reduceat(told, numbered.starts)
        for stream, least, any_told in zip(streams, nearest.tolist(), some.tolist(), strict=True):
            if stream is not None and any_told:
                stream.nearest_ns = least if stream.nearest_ns is None else min(stream.nearest_ns, least)
        difference = difference[told]
        self._sent.add(spread[told], buckets_of(difference), difference)

    def followed(self, histograms: bool = True) -> Followed:
        """See ``ingest.rings.walk.Walker``."""
        if histograms:
            for key, place in self._places.items():
                stream = self._streams[key][0]
                self._latencies.move_to(place, stream.latency)
                self._sent.move_to(place, stream.sent)
        return super().followed(histograms)


def _destination(key: int) -> tuple[bytes, int]:
    lies = key.to_bytes(8, sys.byteorder)
    return lies[:4], int.from_bytes(lies[6:], "big")


def _keys(numbered: Numbered) -> Iterator[tuple[bytes, int, int]]:
    """Address, port and scope of each row."""
    keys = numbered.keys[numbered.starts].tolist()
    scopes = numbered.scopes[numbered.starts].tolist() if numbered.scopes is not None else [0] * len(keys)
    return ((*_destination(key), scope) for key, scope in zip(keys, scopes, strict=True))


def _follow_row(
    stream: SequencedStream,
    numbered: Numbered,
    start: int,
    end: int,
    stamps: Column,
    totals: NDArray[np.int64],
    silent: NDArray[np.int64],
) -> None:
    """Datagrams that follow each other: one by one until they are what the stream expects, then all others at once.

    ``totals`` and ``silent`` add up the counts, and the datagrams without a number, up to and with each.
    """
    epoch = numbered.epoch_of(start)
    narrow = is_narrow(numbered.framing)
    for at in range(start, end):
        sequence, count = int(numbered.sequence[at]), int(numbered.count[at])
        if narrow:
            sequence = whole(stream, sequence)
        if stream.started and sequence == stream.expected and epoch == stream.epoch:
            heartbeats = int(silent[end - 1] - silent[at]) + (count == 0)
            stream.go_on(int(totals[end - 1] - totals[at]) + count, heartbeats, int(stamps[end - 1]))
            return
        begins = numbered.begins is not None and bool(numbered.begins[at])
        stream.follow(Numbers(sequence, count, epoch, int(stamps[at]), begins))
