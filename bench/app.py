"""what the app costs that is left open: drawing, start, memory, and a terminal that hangs

The real command, 200x50 in a tmux server of its own (on a pty where there is no tmux), fed with 128 cores, 64 interrupts and
two NICs of 16 queues that are made up: a program stands in for the collector, everything else is the app's own. Calm: nine of
ten cells are zero and one in twenty changes at a tick; busy: every one changes. CPU time is that of the whole process, all
threads, user and system, per second of wall clock. The histories are full before anything is measured.

Beside it, in the same run: Textual at rest, one line widget of Textual redrawn with as much, two DataTables of the same cells,
and the least that could do it, rows compared and written. None of them reads samples or keeps histories.

Start is of the whole command on this host, from exec to the first figures of a real sample; the collector is a process of its
own, and its cost is told apart. A paint costs what the files cost that are imported: compiled ones, here. Resident is what
/proc/PID/smaps_rollup says of app and collector: the proportional set shares a page among those who map it.

A terminal that hangs is a pty that nobody reads. The undo is of a real transaction on a simulated host, applied by keys.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.app_feed import app_words, stand_in
from bench.app_stall import stall, undone
from bench.figures import Board, Figure, UnavailableError, median, spread
from bench.terminal import Terminal, Tmux, children, cpu_ns, memory_mb, switches, tmux, written
from ui.start import FRAME

CALM_2, CALM_10 = 1.0, 4.0  # per cent of a core
FIRST_BYTE_MS, PAINT_MS, RESIDENT_MB, RECOVERED_S = 15.0, 300.0, 60.0, 2.0
SECONDS, FILLED_S, STALL_S, STARTS = 20.0, 62.0, 30.0, 9
RIVALS = str(Path(__file__).with_name("app_rivals.py"))
HOST = "ny4-md-07"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process did in a while."""

    percent: float
    wakes_per_s: float
    kb_per_s: float
    resident_mb: float

    def note(self) -> str:
        """All but the first, in words."""
        return f"{self.wakes_per_s:.0f} wake-ups/s, {self.kb_per_s:.0f} kB/s, {self.resident_mb:.0f} MB"


def cost_of(pid: int, seconds: float, pass_by: Callable[[float], None] = time.sleep) -> Cost:
    """Looks at a process for so long."""
    cpu, wakes, out, start = cpu_ns(pid), switches(pid), written(pid), time.monotonic()
    pass_by(seconds)
    passed = time.monotonic() - start
    spent = cpu_ns(pid) - cpu
    if not spent:
        raise UnavailableError(f"process {pid} is gone, or did nothing")
    return Cost(spent / passed / 1e7, (switches(pid) - wakes) / passed, (written(pid) - out) / passed / 1e3, memory_mb(pid)[0])


class Window:
    """A program in a window: of tmux where there is one, else on a pty that is read."""

    def __init__(self, server: Tmux | None, words: list[str]) -> None:
        self._server, self._pty = server, None if server is not None else Terminal(words)
        self.pid = server.run(words) if server is not None else self._pty.pid  # type: ignore[union-attr]

    def until(self, marker: str) -> None:
        came = self._server.until(marker, 40) if self._server is not None else self._pty.until(marker.encode(), 40)
        if not came:
            raise UnavailableError(f"{marker!r} did not appear")

    def type(self, keys: str) -> None:
        for key in keys:
            (self._server or self._pty).type(key)
            self.wait(0.3)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds) if self._pty is None else self._pty.watch(seconds)

    def cost(self, seconds: float) -> Cost:
        return cost_of(self.pid, seconds, self.wait)

    def close(self) -> None:
        self._server.end() if self._server is not None else self._pty.close()


@contextlib.contextmanager
def window(server: Tmux | None, words: list[str]) -> Iterator[Window]:
    made = Window(server, words)
    try:
        yield made
    finally:
        made.close()


def app_costs(server: Tmux | None, seconds: float, filled_s: float) -> dict[str, Cost]:
    """The app at both paces on both kinds of hosts."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="quietcore-bench-") as directory:
        for name, busy, hz in (("calm", False, 10.0), ("calm", False, 2.0), ("busy", True, 10.0), ("busy", True, 2.0)):
            interpreter = stand_in(directory, busy=busy, hz=hz)
            with window(server, app_words(interpreter, "--state", f"{directory}/state")) as made:
                made.until(HOST)
                made.type(">>" if hz == 10 else "")
                # two a second would take a minute longer to fill the histories that are drawn: half of them does
                made.wait(filled_s if hz == 10 else filled_s / 2)
                found[f"{name} {hz:g} Hz"] = made.cost(seconds)
    return found


def rival_costs(server: Tmux | None, seconds: float) -> dict[str, Cost]:
    found = {}
    for name, kind, hz in (
        ("Textual at rest", "idle", 2), ("one line widget, 2 Hz", "lines", 2), ("one line widget, 10 Hz", "lines", 10),
        ("two DataTables, 2 Hz", "tables", 2), ("the least, 2 Hz", "plain", 2), ("the least, 10 Hz", "plain", 10),
    ):  # fmt: skip
        with window(server, [sys.executable, RIVALS, kind, str(hz)]) as made:
            made.wait(3.0)
            found[name] = made.cost(seconds)
    return found


def drawing(board: Board, seconds: float, filled_s: float) -> None:
    """Prints the cost of drawing."""
    with contextlib.ExitStack() as held:
        try:
            server: Tmux | None = held.enter_context(tmux())
        except UnavailableError as why:
            board.note(f"on a pty: {why}")
            server = None
        ours, rivals = app_costs(server, seconds, filled_s), rival_costs(server, seconds)
    for name, cost in ours.items():
        limit = {"calm 2 Hz": CALM_2, "calm 10 Hz": CALM_10}.get(name)
        board.put(Figure(f"app, {name}: CPU of one core", cost.percent, at_most=limit, unit="%", note=cost.note()))
    for name, cost in rivals.items():
        board.put(Figure(f"{name}: CPU of one core", cost.percent, unit="%", note=cost.note()))
    calm = ours["calm 2 Hz"].percent
    board.put(Figure("two DataTables / the app, calm, 2 Hz", rivals["two DataTables, 2 Hz"].percent / calm))
    board.put(Figure("the app, calm, 2 Hz / one line widget", calm / rivals["one line widget, 2 Hz"].percent))
    board.put(Figure("the app, calm, 2 Hz / the least", calm / rivals["the least, 2 Hz"].percent))


@dataclass(frozen=True, slots=True)
class Start:
    """One start: wall-clock milliseconds to the first byte, CPU and wall clock to the first figures, the collector's CPU."""

    first_ms: float
    first_cpu_ms: float
    paint_cpu_ms: float
    paint_ms: float
    collector_cpu_ms: float
    resident_mb: float
    shared_mb: float
    collector_mb: float
    collector_shared_mb: float


def start_of(state: str, settle_s: float) -> Start:
    """Starts the app on this host and waits for its figures."""
    words = [str(Path(sys.executable).with_name("quietcore")), "--state", state]
    with Terminal(words) as terminal:
        _must(terminal.until(FRAME.strip()[:20], 20), terminal)
        first = terminal.first_byte_s * 1e3, cpu_ns(terminal.pid) / 1e6
        _must(terminal.until(b"self ", 30), terminal)  # the header tells the cost of a sample that came
        paint = cpu_ns(terminal.pid) / 1e6, (time.monotonic() - terminal.started_s) * 1e3
        collector = next((pid for pid, command in children(terminal.pid).items() if " watch " in command), 0)
        spent = cpu_ns(collector) / 1e6
        terminal.watch(settle_s)
        app, other = memory_mb(terminal.pid), memory_mb(collector)
        terminal.type("q")
        terminal.ended()
    return Start(*first, *paint, spent, *app, *other)


def _must(came: bool, terminal: Terminal) -> None:
    if not came:
        raise UnavailableError(f"the app did not start: {bytes(terminal.output[-300:])!r}")


def starting(board: Board, rounds: int) -> None:
    """Prints what a start costs, and what is resident afterwards."""
    with tempfile.TemporaryDirectory(prefix="quietcore-bench-") as state:
        start_of(state, 0.0)  # compiles what was not, and warms the page cache
        found = [start_of(state, 5.0 if turn == rounds - 1 else 0.0) for turn in range(rounds)]
    first, cpu, paint = ([getattr(each, name) for each in found] for name in ("first_ms", "first_cpu_ms", "paint_cpu_ms"))
    board.put(
        Figure(
            "first byte: wall clock, least", min(first), FIRST_BYTE_MS, unit="ms", note=f"CPU {min(cpu):.0f} ms {spread(first)}"
        )
    )
    wall = median(each.paint_ms for each in found)
    board.put(
        Figure(
            "first figures on the screen: CPU", median(paint), PAINT_MS, unit="ms", note=f"{spread(paint)}, {wall:.0f} ms wall"
        )
    )
    board.put(Figure("the collector's CPU until then", median(each.collector_cpu_ms for each in found), unit="ms"))
    last = found[-1]
    parts = f"app {last.shared_mb:.0f}, collector {last.collector_shared_mb:.0f}"
    board.put(
        Figure(
            "proportional set, app and collector", last.shared_mb + last.collector_shared_mb, RESIDENT_MB, unit="MB", note=parts
        )
    )
    parts = f"app {last.resident_mb:.0f}, collector {last.collector_mb:.0f}; what both map is counted twice"
    board.put(Figure("resident set, app and collector", last.resident_mb + last.collector_mb, unit="MB", note=parts))


def hanging(board: Board, seconds: float) -> None:
    """Prints what a terminal that hangs does."""
    seen = stall(seconds)
    share = seen.samples / seen.due
    note = f"{seen.samples} in {seconds:.0f} s; the app wrote nothing for the last {seen.silent_s:.0f} s"
    board.put(Figure("hanging terminal: samples taken / due", share, at_least=0.95, note=note))
    board.put(Figure("hanging terminal: growth of the app", seen.grown_mb, at_most=8, unit="MB"))
    late = seen.recovered_s if seen.recovered_s is not None else float("inf")
    board.put(Figure("read again: until the newest sample is shown", late, at_most=RECOVERED_S, unit="s"))
    within = max(2, round(seconds / 3))
    came = undone(seconds, within)
    note = f"of a transaction to be kept within {within} s"
    board.put(
        Figure("hanging terminal: undone after", came if came is not None else float("inf"), within + 2, unit="s", note=note)
    )


def main(board: Board, *, brief: bool = False) -> None:
    """Prints all of it."""
    drawing(board, 3.0 if brief else SECONDS, 3.0 if brief else FILLED_S)
    starting(board, 2 if brief else STARTS)
    hanging(board, 4.0 if brief else STALL_S)
