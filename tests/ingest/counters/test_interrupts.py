import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.counters.interrupts import Parser, parse


def naive(raw: bytes):
    """What anybody would write first; only for rows that have a count for every column."""
    lines = raw.decode().splitlines()
    cpus = [int(word[3:]) for word in lines[0].split()]
    rows = {}
    for line in lines[1:]:
        label, _, rest = line.partition(":")
        words = rest.split()
        if len(words) >= len(cpus) and all(w.isdigit() for w in words[: len(cpus)]) and label.strip() not in ("ERR", "MIS"):
            rows[label.strip()] = tuple(int(w) for w in words[: len(cpus)])
    return tuple(cpus), rows


ROW = st.tuples(
    st.one_of(st.integers(0, 999).map(str), st.sampled_from(["LOC", "RES", "NMI", "CAL"])),
    st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4),
    st.sampled_from(["IR-PCI-MSI 5-edge  eth0-rx-0", "Local timer interrupts", ""]),
)


def render(rows, cpus=(0, 1, 2, 5)):
    head = " " * 11 + "".join(f"CPU{cpu:<8}" for cpu in cpus)
    return "\n".join(
        [
            head,
            *(f"{label:>4}: " + " ".join(f"{c:>10}" for c in counts) + f"   {text}" for label, counts, text in rows),
            "ERR:          7",
            "",
        ]
    ).encode()


@given(st.lists(ROW, max_size=30, unique_by=lambda row: row[0]))
def test_it_agrees_with_a_naive_parse(rows):
    raw = render(rows)
    table = parse(raw)
    cpus, expected = naive(raw)
    assert table.cpus == cpus
    assert {label: row.counts for label, row in table.rows.items() if label != "ERR"} == expected


@given(st.lists(st.lists(ROW, max_size=12, unique_by=lambda row: row[0]), min_size=2, max_size=5))
def test_reading_again_and_again_is_like_reading_each_by_itself(files):
    parser = Parser()
    for rows in files:
        raw = render(rows)
        assert parser.parse(raw).rows == parse(raw).rows


def test_columns_follow_the_header_when_a_cpu_comes_or_goes():
    parser = Parser()
    assert parser.parse(render([("24", [1, 2, 3, 4], "x")])).cpus == (0, 1, 2, 5)
    table = parser.parse(b"           CPU0       CPU5\n 24:          1          9   chip 1-edge  eth0\n")
    assert table.cpus == (0, 5)
    assert table.rows["24"].counts == (1, 9)


def test_err_belongs_to_the_machine_and_to_no_cpu():
    assert parse(render([])).rows["ERR"].counts == (0, 0, 0, 0)


@given(st.binary(max_size=300))
def test_rubbish_is_no_traceback(raw):
    parse(raw)


def test_unchanged_rows_are_the_same_object():
    parser = Parser()
    first = parser.parse(render([("24", [1, 2, 3, 4], "x"), ("25", [0, 0, 0, 0], "y")]))
    second = parser.parse(render([("24", [1, 2, 3, 5], "x"), ("25", [0, 0, 0, 0], "y")]))
    assert second.rows["25"] is first.rows["25"]
    assert second.rows["24"].counts == (1, 2, 3, 5)


def test_kinds():
    rows = parse(
        render([("24", [1, 2, 3, 4], "x"), ("LOC", [1, 2, 3, 4], ""), ("RES", [1, 2, 3, 4], ""), ("NMI", [1, 2, 3, 4], "")])
    ).rows
    assert [rows[label].kind for label in ("24", "LOC", "RES", "NMI")] == ["device", "timer", "ipi", "other"]


@pytest.mark.parametrize("name", ["12cpu-ixgbe", "32cpu-mlx4-be2net"])
def test_real_files(name, pytestconfig):
    path = pytestconfig.rootpath.parent / "shared" / "hosts" / "interrupts" / name
    if not path.exists():
        pytest.skip(f"there is no {path.name} beside the project")
    raw = path.read_bytes()
    table = parse(raw)
    cpus, expected = naive(raw)
    assert len(table.cpus) >= 12
    assert table.cpus == cpus
    assert {label: row.counts for label, row in table.rows.items() if label not in ("ERR", "MIS")} == expected


WIDE = st.lists(st.integers(0, 2**32 - 1), min_size=70, max_size=70)


@given(
    WIDE,
    st.lists(st.tuples(st.integers(0, 69), st.integers(0, 2**32 - 1)), max_size=5),
    st.sampled_from(["  chip 24-edge  eth0", ""]),
)
def test_a_wide_row_that_moved_in_few_columns_is_parsed_like_a_new_one(counts, moves, text):
    def raw():
        rows = [("24", counts, text), ("25", [7] * 70, text)]
        head = " " * 6 + "".join(f"CPU{cpu:<8}" for cpu in range(70))
        lines = (f"{label:>4}: " + " ".join(f"{c:>10}" for c in row) + end for label, row, end in rows)
        return "\n".join([head, *lines, ""]).encode()

    parser = Parser()
    parser.parse(raw())
    for place, count in moves:
        counts = [*counts[:place], count, *counts[place + 1 :]]
        assert parser.parse(raw()) == parse(raw())
    # a row whose columns are not where the kernel puts them
    crooked = raw().replace(b" %10d %10d" % (7, 7), b"%11d  %9d" % (7, 7), 3).replace(b" " * 9 + b"7", b" 7 7 7 7 7", 1)
    assert parser.parse(crooked) == parse(crooked)
    odd = raw().replace(b" 7", b"x7", 1).replace(b" 24:", b"ERR:")
    for each in (odd, odd.replace(b"x7", b" 9"), odd.replace(b" 7", b" 8")):
        assert parser.parse(each) == parse(each)


@given(st.lists(st.text(alphabet="0 1:7\n\tA", max_size=40), min_size=2, max_size=4))
def test_rubbish_that_moves_is_parsed_like_new_rubbish(bodies):
    parser = Parser()
    for body in bodies:
        raw = b"    CPU0   CPU1\n" + body.encode()
        assert parser.parse(raw) == parse(raw)
