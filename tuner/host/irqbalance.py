"""irqbalance by its own socket: what it keeps its hands off, read and set without a restart.

Source: irqbalance(1), section API, and irqbalance.c (sock_handle). The socket is /run/irqbalance/irqbalancePID.sock, or where
that cannot be bound the abstract name irqbalancePID.sock. It reads the sender's SCM_CREDENTIALS and answers root alone: others
are hung up on. ``settings`` has no answer; interrupts are banned at once, CPUs at the next round, SLEEP seconds later. A ban
replaces the one before, so who adds to it must know it.
"""

import contextlib
import errno
import os
import re
import socket
import struct
from dataclasses import dataclass

from tuner.host.cpulist import CpuSet, format_list, parse_mask

_LIMIT_S = 2.0
_PATH_BYTES = 108  # sizeof(sun_path): it binds the abstract name with all the NULs behind it
_REQUEST_LIMIT = 500  # bytes that it reads of a request
_SETUP = re.compile(r"SLEEP (\d{1,9}) ((?:IRQ \d{1,9} LOAD \d+ DIFF \d+ CLASS -?\d+ )*)BANNED ([0-9a-fA-F,]{1,600})\s*")
_IRQ = re.compile(r"IRQ (\d{1,9}) ")


@dataclass(frozen=True, slots=True)
class Bans:
    """What a running irqbalance leaves alone. ``interval_s`` is the time between two of its rounds."""

    cpus: CpuSet
    irqs: frozenset[int]
    interval_s: int


def parse_setup(text: str) -> Bans:
    """The answer to ``setup``.

    Raises:
        OSError: EBADMSG: not an answer of irqbalance.
    """
    match = _SETUP.fullmatch(text)
    if match is None:
        raise OSError(errno.EBADMSG, "not what irqbalance answers to setup")
    return Bans(parse_mask(match[3]), frozenset(int(n) for n in _IRQ.findall(match[2])), int(match[1]))


def read_bans(pid: int) -> Bans:
    """Asks the irqbalance of that process number.

    Raises:
        OSError: it has no socket, or answers something else; EPERM: it answers root alone.
    """
    answer = _ask(pid, "setup")
    if not answer and os.geteuid() != 0:
        raise PermissionError(errno.EPERM, "irqbalance answers root alone")
    return parse_setup(answer)


def set_bans(pid: int, cpus: CpuSet, irqs: frozenset[int]) -> None:
    """Bans just these CPUs and interrupts; the CPUs follow at its next round.

    Raises:
        OSError: it has no socket; E2BIG: more interrupts than one request holds.
    """
    numbers = " ".join(str(n) for n in sorted(irqs))
    # NONE and NULL are its words for "none", and for "as the command line and the kernel's boot isolation say"
    requests = (f"settings ban irqs {numbers or 'NONE'}", f"settings cpus {format_list(cpus) or 'NULL'}")
    if any(len(request) >= _REQUEST_LIMIT for request in requests):
        raise OSError(errno.E2BIG, f"irqbalance reads {_REQUEST_LIMIT} bytes of a request: stop it instead")
    for request in requests:
        _ask(pid, request)


def _connect(connection: socket.socket, pid: int) -> None:
    """To the socket of that process and no other's: anybody may bind an abstract name."""
    # 1.9 forgot the name when it made the abstract one: all NULs
    names = (f"/run/irqbalance/irqbalance{pid}.sock", f"\0irqbalance{pid}.sock".ljust(_PATH_BYTES, "\0"), "\0" * _PATH_BYTES)
    for name in names:
        try:
            connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            continue
        peer, uid, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if peer != pid or uid != 0:
            raise PermissionError(errno.EPERM, f"process {peer} answers in the place of irqbalance, process {pid}")
        return
    raise ConnectionRefusedError(errno.ECONNREFUSED, f"irqbalance (process {pid}) has no socket in this namespace")


def _ask(pid: int, request: str) -> str:
    credentials = struct.pack("=iII", os.getpid(), os.geteuid(), os.getegid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_LIMIT_S)
        _connect(connection, pid)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)]
        connection.sendmsg([request.encode("ascii")], ancillary)
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(1 << 16):
                parts.append(part)
    return b"".join(parts).decode("ascii", "replace")
