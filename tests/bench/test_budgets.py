"""What commands may cost, loosely: twice of what is promised, since the machine that runs the tests has other things to do.

``make bench ARGS=commands`` has the figures.
"""

from pathlib import Path

import pytest

from bench import commands
from bench.figures import Board
from tuner.knobs.catalogue import KNOBS

SLACK = 2.0


def test_commands_start_soon():
    least = commands.commands_ms(4)
    assert least["help"] <= SLACK * commands.HELP_MS
    assert least["plan"] <= SLACK * commands.PLAN_MS
    assert 0 < least["nothing"] < least["help"] < least["plan"], "a process was not measured"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> commands.Whole:
    return commands.simulated(str(tmp_path_factory.mktemp("large")))


def test_everything_on_a_large_host_is_looked_at_soon(large: commands.Whole):
    assert min(large.twice_ms() for _ in range(3)) <= SLACK * commands.SIMULATED_MS


def test_everything_is_nearly_everything(large: commands.Whole):
    changes = large.plan(commands.open_host(large.root)).changes
    knobs = {"sysctl" if change.knob.startswith("sysctl.") else change.knob for change in changes}
    assert len(knobs) >= 0.8 * len(KNOBS), large.told()


def test_everything_on_this_host_is_looked_at_soon(tmp_path: Path):
    here = commands.Whole("/", str(tmp_path))
    assert min(here.twice_ms() for _ in range(4)) <= SLACK * commands.HERE_MS
    assert "knobs" in here.told()


def test_the_part_prints_its_figures(monkeypatch: pytest.MonkeyPatch, large: commands.Whole):
    monkeypatch.setattr(commands, "simulated", lambda _: large)
    board = Board(lambda _: None)
    commands.main(board, brief=True)
    assert [figure.at_most for figure in board.figures] == [60, 200, 400, 80]
    assert all(figure.value > 0 for figure in board.figures)
