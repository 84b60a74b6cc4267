"""The places between wire and application where packets can be lost, in that order, each with the counter that tells of it.

A packet is lost once: aggregates that contain others (``rx_errors``, UDP's ``InErrors``) are never shown beside them. What this
host cannot see is said to be invisible, since a missing counter is not a zero.
"""

from collections.abc import Callable, Iterable, Mapping

from ingest.counters.softnet import Softnet
from ingest.sample import LossSample

Rate = Callable[[str, str, int], float]  # (where, counter, total) -> per second

# (stage, name, counter of /sys/class/net/X/statistics)
_NIC_STAGES = (
    (2, "MAC", "rx_crc_errors"),
    (5, "NIC buffer or descriptors", "rx_missed_errors"),
    (13, "device: no handler, or dropped by the driver", "rx_dropped"),
)
_PROTOCOL_STAGES = (
    (15, "IP: reverse path filter", "TcpExt.IPReversePathFilter"),
    (15, "IP: discarded", "Ip.InDiscards"),
    (17, "UDP: no socket", "Udp.NoPorts"),
    (18, "UDP: socket buffer full", "Udp.RcvbufErrors"),
    (19, "UDP: memory", "Udp.MemErrors"),
)

PROTOCOL_COUNTERS = tuple(counter for _, _, counter in _PROTOCOL_STAGES)


def losses(
    nics: Mapping[str, Mapping[str, int]], softnet: Iterable[Softnet], protocols: Mapping[str, int], rate: Rate
) -> tuple[LossSample, ...]:
    """The stages with their totals and rates.

    Args:
        nics: interface -> its counters.
        softnet: rows of softnet_stat; empty where the host has none.
        protocols: counters of snmp and netstat; empty where the host has none.
        rate: what a counter's rate is since the last time.
    """
    found = [
        _loss(stage, name, nic, counter, counters.get(counter), rate)
        for nic, counters in nics.items()
        for stage, name, counter in _NIC_STAGES
    ]
    rows = list(softnet)
    found += [_loss(11, "softnet backlog", f"CPU {row.cpu}", "softnet dropped", row.drops, rate) for row in rows]
    if not rows:
        found.append(_loss(11, "softnet backlog", "host", "softnet dropped", None, rate))
    found += [_loss(stage, name, "host", counter, protocols.get(counter), rate) for stage, name, counter in _PROTOCOL_STAGES]
    return tuple(sorted(found, key=lambda loss: loss.stage))


def _loss(stage: int, name: str, where: str, counter: str, total: int | None, rate: Rate) -> LossSample:
    if total is None:
        return LossSample(stage, name, where, counter, 0, 0.0, visible=False)
    return LossSample(stage, name, where, counter, total, rate(where, counter, total))
