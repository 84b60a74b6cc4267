"""Where in time the view stands: at the newest sample, paused, or in a recording. The same keys for all of them."""

import datetime as dt
import re
import time
from bisect import bisect_left
from collections import deque

from ingest.blocks import RecordingError
from ingest.recording import Samples
from ingest.sample import Event, Sample
from tuner.host.text import printable
from ui.app.state.history import SAMPLES
from ui.app.state.model import Model
from ui.app.stream.played import Played
from ui.app.stream.source import Source

_REFILL = 240  # samples that are read again for the histories after a jump


class TimeError(ValueError):
    """A time that cannot be read, or lies outside of what there is."""


class Timeline:
    """Moves the model through a source.

    While it is live the newest sample is taken each tick; what was missed is not drawn. While it is paused the source goes on
    to keep samples, and the view moves among them. A recording plays at the pace it was taken in.
    """

    def __init__(self, model: Model, source: Source) -> None:
        self.model, self.source = model, source
        self.number = -1  # of the sample on screen
        self._seen: Sample | None = None
        self._ended = ""  # the end that was told of
        self._taken: deque[int] = deque(maxlen=SAMPLES)  # the numbers of the samples in the histories
        self._played = Played()
        self._started = (0.0, 0.0)  # monotonic clock and sample time where playing went on

    @property
    def past(self) -> Samples:
        """What can be looked back at."""
        return self.source.past

    def tick(self) -> bool:
        """Takes what is due; whether anything changed."""
        if self.source.ended and self.source.ended != self._ended:
            self._told_of_end(self.source.ended)
        moved = self._play() if self.model.kind == "replay" and not self.model.paused else self._newest()
        told = self.source.events()
        self.model.events.extendleft(told)
        return moved or bool(told)

    def _newest(self) -> bool:
        newest = self.source.newest()
        if self.model.paused or newest is None or newest is self._seen:
            return False
        self._seen = newest
        self._show(max(self.past.first, self.past.end - 1), newest)
        return True

    def _told_of_end(self, why: str) -> None:
        """The collector ended: it goes on of itself, or by the key that lets the view go on."""
        if self.source.again():
            self.model.tell(f"{why}; it was started again", "warn")
            self.model.events.appendleft((time.time(), Event("warn", "collector", f"{why}; it was started again")))
            return
        self._ended = why
        if self.model.kind in ("live", "demo", "files"):
            self.model.tell(f"{why}; p starts it again", "bad")

    def _show(self, number: int, sample: Sample) -> None:
        """One more sample behind those in the histories."""
        self.number, self.model.sample = number, sample
        self.model.history.take(sample)
        self._taken.append(number)

    def _play(self) -> bool:
        past = self.past
        if past.end == past.first:
            return False
        if self.number < 0:
            self._jump(past.first)
            self._go_on()
            return True
        due = past.at(self._started[1] + time.monotonic() - self._started[0])
        if due <= self.number:
            return False
        if self.model.history.hidden:
            self._refill(self.number)
        for number in range(max(self.number + 1, due - _REFILL), due + 1):
            sample = self._read(number)
            if sample is not None:
                self._show(number, sample)
                self.model.events.extendleft(self._played.take(number, sample))
        self.number = due
        if due == past.end - 1:
            self.pause()
        return True

    def _read(self, number: int) -> Sample | None:
        """A sample that is kept; None where it is gone meanwhile, or damaged, which is told."""
        try:
            return self.past.sample(number)
        except IndexError:
            return None
        except RecordingError as error:
            self.model.tell(printable(str(error)), "warn")
            return None

    def _go_on(self) -> None:
        self._started = time.monotonic(), self.past.time_s(self.number) if self.number >= 0 else 0.0

    # keys

    def pause(self) -> None:
        """Freezes the view, or lets it go on: a recording from here, everything else at now."""
        if self.source.restart():
            self._ended = ""
            self.model.tell("the collector was started again")
            if not self.model.paused:
                return
        self.model.paused = not self.model.paused
        if self.model.paused:
            return
        if self.model.kind == "replay":
            if self.number >= self.past.end - 1:
                self._jump(self.past.first)
            self._go_on()
            return
        self._seen = self.source.newest()
        if self.past.end > self.past.first:
            self._jump(self.past.end - 1)
            if self.model.history.hidden:
                self._refill(self.number)

    def step(self, samples: int) -> None:
        """Pauses, and goes so many samples on."""
        self._to(self.number + samples)

    def seconds(self, seconds: float) -> None:
        """Pauses, and goes so many seconds on."""
        if self.past.end > self.past.first and self.number >= 0:
            self._to(self.past.at(self.past.time_s(self._inside(self.number)) + seconds))

    def goto(self, text: str) -> None:
        """Goes to a time: ``10:42:07``, ``-90s``, ``+5m``, ``now``.

        Raises:
            TimeError: it cannot be read.
        """
        text = text.strip().lower()
        if text in ("now", "end", ""):
            if self.model.kind == "replay":
                self._to(self.past.end - 1)
            elif self.model.paused:
                self.pause()
            return
        if self.past.end == self.past.first or self.number < 0:
            raise TimeError("there is no sample yet to go to")
        self._to(self.past.at(self._meant(text)))

    def _meant(self, text: str) -> float:
        here = self.past.time_s(self._inside(self.number))
        span = re.fullmatch(r"([+-])(\d{1,6}(?:\.\d{1,3})?)([smh]?)", text, re.ASCII)
        if span:
            seconds = float(span[2]) * {"": 1, "s": 1, "m": 60, "h": 3600}[span[3]]
            return here + (seconds if span[1] == "+" else -seconds)
        clock = re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", text, re.ASCII)
        if not clock or int(clock[1]) > 23 or int(clock[2]) > 59 or int(clock[3] or 0) > 59:
            raise TimeError(f"{text}: no time; as 10:42:07, 10:42, -90s, +5m, or now")
        day = dt.datetime.fromtimestamp(here).astimezone()
        meant = day.replace(hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0), microsecond=999_999)
        if meant.timestamp() < self.past.time_s(self.past.first):  # the clock passed midnight since
            meant += dt.timedelta(days=1)
        return meant.timestamp()

    def _inside(self, number: int) -> int:
        return max(self.past.first, min(number, self.past.end - 1))

    def _to(self, number: int) -> None:
        if self.past.end == self.past.first:
            return
        self.model.paused = True
        self._jump(self._inside(number))

    def _jump(self, number: int) -> None:
        """Shows a sample, with the histories that led to it."""
        taken, history = self._taken, self.model.history
        sample = self._read(number)
        if sample is None:
            return
        place = bisect_left(taken, number)
        if place < len(taken) and taken[place] == number:  # it is among those that were taken: only the end of the view moves
            history.look(len(taken) - 1 - place)
            self.number, self.model.sample = number, sample
        elif taken and number == taken[-1] + 1:
            history.look(0)
            self._show(number, sample)
        else:
            self._refill(number)
        if self.model.kind == "replay":
            self._played.take(number, sample)
            self._played.show(number, self.model.events)

    def _refill(self, number: int) -> None:
        """Makes the histories anew, of the samples that led to one."""
        self.model.history.clear()
        self._taken.clear()
        for each in range(max(self.past.first, number - _REFILL), number + 1):
            sample = self._read(each)
            if sample is not None:
                self._show(each, sample)
                if self.model.kind == "replay":
                    self._played.take(each, sample)

    def where(self) -> str:
        """How far behind now the view is, or the time of a recording."""
        sample = self.model.sample
        if sample is None:
            return ""
        if self.model.kind == "replay":
            return dt.datetime.fromtimestamp(sample.time_s).astimezone().strftime("%H:%M:%S")
        last = self.past.time_s(self.past.end - 1) if self.past.end > self.past.first else sample.time_s
        behind = max(0, round(last - sample.time_s))
        return f"-{behind // 60:02}:{behind % 60:02}"
