"""Services of a simulated host: ``/services.json`` says which units are active, and what its irqbalance leaves alone.

A mask is kept in the document, not as a link, so that a tree that is put back is the same to the byte.
"""

import errno
from typing import Any

from tuner.host.cpulist import CpuListError, format_list, parse_list
from tuner.host.files import HostFiles
from tuner.host.irqbalance import Bans
from tuner.host.services import ServiceState, masked
from tuner.host.simulated.documents import Document, canonical, change_document, read_document
from tuner.host.simulated.writer import TreeWriter

SERVICES = "/services.json"
# a server as its distribution leaves it
_ACTIVE = ("irqbalance.service", "tuned.service", "thermald.service", "ksmtuned.service")
_INSTALLED = ("numad.service", "ssh.service", "chrony.service")


def write_services(tree: TreeWriter) -> None:
    """The document, and the unit files that say what is installed."""
    rows = [{"unit": unit, "active": unit in _ACTIVE, "masked": False} for unit in (*_ACTIVE, *_INSTALLED)]
    document = {"schema": "quietcore/services/1", "irqbalance": {"cpus": "", "irqs": [], "interval_s": 10}, "services": rows}
    tree.put(SERVICES, canonical(document))
    tree.directory("/run/systemd/system")
    for unit in (*_ACTIVE, *_INSTALLED):
        tree.put(f"/usr/lib/systemd/system/{unit}", f"[Unit]\nDescription={unit} of a simulated host\n")


def read_service(files: HostFiles, unit: str) -> ServiceState:
    """A unit as the document says it.

    Raises:
        OSError: EOPNOTSUPP: a tree without one does not say what is active.
    """
    _present(files)
    row = next((row for row in _rows(read_document(files.path(SERVICES))) if row.get("unit") == unit), None)
    if row is None:
        return ServiceState(installed=False, active=False)
    return ServiceState(True, row.get("active") is True, "runtime" if row.get("masked") is True else masked(files, unit))


def set_active(files: HostFiles, unit: str, active: bool) -> None:
    """Starts a unit and takes its mask away, or the reverse."""

    def change(document: Document) -> None:
        row = next((row for row in _rows(document) if row.get("unit") == unit), None)
        if row is None:
            raise OSError(errno.EIO, f"systemctl {'start' if active else 'stop'} {unit} ended with status 5")
        row.update(active=active, masked=not active)

    _present(files)
    change_document(files.path(SERVICES), change)


def read_bans(files: HostFiles) -> Bans | None:
    """What irqbalance leaves alone, None where it does not run."""
    if not files.exists(SERVICES) or not read_service(files, "irqbalance.service").active:
        return None
    part = read_document(files.path(SERVICES)).get("irqbalance")
    try:
        return Bans(parse_list(part["cpus"]), frozenset(int(n) for n in part["irqs"]), int(part["interval_s"]))  # type: ignore[index]
    except (KeyError, TypeError, ValueError, AttributeError, CpuListError) as error:
        raise OSError(errno.EBADMSG, f"not the bans of irqbalance ({error!r})", SERVICES) from error


def set_bans(files: HostFiles, cpus: frozenset[int], irqs: frozenset[int]) -> None:
    """Bans just these."""
    _present(files)
    change_document(
        files.path(SERVICES), lambda document: document["irqbalance"].update(cpus=format_list(cpus), irqs=sorted(irqs))
    )


def _present(files: HostFiles) -> None:  # a captured tree has none
    if not files.exists(SERVICES):
        raise OSError(errno.EOPNOTSUPP, "this tree has no services.json", str(files.root))


def _rows(document: Document) -> list[dict[str, Any]]:
    rows = document.get("services")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise OSError(errno.EBADMSG, "no list of services", SERVICES)
    return rows
