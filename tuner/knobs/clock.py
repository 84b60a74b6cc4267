"""``[clock]``: what the kernel reads the time from.

Source: Documentation/timers/timekeeping.rst, kernel/time/clocksource.c (current_clocksource_store): any word is taken, and one
that is not known changes nothing.
"""

from typing import ClassVar

from tuner.knobs.knob import About
from tuner.knobs.words import WordFile, on_words
from tuner.language.entry import Entry, Family
from tuner.language.values import Word

_ROOT = "/sys/devices/system/clocksource/clocksource0"


class ClockSource(WordFile):
    """The clock source in use; the identity is ``host``."""

    family: ClassVar[str] = "clock.clocksource"
    path: ClassVar[str] = f"{_ROOT}/current_clocksource"
    choices: ClassVar[str] = f"{_ROOT}/available_clocksource"
    about: ClassVar[About] = About(
        "What the kernel reads the time from",
        "tsc: a program reads it in 20 ns without a system call; each reading of hpet or acpi_pm is one, of a µs or more",
        path,
        "the same file; the kernel takes it away again where it finds the TSC unstable (dmesg says so)",
        quirks=("a word that is not known is taken and changes nothing",),
        source="Documentation/timers/timekeeping.rst, kernel/time/clocksource.c",
    )


FAMILY = Family(
    "Clock",
    (ClockSource(),),
    (Entry(("clock", "clocksource"), Word(example="tsc"), "what the time is read from", on_words(ClockSource)),),
)
