"""A part of a plan: the changes that were picked, and what holds the host already below them.

A transaction holds what its plan names: that is what ``verify`` and the watch for drift look at. So one change on top of an
applied profile is a plan of both, in which only that change is left to do; rolled back, the host is as that profile left it.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from tuner.applied import applied_wishes
from tuner.host.faults import Fault
from tuner.host.host import Inventory
from tuner.host.text import printable
from tuner.knobs.catalogue import knob_of, order_of
from tuner.plan import Change, Plan, look, wish_of
from tuner.profile import ProfileError
from tuner.store import TransactionRecord

# what nobody picked of these is no part of the transaction; what is as wanted, or can be no other way, stays in it
_TO_DO = ("differs", "failed", "gone")


@dataclass(frozen=True, slots=True)
class Pick:
    """One setting of a plan, by the names that the plan shows."""

    knob: str
    target: str

    def __str__(self) -> str:
        return f"{self.knob}@{self.target}"

    def of(self, change: Change) -> bool:
        """Whether it is this one."""
        return change.knob == self.knob and change.target == self.target


def pick(text: str) -> Pick:
    """``nic.rings.rx@eth2`` as a pick.

    Raises:
        ValueError: it has no knob, or no target.
    """
    knob, at, target = text.partition("@")
    if not (knob and at and target):
        raise ValueError("write KNOB@TARGET as plan shows them, as nic.rings.rx@eth2")
    return Pick(knob, target)


def narrowed(
    plan: Plan,
    inventory: Inventory,
    picks: Sequence[Pick] = (),
    on_top: bool = False,
    held: TransactionRecord | None = None,
    managed: AbstractSet[tuple[str, str]] = frozenset(),
) -> Plan:
    """The plan with only what was picked left to do, on top of what a transaction holds.

    Args:
        plan: a profile's.
        inventory: the host that it was built for.
        picks: what to change; none: all of it.
        on_top: whether it is on top of what is there.
        held: the transaction below; None: nothing is below.
        managed: as in ``tuner.plan.build``.

    Raises:
        ProfileError: a pick that is in neither, or that needs another which was not picked.
    """
    below = _below(inventory, held, managed) if held is not None else ()
    _check_known(picks, (*plan.changes, *below))
    own = _joined(inventory, plan.changes, below) if on_top else plan.changes
    left: frozenset[tuple[str, str]] = frozenset()
    if picks:
        # on top of a profile nothing of it is to be loosened but by what was picked
        own = tuple(_of_requests([c for c in own if _is_picked(c, picks) or (not on_top and c.state not in _TO_DO)]))
        left = frozenset((c.knob, c.identity) for c in below if c.state in _TO_DO and not _is_picked(c, picks))
    mine = {(c.knob, c.identity) for c in own}
    replaced = {key for c in own for key in _same_place(inventory, c)}
    kept = [c for c in below if (c.knob, c.identity) not in mine | replaced]
    changes = tuple(sorted((*own, *_of_requests(kept, left)), key=lambda change: order_of(change.knob)))
    _check_whole(changes, left)
    whole = replace(plan, changes=changes, left=left)
    return whole if held is None else _named_after(whole, held.begin)


def _below(inventory: Inventory, held: TransactionRecord, managed: AbstractSet[tuple[str, str]]) -> tuple[Change, ...]:
    """What is held already, as it stands now."""
    with inventory.still():
        return tuple(
            look(inventory, wish, kept or (wish.knob, wish.identity) in managed) for wish, kept in applied_wishes(held)
        )


def _joined(inventory: Inventory, changes: Sequence[Change], below: Sequence[Change]) -> tuple[Change, ...]:
    """The changes, each with what it has to leave of what is below."""
    wanted = {(c.knob, c.identity): c.wanted for c in below}
    found = []
    for change in changes:
        whole = knob_of(change.knob).on_top(change.wanted, wanted.get((change.knob, change.identity)), change.undo)
        changed = whole != change.wanted
        found.append(look(inventory, replace(wish_of(change), wanted=whole)) if changed else change)
    return tuple(found)


def _is_picked(change: Change, picks: Iterable[Pick]) -> bool:
    return any(each.of(change) for each in picks)


def _check_known(picks: Iterable[Pick], changes: Sequence[Change]) -> None:
    known = [f"{c.knob}@{c.target}" for c in changes]
    faults = []
    for each in picks:
        if str(each) not in known:
            close = difflib.get_close_matches(str(each), known, n=1)
            hint = (
                f"did you mean {printable(close[0], 120)}?" if close else "quietcore plan lists its settings and their targets"
            )
            faults.append(Fault(f"--only {printable(str(each), 120)}", "the plan has no such setting", hint))
    if faults:
        raise ProfileError(faults)


def _check_whole(changes: Sequence[Change], left: AbstractSet[tuple[str, str]]) -> None:
    """Refuses what comes with a change that was left out."""
    doing = [c for c in changes if c.state == "differs" and (c.knob, c.identity) not in left]
    faults = []
    for change in doing:
        awaited = str(change.options.get("awaits", ""))
        if awaited and not any(c.knob.startswith(f"{awaited}.") for c in doing):
            faults.append(Fault(f"--only {change.knob}@{change.target}", f"it comes with {awaited}", "pick that, too"))
    if faults:
        raise ProfileError(faults)


def _of_requests(changes: Sequence[Change], left: AbstractSet[tuple[str, str]] = frozenset()) -> list[Change]:
    """Changes whose request to their driver names no setting that was left out."""
    kept: dict[object, set[object]] = {}
    for change in changes:
        if (change.knob, change.identity) in left:
            continue
        kept.setdefault(change.options.get("request"), set()).add(change.options.get("key"))
    found = []
    for change in changes:
        keys, together = kept.get(change.options.get("request"), set()), change.options.get("together")
        if isinstance(together, Mapping) and "key" in change.options:
            named = {key: value for key, value in together.items() if key in keys}
            found.append(replace(change, options={**change.options, "together": named}))
        else:
            found.append(change)
    return found


def _same_place(inventory: Inventory, change: Change) -> Iterable[tuple[str, str]]:
    """What another knob calls the same setting: an interrupt by its name, or as that of its NIC's queue."""
    nics = {nic.name: nic.identity for nic in inventory.nics}
    if change.knob == "irq.affinity":
        irq = inventory.irq(change.identity)
        if irq is not None and irq.queue is not None and irq.device in nics:
            yield "irq.queue_affinity", f"{nics[irq.device]} {irq.queue}"
    elif change.knob == "irq.queue_affinity":
        nic, _, queue = change.identity.rpartition(" ")
        for irq in inventory.irqs:
            if nics.get(irq.device) == nic and str(irq.queue) == queue:
                yield "irq.affinity", irq.identity


def _named_after(plan: Plan, begin: Mapping[str, Any]) -> Plan:
    """The plan under the name of the profile that holds the host, with all that either is made of."""
    profile = begin.get("profile", {})

    def both(kind: str, ours: Mapping[str, Any]) -> dict[str, Any]:
        return {**begin.get(kind, {}), **ours}

    return replace(
        plan,
        profile=str(profile.get("name", plan.profile)),
        sha256=str(profile.get("sha256", plan.sha256)),
        bindings=both("bindings", plan.bindings),
        roles=both("roles", plan.roles),
        sets=both("set", plan.sets),
        layers=both("layers", plan.layers),
    )
