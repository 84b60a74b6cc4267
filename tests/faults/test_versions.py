"""The tool was updated, or put back to the version before, between apply and rollback (R20)."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import Sim
from port import Faults, die, faulty, in_child

from tuner.journal import READABLE_FROM, SCHEMA, decode, encode

pytestmark = pytest.mark.promise("R20")
GOLDEN = Path(__file__).parent / "golden"
VERSIONS = ("first", "current", "next")


def written_by(version: str) -> bytes:
    return (GOLDEN / f"{version}-confirmed.journal").read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_another_version_applied_is_rolled_back(sim: Sim, version: str) -> None:
    sim.apply()
    path = Path(sim.store.get(1).path)
    path.write_bytes(written_by(version))
    assert sim.json("verify", status=0)["profile"]["name"] == "feed-handler"
    undone = sim.json("rollback", status=0)["undone"]
    assert {each["result"] for each in undone} == {"restored"}
    assert sim.changed() == []
    assert sim.json("history", status=0)["transactions"][0]["state"] == "rolled-back"
    assert sim.run("history", "1").returncode == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_what_another_version_left_in_the_middle_is_recovered(new_sim: Callable[..., Sim], version: str) -> None:
    """At every change: this version makes the host half-changed, the other one's journal says how far it was."""
    records = decode(written_by(version)).records
    writes = [place for place, record in enumerate(records) if record["record"] == "write"]
    sim = new_sim()
    for place in writes[::3]:
        change = records[1]["changes"][records[place]["n"]]
        faults = Faults()

        def until(faults: Faults = faults, change: dict[str, object] = change) -> None:
            def progress(line: str) -> None:
                if line.startswith(f"{change['knob']} {change['target']}:"):
                    die()

            sim.apply(host=faulty(sim, faults), progress=progress)

        assert in_child(until)
        number = sim.store.numbers()[-1]
        Path(sim.store.get(number).path).write_bytes(b"".join(map(encode, records[: place + 1])))
        assert sim.run("recover").returncode == 0
        assert sim.changed() == [], change["knob"]
        shutil.rmtree(sim.state)


def test_a_version_that_this_one_cannot_follow_is_left_alone(sim: Sim) -> None:
    sim.apply()
    before = sim.changed()
    path = Path(sim.store.get(1).path)
    begin, *rest = decode(path.read_bytes()).records
    foreign = b"".join(map(encode, [{**begin, "schema": SCHEMA + 8, "readable_from": SCHEMA + 1}, *rest]))
    path.write_bytes(foreign)
    for words in (("recover",), ("rollback",), ("apply", "base")):
        refused = sim.json(*words, status=4)
        assert "this version does not read" in refused["error"]
    assert sim.json("history", status=0)["transactions"][0]["state"] == "damaged"
    assert path.read_bytes() == foreign
    assert sim.changed() == before


def test_this_version_says_who_may_read_its_journals(sim: Sim) -> None:
    sim.apply("base")
    begin = sim.store.get(1).begin
    assert (begin["schema"], begin["readable_from"]) == (SCHEMA, READABLE_FROM)
    assert READABLE_FROM <= SCHEMA
