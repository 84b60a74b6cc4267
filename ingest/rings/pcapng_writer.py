"""Writes the packets of a ring to a pcapng file, without the walker ever waiting for it.

The walker puts packets on a tape (``tape.py``), a thread of its own writes them out. The file is new, its owner's alone, and
ends with a block of statistics where the capture went to its end. Packets stand in the order in which they were read: those
of one ring (one CPU) are in order, those of several are interleaved within a tenth of a millisecond (latency mode) or the
blocks' timeout.
"""

import contextlib
import errno
import fcntl
import os
import platform
import socket
import struct
import threading
import time
from typing import Self

from ingest.rings.capture_facts import LONGEST_PACKET
from ingest.rings.counters import RingReport, Written
from ingest.rings.tape import TAPE_BYTES, Tape, open_tape
from tuner.host.text import printable

DEFAULT_BYTES = 1 << 30
_SIOCGIFHWADDR = 0x8927
_ETHERNET = 1
_RAW_IP = 101
# linux/if_arp.h -> link type; the tunnels have no link header of their own
_LINK_TYPES = {1: _ETHERNET, 772: _ETHERNET, 65534: _RAW_IP, 768: _RAW_IP, 769: _RAW_IP, 776: _RAW_IP}
_PAUSE_S = 0.002
_NO_LIMIT = (1 << 63) - 1
_STATISTICS_BYTES = 1024  # kept free for the last block

_COMMENT, _NAME, _FILTER, _CLOCK_UNIT, _KERNEL, _PROGRAM = 1, 2, 11, 9, 3, 4
_RECEIVED, _DROPPED = 4, 7  # isb_ifrecv, isb_osdrop


class WriteError(Exception):
    """A file that cannot be written; the text says why and what to do."""


def _block(kind: int, body: bytes) -> bytes:
    total = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", kind) + total + body + total


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + value + bytes(-len(value) % 4)


_END = _option(0, b"")


def file_header(ifname: str, link_type: int, snap_bytes: int, filter_text: str | None, comment: str) -> bytes:
    """A section of this processor's byte order with one interface, whose stamps are nanoseconds since 1970."""
    kernel = f"{platform.system()} {platform.release()}".encode()[:256]
    section = struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(_KERNEL, kernel) + _option(_PROGRAM, b"quietcore") + _END
    interface = (
        struct.pack("=HHI", link_type, 0, snap_bytes) + _option(_NAME, os.fsencode(ifname)) + _option(_CLOCK_UNIT, b"\x09")
    )
    if filter_text:
        interface += _option(_FILTER, b"\0" + filter_text.encode(errors="replace")[:4096])
    interface += _option(_COMMENT, comment.encode(errors="replace")[:1024]) + _END
    return _block(0x0A0D0D0A, section) + _block(1, interface)


def link_type_of(ifname: str) -> int:
    """The link type of an interface's packets, of this network namespace.

    Raises:
        WriteError: none that is known here, or no interface.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
        try:
            answer = fcntl.ioctl(asked, _SIOCGIFHWADDR, struct.pack("16s24x", os.fsencode(ifname)[:15]))
        except OSError as error:
            raise WriteError(f"no interface '{printable(ifname)}': {error.strerror}") from error
    (hardware,) = struct.unpack_from("=H", answer, 16)
    if hardware not in _LINK_TYPES:
        raise WriteError(f"'{printable(ifname)}' is neither Ethernet nor IP (ARPHRD {hardware}): its packets cannot be written")
    return _LINK_TYPES[hardware]


class CaptureWriter:
    """One file. ``begin`` gives the ring its tape, ``finish`` ends the file and says what is in it; a context manager.

    Whatever happens to the file after ``begin``, reading goes on: see ``Written.ended``.
    """

    def __init__(
        self,
        name: str,
        *,
        packets: int | None = None,
        octets: int = DEFAULT_BYTES,
        filter_text: str | None = None,
        tape_bytes: int = TAPE_BYTES,
    ) -> None:
        """Touches nothing yet.

        Args:
            name: its path; it must not exist.
            packets: stop writing after so many; None: no such limit.
            octets: stop writing before the file is longer.
            filter_text: what selected the packets, as the file is to say it.
            tape_bytes: memory between reading and writing.
        """
        self._name, self._shown = name, printable(name)
        self._packets, self._octets, self._filter = packets, octets, filter_text
        self._tape_bytes = tape_bytes
        self._tape: Tape | None = None
        self._header = b""
        self._failure: str | None = None
        self._finished = threading.Event()
        self._thread: threading.Thread | None = None
        self._ending = b""
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, ifname: str, walker: str, *, snap_bytes: int, cpu: int | None) -> Tape:
        """Creates the file with its header, and starts the thread that writes the rest.

        Args:
            ifname: the interface.
            walker: ``Walker.name``.
            snap_bytes: how much of a packet is kept; 0: all of it.
            cpu: where the walker runs: the thread keeps away from there if it can.

        Raises:
            WriteError: the file exists or cannot be created, or packets of that interface cannot be written.
        """
        link_type = link_type_of(ifname)
        kept = f"the first {snap_bytes} bytes of each packet" if snap_bytes else "whole packets"
        comment = f"{kept}, received ones only; stamped at the entry of the network stack"
        self._header = file_header(ifname, link_type, snap_bytes or LONGEST_PACKET, self._filter, comment)
        room = self._octets - len(self._header) - _STATISTICS_BYTES
        if room < 0:
            raise WriteError(f"a file of {self._octets:,} bytes holds no packet; allow it some kilobytes")
        self._fd = _create(self._name)
        try:
            _write(self._fd, self._header)
        except OSError as error:
            raise WriteError(f"cannot write to '{self._shown}': {error.strerror}") from error
        packets = _NO_LIMIT if self._packets is None else self._packets
        self._tape = open_tape(walker, packets, room, tagged=link_type == _ETHERNET, capacity=self._tape_bytes)
        self._thread = threading.Thread(target=self._run, args=(cpu,), name="ring-writer")
        self._thread.start()
        return self._tape

    def finish(self, report: RingReport) -> Written:
        """Writes what is left on the tape, and the statistics; the ring rests by now."""
        if self._tape is None:
            return Written(self._shown, 0, 0, 0, 0, "not begun")
        counts = self._tape.counts()
        missing = report.total.drops + counts.lost
        if not counts.ended:
            received = _option(_RECEIVED, struct.pack("=Q", report.total.reached))
            dropped = _option(_DROPPED, struct.pack("=Q", missing))
            words = f"dropped by the ring: {report.total.drops}; not written, the file was too slow: {counts.lost}"
            now = time.time_ns()
            stamp = struct.pack("=III", 0, now >> 32, now & 0xFFFFFFFF)
            self._ending = _block(5, stamp + received + dropped + _option(_COMMENT, words.encode()) + _END)
        self._end_thread()
        counts = self._tape.counts()
        size = 0 if self._fd < 0 else os.fstat(self._fd).st_size
        after = counts.after + counts.waiting
        return Written(self._shown, counts.written, size, counts.lost, after, self._failure or self._limit(ended=counts.ended))

    def close(self) -> None:
        """Ends the file as it is. After the ring was closed."""
        self._end_thread()
        if self._tape is not None:
            self._tape.close()
            self._tape = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _limit(self, *, ended: bool) -> str | None:
        if not ended:
            return None
        assert self._tape is not None  # noqa: S101 (the caller's condition)
        if self._packets is not None and self._tape.counts().written >= self._packets:
            return f"the limit of {self._packets:,} packets was reached"
        return f"the limit of {self._octets:,} bytes was reached"

    def _end_thread(self) -> None:
        self._finished.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # ---- the writing thread

    def _run(self, cpu: int | None) -> None:
        _keep_away(cpu)
        assert self._tape is not None  # noqa: S101 (begin made it)
        tape = self._tape
        try:
            while True:
                last = self._finished.is_set()  # before the tape is found empty, not after
                if not tape.pump(self._fd):
                    if last:
                        break
                    self._finished.wait(_PAUSE_S)
            _write(self._fd, self._ending)
        except OSError as error:
            tape.end()
            self._failure = f"'{self._shown}' takes no more: {error.strerror}"
            if error.errno == errno.ENOSPC:
                self._failure += "; free some space, or write elsewhere"
            with contextlib.suppress(OSError):  # a record that is not whole would look like a damaged file
                os.ftruncate(self._fd, len(self._header) + tape.tail)


def _keep_away(cpu: int | None) -> None:
    """Moves this thread off a CPU, if there is another."""
    others = os.sched_getaffinity(0) - {cpu}
    if cpu is not None and others:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, others)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _create(name: str) -> int:
    """A new file for its owner alone; never through a link, never over another."""
    shown = f"'{printable(name)}'"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, 0o600)
    except FileExistsError as error:
        raise WriteError(f"{shown} exists already; name a new file") from error
    except FileNotFoundError as error:
        raise WriteError(f"no directory for {shown}; make it first") from error
    except (OSError, ValueError) as error:
        raise WriteError(f"cannot create {shown}: {getattr(error, 'strerror', None) or error}") from error
