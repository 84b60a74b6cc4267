"""Services of systemd: what is installed and masked is read from the unit files' directories, the rest asked by exit status.

Source: systemctl(1), systemd.unit(5). ``is-active --quiet`` says 0 for a unit that is active and 3 for one that is not; no
text of systemctl is read. A runtime mask is a link to /dev/null below /run/systemd/system: nobody starts the unit again, by a
dependency or over D-Bus, until the mask is taken away or the host is booted. So a service that is stopped for a while is back
after a reboot, whatever happened to who stopped it; what is enabled, and a mask below /etc, is never touched.
"""

from dataclasses import dataclass
from typing import Literal

from tuner.host import commands
from tuner.host.files import HostFiles

BOOTED = "/run/systemd/system"  # sd_booted(3): there exactly where systemd is PID 1
# In the order of precedence (systemd.unit(5)); /lib and /usr/lib are one directory on most hosts.
DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_MASK = "/dev/null"
_ASK_S, _CHANGE_S = 5.0, 45.0

Masked = Literal["", "runtime", "always"]


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One unit: whether its file is here, whether it is active, and who may not start it.

    ``masked`` is ``always`` for a mask below /etc, ``runtime`` for one that ends with this boot, else empty.
    """

    installed: bool
    active: bool
    masked: Masked = ""


def has_systemd(files: HostFiles) -> bool:
    """Whether systemd is PID 1 of this host."""
    return files.exists(BOOTED)


def installed(files: HostFiles, unit: str) -> bool:
    """Whether a unit file of that name is here; a mask is none."""
    found = (f"{directory}/{unit}" for directory in DIRECTORIES)
    return any(files.exists(path) and files.link(path) != _MASK for path in found)


def masked(files: HostFiles, unit: str) -> Masked:
    """Which mask lies over a unit."""
    if files.link(f"{DIRECTORIES[0]}/{unit}") == _MASK:
        return "always"
    return "runtime" if files.link(f"{DIRECTORIES[1]}/{unit}") == _MASK else ""


def read_service(files: HostFiles, unit: str) -> ServiceState:
    """A unit of this machine. One short process where its file is here, none else.

    Raises:
        OSError: systemctl cannot be run, or does not answer within five seconds.
    """
    here = installed(files, unit)
    active = here and commands.systemctl(["is-active", "--quiet", "--", unit], _ASK_S)[0] == 0
    return ServiceState(here, active, masked(files, unit))


def stop(unit: str) -> None:
    """Masks a unit until the next boot, then stops it. In this order, for between the two nobody shall start it.

    Raises:
        OSError: systemd refuses, or takes longer than 45 s.
    """
    _demand("mask", "--runtime", unit)
    _demand("stop", "", unit)


def start(unit: str) -> None:
    """Takes the runtime mask away and starts a unit; one that runs is left as it is.

    Raises:
        OSError: systemd refuses, or takes longer than 45 s.
    """
    _demand("unmask", "--runtime", unit)
    _demand("start", "", unit)


def _demand(verb: str, option: str, unit: str) -> None:
    words = [verb, *([option] if option else []), "--quiet", "--no-ask-password", "--", unit]
    commands.demand(f"systemctl {verb} {unit}", commands.systemctl(words, _CHANGE_S))
