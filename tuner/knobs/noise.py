"""``[noise]``: what the kernel does to every core now and then: machine-check polls, the fair server, preemption.

The settings of the scheduler are below debugfs, which has to be mounted and which a locked-down kernel closes to everybody
(security/lockdown: LOCKDOWN_DEBUGFS, EPERM on each open). Sysctls that belong here are under ``[sysctl]``: ``kernel.printk``
(a serial console stalls whoever prints), ``kernel.split_lock_mitigate``, ``kernel.nmi_watchdog``, ``kernel.timer_migration``.
"""

import errno
import re
from typing import ClassVar

from tuner.host.cpulist import parse_list
from tuner.host.files import HostFiles
from tuner.host.host import Inventory
from tuner.host.text import is_number
from tuner.knobs.knob import About, Json, Reading, Unsupported
from tuner.knobs.plain import CpuFiles, HostFile
from tuner.language.entry import Entry, Family, on_host
from tuner.language.request import Request
from tuner.language.tables import PerCpu
from tuner.language.values import Flag, Whole, Word
from tuner.profile import Place, Setting

MACHINE_CHECK = "/sys/devices/system/machinecheck"
DEBUG = "/sys/kernel/debug"
PREEMPT = f"{DEBUG}/sched/preempt"
_CHOSEN = re.compile(r"\(([a-z]+)\)")


class MachineCheck(HostFile):
    """A setting of the machine-check code: one for the host, though each CPU has a file for it. The identity is ``host``."""

    leaf: ClassVar[str]

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """What the first CPU's file says: they all show the same variable."""
        del identity
        value = self.parse(inventory.host.files.text(self._file(inventory.host.files)))
        return Reading(now=value, effective=value)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """One write: it sets the variable and restarts or stops the polling of every CPU."""
        del identity
        inventory.host.files.write(self._file(inventory.host.files), self.spell(undo))

    def same(self, left: Json, right: Json) -> bool:
        """Equal numbers; a flag is 1 or 0."""
        return bool(int(left) == int(right))

    def _file(self, files: HostFiles) -> str:
        for name in files.entries(MACHINE_CHECK):
            number = name.removeprefix("machinecheck")
            if is_number(number) and files.exists(f"{MACHINE_CHECK}/{name}/{self.leaf}"):
                return f"{MACHINE_CHECK}/{name}/{self.leaf}"
        raise Unsupported(f"this host has no {MACHINE_CHECK}/machinecheck0/{self.leaf} (a guest, or no x86)")


class IgnoreCorrectedErrors(MachineCheck):
    """1 where corrected errors are neither polled for nor reported."""

    family: ClassVar[str] = "noise.ignore_corrected_errors"
    about: ClassVar[About] = About(
        "Whether corrected memory and cache errors are left alone",
        "Polling for them, and the interrupt of one (CMCI), take any core for some microseconds, an EDAC decode for more. Only "
        "where a service processor watches the memory: rasdaemon and EDAC learn nothing any more",
        "/sys/devices/system/machinecheck/machinecheck0/ignore_ce",
        "rows MCP and THR of /proc/interrupts stand still",
        "each CPU is interrupted once to switch its banks",
        since="2.6.32",
        quirks=("a file for each CPU shows and sets one variable of the host", "guests without machine checks have none"),
        source="Documentation/arch/x86/x86_64/machinecheck.rst, arch/x86/kernel/cpu/mce/core.c (set_ignore_ce)",
    )
    leaf: ClassVar[str] = "ignore_ce"


class MachineCheckInterval(MachineCheck):
    """Seconds between polls for corrected errors; 0 is never."""

    family: ClassVar[str] = "noise.mce_check_interval"
    about: ClassVar[About] = About(
        "How often each CPU polls its machine-check banks for corrected errors, in seconds",
        "0 takes a timer off every core and keeps the reporting of errors that interrupt; the default is 300",
        "/sys/devices/system/machinecheck/machinecheck0/check_interval",
        "row MCP of /proc/interrupts stands still",
        "each CPU is interrupted once to restart its timer",
        quirks=(
            "a file for each CPU shows and sets one variable of the host",
            "after an error the kernel polls more often by itself, down to 10 ms, and slows down again",
        ),
        source="Documentation/arch/x86/x86_64/machinecheck.rst, arch/x86/kernel/cpu/mce/core.c (store_int_with_restart)",
    )
    leaf: ClassVar[str] = "check_interval"


class FairServer(CpuFiles):
    """Nanoseconds a period that a CPU keeps for ordinary threads against real-time ones."""

    family: ClassVar[str] = "noise.fair_server_runtime_ns"
    about: ClassVar[About] = About(
        "How long in each period ordinary threads are let run on a CPU before a real-time thread that never sleeps, in ns",
        "Only for SCHED_FIFO threads that spin: an ordinary thread that waits there (a bound kernel worker) takes 50 ms of "
        "each second from them. On housekeeping cores leave it alone: it is what keeps a host alive under a runaway thread",
        "/sys/kernel/debug/sched/fair_server/cpuN/runtime",
        "the same file; kernel.sched_rt_runtime_us does not show it",
        "with 0 nothing but the spinning thread ever runs there: what is queued to the CPU waits for ever, and all behind it",
        since="6.12",
        quirks=(
            "more than the period (1 s) is EINVAL; what its bandwidth does not allow is EBUSY",
            "needs debugfs, and a kernel that is not locked down",
        ),
        source="kernel/sched/debug.c (sched_fair_server_write), kernel/sched/deadline.c",
    )
    leaf: ClassVar[str] = "runtime"

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The runtime of each CPU."""
        cpu = min(parse_list(identity), default=0)
        _debug_text(inventory.host.files, self.path(inventory, cpu), "before 6.12 there is none")
        return super().read(inventory, identity)

    def path(self, inventory: Inventory, cpu: int) -> str:
        """The file of one CPU."""
        del inventory
        return f"{DEBUG}/sched/fair_server/cpu{cpu}/{self.leaf}"


class Preemption(HostFile):
    """When the kernel lets itself be interrupted by a thread that shall run: one of none, voluntary, full, lazy."""

    family: ClassVar[str] = "noise.preempt"
    about: ClassVar[About] = About(
        "The preemption model of the kernel, where it can be switched at run time",
        "full: a thread that wakes runs at once, also while the kernel works for another; none and voluntary: the kernel's "
        "work is done first. On isolated cores with one thread each it is all the same; it counts where threads share cores",
        PREEMPT,
        risk="code of the kernel is patched: every CPU is interrupted a few times",
        since="5.12",
        quirks=(
            "the one in force stands in round brackets",
            "lazy: 6.13; with PREEMPT_RT there is no choice but full and lazy",
            "needs CONFIG_PREEMPT_DYNAMIC, debugfs, and no lockdown; preempt= at boot needs only the first",
        ),
        source="kernel/sched/debug.c (sched_dynamic_write), kernel/sched/core.c (sched_dynamic_update)",
    )
    path: ClassVar[str] = PREEMPT

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The model in force; the note has the others."""
        del identity
        text = _debug_text(inventory.host.files, PREEMPT, "this kernel was built without CONFIG_PREEMPT_DYNAMIC")
        now = self.parse(text)
        return Reading(now=now, effective=now, note=f"offered: {', '.join(offered_models(text))}")

    def parse(self, text: str) -> Json:
        """The word in brackets."""
        match = _CHOSEN.search(text)
        return match[1] if match else text


def offered_models(text: str) -> tuple[str, ...]:
    """All words of ``none (voluntary) full``."""
    return tuple(text.replace("(", " ").replace(")", " ").split())


def _debug_text(files: HostFiles, path: str, otherwise: str) -> str:
    """The text of a file of debugfs.

    Raises:
        Unsupported: with what is missing: the mount, the file, or the leave of a locked-down kernel.
        PermissionError: only root may look.
    """
    try:
        return files.text(path)
    except FileNotFoundError as error:
        if not files.exists(f"{DEBUG}/sched"):
            raise Unsupported(f"debugfs is not mounted on {DEBUG} (mount -t debugfs none {DEBUG})") from error
        raise Unsupported(f"this kernel has no {path}: {otherwise}") from error
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        raise Unsupported(f"the kernel is locked down, and debugfs with it: {path} cannot be opened by anybody") from error


def _fair_server(request: Request, place: Place, setting: Setting) -> None:
    del place
    for cpus, value in request.by_cpus(setting):
        now = request.inventory.host.files.number(f"{DEBUG}/sched/fair_server/cpu{min(parse_list(cpus))}/runtime")
        amount = request.amount(setting, value, now)
        request.wish("noise.fair_server_runtime_ns", f"CPU {cpus}", cpus, amount, setting)


def _interval(request: Request, place: Place, setting: Setting) -> None:
    del place
    now = request.inventory.host.files.number(f"{MACHINE_CHECK}/machinecheck0/check_interval")
    amount = request.amount(setting, setting.value, now)
    request.wish("noise.mce_check_interval", "host", "host", amount, setting)


def _preempt(request: Request, place: Place, setting: Setting) -> None:
    del place
    text = request.inventory.host.files.optional(PREEMPT)
    word = request.first(setting, setting.value, offered_models(text) if text else None)
    if text and word not in offered_models(text):
        request.fault(setting, f"this kernel has no preemption model '{word}'", f"it has: {', '.join(offered_models(text))}")
        return
    request.wish("noise.preempt", "host", "host", word, setting)


FAMILY = Family(
    "Noise",
    (IgnoreCorrectedErrors(), MachineCheckInterval(), FairServer(), Preemption()),
    (
        Entry(
            ("noise", "ignore_corrected_errors"),
            Flag(),
            "corrected memory errors are neither polled for nor reported",
            on_host("noise.ignore_corrected_errors"),
        ),
        Entry(
            ("noise", "mce_check_interval_s"),
            Whole(0, 86_400, "seconds"),
            "how often each CPU polls for corrected errors; 0: never",
            _interval,
        ),
        Entry(
            ("noise", "fair_server_runtime_ns"),
            PerCpu(Whole(0, 1_000_000_000, "ns")),
            "what ordinary threads get of each second on a CPU on which a real-time thread spins",
            _fair_server,
        ),
        Entry(
            ("noise", "preempt"),
            Word(("none", "voluntary", "full", "lazy")),
            "the kernel's preemption model",
            _preempt,
        ),
    ),
)
