"""``quietcore record``: the sample stream to a file."""

import argparse
import contextlib
import os
import select
import stat
import sys
import time
from dataclasses import dataclass, field

from ingest.blocks import Header, RecordingError
from ingest.changes import Encoder
from ingest.recording import Recording, RecordingWriter
from tuner.host.host import Host
from tuner.host.text import printable
from ui.cli.durations import duration
from ui.cli.output import emit, say
from ui.cli.ring_sources import told, without_ring
from ui.cli.sampling import Ended, Ending, Pace, sampled, sampling_options
from ui.cli.sizes import size, size_text

EPILOG = """\
Watches as `quietcore watch` does, from housekeeping CPUs only, and keeps every sample to its last digit. A sample is some
hundred bytes on a calm host, and on one of 128 busy cores 15 kB: 55 MB an hour at one a second. Ctrl-C or SIGTERM ends it;
what is in the file then, or when it is killed, can be replayed, even while it is still being written. A disk that is full ends
it with status 1, and the file holds what was whole. Brought to the disk itself, against a power cut, is it at every 24th
sample.

A file that is there already is not touched, unless told: --append goes on with a recording of the same host, behind its last
whole sample; --force puts a new one in the place of an old recording, and of nothing else.

examples:
  quietcore record morning.rec --for 8h --limit 2G
  quietcore record open.rec --interval 100ms --for 5m
  sudo quietcore record feed.rec --ring packet:eth2 --feed itch
  quietcore replay morning.rec
"""
_PROGRESS_S = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("file", metavar="FILE", help="where to")
    sampling_options(parser)
    parser.add_argument("--for", metavar="TIME", type=duration, dest="for_s", help="end after so long (default: at Ctrl-C)")
    parser.add_argument("--limit", metavar="SIZE", type=size, help="end before the file is longer, as 500M (default: none)")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--append", action="store_true", help="go on with a recording of this host")
    there.add_argument("--force", action="store_true", help="replace a recording that is there")
    parser.epilog = EPILOG


@dataclass(slots=True)
class _Run:
    """What is being recorded, and how far it came."""

    arguments: argparse.Namespace
    writer: RecordingWriter | None = None
    created: bool = False
    began_s: float = field(default_factory=time.monotonic)
    began_size: int = 0
    ended_by: str = ""
    _told_s: float = 0.0

    def open(self, host: Host) -> None:
        """The file. Before rights are given up, and before there is a sample."""
        header = Header(host.name, host.kernel, host.source, time.time())
        path = self.arguments.file
        if self.arguments.append and os.path.lexists(path):
            self.writer = RecordingWriter.append(path, header)
        else:
            if self.arguments.force:
                _remove_recording(path)
            self.writer = RecordingWriter.create(path, header)
            self.created = True
        self.began_size = self.writer.size

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began_s

    def record(self) -> dict[str, object]:
        """For ``--json``."""
        samples, octets = (self.writer.samples, self.writer.size) if self.writer is not None else (0, 0)
        return {
            "command": "record",
            "file": printable(self.arguments.file, 4000),
            "samples": samples,
            "bytes": octets,
            "seconds": round(self.seconds, 3),
            "ended_by": self.ended_by,
        }

    def words(self) -> str:
        """How far it came, and what an hour of it takes."""
        if self.writer is None:
            return "nothing"
        hour = (self.writer.size - self.began_size) / max(self.seconds, 1e-3) * 3600
        return f"{self.writer.samples:,} samples, {size_text(self.writer.size)}, {size_text(hour)}/h"

    def progress(self) -> None:
        """On the terminal that is there for words, once a second, and never waiting for it."""
        now_s = time.monotonic()
        if now_s - self._told_s >= _PROGRESS_S:
            self._told_s = now_s
            self._overwrite(self.words())

    def _overwrite(self, words: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            fd = sys.stderr.fileno()
            waiting = select.poll()
            waiting.register(fd, select.POLLOUT)
            if os.isatty(fd) and waiting.poll(0):
                os.write(fd, f"\r\x1b[K{words}".encode())

    def finish(self) -> None:
        """Closes the file; one of which nothing came is taken away again."""
        if self.writer is None:
            return
        self.writer.close()
        self._overwrite("")
        if self.created and self.writer.samples == 0:
            with contextlib.suppress(OSError):
                os.unlink(self.writer.path)


def run(arguments: argparse.Namespace) -> int:
    """Records until the time, the limit or a signal. 1 where it could not be, or not to its end."""
    wrong = without_ring(arguments)
    if wrong:
        say(f"quietcore record: {wrong}")
        return 1
    if not arguments.ring:
        return _record(arguments)
    return told("record", _record, arguments)


def _record(arguments: argparse.Namespace) -> int:
    this = _Run(arguments)
    try:
        with contextlib.suppress(Ended):
            _follow(this, Ending())
    except FileExistsError:
        return _failed(this, "there is such a file already: --append goes on with a recording, --force replaces one")
    except RecordingError as error:
        return _failed(this, str(error))
    except OSError as error:
        if this.writer is None or error.filename != this.writer.path:
            raise
        kept = f"; the {this.writer.samples:,} samples before that can be replayed" if this.writer.samples else ""
        return _failed(this, f"{error.strerror}{kept}")
    finally:
        this.finish()
    this.ended_by = this.ended_by or "signal"
    if arguments.json:
        emit(this.record())
    else:
        say(f"{arguments.file}: {this.words()}")
    return 0


def _failed(this: _Run, why: str) -> int:
    shown = f"{printable(this.arguments.file)}: {why}"
    say(f"quietcore record: {shown}")
    if this.arguments.json:
        emit(this.record() | {"error": shown})
    return 1


def _follow(this: _Run, ending: Ending) -> None:
    arguments, encoder = this.arguments, Encoder()
    with contextlib.closing(sampled(arguments, Pace(arguments.interval), begun=this.open)) as samples:
        for sample in samples:
            line = encoder.line(sample).encode()
            if this.writer is None:
                return
            with ending.whole():
                if not this.writer.add(line, sample.time_s, encoder.whole, arguments.limit):
                    this.ended_by = "limit"
                    return
                if encoder.whole:
                    this.writer.sync()
            this.progress()
            if arguments.for_s is not None and this.seconds >= arguments.for_s:
                this.ended_by = "time"
                return


def _remove_recording(path: str) -> None:
    """Makes place for a new recording: takes away an old one, and nothing else.

    Raises:
        RecordingError: what is there is none.
        OSError: it cannot be read or removed.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise RecordingError("no file of its own; nothing is replaced")
        if os.path.getsize(path):
            Recording.open(path).close()
        os.unlink(path)
