"""Links that must not be lost: the ones by which this host is reached."""

import os
import socket

from tuner.host.host import Inventory


def guarded_links(inventory: Inventory) -> dict[str, str]:
    """NIC name -> why losing its link would cut somebody off: the default route, the SSH session of this process."""
    guarded = {nic.name: "carries the default route" for nic in inventory.nics if nic.default_route}
    session = _session_address()
    if session and inventory.host.files.real:
        import psutil

        try:
            addresses = psutil.net_if_addrs()
        except (OSError, UnicodeError):  # a name that is not UTF-8
            return dict.fromkeys((nic.name for nic in inventory.nics if nic.physical), "may carry this SSH session") | guarded
        for name, entries in addresses.items():
            if any(e.family in (socket.AF_INET, socket.AF_INET6) and e.address.split("%")[0] == session for e in entries):
                guarded[name] = "carries this SSH session"
    return guarded


def _session_address() -> str:
    # sshd: client address, client port, server address, server port; sudo keeps it where env_keep says so
    fields = os.environ.get("SSH_CONNECTION", "").split()
    return fields[2].removeprefix("::ffff:") if len(fields) == 4 else ""
