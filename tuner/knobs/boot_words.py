"""Words of the kernel's command line that a profile may set: what each takes, what it is good for, and when two mean the same.

Source: Documentation/admin-guide/kernel-parameters.txt, kernel/sched/isolation.c, Documentation/admin-guide/cpu-isolation.rst.
A list, because the kernel says nothing of words that it does not know: ``kthread_cpus=``, which advice on the net and shipped
tools set, was never in a mainline kernel.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tuner.host.command_line import BootWord
from tuner.host.cpulist import CpuListError, CpuSet, parse_list
from tuner.host.text import printable
from tuner.language.values import UNSAFE, Flag, Json, Kind, Report, Schema, Text, Whole, Word

_SET = re.compile(r"\{([^{}]{1,900})\}")
_SIZE = re.compile(r"(\d{1,9})([KMGkmg])")
_DIGITS = re.compile(r"\d{1,18}")
# For editors, which cannot tell a range that runs backwards: parts of a CPU list, with commas or blanks between them.
_NUMBER = "0{0,30}[0-9]{1,9}"
_PART = f"{_NUMBER}(?:-{_NUMBER}(?::{_NUMBER}/{_NUMBER})?)?"
_LIST = f"[ ,]*{_PART}(?:[ ,]+{_PART})*[ ,]*"


@dataclass(frozen=True, slots=True)
class BootCpus:
    """CPUs of a boot word: core sets in braces, behind the flags that the word takes: ``managed_irq,{rx + app}``."""

    flags: tuple[str, ...] = ()

    def check(self, value: object, report: Report) -> Json:
        """Known flags, then one core set in braces or a CPU list."""
        text = Text(self._example()).check(value, report)
        if text is None:
            return None
        *flags, cpus = self.split(text)
        for flag in flags:
            if flag not in self.flags:
                known = f"known: {', '.join(self.flags)}" if self.flags else f"it takes none; for example {self._example()}"
                report(f"unknown flag '{printable(flag, 40)}'", known)
                return None
        if _SET.fullmatch(cpus):
            return text
        try:
            if not parse_list(cpus):
                raise CpuListError("no CPU")
        except CpuListError as error:
            report(f"not a core set in braces: {printable(str(error), 80)}", f"for example {self._example()}")
            return None
        return text

    @staticmethod
    def split(text: str) -> list[str]:
        """Flags, then the CPUs as they are written."""
        flags: list[str] = []
        rest = text.strip()
        while match := re.match(r"([a-z_]+)\s*,\s*(.*)", rest, re.DOTALL):
            flags.append(match[1])
            rest = match[2]
        return [*flags, rest]

    def expressions(self, value: Json) -> Iterable[str]:
        """What stands in braces."""
        return _SET.findall(str(value))

    def schema(self) -> Schema:
        """A string; that a CPU list has a CPU below the highest possible is left to the checker."""
        flags = rf"(?:(?:{'|'.join(self.flags)})\s*,\s*)*" if self.flags else ""
        pattern = rf"^\s*{flags}(?:\{{[^{{}}{UNSAFE}]{{1,900}}\}}|{_LIST})\s*$"
        return {"type": "string", "maxLength": 1000, "pattern": pattern}

    def words(self) -> str:
        """For people."""
        flags = f"{', '.join(f'`{flag}`' for flag in self.flags)}, then " if self.flags else ""
        return f"{flags}a core set in braces, as `{self._example()}`"

    def sample(self) -> str:
        """The example."""
        return self._example()

    def _example(self) -> str:
        return '"managed_irq,{rx + app}"' if self.flags else '"{rx + app}"'


@dataclass(frozen=True, slots=True)
class Never:
    """A word that is refused, with the reason."""

    reason: str
    instead: str = ""

    def check(self, value: object, report: Report) -> Json:
        """Always a fault."""
        del value
        report(self.reason, self.instead)

    def expressions(self, value: Json) -> Iterable[str]:
        """None."""
        del value
        return ()

    def schema(self) -> Schema:
        """Nothing fits."""
        return {"not": {}}

    def words(self) -> str:
        """For people."""
        return f"refused: {self.reason}"

    def sample(self) -> str:
        """None is taken."""
        return ""


@dataclass(frozen=True, slots=True)
class Known:
    """One word: what it takes, one line of what for; ``once``: a second one of another value is not merged but breaks it."""

    kind: Kind
    about: str
    once: bool = False


_ON = Whole(0, 1, bounds=False)
_PAGE = Word(("2M", "1G"))

WORDS: dict[str, Known] = {
    "isolcpus": Known(
        BootCpus(("managed_irq", "domain", "nohz")),
        "keep managed interrupts (managed_irq) or the scheduler (domain) off CPUs; for tasks prefer [isolation], which can be "
        "undone on the run",
        once=True,
    ),
    "nohz_full": Known(BootCpus(), "no tick where one thread runs that makes no system calls; offloads RCU, too", once=True),
    "rcu_nocbs": Known(BootCpus(), "RCU callbacks of these CPUs run in threads that can be moved", once=True),
    "rcu_nocb_poll": Known(Flag(), "those threads poll, so that RX cores need not wake them"),
    "irqaffinity": Known(BootCpus(), "where interrupts go that drivers ask for from boot on: housekeeping", once=True),
    "threadirqs": Known(Flag(), "interrupt handlers as threads; raises latency without PREEMPT_RT"),
    "skew_tick": Known(_ON, "ticks of the CPUs at different moments: less contention where several RX cores keep theirs"),
    "nohz": Known(Word(("on", "off")), "the tick stops on idle CPUs"),
    "preempt": Known(Word(("none", "voluntary", "full", "lazy")), "the model of preemption (PREEMPT_DYNAMIC)"),
    "tsc": Known(Word(("reliable", "nowatchdog")), "no second clock watches the TSC: one timer less, and no false alarm"),
    "clocksource": Known(Word(("tsc", "hpet", "acpi_pm", "kvm-clock")), "the clock that the kernel reads"),
    "transparent_hugepage": Known(Word(("always", "madvise", "never")), "huge pages behind a program's back"),
    "default_hugepagesz": Known(_PAGE, "the size of huge pages that is meant where none is named", once=True),
    "hugepagesz": Known(_PAGE, "the size of the pages that hugepages counts", once=True),
    "hugepages": Known(
        Whole(1, 1 << 24, "pages", bounds=False), "pages taken at boot, where 1G pages are still to be had", once=True
    ),
    "numa_balancing": Known(Word(("enable", "disable")), "page faults to find out which node uses a page"),
    "iommu": Known(Word(("pt", "off")), "pt: devices of the host bypass translation; off: no IOMMU, no vfio"),
    "iommu.passthrough": Known(_ON, "1: the same as iommu=pt, on every architecture"),
    "iommu.strict": Known(_ON, "0: unmapping is flushed later, in batches"),
    "intel_iommu": Known(Word(("on", "off")), "the IOMMU of Intel's platforms"),
    "amd_iommu": Known(Word(("off", "fullflush")), "the IOMMU of AMD's platforms; on is no value of it"),
    "nosoftlockup": Known(Flag(), "no watchdog thread for CPUs that do not schedule: an RX core is meant not to"),
    "nowatchdog": Known(Flag(), "neither that one nor the NMI watchdog"),
    "nmi_watchdog": Known(_ON, "0: no interrupt of the performance counters, and one counter more"),
    "processor.max_cstate": Known(Whole(0, 9, bounds=False), "the deepest C-state of acpi_idle; prefer the knobs of [power]"),
    "intel_idle.max_cstate": Known(
        Whole(0, 9, bounds=False), "the same of intel_idle; 0 does not switch C-states off but falls back to acpi_idle"
    ),
    "idle": Known(Word(("poll", "halt", "nomwait")), "poll: no CPU ever sleeps: heat, and siblings slow one another"),
    "cpuidle.off": Known(_ON, "1: no idle driver at all"),
    "intel_pstate": Known(Word(("disable", "passive", "active", "no_hwp")), "how Intel's frequencies are driven"),
    "amd_pstate": Known(Word(("disable", "passive", "active", "guided")), "how AMD's frequencies are driven"),
    "nosmt": Known(Flag(), "one thread a core; can be switched on again at run time"),
    "rcupdate.rcu_expedited": Known(_ON, "1: short grace periods, by interrupting every CPU: not on RX cores"),
    "rcupdate.rcu_normal": Known(_ON, "1: never short ones"),
    "rcupdate.rcu_normal_after_boot": Known(_ON, "1: short grace periods while booting only"),
    "rcutree.kthread_prio": Known(Whole(0, 99, bounds=False), "the priority of RCU's threads, above that of spinning ones"),
    "rcutree.nohz_full_patience_delay": Known(
        Whole(0, 5000, "ms", bounds=False), "how long RCU lets a nohz_full CPU be (6.11 and newer)"
    ),
    "rcutree.use_softirq": Known(_ON, "0: RCU's work in threads, not in softirqs"),
    "workqueue.power_efficient": Known(_ON, "1: much work that is bound to a CPU need not run there"),
    "workqueue.unbound_cpus": Known(BootCpus(), "where unbound work runs from boot on"),
    "mce": Known(Word(("ignore_ce", "no_cmci", "off")), "ignore_ce: corrected errors are not polled for, and not counted"),
    "audit": Known(_ON, "0: no audit hook in every system call"),
    "split_lock_detect": Known(Word(("off", "warn", "fatal")), "what a split lock costs the program that does it"),
    "pcie_aspm": Known(Word(("off",)), "off: the firmware's power states of links stay as they are"),
    "pcie_aspm.policy": Known(Word(("default", "performance", "powersave")), "performance: links never sleep"),
    "systemd.unified_cgroup_hierarchy": Known(_ON, "1: cgroup v2, which [isolation] needs"),
    "mitigations": Known(
        Word(("auto", "auto,nosmt", "off")), "what protects processes from one another; off only with insecure = true"
    ),
}
REFUSED: dict[str, Never] = {
    "kthread_cpus": Never(
        "no mainline kernel knows this word", "isolation.kernel_threads moves them, irqaffinity and rcu_nocbs at boot"
    ),
    "nospectre_v2": Never("one mitigation alone is not a profile's to switch off", "mitigations, or the command line by hand"),
    "nopti": Never("one mitigation alone is not a profile's to switch off", "mitigations, or the command line by hand"),
}
CPU_WORDS = frozenset(name for name, known in WORDS.items() if isinstance(known.kind, BootCpus))


def normal(name: str) -> str:
    """The name as ``tuner.host.command_line`` has it."""
    return name.replace("-", "_")


def means_same(left: BootWord, right: BootWord) -> bool:
    """Whether two words of one name ask for the same."""
    if left.name != right.name:
        return False
    ours, theirs = left.value, right.value
    if ours is None or theirs is None:
        return ours == theirs
    if left.name in CPU_WORDS:
        return _cpus(ours) == _cpus(theirs)
    return _plain(ours) == _plain(theirs)


def cpus_of(word: BootWord) -> CpuSet:
    """The CPUs of a CPU word; none where it has none."""
    return _cpus(word.value or "")[1]


def _cpus(text: str) -> tuple[frozenset[str], CpuSet]:
    *flags, cpus = BootCpus.split(text)
    try:
        return frozenset(flags or ["domain"]), parse_list(cpus)
    except CpuListError:  # "all" and "N" are for the kernel to read
        return frozenset({text}), frozenset()


def _plain(text: str) -> str | int:
    if match := _SIZE.fullmatch(text):
        return int(match[1]) << {"k": 10, "m": 20, "g": 30}[match[2].lower()]
    return int(text) if _DIGITS.fullmatch(text) else text
