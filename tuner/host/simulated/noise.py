"""Machine checks and the scheduler's files in debugfs, on a simulated host.

Sources: arch/x86/kernel/cpu/mce/core.c (one variable behind a file for each CPU), kernel/sched/debug.c.
"""

import errno
import re

from tuner.host.files import HostFiles, replace_content
from tuner.host.simulated.settings import Setting, normalised, refusal
from tuner.host.simulated.shape import Shape
from tuner.host.simulated.writer import TreeWriter

MACHINE_CHECK = "/sys/devices/system/machinecheck"
SCHED = "/sys/kernel/debug/sched"
_PERIOD_NS = 1_000_000_000


def write_noise(tree: TreeWriter, shape: Shape) -> None:
    """The files as they are after boot."""
    for cpu in range(shape.cpus):
        tree.values(f"{MACHINE_CHECK}/machinecheck{cpu}", {"ignore_ce": 0, "check_interval": 300})
        tree.values(f"{SCHED}/fair_server/cpu{cpu}", {"runtime": 50_000_000, "period": _PERIOD_NS})
    tree.values(SCHED, {"preempt": "none (voluntary) full"})


def concerns(path: str) -> bool:
    """Whether this file is one of them."""
    return path.startswith((f"{MACHINE_CHECK}/", f"{SCHED}/"))


def shown(files: HostFiles, path: str, value: str) -> str:
    """What the file will show after the write.

    Raises:
        OSError: EINVAL, as the kernel refuses it.
    """
    leaf, current = path.rpartition("/")[2], files.text(path)
    if leaf == "preempt":
        word, words = value.strip(), re.sub(r"[()]", "", current).split()
        if word not in words:
            raise refusal(errno.EINVAL, path)
        return " ".join(f"({each})" if each == word else each for each in words)
    if leaf == "ignore_ce":  # any number but 0 is a yes
        return str(min(1, int(normalised(Setting("0", 0, (1 << 64) - 1), current, value, path))))
    if leaf == "runtime":
        return normalised(Setting("0", 0, files.number(f"{path.rpartition('/')[0]}/period") or 0), current, value, path)
    return normalised(Setting("0", 0), current, value, path)


def react_to(files: HostFiles, shape: Shape, path: str, content: str) -> None:
    """A setting of the machine-check code shows in the file of every CPU."""
    if path.startswith(f"{MACHINE_CHECK}/"):
        leaf = path.rpartition("/")[2]
        for cpu in range(shape.cpus):
            replace_content(files.path(f"{MACHINE_CHECK}/machinecheck{cpu}/{leaf}"), f"{content}\n".encode())
