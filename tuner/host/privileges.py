"""Giving up root, for a program that has opened what it needs and now reads what strangers send."""

import contextlib
import ctypes
import os

_NOBODY = 65534
_PR_SET_NO_NEW_PRIVS = 38


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


def _caller(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:12]) < 1 << 31 else _NOBODY
