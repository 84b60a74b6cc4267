"""``nic.mtu``, ``nic.txqueuelen`` and ``nic.runtime_pm``: the interface and the function behind it.

Source: net/core/dev.c (dev_set_mtu), drivers/net/ethernet: a new MTU stops and starts most devices.
"""

from collections.abc import Sequence
from typing import ClassVar

from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.knobs.knob import About, Disruption, Reading, Unsupported
from tuner.knobs.nic import find_nic, moved_by_reset
from tuner.knobs.nic_files import NicFile
from tuner.language.entry import PART, Entry, Family, on_nic, on_nic_first
from tuner.language.values import Whole, Word

# Below it IPv6 leaves the interface with all its addresses, which do not come back (addrconf_ifdown).
_IPV6_MIN_MTU = 1280


class Mtu(NicFile):
    """The MTU."""

    family: ClassVar[str] = "nic.mtu"
    leaf: ClassVar[str] = "mtu"
    disruption: ClassVar[Disruption] = "link"
    resets: ClassVar[bool] = True
    about: ClassVar[About] = About(
        "The largest packet of the interface, in bytes",
        "1500 on a feed unless the venue says otherwise: a larger one makes larger receive buffers, and each takes more of the "
        "cache that the NIC writes to",
        "/sys/class/net/IF/mtu",
        "ip link show dev IF; a larger packet is dropped before it is counted on some NICs",
        "the link drops for up to seconds; interrupts are requested anew, and some drivers forget RSS and coalescing",
        "the old size, then everything that the driver forgot",
        quirks=(
            "igb, ixgbe, e1000e: MAC reset; bnxt, vmxnet3, i40e, ice: close and open; mlx5: channels are switched",
            "EINVAL outside what the device says (ip -d link: minmtu, maxmtu)",
            "below 1280 IPv6 is switched off on the interface with all its addresses: refused here",
            "VLANs on top follow it down, not up",
        ),
        source="net/core/dev.c, drivers/net/ethernet",
    )

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """The affinities of the NIC's interrupts, and all that its driver may forget when it opens the device again."""
        return moved_by_reset(inventory, identity)


class TransmitQueueLength(NicFile):
    """txqueuelen."""

    family: ClassVar[str] = "nic.txqueuelen"
    leaf: ClassVar[str] = "tx_queue_len"
    disruption: ClassVar[Disruption] = "link"
    about: ClassVar[About] = About(
        "Packets that pfifo and pfifo_fast queue before they drop",
        "1000, the default, on most; a smaller one where orders leave shows back-pressure earlier. noqueue and fq do not look "
        "at it",
        "/sys/class/net/IF/tx_queue_len",
        risk="sending stops for a moment, and what waits in the queues is dropped",
        source="net/core/dev.c (dev_change_tx_queue_len), net/sched/sch_generic.c",
    )


class RuntimePm(NicFile):
    """power/control of the PCI function."""

    family: ClassVar[str] = "nic.runtime_pm"
    leaf: ClassVar[str] = "power/control"
    about: ClassVar[About] = About(
        "Whether the kernel may put the NIC's PCI function to sleep while it seems idle",
        "on (never asleep) on every NIC that trades: waking takes milliseconds, and igb and e1000e suspend a port without "
        "carrier",
        "/sys/bus/pci/devices/ADDRESS/power/control",
        "runtime_status beside it",
        quirks=("a function whose driver does not take part shows auto, and stays active",),
        source="Documentation/power/runtime_pm.rst, Documentation/ABI/testing/sysfs-devices-power",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """``on`` or ``auto``; what it does now as a note."""
        nic = find_nic(inventory, identity)
        if nic.pci is None:
            raise Unsupported(f"no PCI function stands behind {nic.name}")
        reading = NicFile.read(self, inventory, identity)
        status = inventory.host.files.optional(f"/sys/bus/pci/devices/{nic.pci}/power/runtime_status")
        return Reading(reading.now, reading.effective, note=f"the function is {status}" if status else "")

    def path(self, nic: Nic) -> str:
        """The file of the function."""
        return f"/sys/bus/pci/devices/{nic.pci}/power/control"


FAMILY = Family(
    "Interface",
    (Mtu(), TransmitQueueLength(), RuntimePm()),
    (
        Entry(
            ("nic", PART, "mtu"),
            Whole(_IPV6_MIN_MTU, 65535, "bytes", bounds=False),
            "the largest packet",
            on_nic("nic.mtu"),
        ),
        Entry(
            ("nic", PART, "txqueuelen"),
            Whole(0, 1_000_000, "packets", bounds=False),
            "packets that pfifo_fast queues",
            on_nic("nic.txqueuelen"),
        ),
        Entry(
            ("nic", PART, "runtime_pm"),
            Word(("on", "auto")),
            "on: the PCI function never sleeps",
            on_nic_first("nic.runtime_pm"),
        ),
    ),
)
