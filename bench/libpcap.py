"""libpcap by ctypes, where it is installed; nothing of it is needed to build.

``lay_over`` puts blocks of ours where libpcap mapped its ring, at the same addresses (MAP_FIXED), so that ``pcap_dispatch``
walks memory that anybody may walk, too. The kernel goes on writing into the ring that it made; nobody reads that.
"""

import ctypes
import ctypes.util
import functools
import mmap
import os
import re
from typing import Self

from bench.figures import UnavailableError
from bench.textbook import BehindPcap, Image, State, textbook

_NANOSECONDS = 1  # PCAP_TSTAMP_PRECISION_NANO
_MAP_FIXED = 0x10


@functools.cache
def library() -> ctypes.CDLL:
    """libpcap.

    Raises:
        UnavailableError: it is not installed.
    """
    found = None
    for name in ("libpcap.so.0.8", "libpcap.so.1", ctypes.util.find_library("pcap") or ""):
        try:
            found = found or (ctypes.CDLL(name) if name else None)
        except OSError:
            continue
    if found is None:
        raise UnavailableError("libpcap is not installed (apt-get install libpcap0.8)")
    found.pcap_create.restype = ctypes.c_void_p
    found.pcap_geterr.restype = ctypes.c_char_p
    found.pcap_lib_version.restype = ctypes.c_char_p
    found.pcap_create.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    for name in ("set_buffer_size", "set_timeout", "set_snaplen", "set_tstamp_precision"):
        getattr(found, f"pcap_{name}").argtypes = (ctypes.c_void_p, ctypes.c_int)
    for name in ("activate", "close", "geterr", "breakloop"):
        getattr(found, f"pcap_{name}").argtypes = (ctypes.c_void_p,)
    found.pcap_setnonblock.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
    found.pcap_stats.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    return found


class Capture:
    """An activated capture of an interface of the calling thread's namespace, with the textbook's work behind it."""

    def __init__(self, ifname: str, ring_bytes: int, timeout_ms: int = 1, fixed_now_ns: int = 0) -> None:
        self._pcap = library()
        error = ctypes.create_string_buffer(256)
        self._handle = self._pcap.pcap_create(ifname.encode(), error)
        if not self._handle:
            raise OSError(f"pcap_create: {error.value.decode(errors='replace')}")
        self._pcap.pcap_set_buffer_size(self._handle, ring_bytes)
        self._pcap.pcap_set_timeout(self._handle, timeout_ms)
        self._pcap.pcap_set_tstamp_precision(self._handle, _NANOSECONDS)
        if self._pcap.pcap_activate(self._handle) < 0:
            said = self._pcap.pcap_geterr(self._handle).decode(errors="replace")
            self.close()
            raise OSError(f"pcap_activate: {said}")
        self.state = State()
        self._behind = BehindPcap(ctypes.addressof(self.state), 0, fixed_now_ns)
        self._dispatch = ctypes.cast(self._pcap.pcap_dispatch, ctypes.c_void_p)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def do_not_block(self) -> None:
        if self._pcap.pcap_setnonblock(self._handle, 1, ctypes.create_string_buffer(256)):
            raise OSError("pcap_setnonblock refused")

    def dispatch(self, packets: int) -> int:
        """Until ``state`` counts so many packets, ``stop``, or the ring is empty where it does not block."""
        return int(textbook().textbook_dispatch(self._dispatch, self._handle, self._behind, packets))

    def forget(self) -> None:
        """Counts from nothing again."""
        ctypes.memset(ctypes.addressof(self.state), 0, ctypes.sizeof(self.state))

    def stop(self) -> None:
        """Ends ``dispatch``; from a signal handler or another thread."""
        self._pcap.pcap_breakloop(self._handle)

    def dropped(self) -> int:
        """Packets that the kernel had no room for."""
        counts = (ctypes.c_uint * 3)()  # struct pcap_stat: received, dropped, dropped by the interface
        self._pcap.pcap_stats(self._handle, counts)
        return int(counts[1])

    def close(self) -> None:
        if self._handle:
            self._pcap.pcap_close(self._handle)
            self._handle = None


def lay_over(image: Image) -> None:
    """Maps the image over the only packet ring of this process.

    Raises:
        UnavailableError: there is not exactly one ring of that size.
    """
    rings = []
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw-s .* socket:\[\d+\]", line)
            if found:
                rings.append((int(found[1], 16), int(found[2], 16)))
    if len(rings) != 1 or rings[0][1] - rings[0][0] != len(image.memory):
        raise UnavailableError(f"libpcap's ring is not where it was looked for: {rings}, {len(image.memory)} bytes")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE | _MAP_FIXED
    at = libc.mmap(rings[0][0], len(image.memory), mmap.PROT_READ | mmap.PROT_WRITE, flags, image.fd, 0)
    if at != rings[0][0]:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "mmap over the ring")
