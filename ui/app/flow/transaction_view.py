"""What the Profiles screen shows: profiles, the lines of a plan with what is picked of them, and how far the transaction is."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STEPS = ("1 plan", "2 apply", "3 verify", "4 keep")
_ALIKE = ("knob", "wanted", "state", "why", "error", "disruption")
_DONE = ("ok", "ok-rounded")
_SHOWN = 60
MARKS = {
    "ok": "=", "ok-rounded": "=", "differs": "~", "pending-reboot": "x", "kernel-managed": "k", "unsupported": "-",
    "unverifiable": "?", "gone": "!", "failed": "!",
}  # fmt: skip


def key_of(change: Mapping[str, Any]) -> str:
    """``knob/target``: what a change is called between screens."""
    return f"{change.get('knob')}/{change.get('target')}"


@dataclass(frozen=True, slots=True)
class PlanLine:
    """Changes that want the same of neighbours: a host has hundreds of interrupts."""

    changes: tuple[Mapping[str, Any], ...]

    @property
    def first(self) -> Mapping[str, Any]:
        """The one that stands for all."""
        return self.changes[0]

    @property
    def key(self) -> str:
        """What the line is called."""
        return key_of(self.first)

    @property
    def state(self) -> str:
        """``differs`` and the others of the engine."""
        return str(self.first.get("state"))

    @property
    def disruption(self) -> str:
        """What it disturbs, empty for nothing."""
        found = str(self.first.get("disruption") or "")
        return "" if found == "none" else found

    @property
    def to_do(self) -> bool:
        """Whether applying it would write something."""
        return self.state == "differs"

    @property
    def mark(self) -> str:
        """``~`` changes, ``+`` comes new, ``x`` with the next boot, ``=`` is as wanted, ``!`` cannot be had."""
        if self.to_do and self.disruption == "reboot":
            return "x"
        if self.to_do and self.first.get("now") in (None, "", "none"):
            return "+"
        return MARKS.get(self.state, " ")

    @property
    def when(self) -> str:
        """Whether it is done at once or by the next boot."""
        return "boot" if self.disruption == "reboot" or self.state == "pending-reboot" else "now" if self.to_do else "-"

    @property
    def target(self) -> str:
        """On what, with how many more."""
        more = len(self.changes) - 1
        return f"{self.first.get('target')}{f' +{more}' if more else ''}"

    @property
    def now(self) -> str:
        """What is there."""
        values = {shown(change.get("now")) for change in self.changes}
        return values.pop() if len(values) == 1 else "various"

    @property
    def wanted(self) -> str:
        """What shall be there."""
        return shown(self.first.get("wanted"))


def shown(value: object) -> str:
    """A value as it fits a cell."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={shown(each)}" for name, each in value.items())[:_SHOWN]
    if isinstance(value, list | tuple):
        return ",".join(shown(each) for each in value)[:_SHOWN]
    return str(value)[:_SHOWN]


def plan_lines(changes: Iterable[Mapping[str, Any]], made: frozenset[str] = frozenset()) -> list[PlanLine]:
    """What there is to say of a plan: everything that is not as wanted, and what was ``made`` so just now.

    What the host cannot do, or the kernel keeps for itself, comes last.
    """
    groups: list[list[Mapping[str, Any]]] = []
    for change in changes:
        if change.get("state") in _DONE and key_of(change) not in made:
            continue
        if groups and all(groups[-1][0].get(name) == change.get(name) for name in _ALIKE):
            groups[-1].append(change)
        else:
            groups.append([change])
    last = ("kernel-managed", "unsupported")
    lines = [PlanLine(tuple(group)) for group in groups]
    return sorted(lines, key=lambda line: line.state in last)


@dataclass(slots=True)
class ProfilesView:
    """Profiles, the plan that was made last, and the transaction on its way.

    ``generation`` rises with each change of it: what was drawn of it is drawn again only then, or where time passes.
    """

    profiles: list[Mapping[str, Any]] = field(default_factory=list)
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # knob -> what explain says of it
    binds: dict[str, dict[str, str]] = field(default_factory=dict)  # profile -> part -> NIC, as chosen here
    counts: str = ""  # how many changes each profile would make: "", "wanted", "asked", "there"
    record: Mapping[str, Any] = field(default_factory=dict)  # what plan, apply or verify answered last
    shows: str = ""  # "plan" or "verify": what the record is
    planned: str = ""  # the profile that it is of
    words: tuple[str, ...] = ()  # what followed ``quietcore plan``, but for the picks
    lines: list[PlanLine] = field(default_factory=list)
    out: set[str] = field(default_factory=set)  # keys of changes that are not to be made
    made: frozenset[str] = frozenset()  # keys of changes that the last apply from here made
    because: str = ""  # the red thing that the plan is for
    because_key: str = ""  # and its line
    selected: str = ""  # the line to be selected by the screen; taken by it
    steps: dict[str, tuple[str, str]] = field(default_factory=dict)  # step -> (state, words)
    began: float = 0.0  # time.monotonic() at which the running step began
    waiting: int | None = None  # the transaction that is to be kept or undone
    deadline: float = 0.0  # time.monotonic() at which it undoes itself
    busy: str = ""
    warned: str = ""  # what a second ``a`` would accept
    history: list[Mapping[str, Any]] = field(default_factory=list)
    journals: str = ""  # the directory of journals
    generation: int = 0
    edition: int = 0  # rises with each change of the lines alone, or of what is picked of them

    def step(self, name: str, state: str, words: str = "") -> None:
        """Sets one step of the flow; those after it are forgotten where it begins."""
        if state == "running":
            self.began = time.monotonic()
            for later in STEPS[STEPS.index(name) + 1 :]:
                self.steps.pop(later, None)
        self.steps[name] = state, words
        self.generation += 1

    def take(self, record: Mapping[str, Any], shows: str) -> None:
        """A new record."""
        self.record, self.shows = record, shows
        self.lines = plan_lines(record.get("changes", ()), self.made if shows == "verify" else frozenset())
        self._edited()

    def _edited(self) -> None:
        self.generation += 1
        self.edition += 1

    def forget(self) -> None:
        """No plan any more."""
        self.record, self.shows, self.planned, self.words = {}, "", "", ()
        self.lines, self.out, self.made, self.because, self.because_key = [], set(), frozenset(), "", ""
        self._edited()

    @property
    def to_do(self) -> list[Mapping[str, Any]]:
        """Every change that the plan could make."""
        if self.shows != "plan":
            return []
        return [change for line in self.lines if line.to_do for change in line.changes]

    @property
    def picked(self) -> list[Mapping[str, Any]]:
        """Those that an apply would make."""
        return [change for change in self.to_do if key_of(change) not in self.out]

    def is_in(self, line: PlanLine) -> bool:
        """Whether a line is picked, at least in part."""
        return line.to_do and any(key_of(change) not in self.out for change in line.changes)

    def turn(self, line: PlanLine) -> None:
        """Picks a line, or takes it out."""
        keys = {key_of(change) for change in line.changes}
        self.out = self.out | keys if self.is_in(line) else self.out - keys
        self.warned = ""
        self._edited()

    def pick_words(self) -> tuple[str, ...]:
        """``--only`` for what is picked; none where that is everything."""
        picked = self.picked
        if len(picked) == len(self.to_do):
            return ()
        return tuple(word for each in picked for word in ("--only", f"{each['knob']}@{each['target']}"))

    def line_of(self, key: str) -> PlanLine | None:
        """The line that a change is in."""
        return next((line for line in self.lines if any(key_of(change) == key for change in line.changes)), None)

    def about_knob(self, knob: str) -> Mapping[str, Any]:
        """What is known of a knob, or of the family that it belongs to."""
        while knob not in self.about and "." in knob:
            knob = knob.rpartition(".")[0]
        return self.about.get(knob, {})

    @property
    def entry(self) -> Mapping[str, Any]:
        """What history says of the transaction that waits."""
        return next((each for each in self.history if each.get("transaction") == self.waiting), {})

    def undo_in(self) -> str:
        """How long until it undoes itself, as ``0:47``."""
        left = max(0, int(self.deadline - time.monotonic()))
        return f"{left // 60}:{left % 60:02}"


def disruptions_of(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """What some changes disturb, as ``--allow`` takes it."""
    return sorted({str(change.get("disruption")) for change in changes} - {"none", "None", ""})
