"""Settings of a NIC's driver as opaque blocks: what a snapshot keeps and puts back, whatever stands in them.

Source: include/uapi/linux/ethtool.h, net/ethtool/ioctl.c. A block is what a GET request answers behind its command word, in
hexadecimal; the SET request of the same structure takes it back. What a driver does not have is left out: it answers
EOPNOTSUPP, some old ones EINVAL.

Features are missing on purpose: the core keeps those that were asked for and applies them again after a reset
(netdev_update_features), so no driver can forget them.
"""

import base64
import errno
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

Request = Callable[[bytes], bytes]  # one SIOCETHTOOL: the buffer that goes in, the buffer that comes out


@dataclass(frozen=True, slots=True)
class Block:
    """A pair of requests on one structure of ``size`` bytes, the command word not counted."""

    get: int
    set: int
    size: int


# In the order of restoration: changing the number of channels makes a driver deal out the table anew.
BLOCKS = {
    "channels": Block(0x3C, 0x3D, 32),  # struct ethtool_channels
    "private_flags": Block(0x27, 0x28, 4),  # struct ethtool_value: a bit per flag
    "pause": Block(0x12, 0x13, 12),  # struct ethtool_pauseparam
    "coalesce": Block(0x0E, 0x0F, 88),  # struct ethtool_coalesce
}
INDIRECTION = "rss_indirection"
_PACKED = "zlib:"  # a table says the same few numbers over and over, and is kept with each change of the NIC
_GRXFHINDIR, _SRXFHINDIR = 0x38, 0x39
_TABLE_LIMIT = 4096  # entries; the largest table in the kernel's drivers has 2048
_ABSENT = (errno.EOPNOTSUPP, errno.EINVAL)


def read_blocks(request: Request) -> dict[str, str]:
    """Every block that the driver has, by name.

    Raises:
        OSError: ENODEV: the interface is gone.
    """
    found = {}
    for name, block in BLOCKS.items():
        try:
            answer = request(struct.pack(f"=I{block.size}x", block.get))
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
        else:
            found[name] = answer[4 : 4 + block.size].hex()
    table = _read_table(request)
    if table:
        found[INDIRECTION] = table
    return found


def _read_table(request: Request) -> str:
    # struct ethtool_rxfh_indir: the first request asks for the number of entries
    try:
        (entries,) = struct.unpack_from("=I", request(struct.pack("=II", _GRXFHINDIR, 0)), 4)
        if not 0 < entries <= _TABLE_LIMIT:
            return ""
        answer = request(struct.pack(f"=II{4 * entries}x", _GRXFHINDIR, entries))
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return ""
    return _PACKED + base64.b85encode(zlib.compress(answer[8 : 8 + 4 * entries], 9)).decode()


def _content(text: str) -> bytes:
    if not text.startswith(_PACKED):
        return bytes.fromhex(text)
    try:
        return zlib.decompressobj().decompress(base64.b85decode(text.removeprefix(_PACKED)), 4 * _TABLE_LIMIT + 1)
    except zlib.error as error:
        raise ValueError(f"not a packed table: {error}") from error


def write_block(request: Request, name: str, text: str) -> None:
    """Puts one block back.

    Raises:
        ValueError: no such block, or not one of its size.
        OSError: the driver refuses it.
    """
    content = _content(text)
    if name == INDIRECTION:
        entries, rest = divmod(len(content), 4)
        if rest or not 0 < entries <= _TABLE_LIMIT:
            raise ValueError(f"{len(content)} bytes are no table of 32-bit entries")
        request(struct.pack("=II", _SRXFHINDIR, entries) + content)
        return
    block = BLOCKS.get(name)
    if block is None or len(content) != block.size:
        raise ValueError(f"no block {name!r} of {len(content)} bytes")
    request(struct.pack("=I", block.set) + content)
