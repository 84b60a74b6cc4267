"""How putting back ended, as text and as JSON: shared by apply, rollback and recover."""

from collections.abc import Iterable

from tuner.host.text import printable
from tuner.undo import Undone


def undone_records(undone: Iterable[Undone]) -> list[dict[str, str]]:
    """As JSON."""
    return [{"knob": u.knob, "target": u.target, "result": u.result, "detail": u.detail} for u in undone]


def print_undone(undone: Iterable[Undone]) -> None:
    """What was put back is counted; what was not is listed."""
    undone = list(undone)
    restored = sum(u.result == "restored" for u in undone)
    if undone:
        print(f"{restored} of {len(undone)} put back")
    for each in undone:
        if each.result != "restored":
            print(printable(f"  {each.result}: {each.knob} {each.target}: {each.detail}", 1000))
