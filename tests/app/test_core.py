"""The core's screen: its figures over time on an axis, how often which, who interrupts it, and how it stands among its like."""

import itertools
import random
import shlex
from dataclasses import replace

import pytest
from rich.cells import cell_len

from ingest.sample import IrqSample
from tests.app.core_hosts import BUSY, STRAY, cells, changed, cores, host, show, showing, text, toned
from tests.app.screens import drive, make_app, press, text_of
from ui.app.flow.remedies import Remedy
from ui.app.screens import core_sources
from ui.app.screens.core import PANELS, RANGES_S, CorePane
from ui.app.screens.core_compare import against
from ui.app.screens.core_sources import origins_of
from ui.app.state.policy import METRICS
from ui.app.widgets.chart import AXIS, Chart, LogAxis, axis_for, count
from ui.app.widgets.ramp import glyphs

STRAYED = changed(cores(), STRAY, role="isolated")


def core_pane(*samples, cpu: int | None = STRAY) -> CorePane:
    pane = showing(CorePane, *(samples or (host(STRAYED),)))
    if cpu is not None:
        pane.focus("core", str(cpu))
    return pane


def rates(values, cpu=STRAY):
    """Samples in which a core has these rates."""
    return [
        host(changed(STRAYED, cpu, interruptions_per_s=value, device_per_s=value), sequence)
        for sequence, value in enumerate(values, 1)
    ]


# ---- what stands there


def test_the_worst_core_is_shown_until_another_is_chosen():
    pane = core_pane(cpu=None)
    assert text(pane.lines(80, 21))[0].startswith(" core 37  node 1  llc 32  package 1  no smt  ISOLATED  tick 0/s  busy 0%")
    pane.focus("core", "12")
    assert text(pane.lines(80, 21))[0].startswith(" core 12  node 0")


def test_siblings_are_told_with_their_roles():
    of = changed(cores(64, smt=2), 33, role="housekeeping")
    assert "smt 33 housekeeping" in text(core_pane(host(of), cpu=1).lines(80, 21))[0]
    gone = [core for core in of if core.cpu != 33]
    assert "smt 33 offline" in text(core_pane(host(gone), cpu=1).lines(80, 21))[0]


def test_every_part_is_there_at_eighty_by_twenty_four():
    lines = text(core_pane().lines(80, 21))
    told = "\n".join(lines)
    assert len(lines) == 21
    for words in ("interruptions per second, 0.5 s a column", "last 0.5 s", "sources", "softirqs 0/s", "against the median of"):
        assert words in told
    assert "squeezed 0/s (0)" in told


# ---- the chart and the histogram


def test_the_axis_is_logarithmic_and_holds_the_highest():
    assert axis_for(0.0, 6) == LogAxis(6, 2.0)
    assert axis_for(64.0, 7).ends == (1, 2, 4, 8, 16, 32, 64)
    assert axis_for(8000.0, 6) == LogAxis(6, 10.0)
    for highest, rows in itertools.product((0.3, 1, 2, 900, 20_000, 1e7, 1e12), (1, 2, 6, 12, 40)):
        axis = axis_for(highest, rows)
        assert axis.ends[-1] >= min(highest, 1e6 ** (axis.rows - 1)), (highest, rows)


def test_a_column_is_as_high_as_its_figure():
    axis = LogAxis(3, 10.0)  # up to 1, 10, 100
    lines = text(Chart().lines([0.0, 0.125, 1.0, 10.0, 100.0], bytes(5), axis, AXIS + 5))
    nothing, full = glyphs()[0], glyphs()[8]
    assert [line[:AXIS] for line in lines] == ["  100┤", "   10┤", "    1┤"]
    columns = list(zip(*(line[AXIS:] for line in lines), strict=True))
    assert columns[0] == (" ", " ", nothing)
    assert columns[1] == (" ", " ", glyphs()[1])
    assert columns[2] == (" ", " ", full)
    assert columns[3] == (" ", full, full)
    assert columns[4] == (full, full, full)


def test_each_sample_is_in_one_row_of_the_histogram():
    pick = random.Random(3)
    values = [pick.choice((0.0, 0.5, 1.0, 1.1, 10.0, 10.5, 99.0, 1e9)) for _ in range(500)]
    axis = LogAxis(3, 10.0)
    found = count(values, axis)
    assert sum(found) == 500
    assert found[0] == values.count(0.0)
    assert found[1] == values.count(0.5) + values.count(1.0)
    assert found[2] == values.count(1.1) + values.count(10.0)
    assert found[3] == values.count(10.5) + values.count(99.0) + values.count(1e9)


def test_the_histogram_counts_what_the_chart_shows():
    pane = core_pane(*rates([0.0] * 30 + [1.0] * 8 + [5.0, 5.0]))
    lines = text(pane.lines(80, 21))
    zero = next(line for line in lines if "0┴" in line)
    assert zero.rstrip().endswith("75%")
    assert lines[2:8][-1].rstrip().endswith("20%")  # up to 1
    assert [line.rstrip()[-1] for line in lines[2:8]].count("2") == 1  # two samples of 5
    assert "last 20 s" in lines[1]


def test_h_changes_the_time_of_the_histogram():
    pane = core_pane(*rates([0.0] * 200))
    seen = []
    for _ in RANGES_S:
        pane.do_histogram()
        seen.append(text(pane.lines(80, 21))[1].split("last ")[1].split(" s")[0])
    assert seen == ["100", "30", "60"]  # of 300 s there are 100


def test_what_breaks_the_policy_is_red_in_the_chart_and_work_is_not():
    stray = core_pane(*rates([0.0, 1.0, 0.0])).lines(80, 21)
    lowest = next(line for line in stray if text([line])[0].startswith("    1┤"))
    assert [style for character, style in cells(lowest)[:55] if character == glyphs()[8]] == [toned("bad")]
    busy = core_pane(host(STRAYED), cpu=BUSY).lines(80, 21)
    assert toned("bad") not in {segment.style for line in busy[2:8] for segment in line}


def test_m_charts_another_figure():
    pane = core_pane()
    for metric in (*METRICS[1:], METRICS[0]):
        pane.do_metric()
        title = text(pane.lines(80, 21))[1]
        assert metric.title in title or metric.name in title


def test_the_time_begins_where_the_chart_does():
    line = next(line for line in text(core_pane(*rates([1.0] * 20)).lines(80, 21)) if "0┴" in line)
    assert line[: line.index("│")].endswith("now")
    assert line.index("-10 s") == AXIS + 49 - 20


# ---- who interrupts it


def test_sources_have_rate_share_verdict_and_when():
    of = changed(STRAYED, STRAY, interruptions_per_s=4.0)
    pane = core_pane(host(of))
    lines = text(pane.lines(130, 37))
    (nvme,) = [line for line in lines if "  142 nvme3q38 " in line]
    assert nvme.split()[:7] == ["142", "nvme3q38", "1", "25%", "17", "now", "BREAK"]
    (call,) = [line for line in lines if " CAL " in line]
    assert call.split()[-8:][0] == "CAL" or " was " in call
    (tick,) = [line for line in lines if " LOC " in line]
    assert " ok " in tick
    (may,) = [line for line in lines if " 150 ahci" in line]
    assert " may " in may  # it never came, but it is aimed here
    assert "4 sources 1 BREAK" in "\n".join(lines)
    assert not any("eth2-rx" in line for line in lines)  # of another core
    order = [next(n for n, line in enumerate(lines) if word in line) for word in ("  142 nvme", " 150 ahci", " LOC ", " CAL ")]
    assert order == sorted(order)


def test_eight_thousand_on_a_housekeeping_core_are_as_they_should_be():
    pane = core_pane(host(STRAYED), cpu=BUSY)
    lines = pane.lines(130, 37)
    (row,) = [line for line in lines if text([line])[0].startswith("  117 eth2-rx")]
    assert text([row])[0].split()[:7] == ["117", "eth2-rx", "8000", "100%", "1,000,000", "now", "ok"]
    assert "BREAK" not in "\n".join(text(lines))


def test_when_a_source_was_last_seen_is_remembered():
    still = IrqSample("142", "nvme3q38", "", None, 17, 0.0, ((STRAY, 17),), ())
    pane = core_pane(host(STRAYED, 1))
    lines = show(pane, replace(host(STRAYED, 20), irqs=(still,)), 130, 37)
    (row,) = [line for line in lines if "  142 nvme3q38" in line]
    assert ":" in row.split()[4]  # a clock, of the first sample
    assert row.split()[5] == "was"
    pane.model.history.clear()
    (row,) = [line for line in text(pane.lines(130, 37)) if "  142 nvme3q38" in line]
    pane.model.sample = replace(pane.model.sample, sequence=99)
    (row,) = [line for line in text(pane.lines(130, 37)) if "  142 nvme3q38" in line]
    assert row.split()[4] == "-"


def test_a_remedy_is_hinted_at_once_and_asked_for_once(monkeypatch):
    asked = []

    def remedy(sample, pointed):
        asked.append(pointed.key)
        return Remedy("move to 0-7", ("x",), "irq.affinity", "142") if pointed.key == "142" else None

    monkeypatch.setattr(core_sources, "remedy", remedy)
    pane = core_pane()
    assert any("f move to 0-7" in line for line in text(pane.lines(130, 37)))
    for n in range(2, 6):
        show(pane, host(STRAYED, n), 130, 37)
    assert sorted(set(asked)) == sorted(asked)


def test_origins_agree_with_the_rows():
    sample = host(STRAYED)
    for core in sample.cores:
        found = {origin.irq.irq: (origin.per_s, origin.total) for origin in origins_of(sample, core)}
        for irq in sample.irqs:
            rate, total = dict(irq.per_cpu_per_s).get(core.cpu, 0.0), dict(irq.per_cpu).get(core.cpu, 0)
            if rate or total:
                assert found[irq.irq] == (rate, total)


# ---- among its like


def test_a_core_is_compared_with_the_others_of_its_role():
    of = changed(changed(STRAYED, 40, device_per_s=3.0), 41, device_per_s=9.0)
    core = next(each for each in of if each.cpu == STRAY)
    others, figures = against(core, of)
    assert others == sum(each.role == "isolated" for each in of) - 1
    dev = next(each for each in figures if each.name == "dev/s")
    assert (dev.mine, dev.middle, dev.highest, dev.on, dev.tone) == (1.0, 0.0, 9.0, 41, "bad")
    wide = "\n".join(text(core_pane(host(of)).lines(200, 47)))
    assert f"against the median of {others} other isolated cores" in wide


def test_a_core_alone_in_its_role_is_compared_with_nobody():
    of = changed(cores(), 7, role="app")
    told = "\n".join(text(core_pane(host(of), cpu=7).lines(80, 21)))
    assert "no other core is app" in told
    assert "0 | -" in told


# ---- the cursor


def test_left_and_right_go_along_the_machine_and_round():
    pane = core_pane(host(cores(16, nodes=2, smt=2)), cpu=0)
    pane.lines(80, 21)
    order = []
    for _ in range(16):
        order.append(pane.cpu)
        pane.move(0, 1)
    assert order == [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]
    assert pane.cpu == 0
    pane.move(0, -1)
    assert pane.cpu == 15


def test_up_and_down_choose_a_source_and_enter_leads_to_it():
    app = make_app([host(STRAYED, n) for n in range(9)])

    async def steps(pilot):
        await press(pilot, "enter")
        assert (app.screen_name, app.pane.cpu) == ("core", STRAY)
        assert app.pane.pointed().key == "142"
        await press(pilot, "down", "down")
        assert app.pane.pointed().goes_to == ("irqs", "irq", "LOC")
        await press(pilot, "up", "up", "right", "left")
        app.tick()
        assert app.pane.pointed().key == "142"
        assert shlex.split(app.pane.command())[:5] == ["quietcore", "watch", "--json", "--count", "1"]
        await press(pilot, "enter")
        assert app.screen_name == "irqs"
        await press(pilot, "escape", "tab")
        assert app.pane.pointed().goes_to == ("irqs", "core", "37")

    drive(app, steps)


def test_each_key_of_its_own_leaves_a_whole_screen():
    app = make_app([host(STRAYED, n) for n in range(9)])

    async def steps(pilot):
        for key in (
            "2",
            "m",
            "H",
            "left",
            "right",
            "tab",
            "z",
            "down",
            "m",
            "z",
            "tab",
            "z",
            "H",
            "escape",
            "home",
            "end",
            "tab",
            "x",
        ):
            await press(pilot, key)
            app.tick()
            assert "quietcore" in text_of(app)
            assert {cell_len(line) for line in text_of(app).splitlines()} == {90}

    drive(app, steps, size=(90, 26))


@pytest.mark.parametrize("panel", PANELS)
def test_z_gives_the_panel_the_screen(panel):
    pane = core_pane()
    pane.panel, pane.zoomed = panel, True
    lines = text(pane.lines(80, 21))
    told = "\n".join(lines[1:])
    assert (" 142 nvme3q38" in told) == (panel == "sources")
    assert ("a column" in told) == (panel == "chart")
    assert ("most" in told) == (panel == "compare")
    assert len(lines) <= 21
    if panel == "chart":
        assert len(lines) == 21  # the rows of the axis grow with the room


# ---- what may happen


def test_a_core_that_goes_is_said_to_be_offline_and_comes_back():
    pane = core_pane(host(STRAYED, 1))
    pane.lines(80, 21)
    gone = [core for core in STRAYED if core.cpu != STRAY]
    lines = show(pane, host(gone, 2))
    assert "CPU 37 is offline" in lines[0]
    assert pane.pointed().kind == ""
    assert "core 37" in show(pane, host(STRAYED, 3))[0]
    show(pane, host(gone, 4))
    pane.move(0, 1)
    assert " core " in show(pane, host(gone, 5))[0]


def test_a_first_sample_has_no_rates_and_no_harm():
    of = tuple(replace(core, interruptions_per_s=0.0, device_per_s=0.0, top_cause="") for core in cores())
    lines = text(core_pane(host(of, interval_s=0.0, irqs=())).lines(80, 21))
    assert "0 sources" in "\n".join(lines)
    assert "nothing interrupts it" in lines[0] or "busy 0%" in lines[0]


SIZES = [(80, 21), (81, 22), (101, 27), (129, 37), (130, 21), (131, 37), (170, 47), (200, 47), (240, 60), (300, 77)]


@pytest.mark.parametrize("count", [1, 2, 64, 512])
def test_no_line_is_ever_too_wide_nor_too_many(count):
    of = cores(count, nodes=min(2, count), smt=2 if count > 2 else 1)
    odd = IrqSample("999", "以太网卡" * 9 + "\u2067[b]x", "", None, 10**15, 1.0, ((0, 10**15),), ((0, 1.0),), "0", "0")
    pane = core_pane(*(replace(host(of, n), irqs=(*host(of).irqs, odd)) for n in range(30)), cpu=0)
    for (width, height), zoomed, panel in itertools.product(SIZES, (False, True), PANELS):
        pane.zoomed, pane.panel = zoomed, panel
        lines = pane.lines(width, height)
        assert len(lines) <= height
        widest = max(cell_len("".join(segment.text for segment in line)) for line in lines)
        assert widest <= width, (width, height, zoomed, panel)
        pane.do_metric()


def test_what_did_not_change_is_the_same_line():
    pane = core_pane(*rates([0.0] * 300, cpu=12), cpu=12)
    before = pane.lines(200, 47)
    pane.model.sample = host(STRAYED, 400)
    after = pane.lines(200, 47)
    assert sum(one is other for one, other in zip(before, after, strict=True)) >= 40
