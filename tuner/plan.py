"""A plan: a profile held against a host, as an ordered list of changes that says all there is to know before anything is done.

Building a plan reads and never writes. The same list, read again, is the verdict: ``plan`` and ``verify`` are one look.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from tuner.cores import CoreSetError
from tuner.host.cpulist import CpuListError
from tuner.host.faults import Fault
from tuner.host.host import Inventory
from tuner.host.text import printable
from tuner.knobs.catalogue import knob_of, order_of
from tuner.knobs.knob import STATES, Disruption, Gone, Json, Knob, Reading, State, Unsupported, Wish
from tuner.language.lines import located
from tuner.profile import Profile, ProfileError
from tuner.wishes import collect


@dataclass(frozen=True, slots=True)
class Change:
    """One setting: what it is, what it shall be, why, what changing it disturbs, and what undoes it.

    ``now`` is what was asked of the kernel, ``effective`` what it does; ``identity`` finds the setting again when names and
    numbers changed; ``irreversible`` says why the old value alone would not bring back the old state.
    """

    knob: str
    target: str
    identity: str
    now: Json
    wanted: Json
    effective: Json
    state: State
    disruption: Disruption
    why: str
    undo: Json
    error: str | None = None
    note: str = ""
    irreversible: str = ""
    options: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """The change as the commands print it."""
        return {
            "knob": self.knob,
            "target": self.target,
            "now": self.now,
            "wanted": self.wanted,
            "effective": self.effective,
            "state": self.state,
            "disruption": self.disruption,
            "why": self.why,
            "undo": self.undo,
            "error": self.error,
            "note": self.note,
            "irreversible": self.irreversible,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes of a profile on a host, in the order of application.

    Attributes:
        profile: its name.
        sha256: of its own file.
        bindings: part -> NIC.
        roles: core set that the profile speaks of -> CPU list.
        changes: what there is to do.
        warnings: what should be known.
        conflicts: reasons not to apply it at all.
        sets: what ``--set`` changed for this run.
        layers: file -> SHA-256 of all that the profile is made of, the most general first.
        left: (knob, identity) of what is wanted and stays as it is for now: nobody picked it.
    """

    profile: str
    sha256: str
    bindings: Mapping[str, str]
    roles: Mapping[str, str]
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    conflicts: tuple[str, ...]
    sets: Mapping[str, Json] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict)
    left: frozenset[tuple[str, str]] = frozenset()

    @property
    def differing(self) -> tuple[Change, ...]:
        """What applying it would change."""
        return tuple(c for c in self.changes if c.state == "differs" and (c.knob, c.identity) not in self.left)

    @property
    def exit_status(self) -> int:
        """0 as wanted, 2 differs, 3 as wanted but for what needs a reboot."""
        return exit_status(self.changes)


def build(
    inventory: Inventory,
    profile: Profile,
    bindings: Mapping[str, str],
    managed: AbstractSet[tuple[str, str]] = frozenset(),
) -> Plan:
    """Holds the profile against the host.

    Args:
        inventory: the host.
        profile: what is wanted.
        bindings: NIC names for the parts that the profile binds.
        managed: (knob, identity) of what the kernel was found to keep for itself.

    Raises:
        ProfileError: what the profile says makes no sense on this host; all of it at once.
    """
    with inventory.still():
        try:
            wanted = collect(inventory, profile, bindings)
        except (CoreSetError, CpuListError) as error:
            raise ProfileError([Fault(f"profile {profile.name}", str(error))]) from error
        except ProfileError as error:
            raise ProfileError(located(error.faults, profile.documents)) from error
        wishes = sorted(wanted.wishes, key=lambda wish: order_of(wish.knob))
        changes = tuple(look(inventory, wish, (wish.knob, wish.identity) in managed) for wish in wishes)
    return Plan(
        profile=profile.name,
        sha256=profile.sha256,
        bindings=wanted.bindings,
        roles=wanted.roles,
        changes=changes,
        warnings=tuple(wanted.warnings),
        conflicts=tuple(wanted.conflicts),
        sets=dict(profile.sets),
        layers=profile.hashes,
    )


def look(inventory: Inventory, wish: Wish, managed: bool = False) -> Change:
    """One reading of one setting, beside what is wanted of it. ``managed``: the kernel was found to keep it for itself."""
    knob = knob_of(wish.knob)
    reading, state, error = Reading(None, None), "failed", None
    try:
        reading = knob.read(inventory, wish.identity)
        state = "kernel-managed" if managed else knob.compare(reading, wish.wanted)
    except Unsupported as reason:
        state, error = "unsupported", str(reason)
    except Gone as reason:
        # what an earlier change of the same plan brings is not there before it
        awaited = str(wish.options.get("awaits", ""))
        state, error = ("differs", None) if awaited else ("gone", str(reason))
        reading = Reading(None, None, note=f"comes with {awaited}" if awaited else "")
    except PermissionError as reason:
        state, error = "unverifiable", f"may not be read by this user: {reason.strerror}"
    except (OSError, ValueError) as reason:
        state, error = "failed", printable(str(reason))
    return Change(
        knob=wish.knob,
        target=printable(wish.target),
        identity=wish.identity,
        now=reading.now,
        wanted=wish.wanted,
        effective=reading.effective,
        state=state,  # type: ignore[arg-type]
        disruption=_disruption(knob, inventory, wish.identity),
        why=wish.why,
        undo=reading.saved,
        error=error,
        note=reading.note,
        irreversible=knob.irreversible(wish.identity) or reading.irreversible,
        options=wish.options,
    )


def _disruption(knob: Knob, inventory: Inventory, identity: str) -> Disruption:
    try:
        return knob.disrupts(inventory, identity)
    except (OSError, LookupError, ValueError):
        return knob.disruption


def wish_of(change: Change) -> Wish:
    """What was wanted of a change, to look at it again."""
    return Wish(change.knob, change.target, change.identity, change.wanted, change.why, change.options)


def summary(changes: Iterable[Change]) -> dict[str, int]:
    """Changes counted by state; every state is named."""
    counts = Counter(change.state for change in changes)
    return {state: counts[state] for state in STATES}


def exit_status(changes: Iterable[Change]) -> int:
    """0 as wanted, 2 differs (or cannot be read, or is gone), 3 as wanted but for what needs a reboot."""
    states = {change.state for change in changes}
    if states & {"differs", "failed", "gone"}:
        return 2
    return 3 if "pending-reboot" in states else 0
