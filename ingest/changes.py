"""A stream of samples as what changed: whole lines now and then, and between them lines that hold only what moved.

A line of changes is one JSON object: ``"schema"``, then ``"base"``, the sequence of the sample before, without which it says
nothing; then those fields of the sample that changed. ``cores``, ``irqs``, ``nics``, ``queues`` (those of all NICs, one after
the other) and ``losses`` are lists of groups ``{"fields": [NAME, ...], "rows": [[PLACE, VALUE, ...], ...]}``: rows of which
the same fields changed, told by their places. Where rows came or went, ``{"all": [...]}`` has them as a whole line has.
``rings``, ``feeds`` and ``drift`` are lists, whole, or objects ``{PLACE: {NAME: VALUE}}``. ``events`` that are missing are
none; anything else missing is as it was. Nothing is rounded: what comes out is what went in. A whole line, as ``watch
--json`` has it, begins the stream, and follows again every so many lines, for those who lost one.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import compress
from operator import itemgetter, ne
from typing import Any

from ingest.rows import MAX_LINE, Rows, from_line, mappings, to_line
from ingest.sample import (
    CORES,
    COST,
    EVENTS,
    IRQS,
    LOSSES,
    NICS,
    QUEUES,
    SAMPLE,
    SCHEMA,
    NicSample,
    QueueSample,
    Sample,
    SampleError,
    nic_record,
    sample_of,
)

EVERY = 24  # a whole line after so many: 12 s at two a second; of a busy host's bytes, about a tenth
MAX_SINCE = 4 * MAX_LINE  # bytes of lines upon one whole line: what is held came from them
_PLAIN = ("host", "source", "kernel", "sequence", "time_s", "monotonic_ns", "interval_s", "profile")
_OPEN = ("rings", "feeds", "drift")  # lists of objects that are not ours to know
_COUNTERS, _QUEUES = NICS.places["counters"], NICS.places["queues"]


class Encoder:
    """Makes the lines of one stream.

    Args:
        every: a whole line after so many lines at the latest.
    """

    def __init__(self, every: int = EVERY) -> None:
        self._every = every
        self._last: Sample | None = None
        self._since = 0
        self.whole = False  # whether the last line stands for itself

    def line(self, sample: Sample) -> str:
        """The line of the next sample, without its end.

        Raises:
            ValueError: a number in it is none in JSON.
        """
        last = self._last
        self.whole = last is None or self._since >= self._every
        line = sample.to_json() if last is None or self.whole else to_line(_changes(last, sample))
        self._since = 1 if self.whole else self._since + 1
        self._last = sample
        return line


class Decoder:
    """Makes the samples of one stream again. A row that did not change is the same object as in the sample before."""

    def __init__(self) -> None:
        self._last: Sample | None = None
        self._since = 0  # bytes of all lines from the whole one on
        self.whole = False  # whether the last line stood for itself

    def take(self, line: bytes | str) -> Sample:
        """The sample of the next line, whole or of changes.

        Raises:
            SampleError: no sample, or changes of one that is not here: the next whole line ends that. What was taken before
                stays.
        """
        try:
            record = from_line(line)
            if "base" not in record:
                self._last, self._since, self.whole = sample_of(record), len(line), True
                return self._last
            self._last = self._changed(record, len(line))
        except SampleError:
            raise
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise SampleError(f"not a sample: {error}") from error
        self._since, self.whole = self._since + len(line), False
        return self._last

    def _changed(self, record: dict[str, Any], size: int) -> Sample:
        if record.get("schema") != SCHEMA:
            raise ValueError(f"not a line of schema {SCHEMA}")
        base, last = record["base"], self._last
        if last is None or type(base) is not int or base != last.sequence or self._since + size > MAX_SINCE:
            here = f"{last.sequence} is" if last is not None else "none is"
            raise SampleError(
                f"changes of sample {base if type(base) is int else '?'}, and {here} here; a whole line is awaited"
            )
        return _apply(last, record)


# ---------------------------------------------------------------------------------------------------------------- writing


def _changes(last: Sample, now: Sample) -> dict[str, Any]:
    record: dict[str, Any] = {"schema": SCHEMA, "base": last.sequence}
    for name in _PLAIN:
        value = getattr(now, name)
        if value != getattr(last, name):
            record[name] = value
    sections = {
        "cores": _section(CORES, last.cores, now.cores),
        "irqs": _section(IRQS, last.irqs, now.irqs),
        "losses": _section(LOSSES, last.losses, now.losses),
    }
    if list(map(_shape, last.nics)) == list(map(_shape, now.nics)):
        sections["nics"] = _nic_groups(last.nics, now.nics)
        sections["queues"] = _section(QUEUES, _queues(last.nics), _queues(now.nics))
    else:
        sections["nics"] = {"all": list(map(nic_record, now.nics))}
    record |= {name: found for name, found in sections.items() if found}
    for name in _OPEN:
        before, after = getattr(last, name), getattr(now, name)
        if before != after:
            record[name] = _members(before, after)
    if now.events:
        record["events"] = list(map(EVENTS.record, now.events))
    if now.cost != last.cost:
        record["cost"] = COST.record(now.cost)
    return record


def _shape(nic: NicSample) -> tuple[set[str], int]:
    return set(nic.counters), len(nic.queues)


def _queues(nics: Iterable[NicSample]) -> list[QueueSample]:
    return [queue for nic in nics for queue in nic.queues]


def _section(rows: Rows[Any], before: Sequence[Any], after: Sequence[Any]) -> object:
    """The rows that changed, those together of which the same fields did; all of them, where there are more or fewer."""
    if len(before) != len(after):
        return {"all": list(map(rows.record, after))}
    found: dict[tuple[int, ...], list[Any]] = {}
    places, values = range(len(rows.names)), rows.values
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        if old is new:
            continue
        now = values(new)
        fields = tuple(compress(places, map(ne, values(old), now)))
        if fields:
            found.setdefault(fields, []).append((at, now))
    return [_group(rows.names, fields, members) for fields, members in found.items()]


def _group(names: Sequence[str], fields: Sequence[int], members: Iterable[tuple[int, Sequence[Any]]]) -> dict[str, Any]:
    if len(fields) == 1:
        cells = [[at, values[fields[0]]] for at, values in members]
    else:
        chosen = itemgetter(*fields)
        cells = [[at, *chosen(values)] for at, values in members]
    return {"fields": [names[each] for each in fields], "rows": cells}


def _nic_groups(before: Sequence[NicSample], after: Sequence[NicSample]) -> list[dict[str, Any]]:
    """As ``_section``, but of the counters those that moved, and no queues: these have a list of their own."""
    found = []
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        if old is new:
            continue
        was, now = NICS.values(old), list(NICS.values(new))
        fields = [each for each in compress(range(len(now)), map(ne, was, now)) if each != _QUEUES]
        now[_COUNTERS] = {name: value for name, value in new.counters.items() if value != old.counters[name]}
        if fields:
            found.append(_group(NICS.names, fields, [(at, now)]))
    return found


def _members(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> object:
    """What changed in a list of objects; the list, where objects or their keys came or went."""
    if len(before) != len(after) or any(old.keys() != new.keys() for old, new in zip(before, after, strict=True)):
        return list(after)
    return {
        str(at): {name: value for name, value in new.items() if value != old[name]}
        for at, (old, new) in enumerate(zip(before, after, strict=True))
        if old != new
    }


# ---------------------------------------------------------------------------------------------------------------- reading


def _apply(last: Sample, record: dict[str, Any]) -> Sample:
    values: dict[str, Any] = {
        name: SAMPLE.value(SAMPLE.places[name], record[name]) if name in record else getattr(last, name) for name in _PLAIN
    }
    nics = _with_section(NICS, last.nics, record.get("nics"))
    if "queues" in record:
        queues = _queues(nics)
        nics = _with_queues(nics, _with_section(QUEUES, queues, record["queues"]), len(queues))
    values |= {name: _with_members(getattr(last, name), record.get(name)) for name in _OPEN}
    return Sample(
        cores=_with_section(CORES, last.cores, record.get("cores")),
        irqs=_with_section(IRQS, last.irqs, record.get("irqs")),
        nics=nics,
        losses=_with_section(LOSSES, last.losses, record.get("losses")),
        events=EVENTS.many(record.get("events", [])),
        cost=COST.build(record["cost"]) if "cost" in record else last.cost,
        **values,
    )


def _counters(before: dict[str, int], moved: dict[str, int]) -> dict[str, int]:
    if not moved.keys() <= before.keys():
        raise ValueError("a counter that the whole line did not have")
    return before | moved


def _with_section(rows: Rows[Any], before: Sequence[Any], section: Any) -> tuple[Any, ...]:
    """The rows with the groups' values in them; the same tuple where there is no group."""
    if section is None:
        return before if isinstance(before, tuple) else tuple(before)
    if isinstance(section, dict):
        return rows.many(section["all"])
    found = list(before)
    for group in _typed(list, section):
        fields = [rows.places[name] for name in _typed(list, group["fields"])]
        if rows is NICS and _QUEUES in fields:
            raise ValueError("queues among the fields of nics; they have a list of their own")
        freezes = [(at, freeze) for at, freeze in rows.freezes.items() if at in fields]
        met: set[tuple[type, ...]] = set()
        for cells in _typed(list, group["rows"]):
            place = _place(cells.pop(0), len(found))
            types = tuple(map(type, cells))
            if types not in met:
                rows.look(fields, cells)
                met.add(types)
            values = list(rows.values(found[place]))
            counters = values[_COUNTERS] if rows is NICS else None
            for at, value in zip(fields, cells, strict=True):
                values[at] = value
            for at, freeze in freezes:
                values[at] = freeze(values[at])
            if counters is not None and _COUNTERS in fields:
                values[_COUNTERS] = _counters(counters, values[_COUNTERS])
            found[place] = rows.kind(*values)
    return tuple(found)


def _with_queues(nics: tuple[NicSample, ...], queues: Sequence[QueueSample], count: int) -> tuple[NicSample, ...]:
    if len(queues) != count:
        raise ValueError("more or fewer queues than the NICs have")
    found, start = [], 0
    for nic in nics:
        mine = tuple(queues[start : start + len(nic.queues)])
        start += len(mine)
        same = all(one is two for one, two in zip(mine, nic.queues, strict=True))
        found.append(nic if same else dataclasses.replace(nic, queues=mine))
    return tuple(found)


def _with_members(before: tuple[dict[str, Any], ...], change: Any) -> tuple[dict[str, Any], ...]:
    if change is None:
        return before
    if isinstance(change, list):
        return mappings(change)
    found = list(before)
    for at, fields in _typed(dict, change).items():
        place = _place(int(at) if at.isascii() and at.isdigit() else None, len(found))
        if not _typed(dict, fields).keys() <= found[place].keys():
            raise ValueError("a field that the whole line did not have")
        found[place] = found[place] | fields
    return tuple(found)


def _typed(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"no {kind.__name__} where one belongs")
    return value


def _place(value: Any, count: int) -> int:
    if type(value) is not int or not 0 <= value < count:
        raise ValueError("a place where there is no row")
    return value
