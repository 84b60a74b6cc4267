"""Confirm or undo, with real processes and real time (R14): the tool killed, its session gone, its terminal stalled."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from engine import PROJECT, Sim, clean_environment, command_line, tree_of
from port import Faults, faulty

from tuner import deadman
from tuner.transaction import confirm
from tuner.undo import recover

WITHIN_S = 2.0
APPLY = ("apply", "feed-handler", "--allow", "link", "--confirm-within", f"{WITHIN_S:.0f}s")


def undone_by_itself(sim: Sim, patience_s: float = WITHIN_S + 6.0) -> float:
    """Waits until the timer has undone the first transaction; the seconds since its deadline, as the journal has it."""
    end = time.monotonic() + patience_s
    while sim.store.get(1).state != "rolled-back":
        assert time.monotonic() < end, sim.store.get(1).state
        time.sleep(0.02)
    late_s = (sim.host.syscalls.boottime_ns() - (sim.store.get(1).deadline_ns or 0)) / 1e9
    assert sim.changed() == []
    assert any(r.get("reason") == "not confirmed in time" for r in sim.store.get(1).contents.records)
    return late_s


@contextlib.contextmanager
def terminal(sim: Sim, *words: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The command on a terminal of its own, as the leader of a session; the process and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *words],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=PROJECT, env=clean_environment(),
    )  # fmt: skip
    os.close(theirs)
    try:
        yield process, ours
    finally:
        with contextlib.suppress(OSError):
            os.close(ours)
        process.kill()
        process.wait()


@pytest.mark.promise("R14")
def test_the_tool_is_killed(sim: Sim) -> None:
    process = subprocess.Popen(
        command_line(*APPLY, root=sim.root, state=sim.state),
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=PROJECT, env=clean_environment(),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("isolation.partition"):
            process.kill()
            break
    assert process.wait() == -signal.SIGKILL
    assert sim.changed(), "it was killed before it changed anything"
    assert undone_by_itself(sim) < 2.0


@pytest.mark.promise("R14")
def test_the_session_is_gone_after_the_apply(sim: Sim) -> None:
    """As a lost SSH connection: the terminal hangs up, and everything in the session is told so."""
    shell = f"{' '.join(command_line(*APPLY, root=sim.root, state=sim.state))}; exec sleep 30"
    with terminal(sim, "sh", "-c", shell) as (process, ours):
        seen = b""
        while b"undoes itself unless" not in seen:
            seen += os.read(ours, 65536)
        assert sim.changed()
        os.close(ours)
        process.wait(timeout=5)  # the shell's sleep died of SIGHUP
        assert undone_by_itself(sim) < 2.0


@pytest.mark.promise("R14")
def test_the_session_is_gone_in_the_middle(sim: Sim) -> None:
    """The tool notes SIGHUP and rolls back itself; the timer finds nothing to do."""
    with terminal(sim, *command_line(*APPLY, root=sim.root, state=sim.state)) as (process, ours):
        seen = b""
        while b"irq.affinity" not in seen:
            seen += os.read(ours, 65536)
        os.close(ours)
        process.wait(timeout=20)
    end = time.monotonic() + 5
    while sim.store.get(1).state != "rolled-back" and time.monotonic() < end:
        time.sleep(0.02)
    assert sim.store.get(1).state == "rolled-back"
    assert sim.changed() == []


@pytest.mark.promise("R14")
@pytest.mark.parametrize("how", ["stopped by Ctrl-S", "never read"])
def test_the_terminal_is_stalled(sim: Sim, how: str) -> None:
    """Nobody reads: every write(2) to the terminal blocks from the first change on."""
    with terminal(sim, *command_line(*APPLY, root=sim.root, state=sim.state)) as (process, ours):
        seen = b""
        while b"undo timer" not in seen:
            seen += os.read(ours, 64)
        if how == "stopped by Ctrl-S":
            os.write(ours, b"\x13")
        end = time.monotonic() + 10
        while not sim.store.numbers() or sim.store.get(1).state != "applied":
            assert time.monotonic() < end, "a stalled terminal held up the apply"
            time.sleep(0.02)
        if how == "stopped by Ctrl-S":
            assert process.poll() is None, "it was not stalled"
        assert undone_by_itself(sim) < 2.0


@pytest.mark.promise("R14")
def test_the_tool_itself_stands_still(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle with the lock in its hand, as in a driver that never answers: it is killed, then all is undone."""
    child = os.fork()
    if child == 0:
        faults = Faults(at={15: lambda: os.kill(os.getpid(), signal.SIGSTOP)})
        sim.apply(host=faulty(sim, faults), confirm_within_s=0.1)
        os._exit(0)
    try:
        _, status = os.waitpid(child, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert sim.changed()
        monkeypatch.setattr(deadman, "_STUCK_S", 0.3)
        assert deadman._fire(sim.host, sim.store, 1) == 0
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    assert sim.changed() == []


@pytest.mark.promise("R14")
def test_somebody_else_who_holds_the_lock_is_left_alone(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    sim.apply(confirm_within_s=0.05)
    child = os.fork()
    if child == 0:
        with sim.store.lock():
            time.sleep(1.5)
        os._exit(0)
    time.sleep(0.2)
    monkeypatch.setattr(deadman, "_STUCK_S", 0.3)
    assert deadman._fire(sim.host, sim.store, 1) == 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sim.changed() == []


@pytest.mark.promise("R14")
def test_a_confirmed_one_stays_and_its_timer_ends(sim: Sim) -> None:
    assert sim.run(*APPLY).returncode == 0
    new = tree_of(sim.root)
    assert sim.run("confirm").returncode == 0
    time.sleep(WITHIN_S + 0.5)
    assert tree_of(sim.root) == new
    assert sim.store.get(1).state == "confirmed"
    assert not timers_of(sim), "the timer goes on although there is nothing to undo"


def timers_of(sim: Sim) -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/cmdline", encoding="utf-8", errors="replace") as file:
                words = file.read().split("\0")
                if "tuner.deadman" in words and sim.state in words:
                    found.append(entry)
    return found


@pytest.mark.promise("R14")
def test_a_timer_of_an_older_transaction_undoes_nothing(new_sim: Callable[..., Sim]) -> None:
    """Replayed long after: the one that it names was kept, or is gone; a newer one holds the host."""
    sim = new_sim()
    sim.apply("base", confirm_within_s=60.0)
    confirm(sim.host, sim.store, 1)
    sim.apply()
    new = tree_of(sim.root)
    for number in ("1", "2", "7"):
        words = [sys.executable, "-I", "-m", "tuner.deadman", "--root", sim.root, "--state", sim.state, number]
        assert subprocess.run(words, cwd="/", timeout=10).returncode == 0
        assert tree_of(sim.root) == new


@pytest.mark.promise("R14")
def test_confirmed_too_late_is_refused_and_undone(sim: Sim) -> None:
    sim.apply(confirm_within_s=0.05)  # and no timer: as if it had been killed, too
    time.sleep(0.1)
    refused = sim.json("confirm", "1", status=4)
    assert "earlier" in refused["error"]
    assert sim.json("confirm", "2", status=4)["error"] == "refused: there is no transaction 2"
    with sim.store.lock():
        assert [one.verdict for one in recover(sim.host, sim.store)] == ["rolled back: not confirmed in time"]
    assert sim.changed() == []


@pytest.mark.promise("R14")
def test_without_a_timer_nothing_is_changed(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_number: int) -> None:
        raise OSError(3, "no timer")

    with pytest.raises(OSError, match="no timer"):
        sim.apply(confirm_within_s=60.0, arm=fails)
    assert sim.changed() == []
    assert sim.store.get(1).state == "void"


@pytest.mark.promise("R15")
@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_the_wall_clock_moves_and_nothing_happens(sim: Sim, monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    """Moved for this process as soon as the timer runs; the lab moves the real one."""
    sim.apply(confirm_within_s=0.5)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    start = time.monotonic()
    assert deadman._wait(sim.host, sim.store, 1)
    assert 0.2 < time.monotonic() - start < 1.5
    assert deadman._fire(sim.host, sim.store, 1) == 0
    assert sim.changed() == []


@pytest.mark.promise("R22")
def test_nothing_stays_behind_an_apply_and_nothing_is_undone_when_it_ends(sim: Sim) -> None:
    assert sim.run("apply", "feed-handler", "--allow", "link").returncode == 0
    new = tree_of(sim.root)
    assert not timers_of(sim)
    assert tree_of(sim.root) == new != sim.before


@pytest.mark.promise("R16")
@pytest.mark.parametrize("words", [("apply", "base"), ("apply", "feed-handler", "--allow", "link")], ids=" ".join)
def test_one_that_waits_is_never_adopted(sim: Sim, words: tuple[str, ...]) -> None:
    sim.apply(confirm_within_s=60.0)
    new = tree_of(sim.root)
    refused = sim.json(*words, status=4)
    assert "quietcore confirm 1, or quietcore rollback 1" in refused["error"]
    assert tree_of(sim.root) == new
    assert sim.store.numbers() == [1]
