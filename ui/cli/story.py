"""The demo's story in the sample stream: the life of its host by the script, its likeness of packet rings, and the remedy.

See ``tuner.host.simulated.story`` for what happens when.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from ingest.collector import Collector
from ingest.ring_samples import RingReader
from ingest.sample import Event, Sample
from ingest.simulated_rings import SimulatedRings, following
from tuner.host.simulated.story import Story, Told
from tuner.host.text import printable
from ui.cli.context import Context
from ui.cli.demo import ALLOWED, PROFILE

_ENDS_S = 10.0  # an apply that is told to stop ends its change and rolls back
_SHOWN = 4  # changes that are named
# a fixed morning, so that the same story has the same times
STILL_BEGAN = (1_773_063_000.0, 10**12)


class ChildRemedy:
    """The shipped profile, applied by the real command in a process of its own, as anybody would.

    Args:
        context: of the host.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._words = [f"--root={context.root}", f"--state={context.store.directory}", "--json"]
        self._child: subprocess.Popen[str] | None = None

    def wanted(self) -> bool:
        """See Remedy. Not on a host that somebody took the profile from, or where a transaction waits."""
        boot_id = self._context.host.syscalls.boot_id()
        active = self._context.store.active(boot_id)
        return active is not None and active.profile == PROFILE and self._context.store.pending(boot_id) is None

    def start(self) -> str:
        """See Remedy."""
        words = ["apply", PROFILE, "--allow", ALLOWED]
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-m", "ui.cli.main", *self._words, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return f"nobody did it: the demo applies the profile as it is shipped: quietcore {' '.join(words)}"

    def outcome(self, wait: bool) -> Told | None:
        """See Remedy."""
        if self._child is None or (self._child.poll() is None and not wait):
            return None
        out, words = self._child.communicate()
        status, self._child = self._child.returncode, None
        try:
            record = json.loads(out)
        except ValueError:
            record = {}
        if status:
            return Told("warn", "remedy", f"it ended with status {status}: {record.get('error') or 'no reason was given'}")
        changes = [line for line in words.splitlines() if " -> " in line]
        shown = "; ".join(changes[:_SHOWN]) + (f"; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else "")
        number, outcome = record.get("transaction"), record.get("outcome")
        return Told(
            "info", "remedy", f"transaction {number} is {outcome}: {shown}" if number else "there was nothing to change"
        )

    def close(self) -> None:
        """See Remedy."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.communicate(timeout=_ENDS_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
        self._child = None


def told_samples(
    context: Context,
    interval_s: float,
    count: int | None,
    pace: float,
    held: ExitStack,
    began: tuple[float, int] | None = None,
    wait: Callable[[float], float | None] | None = None,
) -> Iterator[Sample]:
    """The samples of a simulated host while its story is told.

    Args:
        context: of the host.
        interval_s: between samples, by the story's clock.
        count: of them; None: for ever.
        pace: seconds of the story in one second. With 1 the remedy takes its time beside it; else the story waits for it.
        held: what is to be closed in the end.
        wait: see ``Collector.stream``.
        began: wall clock (s) and CLOCK_MONOTONIC (ns) at its beginning; now, where not given.

    Raises:
        ShapeError: the host is no simulated one.
        OSError: it cannot be read or written.
    """
    story = Story(context.host, ChildRemedy(context), patient=pace != 1, began=began)
    held.callback(story.close)
    rings = SimulatedRings(context.host, story)
    collector = Collector(
        context.host, context.profile_and_roles, RingReader(rings, context.host.files, following()), clock=story
    )
    held.callback(collector.close)
    live = pace == 1
    stream = (
        collector.stream(interval_s, count, story.advance, wait) if live else _paced(collector, story, interval_s, count, pace)
    )
    for sample in stream:
        news = tuple(Event(each.level, each.where, printable(each.what, 300), key="remedy") for each in story.news())
        yield replace(sample, events=(*sample.events, *news)) if news else sample


def _paced(collector: Collector, story: Story, interval_s: float, count: int | None, pace: float) -> Iterator[Sample]:
    """Samples faster or slower than the story's clock goes; one that is late puts the others off."""
    collector.tick()
    taken = 0
    while count is None or taken < count:
        due = time.monotonic() + interval_s / pace
        story.advance(interval_s)
        yield collector.tick()
        taken += 1
        time.sleep(max(0.0, due - time.monotonic()))


def still_samples(context: Context, until_s: float, interval_s: float = 0.5) -> Iterator[Sample]:
    """The samples of the story up to a time of it, as fast as they can be had, and the same each time but for their cost.

    Args:
        context: of a host that ``make_demo`` just made.
        until_s: how far, in seconds of the story.
        interval_s: between samples.
    """
    with ExitStack() as held:
        yield from told_samples(context, interval_s, round(until_s / interval_s), float("inf"), held, STILL_BEGAN)
