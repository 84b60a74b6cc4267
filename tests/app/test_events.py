"""Events: told once, open until seen or over, linked in time, acknowledged, and the same however one came to a moment."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.cells import cell_len

from ingest.sample import Event
from tests.app.screens import drive, make_app, press, sample, text_of
from tests.app.told import START_S, drawn, feeds, ring, second, show
from ui.app.flow import remedies
from ui.app.screens import event_detail, events
from ui.app.screens.events import EventsPane
from ui.app.state.event_log import MOST, EventLog
from ui.app.state.event_places import names_of, place_of, way_to
from ui.app.state.model import Model
from ui.app.stream.evidence import Evidence
from ui.app.stream.past import ListPast
from ui.app.stream.source import ListSource
from ui.app.stream.timeline import Timeline
from ui.filter import parse

STRAY = Event("warn", "cpu 37", "1/s of nvme3q38 on an isolated core", key="irq 142 cpu 37", cpu=37, irq="142")
LOST = Event("crit", "eth2", "12 packets lost in 1.0 s", key="lost eth2", nic="eth2", queue=2, counter="rx_missed_errors")
GAP = Event("crit", "itch", "3 lost on both lines")
OVER = replace(LOST, level="info", ended=True, what="over: 12 packets in 1.0 s")


def make_pane(*samples):
    """A pane that was shown some samples; where it went is in ``pane.went``."""
    model, went = Model(), []
    pane = EventsPane(model, Evidence(ListPast(), None), lambda *way: went.append(way))
    pane.went = went
    for each in samples:
        show(pane, each)
    return pane


def log_of(*told):
    """A log that took events one look after the other: (seconds, event)."""
    model = Model()
    for time_s, event in told:
        model.events.appendleft((START_S + time_s, event))
        model.matters()
    return model


# ---- the log


def test_what_has_a_key_is_one_matter_until_it_is_over():
    model = log_of((1, LOST), (2, replace(LOST, what="10 times what it was")), (8, OVER), (20, LOST))
    again, first = model.matters().matters
    assert (first.times, first.state, first.time_s - START_S, first.over_s - START_S) == (3, "over", 1, 8)
    assert first.event.what == "10 times what it was"
    assert (again.times, again.state) == (1, "open")
    assert model.matters().open == 1
    assert model.matters().total == 4


def test_the_same_words_within_a_minute_are_one_matter():
    model = log_of((1, GAP), (40, GAP), (150, GAP))
    assert [each.times for each in model.matters().matters] == [1, 2]


def test_what_only_informs_waits_for_nobody():
    model = log_of((1, Event("info", "profile", "kept")), (2, Event("odd", "x", "an unknown level")))
    assert [each.state for each in model.matters().matters] == ["", ""]
    assert model.matters().open == 0


def test_an_end_whose_beginning_nobody_saw_is_over():
    assert [each.state for each in log_of((1, OVER)).matters().matters] == ["over"]


def test_what_becomes_graver_waits_again():
    model = log_of((1, replace(LOST, level="warn")))
    log = model.matters()
    assert log.acknowledge(log.matters) == 1
    assert (log.open, log.matters[0].state) == (0, "ack")
    model.events.appendleft((START_S + 2, replace(LOST, level="warn")))
    assert model.matters().open == 0
    model.events.appendleft((START_S + 3, LOST))
    assert (model.matters().open, log.matters[0].level) == (1, "crit")


def test_events_that_came_together_are_taken_in_order_and_once():
    model = Model()
    model.events.extendleft((START_S + n, Event("warn", f"cpu {n}", "disturbed")) for n in range(30))
    for _ in range(3):
        log = model.matters()
    assert [each.place.cpu for each in log.matters] == [*range(29, -1, -1)]
    assert log.per_minute(START_S + 29, 2) == [0, 30]


def test_memory_is_bounded_whatever_comes():
    model = Model()
    for n in range(4 * MOST):
        model.events.appendleft((START_S + 60 * n, Event("crit", f"cpu {n % 4096}", "x", key=f"key {n}")))
        if n % 7 == 0:
            model.matters()
    log = model.matters()
    assert len(log.matters) == MOST
    assert len(log._open) <= 2 * MOST
    assert len(log._minutes) <= 240
    log.acknowledge(log.matters)
    assert len(log._acknowledged) <= 2_000


@pytest.mark.parametrize(
    ("gap_s", "is_linked"), [(-2.5, False), (-1.5, True), (0, True), (3.5, True), (4.5, False)]
)  # a gap is told up to two seconds after it was one
def test_a_gap_is_linked_to_the_loss_of_its_seconds(gap_s, is_linked):
    told = sorted([(10, LOST), (10 + gap_s, replace(GAP, where="itch"))], key=lambda each: each[0])
    model = Model(sample=second(1, feeds=feeds(1)))
    model.events.extendleft((START_S + time_s, event) for time_s, event in told)
    log = model.matters()
    gap = next(each for each in log.matters if each.event.where == "itch")
    loss = next(each for each in log.matters if each.event.where == "eth2")
    assert log.linked(gap) == [loss] * is_linked
    assert log.linked(loss) == [gap] * is_linked


def test_one_core_at_one_time_is_linked_and_two_are_not():
    ipi = Event("warn", "cpu 37", "other cores interrupt it", key="ipi cpu 37", cpu=37)
    model = log_of(
        (1, STRAY), (2, ipi), (2, replace(ipi, key="ipi cpu 38", cpu=38, where="cpu 38")), (9, replace(ipi, key="x"))
    )
    log = model.matters()
    stray = log.matters[-1]
    assert [each.event.key for each in log.linked(stray)] == ["ipi cpu 37"]


def test_the_likely_cause_comes_first_among_what_is_linked():
    also = Event("warn", "itch", "line B is silent", key="silent itch", feed="itch")
    model = Model(sample=second(1, feeds=feeds(1)))
    model.events.extendleft((START_S + s, event) for s, event in ((1, LOST), (2.9, also), (3, GAP)))
    log = model.matters()
    assert [each.event.where for each in log.linked(log.matters[0])] == ["eth2", "itch"]


def test_where_an_event_leads():
    here = second(1, feeds=feeds(1))
    names = names_of(here)

    def way(event):
        return way_to(place_of(event, names), here)

    assert way(Event("warn", "cpu 3", "x")) == ("core", "core", "3")
    assert way(Event("warn", "eth2", "the interface is gone")) == ("nic", "nic", "eth2")
    assert way(GAP) == ("ingest", "feed", "itch")
    assert way(Event("crit", "239.1.1.2:30001", "x")) == ("ingest", "feed", "239.1.1.2:30001")
    assert way(Event("info", "itch A+B", "came late")) == ("ingest", "feed", "itch")
    assert way(LOST) == ("nic", "queue", "eth2/2")
    assert way(replace(LOST, queue=None)) == ("nic", "loss", "5/eth2/rx_missed_errors")
    assert way(replace(LOST, queue=None, counter="gone")) == ("nic", "nic", "eth2")
    assert way(STRAY) == ("core", "core", "37")  # there is no row of this interrupt any more
    assert way(Event("info", "profile", "kept")) is None
    assert way(Event("info", "cpu ²", "x")) is None


# ---- a recording


class Recorded(ListSource):
    """A source that has all its samples from the start."""

    def __init__(self, samples):
        super().__init__([])
        self.past = ListPast(samples)


def test_a_recording_shows_the_events_up_to_the_moment_once():
    samples = [second(n, *([Event("warn", f"cpu {n}", "disturbed")] if n % 10 == 0 else [])) for n in range(100)]
    model = Model(kind="replay")
    timeline = Timeline(model, Recorded(samples))
    timeline.tick()

    def cpus():
        return [each.place.cpu for each in model.matters().matters]

    assert cpus() == [0]
    timeline.seconds(17.4)  # sample 34
    assert cpus() == [30, 20, 10, 0]
    model.log.acknowledge([model.log.matters[0]])
    timeline.step(-10)
    assert cpus() == [20, 10, 0]
    timeline.step(10)
    assert cpus() == [30, 20, 10, 0]
    assert [each.state for each in model.log.matters] == ["ack", "open", "open", "open"]
    for _ in range(3):
        timeline.step(-5)
        timeline.step(5)
    assert cpus() == [30, 20, 10, 0]
    timeline.goto("now")
    assert cpus() == [90, 80, 70, 60, 50, 40, 30, 20, 10, 0]
    assert model.log.total == 10


# ---- the screen


def busy():
    calm = [second(n, feeds=feeds(n), rings=[ring(0)]) for n in range(1, 60)]
    return [
        *calm, second(60, STRAY, LOST, feeds=feeds(60)), second(63, GAP, feeds=feeds(63)),
        second(64, Event("info", "profile", "transaction 42 kept"), feeds=feeds(64)),
    ]  # fmt: skip


def test_the_list_is_newest_first_with_what_waits():
    pane = make_pane(*busy())
    head, titles, first, gap, lost, stray, *_ = drawn(pane)
    assert "level >= info   3 open   4 in all   follow on" in head
    assert titles.split() == ["time", "level", "where", "what", "state"]
    assert first.split()[1:3] == ["info", "profile"]
    assert (gap.split()[1], gap.split()[-1]) == ("CRIT", "open")
    assert lost.split()[1:3] == ["CRIT", "eth2"]
    assert stray.split()[1:4] == ["WARN", "cpu", "37"]


def test_the_selected_one_with_the_minute_before_and_what_is_linked():
    pane = make_pane(*busy())
    drawn(pane)
    pane.move(1, 0)
    text = "\n".join(drawn(pane))
    assert "CRIT itch ──" in text
    assert "before   numbers/s            0 to 5000" in text or "before   numbers/s         5000 to 5000" in text
    assert "missing/s" in text
    assert "eth2: 12 packets lost in 1.0 s" in text
    for number in range(70, 70 + 700):
        show(pane, second(number))
    assert "numbers/s" in "\n".join(drawn(pane))  # histories forget it, this does not
    pane.move(1, 0)
    drawn(pane)
    pane.do_linked()
    assert pane.went == [("ingest", "feed", "itch")]


def test_without_a_link_the_key_says_so():
    pane = make_pane(*busy())
    drawn(pane)
    pane.do_linked()
    assert (pane.went, pane.model.message) == ([], "nothing is linked to this one")


def test_enter_goes_there():
    app = make_app(busy())

    async def steps(pilot):
        for _ in range(64):
            app.tick()
        await press(pilot, "7", "down", "enter")
        assert app.screen_name == "ingest"
        assert app.pane.pointed().key == "itch"
        assert "Events(3)" in text_of(app)

    drive(app, steps)


def test_acknowledging_one_and_twice_all(monkeypatch):
    app, now = make_app(busy()), [100.0]
    monkeypatch.setattr(events, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def steps(pilot):
        for _ in range(64):
            app.tick()
        await press(pilot, "7", "down", "A")
        assert "Events(2)" in text_of(app)
        assert "acknowledged; A again: all of them" in text_of(app)
        now[0] += 5
        await press(pilot, "A")
        assert "Events(2)" in text_of(app)
        assert "does not wait" in text_of(app)
        now[0] += 1
        await press(pilot, "A")
        assert "all acknowledged: 2 more" in text_of(app)
        assert "Events(" not in text_of(app)
        app.tick()
        assert "Events(" not in text_of(app)

    drive(app, steps)


def test_level_filter_and_order():
    pane = make_pane(*busy())

    def listed():
        drawn(pane)
        return [row["where"] for row in pane.listing().rows]

    assert listed() == ["profile", "itch", "eth2", "cpu 37"]
    pane.do_level()
    assert listed() == ["itch", "eth2", "cpu 37"]
    pane.do_level()
    assert listed() == ["itch", "eth2"]
    pane.filter = parse("eth2")
    assert listed() == ["eth2"]
    pane.back()
    pane.do_level()
    pane.do_sort()
    assert listed() == ["itch", "eth2", "cpu 37", "profile"]  # the gravest first
    pane.do_sort()
    assert listed() == ["cpu 37", "eth2", "itch", "profile"]
    pane.do_reverse()
    assert listed() == ["profile", "itch", "eth2", "cpu 37"]


def test_following_keeps_the_newest_selected_until_the_cursor_is_moved():
    pane = make_pane(*busy())
    drawn(pane)
    show(pane, second(70, Event("warn", "cpu 1", "new")))
    drawn(pane)
    assert "cpu 1: new" in pane.pointed().words
    pane.move(1, 0)
    drawn(pane)
    chosen = pane.pointed().key
    show(pane, second(71, Event("warn", "cpu 2", "newer")))
    drawn(pane)
    assert pane.pointed().key == chosen
    pane.do_follow()
    drawn(pane)
    assert "cpu 2: newer" in pane.pointed().words


def test_an_event_that_another_screen_names_is_selected_though_its_level_is_hidden():
    pane = make_pane(*busy())
    pane.level = 2
    stray = next(each for each in pane.model.matters().matters if each.place.cpu == 37)
    for name in (stray.key, STRAY.key, f"{STRAY.where} {STRAY.what}", f"{STRAY.where}: {STRAY.what}"):
        pane.focus("event", "of no such name")
        pane.focus("event", name)
        drawn(pane)
        assert pane.pointed().key == stray.key
    pointed = pane.pointed()
    assert (pointed.kind, pointed.key, pointed.goes_to) == ("event", stray.key, ("core", "core", "37"))
    assert pointed.record == STRAY
    assert pointed.command == "quietcore watch"


def test_what_to_try_is_asked_for_the_event_and_shown(monkeypatch):
    asked = []

    def remedy(sample, pointed):
        asked.append(pointed)
        return remedies.Remedy("ring rx 8192", (), "nic.rings.rx", "eth2", because="it is at 512 of 8192")

    monkeypatch.setattr(event_detail, "remedy", remedy)
    pane = make_pane(*busy())
    for _ in range(5):
        text = "\n".join(drawn(pane))
    assert "try      ring rx 8192   f to plan it" in text
    assert "it is at 512 of 8192" in text
    assert [each.kind for each in asked] == ["event"]


def test_events_per_minute_where_there_is_room():
    assert not any("per minute" in line for line in drawn(make_pane(*busy())))
    title, counts = drawn(make_pane(*busy()), 200, 47)[-2:]
    assert "events per minute, last 196 min" in title
    assert counts.strip("· ") != ""


def test_zoom_shows_the_panel_with_the_cursor_alone():
    pane = make_pane(*busy())
    pane.zoomed = True
    assert not any("── " in line for line in drawn(pane))
    pane.do_next_panel()
    assert any(line.startswith("── ") for line in drawn(pane))
    assert not any("level where" in line for line in drawn(pane))


def test_nothing_happened_and_nothing_matches():
    pane = make_pane(second(1))
    assert any("nothing happened since this was opened" in line for line in drawn(pane))
    show(pane, second(2, GAP))
    pane.filter = parse("no-such-thing")
    assert any("nothing matches" in line for line in drawn(pane))


def test_the_tab_counts_what_waits():
    app = make_app([sample()])  # its event is that an interface is gone

    async def steps(pilot):
        app.tick()
        assert "Events(1)" in text_of(app)

    drive(app, steps)


@pytest.mark.parametrize("name", ["通道行情", "[b]x[/y]", "a" * 300, "e\u0301\u0301" * 9, "\u2067x", ""])
def test_every_line_fits_at_every_size_whatever_the_names(name):
    many = [replace(LOST, where=name, what=f"{name} {n} " * 9, key=f"{n}", nic=name or "eth2") for n in range(60)]
    pane = make_pane(*busy(), second(70, *many))
    for width in (80, 81, 100, 129, 130, 131, 200, 300):
        for height in (21, 22, 26, 27, 47, 77):
            for change in (lambda: None, pane.do_next_panel, lambda: pane.move(7, 0)):
                change()
                lines = drawn(pane, width, height)
                assert len(lines) <= height
                assert max(map(cell_len, lines)) <= width, (width, height)
            pane.zoomed = not pane.zoomed


def test_a_log_that_is_asked_again_does_nothing():
    model = log_of((1, LOST))
    generation = model.matters().generation
    for _ in range(3):
        assert model.matters().generation == generation
    assert isinstance(model.log, EventLog)
    assert model.log.matter("nothing of this name") is None
