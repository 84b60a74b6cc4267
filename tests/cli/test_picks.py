"""A part of a plan, and a plan on top of what is applied: by the real commands, with the host compared to the byte."""

import json
from collections.abc import Callable

import pytest
from engine import Sim

RING = "nic.rings.rx@eth2"
STATES = {"ok", "ok-rounded", "kernel-managed"}


def states(record: dict) -> dict[str, str]:
    return {f"{c['knob']}@{c['target']}": c["state"] for c in record["changes"]}


def test_only_what_was_picked_is_changed(sim: Sim) -> None:
    whole = states(sim.json("plan", "feed-handler"))
    plan = sim.json("plan", "feed-handler", "--only", RING, "--only", "sysctl.vm.swappiness@host", status=2)
    assert {key for key, state in states(plan).items() if state == "differs"} == {RING, "sysctl.vm.swappiness@host"}
    assert {key for key, state in whole.items() if state == "ok"} <= set(states(plan))
    assert sim.changed() == []
    applied = sim.json("apply", "feed-handler", "--only", RING, "--allow", "link", status=0)
    assert applied["summary"]["differs"] == 0
    assert states(applied)[RING] == "ok"
    assert sim.json("verify", status=0)["profile"] == applied["profile"]
    assert sim.json("history")["transactions"][0]["writes"] == 1
    sim.json("rollback", status=0)
    assert sim.changed() == []


def test_what_a_request_names_is_only_what_was_picked(sim: Sim) -> None:
    profile = sim.profile('[bind]\nfeed = "nic"\n[nic.feed]\ncoalesce = { adaptive_rx = false, rx_usecs = 50 }\n')
    picked = "nic.coalesce.adaptive_rx@eth2"
    plan = states(sim.json("plan", profile, status=2))
    assert [state for key, state in plan.items() if "coalesce" in key] == ["differs", "differs"], plan
    sim.json("apply", profile, "--only", picked, "--allow", "link", status=0)
    after = states(sim.json("plan", profile, status=2))
    assert after[picked] == "ok"
    assert [key for key, state in after.items() if state == "differs"] == ["nic.coalesce.rx_usecs@eth2"]


def test_a_pick_that_is_not_in_the_plan_is_refused(sim: Sim) -> None:
    done = sim.run("apply", "feed-handler", "--only", "nic.rings.rx@eth9")
    assert done.returncode == 1
    assert "--only nic.rings.rx@eth9: the plan has no such setting (did you mean nic.rings.rx@eth2?)" in done.stderr
    assert sim.run("plan", "base", "--only", "sysctl.vm.swappiness").returncode == 1
    assert "KNOB@TARGET" in sim.run("plan", "base", "--only", "@").stderr
    assert sim.changed() == []


def test_one_change_on_top_leaves_the_rest_of_the_profile_in_force(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim(nics=2)
    first = sim.json("apply", "feed-handler", "--allow", "link", status=0)
    words = ("observe", "--on-top", "--bind", "nic=eth3", "--set", "nic.nic.rings.rx=1024")
    plan = sim.json("plan", *words, status=2)
    assert [key for key, state in states(plan).items() if state == "differs"] == ["nic.rings.rx@eth3"]
    assert set(states(first)) < set(states(plan))
    second = sim.json("apply", *words, "--allow", "link", status=0)
    assert second["profile"] == first["profile"]
    assert set(states(second).values()) <= STATES
    verdict = sim.json("verify", status=0)
    assert set(states(verdict)) == set(states(first)) | {"nic.rings.rx@eth3"}
    newest = sim.json("history")["transactions"][-1]
    assert (newest["profile"]["name"], newest["set"], newest["writes"]) == ("feed-handler", {"nic.nic.rings.rx": 1024}, 1)
    # the roles of the profile below are the host's still
    shown = json.loads(sim.run("status", "--json").stdout)
    assert "rx" in {core["role"] for core in shown["cores"]}
    sim.json("rollback", status=0)
    assert states(sim.json("verify", status=0)) == {**states(first), **states(sim.json("verify"))}
    sim.json("rollback", status=0)
    assert sim.changed() == []


def test_what_drifted_is_put_right_by_what_is_applied_once_more(sim: Sim) -> None:
    sim.json("apply", "feed-handler", "--allow", "link", status=0)
    sim.write("/proc/sys/vm/swappiness", "99")
    sim.write("/proc/sys/net/core/busy_poll", "7")
    again = ("observe", "--on-top", "--only", "sysctl.vm.swappiness@host")
    sim.json("apply", *again, status=0)
    assert sim.text("/proc/sys/vm/swappiness").strip() == "10"
    assert sim.text("/proc/sys/net/core/busy_poll").strip() == "7"  # nobody picked it
    verdict = states(sim.json("verify", status=2))
    assert [key for key, state in verdict.items() if state == "differs"] == ["sysctl.net.core.busy_poll@host"]  # and is told
    sim.json("apply", "observe", "--on-top", status=0)
    assert sim.json("verify", status=0)["profile"]["name"] == "feed-handler"


def test_of_all_interrupts_one_is_moved(new_sim: Callable[..., Sim]) -> None:
    """The remedy of one interrupt says where all go, and picks one: no other is moved, and none is wanted elsewhere."""
    sim = new_sim(nics=2)
    first = sim.json("apply", "feed-handler", "--allow", "link", status=0)
    stray = next(key for key in states(first) if key.startswith("irq.affinity@eth3/"))
    words = ("observe", "--on-top", "--set", "irq.default=0", "--only", stray)
    plan = states(sim.json("plan", *words, status=2))
    assert [key for key, state in plan.items() if state == "differs"] == [stray]
    sim.json("apply", *words, status=0)
    assert set(states(sim.json("verify", status=0))) == set(states(first))


@pytest.mark.parametrize("words", [("nic=eth2",), ("nic=eth2", "other=eth3")])
def test_a_part_that_nothing_speaks_of_is_still_an_error(sim: Sim, words: tuple[str, ...]) -> None:
    binds = [word for each in words for word in ("--bind", each)]
    done = sim.run("plan", "base", *binds, "--set", "sysctl.vm.swappiness=1")
    assert done.returncode == 1
    assert "binds no such part" in done.stderr


def test_profiles_count_what_they_would_change(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim(nics=3)
    found = {each["name"]: each for each in sim.json("profiles", "list", "--changes")["profiles"]}
    assert found["observe"]["changes"] == 0
    assert found["base"]["changes"] > 0
    assert found["colo-both"]["changes"] is None
    assert "bind.order: no NIC is named for it" in found["colo-both"]["problem"]
    assert set(found["colo-both"]["parts"]) == {"feed", "order"}
    assert sim.changed() == []


def test_words_for_the_next_boot_join_those_that_are_staged(sim: Sim) -> None:
    profile = sim.profile('[boot]\nskew_tick = 1\nnohz_full = "2"\n')
    sim.json("apply", profile, "--allow", "reboot")
    for already in ("skew_tick=1", "skew_tick=1 nohz_full=2-3"):
        plan = sim.json("plan", "observe", "--on-top", "--set", 'boot.nohz_full="2-3"')
        [words] = [c["wanted"] for c in plan["changes"] if c["knob"] == "boot.words"]
        assert words == "skew_tick=1 nohz_full=2-3", already
        sim.json("apply", "observe", "--on-top", "--set", 'boot.nohz_full="2-3"', "--allow", "reboot")
    sim.json("rollback")
    sim.json("rollback")
    assert sim.changed() == []
