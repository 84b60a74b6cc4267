"""Every pane at every size: lines just as wide as the screen, no traceback, nothing raw from a hostile name."""

import pytest
from rich.cells import cell_len

from ingest.sample import Sample
from tests.app.screens import SIZES, FakeRing, FakeRunner, drive, lines_of, make_app, press, sample, text_of

PANES = ("1", "2", "3", "4", "question_mark")


@pytest.mark.parametrize("cores", [1, 2, 64, 256, 512])
def test_every_pane_fills_the_screen_at_every_size(cores):
    app = make_app([sample(cores, nodes=min(4, cores))])

    async def steps(pilot):
        for size in SIZES if cores == 64 else [(80, 24), (130, 40), (200, 50), (300, 80)]:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            for key in PANES:
                await press(pilot, key)
                lines = lines_of(app)
                assert len(lines) == size[1], (size, key)
                assert {cell_len(line) for line in lines} == {size[0]}, (size, key)
            await press(pilot, "escape", "1", "n")

    drive(app, steps)


def test_too_small_a_terminal_is_told_the_size_it_needs():
    app = make_app()

    async def steps(pilot):
        assert "80x24 is needed" in text_of(app)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        await pilot.pause()
        assert "Overview" in text_of(app)

    drive(app, steps, size=(70, 20))


def test_a_resize_storm_leaves_a_whole_screen():
    app = make_app()

    async def steps(pilot):
        for i in range(40):
            await pilot.resize_terminal(80 + i * 7 % 200, 24 + i * 5 % 50)
        await pilot.resize_terminal(100, 30)
        await pilot.pause()
        await pilot.pause()
        assert {cell_len(line) for line in lines_of(app)} == {100}

    drive(app, steps)


def test_hostile_names_reach_no_strip_raw():
    """Names are made printable where samples are made; what slips through must still not be markup, nor break a line."""
    app = make_app([sample(nic="[b]x[/y]\u2067e")])

    async def steps(pilot):
        for key in PANES:
            await press(pilot, key)
            assert {cell_len(line) for line in lines_of(app)} == {120}
        await press(pilot, "escape", "1")
        assert "[b]x[/y]" in text_of(app)

    drive(app, steps, size=(120, 40))


def test_without_a_sample_every_pane_says_that_it_waits():
    app = make_app([])

    async def steps(pilot):
        assert "waiting for the first sample" in text_of(app)
        for key in PANES:
            await press(pilot, key)
            assert {cell_len(line) for line in lines_of(app)} == {80}

    drive(app, steps)


def test_the_fakes_are_what_the_app_takes():
    assert isinstance(sample(), Sample)
    assert FakeRunner().calls == []
    assert FakeRing().started == []
