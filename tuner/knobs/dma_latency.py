"""``power.dma_latency_us``: the longest exit latency of any CPU's idle state, held by a process that lives on after this one.

Source: Documentation/power/pm_qos_interface.rst, kernel/power/qos.c. The limit is in force for as long as somebody keeps
/dev/cpu_dma_latency open; the least of all limits counts. What holds ours is ``tuner.host.dma_latency``'s.
"""

import errno
from collections.abc import Mapping
from typing import ClassVar

from tuner.host.host import Inventory
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported


class DmaLatency(Knob):
    """What our own process holds, in µs, or None; effective is the least of all that is held. The identity is ``host``."""

    family: ClassVar[str] = "power.dma_latency_us"
    about: ClassVar[About] = About(
        "The longest exit latency of the idle states of all CPUs, in µs, held by a process of its own",
        "0 or 1 keeps the whole host awake: heat, and less turbo for the cores that matter. power.resume_latency_us does it "
        "core by core and needs no process: prefer that",
        "/dev/cpu_dma_latency",
        "the same file, read: the least of all that is held",
        undo="the process ends, or holds again what it held before",
        quirks=(
            "in force only while its holder lives: a unit of systemd that starts again, else a process in a session of its own",
            "four bytes are a binary number, any other length is hexadecimal text: 0x10 written as text is 808548400 µs",
            "others may hold less: then the effective value is theirs",
        ),
        source="Documentation/power/pm_qos_interface.rst, kernel/power/qos.c",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """What ours holds, and what is in force; a holder that died is named."""
        del identity
        try:
            found = inventory.host.syscalls.dma_latency()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                raise Unsupported("this host has no /dev/cpu_dma_latency") from error
            raise
        note = found.ended
        if found.held_us is not None and found.effective_us is not None and found.effective_us < found.held_us:
            note = f"others hold {found.effective_us} µs"
        return Reading(now=found.held_us, effective=found.effective_us, note=note)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where ours holds it and nothing longer is in force; another's limit is not ours and may go at any time."""
        if reading.now != wanted:
            return "differs"
        if reading.effective is None:
            return "unverifiable"
        return "ok" if int(reading.effective) <= int(wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Starts the holder, then ends one that held something else."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """What was held before; nothing ends our holder, and nobody else's."""
        del identity
        if undo is None:
            inventory.host.syscalls.release_dma_latency()
        else:
            inventory.host.syscalls.hold_dma_latency(int(undo))

    def same(self, left: Json, right: Json) -> bool:
        """Equal."""
        return bool(left == right)
