"""The ledger of losses at one moment, and what it counted between two: by what a row is, not by what its interface is called.

An interface may be renamed meanwhile, and is gone for good only when its number (``ifindex``) is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ingest.rates import PACKETS_PER_S, Rates
from ingest.sample import LossSample

_Row = tuple[int, str, str, str, str | int]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Rows as they were read at ``at_ns`` (CLOCK_MONOTONIC). ``numbers``: interface, as the rows show it -> its ``ifindex``."""

    at_ns: int
    rows: Sequence[LossSample]
    numbers: Mapping[str, int] = field(default_factory=dict)

    def since(self, before: "Ledger") -> tuple[LossSample, ...]:
        """These rows with the rates of the time since ``before``, under the names that are right now.

        A counter that was not there before has rate 0, but for a CPU's: it has a row of its own from its first drop on.
        """
        known = {_key(row, before.numbers): row.total for row in before.rows if row.visible}
        rates = Rates(PACKETS_PER_S)
        rates.begin(max(1, self.at_ns - before.at_ns) / 1e9)
        return tuple(replace(row, per_s=_rate(row, known.get(_key(row, self.numbers)), rates)) for row in self.rows)


def _key(row: LossSample, numbers: Mapping[str, int]) -> _Row:
    return row.stage, row.kind, row.name, row.counter, numbers.get(row.where, row.where)


def _rate(row: LossSample, before: int | None, rates: Rates) -> float:
    if not row.visible:
        return 0.0
    last = before if before is not None else 0 if row.where.startswith("CPU ") else row.total
    return rates.per_s(rates.between(last, row.total))
