"""What may be applied at all: nothing that disturbs more than was allowed, cuts its user off, or cannot be undone."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tuner.host.files import HostFiles
from tuner.plan import Change, Plan
from tuner.store import Refused

# Neighbour discovery and LLDP make a few packets a second on an idle port; a feed makes thousands.
BUSY_PACKETS_PER_S = 100.0
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class Options:
    """How to apply.

    Attributes:
        allow: disruptions that are allowed: ``link``, ``service``, ``reboot``.
        confirm_within_s: undo everything unless confirmed within this time; None: keep it at once.
        accept_irreversible: also change what the old value alone does not bring back.
    """

    allow: frozenset[str] = frozenset()
    confirm_within_s: float | None = None
    accept_irreversible: bool = False


def check_allowed(plan: Plan, options: Options, guarded: Mapping[str, str], busy: Mapping[str, float]) -> None:
    """Refuses what would do more than was allowed.

    Args:
        plan: what would be applied.
        options: what was allowed.
        guarded: NIC name -> why its link must not be lost without an undo timer.
        busy: NIC name -> packets per second, of those that must not be reset because of it.

    Raises:
        Refused: naming each change that needs a permission.
    """
    if plan.conflicts:
        raise Refused("; ".join(plan.conflicts))
    needed = [c for c in plan.differing if c.disruption != "none" and c.disruption not in options.allow]
    if needed:
        kinds = ",".join(sorted({c.disruption for c in needed}))
        raise Refused(f"{_names(needed)} can disturb ({kinds}): do it outside trading hours, with --allow {kinds}")
    final = [c for c in plan.differing if c.irreversible]
    if final and not options.accept_irreversible:
        raise Refused(f"{_names(final)} cannot be undone: {final[0].irreversible}; --accept-irreversible does it all the same")
    for change in plan.differing:
        if change.disruption != "link":
            continue
        if change.target in guarded and options.confirm_within_s is None:
            raise Refused(
                f"{change.target} {guarded[change.target]}: changing {change.knob} there needs --confirm-within, so "
                "that a lost connection undoes itself"
            )
        if change.target in busy:
            raise Refused(
                f"{change.target} carries {busy[change.target]:.0f} packets/s now, and changing {change.knob} resets it: "
                "do it when the traffic is gone, or without --live"
            )


def _names(changes: Iterable[Change]) -> str:
    return ", ".join(f"{c.knob} on {c.target}" for c in changes)


def busy_nics(files: HostFiles, plan: Plan) -> dict[str, float]:
    """NICs that the plan would reset while packets pass: name -> packets per second over a quarter of a second."""
    names = sorted({c.target for c in plan.differing if c.disruption == "link"})
    if not names:
        return {}
    before, start = {name: _packets(files, name) for name in names}, time.monotonic()
    time.sleep(_LOOK_S)
    seconds = time.monotonic() - start
    rates = {name: (_packets(files, name) - before[name]) / seconds for name in names}
    return {name: rate for name, rate in rates.items() if rate >= BUSY_PACKETS_PER_S}


def _packets(files: HostFiles, name: str) -> int:
    counts = (files.number(f"/sys/class/net/{name}/statistics/{way}_packets") for way in ("rx", "tx"))
    return sum(count or 0 for count in counts)
