"""``quietcore explain``: what a knob is, what it is worth, how it stands on this host, and how it is undone. Writes nothing."""

import argparse
import textwrap
from collections.abc import Iterator
from itertools import groupby

from tuner.host.faults import Fault
from tuner.host.host import Inventory
from tuner.host.text import printable
from tuner.language.reference import Reference, Standing, find, plain, references, standings, sysctl_references
from tuner.profile import ProfileError
from ui.cli.context import open_context
from ui.cli.output import banner, emit

_WIDTH = 100
_INDENT = 12
_SHOWN = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "knob",
        metavar="KNOB",
        nargs="?",
        help="a knob as plan names it (nic.rings.rx), some (nic), a place of a profile (nic.feed.rings.rx), or a sysctl "
        "(vm.swappiness); without one: all, a line each",
    )
    parser.epilog = (
        "Says what is set and why one would, where the kernel has it, what a change disturbs, how it is put back, what was "
        "seen of kernels and drivers, and how it stands on this host, as far as this user may read it. With --json and no "
        "KNOB: all that there is to say of every knob. docs/knobs.md has the same as a document."
    )


def run(arguments: argparse.Namespace) -> int:
    """Explains one knob or some, or lists all."""
    if arguments.knob is None:
        return _all(arguments.json)
    try:
        found = find(arguments.knob)
    except KeyError as error:
        meant = f"did you mean {error.args[0]}?" if error.args[0] else "quietcore explain lists them"
        raise ProfileError([Fault(printable(arguments.knob, 80), "there is no such knob", meant)]) from error
    with open_context(arguments) as context:
        readings = {each.name: standings(context.inventory, each.name) for each in found}
        if arguments.json:
            emit({"command": "explain", "knobs": [_record(each, readings[each.name]) for each in found]})
            return 0
        banner(context.host)
        print("\n\n".join(_told(each, readings[each.name], context.inventory) for each in found))
    return 0


def _all(as_json: bool) -> int:
    known = (*references(), *sysctl_references())
    if as_json:
        emit({"command": "explain", "knobs": [each.to_json() for each in known]})
        return 0
    width = max(len(each.name) for each in known)
    for heading, family in groupby(sorted(known, key=_place), key=lambda each: each.heading):
        print(heading)
        for each in family:
            print(f"  {each.name:{width}}  {_disturbs(each):8}{each.about.summary}")
    return 0


def _place(reference: Reference) -> int:
    """Where its family stands in the order of application."""
    return next(n for n, each in enumerate(references()) if each.heading == reference.heading)


def _disturbs(reference: Reference) -> str:
    return "" if reference.disruption == "none" else reference.disruption


def _record(reference: Reference, readings: list[Standing]) -> dict[str, object]:
    here = [{each: getattr(standing, each) for each in Standing.__slots__} for standing in readings]
    return {**reference.to_json(), "here": here}


def _told(reference: Reference, readings: list[Standing], inventory: Inventory) -> str:
    about = reference.about
    lines = [f"{reference.name}: {about.summary}"]
    for label, text in (
        ("why", about.why),
        ("where", about.where),
        ("effective", about.effective),
        ("risk", about.risk),
        ("disturbs", _disturbance(reference)),
        ("needs", reference.privilege),
        ("undo", about.undo or "the old value is written back"),
        ("for good", reference.irreversible),
        ("since", about.since),
    ):
        lines += _item(label, text)
    for n, quirk in enumerate(about.quirks):
        lines += _item("" if n else "seen", f"- {quirk}")
    lines += _item("source", about.source)
    for n, asked in enumerate(reference.asked):
        lines += [f"  {'' if n else 'profile':{_INDENT - 2}}{asked.example}"]
        lines += _item("", f"{asked.about}: {asked.values.replace('`', '')}")
    lines += list(_here(readings, inventory))
    return "\n".join(lines)


def _disturbance(reference: Reference) -> str:
    words = {"none": "nothing", "link": "the link, on a usual driver", "service": "a service", "reboot": "takes a reboot"}
    also = "; the device forgets other settings, which are put back" if reference.resets else ""
    return words[reference.disruption] + also


def _item(label: str, text: str) -> list[str]:
    """A label and its text, which goes on below itself."""
    if not text:
        return []
    filled = textwrap.wrap(text, _WIDTH - _INDENT, break_on_hyphens=False, break_long_words=False)
    return [f"  {label if n == 0 else '':{_INDENT - 2}}{line}" for n, line in enumerate(filled)]


def _here(readings: list[Standing], inventory: Inventory) -> Iterator[str]:
    where = inventory.host.name
    if not readings:
        return
    yield f"  on {printable(where)}:"
    for standing in readings[:_SHOWN]:
        now = standing.error or plain(standing.now)
        effective = plain(standing.effective)
        differs = not standing.error and standing.effective not in (None, standing.now) and effective not in standing.note
        effect = f" (in effect: {effective})" if differs else ""
        note = f" ({standing.note})" if standing.note else ""
        yield f"    {standing.target}: {now}{effect}{note}"
    if len(readings) > _SHOWN:
        yield f"    and {len(readings) - _SHOWN} more: --json has them"
