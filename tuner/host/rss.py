"""Receive-side scaling by ioctl: which queue a hash leads to, the key of the hash, and what is hashed.

Source: include/uapi/linux/ethtool.h (struct ethtool_rxfh, ethtool_rxnfc), net/ethtool/ioctl.c. A request of size 0 asks for the
sizes first. A table of size 0 in a set request means the driver's default; 2^32 - 1 leaves the table alone.
"""

import errno
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Request = Callable[[bytes], bytes]  # one SIOCETHTOOL: the buffer that goes in, the buffer that comes out

_GRXFH, _SRXFH, _GRXRINGS, _GRSSH, _SRSSH = 0x29, 0x2A, 0x2D, 0x46, 0x47
_RXFH = struct.Struct("=IIIIBB2xI")  # cmd, context, entries, key bytes, function, transformation, reserved
_RXNFC_BYTES = 192
_KEEP_TABLE = 0xFFFFFFFF  # ETH_RXFH_INDIR_NO_CHANGE
_TABLE_LIMIT, _KEY_LIMIT = 65536, 1024
_FUNCTIONS = {1: "toeplitz", 2: "xor", 4: "crc32"}

# the flows whose hash a driver can be asked about, and the letters of what is hashed (RXH_*)
FLOWS = {"tcp4": 0x01, "udp4": 0x02, "sctp4": 0x03, "tcp6": 0x05, "udp6": 0x06, "sctp6": 0x07}
FIELDS = {"m": 1 << 1, "v": 1 << 2, "t": 1 << 3, "s": 1 << 4, "d": 1 << 5, "f": 1 << 6, "n": 1 << 7}


@dataclass(frozen=True, slots=True)
class Rss:
    """One look at it.

    Attributes:
        table: the queue for each value of the hash's low bits; empty where the NIC has no table.
        key: the hash's key; empty where the driver does not show it.
        function: ``toeplitz``, ``xor``, ``crc32``, or empty.
        queues: receive queues in use: an entry of the table must be below it.
    """

    table: tuple[int, ...]
    key: bytes
    function: str
    queues: int


def read_rss(request: Request) -> Rss:
    """Table, key and function.

    Raises:
        OSError: EOPNOTSUPP: this driver has no such thing.
    """
    _, _, entries, key_bytes, _, _, _ = _RXFH.unpack_from(request(_RXFH.pack(_GRSSH, 0, 0, 0, 0, 0, 0)))
    if entries > _TABLE_LIMIT or key_bytes > _KEY_LIMIT:
        raise OSError(errno.EBADMSG, f"a table of {entries} entries and a key of {key_bytes} bytes are none")
    answer = request(_RXFH.pack(_GRSSH, 0, entries, key_bytes, 0, 0, 0) + bytes(4 * entries + key_bytes))
    table = struct.unpack_from(f"={entries}I", answer, _RXFH.size)
    key = answer[_RXFH.size + 4 * entries :][:key_bytes]
    function = _RXFH.unpack_from(answer)[4]
    return Rss(tuple(table), key, _FUNCTIONS.get(function, ""), read_queues(request))


def read_queues(request: Request) -> int:
    """How many receive queues are in use (ETHTOOL_GRXRINGS)."""
    (count,) = struct.unpack_from("=Q", request(struct.pack(f"=I{_RXNFC_BYTES - 4}x", _GRXRINGS)), 8)
    return int(count)


def write_table(request: Request, table: Sequence[int] | None) -> None:
    """Sets the table; None: the driver's default, which also ends the kernel's memory of a table set by hand.

    Raises:
        OSError: EINVAL: not as long as the NIC's, or a queue that it has not.
    """
    entries = 0 if table is None else len(table)
    request(_RXFH.pack(_SRSSH, 0, entries, 0, 0, 0, 0) + struct.pack(f"={entries}I", *(table or ())))


def write_key(request: Request, key: bytes) -> None:
    """Sets the key and leaves the table alone.

    Raises:
        OSError: EINVAL: not as long as the NIC's.
    """
    request(_RXFH.pack(_SRSSH, 0, _KEEP_TABLE, len(key), 0, 0, 0) + key)


def read_hash_fields(request: Request, flow: str) -> str:
    """What is hashed of a flow, as letters in the order of ``FIELDS``.

    Raises:
        OSError: EOPNOTSUPP, on some drivers EINVAL: not to be asked.
    """
    head = struct.pack("=IIQ", _GRXFH, FLOWS[flow], 0)
    (bits,) = struct.unpack_from("=Q", request(head.ljust(_RXNFC_BYTES, b"\0")), 8)
    return "".join(letter for letter, bit in FIELDS.items() if bits & bit)


def write_hash_fields(request: Request, flow: str, fields: str) -> None:
    """Sets what is hashed of a flow.

    Raises:
        OSError: EINVAL, EOPNOTSUPP: not this combination on this NIC.
    """
    bits = 0
    for letter in fields:
        bits |= FIELDS[letter]
    request(struct.pack("=IIQ", _SRXFH, FLOWS[flow], bits).ljust(_RXNFC_BYTES, b"\0"))
