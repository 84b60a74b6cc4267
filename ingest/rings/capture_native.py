"""The native walker of capture files: ``capture.h`` behind ctypes, with the rings' counters and sequence accounting."""

import ctypes

from ingest.rings.capture_facts import INTERFACES, UNDECODED, CaptureEnd, CaptureFacts, Undecoded
from ingest.rings.layout import Following
from ingest.rings.native import Ring
from ingest.rings.walk import WalkerMissing
from ingest.rings.walk_native import NativeWalker

_FORMATS = {0: "", 1: "pcap", 2: "pcapng"}


class _Undecoded(ctypes.Structure):
    _fields_ = (
        ("packets", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("link_type", ctypes.c_uint32),
        ("used", ctypes.c_uint32),
    )


class _Interface(ctypes.Structure):
    _fields_ = (
        ("units", ctypes.c_uint64),
        ("multiply", ctypes.c_uint64),
        ("divide", ctypes.c_uint64),
        ("plain", ctypes.c_uint64),
        ("offset_s", ctypes.c_int64),
        ("drops", ctypes.c_uint64),
        ("link_type", ctypes.c_uint32),
        ("snap_bytes", ctypes.c_uint32),
        ("shift", ctypes.c_uint32),
        ("link_bytes", ctypes.c_int32),
    )


class _Capture(ctypes.Structure):
    _fields_ = (
        ("piece", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
        ("left", ctypes.c_uint64),
        ("capacity", ctypes.c_uint64),
        ("stamped", ctypes.c_uint64),
        ("first_ns", ctypes.c_uint64),
        ("last_ns", ctypes.c_uint64),
        ("drops", ctypes.c_uint64),
        ("sections", ctypes.c_uint64),
        ("format", ctypes.c_uint32),
        ("swapped", ctypes.c_uint32),
        ("nanoseconds", ctypes.c_uint32),
        ("trailer", ctypes.c_uint32),
        ("ended", ctypes.c_uint32),
        ("interfaces", ctypes.c_uint32),
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("undecoded", _Undecoded * UNDECODED),
        ("interface", _Interface * INTERFACES),
    )


class NativeCaptureWalker(NativeWalker):
    """See ``ingest.rings.capture_walk.CaptureWalker``.

    A ring without memory holds the counters.
    """

    def __init__(self, buffer: bytearray, following: Following | None = None) -> None:
        super().__init__([], following)
        self._rings = (Ring * 1)()
        self._rings[0].version = 3
        self._addresses = [ctypes.addressof(self._rings[0])]
        try:
            self._native.quietcore_walk_capture.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
            self._native.quietcore_walk_capture.restype = ctypes.c_uint64
            self._native.quietcore_walk_capture_size.restype = ctypes.c_uint32
            size = self._native.quietcore_walk_capture_size()
        except AttributeError as error:
            raise WalkerMissing("the native walker is of an older version, without capture files; install again") from error
        if size != ctypes.sizeof(_Capture):
            raise WalkerMissing("the native walker is of another version; install again")
        self._buffer = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        self._held.append(self._buffer)
        self._capture = _Capture(piece=ctypes.addressof(self._buffer), capacity=len(buffer))

    def walk(self, size: int, left: int) -> int:
        """See CaptureWalker."""
        if not 0 <= size <= min(left, len(self._buffer)):
            raise ValueError(f"no piece of {size} bytes with {left} left")
        self._capture.size, self._capture.left = size, left
        capture = ctypes.addressof(self._capture)
        return int(self._native.quietcore_walk_capture(capture, self._addresses[0], self._followed))

    @property
    def ended(self) -> CaptureEnd:
        """See CaptureWalker."""
        return CaptureEnd(self._capture.ended)

    def facts(self) -> CaptureFacts:
        """See CaptureWalker."""
        capture = self._capture
        found = enumerate(capture.undecoded)
        return CaptureFacts(
            format=_FORMATS[capture.format],
            version=f"{capture.major}.{capture.minor}",
            first_ns=capture.first_ns if capture.stamped else None,
            last_ns=capture.last_ns if capture.stamped else None,
            stamped=capture.stamped,
            drops=capture.drops,
            sections=capture.sections,
            undecoded=tuple(
                Undecoded(each.link_type if slot < UNDECODED - 1 else None, each.packets, each.bytes)
                for slot, each in found
                if each.used
            ),
        )

    def close(self) -> None:
        """See CaptureWalker."""
        super().close()
        del self._buffer
