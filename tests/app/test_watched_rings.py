"""Rings and feeds that the collector reads for the app: on the ingest pane, among the losses, and how its child is told."""

import os
import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import replace

import pytest

from ingest.rings.counters import ChannelCounters, RingCounters, StreamCounters, Walked
from ingest.sample import LossSample, QueueSample
from tests.app.screens import drive, make_app, press, sample, text_of
from ui.app.source import ChildSource
from ui.cli.main import build_parser
from ui.cli.ring_sources import ring_words

STREAM = StreamCounters(
    b"\xef\x01\x01\x01", 30001, "moldudp64", received=123_456, lost=42, reordered=3, channel="itch", line="A"
)
RATES = {"received_per_s": 5_000.0, "lost_per_s": 0.0}


def watched(is_open=True):
    """A sample with a ring on eth2 and a channel in it."""
    ring = RingCounters(3, Walked(packets=2_000, bytes=256_000), reached=2_000, interface="eth2").to_json()
    total = {"packets": 777_000, "bytes": 1, "drops": 17, "freezes": 0, "unaccounted": 0, "malformed": 0}
    ring |= {"source": "eth2", "open": is_open, "seconds": 0.5, "total": total}
    channel = ChannelCounters("itch", received=123_400, lost=5).to_json() | {"line": "A+B"} | RATES
    rows = (
        LossSample(21, "packet ring", "eth2", "PACKET_STATISTICS tp_drops", 17, 4.0),
        LossSample(26, "feed sequence", "itch A 239.1.1.1:30001", "sequence gaps", 42, 2.0, kind="detail"),
        LossSample(26, "feed sequence", "itch A+B", "sequence gaps", 0, 0.0, kind="detail"),
    )
    base = sample()
    return replace(base, rings=(ring,), feeds=(STREAM.to_json() | RATES, channel), losses=(*base.losses, *rows))


def shown(key, *samples, size=(110, 40)):
    made = make_app(list(samples))
    found = []

    async def steps(pilot):
        await press(pilot, key)
        found.append(text_of(made))

    drive(made, steps, size=size)
    return found[0]


def test_the_ingest_pane_shows_what_the_collector_reads():
    text = shown("3", watched())
    assert "packet:eth2  open  4000/s  in all 777,000 packets, 17 drops" in text
    assert "itch A 239.1.1.1:30001" in text
    (line,) = [line for line in text.splitlines() if "239.1.1.1:30001" in line]
    assert line.split()[-5:] == ["5000", "123456", "42", "0", "3"]
    assert "itch A+B" in text
    assert "Enter opens a ring" not in text
    assert "CLOSED" not in text


def test_an_interface_that_is_waited_for_is_said_to_be():
    assert "packet:eth2  CLOSED: waits for the interface" in shown("3", watched(is_open=False))


def test_without_rings_the_pane_offers_one():
    assert "Enter opens a ring" in shown("3", sample())


def test_the_smallest_terminal_holds_it():
    assert "packet:eth2" in shown("3", watched(), size=(80, 24))


def test_queues_show_packets_and_drops_where_the_driver_counts_them():
    base = sample()
    queues = (
        QueueSample(0, 100, "0", 1_000.0, packets=10**6, packets_per_s=8_000.0, drops=5, drops_per_s=3.0),
        QueueSample(1, 101, "1", 900.0, packets=10**6, packets_per_s=7_000.0),
    )
    text = shown("2", replace(base, nics=(replace(base.nics[0], queues=queues), *base.nics[1:])))
    assert "packets/s" in text
    assert "drops/s" in text
    first, second = (next(line.split() for line in text.splitlines() if line.strip().startswith(f"rx{n} ")) for n in (0, 1))
    assert first[4:7] == ["1000", "8000", "3"]
    assert second[4:7] == ["900", "7000", "-"]
    header = next(line for line in shown("2", base).splitlines() if "irq/s" in line)
    assert "packets/s" not in header  # this driver counts none


def test_options_are_handed_on_as_they_were_given():
    words = ["--ring", "packet:eth2", "--ring=packet:eth3", "--feed", "itch", "--filter", "udp -x"]
    arguments = build_parser(None).parse_args(words)
    again = build_parser("watch").parse_args(["watch", *ring_words(arguments)])
    for name in ("ring", "feed", "feed_file", "filter"):
        assert getattr(again, name) == getattr(arguments, name)
    assert ring_words(Namespace(ring=[], feed=None, feed_file=None, filter=None)) == []


def test_the_child_reads_a_ring_that_is_asked_for():
    if os.geteuid() != 0:
        pytest.skip("a packet ring needs CAP_NET_RAW")
    source = ChildSource([], "0.2s", ["--ring=packet:lo"])
    try:
        limit = time.monotonic() + 20
        while source.newest() is None:
            assert time.monotonic() < limit, source.ended
            time.sleep(0.05)
        assert {ring["source"] for ring in source.newest().rings} == {"lo"}
    finally:
        source.close()
    refused = ChildSource([], "0.2s", ["--ring=packet:nosuch0"])
    limit = time.monotonic() + 20
    while not refused.ended:
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert "no interface 'nosuch0'" in refused.ended
    refused.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ring", "packet:lo"], "needs a terminal"),
        (["--ring", "packet:lo", "status"], "before a command"),
        (["--feed=itch", "watch"], "before a command"),
    ],
)
def test_options_of_the_app_where_there_is_none(words, said):
    ran = subprocess.run(
        [sys.executable, "-m", "ui.cli.main", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
