"""Inside the lab's guest: a NIC that stamps what it receives, and `ring --stamps both` on it, checked against what was sent.

QEMU's igb (82576) stamps received PTP frames of ethertype 0x88f7 alone, by a clock of its own, and takes its stamp for unread
until RXSATRH is read, which the driver of this NIC never does (it reads RXSTMPH, as the real one wants it): so only the first
frame would be stamped. The check reads RXSATRH itself, which needs the kernel's parameter iomem=relaxed.

And the counters of queues by generic netlink, on virtio NICs with several: what was sent is what they tell.
"""

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import pathlib
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from ingest.counters.genetlink import Families
from ingest.counters.netdev_queues import QueueReader
from ingest.stamps.ability import ability_of
from tuner.host.netlink import dump
from ui.cli.main import main as quietcore

SENDER, NIC = "igb0", "igb1"
SIOCSHWTSTAMP, PTP_V2_EVENT, NONE = 0x89B0, 12, 0
RXSATRH = 0xB630
STAMPED, PLAIN, QUEUED = 40, 10, 200
TAI_NS = 37_000_000_000
PTP_SYNC = bytes((0, 2)) + struct.pack(">H", 44) + bytes(40)
failures: list[str] = []


def check(what: str, good: bool, detail: object = "") -> None:
    print(f"{'ok  ' if good else 'FAIL'} {what}" + (f"  [{detail}]" if detail != "" else ""), flush=True)
    if not good:
        failures.append(what)


def set_receive_filter(number: int) -> None:
    buffer = ctypes.create_string_buffer(struct.pack("=iii", 0, 0, number), 12)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        fcntl.ioctl(asked, SIOCSHWTSTAMP, struct.pack("16sP16x", NIC.encode(), ctypes.addressof(buffer)))


class Wire:
    """Frames from ``SENDER`` to ``NIC``; every one of PTP's is stamped."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((SENDER, 0))
        fd = os.open(f"/sys/class/net/{NIC}/device/resource0", os.O_RDWR)
        self._registers = mmap.mmap(fd, 1 << 17, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        address = pathlib.Path(f"/sys/class/net/{NIC}/address").read_text().strip()
        self._head = bytes.fromhex(address.replace(":", "")) + bytes.fromhex("020000000001")

    def send(self, kind: bytes) -> None:
        struct.unpack_from("=I", self._registers, RXSATRH)
        self._socket.send(self._head + kind + PTP_SYNC + bytes(10))
        time.sleep(0.05)


def ring(wire: Wire | None) -> dict:
    """The report of `ring --stamps both` in a process of its own, which gives up root, while frames are sent."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(into, 1)
        sys.stdout = os.fdopen(1, "w")
        arguments = ["--json", "ring", f"packet:{NIC}", "--rings", "1", "--stamps", "both", "--seconds", "8"]
        status = quietcore(arguments)
        sys.stdout.flush()
        os._exit(status)
    os.close(into)
    while len(pathlib.Path("/proc/net/packet").read_text().splitlines()) < 3:
        time.sleep(0.1)
    time.sleep(2.5)  # until one in one is looked at
    if wire is not None:
        for kind in (*(b"\x88\xf7",) * STAMPED, *(b"\x88\xb5",) * PLAIN):
            wire.send(kind)
    with os.fdopen(out) as report:
        text = report.read()
    os.waitpid(child, 0)
    return json.loads(text)


def clock_of_nic() -> tuple[int, int]:
    """The NIC's clock as a descriptor and a clock id (FD_TO_CLOCKID of linux/posix-timers)."""
    fd = os.open(f"/dev/ptp{ability_of(NIC).clock}", os.O_RDWR)
    return fd, ~fd << 3 | 3


def stamps() -> None:
    ability = ability_of(NIC)
    check("the NIC has a clock and its stamps are off", (ability.stamping, ability.clock is not None) == ("off", True), ability)
    (sample,) = ring(None)["nic_to_kernel"]
    check("which the report says, and who turns them on", "hwstamp_ctl" in sample["note"], sample["note"])
    set_receive_filter(PTP_V2_EVENT)
    check("now it stamps some", ability_of(NIC).words(NIC) != "", ability_of(NIC).words(NIC))
    wire = Wire()
    fd, clock = clock_of_nic()
    for ahead_ns in (0, TAI_NS):
        time.clock_settime_ns(clock, time.time_ns() + ahead_ns)
        report = ring(wire)
        (sample,) = report["nic_to_kernel"]
        interval, offset = sample["latency"], sample["clock"]
        known = offset["uncertainty_ns"]
        print(f"== clock {ahead_ns / 1e9:g} s ahead: {interval} {offset}", flush=True)
        check("every PTP frame has both stamps", interval["count"] == STAMPED, interval["count"])
        check("and no other", (sample["unstamped"], sample["looked_at"]) == (PLAIN, STAMPED + PLAIN), sample)
        check("the offset is what the clock was set to", abs(offset["offset_ns"] - ahead_ns) < 50_000_000, offset)
        check("no frame reached the kernel before the NIC, but for the clocks' uncertainty", interval["lowest_ns"] >= -known)
        check("nor took a second", 0 < interval["p50_ns"] <= interval["max_ns"] < 1_000_000_000, interval["p50_ns"])
        check("it stands beside the ring's", report["total"]["nic_latency"]["p50_ns"] == interval["p50_ns"])
    os.close(fd)
    set_receive_filter(NONE)


def queues() -> None:
    reader = QueueReader(Families(dump))
    index = socket.if_nametoindex("vio1")
    before = reader.read()[index]
    check("vio1: one row for each of its queues", len(before) > 1, sorted(before))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.bind(("vio0", 0))
        for _ in range(QUEUED):
            out.send(b"\xff" * 6 + bytes.fromhex("020000000001") + b"\x88\xb5" + bytes(50))
            time.sleep(0.001)
    time.sleep(0.5)
    came = sum(each["rx-packets"] - before[queue]["rx-packets"] for queue, each in reader.read()[index].items())
    check("vio1: its queues' packets are those that were sent", QUEUED <= came < QUEUED + 20, came)


def main() -> int:
    for name in (SENDER, NIC, "vio0", "vio1"):
        with contextlib.suppress(OSError):
            pathlib.Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        deadline = time.monotonic() + 15
        while pathlib.Path(f"/sys/class/net/{name}/carrier").read_text().strip() != "1" and time.monotonic() < deadline:
            time.sleep(0.1)
    stamps()
    queues()
    print(f"\n{len(failures)} failed" if failures else "\nstamps: all held", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
