"""What is good and bad on a core, by what the core is for: the colours of every view come from here.

High is not bad: eight thousand interrupts a second are a housekeeping core's work; one a second is a fault on an isolated one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ingest.sample import CoreSample
from ui.app.widgets.tones import BAD, COOL, WARN

QUIET = "dim"
ROLE_LETTER = {"housekeeping": "H", "isolated": "I", "rx": "R", "tx": "T", "app": "A", "general": "g"}
_RESERVED = frozenset({"isolated", "app"})


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure per core: ``name`` fits a label, ``title`` says it whole, ``top`` is where its scale ends."""

    name: str
    title: str
    top: float
    value: Callable[[CoreSample], float]


METRICS = (
    Metric("intr/s", "interruptions per second", 20_000.0, lambda core: core.interruptions_per_s),
    Metric("dev/s", "device interrupts per second", 20_000.0, lambda core: core.device_per_s),
    Metric("drop/s", "packets dropped at the softnet backlog per second", 1_000.0, lambda core: core.backlog_drops_per_s),
    Metric("busy %", "busy per cent", 100.0, lambda core: core.busy_percent),
    Metric("soft/s", "softirqs per second", 20_000.0, lambda core: core.softirqs_per_s),
    Metric("ipi/s", "inter-processor interrupts per second", 5_000.0, lambda core: core.ipi_per_s),
    Metric("tick/s", "timer ticks per second", 1_000.0, lambda core: core.timer_per_s),
    Metric("pkts/s", "packets per second", 1_000_000.0, lambda core: core.packets_per_s),
)


def style_of(core: CoreSample, metric: Metric, level: int) -> str:
    """The colour of one cell."""
    if level == 0:
        return QUIET
    if metric.name == "drop/s":
        return BAD
    if core.role in _RESERVED and metric.name in ("intr/s", "dev/s", "ipi/s", "soft/s"):
        return _reserved(core, metric)
    return COOL[min(3, (level - 1) // 2)]


def _reserved(core: CoreSample, metric: Metric) -> str:
    if metric.name == "intr/s":
        # the tick alone is worth a warning: without nohz_full nothing at run time can stop it
        return BAD if core.interruptions_per_s - core.timer_per_s >= 1.0 else WARN if core.timer_per_s > 2.0 else QUIET
    return BAD if metric.value(core) >= 1.0 else QUIET


def why(core: CoreSample) -> str:
    """What stands out on a core, in words; empty where nothing does."""
    if core.backlog_drops_per_s > 0:
        return f"backlog drops {core.backlog_drops_per_s:.0f}/s: raise net.core.netdev_max_backlog"
    if core.role in _RESERVED and core.device_per_s >= 1.0:
        return f"{core.top_cause}: a device interrupts a core that is {core.role}"
    if core.role in _RESERVED and core.ipi_per_s >= 1.0:
        return f"{core.ipi_per_s:.0f} inter-processor interrupts a second"
    if core.role in _RESERVED and core.timer_per_s > 2.0:
        return f"the tick runs at {core.timer_per_s:.0f}/s (nohz_full stops it, at boot)"
    if core.squeezes_per_s > 0:
        return f"softirq budget used up {core.squeezes_per_s:.0f} times a second"
    return core.top_cause


def weight(core: CoreSample) -> float:
    """How much a core deserves to be looked at first: faults of reserved cores before the work of others."""
    if core.backlog_drops_per_s > 0:
        return 3e9 + core.backlog_drops_per_s
    if core.role in _RESERVED:
        return 2e9 + core.interruptions_per_s - core.timer_per_s if core.interruptions_per_s - core.timer_per_s >= 1.0 else 1.0
    return core.interruptions_per_s
