"""``nic.rings.rx`` and ``nic.rings.tx``: descriptors between a NIC and its host.

Source: ETHTOOL_GRINGPARAM / ETHTOOL_SRINGPARAM. What drivers taught (igb, ixgbe, e1000e: MAC reset and seconds without carrier;
vmxnet3: device reset; i40e, ice: queues stop): the link must be taken to drop, and affinity, RSS table and coalescing may be
forgotten. Sizes are rounded up, by 8 (Intel 1G/10G) to 32 (i40e, ice) or to a power of two (mlx5). A guest's virtio NIC
without the ring-reset feature answers ENOENT.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.host.syscalls import Rings
from tuner.knobs.knob import Disruption, Gone, Json, Knob, Reading, State, Unsupported


class RingSize(Knob):
    """The size of one kind of ring, in descriptors; the identity is ``tuner.host.nics.Nic.identity``."""

    disruption: ClassVar[Disruption] = "link"
    resets: ClassVar[bool] = True

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The size in descriptors."""
        rings = read_rings(inventory, find_nic(inventory, identity))
        size = self._size(rings)
        return Reading(now=size, effective=size)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal, or what a driver rounds the wanted size up to."""
        now, want = int(reading.now), int(wanted)
        if now == want:
            return "ok"
        power = 1 << (want - 1).bit_length()
        rounded = {-(-want // step) * step for step in (8, 32)} | {power}
        return "ok-rounded" if now in rounded else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Changes the size: the link may drop and the driver may forget what else was set."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Sets the saved size."""
        inventory.refresh()  # another NIC may have taken the name since
        self._set(inventory, find_nic(inventory, identity).name, int(undo))
        inventory.refresh()

    def same(self, left: Json, right: Json) -> bool:
        """Equal numbers."""
        return bool(left == right)

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """The affinities of the NIC's interrupts, and all that its driver may forget when it opens the device again."""
        nic = find_nic(inventory, identity)
        interrupts = [irq.identity for irq in inventory.irqs if irq.device == nic.name and not irq.managed]
        return [("nic.settings", identity), *(("irq.affinity", each) for each in interrupts)]

    def _size(self, rings: Rings) -> int:
        raise NotImplementedError

    def _set(self, inventory: Inventory, name: str, size: int) -> None:
        raise NotImplementedError


class ReceiveRing(RingSize):
    """Receive descriptors."""

    family: ClassVar[str] = "nic.rings.rx"

    def _size(self, rings: Rings) -> int:
        return rings.rx

    def _set(self, inventory: Inventory, name: str, size: int) -> None:
        inventory.host.syscalls.set_rings(name, rx=size)


class TransmitRing(RingSize):
    """Transmit descriptors."""

    family: ClassVar[str] = "nic.rings.tx"

    def _size(self, rings: Rings) -> int:
        return rings.tx

    def _set(self, inventory: Inventory, name: str, size: int) -> None:
        inventory.host.syscalls.set_rings(name, tx=size)


def find_nic(inventory: Inventory, identity: str) -> Nic:
    """The NIC of that identity, under whatever name.

    Raises:
        Gone: no such PCI function with that address here.
    """
    nic = inventory.nic_by_identity(identity)
    if nic is None:
        raise Gone(f"no NIC {identity} on this host")
    return nic


def read_rings(inventory: Inventory, nic: Nic) -> Rings:
    """Ring sizes.

    Raises:
        Unsupported: the driver has no rings to show.
    """
    try:
        rings = inventory.host.syscalls.rings(nic.name)
    except OSError as error:
        raise Unsupported(f"{nic.driver or 'the driver'} shows no rings: {error.strerror}") from error
    if rings.rx_max == 0 and rings.tx_max == 0:
        raise Unsupported(f"{nic.driver or 'the driver'} has no rings of variable size")
    return rings


def wanted_size(wish: int | str, maximum: int) -> int:
    """Descriptors for ``4096``, ``max`` or ``max:4096`` on a ring of at most ``maximum``."""
    if isinstance(wish, int):
        return wish
    limit = wish.partition(":")[2]
    return min(maximum, int(limit)) if limit else maximum
