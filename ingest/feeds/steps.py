"""How well a framing explains a sample: each datagram's step from the one before it, in the order of arrival."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ingest.feeds.reading import Numbered, Unread, read_number, said_size
from ingest.rings.layout import Framing

FEWEST = 32  # numbered datagrams below which nothing is inferred
JUMP = 4096  # numbers; a larger step ahead is no loss that one would believe
CONTIGUOUS = 0.8  # of all steps, late datagrams among them
EARLY = 8  # datagrams after the first one of a scope among which one from before it may still come
UNREAD = 0.02  # of all datagrams
RESETS = 0.05  # of the accounted ones
EARLIEST_NS = 946_684_800 * 10**9  # the year 2000
LATEST_NS = 4_102_444_800 * 10**9  # the year 2100


@dataclass(slots=True)
class _Track:
    """One scope of one epoch; ``first`` and ``expected`` are the ends of what is known of it."""

    epoch: bytes
    first: int
    expected: int
    missing: set[int] = field(default_factory=set)
    young: int = EARLY


@dataclass(slots=True)
class Steps:
    """What a framing makes of a sample.

    Attributes:
        datagrams: of the sample, without repeated ones.
        accounted: of these, those with a number.
        contiguous, ahead, late: steps as expected, over a gap, and back into one.
        broken: steps that no loss, reordering or reset explains: back to a number that came before, or absurdly far ahead.
        sized: datagrams as long as they say; timed, untimed: with a send time of this century, with one of another.
        numbers: of each accounted datagram, by its place, the lower 32 bits of its sequence and its count.
    """

    datagrams: int = 0
    accounted: int = 0
    holding: int = 0
    unread: int = 0
    contiguous: int = 0
    ahead: int = 0
    late: int = 0
    broken: int = 0
    resets: int = 0
    sized: int = 0
    timed: int = 0
    untimed: int = 0
    numbers: dict[int, tuple[int, int]] = field(default_factory=dict)
    _given_up: int = 0
    _tracks: dict[bytes, _Track] = field(default_factory=dict)

    @property
    def scopes(self) -> int:
        """Parallel streams that were told apart."""
        return len(self._tracks)

    @property
    def missing(self) -> int:
        """Numbers that did not come."""
        return self._given_up + sum(len(track.missing) for track in self._tracks.values())

    @property
    def gap_share(self) -> float:
        """Steps over a gap among all steps; 1 without any step."""
        steps = self.contiguous + self.ahead + self.late
        return self.ahead / steps if steps else 1.0

    def step(self, place: int, numbered: Numbered) -> None:
        """Accounts the datagram at ``place`` of the sample."""
        self.accounted += 1
        self.holding += numbered.count > 0
        self.numbers[place] = (numbered.sequence & 0xFFFFFFFF, numbered.count)
        if numbered.time_ns:
            plausible = EARLIEST_NS <= numbered.time_ns < LATEST_NS
            self.timed += plausible
            self.untimed += not plausible
        after = numbered.sequence + numbered.count
        track = self._tracks.get(numbered.scope)
        if track is None:
            self._tracks[numbered.scope] = _Track(numbered.epoch, numbered.sequence, after)
        elif numbered.reset or numbered.epoch != track.epoch:
            self.resets += 1
            self._given_up += len(track.missing)
            self._tracks[numbered.scope] = _Track(numbered.epoch, numbered.sequence, after)
        else:
            self._follow(track, numbered.sequence, numbered.count)

    def _follow(self, track: _Track, sequence: int, count: int) -> None:
        track.young -= 1
        if sequence >= track.expected:
            gap = sequence - track.expected
            if gap > JUMP or count > JUMP:
                self.broken += 1
            elif gap:
                self.ahead += 1
                track.missing.update(range(track.expected, sequence))
            else:
                self.contiguous += count > 0
            track.expected = sequence + count
            return
        numbers = set(range(sequence, sequence + min(count, JUMP)))
        if numbers <= track.missing:
            self.late += count > 0
            track.missing -= numbers
        elif track.young >= 0 and track.first - JUMP <= sequence and sequence + count <= track.first:
            self.late += count > 0
            track.missing.update(range(sequence + count, track.first))
            track.first = sequence
        else:
            self.broken += 1

    def alike(self, other: "Steps") -> bool:
        """Whether both have the same counts and steps wherever both have a number."""
        places = self.numbers.keys() & other.numbers.keys()
        pairs = [(self.numbers[place], other.numbers[place]) for place in places]
        apart = {(mine[0] - theirs[0]) & 0xFFFFFFFF for mine, theirs in pairs}
        return len(apart) == 1 and all(mine[1] == theirs[1] for mine, theirs in pairs)

    def fits(self, framing: Framing) -> bool:
        """Whether it is worth believing."""
        steps = self.contiguous + self.ahead + self.late
        return (
            self.broken == 0
            and self.holding >= max(FEWEST, self.datagrams // 2)
            and self.unread <= UNREAD * self.datagrams
            and self.resets <= RESETS * self.accounted
            and steps >= 0.75 * self.holding  # or most of them were the first of their scope
            and self.contiguous + self.late >= CONTIGUOUS * steps
            and (not framing.size_width or self.sized >= 0.4 * self.accounted)  # some senders pad to an even length
            and self.untimed <= 0.1 * (self.timed + self.untimed)
        )


def without_repeats(payloads: Iterable[bytes], within: int = 64) -> list[bytes]:
    """The datagrams without those that came, byte for byte, among the last ``within``: copies of another line, heartbeats."""
    recent: dict[bytes, None] = {}
    kept = []
    for payload in payloads:
        if payload in recent:
            continue
        kept.append(payload)
        recent[payload] = None
        if len(recent) > within:
            del recent[next(iter(recent))]
    return kept


def play(framing: Framing, payloads: Sequence[bytes]) -> Steps:
    """The sample as the framing sees it; ends early where it cannot fit any more."""
    steps = Steps(datagrams=len(payloads))
    for place, payload in enumerate(payloads):
        try:
            numbered = read_number(framing, payload)
            size = said_size(framing, payload) if numbered else None
        except Unread:
            steps.unread += 1
            if steps.unread > UNREAD * len(payloads):
                break
            continue
        if numbered is None:
            continue
        steps.sized += size == len(payload)
        steps.step(place, numbered)
        if steps.broken or steps.ahead > FEWEST + steps.contiguous + steps.late:
            break
    return steps
