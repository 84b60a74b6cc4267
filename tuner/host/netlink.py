"""Netlink by raw sockets: a question and all of the kernel's answers, one change and its receipt, and the news of links.

Source: include/uapi/linux/netlink.h, net/netlink/af_netlink.c. Just enough for counters and queueing disciplines, which no file
shows. Answers are taken only from the kernel itself (port 0), within bounds of size and time.
"""

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Iterator

ROUTE, NETFILTER, GENERIC = 0, 12, 16  # NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_GENERIC
LIMIT = 4 << 20  # bytes of answers
_TIMEOUT_S = 1.0
_HEADER = struct.Struct("=IHHII")  # length with itself, type, flags, sequence, port
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP, _TORN = 0x1, 0x4, 0x300, 0x10  # NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR
CREATE, REPLACE = 0x400, 0x100  # NLM_F_CREATE, NLM_F_REPLACE
_RTMGRP_LINK = 1
_EVENTS = 256  # taken at once; the rest is there the next time
_BUFFER = 1 << 17  # the kernel fills at most 32 KiB a read

Messages = tuple[tuple[int, bytes], ...]


def dump(protocol: int, kind: int, payload: bytes) -> Messages:
    """Asks for everything of a kind.

    Args:
        protocol: ``ROUTE`` or ``NETFILTER``.
        kind: the message's type.
        payload: what stands behind the netlink header in the question.

    Returns:
        (type, content behind the netlink header) of each answer, in the kernel's order.

    Raises:
        OSError: as the kernel answers it (EPERM, EOPNOTSUPP, EPROTONOSUPPORT), EFBIG beyond 4 MiB, ETIMEDOUT after a second
            without an end, EAGAIN where the objects changed while they were told.
    """
    return _asked(protocol, kind, payload, _DUMP)


def ask(protocol: int, kind: int, payload: bytes) -> Messages:
    """Asks about one object; otherwise as ``dump``. The acknowledgement that ends the answers is not among them."""
    return _asked(protocol, kind, payload, _ACK)


def change(protocol: int, kind: int, payload: bytes, flags: int = 0) -> None:
    """Asks for one change, with ``CREATE`` and ``REPLACE`` as ``flags``, and waits for the kernel's receipt.

    Raises:
        OSError: as the kernel answers it, ETIMEDOUT where it has not answered after a second.
    """
    _asked(protocol, kind, payload, _ACK | flags)


def _asked(protocol: int, kind: int, payload: bytes, how: int) -> Messages:
    found: list[tuple[int, bytes]] = []
    size, deadline = 0, time.monotonic() + _TIMEOUT_S
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as asked:
        asked.bind((0, 0))
        asked.send(_HEADER.pack(_HEADER.size + len(payload), kind, _REQUEST | how, 1, 0) + payload)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), "netlink")
            asked.settimeout(left)
            raw, (port, _) = asked.recvfrom(_BUFFER)
            if port:  # another process may send to this socket, too
                continue
            size += len(raw)
            if size > LIMIT:
                raise OSError(errno.EFBIG, f"more than {LIMIT >> 20} MiB of answers", "netlink")
            if _take(raw, found):
                return tuple(found)


def _take(raw: bytes, found: list[tuple[int, bytes]]) -> bool:
    """Adds the answers in one datagram; whether it was the last."""
    for kind, flags, content in _messages(raw):
        if flags & _TORN:
            raise OSError(errno.EAGAIN, "what was asked for changed meanwhile", "netlink")
        if kind in (_DONE, _ERROR):
            code = struct.unpack_from("=i", content)[0] if len(content) >= 4 else 0
            if code < 0:
                raise OSError(-code, os.strerror(-code), "netlink")
            return True
        found.append((kind, content))
    return False


def _messages(raw: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(raw):
        length, kind, flags, _, _ = _HEADER.unpack_from(raw, at)
        if length < _HEADER.size or at + length > len(raw):
            return
        yield kind, flags, raw[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def attributes(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute (struct nlattr) in ``raw``, flags removed; ends at the first that does not fit."""
    at = 0
    while at + 4 <= len(raw):
        length, kind = struct.unpack_from("=HH", raw, at)
        if length < 4 or at + length > len(raw):
            return
        yield kind & 0x3FFF, raw[at + 4 : at + length]
        at += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


class LinkEvents:
    """Whether any interface came, went or changed since it was last asked: RTMGRP_LINK of rtnetlink(7), for anybody.

    Where no such socket can be had there is nothing to tell.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, ROUTE)
            self._socket.bind((0, _RTMGRP_LINK))

    def happened(self) -> bool:
        """Takes what was told so far. An overrun (ENOBUFS) tells, too: there was more than the socket held."""
        told = False
        for _ in range(_EVENTS):
            try:
                if self._socket is None or not self._socket.recv(1 << 14):
                    break
                told = True
            except BlockingIOError:
                break
            except OSError as error:
                told = error.errno == errno.ENOBUFS
                break
        return told

    def close(self) -> None:
        """Lets go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
