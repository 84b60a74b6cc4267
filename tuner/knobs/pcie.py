"""``[pcie]`` and ``[nic.PART] aspm``: whether the links to devices may sleep.

Source: Documentation/admin-guide/kernel-parameters.txt (pcie_aspm), drivers/pci/pcie/aspm.c. Where firmware keeps ASPM
(FADT, _OSC) or ``pcie_aspm=off`` was booted, the policy's file is there all the same and takes no write (EPERM), and no
device has a ``link`` directory with switches in it: by that it is told without writing. Read sizes, relaxed ordering and the
mode of the IOMMU are not set here: they are the driver's, or the boot's.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.files import HostFiles
from tuner.host.host import Inventory
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported
from tuner.knobs.nic import find_nic
from tuner.knobs.words import WordFile, on_words
from tuner.language.entry import PART, Entry, Family, on_nic
from tuner.language.values import Flag, Word

DEVICES = "/sys/bus/pci/devices"
# in the order in which they are switched: L1 carries its substates, and takes them with it when it goes
STATES = ("l0s_aspm", "l1_aspm", "l1_1_aspm", "l1_2_aspm", "l1_1_pcipm", "l1_2_pcipm", "clkpm")
_SOURCE = "Documentation/ABI/testing/sysfs-bus-pci, drivers/pci/pcie/aspm.c"


class AspmPolicy(WordFile):
    """Which links may sleep, for the whole host; the identity is ``host``."""

    family: ClassVar[str] = "pcie.aspm_policy"
    path: ClassVar[str] = "/sys/module/pcie_aspm/parameters/policy"
    about: ClassVar[About] = About(
        "Whether PCIe links may sleep between packets",
        "performance: leaving L1 takes microseconds, at the first packet after every pause. nic.PART.aspm does it for one NIC",
        path,
        f"{DEVICES}/BDF/link/*_aspm, LnkCtl in the configuration space",
        quirks=("EPERM where firmware keeps ASPM to itself, or pcie_aspm=off was booted: told by no device having switches",),
        source=_SOURCE,
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The policy in force.

        Raises:
            Unsupported: also where the kernel would refuse every other.
        """
        reading = super().read(inventory, identity)
        files = inventory.host.files
        if not any(switches(files, device) for device in files.entries(DEVICES)):
            raise Unsupported(
                "the kernel steers no link here: firmware keeps ASPM, pcie_aspm=off was booted, or no link has it"
            )
        return reading


class LinkSleep(Knob):
    """Which sleep states a NIC's links have on: ``{PCI address: "l1_aspm clkpm"}``; the identity is ``nic.Nic.identity``.

    Both the link to the NIC and those of the bridges above it, where they have switches. Wanted is a flag.
    """

    family: ClassVar[str] = "nic.aspm"
    about: ClassVar[About] = About(
        "Whether the links between a NIC and its root port may sleep",
        "false on NICs that trade: leaving L1 takes microseconds, at the first packet after every pause",
        f"{DEVICES}/BDF/link/{{l0s,l1,l1_1,l1_2}}_aspm, clkpm",
        "the same files: what is on, whatever was asked for",
        since="5.5",
        quirks=(
            "under the policy performance nothing can be switched on",
            "only states that both ends of a link have are there",
        ),
        source=_SOURCE,
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The states that are on, by the PCI address below each link."""
        files = inventory.host.files
        links = {device: switches(files, device) for device in _way(inventory, identity)}
        if not any(links.values()):
            raise Unsupported("no link of this NIC has switches for ASPM: firmware keeps it, or no end of it has it")
        now = {
            device: " ".join(state for state in states if files.number(f"{DEVICES}/{device}/link/{state}") == 1)
            for device, states in links.items()
            if states
        }
        return Reading(now=now, effective=any(now.values()))

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Off is all off, on is any on."""
        return "ok" if reading.effective == wanted else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Switches each state that there is."""
        del options
        files = inventory.host.files
        each = {device: " ".join(switches(files, device)) if wanted else "" for device in _way(inventory, identity)}
        self.restore(inventory, identity, each)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Switches each state to what it was, and goes on where one is refused.

        Raises:
            OSError: the first refusal, after every state was tried.
        """
        files, refused = inventory.host.files, None
        mine = _way(inventory, identity)
        for device, text in undo.items():
            for state in switches(files, device) if device in mine else ():
                path, on = f"{DEVICES}/{device}/link/{state}", state in str(text).split()
                if files.number(path) == int(on):
                    continue
                try:
                    files.write(path, str(int(on)))
                except OSError as error:
                    refused = refused or error
        if refused is not None:
            raise refused

    def same(self, left: Json, right: Json) -> bool:
        """The same states on."""
        return bool(left == right)


def switches(files: HostFiles, device: str) -> Sequence[str]:
    """The sleep states that the link above a PCI function can switch."""
    there = set(files.entries(f"{DEVICES}/{device}/link"))
    return [state for state in STATES if state in there]


def _way(inventory: Inventory, identity: str) -> list[str]:
    """The PCI addresses from a NIC up to its root port."""
    nic = find_nic(inventory, identity)
    if not nic.pci:
        raise Unsupported(f"{nic.name} is no PCI function")
    parts = inventory.host.files.resolved(f"{DEVICES}/{nic.pci}").split("/")
    return [part for part in reversed(parts) if part.count(":") == 2]


FAMILY = Family(
    "PCIe",
    (AspmPolicy(), LinkSleep()),
    (
        Entry(
            ("pcie", "aspm_policy"),
            Word(("default", "performance", "powersave", "powersupersave")),
            "whether links may sleep, for the whole host",
            on_words(AspmPolicy),
        ),
        Entry(
            ("nic", PART, "aspm"), Flag(), "whether the links between the NIC and its root port may sleep", on_nic("nic.aspm")
        ),
    ),
)
