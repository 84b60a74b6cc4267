"""What the app knows: the newest sample, a little history, and where a transaction stands. No widget, no I/O."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ingest.sample import Event, Sample

HISTORY = 240


@dataclass(slots=True)
class Model:
    """The state that all panes draw."""

    sample: Sample | None = None
    paused: bool = False
    paused_at_s: float = 0.0
    refresh_hz: float = 2.0
    may_change: bool = False
    why_not: str = ""
    events: deque[tuple[float, Event]] = field(default_factory=lambda: deque(maxlen=200))
    core_history: dict[int, deque[float]] = field(default_factory=dict)
    nic_history: dict[str, deque[float]] = field(default_factory=dict)
    loss_history: dict[str, deque[float]] = field(default_factory=dict)
    _sequence: int = -1

    def take(self, sample: Sample) -> bool:
        """A new sample into view and history; False where it is the one already seen."""
        if sample.sequence == self._sequence:
            return False
        self._sequence = sample.sequence
        for event in sample.events:
            self.events.appendleft((sample.time_s, event))
        for core in sample.cores:
            self._append(self.core_history, core.cpu, core.interruptions_per_s)
        for nic in sample.nics:
            self._append(self.nic_history, nic.name, nic.rx_packets_per_s)
            self._append(self.loss_history, nic.name, nic.drops_per_s)
        if not self.paused:
            self.sample = sample
        return True

    @staticmethod
    def _append(history: dict[Any, deque[float]], key: object, value: float) -> None:
        history.setdefault(key, deque(maxlen=HISTORY)).append(value)


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


@dataclass(slots=True)
class ProfilesView:
    """Profiles, the plan that was made last, and the transaction on its way."""

    profiles: list[Mapping[str, Any]] = field(default_factory=list)
    selected: int = 0
    plan: Mapping[str, Any] = field(default_factory=dict)
    planned: str = ""
    scroll: int = 0
    steps: list[tuple[str, str, str]] = field(default_factory=list)  # (step, state, words)
    waiting: int | None = None  # the transaction that is to be kept or undone
    deadline: float = 0.0  # time.monotonic() at which it undoes itself
    busy: str = ""
    history: list[Mapping[str, Any]] = field(default_factory=list)

    def step(self, name: str, state: str, words: str = "") -> None:
        """Sets or adds one step of the flow."""
        for place, (known, _, _) in enumerate(self.steps):
            if known == name:
                self.steps[place] = (name, state, words)
                return
        self.steps.append((name, state, words))
