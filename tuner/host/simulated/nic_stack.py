"""What a simulated NIC has between its queues and the sockets: flow rules, hashes, stamps, disciplines, its own sysctls.

Sources: drivers/net/ethernet/intel/ixgbe (ixgbe_ethtool.c: hashes of ports, 2046 perfect filters), net/sched/sch_generic.c
(the default discipline of a NIC with several queues is mq), net/ipv4/devinet.c.
"""

from collections.abc import Iterable

from tuner.host.simulated.settings import Setting
from tuner.host.simulated.writer import TreeWriter

FLOW_TABLE_SIZE = 2046  # (1024 << fdir_pballoc) - 2 of ixgbe, its smallest
CONF = "/proc/sys/net/ipv4/conf"
INTERFACE_SYSCTLS = {
    "rp_filter": Setting("0", 0, 2),
    "force_igmp_version": Setting("0", 0, 3),
}
ROOT = 0xFFFFFFFF


def stack_document(queues: int) -> dict[str, object]:
    """Parts of ``ethtool_document``: a driver's defaults."""
    return {
        "hash_fields": {"tcp4": "sdfn", "udp4": "sd", "tcp6": "sdfn", "udp6": "sd"},
        "flow_table": {"size": FLOW_TABLE_SIZE, "rules": []},
        "timestamping": {"transmit": "off", "receive": "none", "flags": 0},
        "qdiscs": default_qdiscs(queues, "fq_codel"),
    }


def default_qdiscs(queues: int, kind: str, handle: int = 0) -> list[dict[str, object]]:
    """What the kernel attaches by itself: one discipline, or mq with one for each queue. ``handle``: of the root, 16 bits."""
    if queues == 1:
        return [{"handle": handle << 16, "parent": ROOT, "kind": kind, "options": ""}]
    children = [{"handle": 0, "parent": handle << 16 | queue + 1, "kind": kind, "options": ""} for queue in range(queues)]
    return [{"handle": handle << 16, "parent": ROOT, "kind": "mq", "options": ""}, *children]


def write_conf(tree: TreeWriter, names: Iterable[str]) -> None:
    """The interfaces' own sysctls, and those of all interfaces together."""
    for conf in ("all", "default", *names):
        for leaf, setting in INTERFACE_SYSCTLS.items():
            tree.put(f"{CONF}/{conf}/{leaf}", ("0" if conf == "all" else setting.default) + "\n")
