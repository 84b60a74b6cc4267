"""Rates of counters that wrap, vanish and come back."""

_WORD = 1 << 32
_WRAP = 1 << 28  # the largest step in which a 32-bit counter is believed to have wrapped
BYTES_PER_S, PACKETS_PER_S = 10**12, 2 * 10**9  # above what any interface moves
_SWEEP = 256  # ticks between two looks for counters that are gone

Key = tuple[str | int, ...]


class Rates:
    """Remembers every counter's last value and answers how fast it moved since.

    A counter that is new, or was not there at the tick before, has rate 0: what it shows may be another device's. One that went
    back wrapped at 32 bits if that explains it with a small step; else it was reset, and what it counts since is all that is
    known, unless that is so much that a reset does not explain it either (a driver that corrects its count): then it is 0.

    Args:
        most_per_s: what no counter here can do; a step beyond it is another device's count, and 0.
    """

    def __init__(self, most_per_s: int = BYTES_PER_S) -> None:
        self._most_per_s = most_per_s
        self._last: dict[Key, tuple[int, int]] = {}
        self._interval_s = 0.0
        self._tick = 0

    def begin(self, interval_s: float) -> None:
        """A new tick, so many seconds after the last one."""
        self._interval_s = interval_s
        self._tick += 1
        if self._tick % _SWEEP == 0:
            self._last = {key: seen for key, seen in self._last.items() if seen[1] >= self._tick - 1}

    def step(self, key: Key, value: int, bits: int = 0) -> int:
        """How far a counter moved since it was last seen.

        Args:
            key: which one.
            value: what it shows.
            bits: how wide the kernel counts it: 64 never wraps, 0 is not known.
        """
        seen = self._last.get(key)
        self._last[key] = (value, self._tick)
        return 0 if seen is None or seen[1] < self._tick - 1 else self.between(seen[0], value, bits)

    def between(self, last: int, value: int, bits: int = 0) -> int:
        """How far a counter moved that showed ``last`` at the tick before: for who remembers that himself.

        Args:
            last: what it showed.
            value: what it shows.
            bits: as for ``step``.
        """
        if last == value:
            return 0
        step = value - last if value > last else _backwards(last, value, bits)
        return step if step <= self._most_per_s * self._interval_s else 0

    def of(self, key: Key, value: int, bits: int = 0) -> float:
        """Its rate per second."""
        return self.per_s(self.step(key, value, bits))

    def per_s(self, step: int) -> float:
        """A step as a rate."""
        return step / self._interval_s if self._interval_s else 0.0


def _backwards(last: int, value: int, bits: int) -> int:
    wrapped = value - last + _WORD
    if bits != 64 and last < _WORD and wrapped < _WRAP:
        return wrapped
    return value if value <= last // 2 else 0
