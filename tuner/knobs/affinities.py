"""Saved affinities of threads: what several knobs keep so that they can put back what they or the kernel moved.

The compact form is ``{"0-7": ["812:3321", …]}``: a CPU list to threads as ``TID:START``, since numbers are used again.
"""

import errno
from collections.abc import Iterable

from tuner.host.cpulist import format_list, parse_list
from tuner.host.host import Host
from tuner.host.threads import Thread

Affinities = dict[str, list[str]]


def saved(threads: Iterable[Thread]) -> Affinities:
    """The affinities of these threads."""
    masks: Affinities = {}
    for thread in threads:
        masks.setdefault(format_list(thread.allowed), []).append(f"{thread.tid}:{thread.start_ticks}")
    return masks


def put_back(host: Host, masks: Affinities) -> None:
    """Gives each thread that is still there the CPUs that it had. Threads that ended have nothing to be given.

    Raises:
        OSError: the first refusal, after all threads were tried.
    """
    alive = {f"{t.tid}:{t.start_ticks}": t for t in host.syscalls.threads()}
    refused: OSError | None = None
    for cpus_text, names in masks.items():
        cpus = parse_list(cpus_text)
        for thread in (alive[name] for name in names if name in alive):
            if thread.allowed == cpus:
                continue
            try:
                host.syscalls.set_affinity(thread.tid, cpus)
            except OSError as error:
                if error.errno != errno.ESRCH:
                    refused = refused or error
    if refused is not None:
        raise refused
