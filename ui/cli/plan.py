"""``quietcore plan``: the difference between a profile and this host. Writes nothing."""

import argparse
import difflib
from collections.abc import Sequence

from tuner.host.faults import Fault
from tuner.host.text import printable
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
        help="which NIC a part of the profile is, as feed=eth2; else [bind] in /etc/quietcore/host.toml says",
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


def binding(text: str) -> tuple[str, str]:
    """``feed=eth2`` as a pair."""
    part, equals, nic = text.partition("=")
    if not (part and equals and nic):
        raise argparse.ArgumentTypeError("write PART=NIC, as feed=eth2")
    return part, nic


def make_plan(
    context: Context, name: str, bindings: list[tuple[str, str]], trusted_owner: bool = False, sets: Sequence[str] = ()
) -> Plan:
    """The plan of a profile on this host, with what the host's overlay, ``--set`` and earlier transactions say of it.

    Raises:
        ProfileError: everything that is wrong with the profile, or with it on this host.
    """
    profile, bound = load_for_host(context.host.files, name, sets, trusted_owner)
    _check_parts(profile, bindings)
    bound |= dict(bindings)
    try:
        managed = context.store.kernel_managed(context.host.syscalls.boot_id())
    except PermissionError:
        managed = frozenset()
    return build(context.inventory, profile, bound, managed)


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
        plan = make_plan(context, arguments.profile, arguments.bind, sets=arguments.sets)
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
