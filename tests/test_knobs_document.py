"""docs/knobs.md says what the knobs say and how each was checked: each has a row, and every test that a row names is there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tuner.knobs.catalogue import FAMILIES, knob_of

ROOT = Path(__file__).resolve().parents[1]
EVIDENCE = tomllib.loads((ROOT / "tests" / "knob_evidence.toml").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "knobs.md").read_text(encoding="utf-8")
NAMES = [knob.family for family in FAMILIES for knob in family.knobs]


def test_the_document_is_what_the_tool_writes():
    run = subprocess.run([sys.executable, ROOT / "tools" / "knobtable", "-"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == PAGE, "run tools/knobtable"


def test_every_knob_has_its_row_and_no_other_has():
    assert sorted(EVIDENCE) == sorted(NAMES)
    assert re.findall(r"^### `(.*)`$", PAGE, re.MULTILINE) == NAMES


@pytest.mark.parametrize("name", EVIDENCE)
def test_every_test_that_a_row_names_is_there(name):
    row = EVIDENCE[name]
    assert row, "checked by nothing"
    assert set(row) <= {"host", "lab", "simulated"}
    for kind, tests in row.items():
        assert tests, kind
        for test in tests:
            path, _, function = test.partition("::")
            assert (ROOT / path).is_file(), test
            assert path.startswith("tests/lab/") == (kind == "lab"), test
            text = (ROOT / path).read_text(encoding="utf-8")
            assert function or path.endswith(".toml"), f"{test}: which test of it?"
            assert not function or re.search(rf"^def {re.escape(function)}\(", text, re.MULTILINE), test


def test_a_profile_of_faults_that_a_row_names_sets_the_knob(new_sim):
    from tuner.host.host import Inventory
    from tuner.plan import build
    from tuner.profile_files import load

    sim = new_sim(nodes=2, cores=4, smt=1, nics=2, queues=4)
    for path in {test for row in EVIDENCE.values() for test in row.get("simulated", []) if test.endswith(".toml")}:
        profile = load(sim.host.files, str(ROOT / path))
        plan = build(Inventory(sim.host), profile, dict(zip(profile.texts("bind"), ("eth2", "eth3"), strict=False)))
        held = {knob_of(change.knob).family for change in plan.differing}
        named = {name for name, row in EVIDENCE.items() if path in row.get("simulated", [])}
        assert named <= held, f"{path} changes none of {sorted(named - held)}"


def test_the_counts_of_the_document_are_those_of_the_rows():
    *_, total = re.findall(r"^\| all \| (.*) \|$", PAGE, re.MULTILINE)
    knobs, host, lab, simulated, real, alone = map(int, total.split(" | "))
    kinds = [set(row) for row in EVIDENCE.values()]
    assert knobs == len(NAMES)
    assert (host, lab, simulated) == tuple(sum(kind in each for each in kinds) for kind in ("host", "lab", "simulated"))
    assert real == sum(bool(each & {"host", "lab"}) for each in kinds)
    assert alone == sum(each == {"simulated"} for each in kinds)
    assert real + alone == knobs
