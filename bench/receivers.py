"""Receivers as processes of their own, in the receiving namespace of a pair, on one CPU: ours, libpcap's, tcpdump, dumpcap.

``python -m bench.receivers ours|libpcap IFNAME CPU MODE`` is the process of the first two. It says "ready", reads until
SIGTERM, and then says what it counted, as one line of JSON.
"""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bench import libpcap
from bench.figures import DisagreementError, UnavailableError
from bench.textbook import FOLLOWING, textbook
from ingest.load.demand import LoadError, Sent
from ingest.load.load import Load
from ingest.load.namespaces import NamespaceError, VethPair
from ingest.rings.packet import PacketRing

RING_BYTES = 64 << 20  # of every receiver: that of the throughput mode
_ROOT = Path(__file__).resolve().parents[1]
_START_S = 20.0
_SETTLE_S = 0.1  # a process that has just said that it is ready still starts threads
_END_S = 10.0
# Packets wait in a block until its timeout, which tcpdump sets to a second and dumpcap to a quarter of one.
_LINGER_S = {"tcpdump": 1.3, "dumpcap": 0.6}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One load and what one receiver made of it.

    ``arrived``: packets that reached the receiver's interface. ``missing``: how many of these it does not have.
    ``drops``: how many the kernel says to have dropped. ``cpu_ns``: of all its threads, user and system, during the load.
    """

    sent: Sent
    arrived: int
    read: int
    drops: int
    missing: int
    cpu_ns: int

    @property
    def cpu_ns_per_packet(self) -> float:
        return self.cpu_ns / max(1, self.read)


def available() -> tuple[dict[str, str], list[str]]:
    """The receivers that can be had here, with their versions; and what is missing."""
    found, missing = {"ours": ""}, []
    try:
        found["libpcap"] = libpcap.library().pcap_lib_version().decode()
        textbook()
    except UnavailableError as why:
        missing.append(str(why))
    for tool, package in (("tcpdump", "tcpdump"), ("dumpcap", "wireshark-common")):
        if shutil.which(tool):
            said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
            found[tool] = (said.stdout or said.stderr).splitlines()[0]
        else:
            missing.append(f"{tool} is not installed (apt-get install {package})")
    return found, missing


def veth_pair() -> VethPair:
    """A pair.

    Raises:
        UnavailableError: none can be had.
    """
    try:
        return VethPair()
    except NamespaceError as error:
        raise UnavailableError(str(error)) from error


class Receiver:
    """One receiver's process; from its start on it receives."""

    def __init__(self, name: str, pair: VethPair, cpu: int, mode: str = "throughput") -> None:
        self.name = name
        self._said = b""
        self._ready = {"tcpdump": b"listening on", "dumpcap": b"File: "}.get(name, b"ready\n")
        size = RING_BYTES
        command = {
            "tcpdump": ["tcpdump", "-n", "-i", pair.into, "-w", "/dev/null", "-B", str(size >> 10)],
            "dumpcap": ["dumpcap", "-q", "-i", pair.into, "-w", "/dev/null", "-B", str(size >> 20)],
        }.get(name, [sys.executable, "-m", "bench.receivers", name, pair.into, str(cpu), mode])
        self.process = pair.far.call(_begin, command, cpu)
        try:
            self._until(self._ready, _START_S)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cpu_ns(self) -> int:
        """CPU time of all threads that it has (/proc/PID/task/TID/schedstat, which knows nanoseconds)."""
        total, base = 0, f"/proc/{self.process.pid}/task"
        for thread in os.listdir(base):
            with contextlib.suppress(OSError), open(f"{base}/{thread}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, int, dict[str, Any]]:
        """Tells it to stop. Returns packets read, drops of the kernel, and what else it said."""
        self.process.terminate()
        self._until(b"", _END_S)
        self.process.wait(_END_S)
        text = self._said.decode("utf-8", "replace")
        if self.name == "tcpdump":
            return _number(r"(\d+) packets? captured", text), _number(r"(\d+) packets? dropped by kernel", text), {}
        if self.name == "dumpcap":
            found = re.search(r"received/dropped on interface '[^']*': (\d+)/(\d+)", text)
            if not found:
                raise UnavailableError(f"dumpcap did not say what it received: {text[-200:]!r}")
            return int(found[1]), int(found[2]), {}
        told = json.loads(text.strip().splitlines()[-1])
        return told["packets"], told["drops"], told

    def close(self) -> None:
        """Ends the process, stopped or not."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _until(self, what: bytes, seconds: float) -> None:
        """Reads what it says up to some words; empty: to its end."""
        assert self.process.stdout is not None
        limit = time.monotonic() + seconds
        while not what or what not in self._said:
            left = max(0.0, limit - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise UnavailableError(f"{self.name} did not answer in {seconds:g} s: {self._said[-200:]!r}")
            came = os.read(self.process.stdout.fileno(), 65536)
            if not came and what:
                raise UnavailableError(f"{self.name} ended: {self._said[-300:].decode('utf-8', 'replace').strip()}")
            if not came:
                return
            self._said += came


def _begin(command: list[str], cpu: int) -> subprocess.Popen[bytes]:
    """In a thread of the namespace: namespace and CPU are the child's, too."""
    os.sched_setaffinity(0, {cpu})
    return subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
    )


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if not found:
        raise UnavailableError(f"no {pattern!r} in {text[-200:]!r}")
    return int(found[1])


def receive(
    name: str,
    pair: VethPair,
    cpus: tuple[int, int],
    rate_per_s: int | None,
    seconds: float,
    mode: str = "throughput",
    meanwhile: Any = None,
) -> Outcome:
    """One load through the pair, with one receiver at its end.

    Args:
        name: which receiver.
        pair: through which interfaces.
        cpus: of the receiver and of the sender.
        rate_per_s: packets/s; None: as fast as it goes.
        seconds: for how long.
        mode: of our ring.
        meanwhile: called with the receiver while packets come.

    Raises:
        DisagreementError: our accounts differ: packets read and dropped, or numbers missing.
        UnavailableError: the receiver or the load cannot be had.
    """
    before = pair.counters()
    try:
        with Receiver(name, pair, cpus[0], mode) as receiver, Load(pair, cpu=cpus[1]) as load:
            time.sleep(_SETTLE_S)
            spent = receiver.cpu_ns()
            load.start(rate_per_s, seconds=seconds)
            if meanwhile is not None:
                meanwhile(receiver)
            sent = load.result(seconds * 3 + 20)
            time.sleep(_LINGER_S.get(name, 0.1))
            spent = receiver.cpu_ns() - spent
            read, drops, told = receiver.end()
    except LoadError as error:
        raise UnavailableError(str(error)) from error
    after = pair.counters()
    if sent.means == "xdp":  # injected below the interface
        arrived = sent.sent - (after.dropped_inside - before.dropped_inside)
    else:
        arrived = after.arrived - before.arrived
    if told:
        missing = arrived - told["received"]
        if name == "ours" and (arrived != read + drops or missing != drops or told["duplicate"]):
            raise DisagreementError(f"arrived {arrived}, read {read}, dropped {drops}, missing numbers {missing}, {told}")
    else:
        missing = arrived - read
    return Outcome(sent, arrived, read, drops, missing, spent)


# ---- the processes


def _say(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


def _ours(ifname: str, cpu: int, mode: str) -> None:
    size = RING_BYTES if mode == "throughput" else None
    with PacketRing.open(ifname, mode=mode, rings=1, cpus=(cpu,), following=FOLLOWING, ring_bytes=size) as ring:  # type: ignore[arg-type]
        signal.signal(signal.SIGTERM, lambda *_: ring.stop())
        print("ready", flush=True)
        for _ in ring.run():
            pass
        report = ring.report()
    total = report.total
    _say(
        {
            "packets": total.walked.packets,
            "drops": total.drops,
            "received": sum(stream.received for stream in report.followed.streams),
            "duplicate": sum(stream.duplicate for stream in report.followed.streams),
            "p50_ns": total.walked.latency.percentile(50),
            "p99_ns": total.walked.latency.percentile(99),
            "walker": report.walker,
        }
    )


def _libpcap(ifname: str) -> None:
    with libpcap.Capture(ifname, RING_BYTES) as capture:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        reading = threading.Thread(target=capture.dispatch, args=(1 << 62,))
        reading.start()
        print("ready", flush=True)
        signal.sigwait({signal.SIGTERM})
        capture.stop()
        reading.join(5.0)
        state = capture.state
        received = sum(stream.received for stream in state.streams if stream.used)
        _say({"packets": state.packets, "drops": capture.dropped(), "received": received})


if __name__ == "__main__":
    _, wanted, interface, on_cpu, in_mode = sys.argv
    if wanted == "ours":
        _ours(interface, int(on_cpu), in_mode)
    else:
        _libpcap(interface)
