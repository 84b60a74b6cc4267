"""The ledger of losses as text: what lost something, the worst first, and what this host cannot see."""

from collections.abc import Sequence

from ingest.sample import LossSample
from ingest.stages import DETAIL, LOSS, folded, invisible, ranges, worst_first
from ui.cli.table import table

_WATCHED = 4  # losses on one line of watch


def losses_text(rows: Sequence[LossSample]) -> str:
    """The report's part: a table, and a line of stages that are not visible here."""
    cells = [
        (
            f"{row.stage:>2} {row.name}",
            row.where,
            row.counter,
            "" if row.kind == LOSS else row.kind,
            str(row.total),
            _short(row),
            row.note,
        )
        for row in folded(worst_first(rows))
    ]
    headers = ("lost at", "where", "counter", "", "since boot", "/s", "")
    shown = table(headers, cells, "llllrrl") if cells else "losses: none counted since boot"
    return "\n".join([shown, *not_visible(rows)])


def not_visible(rows: Sequence[LossSample]) -> list[str]:
    """One line, or none: the stages of which nothing at all can be seen."""
    seen = {row.stage for row in rows if row.visible}
    blind = [stage for stage in invisible(rows) if stage not in seen]
    if not blind:
        return []
    return [f"not visible here: stages {ranges(blind)} (status --json says why)"]


def now_lost(rows: Sequence[LossSample]) -> str:
    """One line: what is being lost now, the worst first; then what is late or under pressure."""
    moving = folded([row for row in worst_first(rows) if row.per_s and row.kind != DETAIL], alike=1)
    lost = [row for row in moving if row.kind == LOSS]
    other = [row for row in moving if row.kind != LOSS]
    text = "lost: " + (_list(lost) or "nothing")
    return text + (f"   not lost: {_list(other)}" if other else "")


def _list(rows: Sequence[LossSample]) -> str:
    text = "; ".join(f"{row.name} {row.where} {_short(row)}/s" for row in rows[:_WATCHED])
    return text + (f"; and {len(rows) - _WATCHED} more" if len(rows) > _WATCHED else "")


def _short(row: LossSample) -> str:
    return "<1" if 0 < row.per_s < 0.5 else f"{row.per_s:.0f}"
