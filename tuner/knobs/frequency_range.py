"""From how low to how high a clock may go: one setting of two files, since the kernel lets neither pass the other.

A range is the text ``800000-4800000`` (kHz). A wanted one may leave a side out (``3000000-`` leaves the maximum alone) and
may say ``min`` and ``max`` for what the hardware has, which moves with turbo.

Source: drivers/cpufreq/cpufreq.c. Up to 5.3 a minimum above the maximum is EINVAL; since 5.4 (cpufreq_set_policy) it is taken,
and the smaller wins in silence: so the side that makes room is written first.
"""

from dataclasses import dataclass

from tuner.knobs.knob import State

MIN, MAX = "min", "max"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one clock has, in kHz: ``low`` to ``high`` are in force, ``least`` to ``most`` is the hardware's range."""

    low: int
    high: int
    least: int
    most: int

    @property
    def now(self) -> str:
        """What is in force."""
        return f"{self.low}-{self.high}"

    @property
    def effective(self) -> str:
        """The same, beside what there is."""
        return f"{self.low}-{self.high} of {self.least}-{self.most}"


def parsed(effective: str) -> Limits:
    """``Limits`` from what ``Limits.effective`` says."""
    now, _, hardware = str(effective).partition(" of ")
    (low, _, high), (least, _, most) = now.partition("-"), (hardware or now).partition("-")
    return Limits(int(low), int(high), int(least), int(most))


def resolved(wanted: str, limits: Limits) -> tuple[int | None, int | None]:
    """The two sides of a wanted range in kHz, None for one that is left alone."""
    low, _, high = str(wanted).partition("-")
    named = {MIN: limits.least, MAX: limits.most}
    return tuple(named[side] if side in named else int(side) if side else None for side in (low, high))  # type: ignore[return-value]


def compared(limits: Limits, wanted: str, step: int = 1) -> State:
    """``ok`` where both sides are what is wanted; ``ok-rounded`` by less than ``step``, or where the hardware ends before."""
    states = set()
    for now, want in zip((limits.low, limits.high), resolved(wanted, limits), strict=True):
        if want is None or now == want:
            continue
        inside = min(max(want, limits.least), limits.most)
        states.add("ok-rounded" if abs(now - inside) < step else "differs")
    return "differs" if "differs" in states else "ok-rounded" if states else "ok"


def steps(limits: Limits, wanted: str) -> list[tuple[str, int]]:
    """What to write, as (``min`` or ``max``, kHz), so that the minimum is never above the maximum in between."""
    low, high = resolved(wanted, limits)
    found = [(MAX, high)] if high is not None and high != limits.high else []
    found += [(MIN, low)] if low is not None and low != limits.low else []
    return found[::-1] if high is not None and high < limits.low else found
