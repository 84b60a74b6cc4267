"""The sampler on real interfaces: those that do not stamp, and how many packets are drawn."""

import contextlib
import errno
import json
import os
import subprocess
import sys
import time

import pytest
from veth_pair import PROJECT, VethPair

from ingest.rings.filter import parse_filter
from ingest.rings.tpacket import InterfaceDown, NoSuchInterface
from ingest.stamps import sampler as sampling
from ingest.stamps.clock import Offset
from ingest.stamps.control import Stamped
from ingest.stamps.sampler import StampSampler


def opened(pair: VethPair, wanted: str | None = None) -> StampSampler:
    with pair.inside():
        return StampSampler.open(pair.into, parse_filter(wanted) if wanted else None)


def test_veth_does_not_stamp_and_the_sample_says_so(pair, monkeypatch):
    monkeypatch.setattr(sampling, "_FIRST", 1)
    with opened(pair) as sampler:
        assert "does not stamp" in sampler.words
        sampler.start()
        time.sleep(0.1)
        assert pair.send(100, 500) == 100
        sampler.stop()
        found = sampler.whole()
    assert (found.looked_at, found.unstamped, found.dropped) == (100, 100, 0)
    assert found.unstamped_by_kernel < 100  # stamping is turned on with a delay (net_enable_timestamp: schedule_work)
    assert (found.latency.total, found.lowest_ns, found.clock) == (0, None, None)
    assert found.cpu_ns > 0


def test_one_packet_of_so_many_is_drawn_at_random(pair, monkeypatch):
    monkeypatch.setattr(sampling, "_FIRST", 16)
    monkeypatch.setattr(sampling, "_ADAPT_NS", 1 << 60)
    with opened(pair, "udp dst port 30001") as sampler:
        sampler.start()
        assert pair.send(16_000, 20_000) == 16_000
        sampler.stop()
        found = sampler.whole()
    drawn = found.looked_at + found.dropped
    assert 1000 - 6 * 31 < drawn < 1000 + 6 * 31  # binomial: six times its deviation


def test_the_filter_holds_for_the_sample(pair, monkeypatch):
    monkeypatch.setattr(sampling, "_FIRST", 1)
    with opened(pair, "udp dst port 30002") as sampler:
        sampler.start()
        assert pair.send(90, 500, streams=3) == 90
        sampler.stop()
        assert sampler.whole().looked_at == 30


def test_so_many_packets_make_it_look_at_fewer(pair, monkeypatch):
    monkeypatch.setattr(sampling, "_FIRST", 1)
    with opened(pair) as sampler:
        sampler.start()
        sending = pair.start(30_000, 20_000)
        pair.sent(sending)
        sampler.stop()
        found = sampler.whole()
    assert found.one_in >= 8
    assert found.looked_at + found.dropped < 15_000


def test_parts_add_up_to_the_whole(pair, monkeypatch):
    monkeypatch.setattr(sampling, "_FIRST", 1)
    with opened(pair) as sampler:
        sampler.start()
        pair.send(50, 500)
        first = sampler.take()
        pair.send(50, 500)
        sampler.stop()
        assert first.looked_at + sampler.take().looked_at == sampler.whole().looked_at == 100


def test_what_cannot_be_sampled_is_named(pair):
    with pair.inside(), pytest.raises(NoSuchInterface):
        StampSampler.open("qcnosuch")
    pair.link("set", pair.into, "down")
    with pair.inside(), pytest.raises(InterfaceDown):
        StampSampler.open(pair.into)


def test_an_interface_that_vanishes_ends_nothing(pair):
    with opened(pair) as sampler:
        sampler.start()
        pair.link("del", pair.into)
        time.sleep(0.2)
        sampler.stop()
        assert sampler.whole().looked_at == 0


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_command_says_that_veth_does_not_stamp(pair, form):
    words = ["--json"] if form == "json" else []
    command = [sys.executable, "-m", "ui.cli.main", "ring", f"packet:{pair.into}", "--stamps", "both", "--seconds", "2", *words]
    process = subprocess.Popen(
        ["ip", "netns", "exec", pair.far, *command], cwd=PROJECT, env=os.environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.7)
    pair.send(500, 500)
    output, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    sentence = f"{pair.into} does not stamp: its driver has no stamps of received packets"
    if form == "text":
        assert sentence in said
        assert sentence in output
        return
    record = json.loads(output)
    (sample,) = record["nic_to_kernel"]
    assert sample["note"] == sentence
    assert (sample["stamping"], sample["clocks_agree"], sample["clock"]) == ("none", False, None)
    interval = record["total"]["nic_latency"]
    assert (interval["from"], interval["to"], interval["count"], interval["p50_ns"]) == ("nic", "kernel", 0, None)
    assert (record["total"]["latency"]["from"], record["total"]["latency"]["to"]) == ("kernel", "ring")
    assert sample["unstamped"] == sample["looked_at"]


class Clock:
    """A NIC's clock that keeps TAI, drifts by 10 ppm, and may cease to answer."""

    path = "/dev/ptp9"

    def __init__(self, answers: int) -> None:
        self.answers, self.open = answers, True

    def measure(self) -> Offset:
        self.answers -= 1
        if self.answers < 0:
            raise OSError(errno.ENODEV, "gone")
        now = time.time_ns()
        return Offset(now, TAI + drift_ns(now), 250)

    def close(self) -> None:
        assert self.open
        self.open = False


TAI, BEGINNING_NS = 37_000_000_000, time.time_ns()


def drift_ns(at_ns: int) -> int:
    return (at_ns - BEGINNING_NS) // 100_000


def stamping(sampler: StampSampler, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Gives each packet of a veth the stamp that a NIC would have given it 1500 ns before."""
    really = sampler._tap.next

    def with_both() -> Stamped | None:
        told = really()
        if told is None or told.kernel_ns is None:
            return told
        return Stamped(told.kernel_ns - 1500 + TAI + drift_ns(told.kernel_ns), told.kernel_ns)

    monkeypatch.setattr(sampler._tap, "next", with_both)
    sampler._clock = clock  # type: ignore[assignment]


def test_packets_with_both_stamps_and_a_clock_that_drifts(pair, monkeypatch):
    monkeypatch.setattr(sampling, "_FIRST", 1)
    monkeypatch.setattr(sampling, "_MEASURE_NS", 100_000_000)
    clock = Clock(answers=1_000)
    with opened(pair) as sampler:
        stamping(sampler, monkeypatch, clock)
        sampler.start()
        time.sleep(0.1)
        pair.send(200, 500)
        sampler.stop()
        found = sampler.whole()
    assert found.latency.total == 200 - found.unstamped > 0
    # a tenth of a second of 10 ppm is 1 us: without following it, some would be off by as much
    assert 1490 <= found.lowest_ns <= found.latency.max_ns <= 1510
    assert found.clock is not None
    assert found.clock.uncertainty_ns == 250
    assert TAI <= found.clock.offset_ns < TAI + 10_000_000
    assert found.clock.highest_ns > found.clock.lowest_ns
    assert not clock.open


def test_a_clock_that_ceases_to_answer_leaves_no_wrong_interval(pair, monkeypatch):
    monkeypatch.setattr(sampling, "_FIRST", 1)
    with opened(pair) as sampler:
        clock = Clock(answers=1)
        stamping(sampler, monkeypatch, clock)
        sampler.start()
        time.sleep(0.1)
        pair.send(50, 500)
        sampler.stop()
        found = sampler.whole()
    assert (found.latency.total, found.stepped) == (0, 50 - found.unstamped_by_kernel)
    assert "/dev/ptp9 does not tell the time" in found.why_unknown
    assert not clock.open
