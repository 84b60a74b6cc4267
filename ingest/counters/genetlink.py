"""Generic netlink: families of messages by name, whose numbers the kernel gives out anew at each boot.

Source: include/uapi/linux/genetlink.h, net/netlink/genetlink.c. The family "nlctrl" (always 16) lists them all. A number stays
what it is while the family is there; a module's may go and come back with another.
"""

import contextlib
import errno
import os
import struct
import sys
from collections.abc import Callable, Iterable

from tuner.host.netlink import Messages, attribute, attributes

GENERIC = 16  # NETLINK_GENERIC
Ask = Callable[[int, int, bytes], Messages]  # ``Syscalls.netlink_dump``

_CONTROL, _GET_FAMILY = 16, 3  # GENL_ID_CTRL, CTRL_CMD_GETFAMILY
_FAMILY_ID, _FAMILY_NAME = 1, 2  # CTRL_ATTR_*
_NESTED = 0x8000  # NLA_F_NESTED
_NUMBER = struct.Struct("=H")
HEAD = struct.Struct("=BBxx")  # struct genlmsghdr: command, version


class Families:
    """Asks a family by its name; its number is looked up once, and again where the kernel no longer knows it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._numbers: dict[str, int] = {}

    def dump(self, family: str, command: int, content: bytes = b"", version: int = 1) -> tuple[bytes, ...]:
        """The attributes of each answer to a question for everything.

        Raises:
            OSError: ENOENT where this kernel has no such family, EOPNOTSUPP where it has no such command, and as
                ``netlink.dump`` does.
        """
        if family in self._numbers:
            with contextlib.suppress(FileNotFoundError):  # ENOENT: it went, and may be back under another number
                return self._answers(family, command, content, version)
        self._numbers = parse_families(self._ask(GENERIC, _CONTROL, HEAD.pack(_GET_FAMILY, 1)))
        if family not in self._numbers:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), family)
        return self._answers(family, command, content, version)

    def _answers(self, family: str, command: int, content: bytes, version: int) -> tuple[bytes, ...]:
        number = self._numbers[family]
        answers = self._ask(GENERIC, number, HEAD.pack(command, version) + content)
        return tuple(each[HEAD.size :] for kind, each in answers if kind == number and len(each) >= HEAD.size)


def parse_families(messages: Iterable[tuple[int, bytes]]) -> dict[str, int]:
    """Name of a family -> its number."""
    found = {}
    for kind, content in messages:
        told = dict(attributes(content[HEAD.size :])) if kind == _CONTROL else {}
        name, number = told.get(_FAMILY_NAME, b""), told.get(_FAMILY_ID, b"")
        if name and len(number) == _NUMBER.size:
            found[name.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")] = _NUMBER.unpack(number)[0]
    return found


def nested(kind: int, content: bytes) -> bytes:
    """An attribute that holds others."""
    return attribute(kind | _NESTED, content)


def number_of(raw: bytes | None) -> int | None:
    """A counter of 32 or 64 bits (nla_put_uint takes the shorter where it fits); None for anything else."""
    if raw is None or len(raw) not in (4, 8):
        return None
    return int.from_bytes(raw, sys.byteorder)
