"""Samples with rings, feeds and events, second by second, for the tests of what is drawn and kept of them."""

from dataclasses import replace

from ingest.rings.counters import ChannelCounters, RingCounters, StreamCounters, Walked
from ingest.sample import Sample
from tests.app.screens import sample

START_S = 1_790_000_000.0


def ring(core, packets=2_000, drops=0, interface="eth2", is_open=True, p99_ns=140_000) -> dict:
    """One ring as a sample has it, half a second of it."""
    counted = RingCounters(
        core, Walked(packets=packets, bytes=128 * packets), reached=packets, drops=drops, interface=interface
    )
    latency = {"p50_ns": 31_000, "p90_ns": 60_000, "p99_ns": p99_ns, "p99.9_ns": 400_000, "max_ns": 900_000}
    total = {"packets": 777_000, "bytes": 1, "drops": 17, "freezes": 0, "unaccounted": 0, "malformed": 0}
    record = counted.to_json() | {"latency": {"from": "kernel", "to": "ring", "count": packets, "negative": 0} | latency}
    return record | {"source": interface, "open": is_open, "seconds": 0.5, "total": total}


def stream(last, received, line="A", channel="itch", per_s=5_000.0, **counts) -> dict:
    """One stream: 239.1.1.``last``:30001."""
    address = bytes((239, 1, 1, last))
    counted = StreamCounters(address, 30001, "moldudp64", received=received, channel=channel, line=line, **counts)
    return counted.to_json() | {"received_per_s": per_s, "lost_per_s": 0.0}


def channel(name, received, lost=0, wins=(0, 0), lost_per_s=0.0) -> dict:
    """What both lines of a channel bring."""
    counted = ChannelCounters(name, received=received, lost=lost, both=received, wins=wins).to_json()
    return counted | {"line": "A+B", "received_per_s": 5_000.0, "lost_per_s": lost_per_s}


def feeds(number, lost=0, silent_from=10**9) -> tuple[dict, ...]:
    """A channel whose line B falls silent, and a stream of no channel, in sample ``number``."""
    b = min(number, silent_from) * 2_500
    return (
        stream(1, number * 2_500, "A", lost=lost, duplicate=7, reordered=3),
        stream(2, b, "B", per_s=5_000.0 if number < silent_from else 0.0),
        channel("itch", number * 2_500, lost, (number * 1_500, number * 1_000), 6.0 if lost else 0.0),
        stream(9, number * 50, line="", channel=None, per_s=100.0),
    )


def second(number, *events, rings=(), feeds=(), drops_per_s=0.0, **changes) -> Sample:
    """Sample ``number`` of two a second."""
    base = sample(sequence=number, cores=changes.pop("cores", 8), nodes=1)
    nics = (replace(base.nics[0], drops_per_s=drops_per_s), *base.nics[1:])
    timed = {"time_s": START_S + number / 2, "monotonic_ns": number * 500_000_000, "interval_s": 0.5}
    return replace(base, **timed, rings=tuple(rings), feeds=tuple(feeds), events=tuple(events), nics=nics, **changes)


def show(pane, taken):
    """A sample as the app would take it, for one screen."""
    pane.model.sample = taken
    pane.model.history.take(taken)
    pane.model.events.extendleft((taken.time_s, event) for event in taken.events)


def drawn(pane, width=80, height=21):
    """The screen as text."""
    return ["".join(segment.text for segment in line) for line in pane.lines(width, height)]
