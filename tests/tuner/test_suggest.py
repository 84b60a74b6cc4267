"""A suggested profile plans cleanly on its host and never isolates a housekeeping sibling, on whatever host."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import Sim

from tuner.cores import CoreSets
from tuner.host.cpulist import parse_list
from tuner.host.host import Host, Inventory, open_host
from tuner.plan import build
from tuner.profile_files import load
from tuner.suggest.suggestion import Suggestion, suggest

SHAPES = [
    {"nodes": 1, "cores": 1, "smt": 1, "nics": 1, "queues": 1},
    {"nodes": 1, "cores": 1, "smt": 2, "nics": 1, "queues": 2},
    {"nodes": 1, "cores": 2, "smt": 1, "nics": 1, "queues": 2},
    {"nodes": 1, "cores": 4, "smt": 2, "nics": 1, "queues": 4},
    {"nodes": 2, "cores": 4, "smt": 2, "nics": 2, "queues": 4},
    {"nodes": 2, "cores": 16, "smt": 2, "nics": 2, "queues": 8},
    {"nodes": 4, "cores": 2, "smt": 1, "nics": 4, "queues": 2},
]


def held(host: Host, made: Suggestion, tmp_path) -> None:
    """The text, read as anybody's profile: no fault, nothing failed, housekeeping whole."""
    path = tmp_path / "suggested.toml"
    path.write_text(made.text)
    inventory = Inventory(host)
    profile = load(host.files, str(path))
    bound = {"feed": made.nic.name} if made.nic else {}
    plan = build(inventory, profile, bound)
    assert {c.knob for c in plan.changes} == {c.knob for c in made.plan.changes}
    assert not [c for c in plan.changes if c.state in ("failed", "gone")]
    topology = inventory.topology
    sets = CoreSets(inventory, profile.texts("cores"), bound)
    housekeeping = sets.named("housekeeping")
    assert housekeeping
    isolated = (
        sets.evaluate(str(profile.settings["isolation", "cores"].value)) if profile.get("isolation", "cores") else frozenset()
    )
    assert not isolated & topology.siblings(housekeeping)
    assert 0 not in isolated
    assert isolated < topology.online
    assert topology.siblings(isolated) == isolated  # whole cores
    for name, cpus in made.plan.roles.items():
        assert sets.named(name) == parse_list(cpus)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape.values())))
def test_on_simulated_hosts_of_every_size(new_sim: Callable[..., Sim], shape: dict[str, int], tmp_path) -> None:
    sim = new_sim(**shape)
    made = suggest(Inventory(sim.host))
    held(sim.host, made, tmp_path)
    assert made.nic is not None
    assert sim.changed() == []


@pytest.mark.parametrize(
    "name", ["lab-8cpu-2numa", "lab-8cpu-2numa-isolated", "intel-2node-16core-i350-connectx3", "intel-4node-interleaved-bnx2"]
)
def test_on_captured_hosts(captured_host: Callable[[str], str], name: str, tmp_path) -> None:
    host = open_host(captured_host(name))
    made = suggest(Inventory(host))
    held(host, made, tmp_path)
    if name.endswith("isolated"):  # what was isolated at boot is what trades
        booted = Inventory(host).topology.boot_isolated
        assert parse_list(made.plan.roles["rx"]) <= booted
        assert not parse_list(made.plan.roles["housekeeping"]) & booted


def test_on_this_host(tmp_path) -> None:
    host = open_host()
    held(host, suggest(Inventory(host)), tmp_path)


def test_what_the_host_does_not_have_is_a_comment_that_says_why(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim()
    Path(sim.root + "/ethtool/eth2.json").write_text('{"driver": "virtio_net"}')
    made = suggest(Inventory(sim.host))
    assert any(line.startswith('# rings.rx = "max:4096"    # not here: ') for line in made.text.splitlines())
    assert "rings" not in str(tomllib.loads(made.text).get("nic", {}))
    assert ("nic.feed.rings.rx") in dict(made.left_out)


def test_a_hostile_host_name_stays_a_text(sim: Sim) -> None:
    sim.write("/proc/sys/kernel/hostname", 'a"\\\x1b]0;x')
    made = suggest(Inventory(sim.host))
    assert tomllib.loads(made.text)["summary"].startswith("Suggested for a")
    assert "\x1b" not in made.text


def test_the_command_prints_a_profile_and_knows_its_interfaces(sim: Sim) -> None:
    done = sim.run("suggest", "--bind", "md=eth2")
    assert done.returncode == 0
    assert tomllib.loads(done.stdout)["bind"] == {"md": "nic"}
    assert sim.json("suggest", status=0)["nic"] == "eth2"
    wrong = sim.run("suggest", "--bind", "md=eth9")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "no interface 'eth9' here" in wrong.stderr
