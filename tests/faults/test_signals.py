"""SIGINT, SIGTERM and SIGHUP at every step: the change at hand ends, then all is undone; a rollback ends (promise R13).

In this process the signal comes from within a change, and the command is the real one; as a process of its own it is told to
stop in the middle of its work, or loses its terminal.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine import PROJECT, Sim, clean_environment, command_line
from port import Faults, faulty

from ui.cli.main import main

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
APPLY = ("apply", "feed-handler", "--allow", "link")
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
    sim: Sim, command: Callable[..., Any], number: signal.Signals, when: str, times: int
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


@by_name
def test_a_signal_while_a_failed_apply_is_being_undone_does_not_stop_that(
    sim: Sim, command: Callable[..., Any], number: signal.Signals
) -> None:
    made = changes_of(command, sim, *APPLY)
    assert command(sim, Faults(), "rollback")[0] == 0
    for later in range(1, len(made)):
        faults = Sent(number, before=len(made))  # the last change: all others are to be undone
        again = Sent(number, before=len(made) + later, times=2)

        def both(what: str, change: Callable[[], Any], first: Sent = faults, second: Sent = again) -> Any:
            return first(what, lambda: second(what, change))

        status, record = command(sim, both, *APPLY)
        assert (status, record["outcome"]) == (5, "rolled-back"), (later, record)
        assert sim.changed() == [], later


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 2), (signal.SIGTERM, 1), (signal.SIGHUP, 1)])
def test_rollback_finishes(sim: Sim, command: Callable[..., Any], number: signal.Signals, times: int) -> None:
    changes_of(command, sim, *APPLY)
    made = changes_of(command, sim, "rollback")
    assert len(made) > 20
    for place, what in enumerate(made, start=1):
        assert command(sim, Faults(), *APPLY)[0] == 0
        status, record = command(sim, Sent(number, before=place, times=times), "rollback")
        assert (status, record["outcome"]) == (0, "rolled-back"), (what, record)
        assert sim.changed() == [], what


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
    assert process.wait(timeout=30) == 5
    assert sim.changed() == []
    assert [each.state for each in sim.store.all()] == ["rolled-back"]


def take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def gone_reader() -> int:
    receiver, sender = os.pipe()
    os.close(receiver)
    return sender


@pytest.mark.parametrize("arguments", [APPLY, (*APPLY, "--json")], ids=["words", "json"])
@pytest.mark.parametrize("which", ["stdout", "stderr", "both"])
@pytest.mark.parametrize("how", ["reader gone", "full"])
def test_an_output_that_nobody_takes_stops_nothing(sim: Sim, arguments: tuple[str, ...], which: str, how: str) -> None:
    end = gone_reader() if how == "reader gone" else os.open("/dev/full", os.O_WRONLY)
    streams = {name: end if which in (name, "both") else subprocess.DEVNULL for name in ("stdout", "stderr")}
    process = started(sim, *arguments, **streams)
    assert process.wait(timeout=30) == 0
    os.close(end)
    assert [each.state for each in sim.store.all()] == ["confirmed"]
    assert sim.run("rollback").returncode == 0
    assert sim.changed() == []


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_are_closed_stop_nothing(sim: Sim, tmp_path: Path, closed: str) -> None:
    """As some supervisors start their services. No journal is to be opened as descriptor 1 or 2 and written into."""
    out, err = tmp_path / "out", tmp_path / "err"
    words = command_line(*APPLY, "--json", root=sim.root, state=sim.state)
    script = f'exec "$@" >{out} 2>{err} {closed}'
    done = subprocess.run(["sh", "-c", script, "sh", *words], cwd=PROJECT, env=clean_environment(), timeout=30)
    assert [(each.state, each.contents.damage) for each in sim.store.all()] == [("confirmed", "")]
    assert done.returncode == 0, err.read_text()
    assert "Traceback" not in err.read_text()
    if "1>" not in closed:
        assert json.loads(out.read_text())["outcome"] == "confirmed"
    assert sim.run("rollback").returncode == 0
    assert sim.changed() == []


def test_a_signal_before_anything_was_begun_changes_nothing(sim: Sim) -> None:
    """While it starts, or waits for its plan: ended by the signal or rolled back, and the host as before."""
    for delay_s in (0.02, 0.08, 0.12, 0.16):
        process = started(sim, *APPLY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        process.send_signal(signal.SIGTERM)
        ended = process.wait(timeout=30)
        if ended == 0:  # it was done before
            assert sim.run("rollback").returncode == 0
        else:
            assert ended in (5, -signal.SIGTERM), ended
        assert sim.run("recover").returncode == 0
        assert sim.changed() == [], delay_s
