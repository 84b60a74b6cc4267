"""Events as matters: told once however often they are said, open until somebody saw them or they are over, linked in time.

It reads the events that the model holds, newest first, and takes only those that it has not seen. Where the view goes back in a
recording the model holds others: then all of it is made anew, and what was acknowledged stays so, since a matter is known
by when it began and what it is.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from ingest.sample import Event
from ui.app.state.event_places import Names, Place, place_of

Told = tuple[float, Event]

MOST = 500
LEVELS = ("info", "warn", "crit")
GRAVITY = {level: place for place, level in enumerate(LEVELS)}
TOGETHER_S = 2.0
# a gap is told when it was one for a second, and the drivers were asked since, which they are once a second
GAP_LATE_S = 2.0
AGAIN_S = 60.0  # words that come again within it are one matter
_MINUTES = 240
_ACKNOWLEDGED = 2000


@dataclass(slots=True)
class Matter:
    """One thing that happened: from its first telling on. ``key`` is the same whenever it is read again.

    ``event`` is what was told of it last but for its end, ``level`` the gravest of all, ``over_s`` the time at which it ended,
    0 as long as it has not.
    """

    key: str
    time_s: float
    event: Event
    level: str
    place: Place
    times: int = 1
    last_s: float = 0.0
    over_s: float = 0.0
    over: str = ""  # what was told at the end
    acknowledged: bool = False

    @property
    def state(self) -> str:
        """``open``, ``ack``, ``over``, or nothing of what asks for nobody."""
        if self.over_s:
            return "over"
        if GRAVITY.get(self.level, 0) == 0:
            return ""
        return "ack" if self.acknowledged else "open"


@dataclass(slots=True)
class EventLog:
    """The matters of a host, at most ``MOST``. ``generation`` rises whenever anything about them changed."""

    matters: deque[Matter] = field(default_factory=lambda: deque(maxlen=MOST))  # the newest first
    generation: int = 0
    total: int = 0  # events, since the beginning
    _newest: Told | None = None
    _counted: tuple[int, int] = (-1, 0)  # of which generation, how many are open
    _names: Names = field(default_factory=Names)
    _open: dict[str, Matter] = field(default_factory=dict)  # what an event that comes now may belong to
    _minutes: Counter[int] = field(default_factory=Counter)
    _acknowledged: OrderedDict[str, str] = field(default_factory=OrderedDict)  # key -> level at which it was

    def is_up_to(self, events: Sequence[Told]) -> bool:
        """Whether it has all of the model's events."""
        return (events[0] if events else None) is self._newest

    def look(self, events: Sequence[Told], names: Names | None = None) -> None:
        """Takes what is new among the model's events, which are newest first. Costs nothing where nothing is."""
        if names is not None:
            self._names = names
        if self.is_up_to(events):
            return
        last = self._newest
        if last is None or not any(each is last for each in events):
            self._forget()
            last = None
        fresh = list(takewhile(lambda each: each is not last, events))
        for told in reversed(fresh):
            self._take(*told)
        self._newest = events[0] if events else None
        self.generation += 1

    def _forget(self) -> None:
        self.matters.clear()
        self._open.clear()
        self._minutes.clear()
        self.total = 0

    def _take(self, time_s: float, event: Event) -> None:
        self.total += 1
        self._minutes[int(time_s // 60)] += 1
        if len(self._minutes) > _MINUTES:
            del self._minutes[min(self._minutes)]
        own = event.key
        name = own or f"{event.level} {event.where} {event.what}"
        ended = event.ended
        known = self._open.get(name)
        if known is not None and not own and time_s - known.last_s > AGAIN_S:
            known = None
        if ended:
            self._open.pop(name, None)
        if known is not None:
            self._again(known, time_s, event, ended)
            return
        key = f"{time_s:.3f} {name}"
        matter = Matter(key, time_s, event, event.level, place_of(event, self._names), last_s=time_s)
        if ended:
            matter.over_s, matter.over = time_s, event.what
        else:
            self._open[name] = matter
        matter.acknowledged = self._acknowledged.get(key) == matter.level
        self.matters.appendleft(matter)
        if len(self._open) > 2 * MOST:
            listed = {id(each) for each in self.matters}
            self._open = {name: each for name, each in self._open.items() if id(each) in listed}

    def _again(self, matter: Matter, time_s: float, event: Event, ended: bool) -> None:
        matter.times, matter.last_s = matter.times + 1, time_s
        if ended:
            matter.over_s, matter.over = time_s, event.what
            return
        matter.event = event
        if GRAVITY.get(event.level, 0) > GRAVITY.get(matter.level, 0):
            matter.level = event.level  # it became graver than what somebody saw
            matter.acknowledged = self._acknowledged.get(matter.key) == event.level

    # ---- asking

    @property
    def open(self) -> int:
        """How many wait for somebody."""
        if self._counted[0] != self.generation:
            self._counted = self.generation, sum(matter.state == "open" for matter in self.matters)
        return self._counted[1]

    def matter(self, key: str) -> Matter | None:
        """The one of a key."""
        return next((each for each in self.matters if each.key == key), None)

    def named(self, name: str) -> Matter | None:
        """The newest that goes by a name: its key, the key of its events, or their place and words."""
        for each in self.matters:
            event = each.event
            known = each.key, event.key or None, f"{event.where} {event.what}", f"{event.where}: {event.what}"
            if name in known:
                return each
        return None

    def per_minute(self, until_s: float, minutes: int) -> list[int]:
        """How many events each of the minutes up to a time had, the last one last."""
        last = int(until_s // 60)
        return [self._minutes.get(minute, 0) for minute in range(last - minutes + 1, last + 1)]

    def linked(self, matter: Matter) -> list[Matter]:
        """What happened with it, the likely cause first.

        That is what was told at the same time of the same core, interface or feed; and of a gap in a feed what an interface
        lost shortly before it was told.
        """
        found = [(_link(matter, each), each) for each in self.matters if each is not matter]
        linked = [(rank, abs(each.time_s - matter.time_s), place, each) for place, (rank, each) in enumerate(found) if rank]
        return [each for _, _, _, each in sorted(linked)]

    # ---- acknowledging

    def acknowledge(self, matters: Iterable[Matter]) -> int:
        """Somebody saw them; how many of them waited for that."""
        done = 0
        for matter in matters:
            if matter.state == "open":
                matter.acknowledged = True
                self._acknowledged[matter.key] = matter.level
                done += 1
        while len(self._acknowledged) > _ACKNOWLEDGED:
            self._acknowledged.popitem(last=False)
        self.generation += done > 0
        return done


def _link(one: Matter, other: Matter) -> int:
    """1: a loss and a gap that belong together, 2: one thing at one time, 0: nothing."""
    late_s = other.time_s - one.time_s
    if _is_loss(other) and one.place.feed and not one.place.nic:
        return int(-TOGETHER_S - GAP_LATE_S <= late_s <= TOGETHER_S)
    if _is_loss(one) and other.place.feed and not other.place.nic:
        return int(-TOGETHER_S <= late_s <= TOGETHER_S + GAP_LATE_S)
    return 2 * int(abs(late_s) <= TOGETHER_S and one.place.shares(other.place))


def _is_loss(matter: Matter) -> bool:
    """Whether packets were lost at an interface, or behind it in the backlog of a CPU."""
    return bool(matter.place.counter) and not matter.place.feed and GRAVITY.get(matter.level, 0) > 0
