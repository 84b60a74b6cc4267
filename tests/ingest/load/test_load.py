"""The senders: the frames they make, how many, and how they end."""

import os
import signal
import socket
import struct
import time

import pytest

from ingest.load import bpf, send_native
from ingest.load import sender as sending
from ingest.load.demand import Demand, LoadError
from ingest.load.frames import header, sent_of_stream
from ingest.load.load import Load
from ingest.load.namespaces import VethPair
from ingest.load.sender import MEANS, Order, candidates, open_sender
from ingest.rings.tpacket import Settling

ETH_P_ALL = 3


def tap(pair: VethPair) -> socket.socket:
    """Everything that the far interface receives, as it is."""

    def opened() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        made.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
        made.bind((pair.into, ETH_P_ALL))
        made.settimeout(5)
        return made

    return pair.far.call(opened)


@pytest.fixture
def compiled() -> None:
    try:
        send_native.load()
    except LoadError as missing:
        pytest.skip(str(missing))


def rate_for(means: str) -> int:
    return 200_000 if means == "xdp" else 20_000


@pytest.mark.parametrize("means", MEANS)
@pytest.mark.parametrize("streams", [1, 3])
def test_every_sender_makes_the_same_frames(pair: VethPair, means: str, streams: int) -> None:
    with tap(pair) as tapped, Load(pair, means=means, bytes_min=200, streams=streams) as load:
        load.start(rate_for(means), packets=50)
        result = load.result(20)
        frames = [tapped.recv(2000) for _ in range(50)]
    assert (result.sent, result.means, load.means) == (50, means, means)
    for number, frame in enumerate(frames):
        expected = header(200, 30001 + number % streams, number // streams + 1)
        assert frame == expected + bytes(200 - len(expected))
        words = struct.unpack(">10H", frame[14:34])
        assert sum(words) % 0xFFFF == 0  # the checksum of the IP header
    assert sum(sent_of_stream(50, streams, stream) for stream in range(streams)) == 50


@pytest.mark.parametrize("means", ["sendmmsg", "python"])
def test_sizes_between_two(pair: VethPair, means: str) -> None:
    with tap(pair) as tapped, Load(pair, means=means, bytes_min=62, bytes_max=1514) as load:
        load.start(20_000, packets=400)
        assert load.result(20).sent == 400
        frames = [tapped.recv(2000) for _ in range(400)]
    sizes = {len(frame) for frame in frames}
    assert min(sizes) >= 62
    assert max(sizes) <= 1514
    assert len(sizes) > 10
    assert max(sizes) - min(sizes) > 1000
    for number, frame in enumerate(frames):
        assert frame[:62] == header(len(frame), 30001, number + 1)


@pytest.mark.parametrize("means", MEANS)
def test_a_load_that_is_stopped_says_what_it_sent(pair: VethPair, means: str) -> None:
    with Load(pair, means=means) as load:
        load.start(rate_for(means), seconds=600)
        time.sleep(0.1)
        assert not load.ended()
        began = time.monotonic()
        load.stop()
        result = load.result(20)
        assert time.monotonic() - began < 15
    assert 0 < result.sent < rate_for(means) * 600
    if means != "xdp":
        Settling().wait()
        assert pair.counters().arrived == result.sent


@pytest.mark.parametrize("means", MEANS)
def test_a_stop_before_the_start_was_over(pair: VethPair, means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Load(pair, means=means) as load:
        spawn = load._spawn

        def spawn_and_stop(demand: Demand) -> None:
            spawn(demand)
            load.stop()

        monkeypatch.setattr(load, "_spawn", spawn_and_stop)
        load.start(rate_for(means), seconds=600)
        assert load.result(20).sent == 0


def test_the_time_ends_a_load_without_a_rate(pair: VethPair) -> None:
    for means in MEANS:
        with Load(pair, means=means) as load:
            load.start(None, seconds=0.1)
            result = load.result(20)
            assert result.sent > 0
            assert result.seconds < 10


def test_a_load_is_started_again(pair: VethPair) -> None:
    with Load(pair) as load:
        for packets in (100, 200):
            load.start(10_000, packets=packets)
            assert load.result(20).sent == load.result(20).sent == packets


def test_the_injector_is_faster_than_a_socket(pair: VethPair, compiled: None) -> None:
    best = {"sendmmsg": 0.0, "xdp": 0.0}
    for _ in range(6):  # other processes take their share now of the one, now of the other
        for means, before in best.items():
            with Load(pair, means=means) as load:
                load.start(None, seconds=0.1)
                best[means] = max(before, load.result(20).rate_per_s)
        if best["xdp"] > 1.2 * best["sendmmsg"]:
            return
    raise AssertionError(best)


def test_a_sender_that_is_killed(pair: VethPair) -> None:
    with Load(pair) as load:
        load.start(1000, seconds=100)
        assert load._process is not None
        os.kill(load._process.pid, signal.SIGKILL)
        with pytest.raises(LoadError, match="was killed by signal 9"):
            load.result(20)


def test_a_sender_dies_with_its_leash(pair: VethPair) -> None:
    with Load(pair) as load:
        load.start(1000, seconds=100)
        process = load._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 1


@pytest.mark.parametrize(
    ("options", "started", "said"),
    [
        ({}, {"rate_per_s": 1000}, "needs an end"),
        ({}, {"rate_per_s": 0, "packets": 1}, "sends nothing"),
        ({}, {"rate_per_s": 10**9, "packets": 1}, "a rate of 1000000000"),
        ({"bytes_min": 61}, {"rate_per_s": 1, "packets": 1}, "a frame of 61 bytes"),
        ({"bytes_min": 100, "bytes_max": 99}, {"rate_per_s": 1, "packets": 1}, "a largest frame of 99"),
        ({"streams": 65}, {"rate_per_s": 1, "packets": 1}, "65 streams"),
        ({}, {"rate_per_s": 1, "packets": 0}, "0 packets"),
        ({"means": "pktgen"}, {"rate_per_s": 1, "packets": 1}, "sendmmsg, xdp, python"),
    ],
)
def test_what_cannot_be_asked_for(pair: VethPair, options: dict, started: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said), Load(pair, **options) as load:
        load.start(**started)


@pytest.mark.parametrize(
    ("options", "rate", "said"),
    [
        ({"cpu": 16_000}, 1000, "Invalid argument"),
        ({"means": "xdp"}, 1000, "no rate below 100000"),
        ({"means": "xdp", "bytes_max": 200}, 1_000_000, "frames of one size"),
    ],
)
def test_what_cannot_be_sent(pair: VethPair, options: dict, rate: int, said: str) -> None:
    with Load(pair, **options) as load:
        with pytest.raises(LoadError, match=said):
            load.start(rate, packets=1)
        with pytest.raises(LoadError, match="start the load first"):
            load.result(1)


def order(pair: VethPair, rate: int) -> Order:
    demand = Demand(rate, 1000, 10**9)
    return Order(demand.to_json(), pair.near.fileno(), pair.far.fileno(), pair.out, pair.into)


def test_a_kernel_that_lets_nobody_inject(pair: VethPair, monkeypatch: pytest.MonkeyPatch, compiled: None) -> None:
    def refused(_command: int, _attributes: bytes) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(bpf, "_bpf", refused)
    sender, why = pair.far.call(open_sender, order(pair, 2_000_000))
    sender.close()
    assert sender.means == "sendmmsg"
    assert why == "xdp cannot be used here: Operation not permitted"


def test_by_what_to_send(monkeypatch: pytest.MonkeyPatch, compiled: None) -> None:
    def suited(rate: int, largest: int = 128) -> tuple[str, ...]:
        return candidates(Demand(rate, 1, 1, bytes_max=largest), "")

    assert suited(600_000) == ("sendmmsg",)
    assert suited(600_001) == suited(0) == ("xdp", "sendmmsg")
    assert suited(5_000_000, largest=200) == ("sendmmsg",)

    def not_built() -> None:
        raise LoadError("not built")

    monkeypatch.setattr(sending, "load", not_built)
    assert suited(99_999) == ("python",)
    assert suited(100_000) == ("xdp", "python")


def test_a_program_that_the_verifier_refuses_says_why() -> None:
    if os.geteuid() != 0:
        pytest.skip("loading a BPF program needs root")
    program = bpf.Program()
    program.load(bpf.W, 2, 1, 0)
    program.load(bpf.W, 0, 2, 0)  # reads the frame without asking how long it is
    program.leave(bpf.XDP_PASS)
    with pytest.raises(OSError, match=r"R2 .*packet"):
        bpf.load_xdp(program)


def test_a_library_of_another_version_is_refused(tmp_path) -> None:
    with pytest.raises(LoadError, match="not built"):
        send_native.load(tmp_path / "_send.so")
    from ingest.rings.native import LIBRARY

    if LIBRARY.exists():
        with pytest.raises(LoadError, match="not built"):
            send_native.load(LIBRARY)
