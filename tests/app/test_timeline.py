"""Where in time the view stands: live, paused, stepped back, in a recording; the histories go along."""

import datetime as dt
from dataclasses import replace

import pytest

from ingest.blocks import RecordingError
from ingest.sample import Event
from tests.app.screens import sample
from ui.app.state.model import Model
from ui.app.stream.past import ListPast
from ui.app.stream.source import ListSource
from ui.app.stream.timeline import TimeError, Timeline

BEGAN_S = dt.datetime(2026, 3, 2, 10, 0, 0).astimezone().timestamp()


def second(number):
    """A sample a second, in which core 3 is interrupted ``number`` times a second."""
    base = sample(4, nodes=1, sequence=number)
    cores = tuple(replace(core, interruptions_per_s=float(number)) if core.cpu == 3 else core for core in base.cores)
    events = (Event("warn", "eth2", f"event of {number}"),) if number % 10 == 0 else ()
    return replace(base, cores=cores, time_s=BEGAN_S + number, interval_s=1.0, events=events)


class Replayed:
    """A recording of so many seconds, some of them damaged."""

    ended = ""

    def __init__(self, seconds, damaged=()):
        self.past = ListPast([second(number) for number in range(seconds)])
        whole, self.damaged = self.past.sample, set(damaged)

        def read(index):
            if index in self.damaged:
                raise RecordingError(f"sample {index} is damaged\x1b[2J")
            return whole(index)

        self.past.sample = read

    def newest(self):
        return None

    def events(self):
        return []

    def restart(self):
        return False


def live(seconds):
    model = Model()
    timeline = Timeline(model, ListSource([second(number) for number in range(seconds)]))
    for _ in range(seconds):
        timeline.tick()
    return model, timeline


def rates(model, count=5):
    return model.history.core_samples(3, "intr/s", count)


def test_live_shows_the_newest_and_what_led_to_it():
    model, timeline = live(20)
    assert model.sample.sequence == 19
    assert rates(model) == [15, 16, 17, 18, 19]
    assert not timeline.tick()  # nothing new


def test_a_step_back_moves_the_view_and_the_end_of_the_histories():
    model, timeline = live(20)
    timeline.step(-3)
    assert model.paused
    assert model.sample.sequence == 16
    assert rates(model) == [12, 13, 14, 15, 16]
    assert timeline.where() == "-00:03"
    timeline.step(1)
    assert (model.sample.sequence, rates(model)[-1]) == (17, 17)
    timeline.step(-1000)
    assert model.sample.sequence == 0
    timeline.step(1000)
    assert model.sample.sequence == 19


def test_going_on_is_at_now_with_all_that_came_meanwhile():
    model = Model()
    source = ListSource([second(number) for number in range(40)])
    timeline = Timeline(model, source)
    for _ in range(10):
        timeline.tick()
    timeline.pause()
    for _ in range(20):
        source.newest()
        timeline.tick()
    assert model.sample.sequence == 9
    timeline.pause()
    assert model.sample.sequence >= 29
    assert rates(model)[-3:] == [model.sample.sequence - 2, model.sample.sequence - 1, model.sample.sequence]
    timeline.tick()
    assert rates(model)[-1] == model.sample.sequence


def test_events_are_told_while_it_is_paused():
    model = Model()
    source = ListSource([second(number) for number in range(12)])
    timeline = Timeline(model, source)
    timeline.tick()
    timeline.pause()
    for _ in range(11):
        source.newest()
    timeline.tick()
    assert [event.what for _, event in model.events] == ["event of 10", "event of 0"]


@pytest.mark.parametrize(
    ("text", "number"),
    [("10:00:07", 7), ("10:01", 60), ("-5s", 94), ("-1m", 39), ("+9", 99), ("10:00:00", 0), ("9:00", 99)],
)
def test_a_time_is_gone_to(text, number):
    model, timeline = live(100)
    timeline.goto(text)
    assert model.sample.sequence == number


@pytest.mark.parametrize("text", ["noon", "25:00", "10:61", "-", "5", "\uff11\uff10:00"])
def test_what_is_no_time_is_told_and_moves_nothing(text):
    model, timeline = live(5)
    with pytest.raises(TimeError):
        timeline.goto(text)
    assert (model.sample.sequence, model.paused) == (4, False)


def test_now_goes_on():
    model, timeline = live(10)
    timeline.step(-5)
    timeline.goto("now")
    assert (model.sample.sequence, model.paused) == (9, False)


def test_a_recording_is_stepped_through_with_its_events():
    model = Model(kind="replay")
    timeline = Timeline(model, Replayed(100))
    timeline.tick()
    assert model.sample.sequence == 0
    timeline.goto("10:00:45")
    assert model.sample.sequence == 45
    assert rates(model) == [41, 42, 43, 44, 45]
    assert [event.what for _, event in model.events][:2] == ["event of 40", "event of 30"]
    timeline.step(-10)
    assert [event.what for _, event in model.events][:1] == ["event of 30"]
    assert rates(model) == [31, 32, 33, 34, 35]
    timeline.step(1)
    assert rates(model) == [32, 33, 34, 35, 36]
    assert timeline.where() == "10:00:36"


def test_a_recording_plays_at_its_own_pace(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("ui.app.stream.timeline.time.monotonic", lambda: clock[0])
    model = Model(kind="replay")
    timeline = Timeline(model, Replayed(30))
    timeline.tick()
    clock[0] += 7.2
    assert timeline.tick()
    assert model.sample.sequence == 7
    assert rates(model) == [3, 4, 5, 6, 7]
    timeline.step(-4)
    timeline.pause()
    clock[0] += 2
    timeline.tick()
    assert (model.sample.sequence, rates(model)[-3:]) == (5, [3, 4, 5])
    clock[0] += 60
    timeline.tick()
    assert (model.sample.sequence, model.paused) == (29, True)
    timeline.pause()  # from the start again
    assert model.sample.sequence == 0


def test_what_is_damaged_is_told_and_gone_over():
    model = Model(kind="replay")
    timeline = Timeline(model, Replayed(30, damaged=(4, 10)))
    timeline.tick()
    timeline.goto("10:00:08")
    assert rates(model) == [3, 5, 6, 7, 8]
    timeline.goto("10:00:10")
    assert "damaged" in model.message
    assert "\x1b" not in model.message
    assert model.sample.sequence == 8
    timeline.goto("10:00:12")
    assert model.sample.sequence == 12
