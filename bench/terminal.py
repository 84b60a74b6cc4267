"""Programs on a terminal of their own, a pty or a tmux window, and what the kernel says that they cost."""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from bench.figures import UnavailableError

ROOT = Path(__file__).resolve().parents[1]
SIZE = (200, 50)
KEPT = 1 << 22  # bytes of a terminal's output


def environment(**more: str) -> dict[str, str]:
    """What a program on a modern terminal finds, whatever this one is."""
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX", "COLUMNS", "LINES")}
    return plain | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT)} | more


class Terminal:
    """A program on a pty, and whoever looks at it: nothing is read unless somebody asks, so a stall is doing nothing.

    Args:
        words: the program and its arguments.
        size: columns and rows.
        more: what its environment has beside ours.
        without: names that its environment has not.
    """

    def __init__(
        self,
        words: Sequence[str],
        size: tuple[int, int] = SIZE,
        more: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
    ) -> None:
        self.output = bytearray()
        self.read_bytes = 0
        self.first_byte_s = 0.0
        self.master, slave = os.openpty()
        self.resize(*size)
        given = {name: value for name, value in environment(**more or {}).items() if name not in without}

        def controlling() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.started_s = time.monotonic()
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, env=given, cwd=ROOT, start_new_session=True,
            preexec_fn=controlling,  # noqa: PLW1509 - one ioctl
        )  # fmt: skip
        self.before = termios.tcgetattr(slave)
        self.slave = slave  # kept: what the program left behind can be asked for when it is gone

    @property
    def pid(self) -> int:
        """The program's process."""
        return self.process.pid

    def resize(self, columns: int, rows: int) -> None:
        """Another size; the kernel sends SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Types."""
        os.write(self.master, keys.encode())

    def read(self, seconds: float) -> bytes:
        """What comes within so long; returns at the first."""
        if not select.select([self.master], [], [], max(0.0, seconds))[0]:
            return b""
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:  # EIO: nobody holds the other end any more
            return b""
        if data and not self.first_byte_s:
            self.first_byte_s = time.monotonic() - self.started_s
        self.read_bytes += len(data)
        self.output += data
        del self.output[:-KEPT]
        return data

    def until(self, marker: bytes, seconds: float = 20.0, since: int | None = None) -> bool:
        """Reads until a text comes, behind the first ``since`` bytes ever read; False where it does not come in time."""
        deadline = time.monotonic() + seconds
        while True:
            start = 0 if since is None else max(0, len(self.output) - (self.read_bytes - since))
            if marker in self.output[start:]:
                return True
            if time.monotonic() >= deadline:
                return False
            if not self.read(min(0.05, deadline - time.monotonic())) and self.process.poll() is not None:
                while self.read(0.0):
                    pass
                return marker in self.output[start:]

    def watch(self, seconds: float) -> None:
        """Reads for so long, like a terminal that is looked at."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not self.read(min(0.05, left)) and self.process.poll() is not None:
                time.sleep(min(0.02, left))

    def ended(self, seconds: float = 10.0) -> int | None:
        """Reads until it ended; its status, None where it does not end in time."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(0.02)
        while self.read(0.0):
            pass
        return self.process.poll()

    def close(self) -> None:
        """Ends it, however it stands."""
        if self.process.poll() is None:
            for number in (signal.SIGCONT, signal.SIGTERM):
                with contextlib.suppress(OSError):
                    self.process.send_signal(number)
            if self.ended(3.0) is None:
                self.process.kill()
                self.process.wait()
        os.close(self.slave)
        os.close(self.master)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Tmux:
    """A tmux server of its own, without anybody's configuration; it ends with this."""

    def __init__(self) -> None:
        if shutil.which("tmux") is None:
            raise UnavailableError("tmux is not installed")
        self._directory = tempfile.mkdtemp(prefix="quietcore-tmux-")
        self._socket = os.path.join(self._directory, "socket")

    def _ask(self, *words: str) -> str:
        run = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *words],
            capture_output=True, text=True, timeout=20, check=False, env=environment(), cwd=ROOT,
        )  # fmt: skip
        return run.stdout.strip()

    def run(self, words: Sequence[str], size: tuple[int, int] = SIZE) -> int:
        """Starts a program in a window of its own; its process."""
        columns, rows = map(str, size)
        name = f"w{time.monotonic_ns()}"
        self._ask("new-session", "-d", "-s", name, "-x", columns, "-y", rows, *words)
        self._ask("set", "-t", name, "status", "off")
        self._ask("resize-window", "-t", name, "-x", columns, "-y", rows)
        self.name = name
        pid = self._ask("list-panes", "-t", name, "-F", "#{pane_pid}")
        if not pid.isdigit():
            raise UnavailableError(f"tmux started nothing: {' '.join(words)}")
        return int(pid)

    def type(self, *keys: str) -> None:
        """Types into the newest window."""
        self._ask("send-keys", "-t", self.name, *keys)

    def text(self, tones: bool = False) -> str:
        """What the newest window shows."""
        return self._ask("capture-pane", "-p", *(["-e"] if tones else []), "-t", self.name)

    def until(self, marker: str, seconds: float = 20.0) -> bool:
        """Waits until the newest window shows a text."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if marker in self.text():
                return True
            time.sleep(0.1)
        return False

    def end(self) -> None:
        """Ends the newest window and what runs in it."""
        self._ask("kill-session", "-t", self.name)

    def close(self) -> None:
        """Ends the server."""
        self._ask("kill-server")
        shutil.rmtree(self._directory, ignore_errors=True)


@contextlib.contextmanager
def tmux() -> Iterator[Tmux]:
    """A server for the time being.

    Raises:
        UnavailableError: there is no tmux.
    """
    made = Tmux()
    try:
        yield made
    finally:
        made.close()


def cpu_ns(pid: int) -> int:
    """CPU time of a process in nanoseconds, all its threads, user and system; 0 where it is gone.

    Threads that ended are in /proc/PID/stat alone, in ticks of 10 ms: the larger of both is told.
    """
    total = 0
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks_ns = (int(fields[11]) + int(fields[12])) * (10**9 // os.sysconf("SC_CLK_TCK"))
        total = max(total, ticks_ns)
    return total


def switches(pid: int) -> int:
    """How often the threads of a process went to sleep of their own accord."""
    total = 0
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/task/{thread}/status").read_text()
                total += int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return total


def written(pid: int) -> int:
    """Bytes that a process wrote, wherever to."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/io").read_text().partition("wchar:")[2].split()[0])
    return 0


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident and proportional set size of a process in 10**6 bytes (proc_pid_smaps(5)); 0, 0 where it is gone."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = {line.split(":")[0]: line.split()[1] for line in text.splitlines()[1:] if line.endswith("kB")}
        return int(found["Rss"]) * 1024 / 1e6, int(found["Pss"]) * 1024 / 1e6
    return 0.0, 0.0


def children(pid: int) -> dict[int, str]:
    """The child processes of one, with their command lines."""
    found = {}
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                words = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                found[int(child)] = words
    return found
