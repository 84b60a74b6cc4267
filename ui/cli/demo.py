"""The host of ``--demo``: a simulated trading host that was tuned by the real engine, and on which a story may be told.

It has two NICs for feeds, one for management and an NVMe disk; the profile ``feed-handler`` was applied to it, but for the
receive ring of the first feed's NIC, which somebody wanted small. Every command works on it by ``--root``.
"""

import contextlib
import os
from collections.abc import Iterator

from tuner.host.host import Host, open_host
from tuner.host.simulated import Simulation, write_tree
from tuner.host.simulated.demo import PAST_S, demo_place
from tuner.host.simulated.story import calm
from tuner.lock import lock_path
from tuner.permission import Options
from tuner.store import Store
from tuner.transaction import apply
from ui.cli.context import STATE, Context
from ui.cli.plan import make_plan

PROFILE, ALLOWED = "feed-handler", "link"
SMALL_RING = "nic.feed.rings.rx=512"
_LINE_B, _DEEP = "eth3", 4096
_HOSTNAME = "demo-md-01"
_APPLICATION = "md_feed"


def make_demo(root: str, state: str | None = None) -> tuple[Context, Simulation]:
    """Writes the host into a new or empty directory; about a quarter of a second.

    Args:
        root: the directory.
        state: where its transactions are kept; in its own /var/lib where not given.

    Raises:
        FileExistsError: the directory holds something already.
        OSError: it cannot be written, or tuned.
    """
    write_tree(root, management=1)
    host = open_host(root)
    context = Context(host, root, Store(state or root + STATE, lock_path(root)))
    host.files.write("/proc/sys/kernel/hostname", _HOSTNAME)
    host.syscalls.set_rings(_LINE_B, rx=_DEEP)
    plan = make_plan(context, PROFILE, [], sets=[SMALL_RING])
    with context.store.lock():
        result = apply(
            host, context.store, plan, Options(frozenset({ALLOWED})), arm=_armed, progress=lambda _: None, stopped=lambda: ""
        )
    if result.outcome != "confirmed":
        raise OSError(5, f"the demo's host could not be tuned: {result.error or result.outcome}", root)
    _move_in(host)
    simulation = Simulation(host)
    simulation.weather = calm(host)
    simulation.advance(PAST_S)
    return Context(host, root, context.store, simulation), simulation


def _armed(number: int) -> None:
    raise OSError(5, f"transaction {number} of the demo's host needs no timer")


def _move_in(host: Host) -> None:
    """The application onto its cores, as its start script would: into the partition, the thread that spins to the first."""
    group = "/sys/fs/cgroup/quietcore"
    threads = [thread for thread in host.syscalls.threads() if thread.name.partition("/")[0] == _APPLICATION]
    host.files.write(f"{group}/cgroup.procs", str(threads[0].pid))
    for place, thread in enumerate(sorted(threads, key=lambda each: "/rx" not in each.name)):
        host.syscalls.set_affinity(thread.tid, frozenset({6 + place}))


@contextlib.contextmanager
def open_demo(state: str | None) -> Iterator[Context]:
    """The host for as long as a command works on it; its files are gone afterwards.

    Raises:
        OSError: there is no place for 25 MB of files.
    """
    with demo_place() as directory:
        context, _ = make_demo(os.path.join(directory, "host"), state)
        yield context
