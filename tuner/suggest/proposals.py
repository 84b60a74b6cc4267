"""What is proposed for a host: settings in the language of profiles, each with its reason on this host.

The values are those of a receiver on the kernel's stack; what a host does not have is found by planning, not here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.host.cpulist import CpuSet, format_list
from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.profile import Place

RX_CORES = 4  # more queues than a feed fills make it late: each is woken for less


@dataclass(frozen=True, slots=True)
class Proposal:
    """One setting with why."""

    place: Place
    value: Any
    why: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Who gets which cores. ``housekeeping`` holds whole cores, CPU 0 among them; ``rx`` and ``app`` one thread a core."""

    housekeeping: CpuSet
    rx: CpuSet
    app: CpuSet
    expressions: Mapping[str, str]  # the same in the language


def layout(inventory: Inventory, part: str, nic: Nic | None) -> Layout:
    """Housekeeping, receiving and application cores near ``nic``; where there is no room no core trades.

    CPU 0's core keeps house, and one core more of the node where that has five or more. Siblings stay with their core.
    """
    topology = inventory.topology
    near = topology.nodes.get(nic.node, frozenset()) & topology.online if nic else frozenset()
    near, place = (near, f"node({part})") if near else (topology.online, "all")
    if isolated := topology.boot_isolated & topology.online:  # somebody decided already, for as long as this boot
        text = format_list(isolated)
        housekeeping, reserve = topology.online - isolated, isolated & near or isolated
        words = {"housekeeping": f"all - ({text})"}
        place = f"{place} & ({text})" if isolated & near else text
    else:
        firsts = sorted(topology.first_threads(near))
        kept = 2 if len(firsts) > 4 else 1
        first = "0" if kept == 1 and 0 in near else f"first({kept}, {place}) + 0"
        lowest = frozenset(sorted(near)[:kept]) if first != "0" else frozenset()
        housekeeping = topology.siblings(lowest | ({0} & topology.online))
        reserve = near - housekeeping
        words = {"housekeeping": f"smt({first})"}
        place = f"{place} - housekeeping"
    reserve -= topology.siblings(housekeeping) | {0}
    free = sorted(topology.first_threads(reserve))
    queues = max(1, _queues(inventory, nic)) if nic else 1
    count = min(RX_CORES, queues, max(1, len(free) // 2)) if free else 0
    rx, app = frozenset(free[:count]), frozenset(free[count:])
    if rx:
        words["rx"] = f"first({count}, cores({place}))"
    if app:
        words["app"] = f"cores({place} - smt(rx))"
    return Layout(housekeeping, rx, app, words)


def _queues(inventory: Inventory, nic: Nic) -> int:
    own = {irq.queue for irq in inventory.irqs if irq.device == nic.name and irq.queue is not None}
    return len(own) or nic.rx_queues


def feed_nic(inventory: Inventory, name: str | None) -> Nic | None:
    """The NIC that is meant: the one named, else the fastest physical one without the default route, with a link first."""
    if name is not None:
        return inventory.nic(name)
    candidates = [nic for nic in inventory.nics if nic.physical and nic.name != "lo" and not nic.default_route]
    return max(candidates, key=lambda nic: (nic.carrier, nic.speed_mbps or 0, nic.rx_queues), default=None)


def proposals(part: str, nic: Nic | None, cores: Layout) -> Iterator[Proposal]:
    """Everything that could be set here, in the order of the file."""
    if nic is not None:
        yield Proposal(
            ("bind", part), "nic", f"{printable(nic.name)} on this host: --bind {part}={printable(nic.name)}, or host.toml"
        )
    for name, expression in cores.expressions.items():
        cpus = {"housekeeping": cores.housekeeping, "rx": cores.rx, "app": cores.app}[name]
        yield Proposal(("cores", name), expression, f"here: CPU {format_list(cpus)}")
    yield Proposal(
        ("irq", "default"), "housekeeping", "every interrupt that no other line places, and those of devices to come"
    )
    if nic is not None and cores.rx:
        yield from _nic(part)
    if cores.rx:
        everyone = "smt(rx + app)" if cores.app else "smt(rx)"
        yield Proposal(("isolation", "cores"), everyone, "whole cores: work on a sibling slows the thread that trades")
        yield Proposal(("isolation", "kernel_threads"), "housekeeping")
        yield Proposal(("isolation", "workqueues"), "housekeeping")
        who = "rx + app" if cores.app else "rx"
        yield Proposal(("power", "resume_latency_us"), {who: "n/a"}, "trading cores poll in idle; the others may sleep")
    yield Proposal(("power", "governor"), "performance", "no ramp of the clock at the first packet after a quiet second")
    yield Proposal(("memory", "thp"), "never", "no khugepaged, no compaction at the moment of a page fault")
    yield Proposal(("services", "irqbalance"), "stop", "it moves interrupts every ten seconds and knows no run-time isolation")
    for key, value, why in _SYSCTLS:
        yield Proposal(("sysctl", key), value, why)


def _nic(part: str) -> Iterator[Proposal]:
    yield Proposal(
        ("irq", part), {"cores": "rx", "spread": "one-each"}, "a core serves one queue, a queue is served by one core"
    )
    nic = ("nic", part)
    yield Proposal((*nic, "channels", "combined"), "count(rx)", "as many queues as there are cores to serve them")
    yield Proposal((*nic, "rings", "rx"), "max:4096", "time that a core may be late; more no longer fits the cache")
    yield Proposal((*nic, "coalesce", "adaptive_rx"), False, "moderation that learns is late when a burst begins")
    yield Proposal((*nic, "coalesce", "rx_usecs"), 0, "an interrupt at once")
    yield Proposal((*nic, "features", "gro"), False, "datagrams are not merged: holding them only delays")
    yield Proposal((*nic, "features", "lro"), False)
    yield Proposal((*nic, "pause", "rx"), False, "a drop here is counted; a switch told to pause hides it, for everybody")
    yield Proposal((*nic, "pause", "tx"), False)


_SYSCTLS: tuple[tuple[str, Any, str], ...] = (
    ("net.core.busy_poll", 50, "sockets with nothing queued spin on their queue for up to 50 us"),
    ("net.core.busy_read", 50, ""),
    ("net.core.rmem_max", "at-least:67108864", "what an application may ask for by SO_RCVBUF"),
    ("net.ipv4.igmp_max_memberships", "at-least:512", "the default of 20 makes the 21st join of a socket fail"),
    ("vm.stat_interval", 120, "per-CPU statistics are folded by a work item on each CPU"),
)
