"""The cpuset hierarchy of cgroup v1 on a simulated host, for a tree that has one instead of cgroup v2.

Sources: Documentation/admin-guide/cgroup-v1/cpusets.rst; kernel/cgroup/cpuset.c (validate_change, cpuset_can_attach).
"""

import errno
import os
from collections.abc import Iterator

from tuner.host.cpulist import CpuListError, CpuSet, format_list, parse_list
from tuner.host.files import HostFiles, replace_content
from tuner.host.simulated.settings import refusal
from tuner.host.simulated.shape import Shape

ROOT = "/sys/fs/cgroup/cpuset"
_BALANCE = "cpuset.sched_load_balance"
_NEW = {"cpuset.cpus": "", "cpuset.mems": "", "cpuset.cpu_exclusive": "0", _BALANCE: "1", "cpuset.effective_cpus": ""}


def concerns(files: HostFiles, name: str) -> bool:
    """Whether a path lies in this hierarchy, on a host that has it."""
    return name.startswith(ROOT + "/") and files.exists(f"{ROOT}/{_BALANCE}")


def root_files(shape: Shape, pids: list[int]) -> dict[str, str]:
    """The files of the root by path."""
    cpus = format_list(shape.all_cpus)
    values = _NEW | {"cpuset.cpus": cpus, "cpuset.effective_cpus": cpus, "cpuset.cpu_exclusive": "1"}
    found = {f"{ROOT}/{leaf}": f"{value}\n" for leaf, value in values.items()}
    return found | {
        f"{ROOT}/cpuset.mems": f"{format_list(range(shape.nodes))}\n",
        f"{ROOT}/cgroup.procs": "".join(f"{pid}\n" for pid in sorted(pids)),
    }


def check_make(files: HostFiles, name: str) -> None:
    """Refuses a mkdir without a parent, or of what is there."""
    if not files.exists(f"{name.rpartition('/')[0]}/{_BALANCE}"):
        raise refusal(errno.ENOENT, name)
    if files.exists(name):
        raise refusal(errno.EEXIST, name)


def make(files: HostFiles, name: str) -> None:
    """Makes a cpuset."""
    os.makedirs(files.path(name), 0o755, exist_ok=True)
    for leaf, value in _NEW.items():
        replace_content(files.path(f"{name}/{leaf}"), f"{value}\n".encode())
    replace_content(files.path(f"{name}/cgroup.procs"), b"")


def check_remove(files: HostFiles, name: str) -> None:
    """Refuses an rmdir of the root, or of a cpuset with processes or cpusets in it."""
    if not files.exists(f"{name}/{_BALANCE}"):
        raise refusal(errno.ENOENT, name)
    if name == ROOT or files.optional(f"{name}/cgroup.procs") or next(_below(files, name), None):
        raise refusal(errno.EBUSY, name)


def remove(files: HostFiles, name: str) -> None:
    """Removes a cpuset, or what is left of it."""
    for entry in files.entries(name):
        os.unlink(files.path(f"{name}/{entry}"))
    if files.exists(name):
        os.rmdir(files.path(name))


def shown(files: HostFiles, path: str, value: str) -> str:
    """What a file will show after ``value`` was written.

    Raises:
        OSError: as the kernel refuses it.
    """
    base, _, leaf = path.rpartition("/")
    word = value.strip()
    if leaf == "cgroup.procs":
        return _members(files, base, word)
    if leaf == "cpuset.cpus":
        cpus = _list(word, path)
        if base == ROOT or cpus - _cpus(files, base.rpartition("/")[0]):
            raise refusal(errno.EACCES, path)
        if not cpus and files.optional(f"{base}/cgroup.procs"):
            raise refusal(errno.ENOSPC, path)
        _check_exclusive(files, base, cpus, files.text(f"{base}/cpuset.cpu_exclusive") == "1")
        return format_list(cpus)
    if leaf == "cpuset.mems":
        return format_list(_list(word, path))
    if leaf in ("cpuset.cpu_exclusive", _BALANCE):
        if word not in ("0", "1"):
            raise refusal(errno.EINVAL, path)
        if leaf == "cpuset.cpu_exclusive":
            _check_exclusive(files, base, _cpus(files, base), word == "1")
        return word
    raise refusal(errno.EINVAL, path)


def react_to(files: HostFiles, path: str, content: str) -> None:
    """After a file was stored: what follows."""
    base, _, leaf = path.rpartition("/")
    if leaf == "cpuset.cpus":
        replace_content(files.path(f"{base}/cpuset.effective_cpus"), f"{content}\n".encode())
    elif leaf == "cgroup.procs":
        members = set(content.split())
        for other in (ROOT, *_below(files, ROOT)):
            if other == base:
                continue
            kept = [pid for pid in (files.optional(f"{other}/cgroup.procs") or "").split() if pid not in members]
            replace_content(files.path(f"{other}/cgroup.procs"), "".join(f"{pid}\n" for pid in kept).encode())


def react(files: HostFiles, online: CpuSet) -> None:
    """A CPU that went is taken out of every cpuset, and comes back in the root alone (hotplug_update_tasks_legacy)."""
    if not files.exists(f"{ROOT}/{_BALANCE}"):
        return
    for base in (ROOT, *_below(files, ROOT)):
        cpus = online if base == ROOT else _cpus(files, base) & online
        for leaf in ("cpuset.cpus", "cpuset.effective_cpus"):
            replace_content(files.path(f"{base}/{leaf}"), f"{format_list(cpus)}\n".encode())


def _below(files: HostFiles, base: str) -> Iterator[str]:
    for name in files.entries(base):
        if files.exists(f"{base}/{name}/{_BALANCE}"):
            yield f"{base}/{name}"
            yield from _below(files, f"{base}/{name}")


def _members(files: HostFiles, base: str, word: str) -> str:
    name = f"{base}/cgroup.procs"
    if not word.isdigit():
        raise refusal(errno.EINVAL, name)
    known = {pid for each in (ROOT, *_below(files, ROOT)) for pid in (files.optional(f"{each}/cgroup.procs") or "").split()}
    if word not in known:
        raise refusal(errno.ESRCH, name)
    if not files.optional(f"{base}/cpuset.cpus") or not files.optional(f"{base}/cpuset.mems"):
        raise refusal(errno.ENOSPC, name)
    members = {*(files.optional(name) or "").split(), word}
    return "\n".join(sorted(members, key=int))


def _check_exclusive(files: HostFiles, base: str, cpus: CpuSet, exclusive: bool) -> None:
    """Exclusive CPUs are shared with no sibling, whichever of the two says it."""
    parent = base.rpartition("/")[0]
    if exclusive and files.optional(f"{parent}/cpuset.cpu_exclusive") != "1":
        raise refusal(errno.EACCES, base)
    for sibling in files.entries(parent):
        other = f"{parent}/{sibling}"
        if other == base or not files.exists(f"{other}/{_BALANCE}"):
            continue
        if (exclusive or files.text(f"{other}/cpuset.cpu_exclusive") == "1") and cpus & _cpus(files, other):
            raise refusal(errno.EINVAL, base)


def _cpus(files: HostFiles, base: str) -> CpuSet:
    return parse_list(files.optional(f"{base}/cpuset.cpus") or "")


def _list(word: str, path: str) -> CpuSet:
    try:
        return parse_list(word)
    except CpuListError as error:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path) from error
