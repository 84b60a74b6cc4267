"""Runs the engine's commands as processes of their own; the app only views what they say.

``apply`` gets a session of its own: the loss of this terminal reaches neither it nor its undo timer.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tuner.host.text import printable
from ui.app.aside import weigh_as_before

Progress = Callable[[str], None]
# in JSON whatever is unsafe to show is an escape; most answers hold none
_ESCAPED = re.compile(rb"\\[ubfnrt]|\x7f")
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said: its exit status, its JSON object (empty without one), its words."""

    status: int
    record: dict[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        return str(self.record.get("error") or (self.words[-1] if self.words else f"exit status {self.status}"))


class Runner(Protocol):
    """Runs one command."""

    async def run(self, *arguments: str, progress: Progress | None = None) -> Answer:
        """Its answer. ``progress`` is told each line of its words as it comes."""


class ChildRunner:
    """Runs the real command.

    Args:
        options: global options, before the command: ``--root``, ``--state``.
    """

    def __init__(self, options: Sequence[str]) -> None:
        self.options = tuple(options)
        self._words = (*options, "--json")

    async def run(self, *arguments: str, progress: Progress | None = None) -> Answer:
        """See Runner.

        Heard by a thread that nobody waits for: asyncio kills the children that it knows when its loop ends, and an apply goes
        on. It is started before this waits for anything: what the app says is on its way is.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Answer] = loop.create_future()

        def soon(what: Callable[..., object], *words: object) -> None:
            with contextlib.suppress(RuntimeError):  # the app is gone
                loop.call_soon_threadsafe(what, *words)

        def told(line: str) -> None:
            if progress is not None:
                soon(progress, line)

        def finish(answer: Answer) -> None:
            if not done.cancelled():
                done.set_result(answer)

        try:
            process = _started([*self._words, *arguments])
        except OSError as error:
            return Answer(1, words=(f"{sys.executable}: {error.strerror}",))

        def work() -> None:
            soon(finish, _heard(process, told))

        threading.Thread(target=work, name=f"quietcore {arguments[0]}", daemon=True).start()
        return await done


def _started(words: Sequence[str]) -> "subprocess.Popen[bytes]":
    """The command with these words in a session of its own: no signal of this terminal reaches it."""
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "ui.cli.main", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=weigh_as_before,  # noqa: PLW1509 - one system call and nothing of Python's that another thread may hold
    )  # fmt: skip


def _cleaned(value: Any) -> Any:
    """JSON with every text of it safe to show: names come from files, and values from drivers."""
    if isinstance(value, str):
        return printable(value, _LONGEST)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {printable(str(name), _LONGEST): _cleaned(each) for name, each in value.items()}
    return value


def _heard(process: "subprocess.Popen[bytes]", told: Progress) -> Answer:
    """What a command says, to its end."""
    out: list[bytes] = []
    words: list[str] = []

    def read() -> None:
        out.append(process.stdout.read() if process.stdout is not None else b"")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    if process.stderr is not None:
        for line in process.stderr:
            words.append(printable(line.decode("utf-8", "replace").rstrip(), 400))
            told(words[-1])
    reader.join()
    status = process.wait()
    said = b"".join(out)
    try:
        record = json.loads(said) if said.strip() else {}
        record = _cleaned(record) if _ESCAPED.search(said) else record
    except (ValueError, RecursionError):
        record = {}
    return Answer(status, record if isinstance(record, dict) else {}, tuple(words))
