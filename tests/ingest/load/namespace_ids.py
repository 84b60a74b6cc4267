"""Asks the kernel whether a network namespace still lives: an id that was given to it is taken back when it is destroyed.

net/core/net_namespace.c: RTM_NEWNSID, RTM_GETNSID, and cleanup_net, which notifies and forgets.
"""

import os
import socket
import struct
import time
from collections.abc import Iterable

RTM_NEWNSID, RTM_GETNSID = 88, 90
NETNSA_NSID, NETNSA_FD = 1, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3


def _exchange(kind: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
    answers: list[tuple[int, bytes]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as opened:
        opened.settimeout(5)
        opened.send(struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | flags, 1, 0) + body)
        while True:
            data = opened.recv(65536)
            while data:
                length, answer = struct.unpack_from("=IH", data)
                answers.append((answer, data[16:length]))
                if answer in (NLMSG_ERROR, NLMSG_DONE):
                    return answers
                data = data[length + 3 & ~3 :]


def living() -> set[int]:
    """The ids of all namespaces that have one here."""
    found = set()
    for kind, body in _exchange(RTM_GETNSID, NLM_F_DUMP, bytes(4)):
        if kind == RTM_NEWNSID and struct.unpack_from("=HH", body, 4)[1] == NETNSA_NSID:
            found.add(struct.unpack_from("=i", body, 8)[0])
    return found


def named(path: str) -> int:
    """Gives the namespace behind ``path`` an id, and holds it no longer than that takes."""
    before = living()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        body = bytes(4) + struct.pack("=HHiHHi", 8, NETNSA_NSID, -1, 8, NETNSA_FD, descriptor)
        ((_, answer),) = _exchange(RTM_NEWNSID, NLM_F_ACK, body)
        assert struct.unpack_from("=i", answer)[0] == 0
    finally:
        os.close(descriptor)
    (new,) = living() - before
    return new


def gone(ids: Iterable[int], within_s: float = 20.0) -> bool:
    """Whether they are all destroyed; the kernel does so a moment after the last holder has left."""
    limit = time.monotonic() + within_s
    while living() & set(ids):
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True
