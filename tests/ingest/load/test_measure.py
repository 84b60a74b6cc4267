"""The whole of it: what was sent is what was read and what was dropped, to the packet."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from ingest.load.measure import Measurement, Setup, Step
from ingest.load.namespaces import VethPair


def check(step: Step) -> None:
    assert step.unaccounted == 0
    assert step.sent == step.read + step.ring_drops + step.before_ring
    assert step.missing == step.ring_drops + step.before_ring
    assert step.duplicate == 0
    assert step.exact
    total = step.report.total
    assert total.walked.bytes == total.walked.packets * 128
    assert total.reached == step.sent - step.before_ring
    assert total.walked.latency.total == step.read


@pytest.mark.parametrize("mode", ["latency", "throughput"])
@pytest.mark.parametrize(("means", "rate"), [("sendmmsg", 50_000), ("xdp", 200_000), ("python", 20_000)])
def test_every_packet_is_accounted_for(pair: VethPair, mode: str, means: str, rate: int) -> None:
    step = Measurement(pair, Setup(mode=mode, streams=5, means=means)).step(rate, 0.2)
    check(step)
    assert step.means == means
    assert 0 < step.sent <= rate * 0.2
    streams = step.report.followed.streams
    assert [stream.port for stream in streams] == [30001 + each for each in range(5)]
    record = step.to_json()
    assert (record["sent"], record["read"], record["asked_per_s"]) == (step.sent, step.read, rate)


@pytest.mark.parametrize("mode", ["latency", "throughput"])
@pytest.mark.parametrize("means", ["sendmmsg", "xdp"])
def test_a_tiny_ring_loses_and_says_how_many(pair: VethPair, mode: str, means: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIETCORE_WALKER", "python")  # slower than either sender
    step = Measurement(pair, Setup(mode=mode, means=means, rings=1, ring_bytes=1 << 16)).step(None, 0.2)
    check(step)
    assert step.ring_drops > 0
    assert step.read > 0
    # the receiver's own count of holes, of which it cannot see those before the first and after the last
    assert sum(stream.lost for stream in step.report.followed.streams) <= step.missing


def test_a_backlog_that_loses_is_told_from_a_ring_that_does(pair: VethPair, tmp_path: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("receive packet steering needs two CPUs")
    queue = f"{tmp_path}/class/net/{pair.into}/queues/rx-0/rps_cpus"
    # all packets go to the CPU of the reader, through its backlog of netdev_max_backlog packets
    script = f"mount -t sysfs sysfs {tmp_path} && echo {1 << cpus[1]:x} > {queue}"
    steered = pair.far.call(subprocess.run, ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)
    if steered.returncode:
        pytest.skip(f"no receive packet steering here: {steered.stderr.strip()}")
    measurement = Measurement(pair, Setup(cpus[1], cpus[0], "throughput", means="xdp"))
    lost = 0
    for _ in range(10):
        step = measurement.step(None, 0.2)
        check(step)
        lost += step.before_ring
        if lost:
            break
    assert lost


def test_steps_follow_each_other_on_one_pair(pair: VethPair) -> None:
    measurement = Measurement(pair, Setup())
    for rate in (10_000, 700_000, 20_000):  # sendmmsg, xdp, sendmmsg: what the injector needs is undone
        check(measurement.step(rate, 0.1))


@pytest.mark.parametrize("means", ["sendmmsg", "xdp"])
def test_a_step_that_is_stopped_is_complete(pair: VethPair, means: str) -> None:
    measurement = Measurement(pair, Setup(means=means))
    timer = threading.Timer(0.4, measurement.stop)
    timer.start()
    began = time.monotonic()
    step = measurement.step(100_000, 100)
    assert time.monotonic() - began < 60
    check(step)
    assert step.sent < 100_000 * 100
    assert measurement.stopped


def test_a_step_after_the_stop_sends_next_to_nothing(pair: VethPair) -> None:
    measurement = Measurement(pair, Setup())
    measurement.stop()
    step = measurement.step(1000, 100)
    check(step)
    assert step.sent < 100_000
