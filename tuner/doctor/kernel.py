"""The running kernel: its command line, its clock, its tick.

Source: Documentation/admin-guide/kernel-parameters.txt, Documentation/admin-guide/cpu-isolation.rst, kernel/time/clocksource.c.
"""

import difflib
from collections.abc import Iterator

from tuner.doctor.finding import Finding
from tuner.doctor.view import View
from tuner.host.command_line import PATH, BootWord, running
from tuner.host.cpulist import format_list
from tuner.host.text import printable
from tuner.knobs.boot_words import REFUSED, WORDS, BootCpus, means_same, normal

_CLOCK = "/sys/devices/system/clocksource/clocksource0"
_TICKS_PER_S = 10.0
_KNOWN = {normal(name): name for name in WORDS}
# Real words that are written like ours.
_OTHERS = frozenset(
    (
        "isolcpu_mode",
        "nohz",
        "noht",
        "nmi",
        "tsx",
        "iomem",
        "idle",
        "mem",
        "tsc_early_khz",
        "hugetlb_cma",
        "nosmp",
        "nosmap",
        "nosmep",
    )
)
# Values that advice on the net knows and the kernel does not (drivers/iommu/amd/init.c, drivers/iommu/intel/iommu.c).
_NO_VALUES = {("amd_iommu", "on"): "it is on by default", ("intel_iommu", "pt"): "that is iommu=pt"}


def unknown_words(view: View) -> Iterator[Finding]:
    """Words of the command line that no kernel knows, or that are nearly one that it does."""
    for word in running(view.files):
        shown = printable(str(word), 80)
        if word.name in REFUSED and "no mainline kernel" in REFUSED[word.name].reason:
            yield _word(word.name, f"{shown} is no parameter of any mainline kernel", REFUSED[word.name].instead)
        elif reason := _NO_VALUES.get((word.name, word.value or "")):
            yield _word(word.name, f"{shown} means nothing: {reason}", f"take {shown} off the command line")
        elif word.name not in _KNOWN and word.name not in _OTHERS and len(word.name) > 4 and "." not in word.name:
            close = difflib.get_close_matches(word.name, _KNOWN, n=1, cutoff=0.88)
            if close:
                meant = _KNOWN[close[0]]
                yield _word(
                    word.name, f"{shown} is not known; {meant} is", f'[boot] {meant} = "{printable(word.value or "", 60)}"'
                )
        elif word.name == "isolcpus":
            flags = BootCpus.split(word.value or "")[:-1]
            wrong = [flag for flag in flags if flag not in ("managed_irq", "domain", "nohz")]
            if wrong:
                yield _word(
                    "isolcpus", f"isolcpus= has no flag {printable(', '.join(wrong), 60)}", "[boot] isolcpus with known flags"
                )


def _word(name: str, what: str, remedy: str) -> Finding:
    return Finding(
        "boot-word",
        "medium",
        printable(name, 60),
        what,
        (PATH,),
        "the kernel passes what it does not know on to init, and says so nowhere but in its log: nobody is isolated by it",
        remedy,
    )


def contradicting_words(view: View) -> Iterator[Finding]:
    """A word that is there twice, with two values that the kernel does not merge."""
    seen: dict[str, BootWord] = {}
    for word in running(view.files):
        known = WORDS.get(_KNOWN.get(word.name, ""))
        if known is None or not known.once or word.name.startswith("hugepage"):  # pairs of sizes and counts repeat
            continue
        first = seen.setdefault(word.name, word)
        if not means_same(first, word):
            yield Finding(
                "boot-word",
                "high",
                word.name,
                f"{printable(str(first), 60)} and {printable(str(word), 60)} stand on one command line",
                (PATH,),
                "the kernel does not merge them: one of the two is dropped",
                f"leave one; [boot] {word.name} = …, once it is out of /etc/default/grub",
            )


def ignored_words(view: View) -> Iterator[Finding]:
    """nohz_full= on a kernel that was built without it."""
    for word in running(view.files):
        if word.name == "nohz_full" and not view.inventory.topology.nohz_full:
            path = "/sys/devices/system/cpu/nohz_full"
            yield Finding(
                "boot-word",
                "high",
                "nohz_full",
                f"booted with {printable(str(word), 60)}, and no CPU is without its tick",
                (PATH, f"{path}: {printable(view.files.optional(path) or 'absent', 40)}"),
                "the kernel was built without CONFIG_NO_HZ_FULL, or could not read the list",
                "a kernel with CONFIG_NO_HZ_FULL (Debian's and Red Hat's have it)",
            )


def clock(view: View) -> Iterator[Finding]:
    """Another clock than the TSC."""
    now = view.files.optional(f"{_CLOCK}/current_clocksource")
    available = (view.files.optional(f"{_CLOCK}/available_clocksource") or "").split()
    if not now or now == "tsc" or now.startswith("arch_sys"):
        return
    guest = now in ("kvm-clock", "xen") or now.startswith("hyperv")
    has_tsc = "tsc" in available
    yield Finding(
        "clocksource",
        "low" if guest else "high",
        printable(now, 40),
        f"the kernel reads {printable(now, 40)}; tsc is {'available' if has_tsc else 'not available'}",
        (
            f"{_CLOCK}/current_clocksource: {printable(now, 40)}",
            f"{_CLOCK}/available_clocksource: {printable(' '.join(available), 80)}",
        ),
        "a read of the time is a system call or a bus access then: microseconds instead of 20 ns, for every time stamp"
        if not guest
        else "a hypervisor's clock: a little slower than the TSC, which this guest may not be offered",
        '[boot] tsc = "reliable"'
        if not has_tsc and not guest
        else f"echo tsc > {_CLOCK}/current_clocksource, after the log was read: why was it not chosen?",
    )


def tick(view: View) -> Iterator[Finding]:
    """CPUs that shall have no tick, and tick."""
    ticking = {cpu: view.timer_per_s(cpu) for cpu in sorted(view.inventory.topology.nohz_full)}
    loud = {cpu: rate for cpu, rate in ticking.items() if rate > _TICKS_PER_S and view.busy_share(cpu) > 0}
    if loud:
        worst = max(loud, key=lambda cpu: loud[cpu])
        yield Finding(
            "tick",
            "medium",
            f"CPU {format_list(loud)}",
            f"{len(loud)} CPUs of nohz_full tick; CPU {worst} {loud[worst]:.0f} times a second",
            ("/proc/interrupts: LOC", "/sys/devices/system/cpu/nohz_full"),
            "the tick stops only while one thread runs there: a second one, a POSIX CPU timer or an unstable TSC keep it",
            '[isolation] cores and kernel_threads = "housekeeping", and one thread for each of these CPUs',
        )


LINTS = (unknown_words, contradicting_words, ignored_words, clock, tick)
