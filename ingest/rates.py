"""Rates of counters that wrap, vanish and come back."""

_WORD = 1 << 32


class Rates:
    """Remembers every counter's last value and answers how fast it moved since.

    A counter that is new has rate 0. One that went back wrapped at 32 bits if that explains it with a plausible step;
    else it was reset, and what it counts since is all that is known.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...] | tuple[str, int] | tuple[str, str, int], int] = {}
        self._interval_s = 0.0

    def begin(self, interval_s: float) -> None:
        """A new tick, so many seconds after the last one."""
        self._interval_s = interval_s

    def step(self, key: tuple[str, ...] | tuple[str, int] | tuple[str, str, int], value: int) -> int:
        """How far a counter moved since it was last seen."""
        last = self._last.get(key)
        self._last[key] = value
        if last is None or value == last:
            return 0
        if value > last:
            return value - last
        wrapped = value - last + _WORD
        return wrapped if last < _WORD and wrapped < _WORD // 2 else value

    def of(self, key: tuple[str, ...] | tuple[str, int] | tuple[str, str, int], value: int) -> float:
        """Its rate per second."""
        step = self.step(key, value)
        return step / self._interval_s if self._interval_s else 0.0

    def per_s(self, step: int) -> float:
        """A step as a rate."""
        return step / self._interval_s if self._interval_s else 0.0

    def of_loss(self, where: str, counter: str, total: int) -> float:
        """The rate of one counter of the waterfall."""
        return self.of(("loss", where, counter), total)
