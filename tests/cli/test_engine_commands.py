"""The engine through its real commands: the whole round on a simulated host, exit statuses, and the shape of the JSON."""

import json
import os
from collections.abc import Callable

import pytest
from engine import Sim, run_quietcore, tree_of

APPLY = ("apply", "feed-handler", "--allow", "link")
CHANGE = {"knob", "target", "now", "wanted", "effective", "state", "disruption", "why", "undo", "error"}


def test_the_whole_round(sim: Sim) -> None:
    plan = sim.json("plan", "feed-handler", status=2)
    assert next(iter(plan)) == "schema"
    assert plan["command"] == "plan"
    assert plan["changed"] is False
    assert plan["transaction"] is None
    assert set(plan["changes"][0]) >= CHANGE
    ring = next(change for change in plan["changes"] if change["knob"] == "nic.rings.rx")
    assert (ring["target"], ring["now"], ring["wanted"], ring["state"], ring["disruption"]) == (
        "eth2",
        512,
        4096,
        "differs",
        "link",
    )
    assert ring["why"] == "feed-handler.toml: nic.feed.rings.rx"
    assert ring["undo"] == 512
    assert sim.changed() == []

    refused = sim.json("apply", "feed-handler", status=4)
    assert "--allow link" in refused["error"]
    assert sim.changed() == []

    applied = sim.json(*APPLY, status=0)
    assert applied["changed"] is True
    assert applied["transaction"] == 1
    assert applied["summary"]["differs"] == 0
    verdict = sim.json("verify", status=0)
    assert verdict["profile"] == applied["profile"]
    rx = [change for change in verdict["changes"] if change["why"].endswith("irq.feed")]
    assert rx
    assert all(change["effective"] == change["wanted"] for change in rx)

    tree = tree_of(sim.root)
    again = sim.json(*APPLY, status=0)
    assert again["changed"] is False
    assert tree_of(sim.root) == tree
    assert len(sim.store.all()) == 1

    undone = sim.json("rollback", status=0)
    assert {each["result"] for each in undone["undone"]} == {"restored"}
    assert sim.changed() == []
    history = sim.json("history", status=0)["transactions"]
    assert [(t["transaction"], t["state"]) for t in history] == [(1, "rolled-back")]


def test_drift_shows_and_is_left_alone(sim: Sim) -> None:
    sim.json(*APPLY, status=0)
    sim.write("/proc/sys/net/core/busy_poll", "7")
    verdict = sim.json("verify", status=2)
    assert [c["knob"] for c in verdict["changes"] if c["state"] == "differs"] == ["sysctl.net.core.busy_poll"]
    undone = sim.json("rollback", status=0)["undone"]
    assert [u["knob"] for u in undone if u["result"] == "skipped"] == ["sysctl.net.core.busy_poll"]
    assert sim.changed() == ["/proc/sys/net/core/busy_poll"]


def test_confirm_in_time_keeps_and_afterwards_there_is_nothing_to_confirm(sim: Sim) -> None:
    applied = sim.json(*APPLY, "--confirm-within", "60s", status=0)
    assert applied["outcome"] == "applied"
    pending = sim.json("apply", "base", status=4)
    assert "quietcore confirm 1" in pending["error"]
    assert sim.json("confirm", status=0)["transaction"] == 1
    assert sim.json("confirm", status=4)["error"]
    sim.json("rollback", status=0)
    assert sim.changed() == []


def test_a_profile_of_ones_own(sim: Sim) -> None:
    directory = f"{sim.root}/etc/quietcore/profiles"
    os.makedirs(directory)
    with open(f"{directory}/mine.toml", "w") as file:
        file.write('summary = "mine"\nextends = ["base"]\n[sysctl]\n"vm.swappiness" = 3\n')
    names = {p["name"]: p for p in sim.json("profiles", "list", status=0)["profiles"]}
    assert names["mine"]["where"] == "local"
    wanted = {c["knob"]: (c["wanted"], c["why"]) for c in sim.json("plan", "mine", status=2)["changes"]}
    assert wanted["sysctl.vm.swappiness"] == (3, "mine.toml: sysctl.vm.swappiness")
    assert wanted["sysctl.vm.stat_interval"][1] == "base.toml: sysctl.vm.stat_interval"
    sim.json("apply", "mine", status=0)
    assert sim.text("/proc/sys/vm/swappiness") == "3\n"


def test_observe_is_as_wanted_everywhere(sim: Sim) -> None:
    assert sim.json("plan", "observe", status=0)["changes"] == []
    assert sim.json("apply", "observe", status=0)["changed"] is False
    assert sim.store.all() == []


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("plan",), 1), (("plan", "nosuch"), 1), (("nonsense",), 1), (("plan", "feed-handler", "--bind", "feed=eth9"), 1),
        (("plan", "feed-handler", "--bind", "feed"), 1), (("apply", "base", "--allow", "everything"), 1),
        (("apply", "base", "--confirm-within", "soon"), 1), (("rollback", "99"), 4), (("confirm",), 4), (("rollback",), 0),
        (("recover",), 0), (("history",), 0), (("profiles", "check", "/nonexistent.toml"), 1), (("verify",), 1),
    ],
)  # fmt: skip
def test_exit_statuses(sim: Sim, arguments: tuple[str, ...], status: int) -> None:
    done = sim.run(*arguments)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert sim.changed() == []


@pytest.mark.parametrize(
    "name",
    ["lab-8cpu-2numa", "lab-8cpu-2numa-isolated", "intel-2node-16core-i350-connectx3", "intel-4node-interleaved-bnx2"],
)
def test_plans_of_real_hosts_are_sensible_or_clearly_refused(captured_host: Callable[[str], str], name: str, tmp_path) -> None:
    root = captured_host(name)
    unbound = run_quietcore("plan", "feed-handler", "--json", root=root, state=str(tmp_path))
    assert unbound.returncode == 1
    assert "this host has:" in json.loads(unbound.stdout)["error"]
    for nic in sorted(os.listdir(f"{root}/sys/class/net")):
        done = run_quietcore("plan", "feed-handler", "--bind", f"feed={nic}", "--json", root=root, state=str(tmp_path))
        assert "Traceback" not in done.stderr
        record = json.loads(done.stdout)
        if done.returncode == 1:
            assert record["error"]
            continue
        assert done.returncode in (0, 2)
        assert not {c["state"] for c in record["changes"]} & {"failed", "gone"}
        roles = record["roles"]
        assert not set(roles["rx"].split(",")) & set(roles["housekeeping"].split(","))
        isolated = next(c["wanted"] for c in record["changes"] if c["knob"] == "isolation.partition")
        assert not isolated.split()[1].startswith("0")


@pytest.mark.parametrize(("running", "said"), [("", "sysctl --system"), ("tuned", "tuned (process 811)")])
def test_drift_is_told_with_who_may_have_done_it(sim: Sim, running: str, said: str) -> None:
    if running:
        path = f"{sim.root}/threads.json"
        document = json.loads(sim.text("/threads.json"))
        row = next(r for r in document["threads"] if not r["kernel"] and r["tid"] == r["pid"] and r["pid"] > 1)
        row |= {"name": running, "tid": 811, "pid": 811}
        with open(path, "w") as file:
            json.dump(document, file)
    sim.json("apply", "base", status=0)
    sim.write("/proc/sys/vm/swappiness", "33")
    (drifted,) = [c for c in sim.json("verify", status=2)["changes"] if c["state"] == "differs"]
    assert drifted["note"].startswith("changed since it was applied")
    assert said in drifted["note"]
