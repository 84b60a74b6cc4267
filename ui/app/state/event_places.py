"""What an event is about: the row of another screen that it leads to, and the figures that were taken there."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from ingest.sample import Event, Sample
from ui.keys import Screen

_CORE = re.compile(r"(?:cpu|core) ?(\d{1,4})\Z", re.IGNORECASE)
_LINES = re.compile(r" (?:[AB](?: \S+)?|A\+B)\Z")  # what the ledger puts behind a channel: "itch A 239.1.1.1:30001", "itch A+B"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something happened; what is not known is None or empty. ``feed`` is a channel, or a stream without one."""

    cpu: int | None = None
    irq: str = ""
    nic: str = ""
    queue: int | None = None
    counter: str = ""  # of a row of the ledger
    feed: str = ""

    def shares(self, other: "Place") -> bool:
        """Whether both are about one core, one interface or one feed."""
        same_core = self.cpu is not None and self.cpu == other.cpu
        return same_core or bool(self.nic and self.nic == other.nic) or bool(self.feed and self.feed == other.feed)


@dataclass(frozen=True, slots=True)
class Names:
    """The interfaces and feeds of a host: by them the ``where`` of an event that says no more is understood."""

    nics: frozenset[str] = frozenset()
    feeds: frozenset[str] = frozenset()


def names_of(sample: Sample | None) -> Names:
    """Those of a sample."""
    if sample is None:
        return Names()
    feeds = {str(feed[key]) for feed in sample.feeds for key in ("channel", "stream") if feed.get(key)}
    return Names(frozenset(nic.name for nic in sample.nics), frozenset(feeds))


def place_of(event: Event, names: Names = Names()) -> Place:
    """What an event names itself, and otherwise what its ``where`` is the name of."""
    cpu: int | None = event.cpu
    nic, feed = event.nic, event.feed
    if cpu is None and not nic and not feed:
        core = _CORE.fullmatch(event.where)
        if core:
            cpu = int(core[1])
        elif event.where in names.nics:
            nic = event.where
        else:
            feed = feed_named(event.where, names.feeds)
    queue: int | None = event.queue
    return Place(cpu, event.irq, nic, queue, event.counter, feed)


def feed_named(words: str, feeds: Collection[str]) -> str:
    """The channel or stream that words name, as an event or the ledger has them; empty where they name none."""
    for name in (words, _LINES.sub("", words)):
        if name in feeds:
            return name
    return ""


def way_to(place: Place, sample: Sample | None) -> tuple[Screen, str, str] | None:
    """The row of another screen that shows it: (screen, kind, key)."""
    if place.feed:
        return "ingest", "feed", place.feed
    if place.nic:
        if place.queue is not None:
            return "nic", "queue", f"{place.nic}/{place.queue}"
        row = _loss(place, sample)
        return ("nic", "loss", row) if row else ("nic", "nic", place.nic)
    if place.irq.isdigit() and sample is not None and any(irq.irq == place.irq for irq in sample.irqs):
        return "irqs", "irq", place.irq
    return ("core", "core", str(place.cpu)) if place.cpu is not None else None


def _loss(place: Place, sample: Sample | None) -> str:
    if sample is None or not place.counter:
        return ""
    rows = (row for row in sample.losses if row.where == place.nic and row.counter == place.counter)
    return next((f"{row.stage}/{row.where}/{row.counter}" for row in rows), "")
