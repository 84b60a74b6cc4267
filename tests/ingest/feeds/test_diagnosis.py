"""The A/B matrix: every cell of what was lost where, whose counters moved, what came at all."""

from itertools import product

import pytest

from ingest.feeds.diagnosis import Finding, LineInterval, Verdict, diagnose

V = Verdict


def line(name: str, lost: int = 0, moved: bool = False, packets: int = 1000) -> LineInterval:
    return LineInterval(
        name=name,
        interface={"A": "eth2", "B": "eth3"}[name],
        packets=packets,
        received=packets * 3,
        lost=lost,
        moved=(f"rx_missed_{name.lower()}",) if moved else (),
    )


# (lost on A alone, on B alone, on both, A's counters moved, B's moved, one RX queue) -> verdicts, the gravest first
BOTH = {  # by A's moved, B's moved, shared
    (0, 0, 0): V.UPSTREAM,
    (0, 0, 1): V.UPSTREAM,
    (0, 1, 0): V.MIXED,
    (0, 1, 1): V.SHARED_QUEUE,
    (1, 0, 0): V.MIXED,
    (1, 0, 1): V.SHARED_QUEUE,
    (1, 1, 0): V.HOST,
    (1, 1, 1): V.SHARED_QUEUE,
}
ALONE = {0: V.NETWORK, 1: V.HOST_PATH}


def expected(only_a: int, only_b: int, both: int, moved_a: int, moved_b: int, shared: int) -> list[tuple[Verdict, str]]:
    wanted = [(BOTH[moved_a, moved_b, shared], "")] if both else []
    wanted += [(ALONE[moved_a], "A")] if only_a else []
    wanted += [(ALONE[moved_b], "B")] if only_b else []
    return wanted or [(V.FINE, "")]


@pytest.mark.parametrize("cell", list(product((0, 1), repeat=6)), ids=lambda cell: "".join(map(str, cell)))
def test_every_cell_while_both_lines_flow(cell: tuple[int, ...]) -> None:
    only_a, only_b, both, moved_a, moved_b, shared = cell
    findings = diagnose(
        line("A", lost=7 * only_a + 5 * both, moved=bool(moved_a)),
        line("B", lost=3 * only_b + 5 * both, moved=bool(moved_b)),
        5 * both,
        bool(shared),
    )
    assert [(each.verdict, each.line) for each in findings] == expected(*cell)
    check_sentences(findings, {"A": bool(moved_a), "B": bool(moved_b)})


# (packets of A, of B, A's moved, B's moved, B lost) -> verdicts
SILENT = {
    (0, 0, 0, 0, 0): [(V.BOTH_SILENT, "")],
    (0, 0, 0, 1, 0): [(V.BOTH_SILENT, "")],
    (0, 0, 1, 0, 0): [(V.BOTH_SILENT, "")],
    (0, 0, 1, 1, 0): [(V.BOTH_SILENT, "")],
    (0, 1, 0, 0, 0): [(V.LINE_SILENT, "A")],
    (0, 1, 0, 1, 0): [(V.LINE_SILENT, "A")],
    (0, 1, 1, 0, 0): [(V.HOST_PATH, "A")],
    (0, 1, 1, 1, 0): [(V.HOST_PATH, "A")],
    # with A silent nobody could fill B's gaps: they are missing on both, and B's own
    (0, 1, 0, 0, 1): [(V.NETWORK, "B"), (V.LINE_SILENT, "A")],
    (0, 1, 0, 1, 1): [(V.HOST_PATH, "B"), (V.LINE_SILENT, "A")],
    (0, 1, 1, 0, 1): [(V.NETWORK, "B"), (V.HOST_PATH, "A")],
    (0, 1, 1, 1, 1): [(V.HOST_PATH, "B"), (V.HOST_PATH, "A")],
}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("cell", SILENT, ids=lambda cell: "".join(map(str, cell)))
def test_every_cell_while_a_line_is_silent(cell: tuple[int, ...], swapped: bool, shared: bool) -> None:
    packets_a, packets_b, moved_a, moved_b, lost = cell
    names = {"A": "B", "B": "A"} if swapped else {"A": "A", "B": "B"}
    silent = line(names["A"], moved=bool(moved_a), packets=packets_a)
    other = line(names["B"], lost=4 * lost, moved=bool(moved_b), packets=packets_b)
    findings = diagnose(*((other, silent) if swapped else (silent, other)), 4 * lost, shared)
    assert [(each.verdict, each.line) for each in findings] == [(v, names.get(each, "")) for v, each in SILENT[cell]]
    check_sentences(findings, {names["A"]: bool(moved_a), names["B"]: bool(moved_b)})


def check_sentences(findings: tuple[Finding, ...], moved: dict[str, bool]) -> None:
    for finding in findings:
        assert finding.sentence.endswith(".")
        assert "\n" not in finding.sentence
        for name in "AB":
            counter = f"rx_missed_{name.lower()}"
            if counter in finding.sentence:
                assert moved[name]
            if finding.line == name:
                assert f"ine {name} " in finding.sentence or f"network {name}" in finding.sentence
                assert (counter in finding.sentence) == (finding.verdict is V.HOST_PATH)


def test_every_verdict_is_reached() -> None:
    reached = {verdict for verdicts in SILENT.values() for verdict, _ in verdicts} | {*BOTH.values(), *ALONE.values(), V.FINE}
    assert reached == set(Verdict)


def test_figures_are_in_the_sentences() -> None:
    a, b = line("A", lost=1207, moved=True), line("B", lost=200)
    both, alone = diagnose(a, b, 200, False)
    assert "200 numbers are missing on both" in both.sentence
    assert "Line A lost 1,007 numbers that B brought, and rx_missed_a of eth2 moved" in alone.sentence


def test_what_came_late_is_no_loss() -> None:
    # a gap of the interval before was filled in this one: the difference is below 0
    (fine,) = diagnose(line("A", lost=-3), line("B"), -3, False)
    assert fine.verdict is V.FINE
    # and a number that is missing on both may have been found missing on the lines in the interval before
    (upstream,) = diagnose(line("A"), line("B"), 2, False)
    assert upstream.verdict is V.UPSTREAM


def test_a_shared_queue_is_named_even_where_nothing_proves_it() -> None:
    (finding,) = diagnose(line("A", lost=2), line("B", lost=2), 2, True)
    assert finding.verdict is V.UPSTREAM
    assert "share one RX queue" in finding.sentence


def test_one_interface_is_named_once() -> None:
    a = LineInterval("A", "eth2", 0, 0, 0, ("rx_missed",))
    b = LineInterval("B", "eth2", 0, 0, 0, ("rx_missed",))
    (finding,) = diagnose(a, b, 0, False)
    assert "eth2 and eth2" not in finding.sentence
    assert finding.sentence.count("rx_missed") == 1


# (numbers that A's counters account for, B's; lost on A alone, on B alone, on both) -> verdicts
QUANTITIES = {
    (0, 0, 100, 0, 0): [(V.NETWORK, "A")],
    (49, 0, 100, 0, 0): [(V.NETWORK, "A")],
    (50, 0, 100, 0, 0): [(V.HOST_PATH, "A")],
    (100, 9, 100, 0, 0): [(V.HOST_PATH, "A")],
    (100, 0, 100, 0, 40): [(V.UPSTREAM, ""), (V.HOST_PATH, "A")],
    (120, 0, 100, 0, 40): [(V.MIXED, ""), (V.HOST_PATH, "A")],
    (140, 40, 100, 0, 40): [(V.HOST, ""), (V.HOST_PATH, "A")],
    (30, 0, 100, 0, 40): [(V.UPSTREAM, ""), (V.NETWORK, "A")],
    (100, 100, 100, 100, 40): [(V.UPSTREAM, ""), (V.HOST_PATH, "A"), (V.HOST_PATH, "B")],
    (5, 5, 0, 0, 40): [(V.UPSTREAM, "")],
    (40, 5, 0, 0, 40): [(V.MIXED, "")],
}


@pytest.mark.parametrize("cell", QUANTITIES, ids=lambda cell: "-".join(map(str, cell)))
def test_how_much_the_counters_account_for(cell: tuple[int, ...]) -> None:
    dropped_a, dropped_b, only_a, only_b, both = cell
    a, b = (
        LineInterval(name, interface, 1000, 3000, alone + both, (f"rx_missed_{name.lower()}",) if dropped else (), dropped)
        for name, interface, alone, dropped in (("A", "eth2", only_a, dropped_a), ("B", "eth3", only_b, dropped_b))
    )
    findings = diagnose(a, b, both, False)
    assert [(each.verdict, each.line) for each in findings] == QUANTITIES[cell]
    for each in findings:
        dropped = {"A": dropped_a, "B": dropped_b}.get(each.line, dropped_a + dropped_b)
        assert ("no counter" in each.sentence) == (not dropped)  # a counter that moved is never denied


def test_a_silent_line_is_not_explained_by_a_few_drops() -> None:
    for dropped, verdict in ((1499, V.LINE_SILENT), (1500, V.HOST_PATH)):
        silent = LineInterval("A", "eth2", 0, 0, 0, ("rx_missed",), dropped)
        (finding,) = diagnose(silent, line("B"), 0, False)
        assert (finding.verdict, finding.line) == (verdict, "A")
