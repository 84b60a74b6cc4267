"""``quietcore explain``: every knob says what it is, where a profile asks for it with which value, and how it stands here."""

import json
import re

import pytest
from engine import Sim, run_quietcore, tree_of

from tuner.host.host import Inventory, open_host
from tuner.knobs import sysctl_notes
from tuner.knobs.boot_words import Never
from tuner.knobs.catalogue import ENTRIES, FAMILIES, KNOBS, knob_of
from tuner.knobs.knob import About
from tuner.language import reference
from tuner.language.places import entry_of
from tuner.profile import Document
from tuner.profile_check import check_layer
from tuner.profile_files import load

REFERENCES = (*reference.references(), *reference.sysctl_references())
KNOBS_BY_NAME = {knob.family: knob for knob in KNOBS}


def test_the_list_names_every_knob_below_its_family():
    done = run_quietcore("explain")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    named = [line.split()[0] for line in lines if line.startswith("  ")]
    noted = {each.name for each in reference.sysctl_references()}
    assert [name for name in named if name not in noted] == [knob.family for knob in KNOBS]
    assert {each.name for each in reference.sysctl_references()} <= set(named)
    assert [line for line in lines if not line.startswith("  ")] == [family.name for family in FAMILIES if family.knobs]
    assert all(each.about.summary in done.stdout for each in REFERENCES)


def test_json_has_all_that_there_is_of_all():
    record = json.loads(run_quietcore("explain", "--json").stdout)
    assert (record["schema"], record["command"]) == ("quietcore/1", "explain")
    assert [each["knob"] for each in record["knobs"]][: len(KNOBS)] == [knob.family for knob in KNOBS]
    for each in record["knobs"]:
        assert set(About.__slots__) | {"disruption", "resets", "privilege", "irreversible", "profile", "family"} <= set(each)
        assert each["profile"], each["knob"]


@pytest.mark.parametrize("each", REFERENCES, ids=lambda each: each.name)
def test_every_knob_teaches(each):
    about = each.about
    assert about.summary
    assert about.why
    assert about.where
    assert not about.summary.endswith(".")
    assert each.asked, "no place of a profile leads to it"
    assert not re.search(r"[\x00-\x1f\x7f]", repr(about.__class__) + about.summary + about.why + about.where)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: ".".join(entry.place))
def test_every_place_leads_to_a_knob(entry):
    assert any(entry in reference.entries_of(knob, family) for family in FAMILIES for knob in family.knobs)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: ".".join(entry.place))
def test_the_sample_of_a_place_is_taken_there(entry):
    import tomllib

    line = reference.example_of(entry)
    if not line:  # it is there to be refused
        assert isinstance(entry.kind, Never)
        assert not any(entry.place[-1] in asked.place for each in REFERENCES for asked in each.asked)
        return
    table = tomllib.loads(line)
    layer = check_layer(Document("own.toml", "", table))
    assert layer.faults == []
    assert len(layer.settings) == 1


def test_what_a_plan_says_of_a_place_the_reference_says_too(new_sim):
    """The wishes of a profile come from places that lead to the knobs that they are of."""
    from pathlib import Path

    sim = new_sim(nodes=2, cores=4, smt=1, nics=2, queues=4)
    families = {knob.family: family for family in FAMILIES for knob in family.knobs}
    seen = 0
    for path in (Path(__file__).parents[1] / "faults" / "knobs").glob("*.toml"):
        profile = load(sim.host.files, str(path))
        bindings = dict(zip(profile.texts("bind"), ("eth2", "eth3"), strict=False))
        for change in sim.plan(str(path), bindings).changes:
            place = tuple(change.why.partition(": ")[2].split("."))
            entry = entry_of(place)
            if entry is not None:
                knob = knob_of(change.knob)
                assert entry in reference.entries_of(knob, families[knob.family]), (change.knob, change.why)
                seen += 1
    assert seen > 10


def test_one_knob_with_its_readings(sim: Sim):
    before = tree_of(sim.root)
    done = sim.run("explain", "nic.rings.rx")
    assert done.returncode == 0
    for words in (
        "nic.rings.rx: Receive descriptors",
        "ethtool -g IF",
        "the link",
        'nic.feed.rings.rx = "max"',
        "eth2: 512",
        "needs",
    ):
        assert words in done.stdout, words
    (record,) = sim.json("explain", "nic.rings.rx", status=0)["knobs"]
    assert record["here"] == [{"target": "eth2", "now": 512, "effective": 512, "note": "", "error": ""}]
    assert tree_of(sim.root) == before


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nic.rings.rx", {"nic.rings.rx"}), ("nic.rings", {"nic.rings.rx", "nic.rings.tx"}),
        ("nic.feed.rings.rx", {"nic.rings.rx"}),
        ("nic.PART.rings.tx", {"nic.rings.tx"}), ("irq", {"irq.affinity", "irq.default_affinity"}),
        ("irq.feed", {"irq.affinity"}),
        ("irq.feed.spread", {"irq.affinity"}), ("irq.default", {"irq.default_affinity", "irq.affinity"}),
        ("sysctl", {"sysctl"}), ("nic.features.rx-gro", {"nic.features.rx-gro"}),
        ("nic.feed.features.gro", {"nic.features"}), ("power.min_freq_khz", {"power.freq_khz"}),
        ("services.irqbalance", {"services.irqbalance_bans", "services.stopped"}),
        ("sysctl.vm.swappiness", {"sysctl.vm.swappiness"}), ("vm.swappiness", {"sysctl.vm.swappiness"}),
        ('sysctl."vm.swappiness"', {"sysctl.vm.swappiness"}),
        ("isolation.cores", {"isolation.partition", "isolation.user_threads"}),
    ],
)  # fmt: skip
def test_names_prefixes_places_and_sysctls_are_found(text, names):
    assert names <= {each.name for each in reference.find(text)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nic.ring.rx", "did you mean nic.rings.rx?"),
        ("sysctl.kernel.core_pattern", "there is no such knob"),
        ("", "there is no such knob"),
        ("\x1b[2J", "quietcore explain lists them"),
        ("a" * 5000, "there is no such knob"),
    ],
)
def test_what_is_no_knob_is_told(sim: Sim, text, said):
    done = sim.run("explain", text)
    assert done.returncode == 1
    assert said in done.stderr
    assert "\x1b" not in done.stderr
    assert said in sim.json("explain", text, status=1)["error"]


def test_a_sysctl_of_which_something_is_written_says_so():
    (found,) = reference.find("net.core.netdev_budget_usecs")
    assert found.about == sysctl_notes.about_of("net.core.netdev_budget_usecs")
    (other,) = reference.find("vm.laptop_mode")
    assert other.about == KNOBS_BY_NAME["sysctl"].about
    told = {each.name for each in (*reference.sysctl_references(), *reference.references())}
    assert {f"sysctl.{name}" for name in sysctl_notes.names()} <= told
    with pytest.raises(KeyError, match=r"sysctl\.vm\.swappiness"):
        reference.find("sysctl.vmswappiness")


def test_a_sysctl_with_its_value(sim: Sim):
    (record,) = sim.json("explain", "vm.swappiness", status=0)["knobs"]
    assert record["knob"] == "sysctl.vm.swappiness"
    assert record["here"][0]["now"] == 60
    (record,) = sim.json("explain", "vm.no_such_thing", status=0)["knobs"]
    assert record["here"][0]["error"] == "this kernel has no /proc/sys/vm/no_such_thing"
    (record,) = sim.json("explain", "net.ipv4.ip_forward", status=0)["knobs"]
    assert record["irreversible"]


@pytest.mark.parametrize("name", [knob.family for knob in KNOBS])
def test_this_machine_is_read_without_a_fault(name):
    inventory = Inventory(open_host())
    for standing in reference.standings(inventory, name):
        assert standing.target
        assert standing.error or standing.note or standing.now is not None or standing.effective is not None


@pytest.mark.parametrize(("name", "something"), [("lab-8cpu-2numa", True), ("intel-4node-interleaved-bnx2", False)])
def test_captured_hosts_are_read_without_a_fault(captured_host, name, something):
    inventory = Inventory(open_host(captured_host(name)))
    read = [standing for knob in KNOBS for standing in reference.standings(inventory, knob.family)]
    assert read
    assert any(not standing.error for standing in read) or not something


def test_a_long_list_is_cut_for_people_and_whole_in_json(new_sim):
    sim = new_sim(nodes=2, cores=8, smt=1, nics=2, queues=8)
    done = sim.run("explain", "irq.affinity")
    assert "more: --json has them" in done.stdout
    (record,) = sim.json("explain", "irq.affinity", status=0)["knobs"]
    assert len(record["here"]) > 16
