"""The flow against the real engine on a simulated host: from red to kept, undone, or undone by nobody but the timer.

The last ones run the app as a process on a terminal of its own, which is then killed, left, or hung up.
"""

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import replace

from engine import PROJECT, Sim, clean_environment

from tests.app.screens import FakeRing, drive, press, sample, text_of
from tests.lab.screen import Screen
from ui.app.app import QuietcoreApp
from ui.app.flow import runner as runner_room
from ui.app.flow import transaction_control
from ui.app.flow.runner import ChildRunner
from ui.app.state.model import Model, Pointed
from ui.app.stream.source import ListSource


def app_on(sim: Sim) -> QuietcoreApp:
    model = Model(kind="files", may_change=True)
    shown = replace(sample(4, nodes=1), profile="")
    return QuietcoreApp(ListSource([shown]), ChildRunner(["--root", sim.root, "--state", sim.state]), FakeRing(), model)


async def until(pilot, what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, text_of(pilot.app)
        await pilot.pause(0.05)
        pilot.app.transactions._next_look = 0.0
        pilot.app.tick()


LOSES = Pointed("nic", "eth2", "eth2 loses packets")


async def fix(app, pilot, pointed=LOSES):
    """``f`` on a red line, to its plan."""
    await until(pilot, lambda: not app.profiles_view.busy and app.profiles_view.journals)
    app.pane.pointed = lambda: pointed
    await press(pilot, "f")
    await until(pilot, lambda: app.profiles_view.shows == "plan" and not app.profiles_view.busy)
    del app.panes["overview"].pointed


async def apply(app, pilot):
    await press(pilot, "a")
    await until(pilot, lambda: app.profiles_view.waiting is not None and not app.profiles_view.busy)


def ring(sim: Sim, nic: str = "eth2") -> int:
    return sim.host.syscalls.rings(nic).rx


def state(sim: Sim) -> list[str]:
    return [each.state for each in sim.store.all()]


def test_from_red_to_kept_to_undone(sim: Sim):
    app = app_on(sim)

    async def steps(pilot):
        await fix(app, pilot)
        assert app.pane.pointed().key == "nic.rings.rx/eth2"
        assert "loses packets for want of receive descriptors" in text_of(app)
        assert sim.changed() == []
        await apply(app, pilot)
        assert ring(sim) == 4096
        assert app.profiles_view.steps["3 verify"][0] == "ok"
        await press(pilot, "1", "K")
        await until(pilot, lambda: state(sim) == ["confirmed"] and not app.profiles_view.busy)
        assert ring(sim) == 4096
        await press(pilot, "U")
        await until(pilot, lambda: state(sim) == ["rolled-back"] and not app.profiles_view.busy)
        assert sim.changed() == []

    drive(app, steps, (120, 40))


def test_a_fix_on_a_host_that_a_profile_holds_leaves_the_rest_in_force(sim: Sim):
    sim.json("apply", "feed-handler", "--allow", "link", "--set", "nic.feed.rings.rx=1024", status=0)
    held = len(sim.json("verify", status=0)["changes"])
    app = app_on(sim)

    async def steps(pilot):
        await fix(app, pilot)
        assert "1 of 1 picked" in text_of(app)
        await apply(app, pilot)
        assert (ring(sim), state(sim)) == (4096, ["confirmed", "applied"])
        assert len(app.profiles_view.record["changes"]) == held
        assert app.profiles_view.planned == "feed-handler"
        # drift: what somebody moved is put back by what is applied once more
        await press(pilot, "K")
        await until(pilot, lambda: state(sim)[-1] == "confirmed" and not app.profiles_view.busy)
        sim.write("/proc/sys/vm/swappiness", "99")
        moved = {"knob": "sysctl.vm.swappiness", "target": "host", "wanted": 10, "now": 99, "suspect": "somebody"}
        app.model.sample = replace(app.model.sample, drift=(moved,))
        app.tick = lambda: None  # type: ignore[method-assign]
        app.action_show("overview")
        await fix(app, pilot, Pointed("change", "sysctl.vm.swappiness/host", "it moved"))
        assert app.pane.pointed().key == "sysctl.vm.swappiness/host"
        await apply(app, pilot)
        assert sim.text("/proc/sys/vm/swappiness").strip() == "10"
        await press(pilot, "K")
        await until(pilot, lambda: state(sim)[-1] == "confirmed" and not app.profiles_view.busy)

    drive(app, steps, (120, 40))
    sim.json("verify", status=0)
    for _ in range(3):
        sim.json("rollback", status=0)
    assert [p for p in sim.changed() if "swappiness" not in p] == []


def test_the_timer_undoes_it_and_the_app_says_so(sim: Sim, monkeypatch):
    monkeypatch.setattr(transaction_control, "CONFIRM_WITHIN_S", 3)
    app = app_on(sim)

    async def steps(pilot):
        await fix(app, pilot)
        await apply(app, pilot)
        await until(pilot, lambda: app.profiles_view.waiting is None)
        await until(pilot, lambda: state(sim) == ["rolled-back"])
        await until(pilot, lambda: "not confirmed in time" in app.profiles_view.steps["4 keep"][1])
        assert sim.changed() == []

    drive(app, steps, (120, 40))


def test_the_command_line_keeps_what_the_app_shows(sim: Sim):
    app = app_on(sim)

    async def steps(pilot):
        await fix(app, pilot)
        await apply(app, pilot)
        sim.json("confirm", status=0)
        await until(pilot, lambda: app.profiles_view.waiting is None)
        assert "kept" in app.profiles_view.steps["4 keep"][1]

    drive(app, steps, (120, 40))


def test_what_the_engine_says_is_made_safe_to_show(monkeypatch):
    said = {"error": "\x1b]0;x\x07", "changes": [{"target": "\u202eeth2", "\x9b": ["\x7f"]}], "n": 3}
    speaker = [sys.executable, "-c", f"import json, sys; print(json.dumps({said!r})); sys.exit(4)"]
    monkeypatch.setattr(runner_room, "_started", lambda words: subprocess.Popen(speaker, stdout=-1, stderr=-1))
    answer = asyncio.run(ChildRunner([]).run("plan"))
    assert answer.status == 4
    assert answer.record == {"error": "\\x1b]0;x\\x07", "changes": [{"target": "\\u202eeth2", "\\x9b": ["\\x7f"]}], "n": 3}


# ---- on a terminal of its own

SCRIPT = """
import sys
from ui.app.flow import runner as runner_room
from ui.app.flow import transaction_control
transaction_control.CONFIRM_WITHIN_S = int(sys.argv[1])
from ui.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


class Terminal:
    """The app as a process whose controlling terminal is ours."""

    def __init__(self, sim: Sim, confirm_within_s: int) -> None:
        self.screen = Screen(100, 30)
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))

        def own() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(confirm_within_s), "--root", sim.root, "--state", sim.state],
            stdin=slave, stdout=slave, stderr=slave, cwd=PROJECT, preexec_fn=own,  # noqa: PLW1509
            env=clean_environment() | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        os.close(slave)
        os.set_blocking(self.master, False)

    def listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 65536):
                self.screen.feed(data)

    def until(self, what, seconds=30.0):
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, self.screen.text
            self.listen()
            time.sleep(0.02)

    def sees(self, words: str) -> None:
        self.until(lambda: words in self.screen.text)

    def goes(self) -> None:
        self.until(lambda: self.process.poll() is not None)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def planned(self, name: str) -> None:
        self.sees("1 Overview")
        self.type("6")
        self.sees(f" {name}")
        self.type("\r")
        self.sees(f"plan {name}:")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.master)


def settings_changed(sim: Sim) -> list[str]:
    """What ``base`` sets; the counters of a host that lives move by themselves."""
    return [path for path in sim.changed() if path.startswith("/proc/sys/")]


def undone(sim: Sim, seconds=40.0) -> None:
    deadline = time.monotonic() + seconds
    while state(sim) != ["rolled-back"]:
        assert time.monotonic() < deadline, state(sim)
        time.sleep(0.1)
    assert settings_changed(sim) == []


def test_an_app_that_goes_in_the_countdown_leaves_the_undo_behind(new_sim: Callable[..., Sim]):
    """Killed, hung up, left: one after the other, while the timers of those before run."""
    lost: list[tuple[Sim, Terminal]] = []
    try:
        for how in ("killed", "hung up", "left"):
            sim = new_sim()
            terminal = Terminal(sim, 6)
            lost.append((sim, terminal))
            terminal.planned("base")
            terminal.type("a")
            terminal.sees("4 KEEP?")
            assert state(sim) == ["applied"]
            assert settings_changed(sim) != []
            if how == "killed":
                terminal.process.send_signal(signal.SIGKILL)
            elif how == "hung up":
                os.close(terminal.master)
            else:
                terminal.type("q")
                terminal.goes()
                terminal.sees("quietcore confirm 1 keeps it")
            terminal.process.wait(20)
        for sim, _ in lost:
            undone(sim)
    finally:
        for _, terminal in lost:
            terminal.close()


def test_an_app_that_is_left_in_the_middle_of_an_apply_stops_nothing(sim: Sim):
    terminal = Terminal(sim, 5)
    try:
        terminal.planned("base")
        terminal.type("a")
        deadline = time.monotonic() + 30
        while not state(sim):  # the journal comes before the first write
            assert time.monotonic() < deadline
        terminal.type("q")
        terminal.goes()
        while not any(each in ("applied", "rolled-back") for each in state(sim)):
            assert time.monotonic() < deadline, state(sim)
            time.sleep(0.05)
        assert any(record["record"] == "applied" for record in sim.store.get(1).contents.records)  # it came to its end
        undone(sim)
    finally:
        terminal.close()
