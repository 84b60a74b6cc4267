"""The pair: made without touching the host's namespace, and gone with whoever made it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from namespace_ids import gone, living, named

from ingest.load.namespaces import CAPABILITIES, Namespace, NamespaceError, PairCounters, VethPair, missing_capabilities
from tuner.host.files import HostFiles

PROJECT = Path(__file__).parents[3]


def here() -> tuple[str, list[str]]:
    with open("/proc/thread-self/net/dev") as lines:
        names = sorted(line.split(":")[0].strip() for line in lines if ":" in line)
    return os.readlink("/proc/thread-self/ns/net"), names


def test_the_pair_is_elsewhere_and_gone_at_the_end(pair: VethPair) -> None:
    before, threads, descriptors = here(), threading.active_count(), len(os.listdir("/proc/self/fd"))
    with VethPair() as other:
        near, far = other.near.call(here), other.far.call(here)
        assert near[1] == ["lo", other.out]
        assert far[1] == ["lo", other.into]
        assert len({before[0], near[0], far[0], pair.near.call(here)[0], pair.far.call(here)[0]}) == 5
        assert here() == before
        ids = [named(f"/proc/self/fd/{each.fileno()}") for each in (other.near, other.far)]
        assert set(ids) <= living()
    assert gone(ids)
    assert here() == before
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_nothing_is_sent_that_we_did_not_send(pair: VethPair) -> None:
    time.sleep(0.3)  # neighbour discovery and multicast reports would come at once
    assert pair.counters() == PairCounters(0, 0, 0)


def test_what_fails_inside_is_raised_outside(pair: VethPair) -> None:
    with pytest.raises(ZeroDivisionError):
        pair.near.call(divmod, 1, 0)
    closed = Namespace()
    closed.close()
    closed.close()
    with pytest.raises(NamespaceError, match="cannot enter"):
        closed.call(here)


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        ("000001ffffffffff", ()),
        ("0000000000002000", ("CAP_SYS_ADMIN", "CAP_NET_ADMIN")),
        ("0000000000200000", ("CAP_NET_ADMIN", "CAP_NET_RAW")),
        ("0000000000000000", tuple(CAPABILITIES)),
        ("rubbish", tuple(CAPABILITIES)),
    ],
)
def test_capabilities_that_are_missing_are_named(tmp_path: Path, effective: str, missing: tuple[str, ...]) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text(f"Name:\tx\nCapEff:\t{effective}\nCapBnd:\tffffffffffffffff\n")
    assert missing_capabilities(HostFiles(str(tmp_path))) == missing


def children_of(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def packets_into(pid: int) -> int:
    """What interface qcinto of a process's namespace has received, or qcout sent."""
    for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines():
        name, _, values = line.partition(":")
        if name.strip() == "qcout":
            return int(values.split()[9])
    return 0


@pytest.mark.parametrize(("rate", "means"), [("50k", "sendmmsg"), ("700k", "xdp")])
def test_kill_leaves_nothing(pair: VethPair, rate: str, means: str) -> None:
    command = [sys.executable, "-m", "ui.cli.main", "selftest", "--rate", rate, "--seconds", "100"]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 30
        sender = 0
        # until the sender is at work: in another namespace, its second thread there
        while not sender or len(os.listdir(f"/proc/{sender}/task")) < 2:
            assert process.poll() is None
            assert time.monotonic() < limit
            sender = next(iter(children_of(process.pid)), 0)
            time.sleep(0.05)
        time.sleep(0.2)
        held = [f"/proc/{process.pid}/fd/{number}" for number in os.listdir(f"/proc/{process.pid}/fd")]
        held = [path for path in held if os.path.islink(path) and os.readlink(path).startswith("net:[")]
        inodes = {os.readlink(path) for path in held}
        assert len(inodes) == 2
        assert os.readlink(f"/proc/{sender}/ns/net") in inodes
        ids = [named(path) for path in held]
        if means == "sendmmsg":
            assert packets_into(sender) > 0
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert gone(ids)
    finally:
        process.kill()
        process.wait()
    assert not os.path.exists(f"/proc/{sender}/ns/net") or os.readlink(f"/proc/{sender}/ns/net") not in inodes
    assert "qcout" not in Path("/proc/net/dev").read_text()
