"""/sys/class/net/X/statistics: what every interface counts (struct rtnl_link_stats64).

64-bit counts that do not wrap but may start anew when a driver is reloaded. What each means is the driver's choice: ixgbe's
rx_missed_errors are packets for which its buffer was full, i40e's those for which no descriptor was free.
"""

from tuner.host.files import HostFiles

# What the samples show; a driver's own counters (ethtool -S) can cost a firmware command each and are not read here.
NAMES = (
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_dropped",
    "rx_missed_errors",
    "rx_errors",
    "rx_crc_errors",
    "rx_fifo_errors",
    "rx_over_errors",
    "tx_dropped",
    "tx_errors",
    "multicast",
)


def read(files: HostFiles, name: str) -> dict[str, int]:
    """The counters of one interface; empty where it is gone."""
    base = f"/sys/class/net/{name}/statistics"
    found = {}
    for counter in NAMES:
        count = files.number(f"{base}/{counter}")
        if count is not None:
            found[counter] = count
    return found
