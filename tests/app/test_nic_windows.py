"""What the NIC screen counts in the last minute and since a mark, wherever in time the view stands."""

from tests.app.test_nic import host, loss, pane_of, text
from ui.app.flow.remedies import Remedy
from ui.app.screens import nic as screen
from ui.app.screens.nic import NicPane, clock
from ui.app.state.history import SAMPLES
from ui.app.state.model import Model
from ui.app.stream.source import ListSource
from ui.app.stream.timeline import Timeline


def counted(n, total, **more):
    return host([loss(7, counter="rx_nodesc", total=total, **more), loss(2, counter="rx_crc")], sequence=n)


def timeline_of(samples):
    model = Model()
    line = Timeline(model, ListSource(samples))
    for _ in samples:
        line.tick()
    return line, NicPane(model)


def lost_in_window(pane):
    text(pane)
    return next(row.values["lost"] for row in pane.stages.rows if row.values["counter"] == "rx_nodesc")


def test_the_last_minute_counts_what_was_lost_in_it_and_no_more():
    totals = [100 + 10 * n for n in range(90)]  # ten a second
    line, pane = timeline_of([counted(n, total, per_s=10.0) for n, total in enumerate(totals)])
    assert lost_in_window(pane) == 10.0
    pane.do_window()
    assert lost_in_window(pane) == 600
    assert "lost in the last minute" in text(pane)[3]
    assert "1 min" in "\n".join(text(pane, 130, 40))
    line.step(-80)  # the tenth sample: what came later is not in its minute
    assert lost_in_window(pane) == 90
    assert "in the last 9 s (no more is kept)" in text(pane)[3]
    line.step(50)
    assert lost_in_window(pane) == 590
    line.pause()  # on again, from now
    assert lost_in_window(pane) == 600


def test_a_counter_that_began_anew_or_is_new_loses_never_less_than_nothing():
    rows = [(100, 5.0), (105, 5.0), (3, 3.0), (4, 1.0), (2**32 - 1, 0.0), (1, 2.0)]
    _, pane = timeline_of([counted(n, total, per_s=rate) for n, (total, rate) in enumerate(rows)])
    pane.window = "minute"
    assert lost_in_window(pane) == 5 + 3 + 1 + (2**32 - 5) + 2
    fresh = [host((), 0), host([loss(10, "CPU 3", "rx_nodesc", 7, 7.0)], 1), host([loss(10, "CPU 3", "rx_nodesc", 9, 2.0)], 2)]
    pane = pane_of(*fresh)
    pane.window = "minute"
    assert lost_in_window(pane) == 9


def test_since_the_mark():
    line, pane = timeline_of([counted(n, total, per_s=1.0) for n, total in enumerate((100, 110, 130, 5, 9))])
    line.step(-3)  # the second of five
    pane.do_mark()
    assert pane.window == "mark"
    assert lost_in_window(pane) == 0
    assert "since the mark at" in text(pane)[3]
    line.step(1)
    assert lost_in_window(pane) == 20
    line.step(1)
    assert lost_in_window(pane) == 5  # it began anew
    line.step(-3)
    assert lost_in_window(pane) == 0
    assert "which was set later" in text(pane)[3]
    for expected in ("boot", "second", "minute", "mark"):
        pane.do_window()
        assert pane.window == expected


def test_without_a_mark_there_is_no_window_since_it():
    pane = pane_of(host())
    seen = []
    for _ in range(3):
        pane.do_window()
        seen.append(pane.window)
    assert seen == ["minute", "boot", "second"]


def test_the_last_loss_is_told_with_its_time_and_remedy(monkeypatch):
    monkeypatch.setattr(screen, "remedy", lambda sample, pointed: Remedy(f"rings.rx 4096 ({pointed.key})", (), "", ""))
    samples = [counted(1, 0), counted(2, 12, per_s=12.0), *(counted(n, 12) for n in range(3, 9))]
    line, pane = timeline_of(samples)
    last = text(pane)[-1]
    assert last.startswith(f" ! {clock(1_700_000_002.0)} 7 stage 7 eth2: 12 in 1.0 s   f rings.rx 4096 (7/eth2/rx_nodesc)")
    line.step(-7)
    assert f"nothing lost since {clock(1_700_000_001.0)}" in text(pane)[-1]
    others = [host([loss(7, "eth9", total=n, per_s=1.0)], n) for n in range(4)]
    assert "nothing lost" in text(pane_of(*others))[-1]


def test_a_long_watch_is_kept_as_far_as_the_histories_go():
    model = Model()
    for n in range(SAMPLES + 50):
        model.history.take(counted(n, n))
    assert model.history.nics.since(1e9)[0] == {(7, "eth2", "rx_nodesc", "stage 7"): SAMPLES}
    model.history.look(SAMPLES - 1)
    assert len(model.history.nics.since(1e9, model.history.hidden)[0]) == 1
    model.history.clear()
    assert model.history.nics.since(60.0) == ({}, 0.0)


def test_a_jump_in_a_recording_counts_from_what_was_read_again():
    samples = [counted(n, 10 * n, per_s=10.0) for n in range(300)]
    model = Model(kind="replay")
    source = ListSource([])
    source.past.samples = samples
    line, pane = Timeline(model, source), NicPane(model)
    pane.window = "minute"
    line.tick()
    line.goto("+280s")
    assert model.sample is samples[280]
    assert lost_in_window(pane) == 600
    line.goto("-250s")
    assert lost_in_window(pane) == 300  # the recording began half a minute before
