"""``quietcore verify``: whether the host is as a profile wants it, setting by setting. Writes nothing."""

import argparse
from dataclasses import replace

from tuner.applied import applied_wishes
from tuner.conflicts import find, suspect
from tuner.plan import Change, exit_status, look
from tuner.second_reader import checked
from tuner.store import TransactionRecord
from ui.cli.context import Context, open_context
from ui.cli.output import banner, changes_record, changes_text, emit, say
from ui.cli.plan import add_bind, add_set, make_plan


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("profile", metavar="PROFILE", nargs="?", help="a profile (default: the one that is active)")
    add_bind(parser)
    add_set(parser)
    parser.add_argument("--all", action="store_true", help="list every setting, those that are as wanted too")
    parser.epilog = (
        "Compares what the kernel does, not what was written: a wanted affinity counts when the effective one is inside it. "
        "Exit status 0: as wanted; 2: differs; 3: as wanted but for a reboot."
    )


def run(arguments: argparse.Namespace) -> int:
    """Looks at every setting and prints how it stands."""
    with open_context(arguments) as context:
        active = context.active()
        if arguments.profile is not None:
            plan = make_plan(context, arguments.profile, arguments.bind, sets=arguments.sets)
            profile, changes = {"name": plan.profile, "sha256": plan.sha256}, plan.changes
            sets, layers = plan.sets, plan.layers
        elif active is not None:
            profile, changes = dict(active.begin["profile"]), applied_changes(context, active)
            sets, layers = active.begin.get("set", {}), active.begin.get("layers", {})
        else:
            say("quietcore verify: no profile is active on this host: name one, or apply one first")
            return 1
        changes = checked(context.host, changes)
        if arguments.json:
            number = active.number if active else None
            record = changes_record("verify", profile, changes, changed=False, transaction=number)
            emit({**record, "set": dict(sets), "layers": dict(layers)})
        else:
            banner(context.host)
            print(f"profile {profile['name']}")
            print(changes_text(changes, arguments.all))
        return exit_status(changes)


def applied_changes(context: Context, transaction: TransactionRecord) -> tuple[Change, ...]:
    """Every setting of an applied transaction, looked at again: what was wanted then, not what its profile says by now."""
    changes = [look(context.inventory, wish, managed) for wish, managed in applied_wishes(transaction)]
    if any(change.state == "differs" for change in changes):
        running = find(context.host.syscalls.threads())
        changes = [
            replace(c, note=f"changed since it was applied: perhaps {suspect(c.knob, running)}") if c.state == "differs" else c
            for c in changes
        ]
    return tuple(changes)
