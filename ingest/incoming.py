"""Samples from a pipe, whoever is at its other end: lines, whole or of changes, or a recording that is piped in."""

from collections.abc import Iterator
from typing import NamedTuple

from ingest.blocks import MAGIC, RecordingError, Scanner
from ingest.changes import Decoder
from ingest.rows import MAX_LINE
from ingest.sample import Sample, SampleError


class Arrived(NamedTuple):
    """A sample with the line that brought it; ``whole`` where the line stands for itself."""

    sample: Sample
    line: bytes
    whole: bool


class Incoming:
    """Takes bytes as they come.

    Attributes:
        refused: lines that were none, among them those of changes that stand upon none that came.
        why: what was wrong with the last of them.
    """

    def __init__(self) -> None:
        self.refused = 0
        self.why = ""
        self._decoder = Decoder()
        self._scanner: Scanner | None = None
        self._rest = b""
        self._begun = self._too_long = False

    def feed(self, data: bytes) -> Iterator[Arrived]:
        """The samples whose last byte is in ``data``; to be exhausted.

        Raises:
            RecordingError: it is a recording, but of another version.
        """
        if not self._begun and data:
            self._begun = True
            self._scanner = Scanner() if data[:1] == MAGIC[:1] else None
        for line in self._blocks(self._scanner, data) if self._scanner is not None else self._lines(data):
            try:
                sample = self._decoder.take(line)
            except SampleError as error:
                self._refuse(str(error))
            else:
                yield Arrived(sample, line, self._decoder.whole)

    @property
    def left(self) -> str:
        """At the end: what came of a last line or sample that was cut; empty where nothing did."""
        pending = self._scanner.pending if self._scanner is not None else len(self._rest)
        return f"it ends within a sample: {pending} bytes are left out" if pending or self._too_long else ""

    def _refuse(self, why: str) -> None:
        self.refused += 1
        self.why = why

    def _blocks(self, scanner: Scanner, data: bytes) -> Iterator[bytes]:
        before = scanner.damages + scanner.lost
        for block in scanner.feed(data):
            try:
                yield block.line
            except RecordingError as error:
                self._refuse(str(error))
        if scanner.damages + scanner.lost > before:
            self._refuse(f"the recording is damaged: {scanner.skipped} bytes and {scanner.lost} samples are left out")

    def _lines(self, data: bytes) -> Iterator[bytes]:
        *lines, rest = data.split(b"\n")
        for number, line in enumerate(lines):
            whole = self._rest + line if number == 0 else line
            if number == 0:
                self._rest = b""
            if self._too_long:
                self._too_long = False
            elif whole.strip():
                yield whole
        if len(self._rest) + len(rest) > MAX_LINE:
            if not self._too_long:
                self._refuse(f"a line of more than {MAX_LINE} bytes")
            self._rest, self._too_long = b"", True
        elif not self._too_long:
            self._rest += rest
