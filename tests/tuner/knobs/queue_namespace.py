"""A network namespace of a test's own: a child process with its own /sys, in which a veth pair of four queues is qa and qb."""

import ctypes
import os
import shutil
import subprocess
import traceback
from collections.abc import Callable

import pytest

_NEWNS, _NEWNET = 0x00020000, 0x40000000
_SETUP = """
mount --make-rprivate / && mount -t sysfs sysfs /sys
ip link add name qa numtxqueues 4 numrxqueues 4 type veth peer name qb numtxqueues 4 numrxqueues 4
ip link add name qs numtxqueues 1 numrxqueues 1 type veth peer name qt numtxqueues 1 numrxqueues 1
ip link set lo up && ip link set qa up && ip link set qb up
"""


def in_namespace(work: Callable[[], None]) -> None:
    """Runs ``work`` there; a failed check of it fails the test. Skips where no namespace can be made."""
    for program in ("ip", "tc", "mount", "ethtool"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("network namespaces take root")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_child(work, write))
    os.close(write)
    with os.fdopen(read, encoding="utf-8", errors="replace") as said:
        text = said.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 77:
        pytest.skip(f"no network namespace: {text}")
    assert status == 0, text


def _child(work: Callable[[], None], write: int) -> int:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_NEWNS | _NEWNET):
            os.write(write, os.strerror(ctypes.get_errno()).encode())
            return 77
        made = subprocess.run(["sh", "-ec", _SETUP], capture_output=True, text=True, check=False)
        if made.returncode:
            os.write(write, made.stderr.encode())
            return 77
        work()
        return 0
    except BaseException:  # noqa: BLE001
        os.write(write, traceback.format_exc().encode())
        return 1


def said(*command: str) -> str:
    """What a program prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
