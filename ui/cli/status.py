"""``quietcore status``: one report of a host: its cores, NICs, losses, conflicts, and whether its profile still holds."""

import argparse
import json
import time
from dataclasses import asdict
from typing import Any

from ingest.collector import Collector
from ingest.rings.walk import WalkerMissing, open_walker
from ingest.sample import NicSample, Sample
from tuner.conflicts import Conflict, find
from tuner.host.text import printable
from tuner.plan import Change, exit_status
from ui.cli.context import Context, open_context
from ui.cli.losses import losses_text
from ui.cli.output import emit
from ui.cli.table import table
from ui.cli.verify import applied_changes

# Long enough for two looks at drivers' counters, which are read once a second at most; a tree of files may be asked sooner.
WINDOW_S, FILES_WINDOW_S = 1.0, 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments: none of its own."""
    parser.epilog = (
        "Watches for a second and reads only. Exit status 0, whatever the report says; see verify for a verdict. Losses are "
        "listed from the worst on: each stage between wire and application with its counter on this driver. What is a delay or "
        "a warning and no loss is named so, and a stage without a counter is said to be invisible, which is not a zero."
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the report."""
    with open_context(arguments) as context:
        sample = _sample(context)
        conflicts = find(context.host.syscalls.threads())
        active = context.active()
        drift = [c for c in applied_changes(context, active) if exit_status([c]) == 2] if active else []
        if arguments.json:
            emit(_record(context, sample, conflicts, drift))
        else:
            print(_text(context, sample, conflicts, drift))
        return 0


def _sample(context: Context) -> Sample:
    collector = Collector(context.host, context.profile_and_roles)
    collector.tick()
    window_s = WINDOW_S if context.host.files.real else FILES_WINDOW_S
    if context.simulation is not None:
        context.simulation.advance(window_s)
    time.sleep(window_s)
    return collector.tick()


def _record(context: Context, sample: Sample, conflicts: tuple[Conflict, ...], drift: list[Change]) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(sample.to_json("status"))
    del record["schema"]
    active = context.active()
    transaction = {"number": active.number, "state": active.state, "profile": active.begin["profile"]} if active else None
    return record | {
        "simulated": context.host.simulated,
        "transaction": transaction,
        "drift": [change.to_json() for change in drift],
        "conflicts": [asdict(conflict) for conflict in conflicts],
        "walker": _walker(),
    }


def _walker() -> str:
    """The name of the walker that a packet ring would use here."""
    try:
        walker = open_walker([])
    except WalkerMissing:
        return "none"
    name = walker.name
    walker.close()
    return name


def _text(context: Context, sample: Sample, conflicts: tuple[Conflict, ...], drift: list[Change]) -> str:
    parts = [_head(context, sample, drift), _cores(sample), _nics(sample), losses_text(sample.losses)]
    if conflicts:
        rows = [(c.program, str(c.pid), c.what, c.remedy) for c in conflicts]
        parts.append(table(("conflict", "pid", "it", "remedy"), rows))
    walker = _walker()
    slower = {"native": "", "numpy": "slower: "}.get(walker, "far slower: ")
    why = f" ({slower}without a C compiler at installation the native one was not built)" if slower else ""
    parts.append(f"packet ring: {walker} walker{why}")
    return "\n\n".join(parts)


def _head(context: Context, sample: Sample, drift: list[Change]) -> str:
    kind = {"simulated": "  SIMULATED", "files": f"  files below {context.root}"}.get(sample.source, "")
    nodes = len({core.node for core in sample.cores})
    where = f"{len(sample.cores)} CPUs online, {nodes} node{'s' if nodes != 1 else ''}"
    lines = [f"{printable(sample.host)}  Linux {printable(sample.kernel)}  {where}{kind}"]
    active = context.active()
    if active is None:
        hidden = f"this user may not read {printable(context.store.directory)}"
        lines.append(f"profile: {hidden if context.state_is_hidden else 'none is active'}")
    else:
        differ = "setting differs" if len(drift) == 1 else "settings differ"
        state = f"{len(drift)} {differ}: quietcore verify" if drift else "as applied"
        waits = "  waits to be confirmed" if active.state == "applied" else ""
        lines.append(f"profile: {active.profile} (transaction {active.number}), {state}{waits}")
    return "\n".join(lines)


def _cores(sample: Sample) -> str:
    rows = [
        (
            str(c.cpu),
            str(c.node),
            c.role,
            _rate(c.interruptions_per_s),
            _cause(c.top_cause, c.top_cause_per_s),
            _rate(c.device_per_s),
            _rate(c.timer_per_s),
            _rate(c.ipi_per_s),
            _rate(c.softirqs_per_s),
            _rate(c.packets_per_s),
            str(c.backlog_drops),
            f"{c.busy_percent:.0f}%",
        )
        for c in sample.cores
    ]
    headers = (
        "cpu",
        "node",
        "role",
        "interruptions/s",
        "most of them",
        "device/s",
        "tick/s",
        "ipi/s",
        "softirq/s",
        "packets/s",
        "backlog drops",
        "busy",
    )
    return table(headers, rows, "rrlrlrrrrrrr")


def _nics(sample: Sample) -> str:
    rows = [_nic_row(nic) for nic in sample.nics]
    headers = ("nic", "driver", "node", "link", "Mb/s", "rx ring", "queues", "rx/s", "tx/s", "drops/s")
    return table(headers, rows, "llrlrrrrrr")


def _nic_row(nic: NicSample) -> tuple[str, ...]:
    return (
        printable(nic.name),
        nic.driver or "-",
        "-" if nic.node < 0 else str(nic.node),
        "up" if nic.up else "down",
        f"{nic.speed_mbps}" if nic.speed_mbps else "-",
        f"{nic.rx_ring}/{nic.rx_ring_max}" if nic.rx_ring else "-",
        str(len(nic.queues)) if nic.queues else "-",
        _rate(nic.rx_packets_per_s),
        _rate(nic.tx_packets_per_s),
        _rate(nic.drops_per_s),
    )


def _cause(name: str, per_s: float) -> str:
    return f"{printable(name, 40)} {_rate(per_s)}" if name else "-"


def _rate(per_s: float) -> str:
    if per_s >= 10_000_000:
        return f"{per_s / 1e6:.0f}M"
    if per_s >= 10_000:
        return f"{per_s / 1e3:.0f}k"
    return f"{per_s:.0f}"
