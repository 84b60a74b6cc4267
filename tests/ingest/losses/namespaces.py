"""Two network namespaces with a veth pair and addresses between them; who sends in one, and what the ledger in the other says.

Nothing touches the host's interfaces. Neighbours are permanent and IPv6 is off, so that every packet that is counted is ours.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nft_rules import drop_batch

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]
NEAR, FAR, STRANGER, GROUP = "10.81.0.1", "10.81.0.2", "10.99.0.1", "239.81.1.1"
OUT, INTO = "qcsend", "qctake"
_MACS = ("02:51:43:81:00:01", "02:51:43:81:00:02")
QUIET = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"
_serial = 0


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass(frozen=True)
class Pair:
    """``send`` in the near namespace, ``Receiver`` in the far one."""

    near: str
    far: str

    def sh(self, where: str, command: str) -> None:
        done = subprocess.run(["ip", "netns", "exec", where, "sh", "-ec", command], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def send(self, *streams: tuple[str, str, int, int]) -> int:
        """Sends (source address, destination, port, datagrams) one after the other; how many in all."""
        words = [f"{source},{to},{port},{count}" for source, to, port, count in streams]
        command = ["ip", "netns", "exec", self.near, sys.executable, "-ISc", SENDER, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def pair_lost(self) -> int:
        """Packets that the pair itself lost, because the backlog of this machine's CPU was full."""
        shown = subprocess.run(["ip", "-n", self.near, "-s", "-j", "link", "show", OUT], capture_output=True, check=True)
        return int(json.loads(shown.stdout)[0]["stats64"]["tx"]["dropped"])


SENDER = """
import socket, sys, time
sent = 0
for word in sys.argv[1:]:
    source, to, port, count = word.split(",")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.81.0.1"))
        out.bind((source, 0))
        for i in range(int(count)):
            out.sendto(b"x" * 100, (to, int(port)))
            sent += 1
            if i % 50 == 49:
                time.sleep(0.001)
print(sent)
"""


class Receiver:
    """A process in a namespace with UDP sockets that nobody reads before the end, and a collector beside them."""

    def __init__(self, namespace: str, *sockets: str) -> None:
        command = ["ip", "netns", "exec", namespace, sys.executable, HERE / "receiver.py", *sockets]
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=PROJECT
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def ended(self) -> dict:
        """What was received, and the ledger: rows of the whole time, and of the interval since it was ready."""
        output, _ = self._process.communicate("go\n", timeout=60)
        assert self._process.returncode == 0
        return json.loads(output)


@contextlib.contextmanager
def namespace_pair() -> Iterator[Pair]:
    """The pair, up; gone afterwards. Skips where namespaces cannot be made."""
    global _serial  # noqa: PLW0603
    _serial += 1
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("making network namespaces needs root and iproute2")
    pair = Pair(f"qcw{os.getpid()}n{_serial}", f"qcw{os.getpid()}f{_serial}")
    made = []
    try:
        for name in (pair.near, pair.far):
            added = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
            if added.returncode:
                pytest.skip(f"no network namespaces here: {added.stderr.strip()}")
            made.append(name)
            pair.sh(name, QUIET)
        ends = ["link", "add", OUT, "address", _MACS[0], "type", "veth", "peer", "name", INTO, "address", _MACS[1]]
        added = subprocess.run(["ip", "-n", pair.near, *ends, "netns", pair.far], capture_output=True, text=True)
        if added.returncode:
            pytest.skip(f"no veth interfaces here: {added.stderr.strip()}")
        for name, device, own, other, mac in (
            (pair.near, OUT, NEAR, FAR, _MACS[1]),
            (pair.far, INTO, FAR, NEAR, _MACS[0]),
        ):
            ip("-n", name, "addr", "add", f"{own}/24", "dev", device)
            ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "neigh", "replace", other, "lladdr", mac, "dev", device, "nud", "permanent")
        ip("-n", pair.near, "link", "set", "lo", "up")
        ip("-n", pair.near, "addr", "add", f"{STRANGER}/32", "dev", "lo")
        ip("-n", pair.near, "route", "add", "239.0.0.0/8", "dev", OUT)
        yield pair
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def nftables_drop(namespace: str, port: int, policy_drop: bool = False) -> None:
    """A table that drops and counts UDP to a port on its way in, made by nfnetlink: there need be no nft here.

    Skips where the kernel has no nftables.
    """
    program = NFT.format(project=str(PROJECT), batch=drop_batch([port], policy_drop))
    done = subprocess.run(["ip", "netns", "exec", namespace, sys.executable, "-c", program], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip(f"no nftables in this kernel: {done.stdout.strip()}")
    assert done.returncode == 0, done.stderr


NFT = """
import errno, socket, struct, sys
batch = {batch!r}
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as out:
    out.bind((0, 0))
    out.settimeout(5)
    try:
        out.send(batch)
    except OSError as error:
        print(error)
        sys.exit(77)
    for _ in range(3):
        raw = out.recv(1 << 16)
        code = struct.unpack_from("=i", raw, 16)[0]
        if code in (-errno.EOPNOTSUPP, -errno.EPROTONOSUPPORT):
            sys.exit(77)
        assert code == 0, code
"""
