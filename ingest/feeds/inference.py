"""What framing an unknown stream has: guessed from a sample, said to be a guess, and used by nobody unasked.

In this order: fields that say the datagram's length; the known formats; then, for what is unknown, a number for each datagram
or for each message, in both byte orders, at every plausible place. What fits has no step backwards but into a gap, and few
gaps. A hypothesis with many more gaps than the best one is dropped: it takes another's steps for losses.
"""

import enum
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ingest.feeds.format_table import TIME_UNITS, Format
from ingest.feeds.formats import shipped
from ingest.feeds.steps import FEWEST, Steps, play, without_repeats
from ingest.rings.layout import Framing

SAMPLE = 1000  # datagrams; more make no guess better
NAME = "inferred"
_HEADER = 64  # bytes in which numbers and counts are looked for
_SIZES = 32  # bytes in which lengths are
_PREFIX = 200  # datagrams that a number has to explain before it is tried on all
_WORSE = 0.02  # of the steps more over a gap than with the best hypothesis


class Certainty(enum.Enum):
    """How sure one can be. The sample alone speaks: what did not occur in it is not known."""

    NOTHING = "nothing fits"
    SOLE = "nothing else fits"
    ALIKE = "others fit, with the same steps on this sample"
    AMBIGUOUS = "others fit, with other steps"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A framing that fits. ``alike``: it gives the same steps as the best one on this sample."""

    framing: Framing
    known: bool
    accounted: int
    gaps: int
    missing: int
    late: int
    resets: int
    scopes: int
    alike: bool = True

    def __str__(self) -> str:
        return self.framing.name if self.known else describe(self.framing)


@dataclass(frozen=True, slots=True)
class Inference:
    """The outcome, which is inferred and nothing more.

    Attributes:
        datagrams: the size of the sample, without repeated datagrams.
        best: None where nothing fits.
        also: whatever else fits, those with other steps first.
        one_each: every datagram held one number, so that the sample cannot tell datagrams from messages.
    """

    datagrams: int
    best: Hypothesis | None
    also: tuple[Hypothesis, ...] = ()
    one_each: bool = False

    @property
    def certainty(self) -> Certainty:
        """How sure one can be."""
        if self.best is None:
            return Certainty.NOTHING
        if not self.also:
            return Certainty.SOLE
        return Certainty.ALIKE if all(each.alike for each in self.also) else Certainty.AMBIGUOUS


def infer(payloads: Sequence[bytes], formats: Mapping[str, Format] | None = None) -> Inference:
    """What the datagrams of one stream, in their order of arrival, look like.

    Args:
        payloads: UDP payloads, of which the first ``SAMPLE`` are used.
        formats: known formats by name; None: the shipped ones.
    """
    sample = without_repeats(payloads[:SAMPLE])
    if len(sample) < FEWEST:
        return Inference(len(sample), None)
    sizes = size_fields(sample)
    known = (shipped() if formats is None else formats).values()
    tried = [_Tried(entry.framing, entry, play(entry.framing, sample)) for entry in known if entry.framing is not None]
    tried += [_Tried(framing, None, play(framing, sample)) for framing in _candidates(sample, sizes)]
    fitting = [each for each in tried if each.fits]
    fewest = min((each.steps.gap_share for each in fitting), default=0.0)
    fitting = [each for each in fitting if each.steps.gap_share <= fewest + _WORSE]
    if not fitting:
        return Inference(len(sample), None)
    fitting.sort(key=_Tried.preference)
    best = fitting[0]
    also = [each.hypothesis(best.steps) for each in fitting[1:]]
    if best.known:  # the parts of a known header that explain it as well are no other explanation
        also = [each for each in also if each.known or not each.alike]
    return Inference(
        datagrams=len(sample),
        best=best.hypothesis(best.steps),
        also=tuple(sorted(also, key=lambda each: each.alike)),
        one_each=best.known is None and all(count == 1 for _, count in best.steps.numbers.values()),
    )


@dataclass(frozen=True, slots=True)
class _Tried:
    framing: Framing
    known: Format | None
    steps: Steps

    @property
    def fits(self) -> bool:
        if not self.steps.fits(self.framing):
            return False
        # a number read one byte off its place: 256 times as large, and so are its steps
        return self.known is not None or any(count % 256 for _, count in self.steps.numbers.values())

    def preference(self) -> tuple[object, ...]:
        """Known before unknown; with more that could be checked; then the narrowest fields, which assume least."""
        framing, steps = self.framing, self.steps
        evidence = bool(framing.size_width) + bool(framing.time_kind and steps.timed) + bool(framing.flag_ignored)
        return (
            self.known is None,
            -evidence,
            steps.resets,
            steps.unread,
            self.known is None or "captures" not in self.known.checked,
            framing.sequence_width,
            framing.count_width,
            framing.sequence_offset,
            framing.count_offset,
            framing.big_endian,
        )

    def hypothesis(self, best: Steps) -> Hypothesis:
        return Hypothesis(
            framing=self.framing,
            known=self.known is not None,
            accounted=self.steps.accounted,
            gaps=self.steps.ahead,
            missing=self.steps.missing,
            late=self.steps.late,
            resets=self.steps.resets,
            scopes=self.steps.scopes,
            alike=self.steps.alike(best),
        )


def size_fields(sample: Sequence[bytes]) -> list[tuple[int, int, bool, int]]:
    """(offset, width, big-endian, bytes left out) of fields that say the datagrams' lengths; the widest differences last.

    Lengths that hardly differ would be met by any constant: fewer than three of them prove nothing.
    """
    if len({len(payload) for payload in sample}) < 3:
        return []
    end = min(_SIZES, *(len(payload) for payload in sample))
    found = []
    for width in (2, 1, 4):
        for offset in range(end - width + 1):
            for big in (True, False) if width > 1 else (True,):
                left = {len(payload) - _number(payload, offset, width, big) for payload in sample}
                if len(left) == 1 and 0 <= (excludes := left.pop()) <= _HEADER:
                    found.append((offset, width, big, excludes))
    return sorted(found, key=lambda field: field[3])


def _candidates(sample: Sequence[bytes], sizes: Sequence[tuple[int, int, bool, int]]) -> Iterator[Framing]:
    prefix = sample[:_PREFIX]
    end = min(_HEADER, *(len(payload) for payload in sample))
    for width in (4, 8):
        for offset in range(end - width + 1):
            for big in (True, False):
                numbers = [_number(payload, offset, width, big) for payload in prefix]
                if not _advances(numbers):
                    continue
                framing = Framing(NAME, offset, width, big)
                size = next((each for each in sizes if each[2] == big or each[1] == 1), None)
                if size is not None:
                    framing = replace(framing, size_offset=size[0], size_width=size[1], size_excludes=size[3])
                yield framing
                taken = range(offset, offset + width)
                for count_offset, count_width in _counts(prefix, numbers, end, big, taken):
                    yield replace(framing, count_offset=count_offset, count_width=count_width)


def _advances(numbers: Sequence[int]) -> bool:
    """Whether numbers go ahead in steps that datagrams could hold: no clock, no constant, no noise."""
    steps = sorted(after - before for before, after in itertools.pairwise(numbers))
    ahead = [step for step in steps if step > 0]
    return len(ahead) >= len(steps) // 2 and ahead[len(ahead) // 2] <= 1024


def _counts(sample: Sequence[bytes], numbers: Sequence[int], end: int, big: bool, taken: range) -> Iterator[tuple[int, int]]:
    """Fields that say how far it is to the next number, most of the time."""
    wanted = [after - before for before, after in itertools.pairwise(numbers)]
    for width in (1, 2, 4):
        for offset in range(end - width + 1):
            if offset + width > taken.start and offset < taken.stop:
                continue
            right = sum(_number(payload, offset, width, big) == step for payload, step in zip(sample, wanted, strict=False))
            if right >= 0.6 * len(wanted):
                yield offset, width


def _number(payload: bytes, offset: int, width: int, big: bool) -> int:
    return int.from_bytes(payload[offset : offset + width], "big" if big else "little")


def describe(framing: Framing) -> str:
    """A framing in one line, for people."""
    order = "big-endian" if framing.big_endian else "little-endian"
    parts = [f"{order} sequence of {framing.sequence_width} bytes at {framing.sequence_offset}"]
    if framing.count_width:
        parts.append(f"count of {framing.count_width} at {framing.count_offset}")
    elif not framing.chain_width:
        parts.append("one for each datagram")
    if framing.size_width:
        excludes = f" but for {framing.size_excludes}" if framing.size_excludes else ""
        parts.append(f"length of {framing.size_width} at {framing.size_offset}{excludes}")
    return ", ".join(parts)


def as_table(framing: Framing, name: str) -> str:
    """The framing as a table of a site's file."""
    lines = [
        f"[format.{name}]",
        f'endian = "{"big" if framing.big_endian else "little"}"',
        f"sequence = {{ at = {framing.sequence_offset}, bytes = {framing.sequence_width} }}",
    ]
    if framing.count_width:
        lines.append(f"count = {{ at = {framing.count_offset}, bytes = {framing.count_width} }}")
    if framing.time_kind:
        unit = next(unit for unit, kind in TIME_UNITS.items() if kind == framing.time_kind)
        lines.append(f'time = {{ at = {framing.time_offset}, unit = "{unit}" }}')
    if framing.size_width:
        excludes = f", excludes = {framing.size_excludes}" if framing.size_excludes else ""
        lines.append(f"size = {{ at = {framing.size_offset}, bytes = {framing.size_width}{excludes} }}")
    return "\n".join(lines)
