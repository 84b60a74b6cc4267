"""The port to this machine's kernel: reading lo and the real NIC, changing nothing but a thread of this process."""

import errno
import json
import os
import struct
import subprocess
import sys
import threading
import time

import pytest

from tuner.host.files import HostFiles
from tuner.host.nics import read_nics
from tuner.host.syscalls import LinuxSyscalls

NOT_HERE = (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL)
HOSTILE = ["a\x1b[2Jb", "eth(0)", "\udcff\udcfe", "größe", "$(reboot)", "%d", "x" * 15]
REFUSED = ["", "x" * 16, "x" * 5000, "a/b", "a b", "a\0b", ".", "..", "eth0\n", "ö" * 8]


@pytest.fixture(scope="module")
def machine() -> LinuxSyscalls:
    return LinuxSyscalls(HostFiles("/"))


@pytest.fixture(scope="module")
def physical() -> str:
    names = [nic.name for nic in read_nics(HostFiles("/")) if nic.physical]
    if not names:
        pytest.skip("this machine has no physical NIC")
    return names[0]


def requests(machine: LinuxSyscalls):
    return {
        "driver": machine.driver,
        "permanent_address": machine.permanent_address,
        "rings": machine.rings,
        "channels": machine.channels,
        "statistics": machine.statistics,
    }


def test_the_driver_is_what_sysfs_says(machine, physical):
    nic = next(nic for nic in read_nics(HostFiles("/")) if nic.name == physical)
    found = machine.driver(physical)
    assert found.name == nic.driver
    if nic.pci and found.bus:
        assert found.bus == nic.pci


def test_what_the_nic_of_this_machine_has(machine, physical):
    nic = next(nic for nic in read_nics(HostFiles("/")) if nic.name == physical)
    try:
        rings = machine.rings(physical)
        assert 0 < rings.rx <= rings.rx_max
        assert 0 < rings.tx <= rings.tx_max
    except OSError as error:
        assert error.errno in NOT_HERE  # noqa: PT017
    try:
        channels = machine.channels(physical)
        assert channels.combined <= channels.combined_max
        assert channels.combined + channels.rx <= max(nic.rx_queues, 1)
    except OSError as error:
        assert error.errno in NOT_HERE  # noqa: PT017
    try:
        assert all(isinstance(value, int) for value in machine.statistics(physical).values())
    except OSError as error:
        assert error.errno in NOT_HERE  # noqa: PT017


def test_ethtool_says_the_same_of_the_rings(machine, physical):
    try:
        answer = subprocess.run(["ethtool", "-g", physical], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("ethtool is not installed")
    try:
        rings = machine.rings(physical)
    except OSError as error:
        assert answer.returncode, error  # noqa: PT017
        return
    current = answer.stdout.partition("Current hardware settings:")[2]
    shown = {line.split(":")[0]: line.split(":")[1].strip() for line in current.splitlines() if ":" in line}
    assert (str(rings.rx), str(rings.tx)) == (shown["RX"], shown["TX"])


def test_loopback_has_no_rings_and_no_address_burnt_in(machine):
    for ask in (machine.rings, machine.channels):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
            ask("lo")
        assert caught.value.errno == errno.EOPNOTSUPP
    assert machine.permanent_address("lo") is None


@pytest.mark.parametrize("request_name", ["driver", "permanent_address", "rings", "channels", "statistics"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_that_could_be_is_an_oserror(machine, request_name, name):
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
        requests(machine)[request_name](name)
    assert caught.value.errno in (errno.ENODEV, errno.EOPNOTSUPP)


@pytest.mark.parametrize("request_name", ["driver", "permanent_address", "rings", "channels", "statistics"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_cannot_be_never_reaches_the_kernel(machine, request_name, name):
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
        requests(machine)[request_name](name)
    assert caught.value.errno == errno.ENODEV


def test_nothing_is_set_on_what_is_not_there(machine):
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
        machine.set_rings("no-such-nic", rx=64)
    assert caught.value.errno == errno.ENODEV


def test_no_descriptor_stays_open(machine):
    with pytest.raises(OSError):  # noqa: PT011 - whatever it says
        machine.rings("lo")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        for ask in (machine.rings, machine.channels, machine.driver):
            for name in ("lo", "no-such-nic"):
                try:
                    ask(name)
                except OSError:
                    continue
    assert len(os.listdir("/proc/self/fd")) == before


IN_A_NAMESPACE = """
import ctypes, json, os, subprocess, sys
if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
    sys.exit(f"no network namespace: {os.strerror(ctypes.get_errno())}")
pair = [b"v\\x1b[7m", b"type", b"veth", b"peer", b"name", b"p\\xff\\xfe"]
made = subprocess.run([b"ip", b"link", b"add", *pair], capture_output=True)
if made.returncode:
    sys.exit(f"no veth: {made.stderr!r}")
from tuner.host.files import HostFiles
from tuner.host.syscalls import LinuxSyscalls
machine = LinuxSyscalls(HostFiles("/"))
found = {}
for name in ("v\\x1b[7m", "p\\udcff\\udcfe"):
    for ask in (machine.driver, machine.permanent_address, machine.channels, machine.statistics, machine.rings):
        try:
            answer = ask(name)
            found[f"{ask.__name__} {ascii(name)}"] = answer if isinstance(answer, (dict, type(None))) else repr(answer)
        except OSError as error:
            found[f"{ask.__name__} {ascii(name)}"] = error.errno
print(json.dumps(found))
"""


def test_a_pair_of_interfaces_with_hostile_names_in_a_namespace():
    run = subprocess.run([sys.executable, "-c", IN_A_NAMESPACE], capture_output=True, text=True)
    if run.returncode and ("no network namespace" in run.stderr or "no veth" in run.stderr):
        pytest.skip(f"no interface can be made here: {run.stderr.strip()[-120:]}")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    named, bytes_ = ascii("v\x1b[7m"), ascii("p\udcff\udcfe")
    assert "name='veth'" in found[f"driver {named}"]
    assert "name='veth'" in found[f"driver {bytes_}"]
    assert found[f"permanent_address {named}"] is None
    assert "rx=1, tx=1" in found[f"channels {named}"]
    assert "peer_ifindex" in found[f"statistics {named}"]
    assert found[f"rings {named}"] == errno.EOPNOTSUPP
    assert found[f"channels {bytes_}"] == errno.EOPNOTSUPP  # the library takes no such name, and says so


def test_only_what_is_named_of_the_rings_changes(machine, monkeypatch):
    # no NIC here may be touched: the library's class is replaced, what it would hand to the kernel is compared
    import pyroute2.ethtool.ioctl as library

    handed: list[dict[str, int]] = []

    class Tool:
        def __init__(self, name: str) -> None:
            self.name = name

        def get_rings(self) -> dict[str, int]:
            return {"rx": 256, "rx_mini": 7, "rx_jumbo": 9, "tx": 512, "rx_max": 4096, "tx_max": 4096}

        def set_rings(self, rings: dict[str, int]) -> None:
            handed.append(rings)

        def close(self) -> None:
            handed.append({})

    monkeypatch.setattr(library, "IoctlEthtool", Tool)
    machine.set_rings("eth9", rx=1024)
    machine.set_rings("eth9", tx=64)
    first, _, second, _ = handed
    assert (first["rx"], first["tx"], first["rx_mini"], first["rx_jumbo"]) == (1024, 512, 7, 9)
    assert (second["rx"], second["tx"]) == (256, 64)


# ------------------------------------------------------------------------------------------------------- threads and time


def test_the_threads_of_this_machine_and_the_affinity_of_one(machine):
    go_on = threading.Event()
    worker = threading.Thread(target=go_on.wait, args=(20,))
    worker.start()
    try:
        tid = worker.native_id
        assert tid is not None
        everywhere = os.sched_getaffinity(tid)
        one = frozenset({min(everywhere)})
        machine.set_affinity(tid, one)
        found = {thread.tid: thread for thread in machine.threads()}
        assert found[tid].allowed == one
        assert found[tid].pid == os.getpid()
        assert found[os.getpid()].allowed == os.sched_getaffinity(0) == everywhere
        with open(f"/proc/{os.getpid()}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            assert f"0::{found[tid].cgroup}\n" in file.read() or found[tid].cgroup == "/"
    finally:
        go_on.set()
        worker.join()


def test_kernel_threads_that_belong_to_their_cpu_are_known(machine):
    bound = [thread for thread in machine.threads() if thread.name == "ksoftirqd/0"]
    if not bound:
        pytest.skip("no kernel threads are to be seen here (a container)")
    assert (bound[0].kernel, bound[0].movable, bound[0].allowed) == (True, False, {0})


def test_no_cpu_at_all_and_no_thread_at_all(machine):
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
        machine.set_affinity(threading.get_native_id(), frozenset({1000}))
    assert caught.value.errno == errno.EINVAL
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        beyond = int(file.read())
    with pytest.raises(ProcessLookupError):
        machine.set_affinity(beyond, frozenset({0}))


def test_the_boot_has_a_name_and_a_clock(machine):
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        assert machine.boot_id() == file.read().strip()
    with open("/proc/uptime", encoding="ascii") as file:
        uptime_s = float(file.read().split()[0])
    first = machine.boottime_ns()
    assert abs(first / 1e9 - uptime_s) < 5
    time.sleep(0.002)
    assert machine.boottime_ns() - first >= 2_000_000


def test_the_permanent_address_is_six_bytes_of_hex(machine, physical):
    try:
        address = machine.permanent_address(physical)
    except OSError as error:
        assert error.errno in NOT_HERE  # noqa: PT017
        return
    if address is not None:
        raw = bytes.fromhex(address.replace(":", ""))
        assert len(raw) in (6, 20)
        assert address == raw.hex(":")


def test_the_request_has_the_layout_of_the_kernels_structures(monkeypatch, machine):
    # struct ethtool_drvinfo is 196 bytes, ethtool_perm_addr 8 + the address; a shorter buffer would be overrun by the kernel
    from tuner.host import syscalls

    sizes: dict[int, int] = {}

    def request(_name: str, buffer: bytes) -> bytes:
        sizes[struct.unpack_from("=I", buffer)[0]] = len(buffer)
        return buffer

    monkeypatch.setattr(syscalls, "_request", request)
    machine.driver("lo")
    machine.permanent_address("lo")
    assert sizes[syscalls.ETHTOOL_GDRVINFO] == 196
    assert sizes[syscalls.ETHTOOL_GPERMADDR] >= 8 + 32
