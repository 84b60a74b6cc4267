"""What a screen lists as two files: JSON with where and when it was seen, and CSV for a spreadsheet.

Names in the rows are whoever's: a cell that a spreadsheet would take for a formula is written as text (OWASP, CSV injection).
No file that is there already is touched, nor one that a link of that name points to.
"""

import contextlib
import csv
import datetime as dt
import io
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence

from ingest.sample import SCHEMA, Sample
from ui.app.state.model import Listing

_TRIES = 100  # names within one second
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ExportError(ValueError):
    """Nothing was written; the text says why, and what to do."""


def write(listing: Listing, sample: Sample | None, filter_text: str, places: Sequence[str]) -> str:
    """Writes both files, readable by their owner alone, into the first of ``places`` that can be written to.

    Returns:
        The path of both without ``.json`` and ``.csv``.

    Raises:
        ExportError: there is nothing to write, or nowhere.
    """
    if sample is None or not listing.rows:
        raise ExportError("nothing to export: this screen lists nothing now")
    texts = {"json": as_json(listing, sample, filter_text), "csv": as_csv(listing.rows)}
    problems = []
    for place in places:
        directory = os.path.abspath(os.path.expanduser(place))
        try:
            return _both(os.path.join(directory, f"quietcore-{listing.name}-{time.strftime('%Y%m%d-%H%M%S')}"), texts)
        except OSError as error:
            problems.append(f"{directory}: {error.strerror or error}")
    raise ExportError(f"nothing exported: {'; '.join(problems)}")


def as_json(listing: Listing, sample: Sample, filter_text: str) -> str:
    """One object, its schema first: what was seen, where, when, and by which filter."""
    record = {
        "schema": SCHEMA,
        "command": "export",
        "screen": listing.name,
        "host": sample.host,
        "source": sample.source,
        "time": dt.datetime.fromtimestamp(sample.time_s, dt.UTC).isoformat(timespec="milliseconds"),
        "time_s": sample.time_s,
        "sequence": sample.sequence,
        "filter": filter_text,
        "rows": [dict(row) for row in listing.rows],
    }
    return json.dumps(record, indent=1, default=str, allow_nan=False) + "\n"


def as_csv(rows: Iterable[Mapping[str, object]]) -> str:
    """A line for each row below one of names; a value that a row does not have is empty."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
    writer.writerow([_cell(name) for name in names])
    writer.writerows([[_cell(row.get(name)) for name in names] for row in rows])
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict):
        value = json.dumps(value, default=str)
    text = str(value)
    if isinstance(value, int | float) or not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _both(stem: str, texts: Mapping[str, str]) -> str:
    """Writes all of them under one name that none had.

    Raises:
        OSError: one could not be written; what had been is gone again.
    """
    for number in range(1, _TRIES + 1):
        name = stem if number == 1 else f"{stem}-{number}"
        written: list[str] = []
        try:
            for kind, text in texts.items():
                path = f"{name}.{kind}"
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                written.append(path)
                with open(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                    file.write(text)
            return name
        except OSError as error:
            for path in written:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            if not isinstance(error, FileExistsError):
                raise
    raise FileExistsError(17, "too many exports in one second", stem)
