"""In the place of the app's children: every text that they say is an attack on the terminal. Run as a program by the tests."""

import json
import os
import sys
import time
from dataclasses import fields, is_dataclass, replace

PAYLOAD = (
    "\x1b]0;PWNED\x07\x1b[31m\x9b31m\x90q\x9c\u202eRTL\u2067[b]x[/b][@click=quit]\udcff\udc9b字e\u0301\x00\x7f\r\n\t\x1b[?1049l"
)


def hostile(record, mark="PWNED"):
    """The same with the payload behind each text that names something."""
    if is_dataclass(record):
        return replace(record, **{each.name: _field(record, each.name, mark) for each in fields(record)})
    if isinstance(record, tuple | list):
        return type(record)(hostile(each, mark) for each in record)
    if isinstance(record, dict):
        return {name: hostile(value, mark) for name, value in record.items()}
    return mark + PAYLOAD + record if isinstance(record, str) else record


def _field(record, name, mark):
    value = getattr(record, name)
    # what is a word of ours, or a CPU list, is none of somebody else's names; the app must live with nonsense there, too
    return value if name in ("source", "kind", "level") else hostile(value, mark)


def answer(command):
    """What the engine would say, with hostile names in it."""
    from tests.app.screens import PLAN

    records = {
        "profiles": {"profiles": [{"name": "base", "summary": "for base", "active": True}]},
        "history": {
            "transactions": [{"transaction": 7, "profile": {"name": "feed-handler"}, "state": "applied", "undo_in_s": 60.0}]
        },
    }
    return hostile(dict(records.get(command, PLAN)))


def watch():
    from bench.app_feed import first
    from ingest.sample import Event
    from tests.app.told import feeds, ring

    events = (
        Event("crit", "eth2", "a ring is full", key="ring", nic="eth2", counter="rx_missed_errors"),
        Event("warn", "CPU 9", "an interrupt", key="stray", cpu=9, irq="100"),
        Event("warn", "itch", "a gap", key="gap", feed="itch"),
    )
    sample = replace(first(16), events=events, feeds=feeds(9, lost=3), rings=(ring(1), ring(2, drops=4)), drift=DRIFT)
    line = hostile(sample).to_json()
    while True:
        os.write(1, f"{line}\n".encode())
        time.sleep(0.2)


DRIFT = (
    {
        "knob": "irq.affinity", "target": "eth2", "wanted": "2", "now": "3", "effective": "3", "state": "moved", "seen_s": 1.0,
        "at_start": False, "suspect": "irqbalance",
    },
)  # fmt: skip


if __name__ == "__main__":
    words = sys.argv[1:]
    if "watch" in words:
        watch()
    else:
        known = [word for word in words if word in ("profiles", "history", "plan", "verify", "apply", "doctor", "explain")]
        sys.stderr.write(PAYLOAD.replace("\udcff", "").replace("\udc9b", "") + "\n")
        print(json.dumps({"schema": "quietcore/1"} | answer(known[0] if known else "")))
