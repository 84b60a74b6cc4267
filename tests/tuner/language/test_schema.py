"""The published schema: current, right about every profile there is, and of one mind with the checker."""

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
from engine import PROJECT, run_quietcore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.host.files import HostFiles
from tuner.knobs.catalogue import ENTRIES
from tuner.language.entry import PART
from tuner.language.places import part_of
from tuner.language.schema import DRAFT, profile_schema
from tuner.language.tables import ListOf, PerCpu, Table
from tuner.language.values import Cores, Flag, Kind, Text, Whole, Word
from tuner.profile import Document
from tuner.profile_check import PART_NAME, check_layer
from tuner.profile_files import SHIPPED

PUBLISHED = PROJECT / "docs" / "profile.schema.json"
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", (PROJECT / "docs" / "profiles.md").read_text(), re.MULTILINE | re.DOTALL)
FIXTURES = [*SHIPPED.glob("*.toml"), *(PROJECT / "tests" / "faults" / "knobs").glob("*.toml")]
VALIDATOR = jsonschema.Draft202012Validator(profile_schema())
# an empty string, a blank, control characters, what bidi text and terminals obey, digits of other scripts, and plain words
STRINGS = st.one_of(
    st.sampled_from(["", " ", "rx", "rx + app", "max", "max:4", "max:0", "max:\u0661", "at-least:5", "at-most:x", "count(rx)"]),
    st.sampled_from(["n/a", "a\tb", "a\u202eb", "a\x1bb", "a\x7f", "x" * 64, "x" * 65, "x" * 1000, "x" * 1001, "performance"]),
    st.text(max_size=8),
)  # fmt: skip
NUMBERS = st.one_of(st.integers(-3, 5), st.integers(), st.just(10**30))
FLOATS = st.floats().filter(lambda value: not value.is_integer())  # a schema takes 1.0 for an integer
SCALARS = st.one_of(st.booleans(), NUMBERS, FLOATS, STRINGS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["rx", "cores", "spread", "", "a\x1b", "0"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def said(value: object) -> list[str]:
    return [f"{'.'.join(map(str, error.path))}: {error.message}"[:200] for error in VALIDATOR.iter_errors(value)]


def test_the_published_schema_is_what_the_families_say():
    done = run_quietcore("profiles", "schema")
    assert done.returncode == 0, done.stderr
    assert PUBLISHED.read_text(encoding="utf-8") == done.stdout, "run: quietcore profiles schema > docs/profile.schema.json"
    schema = json.loads(done.stdout)
    assert schema["$schema"] == DRAFT
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(run_quietcore("profiles", "schema", "--json").stdout)["profile_schema"] == schema


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_every_profile_is_good_by_the_schema(path: Path):
    assert said(tomllib.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("text", BLOCKS, ids=lambda text: text.splitlines()[0][:40])
def test_every_example_of_the_document_is_good_by_the_schema(text: str):
    assert said(tomllib.loads(text)) == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: ".".join(entry.place))
def test_every_place_is_in_the_schema_with_its_line(entry):
    node = profile_schema()
    for word in entry.place:
        node = next(iter(node["patternProperties"].values())) if word == PART else node["properties"][word]
    assert node["description"] == entry.about


# Words whose numbers no schema compares; all else must be judged alike.
HIDDEN = re.compile(r"^(?:at-least|at-most|max|count)\b")


def hides(value: object) -> bool:
    if isinstance(value, dict):
        return any(hides(each) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return any(hides(each) for each in value)
    return isinstance(value, str) and bool(HIDDEN.match(value))


def agree(kind: Kind, value: object) -> None:
    faults: list[str] = []
    good = kind.check(value, lambda what, _hint="", *_below: faults.append(what)) is not None
    assert good == (not faults)
    by_schema = jsonschema.Draft202012Validator(kind.schema()).is_valid(value)
    assert by_schema or not good, f"the checker takes {value!r}, the schema does not"
    if not hides(value):
        assert good or not by_schema, f"the schema takes {value!r}, the checker says {faults}"


KINDS: dict[str, Kind] = {
    "flag": Flag(),
    "whole": Whole(1, 100, "descriptors", named=("n/a",), maximum=True, counted=True),
    "bare whole": Whole(0, 3, bounds=False),
    "word": Word(("performance", "powersave")),
    "free word": Word(),
    "text": Text("x", 20),
    "cores": Cores(),
    "per cpu": PerCpu(Whole(0, 5)),
    "table": Table({"rx": Flag(), "cores": Cores(), "spread": Word(("all",))}, required=("cores",), short="cores"),
    "list": ListOf(Table({"rx": Whole(0, 9)}), 3),
} | {  # each sort of value that a family has, once
    f"entry {'.'.join(entry.place)}": entry.kind for entry in {json.dumps(e.kind.schema()): e for e in ENTRIES}.values()
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@given(value=VALUES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_kind_and_its_schema_judge_alike(kind: Kind, value: object):
    agree(kind, value)


@pytest.mark.parametrize(
    ("kind", "value", "good"),
    [
        ("whole", 0, False), ("whole", 1, True), ("whole", 100, True), ("whole", 101, False), ("whole", True, False),
        ("whole", "max", True), ("whole", "max:7", True), ("whole", "n/a", True), ("whole", "maximum", False),
        ("whole", "count(rx + 1)", True), ("whole", "count(\x1b)", False), ("bare whole", "at-least:1", False),
        ("word", ["performance"], True), ("word", [], False), ("word", ["x"], False), ("cores", 3, True),
        ("cores", -3, False),
        ("text", "x" * 20, True), ("text", "x" * 21, False), ("text", " ", False), ("text", "a\u2028", False),
        ("per cpu", {"rx": 5}, True), ("per cpu", {}, False), ("per cpu", {"rx": 6}, False), ("per cpu", {"": 5}, False),
        ("table", "rx", True), ("table", {"rx": True}, False), ("table", {"cores": "0", "x": 1}, False),
        ("list", [{"rx": 1}] * 4, False),
    ],
)  # fmt: skip
def test_what_both_take_and_refuse(kind, value, good):
    agree(KINDS[kind], value)
    assert jsonschema.Draft202012Validator(KINDS[kind].schema()).is_valid(value) == good


WORDS = st.sampled_from(
    ["feed", "rx", "default", "rings", "vm.swappiness", "net.core.busy_poll", "net", "core", "vm", "kernel", "watchdog",
     "busy_poll", "vm.drop_caches", "kernel.core_pattern", "net.ipv4.conf.all.rp_filter", "", "a\x1b", "first", "all",
     "Feed", "cores"]
)  # fmt: skip
TOPS = st.sampled_from(["summary", "extends", "bind", "cores", "irq", "nic", "isolation", "sysctl", "drop", "require", "cors"])
SENSIBLE = st.sampled_from(["nic", "base", ["base"], "count(rx) >= 4", ["count(rx) >= 4"], ["irq.feed"], 50, "0-3"])
LEAVES = st.one_of(VALUES, SENSIBLE)
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(WORDS, inner, min_size=1, max_size=2), max_leaves=3)


@given(TOPS, st.one_of(TREES, st.dictionaries(WORDS, LEAVES, min_size=1, max_size=2)))
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_table_is_judged_alike(top: str, value: object):
    table = {top: value}
    layer = check_layer(Document("own.toml", "", table))
    unnamed = [place for place in layer.settings if (part := part_of(place)) is not None and not PART_NAME.fullmatch(part)]
    faults = [*layer.faults, *unnamed]  # a part that no table can bind
    told = said(table)
    assert faults or not told or empties(value), (table, told)
    # requirements have a grammar of their own, what is dropped needs a table; the checker alone sees a name in pieces
    if not hides(value) and top not in ("require", "drop") and not (top == "sysctl" and nested(value)):
        assert told or not faults, (table, faults)


def empties(value: object) -> bool:
    """An empty table of an unknown name sets nothing: the checker has nothing to say of it."""
    return isinstance(value, dict) and any(each == {} or empties(each) for each in value.values())


def nested(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(each, dict) for each in value.values())


@pytest.mark.parametrize(
    "text",
    [
        "x = 1", "[x]", "summary = 3", f'summary = "{"x" * 201}"', 'extends = ["../x"]', 'extends = "base"', "drop = [3]",
        'require = "x"',
        'bind.feed = "disk"', 'bind.Feed = "nic"', 'cores.first = "0"', 'cores.kernel = "0"', 'cores.rx = ""',
        "cores.rx = true",
        "irq.default = 1.5", 'irq.feed = { core = "rx" }', 'irq.feed = { cores = "rx", spread = "evenly" }', "nic.feed = 3",
        "nic.x.rings.rx = 0",
        "nic.x.rings.rxx = 1", "nic.x.ring = {}", 'isolation.cors = "rx"', 'sysctl."kernel.core_pattern" = "|x"',
        'sysctl."vm.drop_caches" = 3',
        'sysctl."vm.swappiness" = nan', 'sysctl."vm.stat_interval" = "at-least:many"', 'sysctl."../../x" = 1',
        f'sysctl."vm.x" = {10**30}',
    ],
)  # fmt: skip
def test_what_the_checker_refuses_the_schema_refuses(text: str, tmp_path: Path):
    table = tomllib.loads(text)
    assert check_layer(Document("own.toml", "", table)).faults
    assert said(table)
    assert HostFiles(tmp_path)


def test_sysctls_with_and_without_quotes_are_good():
    text = """
        [sysctl]
        net.core.busy_poll = 50
        "net.core.busy_read" = 50
        vm = { swappiness = 1 }
        "net.ipv4".tcp_rmem = "1\\t2 3"
        kernel.watchdog = false
    """
    table = tomllib.loads(text)
    assert check_layer(Document("own.toml", "", table)).faults == []
    assert said(table) == []
