"""What commands print: data on stdout, words on stderr, and the one JSON shape that plan, apply and verify share."""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from tuner.host.text import printable
from ui.cli.table import table

if TYPE_CHECKING:  # a plan knows every knob: who only watches must not pay for that
    from tuner.host.host import Host
    from tuner.plan import Change

SCHEMA = "quietcore/1"
_MARK = {
    "ok": " ",
    "ok-rounded": " ",
    "differs": "~",
    "kernel-managed": "k",
    "pending-reboot": "r",
    "unsupported": "-",
    "unverifiable": "?",
    "gone": "x",
    "failed": "!",
}


def emit(record: Mapping[str, Any]) -> None:
    """One JSON object on stdout, its schema first."""
    print(json.dumps({"schema": SCHEMA, **record}, allow_nan=False), flush=True)


def say(text: str) -> None:
    """Words for people, on stderr. That nobody hears them stops nothing, and changes no exit status."""
    try:
        print(printable(text, 4000), file=sys.stderr, flush=True)
    except OSError:
        unheard(sys.stderr)


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Around what is told of a change that was made: that nobody listens any more does not change how it ended."""
    try:
        yield
        sys.stdout.flush()
    except OSError:
        unheard(sys.stdout)


def unheard(stream: TextIO) -> None:
    """Lets what nobody reads go nowhere: Python would complain of it again when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def banner(host: "Host") -> None:
    """Says what host this is, where it is not this machine."""
    if host.simulated:
        say(f"SIMULATED host below {printable(str(host.files.root))}")
    elif not host.files.real:
        say(f"host as files below {printable(str(host.files.root))}")


def changes_record(
    command: str,
    profile: Mapping[str, str],
    changes: "Iterable[Change]",
    *,
    changed: bool,
    transaction: int | None,
    **more: Any,
) -> dict[str, Any]:
    """The shape that plan, apply and verify print."""
    from tuner.plan import summary

    changes = tuple(changes)
    return {
        "command": command,
        "profile": dict(profile),
        "changed": changed,
        "transaction": transaction,
        "changes": [change.to_json() for change in changes],
        "summary": summary(changes),
        **more,
    }


def changes_text(changes: "Iterable[Change]", everything: bool = False) -> str:
    """Changes as a table; settings that are as wanted are counted, not listed, unless ``everything`` is asked for.

    Interrupts that want the same are one line: a host has hundreds.
    """
    from tuner.plan import summary

    changes = list(changes)
    shown = [c for c in changes if everything or c.state not in ("ok", "ok-rounded")]
    rows = []
    for group in _grouped(shown, everything):
        first = group[0]
        target = first.target if len(group) == 1 else f"{first.target} and {len(group) - 1} more"
        rows.append(
            (
                _MARK[first.state],
                first.knob,
                target,
                _value(first.now, group),
                _value(first.wanted, [first]),
                _effect(first, group),
                first.state,
                " ".join(w for w in (first.disruption, "for-good" if first.irreversible else "") if w not in ("none", "")),
                first.error or first.note or first.irreversible or first.why,
            )
        )
    headers = ("", "setting", "of", "now", "wanted", "effective", "state", "disturbs", "why")
    lines = [table(headers, rows)] if rows else []
    counts = ", ".join(f"{count} {state}" for state, count in summary(changes).items() if count)
    lines.append(counts or "the profile sets nothing")
    return "\n".join(lines)


def _grouped(changes: "list[Change]", everything: bool) -> "list[list[Change]]":
    groups: list[list[Change]] = []
    for change in changes:
        last = groups[-1][0] if groups else None
        alike = last is not None and (last.knob, last.wanted, last.state, last.why, last.error) == (
            change.knob,
            change.wanted,
            change.state,
            change.why,
            change.error,
        )
        if alike and not everything:
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def _value(value: object, group: "list[Change]") -> str:
    if len({str(change.now) for change in group}) > 1:
        return "various"
    return "-" if value is None else printable(str(value), 40)


def _effect(change: "Change", group: "list[Change]") -> str:
    if len({str(each.effective) for each in group}) > 1:
        return "various"
    return "-" if change.effective in (None, change.now) else printable(str(change.effective), 40)


def needs_root(host: "Host", command: str) -> None:
    """Refuses to change this machine as somebody who may not.

    Raises:
        PermissionError: not root.
    """
    if host.files.real and os.geteuid() != 0:
        raise PermissionError(1, f"changing this host needs root: sudo quietcore {command}")
