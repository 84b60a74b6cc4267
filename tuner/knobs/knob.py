"""What a knob is: one setting of the host that can be read, compared by meaning, written, and put back exactly.

A knob holds no state. It finds what it works on by a stable identity at every call, since numbers and names change under it,
and it answers in values that JSON can hold, since they go to a journal before anything is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from tuner.host.host import Inventory

Json = Any  # None, bool, int, float, str, and lists and string-keyed dicts of them

State = Literal[
    "ok", "ok-rounded", "differs", "kernel-managed", "pending-reboot", "unsupported", "unverifiable", "gone", "failed"
]
STATES: tuple[State, ...] = (
    "ok",
    "ok-rounded",
    "differs",
    "kernel-managed",
    "pending-reboot",
    "unsupported",
    "unverifiable",
    "gone",
    "failed",
)
Disruption = Literal["none", "link", "service", "reboot"]


class Gone(LookupError):
    """What the knob works on is no longer on this host: unplugged, unbound, ended."""


class Unsupported(LookupError):
    """This host, kernel or driver has no such setting; the text says what is missing."""


class KernelManaged(PermissionError):
    """The kernel places this itself and lets nobody else: a state of the host, not a failure of a change."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a setting: what was asked of the kernel (``now``) and what it does (``effective``).

    ``undo`` is what ``restore`` needs, where that is more than ``now``. ``note`` is for people: why it is as it is.
    ``irreversible`` says why this very state would not come back, where that depends on what was found.
    """

    now: Json
    effective: Json
    undo: Json = None
    managed: bool = False
    note: str = ""
    irreversible: str = ""

    @property
    def saved(self) -> Json:
        """The value to put back."""
        return self.now if self.undo is None else self.undo


@dataclass(frozen=True, slots=True)
class About:
    """What a knob is, for ``quietcore explain`` and docs/knobs.md. Texts are sentences without a stop at their end.

    Attributes:
        summary: one line: what is set.
        why: what it is worth: on cores that trade, on those that keep house, and when to leave it alone.
        where: the file or request, as an operator would look at it.
        effective: where the truth shows, if that is elsewhere.
        risk: what changing it on a running host does.
        undo: how it is put back, where that is more than writing the old value.
        since: the first kernel that has it.
        quirks: what kernels and drivers were seen to do with it.
        source: the kernel's file or document.
    """

    summary: str
    why: str
    where: str
    effective: str = ""
    risk: str = ""
    undo: str = ""
    since: str = ""
    quirks: tuple[str, ...] = ()
    source: str = ""


class Knob(Protocol):
    """One kind of setting. All methods raise OSError as the kernel says it, ``Gone`` and ``Unsupported``.

    Attributes:
        about: what it is, for people.
        disruption: what writing it disturbs, at worst, on a usual driver.
        resets: writing it makes the driver forget other settings of the device, which are put back at once.
        privilege: what writing it takes.
        lasting: what is written outlives a boot, and so is undone after one.
    """

    family: ClassVar[str]
    about: ClassVar[About]
    privilege: ClassVar[str] = "root"
    disruption: ClassVar[Disruption] = "none"
    resets: ClassVar[bool] = False
    lasting: ClassVar[bool] = False

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The setting as it is. Opens nothing for writing."""

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Whether the reading is what was wanted, by meaning and by effect."""

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Makes the setting what is wanted."""

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Puts back what ``Reading.saved`` held; from any state between, and more than once."""

    def on_top(self, wanted: Json, below: Json, saved: Json) -> Json:
        """What to want where another wish for it holds already, ``below`` (None: none), and ``saved`` is what is there.

        A wish takes the other's place as a whole, but where one setting holds several things.
        """
        del below, saved
        return wanted

    def same(self, left: Json, right: Json) -> bool:
        """Whether two values of ``Reading.now`` mean the same: what drift is told by."""

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """(knob, identity) of other settings that writing this one can change: they are saved with it."""
        del inventory, identity
        return ()

    def disrupts(self, inventory: Inventory, identity: str) -> Disruption:
        """What writing it here disturbs: drivers differ."""
        del inventory, identity
        return self.disruption

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """(shown, identity) of what it can be read of on this host, for people who ask how it stands; empty: nobody says."""
        del inventory
        return ()

    def irreversible(self, identity: str) -> str:
        """Why the old state does not come back with the old value; empty where it does."""
        del identity
        return ""


@dataclass(frozen=True, slots=True)
class Wish:
    """One setting that a profile asks for, before the host was looked at.

    ``target`` is shown, ``identity`` finds it again later. ``options`` travel to ``write`` and into the journal.
    """

    knob: str
    target: str
    identity: str
    wanted: Json
    why: str
    options: Mapping[str, Json]


Wishes = Sequence[Wish]
