"""The sequence accounting of ``walk.c``: its tables, filled in, and what they tell."""

import ctypes
import mmap
from collections.abc import Iterator

from ingest.histogram import EMPTY
from ingest.rings.counters import ChannelCounters, Followed, StreamCounters
from ingest.rings.layout import STREAMS, Following, Framing, Group
from ingest.rings.native import Arrivals, NativeFraming, NativeLine, Sequences, Stream, Table, load

_MERGED_EACH = 16  # scopes of one channel whose two lines are brought together
_IGNORED, _BEGINS = 1, 2
_NEVER = (1 << 63) - 1
_NO_ARRIVALS = Arrivals()


class NativeSequences:
    """The tables lie in memory that costs nothing before it is touched: a stream takes 11 KiB, a channel 150.

    Several readers fill one table, each with a ``struct sequences`` of its own, at ``addresses``. Whoever wants to know what is
    in it holds stream by stream, as a reader does, and copies it; a single reader is asked between two drains.
    """

    def __init__(self, following: Following, readers: int = 1) -> None:
        self._following = following
        self._native = load()
        self._framings = (NativeFraming * len(following.framings))(*map(_framing, following.framings))
        self._lines = (NativeLine * max(1, len(following.lines)))(*map(_line, following.lines))
        merged_limit = len(following.channels) * _MERGED_EACH
        self._memory = mmap.mmap(-1, STREAMS * ctypes.sizeof(Stream) + merged_limit * ctypes.sizeof(Arrivals))
        self._streams = (Stream * STREAMS).from_buffer(self._memory)
        self._arrivals = (Arrivals * merged_limit).from_buffer(self._memory, STREAMS * ctypes.sizeof(Stream))
        self._table = Table(
            streams=ctypes.addressof(self._streams),
            arrivals=ctypes.addressof(self._arrivals) if merged_limit else None,
            merged_limit=merged_limit,
        )
        self._sequences = [
            Sequences(
                framings=ctypes.addressof(self._framings),
                table=ctypes.addressof(self._table),
                lines=ctypes.addressof(self._lines),
                framing_count=len(following.framings),
                line_count=len(following.lines),
                others=0 if following.others is None else following.others + 1,
                many=readers > 1,
            )
            for _ in range(readers)
        ]
        self.addresses = tuple(map(ctypes.addressof, self._sequences))
        for address in self.addresses:
            self._native.quietcore_walk_prepare(address)

    def followed(self, histograms: bool) -> Followed:
        """See ``ingest.rings.walk.Walker``."""
        streams: list[StreamCounters] = []
        channels: list[ChannelCounters] = []
        for stream, arrivals in self._used(histograms) if len(self._sequences) == 1 else self._copied(histograms):
            if stream.place >> 32:
                channels.append(self._channel(stream, arrivals))
            else:
                streams.append(self._stream(stream, histograms))
        return Followed(
            tuple(sorted(streams, key=lambda s: (s.address, s.port, s.scope))),
            tuple(sorted(channels, key=lambda c: (c.name, c.scope))),
            sum(each.unread for each in self._sequences),
            sum(each.unfollowed for each in self._sequences),
            sum(each.ignored for each in self._sequences),
        )

    def _used(self, _histograms: bool) -> Iterator[tuple[Stream, Arrivals]]:
        for place in range(self._table.used):
            stream = self._streams[place]
            yield stream, self._arrivals[stream.channel - 1] if stream.place >> 32 else _NO_ARRIVALS

    def _copied(self, histograms: bool) -> Iterator[tuple[Stream, Arrivals]]:
        stream, arrivals, place = Stream(), Arrivals(), 0
        at = ctypes.addressof(arrivals) if self._following.channels else None
        while self._native.quietcore_walk_copy(ctypes.addressof(self._table), place, ctypes.addressof(stream), at, histograms):
            yield stream, arrivals
            place += 1

    def _stream(self, native: Stream, histograms: bool) -> StreamCounters:
        framing = self._following.framings[native.framing]
        return StreamCounters(
            address=bytes(native.address)[: 4 if native.place >> 16 == 4 else 16],
            port=native.place & 0xFFFF,
            framing=framing.name,
            scope=native.scope if framing.scope_width else None,
            received=native.received,
            lost=native.lost,
            duplicate=native.duplicate,
            reordered=native.reordered,
            outside=native.outside,
            resets=native.resets,
            heartbeats=native.heartbeats,
            channel=self._following.channels[native.channel - 1] if native.channel else None,
            line="AB"[native.line] if native.channel else "",
            latency=native.latency.read() if histograms else EMPTY,
            sent=native.sent.read() if histograms and framing.time_kind else EMPTY,
            nearest_ns=native.nearest_ns if native.nearest_ns != _NEVER else None,
        )

    def _channel(self, native: Stream, arrivals: Arrivals) -> ChannelCounters:
        framing = self._following.framings[native.framing]
        return ChannelCounters(
            name=self._following.channels[(native.place & 0xFFFFFFFF) - 1],
            scope=native.scope if framing.scope_width else None,
            received=native.received,
            lost=native.lost,
            both=arrivals.both,
            wins=(arrivals.wins[0], arrivals.wins[1]),
            skew=(arrivals.skew[0].read(), arrivals.skew[1].read()),
        )


def _framing(framing: Framing) -> NativeFraming:
    fields = {name for name, *_ in NativeFraming._fields_} & set(Framing.__slots__)
    native = NativeFraming(**{name: getattr(framing, name) for name in fields})
    if framing.flag_width:
        for value in framing.flag_ignored:
            native.flags[value] = _IGNORED
        for value in framing.flag_resets:
            native.flags[value] |= _BEGINS
    else:
        native.flag_offset = 0
    return native


def _line(line: Group) -> NativeLine:
    native = NativeLine(
        place=line.port | (4 if len(line.address) == 4 else 6) << 16,
        framing=line.framing,
        channel=0 if line.channel is None else line.channel + 1,
        line=line.line,
    )
    ctypes.memmove(native.address, line.address, len(line.address))
    return native
