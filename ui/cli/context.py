"""What every command works on: the host, its state, and what the active profile says of its cores."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tuner.host.cpulist import CpuListError, parse_list
from tuner.host.host import Host, Inventory, open_host
from tuner.lock import lock_path
from tuner.store import Store, TransactionRecord

if TYPE_CHECKING:
    from tuner.host.simulated import Simulation

STATE = "/var/lib/quietcore"
ROLES = ("housekeeping", "rx", "tx", "app")


@dataclass(slots=True)
class Context:
    """One command's view. ``simulation`` is there under ``--demo``: somebody has to move its clock."""

    host: Host
    root: str
    store: Store
    simulation: "Simulation | None" = None
    _inventory: list[Inventory] = field(default_factory=list)

    @property
    def inventory(self) -> Inventory:
        """The host's parts, read once."""
        if not self._inventory:
            self._inventory.append(Inventory(self.host))
        return self._inventory[0]

    def active(self) -> TransactionRecord | None:
        """The transaction that holds the host; None without one, or where this user may not read the state."""
        try:
            return self.store.active(self.host.syscalls.boot_id())
        except PermissionError:
            return None

    @property
    def state_is_hidden(self) -> bool:
        """Whether this user may not read the transactions: then nobody can say that there is none."""
        try:
            self.store.numbers()
        except PermissionError:
            return True
        return False

    def active_profile(self) -> str:
        """The active profile's name, empty without one."""
        return self.profile_and_roles()[0]

    def profile_and_roles(self) -> tuple[str, dict[int, str]]:
        """The active profile's name and CPU -> role, as it named its cores; both empty without one."""
        active = self.active()
        if active is None:
            return "", {}
        roles: dict[int, str] = {}
        for role in ROLES:
            with contextlib.suppress(CpuListError):
                roles |= dict.fromkeys(parse_list(str(active.begin.get("roles", {}).get(role, ""))), role)
        return active.profile, roles


@contextlib.contextmanager
def open_context(arguments: argparse.Namespace) -> Iterator[Context]:
    """Opens the host that the global options name; a ``--demo`` host is gone afterwards.

    Raises:
        OSError: no host there.
    """
    if arguments.demo and arguments.root is None:
        from ui.cli.demo import open_demo

        with open_demo(arguments.state) as context:
            yield context
        return
    host = open_host(arguments.root)
    root = str(host.files.root)
    yield Context(host, root, Store(arguments.state or os.path.join(root, STATE.lstrip("/")), lock_path(root)))
