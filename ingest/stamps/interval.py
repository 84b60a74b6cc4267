"""From the NIC to the kernel: what a sample of an interface's packets says, and by which clocks."""

from dataclasses import dataclass
from typing import Any

from ingest.histogram import EMPTY, Histogram
from ingest.rings.counters import latency_json
from ingest.stamps.ability import Ability


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """How the NIC's clock stood to CLOCK_REALTIME, which has been taken out of the interval.

    ``offset_ns``: the NIC's minus the host's, as last measured; ``uncertainty_ns``: the worst bound among the measurements;
    ``lowest_ns`` and ``highest_ns``: between which the offset was: two clocks that drift apart, or are steered.
    """

    device: str
    offset_ns: int
    uncertainty_ns: int
    lowest_ns: int
    highest_ns: int

    def merged(self, later: "ClockOffset") -> "ClockOffset":
        """Both together; the offset is the later one's."""
        return ClockOffset(
            later.device,
            later.offset_ns,
            max(self.uncertainty_ns, later.uncertainty_ns),
            min(self.lowest_ns, later.lowest_ns),
            max(self.highest_ns, later.highest_ns),
        )

    def to_json(self) -> dict[str, Any]:
        """The report's ``clock``."""
        return {
            "device": self.device,
            "offset_ns": self.offset_ns,
            "uncertainty_ns": self.uncertainty_ns,
            "moved_ns": self.highest_ns - self.lowest_ns,
        }


@dataclass(frozen=True, slots=True)
class NicInterval:
    """One interface's sample, in nanoseconds from the NIC's stamp to the kernel's at the entry of the network stack.

    Attributes:
        interface: fit to be shown.
        ability: what the interface said of its stamps at the start.
        looked_at: packets of the sample; those with both stamps are ``latency.total + stepped``.
        unstamped: packets that the NIC did not stamp; ``unstamped_by_kernel``: that the kernel did not.
        stepped: packets between two measurements of which the clocks were set: their offset is not known.
        dropped: packets for which the sample's socket was full.
        one_in: of how many packets one is looked at, as of the end.
        latency: a stamp of the NIC later than the kernel's is ``negative``.
        lowest_ns: the shortest interval, negative ones included; None where there is none.
        clock: None where the clocks are not known to agree: their difference, whatever it is, is in ``latency`` then.
        why_unknown: the reason.
        cpu_ns: CPU time of looking; what the kernel spends on every packet to draw the sample is not in it.
    """

    interface: str
    ability: Ability
    looked_at: int = 0
    unstamped: int = 0
    unstamped_by_kernel: int = 0
    stepped: int = 0
    dropped: int = 0
    one_in: int = 1
    latency: Histogram = EMPTY
    lowest_ns: int | None = None
    clock: ClockOffset | None = None
    why_unknown: str = ""
    cpu_ns: int = 0

    def merged(self, later: "NicInterval") -> "NicInterval":
        """Both together."""
        lowest = [each for each in (self.lowest_ns, later.lowest_ns) if each is not None]
        return NicInterval(
            interface=self.interface,
            ability=self.ability,
            looked_at=self.looked_at + later.looked_at,
            unstamped=self.unstamped + later.unstamped,
            unstamped_by_kernel=self.unstamped_by_kernel + later.unstamped_by_kernel,
            stepped=self.stepped + later.stepped,
            dropped=self.dropped + later.dropped,
            one_in=later.one_in,
            latency=self.latency.merged(later.latency),
            lowest_ns=min(lowest, default=None),
            clock=self.clock.merged(later.clock) if self.clock and later.clock else later.clock or self.clock,
            why_unknown=later.why_unknown or self.why_unknown,
            cpu_ns=self.cpu_ns + later.cpu_ns,
        )

    @property
    def words(self) -> str:
        """What is wrong with the stamps and what to do about it; empty where the sample has what it needs."""
        told = self.ability.words(self.interface)
        if told or not self.looked_at or self.unstamped < self.looked_at:
            return told
        return f"{self.interface} is set to stamp every packet, yet of {self.looked_at:,} none had a stamp"

    def to_json(self) -> dict[str, Any]:
        """One entry of the report's ``nic_to_kernel``."""
        return {
            "interface": self.interface,
            "latency": latency_json(self.latency, "nic", "kernel") | {"lowest_ns": self.lowest_ns},
            "looked_at": self.looked_at,
            "one_in": self.one_in,
            "unstamped": self.unstamped,
            "unstamped_by_kernel": self.unstamped_by_kernel,
            "stepped": self.stepped,
            "dropped": self.dropped,
            "stamping": self.ability.stamping,
            "filter": self.ability.filter,
            "clock": self.clock.to_json() if self.clock else None,
            "clocks_agree": self.clock is not None,
            "why_unknown": self.why_unknown,
            "note": self.words,
            "cpu_ns": self.cpu_ns,
        }
