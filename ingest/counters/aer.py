"""PCI Express errors of a device: ``aer_dev_correctable``, ``aer_dev_nonfatal``, ``aer_dev_fatal``, and the state of its link.

Source: drivers/pci/pcie/aer.c, Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats. The AER files are counts in memory
and cost an open each; the link's speed and width are read from the device's configuration space, a µs or two on the bus, so all
of it is read every few seconds. Absent where the firmware keeps errors to itself. An error is not a packet: how many frames a
broken transfer cost nobody counts.
"""

from dataclasses import dataclass

from tuner.host.files import HostFiles

SEVERITIES = ("correctable", "nonfatal", "fatal")
_TOTAL = {"correctable": "TOTAL_ERR_COR", "nonfatal": "TOTAL_ERR_NONFATAL", "fatal": "TOTAL_ERR_FATAL"}


@dataclass(frozen=True, slots=True)
class PcieState:
    """``errors``: severity -> count, empty without AER. ``link`` says how the link is trained where that is below its best."""

    errors: dict[str, int]
    link: str


def parse(raw: str, severity: str) -> int | None:
    """The total in one AER file; None where it holds none."""
    for line in raw.split("\n"):
        name, _, count = line.strip().partition(" ")
        if name == _TOTAL[severity] and count.isascii() and count.isdigit() and len(count) < 20:
            return int(count)
    return None


def read(files: HostFiles, pci: str) -> PcieState:
    """The state of one PCI function."""
    base = f"/sys/bus/pci/devices/{pci}"
    counts = {each: parse(files.optional(f"{base}/aer_dev_{each}") or "", each) for each in SEVERITIES}
    return PcieState({each: count for each, count in counts.items() if count is not None}, _below_best(files, base))


def _below_best(files: HostFiles, base: str) -> str:
    speed, best_speed = (_speed(files.optional(f"{base}/{each}_link_speed")) for each in ("current", "max"))
    width, best_width = (files.number(f"{base}/{each}_link_width") for each in ("current", "max"))
    slow = speed is not None and best_speed is not None and 0 < speed < best_speed
    # the width reads as 255 or 0 where a device has no link of its own
    narrow = width is not None and best_width is not None and 0 < width < best_width < 64
    if not slow and not narrow:
        return ""
    return f"the link runs at {speed or 0:g} GT/s x{width or 0}, its best is {best_speed or 0:g} GT/s x{best_width or 0}"


def _speed(text: str | None) -> float | None:
    """``8.0 GT/s PCIe`` -> 8.0."""
    try:
        return float((text or "").split(" ")[0])
    except ValueError:
        return None
