"""Lines of changes: what comes out is what went in, and nothing else comes out of anything."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_sequences import sequences

import ingest.changes as changes_module
from ingest.changes import Decoder, Encoder
from ingest.collector import Collector
from ingest.sample import Event, Sample, SampleError, from_json
from tuner.host.files import HostFiles
from tuner.host.simulated import Simulation, open_tree

SOME = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def samples(sim_templates) -> list[Sample]:
    """A host that lives, tick by tick."""
    host = open_tree(HostFiles(sim_templates(nodes=2, cores=4, smt=1, nics=2, queues=4)))
    collector, simulation, found = Collector(host), Simulation(host), []
    for _ in range(8):
        simulation.advance(0.5)
        found.append(collector.tick())
    return found


def lines_of(samples, every=1000):
    encoder = Encoder(every)
    return [encoder.line(sample) for sample in samples]


@SOME
@given(sequences(), st.integers(1, 4))
def test_what_comes_out_is_what_went_in(samples, every):
    decoder = Decoder()
    for sample, line in zip(samples, lines_of(samples, every), strict=True):
        assert decoder.take(line.encode()) == sample
        assert decoder.whole == ("base" not in json.loads(line))


def test_a_living_host_comes_out_to_the_last_digit(samples):
    decoder, encoder = Decoder(), Encoder(1000)
    for number, sample in enumerate(samples):
        line = encoder.line(sample)
        assert encoder.whole == (number == 0)
        assert decoder.take(line).to_json() == sample.to_json()
        assert number == 0 or len(line) < len(sample.to_json()) * 0.7


def test_the_first_key_is_the_schema(samples):
    for line in lines_of(samples):
        assert line.startswith('{"schema":"quietcore/1",')


def test_rows_that_stood_still_are_the_same_objects(samples):
    still = replace(samples[0], sequence=samples[0].sequence + 1)
    cores = (replace(still.cores[0], busy_percent=99.5), *still.cores[1:])
    nic = still.nics[0]
    queues = (replace(nic.queues[0], interrupts_per_s=7.25), *nic.queues[1:])
    moved = replace(still, sequence=still.sequence + 1, cores=cores, nics=(replace(nic, queues=queues), *still.nics[1:]))
    decoder = Decoder()
    first, second, third = map(decoder.take, lines_of([samples[0], still, moved]))
    for name in ("cores", "irqs", "losses", "rings", "cost"):
        assert getattr(second, name) is getattr(first, name)
    assert all(one is two for one, two in zip(first.nics, second.nics, strict=True))
    assert third == moved
    assert [one is two for one, two in zip(second.cores, third.cores, strict=True)] == [False] + [True] * (len(cores) - 1)
    assert third.irqs is second.irqs
    assert third.nics[1] is second.nics[1]
    assert [one is two for one, two in zip(second.nics[0].queues, third.nics[0].queues, strict=True)] == [
        False,
        True,
        True,
        True,
    ]


def test_a_whole_line_comes_first_and_every_so_many(samples):
    encoder = Encoder(every=4)
    assert [(encoder.line(sample), encoder.whole)[1] for sample in samples] == [True, False, False, False] * 2


def test_rows_that_come_go_or_change_places_are_told_without_a_whole_line(samples):
    without = [replace(sample, nics=sample.nics[:1], losses=sample.losses[3:]) for sample in samples]
    turned = [replace(sample, irqs=sample.irqs[::-1], cores=sample.cores[::-1]) for sample in samples]
    order = [samples[0], samples[1], without[2], without[3], turned[4], samples[5]]
    lines = lines_of(order)
    assert ["base" in json.loads(line) for line in lines] == [False] + [True] * 5
    assert [len(json.loads(line).get("nics", {}).get("all", ())) for line in lines[2::2]] == [1, len(samples[0].nics)]
    decoder = Decoder()
    assert [decoder.take(line) for line in lines] == order


def test_an_event_is_told_once(samples):
    event = Event("warn", "eth2", "gone")
    decoder = Decoder()
    stream = [samples[0], replace(samples[1], events=(event,)), samples[2]]
    assert [decoder.take(line).events for line in lines_of(stream)] == [(), (event,), ()]


def test_plain_lines_are_taken_at_any_time(samples):
    decoder = Decoder()
    for sample in samples:
        assert decoder.take(sample.to_json()) == sample
    lines = lines_of(samples)
    assert decoder.take(lines[0]) == samples[0]
    assert decoder.take(samples[1].to_json()) == samples[1]
    assert decoder.take(lines[2]) == samples[2]


def test_a_lost_line_is_noticed_and_the_next_whole_one_heals(samples):
    lines = lines_of(samples, every=4)
    decoder = Decoder()
    with pytest.raises(SampleError, match=r"none is here; a whole line is awaited"):
        decoder.take(lines[1])
    decoder.take(lines[0])
    for lost in lines[2:4]:
        with pytest.raises(SampleError, match="a whole line is awaited"):
            decoder.take(lost)
    assert [decoder.take(line) for line in lines[4:]] == samples[4:]


def test_a_reader_of_whole_lines_says_what_it_was_given(samples):
    with pytest.raises(SampleError, match="a line of changes"):
        from_json(lines_of(samples)[1])


def test_what_upon_one_whole_line_is_held_is_bounded(samples, monkeypatch):
    lines = lines_of(samples)
    monkeypatch.setattr(changes_module, "MAX_SINCE", len(lines[0]) + len(lines[1]))
    decoder = Decoder()
    decoder.take(lines[0])
    decoder.take(lines[1])
    with pytest.raises(SampleError, match="a whole line is awaited"):
        decoder.take(lines[2])


HOSTILE = [
    ("schema", "quietcore/2"),
    ("base", "1"),
    ("base", True),
    ("base", None),
    ("sequence", "2"),
    ("time_s", []),
    ("host", 7),
    ("cores", 1),
    ("cores", {}),
    ("cores", {"all": None}),
    ("cores", {"all": [1]}),
    ("cores", {"all": [{"cpu": 0}]}),
    ("queues", {"all": []}),
    ("cores", [1]),
    ("cores", [{}]),
    ("cores", [{"fields": ["cpu"]}]),
    ("cores", [{"fields": "cpu", "rows": []}]),
    ("cores", [{"fields": ["nonsense"], "rows": [[0, 1]]}]),
    ("cores", [{"fields": [["cpu"]], "rows": [[0, 1]]}]),
    ("cores", [{"fields": ["cpu"], "rows": [[0]]}]),
    ("cores", [{"fields": ["cpu"], "rows": [[]]}]),
    ("cores", [{"fields": ["cpu"], "rows": [[0, 1, 2]]}]),
    ("cores", [{"fields": ["cpu"], "rows": [[-1, 1]]}]),
    ("cores", [{"fields": ["cpu"], "rows": [[4096, 1]]}]),
    ("cores", [{"fields": ["cpu"], "rows": [[True, 1]]}]),
    ("cores", [{"fields": ["cpu"], "rows": [["0", 1]]}]),
    ("cores", [{"fields": ["cpu"], "rows": [[0, "x"]]}]),
    ("cores", [{"fields": ["cpu", "cpu"], "rows": [[0, 1, "x"]]}]),
    ("cores", [{"fields": ["siblings"], "rows": [[0, ["x"]]]}]),
    ("irqs", [{"fields": ["per_cpu"], "rows": [[0, [[1]]]]}]),
    ("nics", [{"fields": ["queues"], "rows": [[0, []]]}]),
    ("nics", [{"fields": ["counters"], "rows": [[0, {"new": 1}]]}]),
    ("nics", [{"fields": ["counters"], "rows": [[0, {"rx_packets": "1"}]]}]),
    ("queues", [{"fields": ["queue"], "rows": [[99, 1]]}]),
    ("losses", [{"fields": ["total"], "rows": [[0, None]]}]),
    ("rings", 1),
    ("rings", [1]),
    ("feeds", {"0": {"received": 1}}),
    ("feeds", {"x": {}}),
    ("feeds", {"-1": {}}),
    ("feeds", {"\u0663": {}}),
    ("feeds", {"9" * 5000: {}}),
    ("events", {}),
    ("events", [{"level": 1}]),
    ("cost", [1]),
    ("cost", {"cpu_ns": "x"}),
]


@pytest.mark.parametrize(("name", "value"), HOSTILE, ids=str)
def test_what_cannot_be_is_refused_and_changes_nothing(samples, name, value):
    one, two, *_ = lines_of(samples)
    decoder = Decoder()
    decoder.take(one)
    with pytest.raises(SampleError):
        decoder.take(json.dumps(json.loads(two) | {name: value}))
    assert decoder.take(two) == samples[1]


def test_a_key_that_was_not_there_cannot_come_with_changes(samples):
    """Else a stream could fill the memory a key at a time."""
    fed = [replace(sample, feeds=({"received": at},)) for at, sample in enumerate(samples)]
    one, two, *_ = lines_of(fed)
    assert json.loads(two)["feeds"] == {"0": {"received": 1}}
    decoder = Decoder()
    decoder.take(one)
    with pytest.raises(SampleError):
        decoder.take(two.replace('"received":1}', '"received":1,"more":2}'))


def test_no_control_character_comes_out(samples):
    decoder = Decoder()
    one, two, *_ = lines_of(samples)
    decoder.take(one)
    groups = [{"fields": ["role", "top_cause"], "rows": [[0, "\x1b[2J", "\u202ex"]]}]
    core = decoder.take(json.dumps(json.loads(two) | {"cores": groups})).cores[0]
    assert (core.role, core.top_cause) == ("\\x1b[2J", "\\u202ex")


@SOME
@given(data=st.data())
def test_a_line_that_was_changed_on_the_way_is_refused_or_a_sample(samples, data):
    lines = lines_of(samples)
    decoder = Decoder()
    for one, two in pairwise(lines):
        decoder.take(lines[0]) if one is lines[0] else None
        raw = bytearray(two.encode())
        for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=3)):
            raw[at] = data.draw(st.integers(0, 255))
        try:
            found = decoder.take(bytes(raw))
        except SampleError:
            return
        assert isinstance(found, Sample)
        assert from_json(found.to_json()) == found
