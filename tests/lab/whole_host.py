"""Every setting that a host has, as far as it can be read: what must be the same after a rollback, whatever a profile touched.

A setting is a file below /sys or /proc that its owner may write, or that shows what such a one does (``effective``), and
what is no file: driver settings, affinities of threads, the cpusets of the cgroup tree, files of /etc/default.
"""

import os
import stat

from tuner.host.cpulist import format_list
from tuner.host.host import Host, Inventory

_TREES = ("/proc/sys", "/proc/irq", "/sys")
# reading has effects, may wait, or shows the passage of time and nothing else
_NOT_BELOW = (
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/slab",
    "/sys/kernel/security",
    "/sys/power",
    "/sys/fs/cgroup",
    "/sys/fs/pstore",
    "/sys/fs/bpf",
    "/sys/firmware",
    "/sys/block",
    "/sys/bus/pci/slots",
    "/proc/sys/kernel/random",
    "/proc/sys/fs/binfmt_misc",
)
_NOT_NAMED = frozenset(
    {"uevent", "rescan", "remove", "reset", "bind", "unbind", "drivers_probe", "config", "rom", "vpd", "resource"}
    | {"new_id", "remove_id", "ns_last_pid", "trigger", "usermodehelper"}
)
_MEASURED = ("/byte_queue_limits/limit", "/byte_queue_limits/inflight")  # writable, and the kernel's own figures all the same
_SHOWN = ("effective_affinity", "effective_affinity_list")
_LIMIT = 4096


def settings(host: Host) -> dict[str, str]:
    """All of them by name."""
    found: dict[str, str] = {}
    for tree in _TREES:
        for base, directories, names in os.walk(tree):
            directories[:] = [d for d in directories if f"{base}/{d}" not in _NOT_BELOW and not d.startswith("resource")]
            for name in names:
                if name not in _NOT_NAMED and (text := _read(f"{base}/{name}", name in _SHOWN)) is not None:
                    found[f"{base}/{name}"] = text
    for base, _, names in os.walk("/sys/fs/cgroup"):
        for name in names:
            if name.startswith("cpuset.") or name == "cgroup.subtree_control":
                found[f"{base}/{name}"] = _read(f"{base}/{name}", True) or ""
    for base, _, names in os.walk("/etc/default"):
        found |= {f"{base}/{name}": _read(f"{base}/{name}", True) or "" for name in names}
    found |= _of_nics(host)
    for thread in host.syscalls.threads():
        if thread.movable and not thread.name.startswith("kworker") and not _ended(thread.tid):
            found[f"thread {thread.tid}:{thread.start_ticks} {thread.name}"] = format_list(thread.allowed)
    return found


def _ended(tid: int) -> bool:
    """Whether a process has ended and only waits for its parent: nobody can bind it to a CPU any more."""
    text = _read(f"/proc/{tid}/stat", True) or ""
    return text.rpartition(")")[2].split()[:1] == ["Z"]


def _of_nics(host: Host) -> dict[str, str]:
    found = {}
    for nic in Inventory(host).nics:
        found[f"driver settings of {nic.name}"] = str(_or_error(lambda nic=nic: host.syscalls.driver_settings(nic.name)))
        found[f"rings of {nic.name}"] = str(_or_error(lambda nic=nic: host.syscalls.rings(nic.name)))
    return found


def _or_error(read: object) -> object:
    try:
        return read()  # type: ignore[operator]
    except OSError as error:
        return error.strerror


def _read(path: str, shown: bool) -> str | None:
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or not status.st_mode & stat.S_IRUSR:
            return None
        if not shown and not status.st_mode & stat.S_IWUSR:
            return None
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(fd, _LIMIT).decode("utf-8", "replace").strip()
        finally:
            os.close(fd)
    except OSError as error:
        return f"<{error.strerror}>"


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is no longer so. Threads that began or ended meanwhile are nobody's change; nor is where an idle vector stands."""
    found = []
    for key in sorted(before.keys() | after.keys()):
        if key.startswith("thread ") and (key not in before or key not in after):
            continue
        if "/effective_affinity" in key or key.endswith(_MEASURED):
            continue  # moves with the next interrupt, inside the affinity that is compared
        if before.get(key) != after.get(key):
            found.append(f"{key}: {before.get(key)} -> {after.get(key)}")
    return found
