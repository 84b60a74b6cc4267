"""A table of nftables that drops and counts UDP on its way in, written by raw nfnetlink: there need be no nft here."""

import errno
import os
import socket
import struct
from collections.abc import Iterable

from tuner.host.netlink import attribute

SEQUENCE_LOW_AT = 8 + 17  # behind the UDP header: MoldUDP64's session (10 bytes) and all of its sequence but the last byte
_EQUAL, _AT_LEAST = 0, 5  # NFT_CMP_EQ, NFT_CMP_GTE


class NoNftables(Exception):
    """This kernel has none."""


def drop_batch(ports: Iterable[int], policy_drop: bool = False, from_low_byte: int | None = None) -> bytes:
    """table ip qc { chain in { type filter hook input priority 0; udp dport PORT counter drop } }, a rule for each port.

    ``from_low_byte``: only datagrams whose sequence number ends in that byte or a higher one.
    """
    table, chain = attribute(1, b"qc\0"), b"in\0"
    accept = _number(5, 0 if policy_drop else 1)
    counters = _nested(8, _number(1, 0, 8), _number(2, 0, 8))
    hook = _nested(4, _number(1, 1), _number(2, 0))  # NF_INET_LOCAL_IN, priority 0
    subsystem, create = 10 << 8, 0x400 | 0x4
    rules = [
        _message(subsystem | 6, create | 0x800, 2, table + attribute(2, chain) + _nested(4, *_rule(port, from_low_byte)))
        for port in ports
    ]
    return b"".join(
        (
            _message(0x10, 0, 0, b"", 10),
            _message(subsystem | 0, create, 2, table),
            _message(
                subsystem | 3, create, 2, table + attribute(3, chain) + hook + accept + attribute(7, b"filter\0") + counters
            ),
            *rules,
            _message(0x11, 0, 0, b"", 10),
        )
    )


def write(batch: bytes, rules: int) -> None:
    """Gives a batch of so many rules to the kernel, for the network namespace of this thread.

    Raises:
        NoNftables: the kernel has none.
        OSError: it does not take the batch.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as out:
            out.bind((0, 0))
            out.settimeout(5)
            out.send(batch)
            for _ in range(2 + rules):
                code = -struct.unpack_from("=i", out.recv(1 << 16), 16)[0]
                if code in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT):
                    raise NoNftables(os.strerror(code))
                if code:
                    raise OSError(code, os.strerror(code))
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ECONNREFUSED):
            raise NoNftables(str(error)) from error
        raise


def _rule(port: int, from_low_byte: int | None) -> tuple[bytes, ...]:
    low = () if from_low_byte is None else (_payload(SEQUENCE_LOW_AT, 1), _compare(_AT_LEAST, bytes((from_low_byte,))))
    return (
        _payload(2, 2),
        _compare(_EQUAL, port.to_bytes(2, "big")),
        *low,
        _expression(b"counter", _number(1, 0, 8), _number(2, 0, 8)),
        _expression(b"immediate", _number(1, 0), _nested(2, _nested(2, _number(1, 0)))),
    )


def _payload(offset: int, length: int) -> bytes:
    """Bytes behind the transport header's begin, into register 1."""
    return _expression(b"payload", _number(1, 1), _number(2, 2), _number(3, offset), _number(4, length))


def _compare(operation: int, value: bytes) -> bytes:
    return _expression(b"cmp", _number(1, 1), _number(2, operation), _nested(3, attribute(1, value)))


def _message(kind: int, flags: int, family: int, body: bytes, resource: int = 0) -> bytes:
    content = struct.pack(">BBH", family, 0, resource) + body
    return struct.pack("=IHHII", 16 + len(content), kind, 0x1 | flags, 0, 0) + content + bytes(-len(content) % 4)


def _nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | 0x8000, b"".join(parts))


def _expression(name: bytes, *parts: bytes) -> bytes:
    return _nested(1, attribute(1, name + b"\0"), _nested(2, *parts))


def _number(kind: int, value: int, width: int = 4) -> bytes:
    return attribute(kind, value.to_bytes(width, "big"))
