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
from tuner.knobs.knob import About, Disruption, Json, Knob, Reading, State, Unsupported
from tuner.knobs.nic import find_nic, moved_by_reset
from tuner.language.entry import PART, Entry, Family
from tuner.language.request import Request
from tuner.language.values import Whole
from tuner.profile import Place, Setting

_QUIRKS = (
    "igb, ixgbe, e1000e: MAC reset, seconds without carrier; a size out of range is clamped in silence",
    "i40e, ice: queues stop, the link stays; out of range is EINVAL, and EBUSY while an AF_XDP zero-copy ring is bound",
    "bnxt: close and open; mlx5: channels are switched in parallel, rounded up to a power of two",
    "sizes are rounded up: by 8 on Intel 1G and 10G, by 32 on i40e and ice",
    "a guest's virtio NIC without the ring-reset feature answers ENOENT",
)
_SOURCE = "include/uapi/linux/ethtool.h (struct ethtool_ringparam), drivers/net/ethernet"


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
        return moved_by_reset(inventory, identity)

    def _size(self, rings: Rings) -> int:
        raise NotImplementedError

    def _set(self, inventory: Inventory, name: str, size: int) -> None:
        raise NotImplementedError


class ReceiveRing(RingSize):
    """Receive descriptors."""

    family: ClassVar[str] = "nic.rings.rx"
    about: ClassVar[About] = About(
        "Receive descriptors of each queue",
        "Each is time that a receiving core may be late before packets are lost. As deep as fits the share of the last-level "
        "cache into which the NIC writes (1024 to 4096) on a feed; 256 to 512 where orders leave; the maximum only where loss "
        "for want of descriptors was seen",
        "ethtool -g IF",
        risk="the link drops for up to seconds; interrupts are requested anew, and some drivers forget RSS and coalescing",
        undo="the old size, then everything that the driver forgot",
        quirks=_QUIRKS,
        source=_SOURCE,
    )

    def _size(self, rings: Rings) -> int:
        return rings.rx

    def _set(self, inventory: Inventory, name: str, size: int) -> None:
        inventory.host.syscalls.set_rings(name, rx=size)


class TransmitRing(RingSize):
    """Transmit descriptors."""

    family: ClassVar[str] = "nic.rings.tx"
    about: ClassVar[About] = About(
        "Transmit descriptors of each queue",
        "Deep rings hide back-pressure from the sender: 256 to 512 where orders leave, the driver's default elsewhere",
        "ethtool -g IF",
        risk="as nic.rings.rx",
        undo="the old size, then everything that the driver forgot",
        quirks=_QUIRKS,
        source=_SOURCE,
    )

    def _size(self, rings: Rings) -> int:
        return rings.tx

    def _set(self, inventory: Inventory, name: str, size: int) -> None:
        inventory.host.syscalls.set_rings(name, tx=size)


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


def _ask(request: Request, place: Place, setting: Setting) -> None:
    ring, nic = place[-1], request.nic(place[1])
    try:
        rings = read_rings(request.inventory, nic)
    except Unsupported:
        request.wish(f"nic.rings.{ring}", nic.name, nic.identity, setting.value, setting)
        return
    now, maximum = (rings.rx, rings.rx_max) if ring == "rx" else (rings.tx, rings.tx_max)
    size = request.amount(setting, setting.value, now, maximum)
    request.wish(f"nic.rings.{ring}", nic.name, nic.identity, size, setting)


_SIZE = Whole(1, 1 << 20, "descriptors", maximum=True, example='for example 4096, "max", or "max:4096" for at most 4096')

FAMILY = Family(
    "NIC rings",
    (ReceiveRing(), TransmitRing()),
    (
        Entry(("nic", PART, "rings", "rx"), _SIZE, "receive descriptors of each queue", _ask),
        Entry(("nic", PART, "rings", "tx"), _SIZE, "transmit descriptors of each queue", _ask),
    ),
)
