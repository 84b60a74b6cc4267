"""A sample as one line of JSON: the same line whoever writes it, and nothing hostile through it."""

import dataclasses
import json
from dataclasses import replace

import pytest

from ingest.collector import Collector
from ingest.rows import MAX_LINE
from ingest.sample import SCHEMA, CoreSample, Event, Sample, SampleError, from_json
from tuner.host.files import HostFiles
from tuner.host.host import open_host
from tuner.host.simulated import Simulation, open_tree


@pytest.fixture(scope="module")
def sample(sim_templates) -> Sample:
    host = open_tree(HostFiles(sim_templates(nodes=2, cores=2, smt=1, nics=2, queues=2)))
    collector = Collector(host)
    collector.tick()
    Simulation(host).advance(1.0)
    return replace(collector.tick(), events=(Event("warn", "eth2", "gone"),), feeds=({"stream": "x", "received": 1},))


def changed(sample: Sample, *path, value):
    record = json.loads(sample.to_json())
    place = record
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(record)


def test_a_line_is_what_asdict_would_have_made(sample):
    record = {"schema": SCHEMA, "command": "watch"} | dataclasses.asdict(sample)
    assert sample.to_json() == json.dumps(record, separators=(",", ":"))
    assert sample.to_json("status").startswith('{"schema":"quietcore/1","command":"status","host":')


def test_the_samples_of_this_host_come_back_as_they_were():
    for sample in Collector(open_host()).stream(0.05, 2):
        assert from_json(sample.to_json()) == sample
        assert from_json(sample.to_json().encode()) == sample


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("cores",), None),
        (("cores",), {}),
        (("cores",), [1]),
        (("cores", 0), []),
        (("cores", 0, "cpu"), "0"),
        (("cores", 0, "cpu"), True),
        (("cores", 0, "cpu"), None),
        (("cores", 0, "cpu"), 1.5),
        (("cores", 0, "siblings"), [0, "1"]),
        (("cores", 0, "siblings"), 5),
        (("cores", 0, "role"), ["isolated"]),
        (("cores", 0, "busy_percent"), "high"),
        (("irqs", 0, "per_cpu"), [[0, 1, 2]]),
        (("irqs", 0, "per_cpu"), [[0, "1"]]),
        (("irqs", 0, "per_cpu"), [0]),
        (("irqs", 0, "per_cpu"), ["ab"]),
        (("irqs", 0, "per_cpu_per_s"), [[0.5, 1.0]]),
        (("irqs", 0, "managed"), 1),
        (("nics", 0, "counters"), [1]),
        (("nics", 0, "counters"), {"rx_packets": "1"}),
        (("nics", 0, "queues"), [{"queue": 0}]),
        (("nics", 0, "queues", 0, "packets"), "7"),
        (("losses", 0, "stage"), None),
        (("events", 0, "level"), 3),
        (("events",), "warn"),
        (("cost",), []),
        (("cost", "cpu_ns"), {}),
        (("rings",), [1]),
        (("feeds",), {"a": 1}),
        (("drift",), "x"),
        (("sequence",), "1"),
        (("host",), 7),
        (("schema",), "quietcore/2"),
        (("base",), 1),
        (("cores", 0, "interrupts"), 1 << 80),
        (("cores", 0, "busy_percent"), float("nan")),
        (("cores", 0, "busy_percent"), float("-inf")),
    ],
    ids=str,
)
def test_what_a_field_cannot_be_is_refused(sample, path, value):
    with pytest.raises(SampleError):
        from_json(changed(sample, *path, value=value))


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1E999", "1e+400", "1" * 400, "1" * 400 + ".5", "1" * 5000, "0.1e400"])
def test_numbers_beyond_all_bounds_are_refused(sample, number):
    line = changed(sample, "cores", 0, "busy_percent", value="HERE").replace('"HERE"', number)
    with pytest.raises(SampleError):
        from_json(line)
    with pytest.raises(SampleError):
        from_json(changed(sample, "feeds", 0, "received", value="HERE").replace('"HERE"', number))


def test_a_field_that_is_required_is_missed(sample):
    record = json.loads(sample.to_json())
    del record["cores"][0]["node"]
    with pytest.raises(SampleError, match="node"):
        from_json(json.dumps(record))
    del record["cores"]
    with pytest.raises(SampleError, match="cores"):
        from_json(json.dumps(record))


def test_no_control_character_comes_out(sample):
    evil = "\x1b]0;owned\x07\x00\u202e\x9b1m\ud800ok"
    line = changed(sample, "host", value=evil)
    assert from_json(line).host == "\\x1b]0;owned\\x07\\x00\\u202e\\x9b1m\\ud800ok"
    found = from_json(changed(sample, "nics", 0, "counters", value={evil: 1}))
    assert list(found.nics[0].counters) == [from_json(line).host]
    found = from_json(changed(sample, "feeds", 0, value={"stream": {"deep": [evil]}}))
    assert found.feeds[0]["stream"]["deep"] == [from_json(line).host]
    raw = changed(sample, "host", value="HERE").encode().replace(b"HERE", "a\u202eb".encode())
    assert from_json(raw).host == "a\\u202eb"


@pytest.mark.parametrize(
    "line", [b"", b"\xff", b"\x00", b"[" * 100_000, b'{"a":' * 100_000, b"nul", b"3", b'"x"', b"[]", b"{}"]
)
def test_what_is_no_line_of_ours_is_refused(line):
    with pytest.raises(SampleError):
        from_json(line)


def test_a_line_that_is_too_long_is_not_looked_at():
    with pytest.raises(SampleError, match="bytes"):
        from_json(b"[" * (MAX_LINE + 1))


def test_new_types_in_each_row_are_not_all_remembered(sample):
    """2^14 ways to write a core with numbers that are whole or not: what was met is bounded."""
    from ingest.sample import CORES

    core = CORES.record(sample.cores[0])
    numbers = [name for name, value in core.items() if isinstance(value, float)]
    for way in range(1 << 10):
        record = core | {name: (1 if way >> at & 1 else 1.5) for at, name in enumerate(numbers)}
        record["siblings"] = list(record["siblings"])
        assert isinstance(CORES.build(record), CoreSample)
    assert len(CORES._met) <= 256
