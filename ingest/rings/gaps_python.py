"""Gaps of a stream that may yet be filled from another ring: ``gaps.h`` in Python."""

from ingest.rings.layout import AGAIN_NS, GAPS


def soon_before(first_ns: int, second_ns: int) -> bool:
    """Whether the first was stamped up to a second before the second. Further back, somebody has set the clock."""
    return 0 < second_ns - first_ns <= AGAIN_NS


class Gaps:
    """Numbers that are missing, as (from, to, stamp of the datagram behind them): the longest of the last second."""

    __slots__ = ("_gaps",)

    def __init__(self) -> None:
        self._gaps: list[tuple[int, int, int]] = []

    def clear(self) -> None:
        """The stream begins anew."""
        self._gaps.clear()

    def open(self, start: int, end: int, stamp_ns: int) -> None:
        """Remembers a gap, in the place of one that nobody will fill any more, else of a shorter one."""
        gaps = self._gaps
        if len(gaps) < GAPS:
            gaps.append((start, end, stamp_ns))
            return
        lengths = [to - since for since, to, _ in gaps]
        old = next((place for place, gap in enumerate(gaps) if gap[2] + AGAIN_NS < stamp_ns), None)
        if old is None and min(lengths) < end - start:
            old = lengths.index(min(lengths))
        if old is not None:
            gaps[old] = (start, end, stamp_ns)

    def close(self, start: int, end: int, stamp_ns: int) -> list[range]:
        """Takes numbers out of those gaps that end behind the stamp. Returns those that were in them."""
        gaps, closed, place = self._gaps, [], 0
        while place < len(gaps):
            since, to, stamp = gaps[place]
            first, last = max(start, since), min(end, to)
            if first >= last or stamp_ns >= stamp:
                place += 1
                continue
            closed.append(range(first, last))
            if first > since and last < to:
                gaps[place] = (since, first, stamp)
                self.open(last, to, stamp)
                break  # no other gap holds any of them
            if first > since:
                gaps[place] = (since, first, stamp)
            elif last < to:
                gaps[place] = (last, to, stamp)
            else:
                gaps[place] = gaps[-1]
                gaps.pop()
                continue
            place += 1
        return closed
