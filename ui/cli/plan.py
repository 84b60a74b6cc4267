"""``quietcore plan``: the difference between a profile and this host. Writes nothing."""

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import replace

from tuner.host.faults import Fault
from tuner.host.text import printable
from tuner.picks import Pick, narrowed, pick
from tuner.plan import Plan, build
from tuner.profile import Profile, ProfileError
from tuner.profile_files import load_for_host
from ui.cli.context import Context, open_context
from ui.cli.output import banner, changes_record, changes_text, emit, say


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "profile", metavar="PROFILE", help="a profile's name (see: quietcore profiles), or a path ending in .toml"
    )
    add_bind(parser)
    add_set(parser)
    add_picks(parser)
    parser.add_argument("--all", action="store_true", help="list every setting, those that are as wanted too")
    parser.epilog = "Reads and never writes. Exit status 0: as wanted; 2: differs; 3: as wanted but for a reboot."


def add_bind(parser: argparse.ArgumentParser) -> None:
    """``--bind``, as plan, apply and verify have it."""
    parser.add_argument(
        "--bind",
        metavar="PART=NIC",
        action="append",
        default=[],
        type=binding,
        help="which NIC a part of the profile is, as feed=eth2; else [bind] in /etc/quietcore/host.toml says. A part that "
        "only --set speaks of may be named here, too",
    )


def add_set(parser: argparse.ArgumentParser) -> None:
    """``--set``, as plan, apply and verify have it."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="sets",
        help="one setting for this run, over profile and host.toml, as nic.feed.rings.rx=1024 or 'cores.rx=\"2-3\"'; "
        "the value is TOML, bare words are text",
    )


def add_picks(parser: argparse.ArgumentParser) -> None:
    """``--only`` and ``--on-top``, as plan and apply have them."""
    parser.add_argument(
        "--only",
        metavar="KNOB@TARGET",
        action="append",
        default=[],
        type=picked,
        help="of what differs, change this alone (may be repeated), as nic.rings.rx@eth2; what is as wanted already stays part "
        "of the transaction, what differs besides is left out of it",
    )
    parser.add_argument(
        "--on-top",
        action="store_true",
        help="on top of what holds the host: its settings stay wanted as they were applied, those of PROFILE replace or join "
        "them; `observe --on-top` is what is applied, once more",
    )


def picked(text: str) -> Pick:
    """``nic.rings.rx@eth2`` as a pick."""
    try:
        return pick(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def binding(text: str) -> tuple[str, str]:
    """``feed=eth2`` as a pair."""
    part, equals, nic = text.partition("=")
    if not (part and equals and nic):
        raise argparse.ArgumentTypeError("write PART=NIC, as feed=eth2")
    return part, nic


def make_plan(
    context: Context,
    name: str,
    bindings: list[tuple[str, str]],
    trusted_owner: bool = False,
    sets: Sequence[str] = (),
    picks: Sequence[Pick] = (),
    on_top: bool = False,
) -> Plan:
    """The plan of a profile on this host, with what the host's overlay, ``--set`` and earlier transactions say of it.

    Args:
        context: the host and its state.
        name: the profile's, or its path.
        bindings: of ``--bind``.
        trusted_owner: whether its file must belong to who may change the host.
        sets: of ``--set``.
        picks: of ``--only``.
        on_top: whether what is applied stays wanted below it.

    Raises:
        ProfileError: everything that is wrong with the profile, or with it on this host.
    """
    profile, bound = load_for_host(context.host.files, name, sets, trusted_owner, [part for part, _ in bindings])
    _check_parts(profile, bindings)
    bound |= dict(bindings)
    try:
        managed = context.store.kernel_managed(context.host.syscalls.boot_id())
    except PermissionError:
        managed = frozenset()
    plan = build(context.inventory, profile, bound, managed)
    held = context.active() if on_top else None
    if on_top and held is None and context.state_is_hidden:
        note = f"this user may not read {context.store.directory}: planned as if nothing were applied"
        plan = replace(plan, warnings=(*plan.warnings, printable(note)))
    if picks or on_top:
        plan = narrowed(plan, context.inventory, picks, on_top, held, managed)
    return plan


def _check_parts(profile: Profile, bindings: list[tuple[str, str]]) -> None:
    """Refuses a ``--bind`` that would be ignored; host.toml may name parts of other profiles."""
    known = profile.texts("bind")
    faults = []
    for part, nic in bindings:
        if part not in known:
            close = difflib.get_close_matches(part, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it binds: {', '.join(known) or 'nothing'}"
            where = printable(f"--bind {part}={nic}")
            faults.append(Fault(where, f"the profile {profile.name} binds no such part", hint))
    if faults:
        raise ProfileError(faults)


def run(arguments: argparse.Namespace) -> int:
    """Prints the plan."""
    with open_context(arguments) as context:
        plan = make_plan(
            context, arguments.profile, arguments.bind, sets=arguments.sets, picks=arguments.only, on_top=arguments.on_top
        )
        for warning in plan.warnings:
            say(f"note: {warning}")
        for conflict in plan.conflicts:
            say(f"conflict: {conflict}")
        if arguments.json:
            emit(plan_record("plan", plan))
        else:
            banner(context.host)
            print_plan(plan, everything=arguments.all)
        return plan.exit_status


def plan_record(command: str, plan: Plan, *, changed: bool = False, transaction: int | None = None) -> dict[str, object]:
    """A plan as JSON."""
    return changes_record(
        command,
        {"name": plan.profile, "sha256": plan.sha256},
        plan.changes,
        changed=changed,
        transaction=transaction,
        bindings=dict(plan.bindings),
        roles=dict(plan.roles),
        set=dict(plan.sets),
        layers=dict(plan.layers),
        warnings=list(plan.warnings),
        conflicts=list(plan.conflicts),
    )


def print_plan(plan: Plan, everything: bool = False) -> None:
    """A plan for people."""
    bound = "".join(f"  {part} = {printable(nic)}" for part, nic in plan.bindings.items())
    print(f"profile {plan.profile}{bound}")
    for place, value in plan.sets.items():
        print(f"  --set {printable(place)} = {printable(str(value), 80)}")
    for role, cpus in plan.roles.items():
        print(f"  {role}: CPU {cpus or 'none'}")
    print(changes_text(plan.changes, everything))
