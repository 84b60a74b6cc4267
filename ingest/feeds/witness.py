"""What this host's own counters say of a feed's gaps: the ledger of losses read before and after a run of a ring."""

from collections.abc import Sequence

from ingest.collector import Collector
from ingest.feeds.judge import Judge, Verdict
from ingest.ledger import Ledger
from ingest.rings.counters import RingReport
from ingest.rings.layout import Following
from tuner.host.host import Host


class Witness(Judge):
    """Reads the ledger when it is made, and again for ``verdicts``; each read costs some milliseconds.

    To be made before the ring is opened: what the ring loses while the ledger is read would be missing in it.

    Args:
        host: where the counters are.
        interfaces: those of the ring; with two of them the first brings line A and the second line B.
        following: what the ring follows. A channel of which nothing came, or that has one line only, is known from here alone.
    """

    def __init__(self, host: Host, interfaces: Sequence[str], following: Following | None = None) -> None:
        super().__init__(host.files, interfaces, following)
        self._collector = Collector(host)
        self._collector.losses.rings = dict.fromkeys(self.names.values(), 0)
        self._before = self._look()

    def verdicts(self, report: RingReport) -> tuple[Verdict, ...]:
        """What the counters say of the gaps of a whole run; once. An interface's new name is told first."""
        self._collector.refresh()  # by what names the interfaces go now
        self.called(self._collector.nics)
        now = self.names
        drops = {shown: sum(ring.drops for ring in report.rings if ring.interface == name) for name, shown in now.items()}
        self._collector.losses.rings = drops
        after = self._look()
        interval_s = (after.at_ns - self._before.at_ns) / 1e9
        renamed = tuple(_renamed(name, shown) for name, shown in now.items() if shown != name)
        return (*renamed, *self.judged(report, after.since(self._before), interval_s))

    def _look(self) -> Ledger:
        sample = self._collector.tick(everything=True)
        return Ledger(sample.monotonic_ns, sample.losses, self._collector.numbers)

    def close(self) -> None:
        """Lets go of the counters' files."""
        self._collector.close()


def _renamed(name: str, now: str) -> Verdict:
    return Verdict(f"{name}: the interface is called {now} now", {"interface": name, "now": now})


__all__ = ["Verdict", "Witness"]
