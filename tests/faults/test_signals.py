"""SIGINT, SIGTERM and SIGHUP at every step: the change at hand ends, then all is undone; a rollback ends (promise R13).

In this process the signal comes from within a change, and the command is the real one; as a process of its own it is told to
stop in the middle of its work, or loses its terminal.
"""

import fcntl
import json
import os
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from engine import PROJECT, RECEIVER, Sim, clean_environment, command_line
from port import Faults, faulty

from ui.cli.main import main

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
pytestmark = pytest.mark.promise("R13")
APPLY = ("apply", RECEIVER, "--allow", "link")
by_name = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


class Sent(Faults):
    """Faults that are signals: one just before a change is made (``before``), one just after it (``after``)."""

    def __init__(self, number: int, before: int = 0, after: int = 0, times: int = 1) -> None:
        super().__init__()
        self._number, self._before, self._after, self._times = number, before, after, times

    def __call__(self, what: str, change: Callable[[], Any]) -> Any:
        self.made.append(what)
        self._send_at(self._before)
        try:
            return change()
        finally:
            self._send_at(self._after)

    def _send_at(self, place: int) -> None:
        if len(self.made) == place:
            for _ in range(self._times):
                os.kill(os.getpid(), self._number)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """The real command in this process, on a host with faults in it: its exit status and the object it printed."""

    def run(sim: Sim, faults: Faults, *arguments: str) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr("ui.cli.context.open_host", lambda _: faulty(sim, faults))
        capfd.readouterr()
        status = main(["--root", sim.root, "--state", sim.state, "--json", *arguments])
        return status, json.loads(capfd.readouterr().out)

    return run


def changes_of(command: Callable[..., Any], sim: Sim, *arguments: str) -> list[str]:
    faults = Faults()
    assert command(sim, faults, *arguments)[0] == 0
    return faults.made


@pytest.mark.parametrize(
    ("number", "when", "times"),
    [(signal.SIGINT, "before", 2), (signal.SIGTERM, "before", 1), (signal.SIGHUP, "before", 1), (signal.SIGINT, "after", 1)],
)
def test_apply_finishes_the_change_at_hand_and_undoes_everything(
    sim: Sim, command: Callable[..., Any], number: signal.Signals, when: str, times: int, held: Callable[[int], None]
) -> None:
    made = changes_of(command, sim, *APPLY)
    assert command(sim, Faults(), "rollback")[0] == 0
    assert len(made) > 20
    before = [signal.getsignal(each) for each in SIGNALS]
    for place, what in enumerate(made, start=1):
        faults = Sent(number, **{when: place}, times=times)
        status, record = command(sim, faults, *APPLY)
        assert (status, record["outcome"]) == (5, "rolled-back"), (what, when, record)
        assert record["error"].endswith(f"stopped by {number.name}"), record["error"]
        assert faults.made[:place] == made[:place]
        # no other setting is begun; the partition alone takes several changes, and they belong together
        if "cgroup" not in what and place < len(made):
            assert made[place] not in faults.made, (what, when)
        assert sim.changed() == [], (what, when)
    assert [signal.getsignal(each) for each in SIGNALS] == before
    held(len(made))


def test_a_signal_while_a_failed_apply_is_being_undone_does_not_stop_that(
    sim: Sim, command: Callable[..., Any], held: Callable[[int], None]
) -> None:
    made = changes_of(command, sim, *APPLY)
    assert command(sim, Faults(), "rollback")[0] == 0
    for later in range(1, len(made)):
        number = SIGNALS[later % 3]
        faults = Sent(number, before=len(made))  # the last change: all others are to be undone
        again = Sent(number, before=len(made) + later, times=2)

        def both(what: str, change: Callable[[], Any], first: Sent = faults, second: Sent = again) -> Any:
            return first(what, lambda: second(what, change))

        status, record = command(sim, both, *APPLY)
        assert (status, record["outcome"]) == (5, "rolled-back"), (later, record)
        assert sim.changed() == [], later
    held(len(made) - 1)


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 2), (signal.SIGTERM, 1), (signal.SIGHUP, 1)])
def test_rollback_finishes(
    sim: Sim, command: Callable[..., Any], number: signal.Signals, times: int, held: Callable[[int], None]
) -> None:
    changes_of(command, sim, *APPLY)
    made = changes_of(command, sim, "rollback")
    assert len(made) > 20
    for place, what in enumerate(made, start=1):
        assert command(sim, Faults(), *APPLY)[0] == 0
        status, record = command(sim, Sent(number, before=place, times=times), "rollback")
        assert (status, record["outcome"]) == (0, "rolled-back"), (what, record)
        assert sim.changed() == [], what
    held(len(made))


def started(sim: Sim, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    words = command_line(*arguments, root=sim.root, state=sim.state)
    return subprocess.Popen(words, cwd=PROJECT, env=clean_environment(), text=True, **options)


@by_name
def test_a_real_command_told_to_stop_when_it_says_its_first_change(new_sim: Callable[..., Sim], number: signal.Signals) -> None:
    sim = new_sim(nics=1, queues=64)  # 64 interrupts more: it is not done before the signal arrives
    process = started(sim, *APPLY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if "irq.affinity" in line:
            process.send_signal(number)
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=30)
    assert process.returncode == 5, (out, err)
    assert f"stopped by {number.name}" in out
    assert "Traceback" not in err
    assert sim.changed() == []


def test_a_terminal_that_hangs_up_stops_it_like_a_signal(new_sim: Callable[..., Sim]) -> None:
    """The session's leader is gone and its terminal closed: SIGHUP comes, and nobody reads what is said any more."""
    sim = new_sim(nics=1, queues=64)
    leader, follower = os.openpty()
    process = started(
        sim, *APPLY, stdin=follower, stdout=follower, stderr=follower, start_new_session=True, preexec_fn=take_terminal
    )
    os.close(follower)
    said = b""
    while b"irq.affinity" not in said:
        said += os.read(leader, 4096)
    os.close(leader)
    process.wait(timeout=30)  # with which status: see the test of what is left in the buffers
    assert sim.changed() == []
    assert [each.state for each in sim.store.all()] == ["rolled-back"]


def take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def nobody(how: str) -> Iterator[int]:
    """A descriptor to write to that nobody reads, or that is full."""
    receiver, end = os.pipe() if how == "reader gone" else (-1, os.open("/dev/full", os.O_WRONLY))
    if receiver >= 0:
        os.close(receiver)
    try:
        yield end
    finally:
        os.close(end)


@pytest.mark.parametrize("which", ["stdout", "stderr", "both"])
@pytest.mark.parametrize("how", ["reader gone", "full"])
def test_an_output_that_nobody_takes_stops_nothing(sim: Sim, which: str, how: str) -> None:
    arguments = (*APPLY, "--json") if how == "full" else APPLY
    with nobody(how) as end:
        streams = {name: end if which in (name, "both") else subprocess.DEVNULL for name in ("stdout", "stderr")}
        started(sim, *arguments, **streams).wait(timeout=30)
        assert [each.state for each in sim.store.all()] == ["confirmed"]
        started(sim, "rollback", **streams).wait(timeout=30)
    assert [each.state for each in sim.store.all()] == ["rolled-back"]
    assert sim.changed() == []


@pytest.mark.parametrize("which", ["stdout", "stderr"])
def test_the_exit_status_tells_the_outcome_also_when_nobody_reads(sim: Sim, which: str) -> None:
    for how, arguments, status in (("reader gone", APPLY, 0), ("full", ("rollback",), 0), ("full", APPLY[:2], 4)):
        with nobody(how) as end:
            streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {which: end}
            assert started(sim, *arguments, **streams).wait(timeout=30) == status


def with_streams(sim: Sim, redirection: str, out: Path, *arguments: str) -> int:
    """The exit status of the command, started by a shell that closes some of its streams."""
    words = command_line(*arguments, root=sim.root, state=sim.state)
    script = f'exec "$@" >{out} 2>{out}.err {redirection}'
    return subprocess.run(["sh", "-c", script, "sh", *words], cwd=PROJECT, env=clean_environment(), timeout=30).returncode


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_are_closed_stop_nothing(sim: Sim, tmp_path: Path, closed: str) -> None:
    """As some supervisors start their services; the journal may get descriptor 1 or 2 then, and is not to be written into."""
    with_streams(sim, closed, tmp_path / "out", *APPLY, "--confirm-within", "60s")
    assert [(each.state, each.contents.damage) for each in sim.store.all()] == [("applied", "")]
    with_streams(sim, closed, tmp_path / "out", "confirm")
    assert [(each.state, each.contents.damage) for each in sim.store.all()] == [("confirmed", "")]
    with_streams(sim, closed, tmp_path / "out", "rollback")
    assert [(each.state, each.contents.damage) for each in sim.store.all()] == [("rolled-back", "")]
    assert sim.changed() == []


def test_a_closed_stdout_does_not_change_the_exit_status(sim: Sim, tmp_path: Path) -> None:
    assert with_streams(sim, "1>&-", tmp_path / "out", *APPLY) == 0


def test_a_closed_stderr_does_not_put_words_into_the_json(sim: Sim, tmp_path: Path) -> None:
    assert with_streams(sim, "2>&-", tmp_path / "out", *APPLY, "--json") == 0
    assert json.loads((tmp_path / "out").read_text())["outcome"] == "confirmed"


def test_a_signal_at_any_moment_leaves_all_old_or_all_new(sim: Sim) -> None:
    """While it starts, makes its plan, works, or is leaving: what its journal says is how the host is."""
    for delay_s in (0.03, 0.08, 0.12, 0.16):
        process = started(sim, *APPLY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        process.send_signal(signal.SIGTERM)
        ended = process.wait(timeout=30)
        assert ended in (0, 5, -signal.SIGTERM), ended
        done = [each for each in sim.store.all() if each.state == "confirmed"]
        assert {each.state for each in sim.store.all()} <= {"confirmed", "rolled-back"}
        assert bool(done) == bool(sim.changed()), (delay_s, ended)
        assert ended != 5 or not done
        if done:
            assert sim.run("rollback").returncode == 0
        assert sim.changed() == [], delay_s
