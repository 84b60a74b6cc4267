"""Drift in the sample stream: what moved since it was applied, in every sample while it is away, and once as an event."""

import time
from dataclasses import replace

from ingest.sample import Event, Sample
from tuner.drift import DriftWatch, Moved, News
from tuner.host.text import printable


def with_drift(sample: Sample, watch: DriftWatch, news: News) -> Sample:
    """The sample with what has moved, and with what was found since the one before."""
    events = [
        *(Event("warn", printable(m.change.target, 60), _moved(m)) for m in news.moved),
        *(Event("info", printable(c.target, 60), f"{c.knob} is as applied again") for c in news.back),
    ]
    if not events and not watch.moved:
        return sample
    return replace(sample, drift=tuple(map(_record, watch.moved)), events=(*sample.events, *events))


def _moved(moved: Moved) -> str:
    change = moved.change
    when = "before this watch began" if moved.at_start else f"seen at {time.strftime('%H:%M:%S', time.localtime(moved.seen_s))}"
    if change.state != "differs":
        what = change.error or change.state
    elif change.effective == change.now:
        what = f"is {change.now}"
    else:
        what = f"is {change.now}, in effect {change.effective}"
    return printable(f"{change.knob} moved, {when}: {what}, applied was {change.wanted}; perhaps {moved.suspect}", 300)


def _record(moved: Moved) -> dict[str, object]:
    whole = moved.change.to_json()
    kept = {key: whole[key] for key in ("knob", "target", "wanted", "now", "effective", "state", "error")}
    return kept | {"seen_s": moved.seen_s, "at_start": moved.at_start, "suspect": moved.suspect}
