"""``quietcore doctor``: who else writes this host's knobs, and what its settings contradict, each with its remedy."""

import argparse
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

from tuner.doctor.examine import examine
from tuner.doctor.finding import SEVERITIES, Finding
from tuner.doctor.view import View, read_ticks
from tuner.host.cpulist import CpuListError, parse_list
from tuner.host.faults import FaultyFileError
from tuner.host.text import printable
from tuner.profile_files import host_bindings
from ui.cli.context import Context, open_context
from ui.cli.output import banner, emit

# Long enough that a tick of 100 Hz and one of 10 Hz can be told apart.
_WINDOW_S = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments: none of its own."""
    parser.epilog = (
        "Watches for a second and reads only, as anybody; what this user may not read is listed. Each finding says where it "
        "was read, what it costs, and the line of a profile that ends it, or a command where no setting does. Where a profile "
        "is applied, its settings are what files and programs are held against. Exit status 0: nothing was found; 2: "
        "something was."
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what is wrong."""
    with open_context(arguments) as context:
        view = _view(context)
        findings = examine(view)
        if arguments.json:
            emit(_record(findings, view.unseen))
        else:
            banner(context.host)
            print(_text(findings, view.unseen))
        return 2 if findings else 0


def _view(context: Context) -> View:
    active = context.active()
    wanted: dict[tuple[str, str], Any] = {}
    bindings: dict[str, str] = {}
    try:
        bindings |= host_bindings(context.host.files)
    except FaultyFileError:  # `quietcore plan` says what is wrong with it
        bindings = {}
    roles = {}
    if active is not None and active.plan is not None:
        wanted = {(str(c["knob"]), str(c["identity"])): c["wanted"] for c in active.plan["changes"]}
        bindings |= {str(part): str(nic) for part, nic in active.begin.get("bindings", {}).items()}
        for role, cpus in active.begin.get("roles", {}).items():
            try:
                roles[str(role)] = parse_list(str(cpus))
            except CpuListError:
                continue
    before, start = read_ticks(context.host.files), time.monotonic()
    if context.simulation is not None:
        context.simulation.advance(_WINDOW_S)
    if context.host.files.real:
        time.sleep(_WINDOW_S)
    seconds = time.monotonic() - start if context.host.files.real else _WINDOW_S
    after = read_ticks(context.host.files)
    view = View(context.inventory, wanted, bindings, roles, before, after, seconds)
    if context.state_is_hidden:
        view.unseen.append(f"{printable(context.store.directory)}: whether a profile is applied, and what it wants")
    return view


def _record(findings: tuple[Finding, ...], unseen: list[str]) -> dict[str, Any]:
    counts = Counter(finding.severity for finding in findings)
    return {
        "command": "doctor",
        "changed": False,
        "findings": [asdict(finding) for finding in findings],
        "summary": {severity: counts[severity] for severity in SEVERITIES},
        "unseen": unseen,
    }


def _text(findings: tuple[Finding, ...], unseen: list[str]) -> str:
    blocks = [
        "\n".join(
            (
                f"{finding.severity:<6}  {finding.lint}: {finding.what}",
                *(f"        seen    {printable(line, 160)}" for line in finding.evidence),
                f"        why     {finding.why}",
                f"        remedy  {finding.remedy}",
            )
        )
        for finding in findings
    ]
    counts = Counter(finding.severity for finding in findings)
    total = ", ".join(f"{counts[severity]} {severity}" for severity in SEVERITIES if counts[severity])
    blocks.append("\n".join([f"found: {total or 'nothing'}", *(f"not seen: {line}" for line in unseen)]))
    return "\n\n".join(blocks)
