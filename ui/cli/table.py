"""Tables for people: columns as wide as what stands in them, nothing that a terminal would obey."""

from collections.abc import Sequence
from itertools import zip_longest

from tuner.host.text import printable


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Rows below their headers.

    Args:
        headers: one for each column.
        rows: cells as text; control characters are made visible here.
        align: a letter for each column, ``l`` or ``r``; columns that it does not reach are left-aligned.
    """
    lines = [tuple(headers)] + [tuple(printable(cell) for cell in row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip_longest(*lines, fillvalue="")]
    sides = align.ljust(len(widths), "l")
    return "\n".join(
        "  ".join(
            cell.rjust(w) if side == "r" else cell.ljust(w) for cell, w, side in zip(line, widths, sides, strict=False)
        ).rstrip()
        for line in lines
    )


def microseconds(value_ns: int | None) -> str:
    """A time in nanoseconds as a cell; a dash where there is none."""
    return "-" if value_ns is None else f"{value_ns / 1000:,.1f} us"
