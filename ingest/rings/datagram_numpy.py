"""Sequence accounting of many datagrams at once: a row of numbers that follow each other is one step of its stream.

Whatever does not follow goes through ``SequencedStream`` number by number, and what is no plain datagram through
``datagram_python.py``, both in the order of arrival within a stream: the outcome is that of the walker in Python.
"""

import sys
from collections.abc import Callable, Iterable

import numpy as np

from ingest.histogram import BUCKETS
from ingest.rings.counters import Followed
from ingest.rings.datagram_python import Sequences, is_narrow, whole
from ingest.rings.frames_numpy import LATE, SLOTS, Column, Frames, Words, buckets_of, count_of, word
from ingest.rings.layout import STREAMS, Following, Framing
from ingest.rings.sequence_columns import Numbered, PayloadReader, by_stream, is_constant
from ingest.rings.sequence_python import Latencies, Numbers, SequencedStream

_GROUP = word(0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF)  # destination address and port, from the address on
_WAYS = 4096  # groups whose framing is remembered
_NOWHERE = STREAMS  # the place of datagrams that are not followed

One = Callable[[int], None]
_Way = tuple[PayloadReader, bool]
_Piece = tuple[PayloadReader, Column, Words]  # places and keys of datagrams


class _Spread:
    """The latencies of all streams, a row for each; ``UNTIMED`` and ``LATE`` both count as having none."""

    def __init__(self) -> None:
        self._counts = np.zeros((STREAMS + 1) * SLOTS, np.int64)  # pages that no stream touches cost nothing
        self._max_ns = np.full(STREAMS + 1, -1, np.int64)

    def add(self, places: Column, buckets: Column, values_ns: Column) -> None:
        """A value of the stream at each place."""
        np.add.at(self._counts, places * SLOTS + buckets, 1)
        np.maximum.at(self._max_ns, places, values_ns)

    def add_to_one(self, place: int, buckets: Column, values_ns: Column) -> None:
        """Values of one stream."""
        self._counts[place * SLOTS : (place + 1) * SLOTS] += np.bincount(buckets, minlength=SLOTS)
        self._max_ns[place] = max(self._max_ns[place], np.maximum.reduce(values_ns))

    def move_to(self, place: int, latencies: Latencies) -> None:
        """Puts what was counted for one stream where it is read."""
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
        self._ways: dict[int, _Way | None] = {}
        self._known: dict[tuple[int, int], tuple[SequencedStream, int]] = {}  # by key and scope; its place among the spreads
        self._latencies, self._sent = _Spread(), _Spread()

    def columns(self, frames: Frames, first: int, end: int, now_ns: int, one: One) -> None:
        """The datagrams among the frames from ``first`` on and before ``end``; ``one`` follows that of one frame."""
        at: Column | None = None
        keys: Words = frames.words.word((frames.net >> 3) + 2) & _GROUP
        if not (frames.all_usual and end - first == frames.count):
            at = frames.usual[first:end].nonzero()[0] + first
            if not at.size:
                return
            keys = keys[at]
        order = by_stream(keys)
        if order is not None:
            at, keys = order if at is None else at[order], keys[order]
        numbered, by_hand = self._read(frames, at, keys)
        if not self._room_for(frames, numbered, by_hand):
            numbered = []
            for place in np.sort(np.arange(frames.count) if at is None else at).tolist():
                one(place)
        elif by_hand:
            for place in np.sort(np.concatenate([places for _, places, _ in by_hand])).tolist():
                one(place)
        for each in numbered:
            self._follow_rows(each, frames, now_ns)

    def leave_unread(self, datagrams: int) -> None:
        """Counts datagrams that are fragments, or cut within their headers."""
        self._unread += datagrams

    def _read(self, frames: Frames, at: Column | None, keys: Words) -> tuple[list[Numbered], list[_Piece]]:
        """Reads the datagrams by framing; those that have to be followed one by one are the second list."""
        bounds = [0] if at is None else [0, *((keys[1:] != keys[:-1]).nonzero()[0] + 1).tolist()]
        pieces: dict[_Way, list[slice]] = {}
        for start, end in zip(bounds, [*bounds[1:], keys.size], strict=True):
            way = self._way(int(keys[start]))
            if way is not None:
                pieces.setdefault(way, []).append(slice(start, end))
        numbered: list[Numbered] = []
        by_hand: list[_Piece] = []
        for (reader, one_by_one), slices in pieces.items():
            mine, its = at, keys
            if len(slices) < len(bounds) and at is not None:
                mine, its = (np.concatenate([column[piece] for piece in slices]) for column in (at, keys))
            if one_by_one:
                by_hand.append((reader, np.arange(frames.count) if mine is None else mine, its))
            else:
                numbered.append(reader.read(frames, mine, its))
        return numbered, by_hand

    def _way(self, key: int) -> _Way | None:
        """Who reads a group's datagrams, and whether they are followed one by one; None: they are not followed."""
        if key not in self._ways:
            if len(self._ways) >= _WAYS:
                self._ways.clear()
            address, port = _destination(key)
            line = self._lines.get((address, port))
            reading = self._reading(line, port)
            way = None
            if reading is not None:
                reader = self._readers[self._readings.index(reading)]
                way = reader, not reader.reads or (line is not None and line.channel is not None)
            self._ways[key] = way
        return self._ways[key]

    def _room_for(self, frames: Frames, numbered: list[Numbered], by_hand: list[_Piece]) -> bool:
        """Whether it makes no difference in which order these streams begin: there is room for all of them, or for none."""
        room = STREAMS - len(self._streams) - len(self._channels)
        rows = sum(each.starts.size for each in numbered) + 2 * sum(places.size for _, places, _ in by_hand)
        if room <= 0 or rows <= room:
            return True
        begun = {pair for each in numbered for pair in _keys(each)}
        several = 0
        for reader, places, keys in by_hand:  # each may begin a stream, and a channel with it
            scopes = reader.scopes(frames, places)
            if scopes is None:
                several += 2 * places.size
            else:
                its = set(zip(keys.tolist(), scopes.tolist(), strict=True))
                begun |= its
                several += len(its)
        names = {(*_destination(key), scope) for key, scope in begun}
        return several + len(names - self._streams.keys()) <= room

    def _follow_rows(self, numbered: Numbered, frames: Frames, now_ns: int) -> None:
        self._unread += numbered.unread
        self._ignored += numbered.ignored
        if not numbered.keys.size:
            return
        starts = numbered.starts.tolist()
        ends = [*starts[1:], numbered.keys.size]
        rows = _Rows(numbered, frames)
        places: list[int] = []
        streams: list[SequencedStream | None] = []
        for (key, scope), start, end in zip(_keys(numbered), starts, ends, strict=True):
            stream, place = self._known.get((key, scope)) or self._begun(key, scope, numbered.framing)
            streams.append(stream)
            places.append(place)
            if stream is None:
                self._unfollowed += end - start
            else:
                rows.follow(stream, start, end)
        buckets, latencies = numbered.picked(frames.bucket), numbered.picked(frames.latency)
        if len(set(places)) == 1:
            self._latencies.add_to_one(places[0], buckets, latencies)
        else:
            self._latencies.add(np.repeat(places, np.diff(numbered.starts, append=numbered.keys.size)), buckets, latencies)
        if numbered.sent is not None:
            self._send_times(numbered, numbered.sent, places, streams, now_ns)

    def _begun(self, key: int, scope: int, framing: Framing) -> tuple[SequencedStream | None, int]:
        name = (*_destination(key), scope)
        if name not in self._streams:
            if len(self._streams) + len(self._channels) >= STREAMS:
                return None, _NOWHERE
            self._streams[name] = (SequencedStream(), framing, self._lines.get(name[:2]))
        known = self._known[key, scope] = (self._streams[name][0], len(self._known))
        return known

    def _send_times(
        self, numbered: Numbered, sent: Words, places: list[int], streams: list[SequencedStream | None], now_ns: int
    ) -> None:
        difference = (np.uint64(now_ns) - sent).view(np.int64)
        told = sent != 0
        nearest = np.minimum.reduceat(np.where(told, difference, np.iinfo(np.int64).max), numbered.starts)
        some = np.logical_or.reduceat(told, numbered.starts)
        for stream, least, any_told in zip(streams, nearest.tolist(), some.tolist(), strict=True):
            if stream is not None and any_told:
                stream.nearest_ns = least if stream.nearest_ns is None else min(stream.nearest_ns, least)
        spread = np.repeat(places, np.diff(numbered.starts, append=numbered.keys.size))
        difference = difference[told]
        self._sent.add(spread[told], buckets_of(difference), difference)

    def followed(self, histograms: bool = True) -> Followed:
        """See ``ingest.rings.walk.Walker``."""
        if histograms:
            for stream, place in self._known.values():
                self._latencies.move_to(place, stream.latency)
                self._sent.move_to(place, stream.sent)
        return super().followed(histograms)


def _destination(key: int) -> tuple[bytes, int]:
    lies = key.to_bytes(8, sys.byteorder)
    return lies[:4], int.from_bytes(lies[6:], "big")


def _keys(numbered: Numbered) -> Iterable[tuple[int, int]]:
    """Group and scope of each row."""
    keys = numbered.keys[numbered.starts].tolist()
    return zip(keys, [0] * len(keys) if numbered.scopes is None else numbered.scopes[numbered.starts].tolist(), strict=True)


class _Rows:
    """Rows of datagrams that follow each other."""

    def __init__(self, numbered: Numbered, frames: Frames) -> None:
        self._numbered, self._frames = numbered, frames
        self._narrow = is_narrow(numbered.framing)
        self._epoch = numbered.epoch_of(0) if all(map(is_constant, numbered.epoch)) else None
        self._totals = np.cumsum(numbered.count)  # of the counts up to each, and of the datagrams without a number
        silent = numbered.count == 0
        self._silent = np.cumsum(silent) if count_of(silent) else None

    def follow(self, stream: SequencedStream, start: int, end: int) -> None:
        """One by one until they are what the stream expects, then all others at once."""
        numbered = self._numbered
        epoch = numbered.epoch_of(start) if self._epoch is None else self._epoch
        for at in range(start, end):
            sequence, count = int(numbered.sequence[at]), int(numbered.count[at])
            if self._narrow:
                sequence = whole(stream, sequence)
            if stream.started and sequence == stream.expected and epoch == stream.epoch:
                heartbeats = 0 if self._silent is None else int(self._silent[end - 1] - self._silent[at]) + (count == 0)
                stream.go_on(int(self._totals[end - 1] - self._totals[at]) + count, heartbeats, self._stamp(end - 1))
                return
            begins = numbered.begins is not None and bool(numbered.begins[at])
            stream.follow(Numbers(sequence, count, epoch, self._stamp(at), begins))

    def _stamp(self, row: int) -> int:
        return int(self._frames.stamp[row if self._numbered.at is None else self._numbered.at[row]])
