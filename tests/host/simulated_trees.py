"""Simulated hosts for the tests, in memory where the machine has that: on a disk so many small files come and go slowly."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tuner.host.host import Host, open_host
from tuner.host.simulated import write_tree

CGROUP = "/sys/fs/cgroup"
GROUP = f"{CGROUP}/quietcore"
PLACE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextmanager
def new_directory() -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="quietcore-test-", dir=PLACE)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def simulated(**size: int) -> Iterator[Host]:
    with new_directory() as directory:
        write_tree(directory, **size)
        yield open_host(directory)


@contextmanager
def refusal(code: int) -> Iterator[None]:
    """The kernel's refusal with exactly this errno."""
    with pytest.raises(OSError, match=r"\w") as failure:
        yield
    assert failure.value.errno == code, failure.value


def snapshot(root: object, below: str = "") -> dict[str, tuple[str, int, bytes]]:
    """Every file, directory and link with its kind, mode and content."""
    found: dict[str, tuple[str, int, bytes]] = {}
    for base, directories, names in os.walk(os.path.join(str(root), below)):
        for name in directories + names:
            path = os.path.join(base, name)
            if os.path.islink(path):
                found[path] = ("link", 0, os.readlink(path).encode())
            elif os.path.isdir(path):
                found[path] = ("directory", os.stat(path).st_mode, b"")
            else:
                with open(path, "rb") as file:
                    found[path] = ("file", os.stat(path).st_mode, file.read())
    return found


def differing(before: dict, after: dict) -> list[str]:
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def isolate(host: Host, cpus: str, kind: str = "isolated") -> str:
    """Makes a partition of ``cpus`` in ``GROUP``, and gives back what the kernel says of it."""
    host.files.write(f"{CGROUP}/cgroup.subtree_control", "+cpuset")
    host.files.make_directory(GROUP)
    host.files.write(f"{GROUP}/cpuset.cpus", cpus)
    host.files.write(f"{GROUP}/cpuset.cpus.partition", kind)
    return host.files.text(f"{GROUP}/cpuset.cpus.partition")
