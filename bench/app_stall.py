"""A terminal that takes nothing for a while, as a session that hangs: what goes on behind it, and what comes after it."""

import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.app_feed import app_words, stand_in
from bench.terminal import Terminal, children, memory_mb, written
from tuner.host.simulated import write_tree

_NUMBER = re.compile(rb"host-(\d{7})")
SWAPPINESS = "proc/sys/vm/swappiness"


@dataclass(frozen=True, slots=True)
class Stall:
    """What was seen.

    ``samples`` came from the collector meanwhile, of ``due``; ``silent_s`` is how long the app had written nothing at its end;
    ``grown_mb`` what its resident set grew by; ``recovered_s`` how long it took until the newest sample was on the screen, None
    where it did not come within ten seconds.
    """

    samples: int
    due: float
    silent_s: float
    grown_mb: float
    recovered_s: float | None


def stall(seconds: float, hz: float = 10.0) -> Stall:
    """Lets an app draw, at the pace of a busy host, on a terminal that nobody reads for so long."""
    with tempfile.TemporaryDirectory(prefix="quietcore-bench-") as directory:
        interpreter = stand_in(directory, busy=True, hz=hz, named=True)
        with Terminal(app_words(interpreter, "--state", f"{directory}/state")) as terminal:
            _must(terminal.until(b"host-", 30), "no sample came")
            terminal.type(">>")
            terminal.watch(1.5)
            collector = next(pid for pid, words in children(terminal.pid).items() if "app_feed" in words)
            resident, lines, before = memory_mb(terminal.pid)[0], _writes(collector), _newest(terminal)
            silent_s = _unread(terminal, seconds)
            samples = _writes(collector) - lines
            grown = memory_mb(terminal.pid)[0] - resident
            started = time.monotonic()
            recovered = None
            while time.monotonic() < started + 10 and recovered is None:
                terminal.read(0.05)
                if _newest(terminal) >= before + samples:
                    recovered = time.monotonic() - started
            return Stall(samples, seconds * hz, silent_s, grown, recovered)


def _unread(terminal: Terminal, seconds: float) -> float:
    """Reads nothing for so long; for how long of it the app wrote nothing."""
    end = time.monotonic() + seconds
    last, moved = -1, time.monotonic()
    while time.monotonic() < end:
        now = written(terminal.pid)
        if now != last:
            last, moved = now, time.monotonic()
        time.sleep(0.1)
    return time.monotonic() - moved


def undone(stall_s: float, within_s: int) -> float | None:
    """Applies a profile on a simulated host by keys, lets the terminal hang, and waits for the undo.

    Returns:
        seconds after the change at which it was undone, None where it was not while the terminal hung.
    """
    with tempfile.TemporaryDirectory(prefix="quietcore-bench-") as directory:
        write_tree(f"{directory}/host", nodes=1, cores=4, queues=2)
        file = Path(directory, "host", SWAPPINESS)
        before = file.read_text()
        words = app_words(None, "--root", f"{directory}/host", "--state", f"{directory}/state")
        words[2] = f"import ui.app.flow.transaction_control as t; t.CONFIRM_WITHIN_S = {within_s}; {words[2]}"
        with Terminal(words) as terminal:
            _must(terminal.until(b"SIMULATED", 30), "no sample came")
            terminal.type("6")
            _must(terminal.until(b"base", 15), "no profiles came")
            terminal.watch(1.0)
            terminal.type("\r")
            _must(terminal.until(b"nothing written", 20), "no plan came")
            terminal.type("a")
            deadline = time.monotonic() + 20
            while file.read_text() == before and time.monotonic() < deadline:
                terminal.read(0.05)
            changed = time.monotonic()
            _must(file.read_text() != before, "nothing was applied")
            while time.monotonic() < changed + stall_s:  # nobody reads; sizes keep the app drawing
                terminal.resize(200 + int(time.monotonic() * 10) % 40, 50)
                if file.read_text() == before:
                    return time.monotonic() - changed
                time.sleep(0.1)
    return None


def _must(came: bool, what: str) -> None:
    if not came:
        raise RuntimeError(f"the app is not there to be measured: {what}")


def _newest(terminal: Terminal) -> int:
    return max(map(int, _NUMBER.findall(bytes(terminal.output[-1 << 18 :]))), default=0)


def _writes(pid: int) -> int:
    """How often a process wrote: the stand-in writes each line at once."""
    return int(Path(f"/proc/{pid}/io").read_text().partition("syscw:")[2].split()[0])


__all__ = ["Stall", "stall", "undone"]
