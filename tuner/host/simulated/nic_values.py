"""What a simulated NIC answers of its driver's settings, and what it takes: on the document ``/ethtool/<if>.json``.

Sources: net/ethtool/{ioctl,coalesce}.c, net/core/dev.c (netdev_fix_features), ixgbe (bounds of usecs), ice (usecs are locked
while adaptive). What is refused is refused before anything changed.
"""

import errno
import os
from collections.abc import Mapping
from typing import Any

from tuner.host.ethtool_values import COALESCE, FEATURES, FEC, FEC_MODES, Feature, Value, Values
from tuner.host.simulated.documents import Document

_MAX_USECS = 1022  # IXGBE_MAX_EITR >> 2
# a feature -> the one without which netdev_fix_features leaves it off
_NEEDS = {"rx-gro-hw": "rx-gro", "rx-lro": "rx-checksum", "tx-tcp-segmentation": "tx-generic-segmentation"}


def features(document: Document) -> dict[str, Feature]:
    """The features in a document; of a captured tree, what is on was asked for.

    Raises:
        OSError: EOPNOTSUPP: the document has none, EBADMSG: they are something else.
    """
    rows = _part(document, FEATURES)
    try:
        return {
            str(name): Feature(bool(row.get("requested", row["active"])), bool(row["active"]), bool(row["fixed"]))
            for name, row in rows.items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise OSError(errno.EBADMSG, f"features are no rows of active and fixed ({error!r})") from error


def values(document: Document, group: str) -> Values:
    """The settings of a group.

    Raises:
        OSError: EOPNOTSUPP: the document has no such group, EBADMSG: it holds something else.
    """
    part = _part(document, group)
    if not all(isinstance(value, bool | int | str) for value in part.values()):
        raise OSError(errno.EBADMSG, f"{group} holds more than numbers and words")
    return dict(part)


def change(document: Document, group: str, wanted: Mapping[str, Value]) -> None:
    """One request.

    Raises:
        OSError: as the driver refuses it.
    """
    if group == FEATURES:
        _change_features(document, wanted)
        return
    now = values(document, group)
    if wanted.keys() - now.keys():
        raise _refused(errno.EOPNOTSUPP)
    after = now | dict(wanted)
    if group == COALESCE:
        _check_coalesce(now, after)
    if group == FEC:
        if any(word not in FEC_MODES for word in str(after["mode"]).split("+")):
            raise _refused(errno.EINVAL)
        after["active"] = "rs" if after["mode"] == "auto" else after["mode"]
    document[group] = after


def _check_coalesce(now: Values, after: Values) -> None:
    if any("usecs" in name and not 0 <= int(value) <= _MAX_USECS for name, value in after.items()):
        raise _refused(errno.EINVAL)
    for way in ("rx", "tx"):
        if after.get(f"adaptive_{way}") and after.get(f"{way}_usecs") != now.get(f"{way}_usecs"):
            raise _refused(errno.EINVAL)


def _change_features(document: Document, wanted: Mapping[str, Value]) -> None:
    rows = features(document)
    if any(name not in rows or rows[name].fixed for name in wanted):
        raise _refused(errno.EOPNOTSUPP)
    requested = {name: bool(wanted.get(name, row.requested)) for name, row in rows.items()}
    for name, row in rows.items():
        needs = _NEEDS.get(name, name)
        active = row.active if row.fixed else requested[name] and requested.get(needs, True)
        document[FEATURES][name] |= {"active": active, "requested": requested[name]}


def _part(document: Document, group: str) -> dict[str, Any]:
    part = document.get(group)
    if not isinstance(part, dict):
        raise OSError(errno.EOPNOTSUPP, f"the document has no {group}")
    return part


def _refused(code: int) -> OSError:
    return OSError(code, os.strerror(code))
