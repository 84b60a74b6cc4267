"""How a transaction ended, in words that say what to do next. The statuses are those of the command line."""

from collections.abc import Mapping
from typing import Any

from ui.app.flow.runner import Answer

_AND_THEN = (
    ("waits to be confirmed", "K keeps it, U undoes it"),
    ("holds the lock", "another quietcore is at work: wait for it"),
    ("the lock", "another quietcore is at work: wait for it"),
    ("needs root", "start the app as root"),
)


def outcome(answer: Answer, changes: int) -> tuple[str, str]:
    """State and words of an answer to apply, confirm or rollback.

    Args:
        answer: the command's.
        changes: how many were asked for.
    """
    said, number = str(answer.record.get("outcome") or ""), answer.record.get("transaction")
    if said in ("applied", "confirmed", "rolled-back") and answer.status in (0, 3):
        boot = "; the rest with the next boot" if answer.status == 3 else ""
        return "ok", f"transaction {number}: {changes} of {changes}{boot}"
    if said == "unchanged":
        return "ok", "nothing to change: the host is as wanted already"
    if answer.status == 4:
        hint = next((words for sign, words in _AND_THEN if sign in answer.reason), "")
        return "failed", f"refused, nothing was changed: {answer.reason}{f' ({hint})' if hint else ''}"
    if answer.status == 5:
        return "failed", f"failed and rolled back, the host is as before: {answer.reason}"
    if answer.status == 6:
        return "failed", f"degraded: {_left(answer.record)}. U tries again; quietcore history {number} tells all"
    return "failed", answer.reason


def _left(record: Mapping[str, Any]) -> str:
    """What a rollback could not put back."""
    names = [f"{e.get('knob')} of {e.get('target')}" for e in record.get("undone", []) if e.get("result") == "residual"]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"not as before: {', '.join(names[:3])}{more}" if names else str(record.get("error") or "something is left behind")


def ending(entry: Mapping[str, Any]) -> tuple[str, str]:
    """State and words of how a transaction that waited has ended, from its line of history."""
    state, reason = entry.get("state"), str(entry.get("reason") or "")
    undone = entry.get("undone", [])
    restored = sum(each.get("result") == "restored" for each in undone)
    if state == "confirmed":
        return "ok", "kept"
    if state == "rolled-back":
        words = f"undone ({reason})" if reason and reason != "asked for" else "undone"
        return "ok" if reason == "asked for" else "undone", f"{words}: {restored} of {len(undone)} put back"
    if state == "degraded":
        return "failed", f"degraded: {restored} of {len(undone)} put back; U tries again, quietcore history tells what is left"
    if state in ("rolling-back", "applying", "applied"):
        return "running", "it is being undone" if state != "applied" else "waits"
    return "undone", f"{state or 'gone'}{f': {reason}' if reason else ''}"
