"""Moments of a recording as people write them: a time of day, seconds from its start, or a date and time."""

import argparse
import datetime as dt
import re
from dataclasses import dataclass

from ui.cli.durations import parse_duration

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d{1,9})?))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Moment:
    """One of: ``day_s``, seconds of a day of this machine's clock; ``after_s`` the start; ``at_s`` since 1970."""

    day_s: float | None = None
    after_s: float | None = None
    at_s: float | None = None

    def time_s(self, start_s: float) -> float:
        """Seconds since 1970. A time of day is the first such not before the start of what began at ``start_s``."""
        if self.at_s is not None:
            return self.at_s
        if self.day_s is None:
            return start_s + (self.after_s or 0.0)
        began = dt.datetime.fromtimestamp(start_s).astimezone()
        midnight = began.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        wanted = midnight + dt.timedelta(seconds=self.day_s)
        if wanted.astimezone() < began.replace(microsecond=0):
            wanted += dt.timedelta(days=1)
        return wanted.astimezone().timestamp()


def moment(text: str) -> Moment:
    """As argparse wants it: ``09:30``, ``09:30:15``, ``90``, ``5m``, ``2026-03-02T09:30``."""
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        return Moment(day_s=int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3] or 0))
    try:
        return Moment(after_s=0.0 if text == "0" else parse_duration(text))
    except ValueError:
        pass
    try:
        return Moment(at_s=dt.datetime.fromisoformat(text).astimezone().timestamp())
    except (ValueError, OverflowError, OSError) as error:
        said = "write 09:30:00, 90s after the start, or 2026-03-02T09:30:00"
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no time; {said}") from error


def time_text(time_s: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time of this machine's clock; what no calendar has, as it is."""
    try:
        return dt.datetime.fromtimestamp(time_s).astimezone().strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{time_s:.0f}"
