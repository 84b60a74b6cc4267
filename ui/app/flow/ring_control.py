"""Opens a packet ring in a process of its own and takes what it prints."""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tuner.host.text import printable
from ui.app.state.model import RingView
from ui.app.stream.source import die_with_parent


class RingControl(Protocol):
    """Starts, stops and reads a ring."""

    def start(self, view: RingView, interface: str) -> None:
        """Opens a ring on an interface."""

    def stop(self, view: RingView) -> None:
        """Closes it; its last report stays in view."""

    def poll(self, view: RingView) -> None:
        """Takes what came since the last time into view."""


class ChildRing:
    """``quietcore ring packet:IF --interval 1s`` as a child."""

    def __init__(self, options: Sequence[str]) -> None:
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._records: list[Mapping[str, Any]] = []
        self._ended = ""

    def start(self, view: RingView, interface: str) -> None:
        """See RingControl."""
        view.interface, view.running, view.problem, view.record = interface, True, "", {}
        view.packets = view.drops = 0
        view.packets_per_s.clear()
        view.p99_us.clear()
        self._ended = ""
        arguments = [*self._options, "--json", "ring", f"packet:{interface}", "--interval", "1s"]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "ui.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl, as for the collector
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="ring", daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None or process.stderr is None:
            return
        for line in process.stdout:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                self._records.append(record)
        words = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        status = process.wait()
        self._ended = printable(words[-1], 200) if words and status else "closed"

    def poll(self, view: RingView) -> None:
        """See RingControl."""
        while self._records:
            self._take(view, self._records.pop(0))
        if view.running and self._ended:
            view.running = False
            view.problem = "" if self._ended == "closed" else self._ended

    @staticmethod
    def _take(view: RingView, record: Mapping[str, Any]) -> None:
        """One report: of an interval while it runs, of the whole run at its end."""
        if "total" not in record:
            view.problem = printable(str(record.get("error", "")), 200)
            return
        view.record = record
        total = record["total"]
        packets, drops = int(total.get("packets", 0)), int(total.get("drops", 0))
        if record.get("part") == "whole":
            view.packets, view.drops = packets, drops
            return
        view.packets += packets
        view.drops += drops
        view.packets_per_s.append(packets / float(record.get("seconds") or 1.0))
        view.p99_us.append(((total.get("latency") or {}).get("p99_ns") or 0) / 1000)

    def stop(self, view: RingView) -> None:
        """See RingControl."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(3.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._reader is not None:
            self._reader.join(2.0)
        self.poll(view)
        view.running = False
