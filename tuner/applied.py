"""What a transaction left on the host, looked at again: each setting as it was wanted then, not as its profile says by now."""

from collections.abc import Iterator, Mapping
from typing import Any

from tuner.knobs.knob import Wish
from tuner.store import TransactionRecord


def applied_wishes(transaction: TransactionRecord) -> Iterator[tuple[Wish, bool]]:
    """(what was wanted, whether the kernel was found to keep it for itself) of each setting, in the order of application."""
    managed = {n for n, wrote in transaction.wrote.items() if wrote["state"] == "kernel-managed"}
    for n, record in enumerate(transaction.plan["changes"] if transaction.plan else []):
        yield _wish(record), n in managed


def _wish(record: Mapping[str, Any]) -> Wish:
    return Wish(
        knob=str(record["knob"]),
        target=str(record["target"]),
        identity=str(record["identity"]),
        wanted=record["wanted"],
        why=str(record["why"]),
        options=record.get("options", {}),
    )
