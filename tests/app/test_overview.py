"""The overview: what is red and what is not, where the cursor is, what each of its keys does, and that nothing is too wide."""

import itertools
import json
import shlex
from dataclasses import replace

import pytest
from rich.cells import cell_len

from ingest.sample import Event, LossSample, Sample
from tests.app.core_hosts import BUSY, STRAY, cells, changed, cores, host, show, showing, text, toned
from tests.app.screens import drive, make_app, press, text_of
from ui.app.flow.remedies import Remedy
from ui.app.screens import overview_alerts
from ui.app.screens.overview import PANELS, Overview
from ui.app.state.policy import METRICS
from ui.app.widgets.ramp import glyphs
from ui.app.widgets.tones import PALETTES
from ui.filter import Filter

LABEL = 10  # "intr/s n0 "


def overview(*samples: Sample, **options) -> Overview:
    return showing(Overview, *(samples or (host(),)), **options)


def only(*wanted: int) -> Filter:
    return Filter("these", lambda values: values["cpu"] in wanted)


def row(lines, name: str):
    return next(line for line in lines if text([line])[0].startswith(name))


# ---- the maps


def test_one_interrupt_on_an_isolated_core_is_red_and_eight_thousand_on_another_are_not():
    of = changed(cores(), STRAY, role="isolated")
    pane = overview(host(of))
    pane.focus("core", "0")
    lines = pane.lines(80, 21)
    node0 = cells(row(lines, "intr/s n0"))
    node1 = cells(lines[lines.index(row(lines, "intr/s n0")) + 1])
    busy, stray, quiet = node0[LABEL + BUSY], node1[LABEL + STRAY - 32], node0[LABEL + 20]
    assert stray == (glyphs()[1], toned("bad"))
    assert busy == (glyphs()[8], toned("cool4"))
    assert quiet == (glyphs()[0], toned("dim"))
    assert text(lines)[1].endswith(" 8000")


def test_without_colours_heights_differ_and_what_is_red_is_underlined():
    of = changed(cores(), 3, interruptions_per_s=90.0, device_per_s=90.0)
    drawn = text(overview(host(of)).lines(80, 21))[1][LABEL : LABEL + 32]
    assert drawn[1] == glyphs()[0]
    assert glyphs().index(drawn[3]) < glyphs().index(drawn[BUSY])
    assert "underline" in PALETTES["mono"]["bad"]
    assert PALETTES["mono"]["bad"] != PALETTES["mono"]["warn"] != PALETTES["mono"]["cool4"]


def test_eighty_by_twenty_four_holds_four_figures_of_64_cores_and_all_panels():
    lines = text(overview().lines(80, 21))
    names = [line[:6] for line in lines if line[7:9] == "n0"]
    assert names == ["intr/s", "dev/s ", "drop/s", "busy %", "role  "]
    assert lines[9].startswith("role   n0 HHHHHHHHIIIIII")
    assert any("worst first" in line for line in lines)
    assert any("loss/s" in line for line in lines)
    assert "no alert is open" in "".join(lines)


def test_two_hundred_by_fifty_holds_all_figures_side_by_side_and_the_side_panels():
    lines = text(overview(host(cores(128))).lines(200, 47))
    assert sum(line.count("── ") for line in lines[:1]) >= 4
    told = "\n".join(lines[:16])
    for metric in METRICS:
        assert metric.title in told or metric.name in told
    assert any("ingest" in line and "host" in line for line in lines)
    assert "isolated 8-63,72-127" in told


def test_every_core_of_512_is_on_the_screen_when_the_map_has_it_to_itself():
    pane = overview(host(cores(512, nodes=4, smt=2)))
    pane.panel, pane.zoomed = "maps", True
    lines = text(pane.lines(80, 21))
    cells_drawn = sum(
        len(line[LABEL:74].rstrip()) for line in lines if line[7:9] in ("n0", "n1", "n2", "n3", " '") or line[:9].isspace()
    )
    assert cells_drawn >= 512


def test_siblings_stand_one_above_the_other_where_they_do_not_fit_in_one_row():
    pane = overview(host(cores(128, nodes=2, smt=2)))
    lines = text(pane.lines(80, 21))
    assert "HHHHHHHHIIIIIIIIIIIIIIIIIIIIIIIIhhhhhhhhiiii" in "".join(lines)
    wide = text(pane.lines(200, 47))
    assert [line[:3] for line in wide[1:5]] == ["n0 ", " ' ", "n1 ", " ' "]
    assert any("lower case: the second thread" in line for line in wide)


def test_g_groups_by_node_cache_and_role():
    pane = overview()
    assert "│" not in text(pane.lines(80, 21))[1]
    pane.do_group()
    assert text(pane.lines(80, 21))[1][LABEL:].index("│") == 8
    pane.do_group()
    lines = text(pane.lines(80, 21))
    assert [line[7:9] for line in lines[1:3]] == ["I ", "H "]
    assert lines[2][LABEL + BUSY] == glyphs()[8]
    pane.do_group()
    assert pane.maps.grouping == "node"


def test_n_shows_numbers_and_their_tone_is_the_same():
    pane = overview(host(changed(cores(), STRAY, role="isolated")))
    pane.do_numbers()
    pane.focus("core", "0")
    lines = pane.lines(80, 21)
    assert text(lines)[1][:20] == "   0    ·   ·  8k   "
    stray = next(line for line in lines if text([line])[0].startswith("  32 "))
    place = 5 + (STRAY - 32) * 4 + 3
    assert cells(stray)[place] == ("1", toned("bad"))


def test_m_picks_the_first_map_and_goes_round():
    pane = overview()
    for metric in (*METRICS[1:], METRICS[0]):
        pane.do_metric()
        assert text(pane.lines(80, 21))[1].startswith(metric.name)


def test_a_cpu_that_goes_is_a_gap_and_its_neighbours_stay():
    pane = overview()
    before = text(pane.lines(80, 21))
    gone = [core for core in cores() if core.cpu != 5]
    after = show(pane, host(gone, 2))
    assert after[1][LABEL + 5] == " "
    assert after[1][: LABEL + 5] + "·" + after[1][LABEL + 6 :] == before[1]
    assert after[9][LABEL + 5] == " "  # its role, too
    assert "5" not in {each.key for each in pane.cores.table.rows}
    assert show(pane, host(sequence=3))[1] == before[1]


def test_the_cursor_stays_on_a_cpu_that_goes_and_says_so():
    pane = overview()
    pane.panel = "maps"
    pane.focus("core", "5")
    pane.panel = "maps"
    pane.lines(80, 21)
    gone = [core for core in cores() if core.cpu != 5]
    assert any("CPU 5 is offline" in line for line in show(pane, host(gone, 2)))
    assert pane.pointed().kind == ""
    pane.move(0, 1)
    assert "▸CPU" in "".join(show(pane, host(gone, 3)))


def test_a_first_sample_without_rates_is_a_quiet_map():
    of = tuple(replace(core, interruptions_per_s=0.0, device_per_s=0.0, top_cause="") for core in cores())
    lines = text(overview(host(of, interval_s=0.0, irqs=(), losses=())).lines(200, 47))
    assert set(lines[1][3:35]) == {glyphs()[0]}
    assert "nothing interrupts it" in "".join(lines)


# ---- the cursor


def test_the_marked_cell_is_the_core_of_the_table_and_is_told_in_one_line():
    pane = overview(host(changed(cores(), STRAY, role="isolated")))
    lines = pane.lines(80, 21)
    assert pane.cpu == STRAY
    marked = [each for each in cells(lines[2])[LABEL : LABEL + 32] if each[1] is not None and each[1].reverse]
    assert marked == [(glyphs()[1], toned("bad cursor"))]
    (told,) = [line for line in text(lines) if line.startswith("▸CPU 37")]
    for words in ("n1", "llc 32", "isolated", "intr/s 1", "IRQ 142 nvme3q38 interrupts an isolated"):
        assert words in told


def test_arrows_walk_the_map_and_the_table_goes_along():
    pane = overview()
    pane.panel = "maps"
    pane.focus("core", "0")
    pane.panel = "maps"
    pane.lines(80, 21)
    pane.move(0, 1)
    pane.move(1, 0)
    pane.lines(80, 21)
    assert pane.cpu == 33
    assert pane.cores.selected == 33
    pane.move(0, -1)
    pane.move(-1_000_000, 0)
    assert pane.cpu == 0
    assert pane.pointed().goes_to == ("core", "core", "0")


def test_the_cursor_stays_on_its_core_in_whatever_order():
    pane = overview()
    pane.lines(80, 21)
    pane.focus("core", "12")
    for turn in range(10):
        pane.do_sort()
        if turn % 2:
            pane.do_reverse()
        of = changed(cores(), 12, interruptions_per_s=float(turn * 100), device_per_s=float(turn * 100))
        show(pane, host(of, turn + 2))
        assert pane.cores.selected == pane.cpu == 12


def test_sorting_by_core_and_by_rate():
    pane = overview()
    pane.do_sort()
    pane.lines(80, 21)
    assert [int(each.key) for each in pane.cores.table.rows] == list(range(64))
    pane.do_sort()
    pane.lines(80, 21)
    assert [int(each.key) for each in pane.cores.table.rows][:2] == [BUSY, STRAY]


def test_the_worst_is_first_though_another_has_eight_thousand_times_as_much():
    pane = overview(host(changed(cores(), STRAY, role="isolated")))
    lines = pane.lines(80, 21)
    assert [int(each.key) for each in pane.cores.table.rows][:2] == [STRAY, BUSY]
    stray, busy = (next(line for line in lines if text([line])[0].startswith(f"{cpu:>4} n")) for cpu in (STRAY, BUSY))
    assert all(segment.style == toned("bad cursor") for segment in stray)
    assert "bold" not in str(busy[0].style)


def test_tab_goes_through_the_panels_and_enter_leads_where_they_point():
    app = make_app([host(changed(cores(), STRAY, role="isolated"))])

    async def steps(pilot):
        pane = app.pane
        seen = []
        for _ in PANELS:
            await press(pilot, "tab")
            seen.append((pane.panel, pane.pointed().goes_to))
        assert seen[0] == ("losses", ("nic", "loss", "7/eth3/rx_no_dma_resources"))
        assert [panel for panel, _ in seen] == ["losses", "alerts", "maps", "cores"]
        await press(pilot, "enter")
        assert app.screen_name == "core"
        assert app.pane.cpu == STRAY
        await press(pilot, "escape", "tab", "enter")
        assert app.screen_name == "nic"

    drive(app, steps)


def test_each_key_of_its_own_leaves_a_whole_screen():
    app = make_app([host(sequence=n) for n in range(9)])

    async def steps(pilot):
        for key in (
            "m",
            "n",
            "g",
            "tab",
            "m",
            "g",
            "left",
            "down",
            "home",
            "end",
            "s",
            "S",
            "z",
            "tab",
            "right",
            "z",
            "n",
            "g",
            "escape",
        ):
            await press(pilot, key)
            app.tick()
            assert "quietcore" in text_of(app)
            assert {cell_len(line) for line in text_of(app).splitlines()} == {100}

    drive(app, steps, size=(100, 30))


# ---- filter and zoom


def test_a_filter_keeps_rows_of_the_table_and_greys_the_other_cells():
    pane = overview(host(changed(cores(), STRAY, role="isolated")))
    pane.filter = only(STRAY, 3)
    lines = pane.lines(80, 21)
    assert {each.key for each in pane.cores.table.rows} == {str(STRAY), "3"}
    assert "worst first 2/64" in "".join(text(lines))
    busy, stray = cells(lines[1])[LABEL + BUSY], cells(lines[2])[LABEL + STRAY - 32]
    assert busy == (glyphs()[8], toned("dim"))  # what it is, is still told by its height
    assert stray[1] == toned("bad cursor")
    pane.filter = only()
    assert pane.lines(80, 21)
    assert pane.cores.table.rows == []
    assert pane.back()
    assert text(pane.lines(80, 21)) == text(overview(host(changed(cores(), STRAY, role="isolated"))).lines(80, 21))


def test_what_a_filter_may_ask_of_a_core():
    pane = overview(
        host(
            changed(cores(), STRAY, role="isolated", interruptions_per_s=3.5, timer_per_s=0.5, ipi_per_s=2.0, busy_percent=7.0)
        )
    )
    pane.lines(80, 21)
    (found,) = [values for values in pane.listing().rows if values["cpu"] == STRAY]
    assert set(found) == set(pane.filter_keys)
    assert (found["node"], found["role"], found["dev"], found["ipi"], found["busy"]) == (1, "isolated", 1.0, 2.0, 7.0)
    assert found["policy"] == "break"
    json.dumps(pane.listing().rows)


@pytest.mark.parametrize("panel", PANELS)
def test_z_gives_the_panel_with_the_cursor_the_whole_screen(panel):
    pane = overview()
    pane.panel, pane.zoomed = panel, True
    lines = text(pane.lines(80, 21))
    told = "\n".join(lines)
    assert ("intr/s n0" in told) == (panel == "maps")
    assert ("worst first" in told) == (panel == "cores")
    assert ("rx_missed_errors" in told) == (panel == "losses")
    assert ("no alert is open" in told) == (panel == "alerts")
    assert len(lines) <= 21
    if panel == "losses":
        assert told.index("no receive descriptor") < told.index("NIC packet buffer")  # what loses now before what once did
        assert pane.pointed().goes_to == ("nic", "loss", "7/eth3/rx_no_dma_resources")


# ---- losses


def test_losses_stand_below_their_stages():
    lines = text(overview().lines(80, 21))
    head, *rows = (line for line in lines if line.startswith(("── loss", " eth", " host")))
    ring = slice(head.index("ring") - 2, head.index("ring") + 4)
    assert rows[0].startswith(" eth3")  # what loses now is first
    assert rows[0][ring].strip() == "12"
    assert rows[0][head.index("NIC") - 3 : head.index("NIC") + 3].strip() == "(4711)"
    base = host()
    much = [replace(row, total=9_101_222) if row.counter == "Udp.RcvbufErrors" else row for row in base.losses]
    pane = overview(replace(base, losses=tuple(much)))
    pane.move(0, 0)
    pane.panel = "losses"
    pane.lines(80, 21)
    pane.move(2, 0)
    assert "(9M)" in "".join(text(pane.lines(80, 21)))
    wide = text(overview().lines(200, 47))
    (eth3,) = [line for line in wide if line.startswith(" eth3")]
    assert "12 (99)" in eth3
    assert "no receive descriptor 12 (99), NIC packet buffer 0 (4711)" in eth3
    (of_host,) = [line for line in wide if line.startswith(" host")]
    assert "(7)" in of_host
    assert "UDP: socket buffer full 0 (7)" in of_host
    assert "late" not in of_host  # a delay is no loss
    assert " - " in of_host  # no counter is no zero


def test_a_gap_in_one_of_two_lines_is_told_and_is_no_loss():
    line_a = LossSample(26, "feed sequence", "itch A 239.1.1.1:30001", "sequence gaps", 42, 2.0, kind="detail")
    both = LossSample(26, "feed sequence", "itch A+B", "sequence gaps", 0, 0.0, kind="detail")
    feed = {"channel": "itch", "line": "A+B", "received_per_s": 5000.0, "lost_per_s": 0.0, "lost": 0}
    base = host()
    pane = overview(replace(base, losses=(*base.losses, line_a, both), feeds=(feed,)))
    lines = pane.lines(200, 47)
    (of_feeds,) = [line for line in lines if text([line])[0].startswith(" feeds")]
    assert "itch A 239.1.1.1:30001 2 (42)" in text([of_feeds])[0]
    assert toned("bad") not in {segment.style for segment in of_feeds}
    missed = replace(both, total=3, per_s=3.0)
    lines = overview(replace(base, losses=(*base.losses, line_a, missed), feeds=(feed,))).lines(200, 47)
    (of_feeds,) = [line for line in lines if text([line])[0].startswith(" feeds")]
    assert of_feeds[0].style == toned("bad")
    assert " feeds " not in "".join(text(overview().lines(200, 47)))


def test_commands_of_hostile_names_are_one_word_for_the_shell():
    base = host()
    name = "e'; reboot; \"$(x)`"
    pane = overview(replace(base, losses=(LossSample(7, "ring", name, "c'x", 9, 1.0),)))
    pane.panel = "losses"
    pane.lines(80, 21)
    words = shlex.split(pane.command())
    assert words[:6] == ["quietcore", "watch", "--json", "--count", "1", "|"]
    assert json.dumps(name) in words[-1]
    assert len(words) == 8


# ---- alerts

RING = Event("crit", "eth3", "no receive descriptor: 12 packets/s")
CORE = Event("warn", "CPU 37", "1 interrupt a second on an isolated core")


def test_alerts_are_the_newest_first_with_the_screen_that_shows_them():
    pane = overview()
    pane.model.events.extend([(20.0, CORE), (10.0, Event("info", "profile", "verified")), (5.0, RING)])
    lines = text(pane.lines(80, 21))[-2:]
    assert lines[0].startswith("WARN")
    assert lines[0].endswith("2 to see it")
    assert lines[1].startswith("CRIT")
    assert lines[1].endswith("f  4 to see")
    pane.panel = "alerts"
    assert pane.pointed().goes_to == ("core", "core", "37")
    pane.move(1, 0)
    assert pane.pointed().goes_to == ("nic", "nic", "eth3")


def test_what_is_over_or_acknowledged_is_no_alert_any_more():
    pane = overview()

    def shown():
        return [line for line in text(pane.lines(200, 47)) if line.startswith("CRIT")]

    ring = Event("crit", "eth3", "ring full", key="5 eth3", nic="eth3", counter="rx_missed_errors")
    core = Event("crit", "CPU 37", "backlog full", key="backlog 37", cpu=37)
    pane.model.events.extendleft([(1.0, ring), (2.0, core)])
    assert len(shown()) == 2
    pane.model.events.appendleft((3.0, replace(ring, level="info", ended=True)))
    (line,) = shown()
    assert "backlog full" in line
    log = pane.model.matters()
    log.acknowledge(log.matters)
    assert not shown()
    assert "no alert is open" in "\n".join(text(pane.lines(200, 47)))


def test_an_alert_with_a_remedy_says_so(monkeypatch):
    monkeypatch.setattr(
        overview_alerts, "remedy", lambda sample, pointed: Remedy("ring rx 8192", ("x",), "nic.rings.rx", "eth3")
    )
    pane = overview()
    pane.model.events.append((5.0, RING))
    assert text(pane.lines(80, 21))[-1].endswith("f  4 to see")
    assert "f ring rx 8192" in "".join(text(pane.lines(200, 47)))


def test_while_paused_alerts_are_those_of_then():
    pane = overview(host(sequence=10))
    pane.model.events.extend([(2e6, RING), (1e6, CORE)])
    pane.model.paused = True
    told = "".join(text(pane.lines(80, 21)))
    assert "an isolated core" in told
    assert "12 packets/s" not in told


# ---- every size

SIZES = [(80, 21), (81, 22), (101, 27), (129, 37), (130, 37), (131, 21), (169, 40), (170, 47), (200, 47), (240, 60), (300, 77)]
HOSTS = {
    "1": cores(1, nodes=1),
    "2": cores(2),
    "3": cores(3, nodes=1),
    "64": cores(),
    "96 smt": cores(96, smt=2),
    "128 on 8 nodes": cores(128, nodes=8, smt=2),
    "512": cores(512, nodes=4, smt=2),
}


@pytest.mark.parametrize("of", HOSTS)
def test_no_line_is_ever_too_wide_nor_too_many(of):
    base = host(HOSTS[of])
    odd = replace(base.nics[0], name="以太网\u2067[b]x")
    pane = overview(replace(base, nics=(*base.nics, odd), losses=(*base.losses, LossSample(7, "环", odd.name, "c", 9, 9.0))))
    pane.model.events.extend([(20.0, CORE), (10.0, replace(RING, where=odd.name, what="告警" * 80))])
    for (width, height), numbers, zoomed in itertools.product(SIZES, (False, True), (False, True)):
        pane.maps.numbers, pane.zoomed = numbers, zoomed
        for panel in PANELS if zoomed else PANELS[:1]:
            pane.panel = panel
            lines = pane.lines(width, height)
            assert len(lines) <= height
            sizes = {cell_len("".join(segment.text for segment in line)) for line in lines}
            assert max(sizes) <= width, (width, height, numbers, zoomed, panel)
        pane.do_group()


def test_what_did_not_change_is_the_same_line():
    pane = overview(host(cores(128), 1))
    before = pane.lines(200, 47)
    after = pane.lines(200, 47)
    assert sum(one is other for one, other in zip(before, after, strict=True)) >= 40
    pane.model.sample = host(cores(128), 2)  # the same figures, nothing of the past moved
    again = pane.lines(200, 47)
    maps = slice(0, 16)
    assert [one is other for one, other in zip(before[maps], again[maps], strict=True)].count(False) == 0
