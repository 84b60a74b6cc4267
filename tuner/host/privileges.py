"""Giving up root, for a program that has what it needs and now reads what strangers send: all of it, or all but some rights."""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable

CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_NET_RAW = 2, 12, 13  # linux/capability.h

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS = 1, 2, 8, 38
_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_NOBODY = 65534


def give_up() -> bool:
    """Becomes the user that called sudo(8), or nobody, for good; whether it did. Nothing where it is no root anyway.

    All capabilities go with the last user id 0 (capabilities(7), "Effect of user ID changes on capabilities"), for all threads
    of the process (nptl(7)). What is open stays open. In a user namespace without such a user it stays what it is.
    """
    if os.geteuid() != 0:
        return False
    with contextlib.suppress(OSError):
        os.setgroups([])
        os.setresgid(*(_caller("SUDO_GID"),) * 3)
        os.setresuid(*(_caller("SUDO_UID"),) * 3)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return True
    return False


def give_up_all_but(kept: Iterable[int]) -> bool:
    """Becomes the user that called sudo(8), or nobody, with these capabilities and no way to others; whether it did.

    Capabilities are each thread's own (capabilities(7)): to be called while there is one thread, those that it starts inherit
    them. Nothing where it is no root anyway. In a user namespace without such a user it stays what it is.
    """
    if os.geteuid() != 0:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    at_parents_end = ctypes.c_int(0)
    libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(at_parents_end), 0, 0, 0)
    held = _permitted(libc)
    with contextlib.suppress(OSError):
        os.setgroups([])
        os.setresgid(*(_caller("SUDO_GID"),) * 3)
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setresuid(*(_caller("SUDO_UID"),) * 3)
        _set(libc, held & sum(1 << each for each in set(kept)))
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # a change of credentials forgets it (kernel/cred.c, commit_creds)
        libc.prctl(_PR_SET_PDEATHSIG, at_parents_end.value, 0, 0, 0)
        return True
    return False


def _permitted(libc: ctypes.CDLL) -> int:
    header, data = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0), 8), ctypes.create_string_buffer(24)
    if libc.capget(header, data):
        return 0
    words: tuple[int, ...] = struct.unpack("=6I", data.raw)
    return words[1] | words[4] << 32


def _set(libc: ctypes.CDLL, capabilities: int) -> None:
    """Effective and permitted alike; nothing is inherited by another program.

    Raises:
        OSError: the kernel refuses.
    """
    low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0), 8)
    data = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0), 24)
    if libc.capset(header, data):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _caller(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:12]) < 1 << 31 else _NOBODY
