"""Randomised runs: numbered datagrams through a veth pair, lost in one place; the ledger accounts for each and names the place.

What is offered is what was sent and what the kernel refused (and was sent again: the pair counts it). The softnet backlog is
counted for the whole host; how much of it is this pair's is known from the far interface, to the packet.

QUIETCORE_RUNS=N draws other runs.
"""

import contextlib
import ctypes
import json
import os
import random
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import nft_rules
import pytest

from ingest.likely import Gap, likely_stage
from ingest.load.frames import header, sent_of_stream
from ingest.load.load import Load
from ingest.load.namespaces import NamespaceError, VethPair
from ingest.load.send_native import open_socket
from ingest.sample import LossSample
from ingest.stages import TRANSMIT

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
IN_NAMESPACE = ["unshare", "-m", "sh", "-c", 'mount -t sysfs sysfs /sys && exec "$@"', "sh"]
FIRST_PORT, FRAME_BYTES, ROOMY = 30001, 256, 1 << 29
UPSTREAM, BACKLOG, NETFILTER, SOCKET, RING = 0, 11, 14, 18, 21
NAMES = {RING: "ring", SOCKET: "socket", BACKLOG: "backlog", NETFILTER: "netfilter"}
SO_ATTACH_FILTER, ETH_P_ALL, LOADS = 26, 3, 600
DRAW = 10_000 * int(os.environ.get("QUIETCORE_RUNS", "0"))


@pytest.fixture
def pair() -> Iterator[VethPair]:
    try:
        made = VethPair()
    except NamespaceError as missing:
        pytest.skip(str(missing))
    with made:
        yield made


class Receiver:
    """The process of ``waterfall_receiver.py``."""

    def __init__(self, pair: VethPair, **order: Any) -> None:
        self._process = pair.far.call(
            subprocess.Popen,
            [*IN_NAMESPACE, sys.executable, str(HERE / "waterfall_receiver.py"), json.dumps(order)],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        self._answers("ready")

    def say(self, words: str, answer: str) -> None:
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        self._answers(answer)

    def _answers(self, wanted: str) -> None:
        line = self._process.stdout.readline()
        assert line == wanted + "\n", line or self._process.stderr.read()

    def ended(self) -> dict[str, Any]:
        output, words = self._process.communicate("end\n", timeout=60)
        assert self._process.returncode == 0, words
        return json.loads(output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass
class Run:
    """One run: what is sent, who receives, and where losses are made. Drawn by a seed."""

    stage: int
    observer: str
    packets: int
    streams: int
    rate_per_s: int | None
    sizes: tuple[int, int]
    order: dict[str, Any]
    low_byte: int = 0

    def __post_init__(self) -> None:
        self.order["ports"] = self.ports

    @property
    def ports(self) -> list[int]:
        return [FIRST_PORT + stream for stream in range(self.streams)]


def drawn(stage: int, seed: int) -> Run:
    randoms = random.Random(DRAW + 100 * stage + seed)
    streams = randoms.choice((1, 1, 2, 3, 5, 8))
    sizes = sorted(randoms.randint(62, 1500) for _ in range(2))
    run = Run(
        stage, "socket", randoms.randint(2_000, 6_000), streams, randoms.choice((20_000, 40_000, 80_000)), tuple(sizes), {}
    )
    application = {"buffer_bytes": ROOMY, "read_each": 1000, "pause_s": 0.0}
    tap = {"ring_bytes": 32 << 20, "rings": None, "ring_pause_ns": 100_000, "paused": False}
    if stage == SOCKET:
        application["buffer_bytes"] = randoms.randint(2_304, 60_000)
        application |= {"read_each": randoms.randint(1, 4), "pause_s": randoms.uniform(0.002, 0.008)}
    elif stage == NETFILTER:
        run.low_byte = randoms.randint(2, 255)
        run.packets = streams * (256 * randoms.randint(2, 6) - 1)  # so that the closing numbers pass
    elif stage == RING:
        run.observer = "ring"
        tap |= {"ring_bytes": randoms.choice((1, 2, 5)) << 16, "rings": randoms.choice((1, None)), "paused": seed % 2 == 0}
        fills_ns = tap["ring_bytes"] // FRAME_BYTES * 10**9 // run.rate_per_s
        tap["ring_pause_ns"] = randoms.randint(2 * fills_ns, 4 * fills_ns)
    else:
        run.observer = ("socket", "ring")[seed % 2]
        run.packets, run.rate_per_s, run.sizes = randoms.randint(20_000, 50_000), None, (sizes[0], sizes[0])
    run.order |= application if run.observer == "socket" else tap
    return run


def closing(pair: VethPair, run: Run) -> None:
    """One more datagram of each stream, when nothing lies in its way: a gap is seen by what comes behind it."""
    out = pair.near.call(open_socket, pair.out)
    for stream, port in enumerate(run.ports):
        number = sent_of_stream(run.packets, run.streams, stream) + 1
        out.send(header(FRAME_BYTES, port, number).ljust(FRAME_BYTES, b"\0"))
    out.close()


def ledger(told: dict[str, Any], when: str) -> list[LossSample]:
    return [LossSample(**row) for row in told[when]]


def lost_by_stage(told: dict[str, Any], interface: str) -> dict[int, int]:
    """Stage of reception -> packets that the ledger has more of than before; of the backlog, what the interface says was its.

    Transmission is another direction: the receiver's reports of its groups may find the backlog full, too.
    """
    found: Counter[int] = Counter()
    own = 0
    for when, sign in (("after", 1), ("before", -1)):
        for row in ledger(told, when):
            if row.visible and row.kind in ("loss", "filtered") and row.stage != TRANSMIT:
                found[row.stage] += sign * row.total
            if (row.counter, row.where) == ("rx_dropped", interface):
                own += sign * row.total
    assert found[BACKLOG] >= own
    found[BACKLOG] = own
    return {stage: count for stage, count in found.items() if count}


@contextlib.contextmanager
def slow_stack(pair: VethPair) -> Iterator[None]:
    """Makes each packet at the far interface cost some microseconds: taps whose filters look at it long, and take none."""
    program = struct.pack("=HBBI", 0x20, 0, 0, 0) * LOADS + struct.pack("=HBBI", 0x06, 0, 0, 0)  # ld [0]; ret #0
    held = ctypes.create_string_buffer(program, len(program))
    with contextlib.ExitStack() as taps:
        for _ in range(8):
            tap = taps.enter_context(pair.far.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0))
            tap.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", LOADS + 1, ctypes.addressof(held)))
            pair.far.call(tap.bind, (pair.into, ETH_P_ALL))
        yield


def steered(pair: VethPair) -> None:
    """The far interface hands its packets to the last CPU; they are to come in on the first."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU: packets cannot be steered to another one")
    steer = f"echo {1 << max(os.sched_getaffinity(0)):x} > /sys/class/net/{pair.into}/queues/rx-0/rps_cpus"
    pair.far.call(subprocess.run, [*IN_NAMESPACE, "sh", "-c", steer], check=True)


def filtered(pair: VethPair, run: Run) -> None:
    """Netfilter drops the numbers whose last byte is high."""
    try:
        pair.far.call(nft_rules.write, nft_rules.drop_batch(run.ports, from_low_byte=run.low_byte), run.streams)
    except nft_rules.NoNftables as missing:
        pytest.skip(f"no nftables in this kernel: {missing}")


def load_of(pair: VethPair, run: Run) -> Load:
    flat_out = run.rate_per_s is None
    return Load(
        pair,
        cpu=min(os.sched_getaffinity(0)) if flat_out or run.observer == "ring" else None,  # a NIC's queue has one CPU, too
        means="xdp" if flat_out else None,
        bytes_min=run.sizes[0],
        bytes_max=run.sizes[1],
        streams=run.streams,
    )


def taken(pair: VethPair, run: Run) -> tuple[dict[str, Any], int]:
    """One run to its end: what the receiver tells, and how many datagrams the kernel refused meanwhile."""
    with load_of(pair, run) as load, Receiver(pair, observer=run.observer, into=pair.into, **run.order) as receiver:
        receiver.ready()
        load.start(run.rate_per_s, packets=run.packets, seconds=60)
        assert load.result(90).sent == run.packets
        before = pair.counters()
        if run.order.get("paused"):
            receiver.say("read", "reading")
        receiver.say(f"drained {run.packets + before.dropped - before.dropped_inside}", "drained")
        closing(pair, run)
        after = pair.counters()
        assert after.dropped_inside - before.dropped_inside == after.dropped - before.dropped
        receiver.say(f"drained {run.packets + run.streams + before.dropped - before.dropped_inside}", "drained")
        return receiver.ended(), after.dropped


def judged(told: dict[str, Any], run: Run, interface: str) -> list[tuple[int, int]]:
    """Each verdict: its stage, and how much it explains. The application's gap as a whole, the ring's by stream."""
    rows = ledger(told, "after")
    lost, received = sum(told["gaps"].values()), sum(told["received"].values())
    whole = likely_stage(Gap(interface, lost, told["interval_s"], received), rows)
    if run.stage == SOCKET:
        assert "worst socket 239.1.1.1:300" in whole.why
    return [(whole.stage, whole.explained), *((each["stage"], each["explained"]) for each in told["likely"] or ())]


CASES = [(stage, seed) for stage in NAMES for seed in range(5)]


@pytest.mark.parametrize(("stage", "seed"), CASES, ids=[f"{NAMES[stage]}-{seed}" for stage, seed in CASES])
def test_every_datagram_is_received_or_accounted_for_where_it_was_lost(pair: VethPair, stage: int, seed: int) -> None:
    run = drawn(stage, seed)
    if stage == NETFILTER:
        filtered(pair, run)
    if stage == BACKLOG:
        steered(pair)
    with slow_stack(pair) if stage == BACKLOG else contextlib.nullcontext():
        for _ in range(3):  # one in which a busy machine lost nothing proves nothing
            told, refused = taken(pair, run)
            sent = run.packets + run.streams
            received, gaps = sum(told["received"].values()), list(told["gaps"].values())
            lost = sent - received
            if lost:
                break
    assert lost > 0
    assert sum(gaps) == lost
    wanted = Counter({stage: lost}) + Counter({BACKLOG: refused})
    assert lost_by_stage(told, pair.into) == wanted
    if stage == NETFILTER:
        each = run.packets // run.streams
        assert lost == run.streams * sum(number % 256 >= run.low_byte for number in range(1, each + 2))
    if run.observer == "ring":
        assert (told["packets"], told["unaccounted"]) == (received, 0)
    if run.order.get("paused") and run.order["rings"] == 1:
        assert received == run.order["ring_bytes"] // FRAME_BYTES + run.streams
    if 2 * refused < min(each for each in gaps if each):
        verdicts = judged(told, run, pair.into)
        assert {where for where, _ in verdicts} == {stage}
        assert verdicts[0] == (stage, lost)
        assert [explained for _, explained in verdicts[1:]] == [each for each in gaps if each and run.observer == "ring"]


def test_what_another_interface_s_backlog_drops_is_not_this_line_s(pair: VethPair) -> None:
    """The backlogs are the host's: here another pair overflows one, while the network loses 49 numbers of this line."""
    run = Run(UPSTREAM, "ring", 0, 1, None, (100, 100), drawn(BACKLOG, 1).order | {"ports": [FIRST_PORT]})
    with VethPair() as other, Receiver(pair, observer="ring", into=pair.into, **run.order) as receiver:
        receiver.ready()
        steered(other)
        with slow_stack(other), load_of(other, run) as load:
            load.start(None, packets=30_000, seconds=60)
            load.result(90)
        assert other.counters().dropped_inside > 100
        for before in (0, 50):
            run.packets = before
            closing(pair, run)  # number 1, then number 51
        receiver.say("drained 2", "drained")
        told = receiver.ended()
    assert told["gaps"] == {str(FIRST_PORT): 49}
    moved = {row.stage for row in ledger(told, "after") if row.kind == "loss" and row.per_s > 0}
    assert BACKLOG in moved
    assert [each["stage"] for each in told["likely"]] == [UPSTREAM]
