"""``quietcore apply``: a profile as one transaction, which is kept, confirmed in time, or undone."""

import argparse
from collections.abc import Callable

from tuner.arming import arm
from tuner.guard import guarded_links
from tuner.permission import Options, busy_nics, check_allowed
from tuner.plan import Plan, exit_status
from tuner.store import Refused
from tuner.transaction import Result, apply
from tuner.undo import recover
from ui.cli.context import Context, open_context
from ui.cli.durations import duration
from ui.cli.interrupts import Stopped, noted
from ui.cli.output import banner, changes_record, changes_text, emit, needs_root, telling
from ui.cli.plan import add_bind, add_picks, add_set, make_plan, plan_record, print_plan
from ui.cli.telling import unhindered
from ui.cli.undone import print_undone, undone_records

DISRUPTIONS = ("link", "service", "reboot")
EXIT_OF = {"unchanged": 0, "applied": 0, "confirmed": 0, "rolled-back": 5, "degraded": 6}


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "profile", metavar="PROFILE", help="a profile's name (see: quietcore profiles), or a path ending in .toml"
    )
    add_bind(parser)
    add_set(parser)
    add_picks(parser)
    parser.add_argument(
        "--confirm-within",
        metavar="TIME",
        type=duration,
        help="undo everything unless `quietcore confirm` is given within this time, as 120s; the timer outlives this process",
    )
    parser.add_argument(
        "--allow",
        metavar="KINDS",
        type=disruptions,
        default=frozenset(),
        help="disruptions that are allowed, of link,service,reboot (default: none)",
    )
    parser.add_argument(
        "--live", action="store_true", help="trading goes on: refuse to reset a NIC that carries traffic, whatever is allowed"
    )
    parser.add_argument(
        "--accept-irreversible", action="store_true", help="also change what the old value alone would not bring back"
    )
    parser.add_argument("--dry-run", action="store_true", help="the same as plan")
    parser.epilog = (
        "Every change is journalled before it is made, read back after it, and undone with all others if it failed. "
        "An interrupt (Ctrl-C) ends the current change and rolls back."
    )


def disruptions(text: str) -> frozenset[str]:
    """``link,service`` as a set."""
    kinds = frozenset(kind.strip() for kind in text.split(",") if kind.strip())
    if unknown := kinds - set(DISRUPTIONS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))} (known: {', '.join(DISRUPTIONS)})")
    return kinds


def run(arguments: argparse.Namespace) -> int:
    """Applies the profile."""
    with open_context(arguments) as context:
        if arguments.dry_run:
            plan = _plan(arguments, context)
            if arguments.json:
                emit(plan_record("apply", plan))
            else:
                print_plan(plan)
            return plan.exit_status
        needs_root(context.host, "apply")
        banner(context.host)
        with context.store.lock(), noted() as stopped, unhindered() as tell:
            plan, result = _locked(arguments, context, stopped, tell)
        # without the lock: a terminal that takes nothing must not keep the undo timer from undoing
        with telling():
            _report(arguments, plan, result)
        return EXIT_OF[result.outcome] or (3 if exit_status(result.changes) == 3 else 0)


def _locked(
    arguments: argparse.Namespace, context: Context, stopped: Stopped, tell: Callable[[str], None]
) -> tuple[Plan, Result]:
    for ended in recover(context.host, context.store):
        tell(f"transaction {ended.number}: {ended.verdict}")
    pending = context.store.pending(context.host.syscalls.boot_id())
    if pending is not None:
        raise Refused(
            f"transaction {pending.number} ({pending.profile}) waits to be confirmed: "
            f"quietcore confirm {pending.number}, or quietcore rollback {pending.number}"
        )
    plan = _plan(arguments, context, context.host.files.real)
    for warning in plan.warnings:
        tell(f"note: {warning}")
    if broken := [c for c in plan.changes if c.state == "failed" and (c.knob, c.identity) not in plan.left]:
        raise OSError(5, f"{broken[0].knob} on {broken[0].target} cannot be read: {broken[0].error}")
    options = Options(arguments.allow, arguments.confirm_within, arguments.accept_irreversible)
    busy = busy_nics(context.host.files, plan) if arguments.live else {}
    check_allowed(plan, options, guarded_links(context.inventory), busy)
    result = apply(
        context.host,
        context.store,
        plan,
        options,
        arm=lambda number: tell(f"undo timer: {arm(context.root, context.store.directory, number)}"),
        progress=tell,
        stopped=stopped,
    )
    return plan, result


def _plan(arguments: argparse.Namespace, context: Context, trusted_owner: bool = False) -> Plan:
    return make_plan(
        context, arguments.profile, arguments.bind, trusted_owner, arguments.sets, arguments.only, arguments.on_top
    )


def _report(arguments: argparse.Namespace, plan: Plan, result: Result) -> None:
    if arguments.json:
        emit(
            changes_record(
                "apply",
                {"name": plan.profile, "sha256": plan.sha256},
                result.changes,
                changed=result.outcome in ("applied", "confirmed"),
                transaction=result.number,
                outcome=result.outcome,
                error=result.error or None,
                undone=undone_records(result.undone),
                set=dict(plan.sets),
                layers=dict(plan.layers),
            )
        )
        return
    if result.outcome == "unchanged":
        print(f"profile {plan.profile}: nothing to change")
        print(changes_text(result.changes))
        return
    print(f"transaction {result.number}: {result.outcome}" + (f": {result.error}" if result.error else ""))
    print(changes_text(result.changes))
    print_undone(result.undone)
    if result.outcome == "applied":
        print(f"It undoes itself unless confirmed: quietcore confirm {result.number}")
