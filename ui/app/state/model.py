"""What the app knows and shows: the sample on screen, what led to it, where ring and transaction stand. No widget, no I/O."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ingest.sample import Event, Sample
from tuner.host.text import printable
from ui.app.flow.transaction_view import ProfilesView
from ui.app.state.event_log import EventLog
from ui.app.state.event_places import names_of
from ui.app.state.history import History
from ui.keys import Screen

HISTORY = 240
Kind = Literal["live", "demo", "files", "view", "replay"]


@dataclass(slots=True)
class Model:
    """The state that all screens draw.

    ``kind`` says where samples come from: ``live``, ``demo``, ``files`` (another root), ``view`` (a stream on stdin) or
    ``replay``. What changes the host works on the first three alone, and only where ``may_change``; ``why_not`` says why not.
    """

    kind: Kind = "live"
    source_name: str = ""
    sample: Sample | None = None
    history: History = field(default_factory=History)
    paused: bool = False
    refresh_hz: float = 2.0
    may_change: bool = False
    why_not: str = ""
    armed: bool = True  # the recorder freezes the last minute at a critical event
    recorder: str = ""  # what it holds, in words
    message: str = ""  # the newest word of the app itself, shown until the next key
    message_tone: str = ""
    events: deque[tuple[float, Event]] = field(default_factory=lambda: deque(maxlen=500))  # the newest first
    log: EventLog = field(default_factory=EventLog)  # the same as matters

    def matters(self) -> EventLog:
        """The log, with what came since it was asked for last."""
        if not self.log.is_up_to(self.events):
            self.log.look(self.events, names_of(self.sample))
        return self.log

    def tell(self, words: str, tone: str = "") -> None:
        """A word in the line above the footer."""
        self.message, self.message_tone = printable(words, 400), tone


@dataclass(frozen=True, slots=True)
class Pointed:
    """What the cursor is on.

    ``kind`` and ``key``: ``core`` (its number), ``irq`` (its label), ``nic``, ``queue`` (``eth2/3``), ``loss``
    (``stage/where/counter``), ``feed``, ``event``, ``profile``, ``change`` (``knob/target``), or empty where it is on nothing.
    ``command`` is the command line that shows the same, for the clipboard.
    """

    kind: str = ""
    key: str = ""
    words: str = ""
    command: str = ""
    goes_to: tuple[Screen, str, str] | None = None  # (screen, kind, key): where Enter leads
    record: object = None  # the sample's own record of it, where there is one


@dataclass(frozen=True, slots=True)
class Listing:
    """What a screen lists, as rows of named values: for export, and for the palette to find by name."""

    name: str
    rows: Sequence[Mapping[str, object]] = ()


@dataclass(slots=True)
class RingView:
    """The packet ring that this app runs: what it printed last."""

    interface: str = ""
    running: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    packets_per_s: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    p99_us: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    packets: int = 0  # since it was opened
    drops: int = 0


__all__ = ["HISTORY", "Listing", "Model", "Pointed", "ProfilesView", "RingView"]
