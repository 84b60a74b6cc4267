"""Queueing disciplines of an interface, by rtnetlink.

Source: include/uapi/linux/rtnetlink.h (struct tcmsg), net/sched/sch_api.c, net/sched/sch_generic.c. A discipline that the
kernel attached by itself has the handle 0:; one that somebody asked for has another. Options are kept as the
kernel tells them: what it tells of these kinds is also what it takes.
"""

import errno
import os
import socket
import struct
from dataclasses import dataclass

from tuner.host import netlink

_NEW, _DELETE, _GET, _GET_FILTER = 36, 37, 38, 46  # RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC, RTM_GETTFILTER
_TCMSG = struct.Struct("=BxHiIII")  # family, ifindex, handle, parent, info
_KIND, _OPTIONS = 1, 2  # TCA_KIND, TCA_OPTIONS
_NESTED = 0x8000
ROOT = 0xFFFFFFFF
_INGRESS = 0xFFFFFFF1  # of both ingress and clsact: beside the root, not below it

# fq_codel tells these in µs, rounded down from its own ticks of 1.024 µs: one more is the same number of ticks again
_CODEL_TIMES = (1, 3, 7)  # TCA_FQ_CODEL_TARGET, TCA_FQ_CODEL_INTERVAL, TCA_FQ_CODEL_CE_THRESHOLD


@dataclass(frozen=True, slots=True)
class Qdisc:
    """One discipline. ``handle`` and ``parent`` are major << 16 | minor; ``options`` are attributes, as told."""

    handle: int
    parent: int
    kind: str
    options: bytes = b""


def read_qdiscs(ifname: str) -> tuple[Qdisc, ...]:
    """Those of an interface's way out, the root first and the rest by parent.

    Raises:
        OSError: ENODEV: no such interface; else as netlink says it.
    """
    index = _index(ifname)
    found = []
    for kind, content in netlink.dump(netlink.ROUTE, _GET, _TCMSG.pack(0, 0, index, 0, 0, 0)):
        if kind != _NEW or len(content) < _TCMSG.size:
            continue
        _, _, ifindex, handle, parent, _ = _TCMSG.unpack_from(content)
        if ifindex != index or parent == _INGRESS:
            continue
        told = dict(netlink.attributes(content[_TCMSG.size :]))
        name = told.get(_KIND, b"").rstrip(b"\0").decode("ascii", "replace")
        found.append(Qdisc(handle, parent, name, told.get(_OPTIONS, b"")))
    return tuple(sorted(found, key=lambda one: (one.parent != ROOT, one.parent)))


def count_filters(ifname: str) -> int:
    """How many filters hang on the root discipline.

    Raises:
        OSError: as netlink says it.
    """
    try:
        return len(netlink.dump(netlink.ROUTE, _GET_FILTER, _TCMSG.pack(0, 0, _index(ifname), 0, 0, 0)))
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:  # a kernel without classifiers
            return 0
        raise


def write_qdisc(ifname: str, wanted: Qdisc) -> None:
    """Puts a discipline at ``wanted.parent`` in the place of what is there; handle 0 lets the kernel choose one.

    Raises:
        OSError: ENOENT: this kernel has no such kind; EOPNOTSUPP: not on this interface.
    """
    content = _TCMSG.pack(0, 0, _index(ifname), wanted.handle, wanted.parent, 0)
    content += netlink.attribute(_KIND, wanted.kind.encode() + b"\0")
    if wanted.options:
        content += netlink.attribute(_OPTIONS | _NESTED if _nested(wanted.kind) else _OPTIONS, _spelled(wanted))
    netlink.change(netlink.ROUTE, _NEW, content, netlink.CREATE | netlink.REPLACE)


def remove_root(ifname: str) -> None:
    """Takes the root discipline away: the kernel attaches its own again. None of somebody's making there is no error.

    Raises:
        OSError: as netlink says it.
    """
    try:
        netlink.change(netlink.ROUTE, _DELETE, _TCMSG.pack(0, 0, _index(ifname), 0, ROOT, 0))
    except OSError as error:
        if error.errno != errno.ENOENT:  # "cannot delete qdisc with handle of zero"
            raise


def _nested(kind: str) -> bool:
    return kind in ("fq", "fq_codel")


def _spelled(wanted: Qdisc) -> bytes:
    if wanted.kind != "fq_codel":
        return wanted.options
    spelled = b""
    for kind, value in netlink.attributes(wanted.options):
        is_time = kind in _CODEL_TIMES and len(value) == 4
        spelled += netlink.attribute(kind, struct.pack("=I", struct.unpack("=I", value)[0] + 1) if is_time else value)
    return spelled


def _index(ifname: str) -> int:
    try:
        return socket.if_nametoindex(ifname)
    except OSError as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), ifname) from error
