"""Runs the engine's commands as processes of their own; the app only views what they say.

``apply`` gets a session of its own: the loss of this terminal reaches neither it nor its undo timer.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tuner.host.text import printable
from ui.app.aside import weigh_as_before

Progress = Callable[[str], None]


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
        self._options = tuple(options)

    async def run(self, *arguments: str, progress: Progress | None = None) -> Answer:
        """See Runner."""
        try:
            process = await self._start(arguments)
        except (OSError, ValueError) as error:  # no memory for another process; a NUL in a name
            return Answer(1, {"error": printable(f"quietcore {arguments[0]} could not be started: {error}")})
        words: list[str] = []

        async def listen() -> None:
            if process.stderr is not None:
                async for line in process.stderr:
                    words.append(printable(line.decode("utf-8", "replace").rstrip()))
                    if progress is not None:
                        progress(words[-1])

        async def read() -> bytes:
            return await process.stdout.read() if process.stdout is not None else b""

        out, _ = await asyncio.gather(read(), listen())
        status = await process.wait()
        try:
            record = json.loads(out) if out.strip() else {}
        except ValueError:
            record = {}
        return Answer(status, record if isinstance(record, dict) else {}, tuple(words))

    async def _start(self, arguments: Sequence[str]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", "ui.cli.main", *self._options, "--json", *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True, limit=1 << 24, preexec_fn=weigh_as_before,
        )  # fmt: skip
