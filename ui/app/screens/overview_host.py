"""The overview's side panels: what is read from packet rings and feeds, and what the host is set to."""

from collections.abc import Sequence

from ingest.sample import Sample
from tuner.host.cpulist import format_list
from ui.app.state.policy import RESERVED, TICKING_PER_S
from ui.app.widgets.kept import Kept
from ui.app.widgets.lines import Line, seg
from ui.app.widgets.ramp import short
from ui.app.widgets.tones import BAD, DIM, WARN

Parts = tuple[tuple[str, str], ...]


class Side:
    """Two panels beside each other."""

    def __init__(self) -> None:
        self._kept = Kept()

    def lines(self, sample: Sample, width: int, height: int) -> list[Line]:
        """Titles and what fits."""
        left = width * 3 // 8
        right = width - left - 1
        ingest, host = _ingest(sample)[: height - 1], _host(sample)[: height - 1]
        titles = self._kept.rule("ingest", "ingest", left), self._kept.rule("host", "host", right)
        lines = [self._kept.joined(("title", width), titles, seg("┬", DIM))]
        bar = seg("│", DIM)
        for y in range(height - 1):
            one = self._kept.text((0, y), ingest[y] if y < len(ingest) else (("", ""),), left)
            two = self._kept.text((1, y), host[y] if y < len(host) else (("", ""),), right)
            lines.append(self._kept.joined(y, (one, two), bar))
        return lines


def _ingest(sample: Sample) -> list[Parts]:
    if not sample.rings and not sample.feeds:
        return [((" no packet ring is read (5, then o, opens one)", DIM),)]
    found: list[Parts] = []
    pairs = {feed.get("channel") for feed in sample.feeds if feed.get("line") == "A+B"}
    feeds = [feed for feed in sample.feeds if feed.get("line") == "A+B" or feed.get("channel") not in pairs]
    for feed in sorted(feeds, key=lambda feed: (-feed.get("lost_per_s", 0.0), -feed.get("lost", 0))):
        name = " ".join(str(feed[key]) for key in ("channel", "line", "stream") if feed.get(key))
        lost, now = feed.get("lost", 0), feed.get("lost_per_s", 0.0)
        tone = BAD if now else "" if lost else DIM
        found.append(((f" {name:<22} {short(feed.get('received_per_s', 0.0)):>6}/s", ""), (f"  lost {lost:,}", tone)))
    for name in dict.fromkeys(str(ring.get("interface")) for ring in sample.rings):
        mine = [ring for ring in sample.rings if str(ring.get("interface")) == name]
        packets = sum(ring.get("packets", 0) for ring in mine) / (max(ring.get("seconds", 0.0) for ring in mine) or 1.0)
        drops = sum(ring.get("total", {}).get("drops", 0) for ring in mine)
        state = "" if mine[0].get("open", True) else "  CLOSED"
        said = f" {'ring ' + name:<22} {short(packets):>6}/s"
        found.append(((said, ""), (f"  drops {drops:,}{state}", BAD if state else "" if drops else DIM)))
    return found


def _host(sample: Sample) -> list[Parts]:
    found = [_profile(sample), *_reserved(sample)]
    for nic in (each for each in sample.nics if each.physical):
        speed = f"{nic.speed_mbps / 1000:g}G" if nic.speed_mbps else "no speed"
        ring = f"  ring {nic.rx_ring} of {nic.rx_ring_max}" if nic.rx_ring and nic.rx_ring_max else ""
        node = f"  node {nic.node}" if nic.node >= 0 else ""
        state = "up" if nic.up else "down"
        said = f" {nic.name} {nic.driver} {speed}  {state}{node}{ring}  rx {short(nic.rx_packets_per_s)}/s"
        found.append(((said, "" if nic.up else WARN),))
    cost = sample.cost
    late = f", {cost.late_ticks} ticks came too late" if cost.late_ticks else ""
    said = f" watching costs {cost.cpu_percent:.1f}% of CPU {cost.cpus or '?'}{late}   {len(sample.irqs)} interrupt rows"
    stolen = max((core.steal_percent for core in sample.cores), default=0.0)
    if stolen >= 0.5:
        said += f"   the hypervisor takes up to {stolen:.0f}% of a CPU"
    found.append(((said, WARN if stolen >= 0.5 or cost.late_ticks else DIM),))
    return found


def _profile(sample: Sample) -> Parts:
    if not sample.profile:
        return ((" no profile is active (6 plans one)", DIM),)
    if not sample.drift:
        return ((f" profile {sample.profile}: nothing moved since it was applied", ""),)
    moved = ", ".join(f"{each.get('knob')} {each.get('target')}" for each in sample.drift)
    return ((f" profile {sample.profile}: {len(sample.drift)} moved since: {moved}", WARN),)


def _reserved(sample: Sample) -> list[Parts]:
    mine = [core for core in sample.cores if core.role in RESERVED]
    if not mine:
        return [((" no core is isolated or kept for an application", DIM),)]
    still = sum(core.timer_per_s <= TICKING_PER_S for core in mine)
    stray = [core for core in mine if core.device_per_s + core.ipi_per_s > 0]
    rate = sum(core.device_per_s + core.ipi_per_s for core in stray)
    tick = f"the tick is still on {still} of {len(mine)} reserved cores" if sample.interval_s else ""
    there = f"stray interrupts there {short(rate)}/s" + (f", on {_list([core.cpu for core in stray])}" if stray else "")
    return [((f" {tick}   ", "" if still == len(mine) else WARN), (there, BAD if stray else ""))]


def _list(cpus: Sequence[int]) -> str:
    text = format_list(cpus)
    return text if len(text) <= 40 else text[:39] + "…"
