"""From proposals to a file: each is planned on this host, and what cannot be had here becomes a comment that says why."""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.plan import Change, Plan, build
from tuner.profile import Document, Place, Profile, ProfileError
from tuner.profile_check import check_layer, check_whole
from tuner.profile_files import load
from tuner.suggest.proposals import Proposal, feed_nic, layout, proposals

NAME = "suggested"
BASE = "base"
_TRIES = 32


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A profile for this host.

    Attributes:
        text: the file, with comments.
        plan: what applying it would change here.
        left_out: (setting, why it cannot be had here).
        nic: the NIC that it was written for, None where the host has none to trade on.
    """

    text: str
    plan: Plan
    left_out: tuple[tuple[str, str], ...]
    nic: Nic | None


def suggest(inventory: Inventory, part: str = "feed", nic_name: str | None = None) -> Suggestion:
    """Writes a profile for this host. Reads and never writes.

    Args:
        inventory: the host.
        part: what the profile calls the NIC.
        nic_name: the NIC; None: the one that looks most like it.

    Raises:
        LookupError: there is no such interface.
        ProfileError: no proposal could be made to fit: a defect of ours, with what did not.
    """
    nic = feed_nic(inventory, nic_name)
    if nic_name is not None and nic is None:
        raise LookupError(f"no interface '{printable(nic_name)}' here")
    cores = layout(inventory, part, nic)
    wanted = list(proposals(part, nic, cores))
    left: dict[Place, str] = {}
    for _ in range(_TRIES):
        kept = [each for each in wanted if each.place not in left]
        try:
            plan = build(inventory, _profile(inventory, kept), {part: nic.name} if nic else {})
        except ProfileError as error:
            named = _at_fault(error, kept)
            if not named:
                raise
            left |= named
            continue
        absent = _absent(plan, kept)
        if not absent:
            text = _text(inventory, wanted, left, nic)
            return Suggestion(text, plan, tuple((".".join(p), why) for p, why in left.items()), nic)
        left |= absent
    raise ProfileError([])


def _profile(inventory: Inventory, kept: Sequence[Proposal]) -> Profile:
    text = _toml(kept, {})
    layer = check_layer(Document(f"{NAME}.toml", hashlib.sha256(text.encode()).hexdigest(), tomllib.loads(text)))
    base = load(inventory.host.files, BASE)
    profile = Profile(NAME, "", "", (*base.layers, f"{NAME}.toml"), {**base.settings, **layer.settings})
    if faults := [*layer.faults, *check_whole(profile)]:
        raise ProfileError(faults)
    return profile


def _at_fault(error: ProfileError, kept: Iterable[Proposal]) -> dict[Place, str]:
    found = {}
    for fault in error.faults:
        at = fault.where.removeprefix(f"{NAME}.toml: ")
        for each in kept:
            place = ".".join(each.place)
            if f"{at}.".startswith(f"{place}.") or f"{place}.".startswith(f"{at}."):
                found[each.place] = fault.what
    return found


def _absent(plan: Plan, kept: Iterable[Proposal]) -> dict[Place, str]:
    """Settings of which this host has nothing at all, with the first reason."""
    found: dict[Place, str] = {}
    for each in kept:
        source = f"{NAME}.toml: {'.'.join(each.place)}"
        mine = [c for c in plan.changes if c.why == source]
        if mine and all(_unavailable(change) for change in mine):
            found[each.place] = mine[0].error or mine[0].note or mine[0].state
    return found


def _unavailable(change: Change) -> bool:
    return change.state in ("unsupported", "gone", "failed") or bool(change.irreversible)


def _text(inventory: Inventory, wanted: Sequence[Proposal], left: Mapping[Place, str], nic: Nic | None) -> str:
    host, topology = inventory.host, inventory.topology
    nodes = len(topology.nodes) or 1
    lines = [
        f"# For {host.name}: {len(topology.online)} CPUs, {nodes} node{'s' if nodes > 1 else ''}, Linux {host.kernel or '?'}.",
        "# Written by quietcore suggest: each line that is no comment was planned on this host without a fault.",
        "# Read it, change it, keep it as /etc/quietcore/profiles/NAME.toml, then: quietcore plan NAME",
    ]
    if nic is not None:
        where = f"node {nic.node}" if nic.node >= 0 else "no node by its firmware"
        link = f"{nic.speed_mbps} Mb/s" if nic.speed_mbps else "no link now"
        lines.append(
            f"# NIC: {printable(nic.name)} ({nic.driver or 'no driver'}, {where}, {nic.rx_queues} receive queues, {link})"
        )
    else:
        lines.append("# There is no physical NIC but the one with the default route: nothing is proposed for a feed.")
    if not any(each.place == ("isolation", "cores") and each.place not in left for each in wanted):
        lines.append("# No core is left for trading once housekeeping has its own: nothing is isolated.")
    return (
        "\n".join(lines) + f'\n\nsummary = {_value(f"Suggested for {host.name}")}\nextends = ["{BASE}"]\n' + _toml(wanted, left)
    )


def _toml(wanted: Iterable[Proposal], left: Mapping[Place, str]) -> str:
    lines: list[str] = []
    for head, several in groupby(wanted, key=lambda each: each.place[:2] if each.place[0] == "nic" else each.place[:1]):
        proposed = list(several)
        empty = all(each.place in left for each in proposed)
        lines += ["", f"{'# ' if empty else ''}[{'.'.join(head)}]"]
        for each in proposed:
            if each.why:
                lines.append(f"# {each.why}")
            line = f"{'.'.join(_key(word) for word in each.place[len(head) :])} = {_value(each.value)}"
            lines.append(f"# {line}    # not here: {printable(left[each.place], 160)}" if each.place in left else line)
    return "\n".join(lines) + "\n"


def _key(word: str) -> str:
    return word if word.replace("_", "").isalnum() and word.isascii() else f'"{word}"'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    return str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False)  # also a TOML basic string
