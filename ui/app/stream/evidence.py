"""Evidence: a critical event freezes the minute before and the half minute after into a recording, whoever watches.

What sets it off is called where samples are read, and what writes is a thread of its own: a terminal that stalls stops the
app's loop within seconds, and that may be just when something happens. What came before is written at once, and the whole takes
its place when the time after is over, so that a process that is killed in between leaves what led to the event.
"""

import contextlib
import dataclasses
import platform
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ingest.recording import Samples
from ingest.sample import SCHEMA, Event, Sample
from tuner.host.text import printable
from ui.app.stream.evidence_files import EvidenceFiles, Kept

BEFORE_S, AFTER_S = 60.0, 30.0
_SLACK_S = 5.0  # a source that tells nothing any more is not waited for longer
_SHOWN_S = 30.0  # for so long the header names the newest file
_ALSO = 50  # other critical events within one recording that are named beside it
_LOOK_S = 0.5
_IRQ_FIELDS = ("irq", "name", "device", "queue", "per_s", "per_cpu_per_s", "requested", "effective", "managed")


@runtime_checkable
class Frozen(Samples, Protocol):
    """Samples of which a part can be written as a recording, from another thread than the one that adds to them."""

    def write(self, path: str, from_s: float, to_s: float) -> object:
        """Writes the samples of a span of wall-clock time as a file that ``quietcore replay`` opens.

        Raises:
            OSError: it cannot be written.
            LookupError: there is none in this span.
        """


@dataclass(slots=True)
class _Freeze:
    """One recording on its way. Times are the samples' wall clock; ``deadline`` is of time.monotonic()."""

    event: Event
    time_s: float
    sample: Sample | None
    to_s: float
    deadline: float
    by_hand: bool
    extended: bool = False
    closed: bool = False  # what comes now is in no file of it any more
    also: list[tuple[float, Event]] = field(default_factory=list)


class Evidence:
    """Freezes what the source keeps. All of it may be called from any thread.

    Args:
        past: what the source keeps; where that cannot be written, no evidence is.
        files: where it goes; None where there is no place for it.
        about: what goes beside the recording besides what the samples say: the version, the plan that is applied.
        before_s: what is kept of the time before an event.
        after_s: and of the time after it.
    """

    def __init__(
        self,
        past: Samples,
        files: EvidenceFiles | None,
        about: Callable[[], Mapping[str, Any]] = dict,
        before_s: float = BEFORE_S,
        after_s: float = AFTER_S,
    ) -> None:
        self.about, self.before_s, self.after_s = about, before_s, after_s
        self._past = past if isinstance(past, Frozen) else None
        self._files = files
        self._changed = threading.Condition()
        self._running: _Freeze | None = None
        self._thread: threading.Thread | None = None
        self._next: tuple[Event, float, Sample | None, bool] | None = None
        self._ending = False
        self._told: deque[tuple[float, Event]] = deque(maxlen=100)
        self._problem = ""
        self._newest: tuple[float, str] = (0.0, "")  # time.monotonic() of the file that was made last, and its name
        self._names: deque[tuple[float, str, str]] = deque(maxlen=200)  # (time, where, file) of events that have one
        self.why_not = self._why_not()
        self.armed = not self.why_not

    def _why_not(self) -> str:
        if self._files is None:
            return "there is no directory for it"
        if self._past is None:
            return "the samples of this source are not kept"
        try:
            self._files.check()
        except OSError as error:
            return _words(error)
        return ""

    # ---- what sets it off

    def saw(self, event: Event, time_s: float, sample: Sample | None = None) -> None:
        """An event came with the sample of this time, and with this sample. Returns at once."""
        if event.level == "crit" and not event.ended:
            with self._changed:
                if self.armed and not self._ending:
                    self._begin(event, time_s, sample, by_hand=False)

    def by_hand(self, time_s: float, sample: Sample | None = None) -> str:
        """Somebody wants the time around this one kept, that of a sample; what is done about it, in words."""
        if self.why_not:
            self.why_not = self._why_not()  # it may have been mended meanwhile
        if self.why_not:
            return f"no evidence is kept: {self.why_not}"
        with self._changed:
            running = self._running
            if running is not None and not running.time_s - self.before_s <= time_s <= running.to_s:
                return "another time is being kept just now; press e again when that is done"
            self._begin(Event("info", "evidence", "kept by hand"), time_s, sample, by_hand=True)
        return f"keeping {self.before_s:g} s before and {self.after_s:g} s after"

    def toggle(self) -> str:
        """Arms or disarms; where it stands now, in words."""
        if self.why_not:
            self.why_not = self._why_not()
        with self._changed:
            self.armed = not self.armed and not self.why_not
        if self.why_not:
            return f"the recorder cannot be armed: {self.why_not}"
        return (
            "armed: a critical event keeps the minute before it" if self.armed else "disarmed: e still keeps evidence by hand"
        )

    def _begin(self, event: Event, time_s: float, sample: Sample | None, by_hand: bool) -> None:
        running = self._running
        if running is None:
            deadline = time.monotonic() + self.after_s + _SLACK_S
            self._running = _Freeze(event, time_s, sample, time_s + self.after_s, deadline, by_hand)
            self._thread = threading.Thread(target=self._run, args=(self._running,), name="evidence", daemon=True)
            self._thread.start()
            return
        if running.closed:
            self._next = self._next or (event, time_s, sample, by_hand)
            return
        running.by_hand |= by_hand
        if not by_hand and len(running.also) < _ALSO:
            running.also.append((time_s, event))
        if not running.extended and time_s + self.after_s > running.to_s:
            running.extended = True
            running.to_s, running.deadline = time_s + self.after_s, time.monotonic() + self.after_s + _SLACK_S

    # ---- the thread

    def _run(self, freeze: _Freeze) -> None:
        kept = None
        if self._wait(freeze, 0.0):
            kept = self._keep(freeze, None, complete=False)
        while self._wait(freeze, _LOOK_S):
            pass
        with self._changed:
            freeze.closed, complete = True, self._arrived(freeze)
        whole = self._keep(freeze, kept, complete)
        with self._changed:
            made = whole or kept
            if made is not None:
                self._newest = time.monotonic(), made.name
                span = f"{self.before_s:g} s before, {freeze.to_s - freeze.time_s:g} s after"
                words = f"{made.name} frozen: {span}" if whole else f"{made.name} holds only what came before"
                self._told.append((freeze.time_s, Event("info", "evidence", f"{words}; quietcore replay {made.path}")))
            self._running, following = None, self._next
            self._next = None
            if following is not None and not self._ending:
                self._begin(*following)

    def _wait(self, freeze: _Freeze, seconds: float) -> bool:
        """Waits a little; whether there is more to come."""
        with self._changed:
            if seconds and not self._ending:
                self._changed.wait(seconds)
            return not self._ending and time.monotonic() < freeze.deadline and not self._arrived(freeze)

    def _arrived(self, freeze: _Freeze) -> bool:
        """Whether the source has all that is to be in it."""
        past = self._past
        with contextlib.suppress(LookupError):
            return past is not None and past.end > past.first and past.time_s(past.end - 1) >= freeze.to_s
        return False

    def _keep(self, freeze: _Freeze, instead: Kept | None, complete: bool) -> Kept | None:
        if self._files is None or self._past is None:
            return None
        write, from_s, to_s = self._past.write, freeze.time_s - self.before_s, freeze.to_s
        try:
            kept = self._files.keep(
                lambda path: write(path, from_s, to_s),
                lambda name: self._facts(freeze, name, complete),
                by_hand=freeze.by_hand,
                instead=instead,
            )
        except (OSError, LookupError, ValueError, RuntimeError) as error:
            self._fail(freeze, _words(error))
            return None
        with self._changed:
            self._problem = ""
            found = [(freeze.time_s, freeze.event), *freeze.also]
            self._names.extend((time_s, event.where, kept.path) for time_s, event in found)
        return kept

    def _fail(self, freeze: _Freeze, words: str) -> None:
        with self._changed:
            if words != self._problem:
                self._told.append((freeze.time_s, Event("warn", "evidence", f"none could be kept: {words}")))
            self._problem = words

    def _facts(self, freeze: _Freeze, name: str, complete: bool) -> dict[str, Any]:
        with self._changed:
            also = [{"time_s": time_s} | dataclasses.asdict(event) for time_s, event in freeze.also]
        facts: dict[str, Any] = {"schema": SCHEMA, "evidence": name, "by": "hand" if freeze.by_hand else "event"}
        facts |= {"complete": complete, "time_s": freeze.time_s, "from_s": freeze.time_s - self.before_s, "to_s": freeze.to_s}
        facts |= {"event": dataclasses.asdict(freeze.event), "also": also}
        facts |= _of_sample(freeze.sample)
        return facts | {"python": platform.python_version(), **self.about()}

    # ---- what the app shows

    def events(self) -> list[tuple[float, Event]]:
        """What became of it, since the last call."""
        with self._changed:
            found = list(self._told)
            self._told.clear()
        return found

    def file_of(self, time_s: float, where: str) -> str:
        """The recording of an event; empty where it has none."""
        with self._changed:
            found = (path for at_s, of, path in reversed(self._names) if of == where and abs(at_s - time_s) < 0.001)
            return next(found, "")

    def words(self) -> str:
        """Where it stands, for the header."""
        now = time.monotonic()
        with self._changed:
            if self._running is not None:
                return f"freezing {max(0, round(self._running.deadline - _SLACK_S - now))} s"
            if self._problem:
                return "evidence FAILED"
            if self._newest[1] and now - self._newest[0] < _SHOWN_S:
                return f"evidence {self._newest[1]}"
            return f"recorder armed, {self.before_s / 60:g} min" if self.armed else "recorder off"

    def close(self) -> None:
        """Ends what is on its way with what there is, and waits a few seconds for it."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(5.0)


def applied(history: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The transaction that holds the host as its profile wants it, of those that ``quietcore history`` lists, oldest first."""
    for each in reversed(history):
        if each.get("state") in ("applied", "confirmed"):
            return {name: each.get(name) for name in ("transaction", "profile", "state")}
    return None


def _of_sample(sample: Sample | None) -> dict[str, Any]:
    """Host and kernel, and the rows that say what was lost and what interrupted at that moment."""
    if sample is None:
        return {}
    return {
        "host": sample.host,
        "kernel": sample.kernel,
        "profile": sample.profile,
        "losses": [dataclasses.asdict(row) for row in sample.losses],
        "irqs": [{name: getattr(irq, name) for name in _IRQ_FIELDS} for irq in sample.irqs if irq.per_s],
    }


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{error.filename or ''}: {error.strerror}".removeprefix(": "), 200)
    return printable(str(error) or type(error).__name__, 200)
