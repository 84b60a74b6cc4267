"""A veth pair in two network namespaces that have no name: they live as long as somebody holds them, and not longer.

A namespace under /run/netns survives whoever made it. Ours is held by a descriptor, and by the processes that entered it: when
these are gone, even by SIGKILL, the kernel destroys namespace and interfaces (net/core/net_namespace.c, cleanup_net).

No thread of the caller ever changes its namespace: what has to happen inside does so in a thread that ends there. So nothing
here can reach an interface of the host's own namespace, and nothing has to find its way back.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from tuner.host.files import HostFiles

CLONE_NEWNET = 0x40000000
NEAR_NAME = "qcout"
FAR_NAME = "qcinto"
# linux/capability.h. Entering and making namespaces, their interfaces, packet sockets.
CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
_OWN_NAMESPACE = "/proc/thread-self/ns/net"
# Neighbour discovery would be counted among our packets.
_NO_IPV6 = ("/proc/sys/net/ipv6/conf/all/disable_ipv6", "/proc/sys/net/ipv6/conf/default/disable_ipv6")
_RECEIVED, _RECEIVED_DROPPED, _SENT_DROPPED = 1, 3, 11  # columns of /proc/net/dev

_Result = TypeVar("_Result")


class NamespaceError(Exception):
    """No namespaces or no veth pair can be had here; the text says why and what to do."""


def missing_capabilities(files: HostFiles | None = None) -> tuple[str, ...]:
    """The names of the capabilities that a pair needs and this process lacks (CapEff in /proc/self/status)."""
    held = 0
    for line in ((files or HostFiles("/")).optional("/proc/self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            with contextlib.suppress(ValueError):
                held = int(value.strip(), 16)
    return tuple(name for name, bit in CAPABILITIES.items() if not held >> bit & 1)


class Namespace:
    """A network namespace without a name, by the descriptor that holds it."""

    def __init__(self) -> None:
        """Makes it.

        Raises:
            NamespaceError: not permitted, or not in this kernel.
        """
        self._fd = _in_thread(_made)

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self._fd

    def call(self, action: Callable[..., _Result], *arguments: Any, **options: Any) -> _Result:
        """Calls ``action`` inside, in a thread that ends with it. What it opens (sockets) stays in the namespace.

        Raises:
            NamespaceError: it cannot be entered.
        """

        def inside() -> _Result:
            if _libc().setns(self._fd, CLONE_NEWNET):
                raise NamespaceError(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")
            return action(*arguments, **options)

        return _in_thread(inside)

    def close(self) -> None:
        """Lets go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass(frozen=True, slots=True)
class PairCounters:
    """Packets on their way through a pair.

    ``arrived`` at the far interface. ``dropped`` on the way there: the backlog of the CPU was full
    (net.core.netdev_max_backlog), or the interface down. ``dropped_inside``: by the far interface after that, in the backlog
    of the CPU to which receive packet steering (net.core.rps_default_mask) sent them.
    """

    arrived: int
    dropped: int
    dropped_inside: int


class VethPair:
    """Packets sent out of ``out`` in ``near`` are received by ``into`` in ``far``, on the CPU of the sender.

    A context manager.
    """

    out = NEAR_NAME
    into = FAR_NAME

    def __init__(self) -> None:
        """Makes both namespaces and the pair, up, without addresses and without IPv6.

        Raises:
            NamespaceError: not permitted, or not in this kernel.
        """
        lacking = missing_capabilities()
        if lacking:
            raise NamespaceError(f"making network namespaces and packet sockets needs {' and '.join(lacking)}: run as root")
        with contextlib.ExitStack() as opened:
            self.near = Namespace()
            opened.callback(self.near.close)
            self.far = Namespace()
            opened.callback(self.far.close)
            for each in (self.near, self.far):
                each.call(_quiet)
            self.near.call(_make_pair, self.far.fileno())
            self.far.call(_set_up, self.into)
            opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def counters(self) -> PairCounters:
        """What went through so far.

        Raises:
            NamespaceError: the interfaces are gone.
        """
        near, far = self.near.call(_device_counters, self.out), self.far.call(_device_counters, self.into)
        return PairCounters(arrived=far[_RECEIVED], dropped=near[_SENT_DROPPED], dropped_inside=far[_RECEIVED_DROPPED])

    def close(self) -> None:
        """Lets go of both namespaces; the pair goes with the last process in them."""
        self.near.close()
        self.far.close()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _in_thread(action: Callable[[], _Result]) -> _Result:
    results: list[_Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as failure:  # noqa: BLE001 (raised again where the caller waits)
            failures.append(failure)

    thread = threading.Thread(target=run, name="namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _made() -> int:
    if _libc().unshare(CLONE_NEWNET):
        number = ctypes.get_errno()
        raise NamespaceError(f"the kernel makes no network namespace: {os.strerror(number)}; inside a container, run outside")
    return os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)


def _quiet() -> None:
    # /proc/sys/net shows the namespace of the thread that opens it
    for path in _NO_IPV6:
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"1")
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def _netlink() -> Iterator[Any]:
    from pyroute2 import IPRoute, NetlinkError

    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as error:
        raise NamespaceError(f"this kernel makes no veth pair: {error.args[-1]} (is the module veth there?)") from error


def _make_pair(far_fd: int) -> None:
    with _netlink() as netlink:
        netlink.link("add", ifname=NEAR_NAME, kind="veth", peer={"ifname": FAR_NAME, "net_ns_fd": far_fd})
        netlink.link("set", index=netlink.link_lookup(ifname=NEAR_NAME)[0], state="up")


def _set_up(name: str) -> None:
    with _netlink() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname=name)[0], state="up")


def _device_counters(name: str) -> list[int]:
    with open("/proc/thread-self/net/dev", encoding="ascii", errors="replace") as lines:
        for line in lines:
            found, _, values = line.strip().partition(":")
            if found == name:
                return [int(value) for value in values.split()]
    raise NamespaceError(f"interface {name} is gone")
