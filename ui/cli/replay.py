"""``quietcore replay``: a recording, as if it were now: in the app, as samples, or in a few lines."""

import argparse
import sys
from collections.abc import Iterator

from ingest.blocks import RecordingError
from ingest.recording import Recording
from ingest.sample import Sample
from tuner.host.text import printable
from ui.cli.moments import moment
from ui.cli.output import say
from ui.cli.replay_text import summary_text
from ui.cli.sampling import Ended, Ending

EPILOG = """\
On a terminal the app shows it on the same screens as a living host. Without one there is a summary: of whom it is and of when,
the cores that were interrupted most, what was lost, what happened. With --json each sample is a line, just as `quietcore watch
--json` had it. One that is still being written can be replayed, and so can one that was cut or damaged: what is whole in it
comes out, and what is missing is said.

--from and --to take a time of day (of this machine's clock; the first such in the recording), a time since its start, or a date
with a time.

examples:
  quietcore replay morning.rec
  quietcore replay morning.rec --json --from 09:30 --to 09:35 | jq .losses
  quietcore replay morning.rec --from 90s --to 2m < /dev/null | less
  ssh host cat morning.rec | quietcore view -
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("file", metavar="FILE", help="a recording, of quietcore record")
    for name, what in (("from", "begin"), ("to", "end")):
        words = f"where to {what}: 09:30:00, 90s, 2026-03-02T09:30 (default: its {what})"
        parser.add_argument(f"--{name}", metavar="TIME", type=moment, dest=f"{name}_moment", help=words)
    parser.epilog = EPILOG


def run(arguments: argparse.Namespace) -> int:
    """Shows it. 1 where it is no recording, or nothing of that time is in it."""
    if sys.stdin.isatty() and sys.stdout.isatty() and not arguments.json:
        from ui.app.main import replay as app

        return app(arguments)
    try:
        with Recording.open(arguments.file) as recording:
            return _shown(arguments, recording)
    except RecordingError as error:
        say(f"quietcore replay: {printable(arguments.file)}: {error}")
        return 1


def _shown(arguments: argparse.Namespace, recording: Recording) -> int:
    if recording.cut:
        say(f"quietcore replay: {printable(arguments.file)}: {recording.cut}")
    chosen = _chosen(arguments, recording)
    if not chosen:
        what = "no sample is in it" if not len(recording) else "no sample in it is of that time"
        say(f"quietcore replay: {printable(arguments.file)}: {what}")
        return 1
    unreadable: list[str] = []
    samples = _samples(recording, chosen, unreadable)
    if arguments.json:
        ending = Ending()
        try:
            for sample in samples:
                ending.write(sample.to_json())
        except Ended:
            return 0
    else:
        print(summary_text(recording.header, samples, recording.cut), flush=True)
    for why in unreadable[:3]:
        say(f"quietcore replay: {why}")
    return 1 if unreadable else 0


def _chosen(arguments: argparse.Namespace, recording: Recording) -> range:
    """The samples of the time that is asked for, both ends included."""
    if not len(recording):
        return range(0)
    first, last = 0, len(recording) - 1
    start_s = recording.time_s(0)
    if arguments.from_moment is not None:
        from_s = arguments.from_moment.time_s(start_s)
        first = recording.at(from_s)
        first += recording.time_s(first) < from_s
    if arguments.to_moment is not None:
        to_s = arguments.to_moment.time_s(start_s)
        last = recording.at(to_s) if recording.time_s(0) <= to_s else -1
    return range(first, last + 1)


def _samples(recording: Recording, chosen: range, unreadable: list[str]) -> Iterator[Sample]:
    for index in chosen:
        try:
            yield recording.sample(index)
        except RecordingError as error:
            unreadable.append(str(error))
