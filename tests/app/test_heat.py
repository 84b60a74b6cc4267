"""The heat map's parts: the order of the machine, gaps, tones of all cores at once, and what of the past is drawn."""

import random
from dataclasses import replace

import pytest

from tests.app.core_hosts import STRAY, changed, cores, host, text
from ui.app.state.history import SAMPLES, History
from ui.app.state.places import GAP, Places
from ui.app.state.policy import METRICS, NAMES, RESERVED, Figures, verdict, why
from ui.app.widgets.heat import RULE, HeatGrid, HeatRow, balanced, brief, rows_of


def places(of) -> Places:
    found = Places()
    found.take("ny4", of)
    return found


def numbered(numbers, node_of, **more):
    return tuple(
        replace(cores(1)[0], cpu=cpu, node=node_of(cpu), core=cpu, llc=node_of(cpu), siblings=(cpu,), **more) for cpu in numbers
    )


# ---- where cores stand


def test_cores_stand_by_node_then_cache_then_core_whatever_their_numbers():
    group, other = places(numbered(range(16), lambda cpu: cpu % 2)).groups("node")
    assert group.threads == (tuple(range(0, 16, 2)),)
    assert other.threads == (tuple(range(1, 16, 2)),)


def test_the_second_threads_of_cores_stand_in_a_row_of_their_own_below_the_first():
    found = places(cores(128, nodes=2, smt=2)).groups("node")
    assert [group.label for group in found] == ["n0", "n1"]
    first, second = found[0].threads
    assert first == tuple(range(32))
    assert second == tuple(range(64, 96))
    stacked = rows_of(found[0], 40)
    assert [row.label for row in stacked] == ["n0", " '"]
    (beside,) = rows_of(found[0], 65)
    assert beside.cells == (*first, RULE, *second)


def test_caches_have_borders_and_none_is_cut_in_two():
    (group, _) = places(cores(64)).groups("llc")
    assert group.borders == (8, 16, 24)
    rows = rows_of(group, 20)
    assert [len(row.cells) for row in rows] == [17, 17]
    assert rows[0].cells[8] == RULE


def test_by_role_the_reserved_come_first_across_nodes():
    found = places(cores(64)).groups("role")
    assert [group.label for group in found] == ["I", "H"]
    assert found[1].threads == ((*range(8), *(cpu for cpu in range(32, 40) if cpu != STRAY)),)


def test_a_role_that_has_only_second_threads_is_one_row():
    of = cores(8, nodes=1, smt=2, housekeeping=9)
    for cpu in (4, 5):
        of = changed(of, cpu, role="app")
    group = next(group for group in places(of).groups("role") if group.label == "A")
    assert group.threads == ((4, 5),)


def test_a_cpu_that_goes_leaves_a_gap_and_moves_nobody():
    whole = cores(64)
    found = places(whole)
    before = found.groups("node")[0].threads[0]
    found.take("ny4", [core for core in whole if core.cpu != 5])
    assert found.groups("node")[0].threads[0] == tuple(GAP if cpu == 5 else cpu for cpu in before)
    assert 5 not in found.order
    found.take("ny4", whole)
    assert found.groups("node")[0].threads[0] == before


def test_a_first_thread_that_goes_leaves_its_sibling_where_it_was():
    whole = cores(16, nodes=1, smt=2)
    found = places(whole)
    found.take("ny4", changed([core for core in whole if core.cpu != 3], 11, siblings=(11,)))
    first, second = found.groups("node")[0].threads
    assert (first[3], second[3]) == (GAP, 11)


def test_a_number_that_is_missing_from_the_start_is_a_gap_too():
    missing = places(numbered([0, 1, 2, 4, 5], lambda _: 0))
    assert missing.groups("node")[0].threads == ((0, 1, 2, GAP, 4, 5),)
    odd = places(numbered([0, 1, 2, 3, 4, 6, 7, 8, 10], lambda cpu: cpu % 2))  # 5 and 9 are missing on the second node
    assert odd.groups("node")[1].threads == ((1, 3, GAP, 7),)
    assert odd.groups("node")[0].threads == ((0, 2, 4, 6, 8, 10),)


def test_siblings_that_were_never_online_are_no_gap():
    (group,) = places(numbered(range(8), lambda _: 0)).groups("node")
    assert GAP not in group.threads[0]


def test_another_host_begins_anew():
    found = places(cores(64))
    found.take("other", cores(4, nodes=1))
    assert found.order == (0, 1, 2, 3)
    assert [len(group.threads[0]) for group in found.groups("node")] == [4]


@pytest.mark.parametrize(
    ("count", "room", "each"), [(64, 40, 32), (64, 64, 64), (5, 3, 3), (63, 40, 32), (1, 8, 1), (50, 49, 32)]
)
def test_rows_are_balanced(count, room, each):
    assert balanced(count, room) == each


# ---- tones


def told(core, metric) -> str:
    """What one cell has to be, case by case."""
    value = metric.value(core)
    if value <= 0 and metric.name != "intr/s":
        return "dim"
    if metric.name == "drop/s":
        return "bad"
    if core.role in RESERVED:
        if metric.name == "intr/s":
            stray = core.interruptions_per_s - core.timer_per_s
            return "bad" if stray >= 1 else "warn" if core.timer_per_s > 2 else "dim"
        if metric.name in ("dev/s", "ipi/s", "soft/s"):
            return "bad" if value >= 1 else "dim"
        if metric.name == "tick/s":
            return "warn" if value > 2 else "dim"
    return "cool" if value > 0 else "dim"


def test_all_cores_at_once_are_judged_as_each_alone_would_be():
    pick = random.Random(7)
    of = []
    for core in cores(128, nodes=2, housekeeping=20):
        tick, dev, ipi = (pick.choice((0.0, 0.4, 1.0, 2.0, 3.0, 1000.0)) for _ in range(3))
        fields = {"backlog_drops_per_s": pick.choice((0.0, 5.0)), "busy_percent": pick.random() * 100, "softirqs_per_s": dev}
        role = pick.choice((core.role, "rx", "app"))
        of.append(
            replace(
                core,
                role=role,
                timer_per_s=tick,
                device_per_s=dev,
                ipi_per_s=ipi,
                interruptions_per_s=tick + dev + ipi,
                **fields,
            )
        )
    figures = Figures(of)
    for metric in METRICS:
        found = [NAMES[code].rstrip("1234") for code in figures.tones(metric)]
        assert found == [told(core, metric) for core in of], metric.name


def test_what_did_not_change_is_the_same_object():
    first = Figures(cores())
    before = [(first.values(each), first.levels(each), first.tones(each)) for each in METRICS]
    second = Figures(cores(), first)
    for (values, levels, tones), metric in zip(before, METRICS, strict=True):
        assert second.values(metric) is values
        assert second.levels(metric) is levels
        assert second.tones(metric) == tones
    third = Figures(changed(cores(), STRAY, role="housekeeping"), second)
    assert NAMES[third.tones(METRICS[0])[STRAY]] == "cool1"


def test_a_tick_is_taken_into_account_when_it_alone_changed():
    ticking = changed(cores(), 40, interruptions_per_s=100.0, timer_per_s=100.0)
    first = Figures(ticking)
    assert NAMES[first.tones(METRICS[0])[40]] == "warn"
    second = Figures(changed(ticking, 40, timer_per_s=10.0), first)
    assert NAMES[second.tones(METRICS[0])[40]] == "bad"


def test_why_names_the_interrupt_and_not_the_tick():
    core = next(core for core in cores() if core.cpu == STRAY)
    assert why(replace(core, role="isolated")) == "IRQ 142 nvme3q38 interrupts an isolated core: 1/s"
    assert (
        why(replace(core, role="isolated", top_cause="Local timer interrupts")) == "a device interrupts an isolated core: 1/s"
    )
    assert why(replace(core, role="housekeeping")) == "142 nvme3q38"


@pytest.mark.parametrize(
    ("role", "label", "per_s", "total", "word"),
    [
        ("isolated", "142", 1.0, 9, "BREAK"), ("isolated", "142", 0.2, 9, "rare"), ("isolated", "142", 0.0, 9, "was"),
        ("isolated", "142", 0.0, 0, "may"), ("isolated", "LOC", 1000.0, 9, "tick"), ("isolated", "LOC", 1.0, 9, "ok"),
        ("app", "RES", 5.0, 9, "BREAK"), ("isolated", "NMI", 5.0, 9, "info"), ("housekeeping", "142", 8000.0, 9, "ok"),
        ("rx", "117", 8000.0, 9, "ok"),
    ],
)  # fmt: skip
def test_verdicts(role, label, per_s, total, word):
    assert verdict(role, label, per_s, total)[0] == word


# ---- the grid


def test_a_row_is_made_again_only_when_it_changed():
    grid = HeatGrid()
    grid.lay([HeatRow("n0", (0, 1, 2)), HeatRow("n1", (3, 4, 5))], {cpu: cpu for cpu in range(6)}, 12, 3)
    first = grid.lines(bytes(6), bytes(6), [0.0] * 6)
    assert text(first) == ["n0 ···     0", "n1 ···     0"]
    assert grid.lines(bytes(6), bytes(6), [0.0] * 6) is first
    second = grid.lines(bytes((0, 0, 0, 0, 8, 0)), bytes(6), [0, 0, 0, 0, 9000.0, 0])
    assert second[0] is first[0]
    assert text(second)[1] == "n1 ·█·  9000"
    marked = grid.lines(bytes((0, 0, 0, 0, 8, 0)), bytes(6), [0, 0, 0, 0, 9000.0, 0], cursor=1)
    assert marked[1] is second[1]
    assert [segment.text for segment in marked[0]] == ["n0 ", "·", "·", "·", "     0"]


def test_a_gap_is_blank_and_a_border_is_none():
    grid = HeatGrid()
    grid.lay([HeatRow("n0", (0, GAP, RULE, 1))], {0: 0, 1: 1}, 13, 3)
    assert text(grid.lines(b"\x01\x02", bytes(2), [1.0, 2.0])) == ["n0 ▁ │▂     2"]


def test_the_cursor_walks_rows_and_leaps_over_gaps():
    grid = HeatGrid()
    grid.lay([HeatRow("", (0, 1, 2)), HeatRow("", (GAP, GAP, 5)), HeatRow("", (6, 7, 8))], dict.fromkeys(range(9), 0), 9, 0)
    assert grid.move(0, 0, 1) == 1
    assert grid.move(2, 0, 1) == 5
    assert grid.move(0, 1, 0) == 5
    assert grid.move(5, 1, 0) == 8
    assert grid.move(8, -1_000_000, 0) == 2
    assert grid.move(8, 0, 1) == 8
    assert grid.move(99, 1, 0) == 0


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "·"), (0.2, "<1"), (1, "1"), (999, "999"), (999.7, "1k"), (8123, "8k"), (99_400, "99k"), (120_000, ".1M"),
     (949_999, ".9M"), (980_000, "1M"), (3.2e6, "3M"), (1e12, "99M")],
)  # fmt: skip
def test_a_number_has_three_characters_at_most(value, shown):
    assert brief(value) == shown


# ---- the past


def levels_of(history, cpu, columns, column_s):
    history.column_s = column_s
    return history.core_values(cpu, "intr/s", columns)


@pytest.mark.parametrize("taken", [1, 7, 23, SAMPLES - 1, SAMPLES, SAMPLES + 5, 2 * SAMPLES + 13])
def test_a_column_is_the_highest_of_its_own_samples_and_of_no_other(taken):
    history, pick = History(), random.Random(taken)
    past = []
    for n in range(taken):
        past.append(float(pick.randrange(1000)))
        history.take(host(changed(cores(2, nodes=1), 0, interruptions_per_s=past[-1]), n))
    kept = past[-SAMPLES:]
    for each in (1, 4, 20):
        cut = taken % each
        whole = kept[: len(kept) - cut] if cut else kept
        whole = whole[len(whole) % each :]
        wanted = [max(whole[at : at + each]) for at in range(0, len(whole), each)] + ([max(kept[-cut:])] if cut else [])
        for columns in (1, 5, 100, SAMPLES):
            assert levels_of(history, 0, columns, each * 0.5) == wanted[-columns:], (each, columns)
    assert history.core_samples(0, "intr/s", 5.0) == past[-10:]


def test_a_cpu_that_goes_takes_only_its_own_history_with_it():
    history = History()
    for n in range(5):
        history.take(host(changed(cores(4, nodes=1), 3, interruptions_per_s=float(n)), n))
    left = [core for core in changed(cores(4, nodes=1), 3, interruptions_per_s=5.0) if core.cpu != 1]
    history.take(host(left, 5))
    assert history.core_values(3, "intr/s", 10) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert history.core_values(1, "intr/s", 10) == []
    history.take(host(changed(cores(4, nodes=1), 1, interruptions_per_s=9.0), 6))
    assert history.core_values(1, "intr/s", 10) == [0.0] * 6 + [9.0]


def test_what_moved_is_remembered_with_its_time():
    history = History()
    history.take(host(sequence=1))
    history.take(replace(host(sequence=2), irqs=()))
    assert history.seen_s("142", STRAY) == host(sequence=1).time_s
    assert history.seen_s("142", 0) is None
    history.clear()
    assert history.seen_s("142", STRAY) is None
