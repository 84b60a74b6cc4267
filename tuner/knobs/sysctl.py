"""``sysctl.*``: numbers and short texts below /proc/sys, by an allow-list.

Source: Documentation/admin-guide/sysctl/{net,kernel,vm}.rst and Documentation/networking/ip-sysctl.rst. A sysctl can run
programs as root (``kernel.core_pattern``, ``kernel.modprobe``, ``kernel.hotplug``), so what a profile may name is listed here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.host import Inventory
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported
from tuner.language.values import Report, Text, Whole, is_number

_KEY = re.compile(r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*){1,6}")
PREFIXES = ("net.core.", "net.ipv4.", "net.ipv6.", "vm.")
KERNEL = frozenset(
    {
        "kernel.hung_task_timeout_secs",
        "kernel.nmi_watchdog",
        "kernel.numa_balancing",
        "kernel.perf_cpu_time_max_percent",
        "kernel.perf_event_max_sample_rate",
        "kernel.printk",
        "kernel.sched_autogroup_enabled",
        "kernel.sched_rt_period_us",
        "kernel.sched_rt_runtime_us",
        "kernel.soft_watchdog",
        "kernel.split_lock_mitigate",
        "kernel.timer_migration",
        "kernel.watchdog",
        "kernel.watchdog_cpumask",
        "kernel.watchdog_thresh",
    }
)
# Below an allowed prefix, but either a switch of security or no setting at all: writing acts at once.
REFUSED = frozenset(
    (
        "vm.compact_memory",
        "vm.drop_caches",
        "vm.mmap_min_addr",
        "net.core.bpf_jit_enable",
        "net.core.bpf_jit_harden",
        "net.ipv4.route.flush",
        "net.ipv6.route.flush",
        "vm.memfd_noexec",
        "vm.unprivileged_userfaultfd",
    )
)


# Writing one makes the kernel set the other to 0, and most refuse a 0 written by hand (mm/page-writeback.c, mm/util.c).
_PAIRS = (
    ("vm.dirty_bytes", "vm.dirty_ratio"),
    ("vm.dirty_background_bytes", "vm.dirty_background_ratio"),
    ("vm.overcommit_kbytes", "vm.overcommit_ratio"),
)
PARTNERS = dict(_PAIRS) | {other: one for one, other in _PAIRS}
# What writing them does besides is not undone by the old value (Documentation/networking/ip-sysctl.rst).
_FORWARDING = "changing it sets the per-interface parameters of that protocol back to the defaults of a host or a router"
_ADDRESSES = "switching it on removes all IPv6 addresses and routes, which switching it off does not bring back"
IRREVERSIBLE = {
    "net.ipv4.ip_forward": _FORWARDING,
    "net.ipv4.conf.all.forwarding": _FORWARDING,
    "net.ipv6.conf.all.forwarding": _FORWARDING,
    "net.ipv6.conf.all.disable_ipv6": _ADDRESSES,
    "net.ipv6.conf.default.disable_ipv6": _ADDRESSES,
    "vm.nr_hugepages": "pages that were given up may not be found again in one piece",
}


def refusal(key: str) -> str:
    """Why a profile may not name this sysctl; empty where it may."""
    if not _KEY.fullmatch(key):
        return "not the name of a sysctl"
    if key in REFUSED:
        return "refused: it is no setting to keep, or a switch of security"
    if key.startswith(PREFIXES) or key in KERNEL:
        return ""
    return f"not among the sysctls that a profile may set ({', '.join(PREFIXES)} and some of kernel.)"


def path_of(key: str) -> str:
    """The file of a sysctl.

    Raises:
        ValueError: the key is not on the allow-list, whatever a journal or a profile says.
    """
    if reason := refusal(key):
        raise ValueError(f"sysctl {key}: {reason}")
    return "/proc/sys/" + key.replace(".", "/")


class Sysctl(Knob):
    """One sysctl; the identity is its key."""

    family: ClassVar[str] = "sysctl"
    about: ClassVar[About] = About(
        "One of the kernel's own settings below /proc/sys, by name",
        "What each is good for is its own matter: see quietcore explain sysctl.NAME for those that matter here",
        "sysctl NAME",
        quirks=(
            "netdev_budget_usecs has a floor of two jiffies: 8000 at HZ=250, 2000 at HZ=1000, EINVAL below",
            "dirty_bytes and dirty_ratio, and two pairs like it, are one setting each: writing one sets the other to 0",
            "rps_sock_flow_entries is rounded up to a power of two",
        ),
        source="Documentation/admin-guide/sysctl/{net,kernel,vm}.rst, Documentation/networking/ip-sysctl.rst",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The value as a number where it is one, else its text with single blanks."""
        try:
            text = inventory.host.files.text(path_of(identity))
        except FileNotFoundError as error:
            raise Unsupported(f"this kernel has no {path_of(identity)}") from error
        value = _value(text)
        return Reading(now=value, effective=value)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal as numbers, or as the same fields with any white space between them."""
        return "ok" if _fields(reading.now) == _fields(wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Writes the value as it is wanted; rounding and refusal show in the reading after it."""
        del options
        inventory.host.files.write(path_of(identity), str(wanted))

    def same(self, left: Json, right: Json) -> bool:
        """Equal fields."""
        return _fields(left) == _fields(right)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes the saved value back; the 0 of a pair comes back with its partner's value."""
        if identity in PARTNERS and undo == 0:
            return
        inventory.host.files.write(path_of(identity), str(undo))

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """The other one of a pair."""
        del inventory
        partner = PARTNERS.get(identity)
        return [(f"sysctl.{partner}", partner)] if partner else []

    def irreversible(self, identity: str) -> str:
        """Sysctls whose writing does more than to set a value."""
        return IRREVERSIBLE.get(identity, "")


def _value(text: str) -> int | str:
    fields = text.split()
    if len(fields) == 1 and re.fullmatch(r"-?[0-9]{1,20}", fields[0]):
        return int(fields[0])
    return " ".join(fields)


def _fields(value: Json) -> list[str]:
    return str(value).split()


_NUMBER = Whole(low=-(1 << 63), high=(1 << 64) - 1)


def check_value(value: object, report: Report) -> Json:
    """A sysctl's value in a profile: a number, a bound (``at-least:N``), a flag as 0 or 1, or fields of text."""
    if isinstance(value, bool):
        return int(value)
    if is_number(value) or (isinstance(value, str) and value.startswith(("at-least:", "at-most:"))):
        return _NUMBER.check(value, report)
    # the kernel prints vectors with tabs, and that is what gets copied
    text = Text("50").check(value.replace("\t", " ") if isinstance(value, str) else value, report)
    return None if text is None else " ".join(text.split())
