"""``quietcore watch --ring`` as a process at the far end of two veth pairs, and its samples."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from two_lines import IN_NAMESPACE, PATIENCE_S, PROJECT, TwoLines

WATCH = [sys.executable, "-m", "ui.cli.main", "watch", "--json", "--interval", "0.1"]


class WatchProcess:
    """The command, watching when made. ``samples`` are all that were read; ``sums`` what its rates add up to."""

    def __init__(self, lines: TwoLines, feed_file: Path, *words: str, sources: str = "AB", feed: str = "itch") -> None:
        rings = [f"--ring=packet:{lines.into[line]}" for line in sources]
        feeds = ["--feed", feed, "--feed-file", str(feed_file)] if feed else []
        self.process = lines.pair.far.call(
            subprocess.Popen,
            [*IN_NAMESPACE, *WATCH, *rings, *feeds, *words],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.samples: list[dict[str, Any]] = []
        self.events: list[tuple[str, str, str]] = []
        self.alerts: list[tuple[str, str, str]] = []
        self.sums: Counter[tuple[Any, ...]] = Counter()
        self.next()

    def next(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        sample: dict[str, Any] = json.loads(line)
        self.samples.append(sample)
        for each in sample["events"]:  # what has an onset and an end is an alert; here it is about verdicts
            told = self.alerts if each["key"] else self.events
            told.append((each["level"], each["where"], each["what"]))
        for row in sample["losses"]:
            if row["stage"] in (21, 26) and row["visible"]:
                self.sums[row["stage"], row["where"], row["counter"]] += row["per_s"] * sample["interval_s"]
        for ring in sample["rings"]:
            for name in ("packets", "bytes", "drops"):
                self.sums["ring", ring["source"], name] += ring[name]
        return sample

    def until(self, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        limit = time.monotonic() + PATIENCE_S
        while not condition(self.samples[-1]):
            assert time.monotonic() < limit, f"never: {what}: {self.events}, {self.samples[-1]['rings']}"
            self.next()
        return self.samples[-1]

    def has_all(self, count: int) -> dict[str, Any]:
        """Waits until so many packets are accounted for."""
        return self.until(lambda sample: sum(accounted(sample).values()) == count, f"{count} packets are accounted for")

    def says(self, words: str) -> tuple[str, str, str]:
        """Waits for an event."""
        self.until(lambda _: any(words in each[2] for each in self.events), words)
        return next(each for each in self.events if words in each[2])

    def stopped(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        limit = time.monotonic() + PATIENCE_S
        while self._state() != "T":
            assert time.monotonic() < limit
            time.sleep(0.005)

    def _state(self) -> str:
        with open(f"/proc/{self.process.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]

    def goes_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def accounted(sample: dict[str, Any]) -> dict[str, int]:
    """Source -> packets read or dropped since the beginning."""
    found: dict[str, int] = {}
    for ring in sample["rings"]:
        found[ring["source"]] = found.get(ring["source"], 0) + ring["total"]["packets"] + ring["total"]["drops"]
    return found


def feeds(sample: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Line, or ``A+B`` -> (received, lost)."""
    return {each.get("line", each.get("stream")): (each["received"], each["lost"]) for each in sample["feeds"]}


def rows(sample: dict[str, Any], stage: int) -> dict[str, int]:
    """Where -> total, of what is lost or missing at a stage."""
    shown = [row for row in sample["losses"] if row["stage"] == stage and row["visible"] and row["kind"] != "warning"]
    return {row["where"]: row["total"] for row in shown}
