"""A second reader of ring sizes and coalescing, where the extra ``ethtool`` is installed: both must say the same.

python-ethtool asks the kernel with code of its own, in C. What two readers agree on was not misread by either: a wrong field of
a structure would read as a plausible number for years. It is GPL-2.0 and needs the libnl headers to be built, so it is an extra
(``pip install quietcore[ethtool]``) and nothing needs it.
"""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tuner.host.ethtool_values import COALESCE_FIELDS
from tuner.host.host import Host
from tuner.plan import Change

_RINGS = {"nic.rings.rx": "rx_pending", "nic.rings.tx": "tx_pending"}
_COALESCE = {f"nic.coalesce.{name}": field for name, (field, _) in COALESCE_FIELDS.items()}


def second_reader() -> Any | None:
    """The module, None where it is not installed or cannot be loaded."""
    try:
        return importlib.import_module("ethtool")
    except (ImportError, OSError):
        return None


def checked(host: Host, changes: Iterable[Change]) -> tuple[Change, ...]:
    """The changes, each ring size and coalesce value read a second time; where the two differ it is ``unverifiable``.

    Only of this machine: the second reader knows no tree of files. What it cannot read stays as it is.
    """
    rows = tuple(changes)
    reader = second_reader() if host.files.real else None
    if reader is None:
        return rows
    return tuple(_checked(reader, change) for change in rows)


def _checked(reader: Any, change: Change) -> Change:
    ring, field = _RINGS.get(change.knob), _COALESCE.get(change.knob)
    if change.now is None or (ring is None and field is None):
        return change
    try:
        found: Mapping[str, int] = reader.get_ringparam(change.target) if ring else reader.get_coalesce(change.target)
        second = int(found[ring or field or ""])
    except (OSError, KeyError, TypeError, ValueError, OverflowError):  # a name that it does not take, a NIC that left
        return change
    if second == int(change.now):
        return replace(change, note="; ".join(filter(None, (change.note, "python-ethtool reads the same"))))
    return replace(change, state="unverifiable", error=f"python-ethtool reads {second} here, and we {int(change.now)}")
