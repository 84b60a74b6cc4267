"""``quietcore verify``: whether the host is as a profile wants it, setting by setting, and behaves so. Writes nothing."""

import argparse
import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tuner.applied import applied_wishes
from tuner.conflicts import find, suspect
from tuner.host.text import printable
from tuner.plan import Change, exit_status, look
from tuner.second_reader import checked
from tuner.store import TransactionRecord
from ui.cli.context import Context, open_context
from ui.cli.durations import duration
from ui.cli.output import banner, changes_record, changes_text, emit, say
from ui.cli.plan import add_bind, add_set, make_plan


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("profile", metavar="PROFILE", nargs="?", help="a profile (default: the one that is active)")
    add_bind(parser)
    add_set(parser)
    parser.add_argument("--all", action="store_true", help="list every setting, those that are as wanted too")
    parser.add_argument(
        "--observe",
        metavar="TIME",
        type=duration,
        help="also watch the isolated cores for so long (10s), and name what is on them that was not put there",
    )
    parser.add_argument("--cpus", metavar="LIST", help="with --observe: which cores (default: those that are isolated)")
    parser.add_argument("--live", action="store_true", help="with --observe, on a simulated --root: let it live meanwhile")
    parser.epilog = (
        "Compares what the kernel does, not what was written: a wanted affinity counts when the effective one is inside it. "
        "--observe reads counters from the other cores only: no tracing, nothing that interrupts. What they cannot tell is "
        "said: who sent an interrupt to another CPU, which thread came and went between two looks. What the profile places on "
        "a core, threads bound to isolated cores alone, and the tick where nohz_full= does not stop it belong there. "
        "Exit status 0: as wanted; 2: differs, or a core had what does not belong there; 3: as wanted but for a reboot."
    )


def run(arguments: argparse.Namespace) -> int:
    """Looks at every setting and prints how it stands."""
    if arguments.observe is None and (arguments.cpus is not None or arguments.live):
        say("quietcore verify: --cpus and --live belong to --observe")
        return 1
    with open_context(arguments) as context:
        active = context.active()
        if arguments.profile is not None:
            plan = make_plan(context, arguments.profile, arguments.bind, sets=arguments.sets)
            profile, changes = {"name": plan.profile, "sha256": plan.sha256}, plan.changes
            sets, layers = plan.sets, plan.layers
        elif active is not None:
            profile, changes = dict(active.begin["profile"]), applied_changes(context, active)
            sets, layers = active.begin.get("set", {}), active.begin.get("layers", {})
        elif arguments.cpus is not None:  # any core can be watched, also of a host that no profile holds
            profile, changes, sets, layers = {"name": "", "sha256": ""}, (), {}, {}
        else:
            hidden = f"this user may not read {context.store.directory}: ask as root, or name a profile"
            none = "no profile is active on this host: name one, or apply one first"
            say(f"quietcore verify: {printable(hidden) if context.state_is_hidden else none}")
            return 1
        changes = checked(context.host, changes)
        more: dict[str, Any] = {"set": dict(sets), "layers": dict(layers)}
        status, seen = exit_status(changes), ""
        if arguments.observe is not None:
            behaviour = _observed(context, changes, arguments)
            if behaviour is None:
                return 1
            offended, more["observed"], seen = behaviour
            status = 2 if offended else status
        if arguments.json:
            number = active.number if active else None
            emit(changes_record("verify", profile, changes, changed=False, transaction=number, **more))
        else:
            banner(context.host)
            print(f"profile {profile['name'] or 'none'}")
            print(changes_text(changes, arguments.all))
            if seen:
                print(seen)
        return status


def _observed(
    context: Context, changes: Iterable[Change], arguments: argparse.Namespace
) -> tuple[bool, dict[str, Any], str] | None:
    """Whether somebody was where he has no business, as JSON, and for people; None where nothing can be observed."""
    from tuner.behaviour import Placed, offended
    from ui.cli.observe import Unobservable, behaviour_text, cores_to_observe, observe, placed_interrupts
    from ui.cli.reading import stopped_by_signals

    changes, inventory = tuple(changes), context.inventory
    stopped = threading.Event()
    try:
        cores, isolated = cores_to_observe(inventory, changes, arguments.cpus)
        placed = Placed(isolated, placed_interrupts(inventory, changes), inventory.topology.nohz_full)
        simulation = context.simulation
        if simulation is None and arguments.live and context.host.simulated:
            from tuner.host.simulated import Simulation

            simulation = Simulation(context.host)
        advance = simulation.advance if simulation is not None else None
        with stopped_by_signals(stopped.set):
            found = observe(inventory, cores, placed, arguments.observe, stopped, advance)
    except Unobservable as error:
        say(f"quietcore verify: {error}")
        return None
    return offended(found.cores), found.to_json(), behaviour_text(found)


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
