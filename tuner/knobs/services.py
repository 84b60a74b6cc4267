"""``services.stopped``: programs that write the knobs which a profile sets, stopped for as long as it holds the host.

Source: systemctl(1), systemd.unit(5), and the programs' own documentation. A stopped unit is masked until the next boot, so
that nothing starts it again behind the profile's back (power-profiles-daemon and tuned are started over D-Bus); what is enabled
is left as it is, so after a reboot everything is back. Only units of ``STOPPABLE`` can be named: a profile must not stop sshd.
"""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tuner.host.host import Inventory
from tuner.host.services import ServiceState
from tuner.knobs.knob import About, Disruption, Json, Knob, Reading, State, Unsupported
from tuner.language.entry import Ask, Entry, Family
from tuner.language.request import Request
from tuner.language.tables import ListOf
from tuner.language.values import Word
from tuner.profile import Place, Setting


@dataclass(frozen=True, slots=True)
class Program:
    """A unit that may be stopped: the name of its process (15 bytes of it are kept by the kernel), and what it does.

    ``writes`` are the beginnings of the knobs that it writes, empty where it is only noise.
    """

    process: str
    what: str
    writes: tuple[str, ...] = ()


STOPPABLE: Mapping[str, Program] = {
    "irqbalance.service": Program("irqbalance", "rewrites interrupt affinities every ten seconds", ("irq.",)),
    "tuned.service": Program(
        "tuned",
        "sets the same knobs, again at every start and device event; takes its settings back when it is stopped",
        ("sysctl.", "irq.", "nic.", "isolation.", "power.", "memory.", "boot."),
    ),
    "power-profiles-daemon.service": Program("power-profiles-", "sets governor and energy preference", ("power.",)),
    "tuned-ppd.service": Program("tuned-ppd", "switches tuned's profile at a desktop's wish", ("power.", "sysctl.")),
    "thermald.service": Program("thermald", "limits frequencies", ("power.",)),
    "tlp.service": Program("tlp", "sets power knobs at every power event", ("power.", "sysctl.vm.")),
    "auto-cpufreq.service": Program("auto-cpufreq", "sets governor and turbo every few seconds", ("power.",)),
    "cpupower.service": Program("cpupower", "sets the governor when it is started and stopped", ("power.",)),
    "ondemand.service": Program("ondemand", "sets the governor a minute after boot", ("power.",)),
    "ksmtuned.service": Program("ksmtuned", "turns page merging on and off every minute", ("memory.", "sysctl.vm.")),
    "ksm.service": Program("ksmctl", "turns page merging on", ("memory.",)),
    "numad.service": Program("numad", "moves processes and their memory between nodes", ("isolation.",)),
    "stalld.service": Program("stalld", "lends starving threads time on cores that spin", ("isolation.",)),
    "fwupd-refresh.timer": Program("", "asks the firmware, which interrupts every core"),
    "apt-daily.timer": Program("", "downloads packages"),
    "apt-daily-upgrade.timer": Program("", "installs packages, and with them sysctls and services"),
    "dnf-makecache.timer": Program("", "downloads package lists"),
    "man-db.timer": Program("", "reads every manual page"),
    "plocate-updatedb.timer": Program("", "reads every directory"),
    "mlocate-updatedb.timer": Program("", "reads every directory"),
    "fstrim.timer": Program("", "discards every free block of the disks"),
    "e2scrub_all.timer": Program("", "checks file systems"),
}
POWER = (
    "power-profiles-daemon.service",
    "tuned-ppd.service",
    "thermald.service",
    "tlp.service",
    "auto-cpufreq.service",
    "cpupower.service",
    "ondemand.service",
)
RUNNING, STOPPED = "running", "stopped"
_KEYS = {
    "irqbalance.service": "irqbalance",
    "tuned.service": "tuned",
    "tuned-ppd.service": "tuned",
    "ksmtuned.service": "ksmtuned",
    "ksm.service": "ksmtuned",
    "numad.service": "numad",
    "stalld.service": "stalld",
} | dict.fromkeys(POWER, "power_daemons")


def profile_line(unit: str) -> str:
    """The line of a profile that stops it."""
    key = _KEYS.get(unit)
    return f'[services] {key} = "stop"' if key else f'[services] stop = ["{unit}"]'


class Stopped(Knob):
    """Whether one unit runs; the identity is its name, the value ``running`` or ``stopped``."""

    family: ClassVar[str] = "services.stopped"
    about: ClassVar[About] = About(
        "Programs that would undo or disturb a profile, stopped while it holds the host",
        "What a second program sets again every ten seconds was never set: irqbalance, tuned and the power daemons write the "
        "same files. On a host that only this tool tunes, stop them; where another team's tuned profile is wanted, do not",
        "systemctl is-active NAME",
        effective="the unit is inactive, and masked until the next boot, so that nothing starts it again",
        risk="what the program did is not done any more: with irqbalance stopped, interrupts that no profile places stay where "
        "they are; tuned takes its own settings back when it stops",
        undo="the mask is taken away and the unit started; what is enabled was never touched, so a reboot brings it back, too",
        quirks=(
            "a unit file below /etc takes precedence over the mask: it is stopped, but can be started again",
            "tuned moves other settings when it stops: each of the profile is looked at again after it, and set",
            "without systemd as PID 1 nothing is stopped: the plan names the process",
        ),
        source="systemctl(1), systemd.unit(5)",
    )
    disruption: ClassVar[Disruption] = "service"

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """Whether it runs. One short process of systemctl for a unit that is installed."""
        try:
            state = inventory.host.syscalls.service_state(checked(identity))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return _by_process(inventory, identity)
        now = RUNNING if state.active else STOPPED
        undo = {"active": state.active, "masked": state.masked}
        return Reading(now=now, effective=now, undo=undo, note=_note(state))

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where it does not run.

        Raises:
            Unsupported: it runs although it is masked, so that it could not be started again.
        """
        if reading.effective == wanted:
            return "ok"
        if isinstance(reading.undo, Mapping) and reading.undo.get("masked"):
            raise Unsupported("it runs although it is masked, and could not be started again: stop it by hand, or unmask it")
        return "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Masks and stops it."""
        del wanted, options
        inventory.host.syscalls.stop_service(checked(identity))

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Starts it again, where it ran."""
        if isinstance(undo, Mapping) and undo.get("active") is True:
            inventory.host.syscalls.start_service(checked(identity))

    def same(self, left: Json, right: Json) -> bool:
        """Both run, or neither does."""
        return bool(left == right)

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """Those that are installed here; where systemd does not say, those whose process runs."""
        try:
            return [(unit, unit) for unit in STOPPABLE if inventory.host.syscalls.service_state(unit).installed]
        except OSError:
            running = {thread.name for thread in inventory.host.syscalls.threads() if not thread.kernel}
            return [(unit, unit) for unit, program in STOPPABLE.items() if program.process in running]


def checked(unit: str) -> str:
    """A unit that may be stopped.

    Raises:
        PermissionError: any other; a journal could have been written by an older version.
    """
    if unit not in STOPPABLE:
        raise PermissionError(errno.EPERM, "not among the services that may be stopped", unit)
    return unit


def _note(state: ServiceState) -> str:
    if not state.installed:
        return "not installed"
    return {"": "", "runtime": "masked until the next boot", "always": "masked"}[state.masked]


def _by_process(inventory: Inventory, unit: str) -> Reading:
    name = STOPPABLE[unit].process
    found = [t.pid for t in inventory.threads() if name and t.name == name and t.tid == t.pid and not t.kernel]
    if found:
        raise Unsupported(f"systemd is not PID 1 here: end process {found[0]} ({name}) by hand, and keep it from being started")
    return Reading(now=STOPPED, effective=STOPPED, note="no such process; systemd is not PID 1 here")


def _stop(*units: str) -> Ask:
    def ask(request: Request, place: Place, setting: Setting) -> None:
        del place
        if request.first(setting, setting.value, None) == "stop":
            for unit in units:
                wish_stopped(request, unit, setting)

    return ask


def wish_stopped(request: Request, unit: str, setting: Setting) -> None:
    """Asks for a unit to be stopped, once."""
    if not any(w.knob == Stopped.family and w.identity == unit for w in request.wishes):
        request.wish(Stopped.family, unit, unit, STOPPED, setting)


def _list(request: Request, place: Place, setting: Setting) -> None:
    del place
    for unit in setting.value:
        wish_stopped(request, str(unit), setting)


_STOP = Word(("stop", "leave"))

FAMILY = Family(
    "Services",
    (Stopped(),),
    (
        Entry(
            ("services", "tuned"), _STOP, "stop tuned, which sets the same knobs", _stop("tuned.service", "tuned-ppd.service")
        ),
        Entry(("services", "power_daemons"), _STOP, "stop whatever sets governors and frequencies", _stop(*POWER)),
        Entry(("services", "ksmtuned"), _STOP, "stop what turns page merging on", _stop("ksmtuned.service", "ksm.service")),
        Entry(("services", "numad"), _STOP, "stop what moves processes between nodes", _stop("numad.service")),
        Entry(
            ("services", "stalld"), _STOP, "stop what lends starving threads time on spinning cores", _stop("stalld.service")
        ),
        Entry(("services", "stop"), ListOf(Word(tuple(STOPPABLE)), 64), "units to stop, of those that may be stopped", _list),
    ),
)
