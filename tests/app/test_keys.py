"""Every key of the table: it works where the table says, and is told about in the help and the footer."""

import pytest
from ui.app.commands import COMMANDS

from tests.app.screens import FakeRunner, drive, make_app, press, sample, text_of
from ui.app.policy import METRICS
from ui.app.runner import Answer

PANE_KEY = {"overview": "1", "nic": "2", "ingest": "3", "profiles": "4", "everywhere": "1"}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.action != "quit"], ids=lambda c: f"{c.where}-{c.title}")
def test_each_key_leaves_a_whole_screen(command):
    app = make_app()

    async def steps(pilot):
        await press(pilot, PANE_KEY[command.where])
        for key in command.keys:
            await press(pilot, key)
        assert app.is_running
        assert "quietcore" in text_of(app)

    drive(app, steps)


def test_each_key_is_in_the_help_of_its_pane():
    app = make_app()

    async def steps(pilot):
        for command in COMMANDS:
            await press(pilot, PANE_KEY[command.where], "question_mark")
            assert command.explained in text_of(app), command
            await press(pilot, "escape")

    drive(app, steps, size=(130, 50))


def test_metric_numbers_and_sort_change_the_overview():
    app = make_app()

    async def steps(pilot):
        first = text_of(app)
        await press(pilot, "m")
        assert app.overview.metric == 1
        assert METRICS[1].name in text_of(app)
        await press(pilot, "n")
        assert METRICS[1].title in text_of(app)
        await press(pilot, "s")
        assert "by core" in text_of(app)
        assert text_of(app) != first

    drive(app, steps)


def test_pause_freezes_the_view_and_not_the_counting():
    app = make_app([sample(sequence=1), *(sample(sequence=n, nic=f"eth{n}") for n in range(2, 40))])

    async def steps(pilot):
        await press(pilot, "p")
        shown = app.model.sample.sequence
        for _ in range(5):
            app.tick()
        assert "PAUSED" in text_of(app)
        assert app.model.sample.sequence == shown
        assert len(app.model.core_history[0]) > 5
        await press(pilot, "p")
        app.tick()
        assert app.model.sample.sequence > shown

    drive(app, steps)


def test_rate_and_theme():
    app = make_app()

    async def steps(pilot):
        await press(pilot, "greater_than_sign", "greater_than_sign", "greater_than_sign")
        assert app.model.refresh_hz == 10
        await press(pilot, "less_than_sign")
        assert app.model.refresh_hz == 4
        before = app.theme
        await press(pilot, "T")
        assert app.theme != before

    drive(app, steps)


def test_nic_and_ingest_choose_interfaces_and_open_a_ring():
    app = make_app()

    async def steps(pilot):
        await press(pilot, "2")
        assert "[eth2]" in text_of(app)
        assert "rx ring 512/4096" in text_of(app)
        await press(pilot, "3", "tab")
        assert "[lo]" in text_of(app)
        await press(pilot, "enter")
        assert app.ring_control.started == ["lo"]
        app.redraw()
        assert "p99 us" in text_of(app)
        assert "140.0" in text_of(app)
        await press(pilot, "enter")
        assert app.ring_control.stopped == 1

    drive(app, steps)


def test_plan_apply_verify_keep():
    runner = FakeRunner()
    app = make_app(runner=runner)

    async def steps(pilot):
        await press(pilot, "4", "down", "enter")
        await pilot.pause(0.1)
        assert "2 differs" in text_of(app)
        assert "nic.rings.rx" in text_of(app)
        assert not any(call[0] == "apply" for call in runner.calls)
        await press(pilot, "a")
        await pilot.pause(0.1)
        assert ("apply", "feed-handler", "--confirm-within", "60s", "--allow", "link") in runner.calls
        assert ("verify",) in runner.calls
        assert "KEEP?" in text_of(app)
        assert "undoes itself in" in text_of(app)
        await press(pilot, "K")
        await pilot.pause(0.1)
        assert ("confirm", "7") in runner.calls
        assert "kept" in text_of(app)
        assert "KEEP?" not in text_of(app)

    drive(app, steps)


def test_undo():
    runner = FakeRunner()
    app = make_app(runner=runner)

    async def steps(pilot):
        await press(pilot, "4", "down", "enter")
        await pilot.pause(0.1)
        await press(pilot, "a")
        await pilot.pause(0.1)
        await press(pilot, "U")
        await pilot.pause(0.1)
        assert ("rollback", "7") in runner.calls
        assert "1 of 1 put back" in text_of(app)

    drive(app, steps)


def test_a_refusal_is_told():
    runner = FakeRunner(apply=Answer(4, {"error": "refused: another run holds the lock"}))
    app = make_app(runner=runner)

    async def steps(pilot):
        await press(pilot, "4", "down", "enter")
        await pilot.pause(0.1)
        await press(pilot, "a")
        await pilot.pause(0.1)
        assert "another run holds the lock" in text_of(app)
        assert "KEEP?" not in text_of(app)

    drive(app, steps)


def test_who_may_not_change_the_host_is_told_why():
    runner = FakeRunner()
    app = make_app(runner=runner, may_change=False)

    async def steps(pilot):
        await press(pilot, "4", "down", "enter")
        await pilot.pause(0.1)
        assert "read-only: not root" in text_of(app)
        await press(pilot, "a", "K", "U")
        assert not {call[0] for call in runner.calls} & {"apply", "confirm", "rollback"}
        await press(pilot, "question_mark")
        assert "not now: not root" in text_of(app)

    drive(app, steps, size=(100, 40))


def test_a_source_that_ended_is_named():
    app = make_app()
    app.source.ended = "the collector ended with status 1"

    async def steps(pilot):
        app.tick()
        assert "ENDED: the collector ended" in text_of(app)

    drive(app, steps, size=(120, 30))


def test_quit():
    app = make_app()

    async def steps(pilot):
        await press(pilot, "q")

    drive(app, steps)
    assert app.return_value == 0
