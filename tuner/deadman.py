"""The undo timer: a process of its own that undoes a transaction which nobody confirmed.

``tuner.arming`` starts it before the first write, so that neither a kill of the tool nor the loss of its terminal ends it; it
waits on CLOCK_BOOTTIME, which is deaf to changes of the wall clock and goes on while suspended; and it may undo one
transaction only. Once a second it looks whether that was confirmed or undone meanwhile, and ends.
"""

import argparse
import contextlib
import os
import signal
import socket
import sys
import time

from tuner.arming import READY
from tuner.host.host import Host, open_host
from tuner.host.text import printable
from tuner.journal import Journal
from tuner.lock import end_holder, lock_path
from tuner.reset import CARRIER_WAIT_S
from tuner.store import Refused, Store, TransactionRecord
from tuner.undo import undo

# Longer than the longest wait between two records: that for a carrier.
_STUCK_S = CARRIER_WAIT_S + 5.0


def _wait(host: Host, store: Store, number: int) -> bool:
    """Until the time is over (True), or the transaction was confirmed or undone before (False)."""
    deadline_ns: int | None = None
    while True:
        transaction = store.get(number)
        if transaction.state != "damaged":  # else it cannot be read for now: the time goes on
            deadline_ns = transaction.deadline_ns if _may_undo(transaction) else None
        if deadline_ns is None or not os.path.lexists(transaction.path):
            return False
        remaining_s = (deadline_ns - host.syscalls.boottime_ns()) / 1e9
        if remaining_s <= 0:
            return True
        time.sleep(min(1.0, remaining_s))


def _may_undo(transaction: TransactionRecord) -> bool:
    return transaction.state in ("prepared", "applying", "applied", "rolling-back")


def _fire(host: Host, store: Store, number: int) -> int:
    """Undoes, as soon as the lock can be had: a run that holds it may take longer than the time that was given.

    The run that made this very transaction is killed where it holds the lock and its journal stands still: it hangs in a
    driver, in a terminal that takes nothing, or was stopped. The journal says how far it came.
    """
    size, since = -1, time.monotonic()
    while os.path.lexists(store.get(number).path):
        try:
            with store.lock(wait_s=1.0):
                return _undo(host, store.get(number))
        except (Refused, OSError) as reason:
            transaction = store.get(number)
            if transaction.contents.size != size:
                size, since = transaction.contents.size, time.monotonic()
                _log(number, f"not undone yet: {reason}")
            elif time.monotonic() - since > _STUCK_S and end_holder(store.lock_path, transaction.process):
                _log(number, f"killed process {transaction.process}, which wrote nothing for {_STUCK_S:.0f} s")
            time.sleep(0.2)
    return 1


def _undo(host: Host, transaction: TransactionRecord) -> int:
    if not _may_undo(transaction) and transaction.state != "damaged":  # confirmed in the last moment
        return 0
    with Journal.reopen(transaction.path) as journal:
        results = undo(host, journal, transaction, "not confirmed in time")
    for result in results:
        _log(transaction.number, f"{result.knob} {result.target}: {result.result} {result.detail}")
    return 6 if any(r.residual for r in results) else 0


def _log(number: int, text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk must not keep it from undoing
        print(printable(f"transaction {number}: {text}", 1000), flush=True)


def main() -> int:
    """Waits and undoes; see the module."""
    parser = argparse.ArgumentParser(prog="tuner.deadman", description="Undoes one transaction unless it is confirmed in time.")
    parser.add_argument("--root", default="/")
    parser.add_argument("--state", required=True)
    parser.add_argument("--ready-fd", type=int, help="where to say that it stands; else to systemd")
    parser.add_argument("number", type=int)
    arguments = parser.parse_args()
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    host = open_host(arguments.root)
    store = Store(arguments.state, lock_path(arguments.root))
    _stands(arguments.ready_fd)
    if not _wait(host, store, arguments.number):
        return 0
    # from now on it ends what it began; before, a shutdown need not wait for it
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return _fire(host, store, arguments.number)


def _stands(ready_fd: int | None) -> None:
    """Tells whoever started this that it stands: by the pipe, or as sd_notify(3) does."""
    if ready_fd is not None:
        os.write(ready_fd, READY)
        os.close(ready_fd)
        return
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] in ("/", "@"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.sendto(b"READY=1", address.replace("@", "\0", 1) if address[0] == "@" else address)


if __name__ == "__main__":
    sys.exit(main())
