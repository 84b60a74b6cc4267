"""What an interrupt does to cores that should have none, by where it landed and where it may land.

Names of rows without a number: arch/x86/kernel/irq.c, arch_show_interrupts; arch/arm64/kernel/smp.c, ipi_types.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from ingest.sample import IrqSample
from tuner.host.cpulist import CpuListError, CpuSet, format_list, parse_list

OK, BREAK, WIDE, MANAGED, INFO, UNSEEN = "ok", "BREAK", "WIDE", "managed", "info", "unseen"
SEVERITY = {BREAK: 5, WIDE: 4, UNSEEN: 3, MANAGED: 2, OK: 1, INFO: 0}
TICKS = ("LOC", "BTT")  # the tick: not moved by an affinity, but stopped by nohz_full
_COUNTS = ("ERR", "MIS")  # of what went wrong, no interrupts of a CPU
_IPIS = ("RES", "CAL", "TLB")
_NONE: CpuSet = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """``policy`` is one of the words above. ``stray`` is what lands on reserved cores, per second; ``cpu`` has most of it."""

    policy: str
    why: str = ""
    stray_per_s: float = 0.0
    cpu: int | None = None

    @property
    def severity(self) -> int:
        """How much it deserves to be looked at: 5 most."""
        return SEVERITY[self.policy]


def verdict(irq: IrqSample, reserved: CpuSet) -> Verdict:
    """Whether an interrupt is where it should be.

    Args:
        irq: a row of the sample.
        reserved: the CPUs whose role is in ``ingest.judgement.RESERVED``; where there are none, nothing can be broken.
    """
    numbered = irq.irq.isascii() and irq.irq.isdigit()
    if irq.irq in _COUNTS:
        return Verdict(INFO, "a count, no interrupt of a core")
    landed = [(per_s, cpu) for cpu, per_s in irq.per_cpu_per_s if cpu in reserved] if reserved else []
    if irq.irq in TICKS:
        return _tick(landed, len(reserved))
    if landed:
        cpu = max(landed)[1]
        where = f"isolated core {cpu}" if len(landed) == 1 else f"{len(landed)} isolated cores, most on {cpu}"
        also = "; its place is the kernel's choice (managed)" if irq.managed else ""
        return Verdict(BREAK, f"lands on {where}{also}", sum([per_s for per_s, _ in landed]), cpu)
    if not numbered:
        return Verdict(OK if irq.irq in _IPIS or irq.irq.startswith("IPI") else INFO)
    if irq.managed:
        return Verdict(MANAGED, "its place is the kernel's choice")
    if not irq.requested and not irq.effective:
        return Verdict(UNSEEN, "its affinity is not readable, or it is new")
    return _allowed(irq.requested, irq.effective, reserved)


@lru_cache(maxsize=4096)
def _allowed(requested: str, effective: str, reserved: CpuSet) -> Verdict:
    there = cpus_of(effective) & reserved
    if there:
        return Verdict(WIDE, f"set to isolated cores {shortened(there)}, silent now")
    may = cpus_of(requested) & reserved
    return Verdict(WIDE, f"may go to isolated cores {shortened(may)}") if may else Verdict(OK)


def _tick(landed: Collection[tuple[float, int]], reserved: int) -> Verdict:
    if not landed:
        return Verdict(INFO, f"the tick: none on {reserved} isolated cores" if reserved else "the tick")
    most, cpu = max(landed)
    return Verdict(INFO, f"the tick: on {len(landed)} of {reserved} isolated cores, at most {most:.0f}/s", 0.0, cpu)


def cpus_of(text: str) -> CpuSet:
    """A CPU list of a sample; none where it cannot be read."""
    try:
        return parse_list(text)
    except CpuListError:
        return _NONE


@lru_cache(maxsize=128)
def listed(cpus: tuple[int, ...]) -> str:
    """CPUs as a list, for those that come again and again."""
    return format_list(cpus)


def shortened(cpus: Collection[int], parts: int = 4) -> str:
    """A list of CPUs for a sentence: of many ranges the first."""
    ranges = format_list(cpus).split(",")
    return ",".join(ranges[:parts]) + (f" and {len(ranges) - parts} more" if len(ranges) > parts else "")


def runs_on(irq: IrqSample) -> str:
    """Where it ran since the sample before, and where it is set to run, as a list."""
    moved = tuple([cpu for cpu, _ in irq.per_cpu_per_s])
    if not moved or (len(moved) == 1 and irq.effective == str(moved[0])):
        return irq.effective
    return listed(tuple(sorted({*moved, *cpus_of(irq.effective)}))) if irq.effective else listed(moved)


def main_cpu(irq: IrqSample, found: Verdict) -> int | None:
    """The core to look at: the reserved one that it disturbs, else where most of it lands, else where it is set to."""
    if found.cpu is not None and found.policy == BREAK:
        return found.cpu
    if irq.per_cpu_per_s:
        return max(irq.per_cpu_per_s, key=lambda each: each[1])[0]
    return min(cpus_of(irq.effective), default=None)
