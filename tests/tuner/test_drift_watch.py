"""Drift while watching: a setting that moves is named with when and by whom, and once; it is told when it is back."""

import json
import shutil
import subprocess
import sys
import time

import pytest
from engine import Sim, command_line

from tuner.drift import DriftWatch, Moved
from ui.cli.drifting import _moved

SWAPPINESS, LIST = "/proc/sys/vm/swappiness", "/proc/irq/31/smp_affinity_list"


def whole_round(watch: DriftWatch) -> tuple[list[Moved], list[str]]:
    """Steps through one round, from the beginning of the next."""
    watch._next_ns = 0
    moved, back = [], []
    for _ in range(10_000):
        news = watch.step(budget_ns=0)
        moved += news.moved
        back += [change.knob for change in news.back]
        if watch._round is None:
            return moved, back
    raise AssertionError("a round without an end")


@pytest.fixture
def watch(sim: Sim) -> DriftWatch:
    assert sim.apply().outcome == "confirmed"
    return DriftWatch(sim.host, sim.store)


def test_nothing_moved_and_nothing_is_told(watch: DriftWatch) -> None:
    assert whole_round(watch) == ([], [])
    assert watch.moved == ()


def test_what_moves_is_told_once_with_its_suspect_and_told_when_it_is_back(sim: Sim, watch: DriftWatch) -> None:
    whole_round(watch)
    sim.write(SWAPPINESS, "60")
    before = time.time()
    ((found,), back) = whole_round(watch)
    assert (found.change.knob, found.change.now, found.change.wanted, found.at_start) == ("sysctl.vm.swappiness", 60, 10, False)
    assert before <= found.seen_s <= time.time()
    assert "sysctl --system" in found.suspect
    assert back == []
    assert whole_round(watch) == ([], [])
    assert [m.change.knob for m in watch.moved] == ["sysctl.vm.swappiness"]
    sim.write(SWAPPINESS, "33")  # moved again: that is news
    assert [m.change.now for m in whole_round(watch)[0]] == [33]
    sim.write(SWAPPINESS, "10")
    assert whole_round(watch) == ([], ["sysctl.vm.swappiness"])
    assert watch.moved == ()


def test_what_had_moved_before_is_said_to_have(sim: Sim, watch: DriftWatch) -> None:
    sim.write(LIST, "0")
    ((found,), _) = whole_round(watch)
    assert found.at_start
    assert "before this watch began" in _moved(found)
    assert "irq.affinity moved" in _moved(found)


def test_a_program_that_runs_here_is_the_suspect(sim: Sim, watch: DriftWatch) -> None:
    whole_round(watch)
    document = json.loads(sim.text("/threads.json"))
    threads = document["threads"]
    threads.append(dict(threads[-1], tid=4_000_000, pid=4_000_000, name="irqbalance", kernel=False))
    shutil.copy(sim.root + "/threads.json", sim.root + "/threads.old")
    with open(sim.root + "/threads.json", "w") as file:
        json.dump(document, file)
    sim.write(LIST, "0")
    ((found,), _) = whole_round(watch)
    assert found.suspect.startswith("irqbalance (process 4000000)")


def test_a_rollback_ends_it_and_another_transaction_is_followed(sim: Sim, watch: DriftWatch) -> None:
    from tuner.undo import rollback

    sim.write(SWAPPINESS, "60")
    assert whole_round(watch)[0]
    rollback(sim.host, sim.store, None, "test")
    assert whole_round(watch) == ([], [])
    assert watch.moved == ()
    assert sim.apply("base").outcome == "confirmed"
    sim.write("/proc/sys/vm/stat_interval", "1")
    assert [m.change.knob for m in whole_round(watch)[0]] == ["sysctl.vm.stat_interval"]


def test_a_step_keeps_its_budget_and_a_round_waits_for_its_time(watch: DriftWatch) -> None:
    watch.step(budget_ns=0)
    assert watch._round is not None
    while watch._round is not None:
        watch.step(budget_ns=0)
    watch.step()
    assert watch._round is None
    watch._links = type("Told", (), {"happened": staticmethod(lambda: True), "close": staticmethod(lambda: None)})()
    watch._began_ns = 0
    watch.step(budget_ns=0)
    assert watch._round is not None


def test_watch_tells_it_in_the_stream(sim: Sim) -> None:
    assert sim.apply().outcome == "confirmed"
    sim.write(SWAPPINESS, "60")
    process = subprocess.run(
        command_line("watch", "--json", "--count", "6", "--interval", "0.2", root=sim.root, state=sim.state),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    samples = [json.loads(line) for line in process.stdout.splitlines()]
    events = [event for sample in samples for event in sample["events"] if "vm.swappiness moved" in event["what"]]
    assert len(events) == 1
    assert events[0]["level"] == "warn"
    assert "is 60, applied was 10" in events[0]["what"]
    (record,) = samples[-1]["drift"]
    assert (record["knob"], record["now"], record["wanted"], record["state"]) == ("sysctl.vm.swappiness", 60, 10, "differs")


def test_a_link_that_comes_is_news() -> None:
    from tuner.host.netlink import LinkEvents

    unshare = ["unshare", "--net", sys.executable, "-c"]
    code = (
        "import subprocess\nfrom tuner.host.netlink import LinkEvents\n"
        "links = LinkEvents()\nassert not links.happened()\n"
        "subprocess.run(['ip', 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1'], check=True)\n"
        "assert links.happened()\nassert not links.happened()\nlinks.close()\nassert not links.happened()\n"
    )
    done = subprocess.run([*unshare, code], capture_output=True, text=True, timeout=60)
    if "Operation not permitted" in done.stderr:
        pytest.skip("no network namespace may be made here")
    assert done.returncode == 0, done.stderr
    assert LinkEvents
