"""Ingest: rings and feeds that the collector reads, the app's own ring, what went before, and the cause of a gap."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from ingest.sample import Event
from tests.app.screens import drive, make_app, press, sample, text_of
from tests.app.told import drawn, feeds, ring, second, show, stream
from ui.app.screens.ingest import IngestPane
from ui.app.state.feed_figures import feeds_of, shares_of_a
from ui.app.state.model import Model, RingView
from ui.filter import parse

GAP = Event("crit", "itch", "3 lost on both lines: upstream, or a queue that both share")


class NoRing:
    def start(self, view, interface):
        view.interface, view.running = interface, True

    def stop(self, view):
        view.running = False

    def poll(self, view):
        pass


def make_pane(*samples, kind="live"):
    """A pane that was shown some samples; where it went is in ``pane.went``."""
    model, went = Model(kind=kind), []
    pane = IngestPane(model, RingView(), NoRing(), lambda *way: went.append(way))
    pane.went = went
    for each in samples:
        show(pane, each)
    return pane


def row_of(pane, name, **size):
    return next(line for line in drawn(pane, **size) if line.startswith(f"{name} "))


def watched(count=20, **options):
    rings = [ring(0, 2_000), ring(3, 9_000, drops=4)]
    return [second(n, rings=rings, feeds=feeds(n, **options)) for n in range(1, count + 1)]


def test_a_ring_of_each_core_with_its_figures():
    pane = make_pane(*watched())
    assert row_of(pane, "eth2/3").split() == ["eth2/3", "18.0k", "2.3", "8", "17", "0", "31.0", "140.0", "400.0", "900.0"]
    assert row_of(pane, "eth2/0").split()[1] == "4000"
    head = drawn(pane)[0]
    assert "packet:eth2   open" in head
    assert "22.0k/s   1,554,000 packets, 34 drops" in head
    assert "777,000" in row_of(pane, "eth2/3", width=200, height=47)


def test_a_feed_has_both_lines_and_what_they_bring_together():
    pane = make_pane(*watched(lost=3))
    assert row_of(pane, "itch").split() == ["itch", "5000", "5000", "A", "60%", "3", "7", "3", "-"]
    assert row_of(pane, "239.1.1.9:30001").split() == ["239.1.1.9:30001", "100", "-", "-", "0", "0", "0", "-"]


def test_a_line_that_had_a_rate_and_has_none_is_stale_after_five_seconds():
    pane = make_pane(*watched(15, silent_from=5))
    assert row_of(pane, "itch").split()[1:3] == ["5000", "stale!"]
    assert row_of(make_pane(*watched(14, silent_from=5)), "itch").split()[1:3] == ["5000", "0"]
    never = [replace(each, feeds=[stream(1, 0, "A"), stream(2, 0, "B")]) for each in watched(20)]
    assert "stale" not in row_of(make_pane(*never), "itch")


def test_who_was_first_over_time_comes_from_what_was_counted():
    assert shares_of_a([0, 3, 3, 4], [0, 1, 1, 5]) == [0.75, 0.0, 0.2]
    assert shares_of_a([9, 1], [9, 1]) == [0.0]  # counted anew
    pane = make_pane(*watched())
    pane.do_next_panel()
    assert any(line.startswith(" A first") and "60%" in line for line in drawn(pane))
    assert any("A first, share" in line for line in drawn(pane, 200, 47))


def test_streams_of_a_scope_are_a_feed_of_their_own():
    a, b, both, _ = feeds(4)
    scoped = [each | {"stream": f"{each['stream']}/7"} for each in (a, b)]
    found = feeds_of([*scoped, both | {"channel": "itch/7"}, a, b, both])
    assert sorted(found) == ["itch", "itch/7"]
    assert sorted(found["itch/7"].lines) == ["A", "B"]
    assert found["itch/7"].first_a == 0.6


def test_an_interface_that_is_waited_for_is_said_to_be():
    pane = make_pane(second(1, rings=[ring(0, is_open=False)]))
    assert "eth2 CLOSED: waits for the interface" in drawn(pane)[0]
    assert "closed" in row_of(pane, "eth2/0")


def test_gaps_only_and_the_filter_of_the_panel_with_the_cursor():
    quiet = [each | {"channel": "calm"} if each.get("channel") else each for each in feeds(20)]
    pane = make_pane(second(20, rings=[ring(0), ring(3)], feeds=[*feeds(20, lost=3), *quiet]))
    pane.do_next_panel()
    assert any(line.startswith("calm ") for line in drawn(pane))
    pane.do_gaps()
    assert not any(line.startswith(("calm ", "239.")) for line in drawn(pane))
    assert any(line.startswith("itch ") for line in drawn(pane))
    pane.do_gaps()
    pane.filter = parse("calm")
    assert [row["feed"] for row in (drawn(pane), pane.listing().rows)[1]] == ["calm"]
    assert any(line.startswith("eth2/3") for line in drawn(pane))
    assert pane.back()
    drawn(pane)
    assert len(pane.listing().rows) == 3


def test_sorting_puts_the_most_lost_first():
    pane = make_pane(second(20, rings=[ring(0)], feeds=[*[each | {"channel": "aaa"} if each.get("channel") else each
                                                           for each in feeds(20)], *feeds(20, lost=3)]))  # fmt: skip
    pane.do_next_panel()
    drawn(pane)
    assert pane.listing().rows[0]["feed"] == "aaa"
    pane.do_sort()
    drawn(pane)
    assert [row["lost"] for row in pane.listing().rows] == [3, 0, 0]
    pane.do_reverse()
    drawn(pane)
    assert [row["lost"] for row in pane.listing().rows] == [0, 0, 3]


def test_enter_shows_all_figures_of_a_feed_and_escape_goes_back():
    app = make_app(watched(lost=3))

    async def steps(pilot):
        for _ in range(19):
            app.tick()
        await press(pilot, "5", "tab", "enter")
        text = text_of(app)
        assert "itch: all figures" in text
        assert "239.1.1.2:30001" in text
        assert "moldudp64" in text
        assert "A first, or alone           30,000 times" in text
        await press(pilot, "escape")
        assert "all figures" not in text_of(app)
        assert app.screen_name == "ingest"
        await press(pilot, "tab", "enter")
        assert app.screen_name == "nic"

    drive(app, steps)


def test_zoom_is_the_panel_with_the_cursor_alone():
    pane = make_pane(*watched())
    for width in (80, 140, 200):
        pane.zoomed, pane.panel = True, 0
        assert not any(line.startswith("itch ") for line in drawn(pane, width))
        pane.do_next_panel()
        assert any(line.startswith("itch ") for line in drawn(pane, width))
        assert not any(line.startswith("eth2/") for line in drawn(pane, width))
        pane.zoomed = False


def test_the_last_gap_names_what_was_lost_in_the_same_seconds_and_leads_there():
    before = [second(n, feeds=feeds(n), rings=[ring(0)]) for n in range(1, 20)]
    lost = second(20, feeds=feeds(20), rings=[ring(0)], drops_per_s=12.0)
    gap = second(23, GAP, feeds=feeds(23, lost=3), rings=[ring(0)])
    pane = make_pane(*before, lost, second(21, feeds=feeds(21)), second(22, feeds=feeds(22)), gap)
    text = "\n".join(drawn(pane))
    assert "itch: 3 lost on both lines" in text
    assert "same time: eth2 dropped up to 12/s" in text
    for number in range(24, 24 + 700):  # histories forget; what was seen of a gap stays
        show(pane, second(number, feeds=feeds(23, lost=3), rings=[ring(0)]))
    assert "same time: eth2 dropped up to 12/s" in "\n".join(drawn(pane))
    pane.do_linked()
    assert pane.went == [("nic", "nic", "eth2")]


def test_a_loss_that_was_told_is_the_cause_with_its_queue():
    loss = Event("crit", "eth2", "12 packets lost in 0.5 s", key="lost eth2", nic="eth2", queue=2, counter="rx_missed_errors")
    pane = make_pane(
        second(1, rings=[ring(0)], feeds=feeds(1)), second(2, loss, feeds=feeds(2)), second(5, GAP, feeds=feeds(5, 3))
    )
    drawn(pane)
    pane.do_linked()
    assert pane.went == [("nic", "queue", "eth2/2")]
    assert "12 packets lost" in pane.model.message


def test_without_a_loss_the_key_says_so():
    pane = make_pane(*watched())
    pane.do_linked()
    assert (pane.went, pane.model.message) == ([], "no feed had a gap")
    show(pane, second(30, GAP, feeds=feeds(30, lost=3)))
    pane.do_linked()
    assert "nothing was lost on this host" in pane.model.message


def test_the_cursor_says_what_it_is_on():
    pane = make_pane(*watched(lost=3))
    drawn(pane)
    ring_there = pane.pointed()
    assert (ring_there.kind, ring_there.key, ring_there.goes_to) == ("ring", "eth2/0", ("nic", "nic", "eth2"))
    assert ring_there.command == "quietcore ring packet:eth2 --interval 1s"
    for name in ("itch", "239.1.1.2:30001"):  # a channel, or a stream of it
        pane.focus("feed", name)
        drawn(pane)
        feed = pane.pointed()
        assert (feed.kind, feed.key) == ("feed", "itch")
        assert feed.command == "quietcore ring packet:eth2 --feed moldudp64 --interval 1s"
    assert "3 lost" in feed.words
    pane.focus("ring", "eth2/3")
    drawn(pane)
    assert pane.pointed().key == "eth2/3"
    pane.focus("nic", "lo")
    assert pane.interface == "lo"


def test_without_rings_the_pane_offers_one_and_opens_it():
    app = make_app([sample()])

    async def steps(pilot):
        await press(pilot, "5")
        assert "o opens a ring on [eth2] lo" in text_of(app)
        await press(pilot, "w", "o")
        assert app.ring_control.started == ["lo"]
        app.tick()
        text = text_of(app)
        assert "own ring packet:lo   running   latency mode" in text
        (line,) = (line for line in text.splitlines() if line.startswith("own lo/1"))
        assert line.split()[2:] == ["100", "0.0", "3", "-", "0", "31.0", "140.0", "0.0", "0.0"]
        await press(pilot, "o")
        assert app.ring_control.stopped == 1

    drive(app, steps)


@pytest.mark.parametrize("kind", ["replay", "view", "demo", "files"])
def test_no_ring_is_opened_on_this_host_for_what_another_shows(kind):
    pane = make_pane(second(1), kind=kind)
    pane.do_ring()
    assert not pane.view.running
    assert "on this host" in pane.model.message


def test_a_figure_that_was_away_has_nothing_in_between():
    pane = make_pane(*watched(5))
    history = pane.model.history
    for number in range(6, 9):
        show(pane, second(number))
    assert history.values("ring_rate", "eth2/0", 8) == [4_000.0] * 5 + [0.0] * 3
    assert history.back("ring_rate", "eth2/0", 2) == 0.0
    show(pane, watched(9)[-1])
    assert history.values("ring_rate", "eth2/0", 8) == [4_000.0] * 4 + [0.0] * 3 + [4_000.0]
    assert history.back("ring_rate", "eth2/0", 4) == 4_000.0
    assert history.before("ring_rate", "eth2/0", 1.0, 1.5) == [4_000.0, 0.0, 0.0]


HOSTILE = ["通道行情", "[b]x[/y]", "a" * 300, "e\u0301\u0301" * 9, "�" * 40, ""]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("count", [1, 40])
def test_every_line_fits_at_every_size_whatever_the_names(name, count):
    rings = [ring(core, 10**core, interface=name) for core in range(count)]
    many = [
        each | {"channel": f"{name}{n}"} if each.get("channel") else each for n in range(count) for each in feeds(20, lost=3)
    ]
    gap = Event("crit", f"{name}0", f"lost {name} " * 20)
    pane = make_pane(second(1, rings=rings, feeds=many), second(2, gap, rings=rings, feeds=many, drops_per_s=3.0))
    for width in (80, 81, 100, 129, 130, 169, 170, 171, 200, 300):
        for height in (21, 22, 28, 47, 77):
            for change in (None, pane.do_next_panel, pane.do_enter, pane.back, pane.do_gaps, pane.do_gaps):
                if change is not None:
                    change()
                lines = drawn(pane, width, height)
                assert len(lines) <= height
                assert max(map(cell_len, lines)) <= width, (width, height)
            pane.zoomed = not pane.zoomed
