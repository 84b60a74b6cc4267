"""Which NIC a knob works on: found anew at every call, since names and numbers change under it."""

from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.knobs.knob import Gone


def find_nic(inventory: Inventory, identity: str) -> Nic:
    """The NIC of that identity, under whatever name.

    Raises:
        Gone: no such PCI function with that address here.
    """
    nic = inventory.nic_by_identity(identity)
    if nic is None:
        raise Gone(f"no NIC {identity} on this host")
    return nic
