"""Writes, mkdir and rmdir in the cgroup hierarchy of a simulated host, and everything that follows from them."""

import errno
import os

from tuner.host.cpulist import CpuListError, format_list, format_mask, parse_list, parse_mask
from tuner.host.files import HostFiles, replace_content
from tuner.host.simulated import cgroups
from tuner.host.simulated.cgroups import ROOT
from tuner.host.simulated.documents import Document, change_document
from tuner.host.simulated.settings import refusal
from tuner.host.simulated.shape import Shape
from tuner.host.simulated.tree import WORKQUEUES
from tuner.host.simulated.tree_threads import THREADS

NEW_FILE = "/etc/quietcore/simulated.new"


def check_make(files: HostFiles, name: str) -> None:
    """Refuses a mkdir that the kernel would refuse: outside the hierarchy, without parent, or there already."""
    parent = name.rpartition("/")[0]
    if not (name.startswith(ROOT + "/") and files.exists(f"{parent}/cgroup.procs")):
        raise refusal(errno.ENOENT if name.startswith(ROOT) else errno.EPERM, name)
    if files.exists(name):
        raise refusal(errno.EEXIST, name)
    if "\n" in name:
        raise refusal(errno.EINVAL, name)


def check_remove(files: HostFiles, name: str) -> None:
    """Refuses an rmdir that the kernel would refuse: a group with children or processes is EBUSY."""
    if not files.exists(f"{name}/cgroup.procs"):
        raise refusal(errno.ENOENT, name)
    if name.rstrip("/") == ROOT or (files.optional(f"{name}/cgroup.procs") or "") or _children(files, name):
        raise refusal(errno.EBUSY, name)


def _children(files: HostFiles, name: str) -> list[str]:
    return [f"{name}/{entry}" for entry in files.entries(name) if files.exists(f"{name}/{entry}/cgroup.procs")]


def _handed_down(files: HostFiles, directory: str) -> list[str]:
    return (files.optional(f"{directory}/cgroup.subtree_control") or "").split()


def make(files: HostFiles, shape: Shape, name: str) -> None:
    """Makes a group with the files that its parent's controllers give it."""
    os.makedirs(files.path(name), 0o755, exist_ok=True)
    handed_down = _handed_down(files, name.rpartition("/")[0])
    controllers = tuple(c for c in cgroups.CONTROLLERS if c in handed_down)
    content = cgroups.files_of_group(controllers) | {"cgroup.controllers": " ".join(controllers)}
    for leaf, value in content.items():
        _create(files, f"{name}/{leaf}", value + "\n" if leaf != "cgroup.procs" else "")
    react(files, shape)


def remove(files: HostFiles, shape: Shape, name: str) -> None:
    """Removes a group, or what is left of it; its CPUs go back to its parent."""
    for entry in files.entries(name):
        os.unlink(files.path(f"{name}/{entry}"))
    if files.exists(name):
        os.rmdir(files.path(name))
    react(files, shape)


def _create(files: HostFiles, name: str, content: str) -> None:
    """A new file, there at once with its content and mode: a file that is there already is never made anew."""
    new = files.path(NEW_FILE)
    replace_content(new, content.encode())
    os.chmod(new, 0o444 if name.rpartition("/")[2] in cgroups.READ_ONLY else 0o644)
    os.rename(new, files.path(name))


def shown(files: HostFiles, shape: Shape, path: str, value: str) -> str:
    """What a file of the hierarchy will show after ``value`` was written, without its line end.

    Raises:
        OSError: as the kernel refuses it.
    """
    directory, _, leaf = path.rpartition("/")
    if leaf == "cgroup.subtree_control":
        return _shown_subtree(files, directory, value)
    if leaf == "cgroup.procs":
        return _shown_members(files, directory, value)
    if leaf in ("cpuset.cpus", "cpuset.cpus.exclusive"):
        try:
            cpus = parse_list(value.strip())
        except CpuListError as error:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path) from error
        if cpus - shape.all_cpus:
            raise refusal(errno.ERANGE, path)
        return format_list(cpus)
    if leaf == "cpuset.cpus.partition":
        if value.strip() not in cgroups.PARTITIONS:
            raise refusal(errno.EINVAL, path)
        return value.strip()
    if leaf == "cpuset.mems":
        try:
            return format_list(parse_list(value.strip(), shape.nodes))
        except CpuListError as error:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path) from error
    return value


def _shown_subtree(files: HostFiles, directory: str, value: str) -> str:
    name = f"{directory}/cgroup.subtree_control"
    enabled = set(_handed_down(files, directory))
    available = (files.optional(f"{directory}/cgroup.controllers") or "").split()
    for word in value.split():
        sign, controller = word[:1], word[1:]
        if sign not in ("+", "-") or controller not in cgroups.CONTROLLERS:
            raise refusal(errno.EINVAL, name)
        if sign == "+" and controller not in available:
            raise refusal(errno.ENOENT, name)
        if sign == "-" and any(controller in _handed_down(files, child) for child in _children(files, directory)):
            raise refusal(errno.EBUSY, name)
        (enabled.add if sign == "+" else enabled.discard)(controller)
    if directory != ROOT and enabled and files.optional(f"{directory}/cgroup.procs"):
        raise refusal(errno.EBUSY, name)  # no processes in inner groups
    return " ".join(c for c in cgroups.CONTROLLERS if c in enabled)


def _shown_members(files: HostFiles, directory: str, value: str) -> str:
    """The members after one more has come: its PID, since the file takes one at a time (0 would be the writer)."""
    name = f"{directory}/cgroup.procs"
    if not value.strip().isdigit():
        raise refusal(errno.EINVAL, name)
    pid = int(value)
    known = {int(p) for group in cgroups.read_groups(files).walk() for p in group.procs}
    if pid not in known:
        raise refusal(errno.ESRCH, name)
    if directory != ROOT and _handed_down(files, directory):
        raise refusal(errno.EBUSY, name)
    members = {int(p) for p in (files.optional(name) or "").split()} | {pid}
    return "\n".join(map(str, sorted(members)))


def react_to(files: HostFiles, shape: Shape, path: str, content: str) -> None:
    """After a file of the hierarchy was stored: controllers come and go, processes move, CPUs are dealt out anew."""
    directory, _, leaf = path.rpartition("/")
    if leaf == "cgroup.subtree_control":
        _hand_down(files, directory, tuple(content.split()))
    elif leaf == "cgroup.procs":
        _take_over(files, directory, frozenset(map(int, content.split())))
    react(files, shape)


def _hand_down(files: HostFiles, directory: str, controllers: tuple[str, ...]) -> None:
    for child in _children(files, directory):
        for controller in cgroups.CONTROLLERS:
            for leaf, value in cgroups.files_of_controller(controller).items():
                there = files.exists(f"{child}/{leaf}")
                if controller in controllers and not there:
                    _create(files, f"{child}/{leaf}", value + "\n")
                elif controller not in controllers and there:
                    os.unlink(files.path(f"{child}/{leaf}"))
        replace_content(files.path(f"{child}/cgroup.controllers"), (" ".join(controllers) + "\n").encode())


def _take_over(files: HostFiles, directory: str, members: frozenset[int]) -> None:
    path = directory.removeprefix(ROOT) or "/"

    def change(document: Document) -> None:
        for row in document["threads"]:
            if row["pid"] in members:
                row["cgroup"] = path

    change_document(files.path(THREADS), change)
    for group in cgroups.read_groups(files).walk():
        kept = group.procs if group.path == path else tuple(pid for pid in group.procs if pid not in members)
        replace_content(files.path(f"{group.directory}/cgroup.procs"), "".join(f"{pid}\n" for pid in kept).encode())


def react(files: HostFiles, shape: Shape) -> None:
    """Rewrites what follows from the wishes in the whole hierarchy, and what follows from the isolated CPUs elsewhere."""
    if not files.exists(f"{ROOT}/cgroup.controllers"):  # a host of cgroup v1
        return
    root = cgroups.read_groups(files)
    isolated = cgroups.settle(root, parse_list(files.text("/sys/devices/system/cpu/online")), frozenset())
    mems = format_list(range(shape.nodes))
    for group in root.walk():
        for leaf, value in cgroups.shown(group, mems).items():
            _update(files, f"{group.directory}/{leaf}", value)
    _update(files, f"{ROOT}/cpuset.cpus.isolated", format_list(isolated))
    requested = parse_mask(files.text(f"{WORKQUEUES}/cpumask_requested"))
    # workqueue_unbound_exclude_cpumask, since 6.8: left alone where nothing would remain
    _update(files, f"{WORKQUEUES}/cpumask", format_mask(requested - isolated or requested, shape.cpus))
    _update(files, f"{WORKQUEUES}/cpumask_isolated", format_mask(isolated, shape.cpus))


def _update(files: HostFiles, name: str, value: str) -> None:
    content = (value + "\n").encode()
    if files.read(name) != content:  # to the byte: a process that died while it rewrote this left empty lines behind
        replace_content(files.path(name), content)
