"""The minute that ``--demo`` tells, from the tuned host to the remedy, by the real engine on the simulated host."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise

import pytest

from ingest.sample import Cost, Event, Sample, from_json
from tuner.host.simulated.story import BURST, BURSTS_S, REMEDY_S, STRAY_S
from ui.cli.context import Context
from ui.cli.demo import make_demo
from ui.cli.story import STILL_BEGAN, still_samples, told_samples

QUIETCORE = [sys.executable, "-m", "ui.cli.main"]
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
LOST = BURST - 512


def demos(of: subprocess.Popen) -> list[str]:
    """What is left of the host that a process made."""
    return [name for name in os.listdir(MEMORY) if name.startswith(f"quietcore-demo-{of.pid}-")]


def at(sample: Sample) -> float:
    """Seconds of the story."""
    return (sample.monotonic_ns - STILL_BEGAN[1]) / 1e9


def total(sample: Sample, counter: str, where: str = "eth2") -> int:
    return next(row.total for row in sample.losses if (row.where, row.counter) == (where, counter) and row.visible)


def line(sample: Sample, name: str) -> tuple[int, int]:
    """(received, lost) of one line of all channels."""
    mine = [feed for feed in sample.feeds if feed.get("line") == name]
    return sum(feed["received"] for feed in mine), sum(feed["lost"] for feed in mine)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Context, list[Sample]]:
    context, _ = make_demo(str(tmp_path_factory.mktemp("demo") / "host"))
    return context, list(still_samples(context, 60.0))


def events(samples: list[Sample]) -> Iterator[tuple[float, Event]]:
    for sample in samples:
        for event in sample.events:
            yield at(sample), event


def test_the_host_is_tuned_and_looks_like_one_that_trades(story):
    first = story[1][0]
    roles = {core.role for core in first.cores}
    assert roles == {"housekeeping", "rx", "app", "isolated"}
    assert (first.source, first.profile, first.host) == ("simulated", "feed-handler", "demo-md-01")
    assert {nic.name: (nic.driver, nic.rx_ring) for nic in first.nics if nic.physical} == {
        "eth0": ("igb", 512), "eth2": ("ixgbe", 512), "eth3": ("ixgbe", 4096),
    }  # fmt: skip
    assert any(irq.name.startswith("nvme") for irq in first.irqs)
    spinning = [core for core in first.cores if core.busy_percent > 95 and core.role == "app"]
    assert [core.cpu for core in spinning] == [6]
    states = [record.state for record in story[0].store.all()]
    assert states == ["confirmed", "confirmed"]  # tuned, and the remedy


def test_what_is_told_and_in_which_order(story):
    told = list(events(story[1]))
    assert not [event for when, event in told if when < STRAY_S]
    stray = next((when, event) for when, event in told if event.irq == "24" and not event.ended)
    assert STRAY_S < stray[0] <= STRAY_S + 2
    assert stray[1].level == "warn"
    assert "IRQ 24 nvme0q0 interrupts an app core" in stray[1].what
    assert {core.role for core in story[1][0].cores if core.cpu == stray[1].cpu} == {"app"}
    assert any(event.key == f"ipi CPU {stray[1].cpu}" for _, event in told)
    loss = next((when, event) for when, event in told if event.level == "crit")
    assert loss[0] == BURSTS_S[0] + 0.5
    assert (loss[1].nic, loss[1].counter, loss[1].count) == ("eth2", "rx_no_dma_resources", LOST)
    assert "its ring 512 of 4,096" in loss[1].what
    verdict = next((when, event) for when, event in told if event.feed and "this host dropped them" in event.what)
    assert loss[0] < verdict[0] <= loss[0] + 2
    assert (verdict[1].nic, verdict[1].where) == ("eth2", "cme-310")
    assert verdict[1].what.startswith(f"Line A lost {LOST:,} numbers that B brought, and rx_no_dma_resources of eth2 moved")
    remedy = [(when, event) for when, event in told if event.key == "remedy"]
    assert [when for when, _ in remedy] == [REMEDY_S + 0.5] * 2
    assert "transaction 2 is confirmed: nic.rings.rx eth2: 512 -> 4096" in remedy[1][1].what
    assert "nvme0q0" in remedy[1][1].what
    ended = {event.key for _, event in told if event.ended}
    begun = {event.key for _, event in told if event.key and not event.ended} - {"remedy"}
    assert begun == ended
    assert len(begun) == 3
    assert not [event for when, event in told if when > REMEDY_S + 5]
    assert len(told) < 20


def test_the_gap_is_in_the_second_of_the_loss_and_number_for_number_the_same(story):
    samples = story[1]
    for before, after in pairwise(samples):
        dropped = total(after, "rx_no_dma_resources") - total(before, "rx_no_dma_resources")
        assert line(after, "A")[1] - line(before, "A")[1] == dropped
        if dropped:
            assert at(after) - 0.5 in BURSTS_S
        assert line(after, "B")[1] == 0
        rings = {name: sum(ring["packets"] for ring in after.rings if ring["interface"] == name) for name in ("eth2", "eth3")}
        counted = {nic.name: round(nic.rx_packets_per_s * after.interval_s) for nic in after.nics if nic.name in rings}
        assert rings == counted
    last = samples[-1]
    merged = [feed for feed in last.feeds if feed["line"] == "A+B"]
    assert [feed["channel"] for feed in merged] == ["cme-310", "cme-318"]
    assert sum(feed["received"] for feed in merged) == line(last, "B")[0] == sum(line(last, "A"))
    assert all(0 < ring["latency"]["p50_ns"] < ring["latency"]["p99_ns"] < 50_000 for ring in last.rings)


def test_a_late_view_has_the_same_again(story, tmp_path):
    """The same seed and steps give the same samples, but for what watching them cost."""
    context, _ = make_demo(str(tmp_path / "host"))
    again = list(still_samples(context, 20.0))
    free = Cost()
    assert [replace(each, cost=free) for each in again] == [replace(each, cost=free) for each in story[1][: len(again)]]


def told_until(context: Context, seconds: float, act: dict[float, list[str]]) -> list[Sample]:
    """The story, in which somebody gives commands."""
    samples = []
    with ExitStack() as held:
        for sample in told_samples(context, 1.0, round(seconds), 1000.0, held, STILL_BEGAN):
            samples.append(sample)
            if words := act.get(at(sample)):
                done = subprocess.run([*QUIETCORE, "--root", context.root, *words], capture_output=True, text=True, timeout=60)
                assert done.returncode == 0, done.stderr
    return samples


def test_who_applies_the_remedy_first_ends_it(tmp_path):
    context, _ = make_demo(str(tmp_path / "host"))
    samples = told_until(context, 42, {12.0: ["apply", "feed-handler", "--allow", "link"]})
    told = list(events(samples))
    assert {event.key for _, event in told if event.ended} == {"irq 24 CPU 9", "ipi CPU 9"}
    assert max(when for when, _ in told) < 20
    assert total(samples[-1], "rx_no_dma_resources") == 0
    assert len(context.store.all()) == 2
    assert [nic.rx_ring for nic in samples[-1].nics if nic.name == "eth2"] == [4096]


def test_a_host_that_was_rolled_back_is_left_alone(tmp_path):
    context, _ = make_demo(str(tmp_path / "host"))
    samples = told_until(context, 40, {6.0: ["rollback"]})
    assert {core.role for core in samples[-1].cores} == {"general"}
    assert not [event for _, event in events(samples) if event.key == "remedy" or event.cpu is not None]
    assert len(context.store.all()) == 1


def test_the_command_tells_it_and_leaves_nothing_behind():
    words = [*QUIETCORE, "--demo", "watch", "--json", "--interval", "1s", "--story", "100", "--count", "42"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = child.stdout.readline()
    assert len(demos(child)) == 1
    told, words = child.communicate(timeout=60)
    assert child.returncode == 0, words
    samples = [from_json(each) for each in (first + told).splitlines()]
    levels = [event.level for sample in samples for event in sample.events if not event.ended]
    assert levels.index("warn") < levels.index("crit") < levels.index("info")
    assert "transaction 2 is confirmed" in told
    assert all(sample.source == "simulated" for sample in samples)
    assert demos(child) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_nothing_is_left(number):
    words = [*QUIETCORE, "--demo", "watch", "--json", "--interval", "0.5s", "--story", "20"]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for each in child.stdout:
        if "the demo applies the profile" in each:
            break
    child.send_signal(number)
    child.communicate(timeout=20)
    assert child.returncode == 0
    assert demos(child) == []


def test_a_remedy_that_is_under_way_is_ended_with_its_story(tmp_path):
    context, _ = make_demo(str(tmp_path / "host"))
    from ui.cli.story import ChildRemedy

    remedy = ChildRemedy(context)
    assert remedy.wanted()
    assert remedy.start().endswith("quietcore apply feed-handler --allow link")
    pid = remedy._child.pid
    remedy.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert remedy.outcome(wait=True) is None
    recovered = subprocess.run([*QUIETCORE, "--root", context.root, "recover"], capture_output=True, text=True, timeout=60)
    assert recovered.returncode == 0, recovered.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["watch", "--story"], "a host that lives"),
        (["watch", "--live", "--story", "--count", "1"], "no simulated host"),
        (["--demo", "watch", "--story", "fast"], "no pace"),
        (["--demo", "watch", "--story", "0"], "no pace"),
        (["--demo", "watch", "--story", "nan"], "no pace"),
    ],
    ids=str,
)
def test_a_story_that_cannot_be_told_says_why(words, why):
    done = subprocess.run([*QUIETCORE, *words], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_on_a_tree_that_was_there_the_children_of_an_app_work_beside_it(tmp_path):
    """As the app does it: one process lives and watches, others plan and apply on the same tree, with a state of its own."""
    root, state = str(tmp_path / "host"), str(tmp_path / "state")
    make_demo(root, state)
    words = [*QUIETCORE, "--root", root, "--state", state]
    child = subprocess.Popen(
        [*words, "--json", "watch", "--live", "--story", "30", "--interval", "0.5s"], stdout=subprocess.PIPE, text=True
    )
    try:
        while from_json(child.stdout.readline()).sequence < 30:
            pass
        plan = subprocess.run([*words, "--json", "plan", "feed-handler"], capture_output=True, text=True, timeout=60)
        differing = [each["knob"] for each in json.loads(plan.stdout)["changes"] if each["state"] == "differs"]
        assert sorted(differing) == ["irq.affinity", "nic.rings.rx"]
        for command in (["apply", "feed-handler", "--allow", "link"], ["verify"], ["rollback"]):
            done = subprocess.run([*words, *command], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
        assert not os.path.exists(f"{root}/var/lib/quietcore")
    finally:
        child.terminate()
        child.communicate(timeout=20)
    assert child.returncode == 0


def test_the_text_form_shows_what_is_told():
    words = [*QUIETCORE, "--demo", "watch", "--interval", "1s", "--story", "200", "--count", "36"]
    start = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 30
    assert re.search(r"^warn: CPU 9: IRQ 24 nvme0q0 interrupts an app core: \d+/s$", done.stdout, re.MULTILINE)
    assert "crit: eth2:" in done.stdout
    assert "feed cme-310 A 239.253.1.1:30001:" in done.stdout
