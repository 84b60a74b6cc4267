"""The overview's losses: what went at which stage, for each interface, the host and the feeds; zoomed, the whole ledger."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from shlex import quote

from ingest.sample import LossSample, Sample
from ingest.stages import LOSS, folded, worst_first
from ui.app.state.history import History
from ui.app.state.losses import FEED, FEEDS, HOST, TRANSMIT, counted, key_of, places_of
from ui.app.state.model import Pointed
from ui.app.widgets.heat import brief
from ui.app.widgets.lines import Line
from ui.app.widgets.ramp import short, spark
from ui.app.widgets.table import Column, LiveTable, Row, Value
from ui.app.widgets.tones import BAD, DIM

WIDE, ROOMY = 130, 170
# column -> its stages, from the wire to the application
STAGES: tuple[tuple[str, frozenset[int]], ...] = (
    ("wire", frozenset((1, 2, 3, 9))),
    ("NIC", frozenset((4, 5, 6))),
    ("ring", frozenset((7, 8))),
    ("soft", frozenset((10, 11, 12, 13))),
    ("sock", frozenset((14, 15, 16, 17, 18, 19, 20, 23))),
    ("tap", frozenset((21, 22, 24, 25))),
    ("feed", frozenset((FEED,))),
    ("tx", frozenset((TRANSMIT,))),
)
_COLUMN = {stage: at for at, (_, stages) in enumerate(STAGES) for stage in stages}


def point_at(loss: LossSample) -> Pointed:
    """A row of the ledger, as what the cursor is on."""
    words = f"{loss.where}: {loss.name} {short(loss.per_s)}/s, {loss.total} since boot ({loss.counter})"
    asked = f".losses[] | select(.counter == {json.dumps(loss.counter)} and .where == {json.dumps(loss.where)})"
    command = f"quietcore watch --json --count 1 | jq {quote(asked)}"
    goes_to = ("ingest", "feed", loss.where) if loss.stage == FEED else ("nic", "loss", key_of(loss))
    return Pointed("loss", key_of(loss), words, command, goes_to, loss)  # type: ignore[arg-type]


class Losses:
    """The panel. ``ledger`` is what it is when it has the screen to itself."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.table = LiveTable()
        self.ledger = LiveTable([("worst first", "", False), ("by stage", "stage", False), ("by total", "total", True)])
        self._worst: dict[str, LossSample] = {}
        self._rows: dict[str, LossSample] = {}
        self._drawn = 0
        self._sample: Sample | None = None
        self._key = (0, 0)

    def take(self, sample: Sample, width: int) -> None:
        """The losses of a sample."""
        if sample is self._sample and (width, self.history.generation) == self._key:
            return
        self._sample, self._key = sample, (width, self.history.generation)
        self._drawn = min(34 if width < 240 else 60, (width - 80) // 2) if width >= WIDE else width - 14 - 7 * len(STAGES) - 2
        places = places_of(sample)
        self._worst = {where: worst_first(rows)[0] for where, rows in places.items() if any(row.total for row in rows)}
        rates = {nic.name: nic.rx_packets_per_s for nic in sample.nics}
        rows = [self._row(where, lost, rates.get(where), width) for where, lost in places.items()]
        rows.sort(key=lambda row: row.tone != BAD)  # what loses now is seen, however many interfaces there are
        self.table.take(rows)

    def take_ledger(self, sample: Sample) -> None:
        """The whole ledger, for the panel that has the screen to itself."""
        told = worst_first(sample.losses)
        self._rows = {key_of(loss): loss for loss in told}
        self.ledger.take([_ledger_row(key, loss) for key, loss in self._rows.items()])

    def lines(self, width: int, height: int, active: bool) -> list[Line]:
        """Title and rows."""
        size = 8 if width >= ROOMY else 6
        columns = [Column("── loss/s (boot)", 16) if width >= WIDE else Column("── loss/s", 13)]
        columns += [Column(name, size, True) for name, _ in STAGES]
        if width >= WIDE:
            columns += [Column("where it is worst", 0), Column("│ lost per second", self._drawn + 2)]
        else:
            columns += [Column("│ over time", 0)]
        return self.table.lines(columns, width, height, active, more=height > 3)

    def _row(self, where: str, rows: Sequence[LossSample], per_s: float | None, width: int) -> Row:
        cells = [f" {where}"]
        tones: dict[int, str] = {}
        grouped: list[list[LossSample]] = [[] for _ in STAGES]
        gone = counted(rows)
        for row in gone:
            grouped[_COLUMN.get(row.stage, 4)].append(row)
        for at, group in enumerate(grouped, 1):
            text, tones[at] = _cell(group, width >= ROOMY)
            cells.append(text)
        now = any(row.per_s > 0 for row in gone)
        if width >= WIDE:
            told = ", ".join(_said(row) for row in folded(worst_first(_named(rows)), alike=1))
            packets = f"rx {short(per_s)}/s  " if per_s is not None else ""
            cells.append(packets + (told or "nothing lost"))
        values = self.history.values("lost", where, self._drawn)
        cells.append("│ " + spark(values, self._drawn))
        tones[len(cells) - 1] = BAD if any(values) else DIM
        return Row(where, tuple(cells), BAD if now else "" if any(row.total for row in rows) else DIM, tones=tones)

    def pointed(self, zoomed: bool) -> Pointed:
        """What the cursor is on: the worst that is lost there, else the interface."""
        row = (self.ledger if zoomed else self.table).selected
        if row is None:
            return Pointed()
        loss = self._rows.get(row.key) if zoomed else self._worst.get(row.key)
        if loss is not None:
            return point_at(loss)
        if row.key in (HOST, FEEDS):
            return Pointed("loss", "", f"{row.key}: nothing lost", "quietcore status")
        return Pointed("nic", row.key, f"{row.key}: nothing lost", "quietcore status", ("nic", "nic", row.key))

    def ledger_lines(self, width: int, height: int) -> list[Line]:
        """The whole ledger."""
        roomy = width >= 100
        columns = [
            Column("stage", 5, True), Column("what", 30 if roomy else 22), Column("where", 16 if roomy else 12),
            Column("/s", 6, True), Column("since boot", 12, True), Column("counter", 0),
            *([Column("kind", 9)] if roomy else []),
        ]  # fmt: skip
        return self.ledger.lines(columns, width, height)


def _named(rows: Iterable[LossSample]) -> list[LossSample]:
    return [replace(row, name=row.where, kind=LOSS) if row.stage == FEED else row for row in rows]


def _said(loss: LossSample) -> str:
    return f"{loss.name} {short(loss.per_s)} ({loss.total})"


def _cell(rows: Sequence[LossSample], wide: bool) -> tuple[str, str]:
    """What stands for some stages: the rate, and since boot. ``-`` where nothing counts, which is no zero."""
    if not any(row.visible for row in rows):
        return ("-" if rows else ""), DIM
    rate, total = sum(row.per_s for row in rows), sum(row.total for row in rows)
    if rate > 0:
        return (f"{short(rate)} ({short(total)})" if wide and len(short(rate) + short(total)) <= 5 else short(rate)), BAD
    if not total:
        return "0", DIM
    return f"({short(total) if wide or len(short(total)) < 5 else brief(total)})", ""


def _ledger_row(key: str, loss: LossSample) -> Row:
    cells = (str(loss.stage), loss.name, loss.where, short(loss.per_s), f"{loss.total:,}", loss.counter, loss.kind)
    values: dict[str, Value] = {"stage": loss.stage, "name": loss.name, "where": loss.where, "counter": loss.counter}
    values |= {"rate": loss.per_s, "total": loss.total, "kind": loss.kind}
    return Row(key, cells, BAD if loss.per_s and loss.kind == LOSS else "", values)
