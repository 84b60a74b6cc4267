"""Sysctls that are no plain numbers to the kernel: they round, take nonsense without a word, or have a floor that moves.

Source: kernel/watchdog.c (proc_watchdog_cpumask), net/core/sysctl_net_core.c (rps_sock_flow_sysctl, netdev_budget_usecs).
"""

import re
import zlib
from typing import ClassVar

from tuner.host.cpulist import CpuListError, format_list, parse_list
from tuner.host.host import Inventory
from tuner.knobs.knob import Json, Reading, State
from tuner.knobs.sysctl import Sysctl, path_of
from tuner.knobs.sysctl_notes import FLOW_ENTRIES, WATCHDOG_CPUMASK
from tuner.language.entry import Family
from tuner.language.request import Request
from tuner.language.values import AT_LEAST, AT_MOST
from tuner.profile import Setting

BUDGET_USECS = "net.core.netdev_budget_usecs"
_HZ = re.compile(rb"^CONFIG_HZ=(\d{2,4})$", re.MULTILINE)
_CONFIG_LIMIT = 1 << 20  # a kernel's configuration is 300 KiB of text


class FlowEntries(Sysctl):
    """net.core.rps_sock_flow_entries."""

    family: ClassVar[str] = f"sysctl.{FLOW_ENTRIES}"

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal, or the power of two above."""
        if reading.now == wanted:
            return "ok"
        number = wanted if isinstance(wanted, int) else 0
        return "ok-rounded" if number > 0 and reading.now == 1 << (number - 1).bit_length() else "differs"


class WatchdogCpus(Sysctl):
    """kernel.watchdog_cpumask."""

    family: ClassVar[str] = f"sysctl.{WATCHDOG_CPUMASK}"

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal sets of CPUs."""
        return "ok" if self.same(reading.now, wanted) else "differs"

    def same(self, left: Json, right: Json) -> bool:
        """Equal sets of CPUs, however they are written."""
        try:
            return parse_list(str(left)) == parse_list(str(right))
        except CpuListError:
            return str(left) == str(right)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes the saved list; an empty one is a line end, for no bytes at all are no write."""
        super().restore(inventory, identity, str(undo) or "\n")


def resolve(request: Request, setting: Setting, key: str, value: Json) -> Json:
    """What a setting of ``[sysctl]`` means here; a fault where the kernel would refuse it, or quietly do something else."""
    if key == WATCHDOG_CPUMASK:  # absent CPUs are dropped in silence, down to an empty mask
        return format_list(request.cpus(setting, str(value)))
    if key == BUDGET_USECS and isinstance(value, int) and (hz := ticks_per_s(request.inventory)):
        floor = 2 * 1_000_000 // hz
        if value < floor:
            request.fault(
                setting, f"is {value}; this kernel ticks {hz} times a second, and takes two ticks or more", f"{floor} or more"
            )
    return value


def ticks_per_s(inventory: Inventory) -> int | None:
    """CONFIG_HZ of the running kernel; None where nothing readable says it."""
    files = inventory.host.files
    try:
        text = zlib.decompressobj(31).decompress(files.read("/proc/config.gz"), _CONFIG_LIMIT)
    except (OSError, zlib.error):
        try:
            text = files.read(f"/boot/config-{inventory.host.kernel}")
        except (OSError, ValueError):
            return None
    match = _HZ.search(text)
    return int(match[1]) if match and int(match[1]) else None


def _ask(request: Request) -> None:
    for place, setting in request.profile.below("sysctl").items():
        key, value = place[0], setting.value
        if isinstance(value, str) and value.startswith((AT_LEAST, AT_MOST)):
            value = request.amount(setting, value, request.inventory.host.files.number(path_of(key)))
        request.wish(f"sysctl.{key}", "host", key, resolve(request, setting, key, value), setting)


FAMILY = Family("Sysctls", (Sysctl(), FlowEntries(), WatchdogCpus()), ask=_ask)
