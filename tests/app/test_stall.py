"""A terminal that takes nothing: the collector goes on, memory stays, the undo comes, and then the newest is shown."""

from bench.app_stall import stall, undone


def test_a_terminal_that_hangs_holds_nothing_up_and_shows_the_newest_afterwards():
    seen = stall(4.0)
    assert seen.samples > seen.due * 0.5  # the machine may be busy; the collector never waits for the terminal
    assert seen.silent_s > 1.0  # it did hang: nothing was written any more
    assert seen.grown_mb < 12.0
    assert seen.recovered_s is not None
    assert seen.recovered_s < 6.0


def test_an_undo_timer_runs_out_behind_a_terminal_that_hangs():
    came_s = undone(stall_s=20.0, within_s=1)
    assert came_s is not None
    assert came_s > 0.5
