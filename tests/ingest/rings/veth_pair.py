"""Two network namespaces with a veth pair between them, and a paced sender: nothing of it touches the host's interfaces."""

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]
CLONE_NEWNET = 0x40000000
QUIET = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"
_serial = 0


@dataclass(frozen=True)
class VethPair:
    """Packets go from ``out`` in the namespace ``near`` to ``into`` in ``far``."""

    near: str
    far: str
    sender: Path
    out: str = "qcout"
    into: str = "qcinto"

    def start(
        self,
        packets: int,
        rate: int,
        size: int = 128,
        streams: int = 1,
        cpu: int = -1,
        first: int = 1,
        backwards: bool = False,
        moves: tuple[int, int] = (-1, 0),  # to which CPU and back, after how many packets each time
        port: int = 30001,
    ) -> "subprocess.Popen[str]":
        words = [self.into if backwards else self.out, packets, rate, size, streams, cpu, first, *moves, port]
        where = ["ip", "netns", "exec", self.far if backwards else self.near]
        return subprocess.Popen([*where, self.sender, *map(str, words)], stdout=subprocess.PIPE, text=True)

    def send(self, packets: int, rate: int, **more: int) -> int:
        """Sends and returns how many packets arrived at the far interface."""
        before = self.arrived()
        self.sent(self.start(packets, rate, **more))
        return self.arrived() - before

    @staticmethod
    def sent(sender: "subprocess.Popen[str]") -> int:
        output, _ = sender.communicate(timeout=60)
        assert sender.returncode == 0
        return int(output)

    def arrived(self) -> int:
        """Packets that came through; what finds the far side's backlog full is refused, and the sender sends it again."""
        command = ["ip", "-n", self.far, "-s", "-j", "link", "show", "type", "veth"]
        shown = subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8", "surrogateescape")
        return int(json.loads(shown, strict=False)[0]["stats64"]["rx"]["packets"])  # whatever its name is now

    def link(self, *words: str) -> None:
        """``ip link`` in the far namespace."""
        ip("-n", self.far, "link", *words)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread in the far namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{self.far}", "rb") as away:
            assert libc.setns(away.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert libc.setns(home.fileno(), CLONE_NEWNET) == 0


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def build_sender(directory: Path) -> Path:
    """The paced sender, or a skip where nothing can be compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the paced sender")
    program = directory / "sender"
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, HERE / "sender.c"], check=True)
    return program


@contextlib.contextmanager
def veth_pair(sender: Path) -> Iterator[VethPair]:
    """The pair, up; gone afterwards. Skips where namespaces cannot be made."""
    global _serial  # noqa: PLW0603
    _serial += 1
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("making network namespaces needs root and iproute2")
    pair = VethPair(f"qc{os.getpid()}n{_serial}", f"qc{os.getpid()}f{_serial}", sender)
    made = []
    try:
        for name in (pair.near, pair.far):
            added = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
            if added.returncode:
                pytest.skip(f"no network namespaces here: {added.stderr.strip()}")
            made.append(name)
            # the kernel's own neighbour discovery would be counted among our packets
            subprocess.run(["ip", "netns", "exec", name, "sh", "-c", QUIET], check=False, stderr=subprocess.DEVNULL)
        added = subprocess.run(
            ["ip", "-n", pair.near, "link", "add", pair.out, "type", "veth", "peer", "name", pair.into, "netns", pair.far],
            capture_output=True,
            text=True,
        )
        if added.returncode:
            pytest.skip(f"no veth interfaces here: {added.stderr.strip()}")
        ip("-n", pair.near, "link", "set", pair.out, "up")
        ip("-n", pair.far, "link", "set", pair.into, "up")
        yield pair
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
