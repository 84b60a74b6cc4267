"""The process that sends: ``python -I -m ingest.load.sender ORDER``, started by ``ingest.load.load``.

It enters the namespaces whose descriptors it got, says on stdout that it is ready, sends after ``go``, ends early after
``stop``, and says what was sent. Its standard input is its leash: when the other end closes, be it by SIGKILL, it is gone at
once, and the namespace with it. A parent-death signal would not do: it comes when the *thread* that started us ends.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any

from ingest.load.demand import Demand, LoadError, Sender
from ingest.load.inject import LOWEST_RATE, Injector
from ingest.load.namespaces import CLONE_NEWNET
from ingest.load.send_native import NativeSender, load
from ingest.load.send_python import PythonSender

MEANS = ("sendmmsg", "xdp", "python")
# Up to which rate (packets/s) the injector is not needed. With a ring at the other end the best is 1.3 M and 0.1 M; half of
# that is left where other processes share the CPU.
_ENOUGH = {"sendmmsg": 600_000, "python": 50_000}
_SIOCETHTOOL = 0x8946
_ETHTOOL_SGRO = 0x2C


@dataclass(frozen=True, slots=True)
class Order:
    """What the process is told. ``near`` and ``far`` are namespaces' descriptors; ``means`` empty: what suits the rate."""

    demand: dict[str, Any]
    near: int
    far: int
    out: str
    into: str
    cpu: int | None = None
    means: str = ""

    def to_text(self) -> str:
        """As ``main`` takes it."""
        return json.dumps(asdict(self))


def candidates(demand: Demand, means: str) -> tuple[str, ...]:
    """By what to send, the best first."""
    if means:
        return (means,)
    plain = "sendmmsg"
    try:
        load()
    except LoadError:
        plain = "python"
    wanted = demand.rate_per_s or sys.maxsize
    if wanted <= max(_ENOUGH[plain], LOWEST_RATE - 1) or demand.bytes_min != demand.bytes_max:
        return (plain,)
    return ("xdp", plain)


def open_sender(order: Order) -> tuple[Sender, str]:
    """The sender, and why it is not a better one (empty where it is the best).

    Raises:
        LoadError: none can be had.
    """
    demand = Demand.from_json(order.demand)
    why = ""
    for means in candidates(demand, order.means):
        try:
            return _open(means, order, demand), why
        except (LoadError, OSError) as error:
            reason = f"{error.strerror or error}" if isinstance(error, OSError) else str(error)
            why += f"{'; ' if why else ''}{means} cannot be used here: {reason}"
    raise LoadError(why)


def _open(means: str, order: Order, demand: Demand) -> Sender:
    _enter(order.far)
    # Only with GRO has a veth interface the XDP queue that the injector needs; without, it takes the plainer way.
    _set_gro(order.into, means == "xdp")
    if means == "xdp":
        return Injector(order.into, demand)
    _enter(order.near)
    return NativeSender(order.out, demand) if means == "sendmmsg" else PythonSender(order.out, demand)


def _enter(namespace_fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace_fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _set_gro(ifname: str, on: bool) -> None:
    """drivers/net/veth.c, veth_set_features; kernels that cannot (before 5.13) never had it on."""
    value = ctypes.create_string_buffer(struct.pack("=2I", _ETHTOOL_SGRO, on), 8)
    request = struct.pack("@16sP16x", os.fsencode(ifname), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        try:
            fcntl.ioctl(opened, _SIOCETHTOOL, request)
        except OSError as error:
            if on or error.errno != errno.EOPNOTSUPP:
                raise


def _tell(**record: Any) -> None:
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(record).encode() + b"\n")


def _send(sender: Sender) -> None:
    """The sending thread: the last thing that this process does."""
    try:
        sender.run()
        _tell(sent=asdict(sender.sent()))
    except BaseException as error:  # noqa: BLE001 (told to the one who waits)
        _tell(error=f"sending by {sender.means} failed: {error}", sent=asdict(sender.sent()))
    os._exit(0)


def main() -> int:
    """Obeys standard input until the sending has ended, or until nobody holds its other end."""
    signal.signal(signal.SIGUSR1, lambda *_: None)  # interrupts the injector's one long system call
    try:
        order = Order(**json.loads(sys.argv[1]))
        if order.cpu is not None:
            os.sched_setaffinity(0, {order.cpu})
        sender, why = open_sender(order)
    except (LoadError, OSError, ValueError, OverflowError) as error:
        _tell(error=str(error))
        return 1
    _tell(ready=sender.means, note=why)
    for line in sys.stdin.buffer:
        if line == b"go\n":
            threading.Thread(target=_send, args=(sender,), name="sender").start()
        elif line == b"stop\n":  # may come before the go: then nothing is sent, and that is said
            sender.stop()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
