"""Fifty starts at once: one makes the transaction, the others are refused at once and told by whom (promise R9)."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from engine import PROJECT, RECEIVER, Sim, clean_environment, command_line, tree_of
from port import Faults, faulty

from tuner.store import Refused, Store
from ui.cli.main import main

pytestmark = pytest.mark.promise("R9")
APPLY = ("apply", RECEIVER, "--allow", "link")


@pytest.fixture
def whole(new_sim: Callable[..., Sim]) -> dict[str, tuple[str, int, bytes]]:
    """What the tree is once the profile is applied by one command alone."""
    alone = new_sim()
    assert alone.apply().outcome == "confirmed"
    return tree_of(alone.root)


def forked(work: Callable[[], int], gate: int) -> int:
    """A process that waits until the gate is closed, and leaves with what ``work`` gives."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.read(gate, 1)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            status = work()
        finally:
            os._exit(status)
    return child


def race(count: int, work: Callable[[], int]) -> list[int]:
    """The exit statuses of ``count`` processes that start at the same moment."""
    gate, opener = os.pipe()
    children = []
    for _ in range(count):
        children.append(forked(work, gate))
    os.close(gate)
    os.write(opener, b"x" * count)
    os.close(opener)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_fifty_at_once_make_one_transaction(sim: Sim, whole: object, held: Callable[[int], None]) -> None:
    """The real command, in forks, which start closer together than interpreters do."""
    statuses = race(50, lambda: main(["--root", sim.root, "--state", sim.state, *APPLY]))
    assert set(statuses) <= {0, 4}, statuses
    assert statuses.count(0) >= 1
    held(50)
    # who came when the winner had ended found everything as wanted
    assert [(t.number, t.state) for t in sim.store.all()] == [(1, "confirmed")]
    assert tree_of(sim.root) == whole
    assert sim.run("rollback").returncode == 0
    assert sim.changed() == []


def test_fifty_at_once_while_the_winner_is_slow(
    sim: Sim, whole: object, monkeypatch: pytest.MonkeyPatch, held: Callable[[int], None]
) -> None:
    """All others find the lock held: exactly one is not refused."""

    def slow() -> None:
        time.sleep(1.5)
        sim.host.files.write("/proc/irq/default_smp_affinity", "3")

    monkeypatch.setattr("ui.cli.context.open_host", lambda _: faulty(sim, Faults(at={2: slow})))
    statuses = race(50, lambda: main(["--root", sim.root, "--state", sim.state, *APPLY]))
    assert sorted(statuses) == [0] + [4] * 49
    held(50)
    assert tree_of(sim.root) == whole


@pytest.mark.parametrize("first", ["apply", "rollback"])
def test_rollbacks_race_with_applies(sim: Sim, whole: object, first: str) -> None:
    """Whatever their order, each is a whole one: the tree is all-old or all-new, as the journals say."""
    if first == "rollback":
        assert sim.run(*APPLY).returncode == 0
    words = {"apply": APPLY, "rollback": ("rollback",)}
    gate, opener = os.pipe()
    kinds = ["apply", "rollback"] * 10
    children = [
        forked(lambda kind=kind: main(["--root", sim.root, "--state", sim.state, *words[kind]]), gate) for kind in kinds
    ]
    os.close(gate)
    os.write(opener, b"x" * len(kinds))
    os.close(opener)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert set(statuses) <= {0, 4}, statuses
    states = [t.state for t in sim.store.all()]
    assert set(states) <= {"confirmed", "rolled-back"}
    assert states.count("confirmed") <= 1
    assert tree_of(sim.root) == (whole if "confirmed" in states else sim.before)


def test_six_real_commands_at_once(sim: Sim, whole: object) -> None:
    words = command_line(*APPLY, root=sim.root, state=sim.state)
    processes = [
        subprocess.Popen(words, cwd=PROJECT, env=clean_environment(), text=True, stdout=-1, stderr=-1) for _ in range(6)
    ]
    for process in processes:
        out, err = process.communicate(timeout=30)
        assert process.returncode in (0, 4), err
        assert "Traceback" not in err
        if process.returncode == 4:
            # the winner may have ended before /proc was asked for its number
            assert re.search(r"another run changes this host \((process \d+|some process)\)", err), err
        elif "nothing to change" not in out:
            assert "transaction 1: confirmed" in out
    assert [(t.number, t.state) for t in sim.store.all()] == [(1, "confirmed")]
    assert tree_of(sim.root) == whole


def held_by_child(store: Store) -> tuple[int, int]:
    """A process that holds the lock until it is killed: its number, and a pipe that tells when it has it."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with store.lock():
                os.write(tell, b"x")
                signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return child, ready


def test_the_loser_is_refused_within_100_ms_and_told_who_holds_it(sim: Sim) -> None:
    child, _ = held_by_child(sim.store)
    try:
        for _ in range(20):
            began = time.monotonic()
            with pytest.raises(Refused, match=rf"another run changes this host \(process {child}\)"), sim.store.lock():
                pass
            assert time.monotonic() - began < 0.1
        began = time.monotonic()
        refused = sim.run(*APPLY)
        assert refused.returncode == 4
        assert f"process {child}" in refused.stderr
        assert time.monotonic() - began < 5
        assert sim.run("recover").returncode == 4
        assert sim.run("rollback").returncode == 4
        # what only looks needs no lock
        assert sim.run("plan", "feed-handler").returncode == 2
        assert sim.run("history").returncode == 0
        assert sim.changed() == []
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_lock_is_free_as_soon_as_its_holder_is_dead(sim: Sim) -> None:
    for _ in range(10):
        child, _ = held_by_child(sim.store)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        began = time.monotonic()
        with sim.store.lock():
            pass
        assert time.monotonic() - began < 0.05
    assert sim.run(*APPLY).returncode == 0


def test_the_undo_timer_that_a_run_started_does_not_keep_its_lock(sim: Sim) -> None:
    """The timer outlives the run: a descriptor it inherited would hold the host for as long as the timer runs."""
    assert sim.run(*APPLY, "--confirm-within", "60s").returncode == 0
    try:
        with sim.store.lock():
            pass
    finally:
        assert sim.run("rollback").returncode == 0
    assert sim.changed() == []


def test_a_stopped_holder_still_holds_it(sim: Sim, whole: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGSTOP in the middle of an apply: nobody else gets in, and when it goes on it ends as if nothing had been."""

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        sim.write("/proc/irq/default_smp_affinity", "3")

    monkeypatch.setattr("ui.cli.context.open_host", lambda _: faulty(sim, Faults(at={2: stop})))
    gate, opener = os.pipe()
    os.close(opener)
    child = forked(lambda: main(["--root", sim.root, "--state", sim.state, *APPLY]), gate)
    os.close(gate)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    try:
        middle = tree_of(sim.root)
        refused = sim.run(*APPLY)
        assert refused.returncode == 4
        assert f"process {child}" in refused.stderr
        assert tree_of(sim.root) == middle
    finally:
        os.kill(child, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tree_of(sim.root) == whole
