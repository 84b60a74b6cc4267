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
