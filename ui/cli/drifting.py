"""Drift in the sample stream: what moved since it was applied, in every sample while it is away, and once as an event."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ingest.sample import Event, Sample
from tuner.host.text import printable
from ui.cli.context import Context

if TYPE_CHECKING:
    from tuner.drift import DriftWatch, Moved, News

_SHARE = 0.02  # of the time between samples, for looking at settings


class Drifting:
    """Follows the active profile of a host, from the first sample on that names one.

    Reading settings takes all that knows knobs, 10 MB of memory: a host on which nothing is applied does not pay for it.

    Args:
        context: the host and its state.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._watch: DriftWatch | None = None
        self._news: News | None = None

    def told(self, sample: Sample) -> Sample:
        """The sample with what has moved, and with what was found since the one before."""
        if self._watch is None and sample.profile:
            from tuner.drift import DriftWatch

            self._watch = DriftWatch(self._context.host, self._context.store)
        if self._watch is None or self._news is None:
            return sample
        return with_drift(sample, self._watch, self._news)

    def step(self, interval_s: float) -> None:
        """Looks at some settings, for a small part of the time until the next sample."""
        if self._watch is not None:
            from tuner.drift import STEP_NS

            self._news = self._watch.step(max(STEP_NS, round(interval_s * _SHARE * 1e9)))

    def close(self) -> None:
        """Lets go of the descriptors."""
        if self._watch is not None:
            self._watch.close()


def with_drift(sample: Sample, watch: "DriftWatch", news: "News") -> Sample:
    """The sample with what has moved, and with what was found since the one before."""
    events = [
        *(Event("warn", printable(m.change.target, 60), _moved(m)) for m in news.moved),
        *(Event("info", printable(c.target, 60), f"{c.knob} is as applied again") for c in news.back),
    ]
    if not events and not watch.moved:
        return sample
    return replace(sample, drift=tuple(map(_record, watch.moved)), events=(*sample.events, *events))


def _moved(moved: "Moved") -> str:
    change = moved.change
    when = "before this watch began" if moved.at_start else f"seen at {time.strftime('%H:%M:%S', time.localtime(moved.seen_s))}"
    if change.state != "differs":
        what = change.error or change.state
    elif change.effective == change.now:
        what = f"is {change.now}"
    else:
        what = f"is {change.now}, in effect {change.effective}"
    return printable(f"{change.knob} moved, {when}: {what}, applied was {change.wanted}; perhaps {moved.suspect}", 300)


def _record(moved: "Moved") -> dict[str, object]:
    whole = moved.change.to_json()
    kept = {key: whole[key] for key in ("knob", "target", "wanted", "now", "effective", "state", "error")}
    return kept | {"seen_s": moved.seen_s, "at_start": moved.at_start, "suspect": moved.suspect}
