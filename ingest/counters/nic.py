"""What every interface counts: /proc/net/dev says which moved, /sys/class/net/X/statistics says how.

Facts (net/core/net-procfs.c, net-sysfs.c; struct rtnl_link_stats64): 64-bit counts that do not wrap but may start anew when a
driver is reloaded. One read of /proc/net/dev covers all interfaces, but its drop column is rx_dropped + rx_missed_errors; the
files below statistics keep them apart at one open each, so they are read only for an interface whose line has changed. What a
counter means is the driver's choice: ixgbe's rx_missed_errors are packets for which its buffer was full, i40e's are those for
which no descriptor was free.
"""

from collections.abc import Iterable

from ingest.counters.kept import KeptFile
from tuner.host.files import HostFiles

# A driver's own counters (ethtool -S) can cost a firmware command each: see driver.py.
NAMES = (
    "rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_dropped", "rx_missed_errors", "rx_errors", "rx_crc_errors",
    "rx_length_errors", "rx_frame_errors", "rx_fifo_errors", "rx_over_errors", "rx_nohandler", "tx_dropped", "tx_errors",
    "multicast",
)  # fmt: skip


class Statistics:
    """The counters of all interfaces, read again where they moved.

    Attributes:
        names: the interfaces that there were at the last read, whoever asked for them; empty where nothing lists them.
    """

    def __init__(self, files: HostFiles) -> None:
        self.names: frozenset[str] = frozenset()
        self._files = files
        self._dev = KeptFile(files, "/proc/net/dev")
        self._known: dict[str, tuple[bytes, dict[str, int]]] = {}
        self._raw, self._whole = b"", False  # the whole file as it was, and whether each interface had a line in it
        self._told: dict[str, dict[str, int]] = {}

    def read(self, names: Iterable[str]) -> dict[str, dict[str, int]]:
        """Interface -> its counters; none for one that is gone."""
        raw, names = self._dev.read() or b"", tuple(names)
        if raw == self._raw and names == tuple(self._known) and self._whole:
            return self._told
        self._raw, lines = raw, parse_lines(raw)
        self.names = frozenset(lines)
        self._whole = all(name in lines for name in names)
        self._known = {name: self._one(name, lines.get(name, b"")) for name in names}
        self._told = {name: counters for name, (_, counters) in self._known.items()}
        return self._told

    def _one(self, name: str, line: bytes) -> tuple[bytes, dict[str, int]]:
        known = self._known.get(name)
        if known is not None and line and known[0] == line:
            return known
        base = f"/sys/class/net/{name}/statistics"
        found = ((counter, self._files.number(f"{base}/{counter}")) for counter in NAMES)
        return line, {counter: count for counter, count in found if count is not None}

    def close(self) -> None:
        """Lets go of the descriptor."""
        self._dev.close()


def parse_lines(raw: bytes) -> dict[str, bytes]:
    """Interface -> the counts behind its name in /proc/net/dev, unparsed; the two header lines have no colon."""
    found = {}
    for line in raw.split(b"\n"):
        name, colon, rest = line.rpartition(b":")  # a name may hold no colon, nor do the counts
        if colon:
            found[name.strip().decode("utf-8", "surrogateescape")] = rest
    return found
