"""``walk.c`` as ctypes sees it: the structures of ``walk.h``, and the library, checked against them."""

import ctypes
from pathlib import Path

from ingest.histogram import BUCKETS, Histogram
from ingest.rings.first_use import compiled
from ingest.rings.layout import GAPS, STREAMS, WINDOW
from ingest.rings.walk import WalkerMissing

ABI = 4
LIBRARY = Path(__file__).with_name("_walk.so")
SLOTS = 4096
ROUTES = 256
_NOTHING_NEXT = (1 << 64) - 1
_STREAM_PADDING = 1
COUNTERS = (
    "packets", "bytes", "truncated", "malformed_frames", "malformed_blocks", "losing", "unstamped",
    "ipv6", "not_ip", "vlan", "fragments", "other_host", "jumbo", "super_frames",
)  # fmt: skip
_U32, _U64 = ctypes.c_uint32, ctypes.c_uint64


class Latencies(ctypes.Structure):
    """struct histogram."""

    _fields_ = (("negative", _U64), ("max_ns", _U64), ("buckets", _U64 * BUCKETS))

    def read(self) -> Histogram:
        """The same as plain data."""
        return Histogram(tuple(self.buckets), self.negative, self.max_ns)


class Ring(ctypes.Structure):
    """struct ring."""

    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("fixed_now_ns", _U64),
        *((name, _U32) for name in ("version", "unit_bytes", "units", "cursor")),
        ("tape", ctypes.c_void_p),
        *((name, _U32) for name in ("stamp_kind", "super_bytes")),
        *((name, _U64) for name in COUNTERS),
        ("latency", Latencies),
    )


class NativeFraming(ctypes.Structure):
    """struct framing."""

    _fields_ = (
        *(
            (name, _U32)
            for name in (
                "port", "sequence_offset", "sequence_width", "count_offset", "count_width", "big_endian", "end_count",
                "scope_offset", "scope_width", "epoch_offset", "epoch_width", "high_offset", "high_mask", "chain_offset",
                "chain_width", "time_offset", "time_kind", "zero_unsequenced", "flag_offset", "epoch_mask",
                "needed", "wide", "common", "epoch_words",
            )
        ),
        ("scope_bits", _U64),
        ("epoch_bits", _U64 * 2),
        ("flags", ctypes.c_uint8 * 256),
    )  # fmt: skip


class Gap(ctypes.Structure):
    """struct gap."""

    _fields_ = (("from_", _U64), ("to", _U64), ("stamp", _U64))


class Stream(ctypes.Structure):
    """struct stream."""

    _fields_ = (
        *((name, _U64) for name in ("next", "newest_stamp")),
        ("session", _U64 * 2),
        *((name, _U64) for name in ("expected", "behind", "marked", "epoch")),
        ("address", ctypes.c_uint8 * 16),
        *((name, _U64) for name in ("place", "scope", "first", "lost", "duplicate", "reordered", "outside", "resets")),
        *((name, _U64) for name in ("heartbeats", "former_epoch", "begun_stamp")),
        *((name, _U32) for name in ("outside_run", "framing", "started", "line", "channel", "merged")),
        ("nearest_ns", ctypes.c_int64),
        ("latency", Latencies),
        ("sent", Latencies),
        ("seen", _U64 * (WINDOW // 64)),
        ("gaps", Gap * GAPS),
        *((name, _U32) for name in ("gap_count", "reserved", "ticket", "turn")),
        ("apart", _U64 * _STREAM_PADDING),
    )

    @property
    def received(self) -> int:
        """Numbers that came: what the walker counts on is the next of them."""
        newest = self.expected if self.next == _NOTHING_NEXT else self.next
        return int(newest - self.behind) & _NOTHING_NEXT


class _Route(ctypes.Structure):
    _fields_ = (("group", _U64), ("stream", ctypes.c_void_p))


class NativeLine(ctypes.Structure):
    """struct line."""

    _fields_ = (
        ("address", ctypes.c_uint8 * 16),
        ("place", _U64),
        *((name, _U32) for name in ("framing", "channel", "line", "reserved")),
    )


class Arrivals(ctypes.Structure):
    """struct arrivals."""

    _fields_ = (
        ("wins", _U64 * 2),
        ("both", _U64),
        ("skew", Latencies * 2),
        ("tag", _U64 * WINDOW),
        ("stamp", _U64 * WINDOW),
        ("line", ctypes.c_uint8 * WINDOW),
    )


class Table(ctypes.Structure):
    """struct table."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("streams", "arrivals")),
        *((name, _U32) for name in ("merged_limit", "used", "merged_used", "adding", "waiting", "reserved")),
        ("stream_slots", ctypes.c_uint16 * SLOTS),
    )


class Sequences(ctypes.Structure):
    """struct sequences."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("framings", "usual", "table", "lines")),
        *((name, _U32) for name in ("framing_count", "line_count", "others", "many")),
        *((name, _U64) for name in ("unread", "unfollowed", "ignored")),
        ("routes", _Route * ROUTES),
        ("line_slots", ctypes.c_uint16 * SLOTS),
        ("held", ctypes.c_uint16 * STREAMS),
        ("holds", _U64 * (STREAMS // 64)),
        *((name, _U32) for name in ("held_count", "reserved")),
    )


class Polled(ctypes.Structure):
    """struct pollfd."""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class Reader(ctypes.Structure):
    """struct reader."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("rings", "polled", "sequences")),
        ("until_ns", _U64),
        ("pause_ns", _U64),
        *((name, _U32) for name in ("count", "failed", "stop", "reserved")),
    )


COUNTERS_AT = Ring.packets.offset
COUNTERS_BYTES = ctypes.sizeof(Ring) - COUNTERS_AT
_STRUCTURES = (Ring, Reader, Sequences, NativeFraming, Stream, NativeLine, Arrivals, Table)


def load(library: Path = LIBRARY) -> ctypes.CDLL:
    """The library, checked against this file; compiled now where it was not built.

    Raises:
        WalkerMissing: it is not there and cannot be compiled, does not load, or is another version's.
    """
    if library == LIBRARY and not library.exists():
        library = compiled() or library
    try:
        native = ctypes.CDLL(str(library))
        native.quietcore_walk_abi.restype = _U32
        abi = native.quietcore_walk_abi()
        sizes = tuple(native.quietcore_walk_size(which) for which in range(len(_STRUCTURES)))
    except (OSError, AttributeError) as error:
        raise WalkerMissing("the native walker is not built, and there is no C compiler") from error
    if abi != ABI or sizes != tuple(map(ctypes.sizeof, _STRUCTURES)):
        raise WalkerMissing(f"the native walker is of another version (ABI {abi}, not {ABI}); install again")
    native.quietcore_walk_prepare.argtypes = (ctypes.c_void_p,)
    native.quietcore_walk_drain.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    native.quietcore_walk_drain.restype = _U64
    native.quietcore_walk_bucket.argtypes = (_U64,)
    native.quietcore_walk_bucket.restype = _U32
    native.quietcore_walk_run.argtypes = (ctypes.c_void_p,)
    native.quietcore_walk_run.restype = ctypes.c_int
    native.quietcore_walk_copy.argtypes = (ctypes.c_void_p, _U32, ctypes.c_void_p, ctypes.c_void_p, _U32)
    native.quietcore_walk_copy.restype = _U32
    return native
