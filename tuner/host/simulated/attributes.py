"""What a file outside the cgroup hierarchy shows after a write, or the errno with which the kernel refuses it.

Sources: kernel/irq/proc.c (affinities), lib/bitmap-str.c (masks and lists), net/core/net-sysfs.c (RPS, XPS),
kernel/watchdog.c, kernel/workqueue.c, drivers/base/power/sysfs.c, kernel/time/clocksource.c, drivers/cpufreq.
"""

import errno
import os
from collections.abc import Callable

from tuner.host.cpulist import CpuListError, CpuSet, format_list, format_mask, parse_list, parse_mask
from tuner.host.files import HostFiles
from tuner.host.simulated import hotplug, noise, power_writes
from tuner.host.simulated.nic_stack import INTERFACE_SYSCTLS
from tuner.host.simulated.settings import SYSCTLS, Setting, normalised, power_of_two, refusal
from tuner.host.simulated.shape import Shape


def shown(files: HostFiles, shape: Shape, path: str, value: str) -> str:
    """What ``path`` will show after ``value`` was written, without its line end.

    Raises:
        OSError: as the kernel refuses it.
    """
    leaf = path.rpartition("/")[2]
    if path.startswith("/proc/sys/"):
        return _sysctl(files, shape, path, value)
    if leaf in _MASKS:
        return _landing(files, path, _mask(shape, path, value, filled=_MASKS[leaf]), parse_mask)
    if leaf == "smp_affinity_list":
        return _landing(files, path, _filled_list(shape, path, value), parse_list)
    if leaf == "rps_flow_cnt":
        return str(power_of_two(int(normalised(Setting("0", 0, 1 << 30), "0", value, path))))
    if leaf == "pm_qos_resume_latency_us":  # "n/a" is no latency at all, 0 is no constraint
        return "n/a" if value.strip() == "n/a" else normalised(Setting("0", 0), "0", value, path)
    if leaf == "disable" and "/cpuidle/" in path:  # any other number is a yes
        return str(min(1, abs(int(normalised(Setting("0"), "0", value, path)))))
    if hotplug.concerns(path):
        return hotplug.shown(files, shape, path, value)
    if noise.concerns(path):
        return noise.shown(files, path, value)
    if leaf in _BOUNDED and path.startswith("/sys/devices/") and "/net/" in path:
        return normalised(_BOUNDED[leaf], files.text(path), value, path)
    answer = power_writes.shown(files, path, value)
    return _by_content(files, path, value) if answer is None else answer


# what an interface takes (net/core/net-sysfs.c; the jumbo frames of ixgbe)
_BOUNDED = {"mtu": Setting("1500", 68, 9710), "threaded": Setting("0", 0, 1), "tx_queue_len": Setting("1000", 0)}
# the masks, and whether each must name a CPU
_MASKS = {"smp_affinity": True, "default_smp_affinity": True, "cpumask": True, "rps_cpus": False, "xps_cpus": False}


def _sysctl(files: HostFiles, shape: Shape, path: str, value: str) -> str:
    name = path.removeprefix("/proc/sys/")
    if name == "kernel/watchdog_cpumask":  # absent CPUs are dropped in silence, to the last one
        return format_list(_cpus(parse_list, value, path) & shape.all_cpus)
    if name in ("kernel/hostname", "kernel/domainname"):
        return value[:64]
    own = name.startswith("net/ipv4/conf/")
    setting = INTERFACE_SYSCTLS.get(name.rpartition("/")[2]) if own else SYSCTLS.get(name)
    if setting is None:
        raise refusal(errno.EINVAL, path)
    return normalised(setting, files.text(path), value, path)


def _mask(shape: Shape, path: str, value: str, *, filled: bool) -> str:
    cpus = _cpus(parse_mask, value, path)
    if cpus - shape.all_cpus:
        raise refusal(errno.EOVERFLOW, path)
    if filled and not cpus:
        raise refusal(errno.EINVAL, path)
    return format_mask(cpus, shape.cpus)


def _landing(files: HostFiles, path: str, text: str, parse: Callable[[str], CpuSet]) -> str:
    """An interrupt must have a CPU that is online (kernel/irq/proc.c write_irq_affinity)."""
    if "/smp_affinity" in path and not parse(text) & parse_list(files.text("/sys/devices/system/cpu/online")):
        raise refusal(errno.EINVAL, path)
    return text


def _filled_list(shape: Shape, path: str, value: str) -> str:
    cpus = _cpus(parse_list, value, path)
    if cpus - shape.all_cpus:
        raise refusal(errno.ERANGE, path)
    if not cpus:
        raise refusal(errno.EINVAL, path)
    return format_list(cpus)


def _cpus(parse: Callable[[str], CpuSet], value: str, path: str) -> CpuSet:
    try:
        return parse(value.strip())
    except CpuListError as error:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path) from error


_CHOICES = {
    "scaling_governor": "scaling_available_governors",
    "energy_performance_preference": "energy_performance_available_preferences",
    "current_clocksource": "available_clocksource",
    "current_governor": "available_governors",
    "platform_profile": "platform_profile_choices",
}
_RUNTIME_PM = ("on", "auto")


def _by_content(files: HostFiles, path: str, value: str) -> str:
    """By what the file shows now: one of [bracketed] words, one of a sibling file's words, or a number."""
    current, word = files.text(path), value.strip()
    directory, _, leaf = path.rpartition("/")
    if "[" in current and path.startswith("/sys/"):
        words = current.replace("[", "").replace("]", "").split()
        if word not in words:
            raise refusal(errno.EINVAL, path)
        return " ".join(f"[{known}]" if known == word else known for known in words)
    if path.endswith("/power/control"):
        if word not in _RUNTIME_PM:
            raise refusal(errno.EINVAL, path)
        return word
    if leaf in _CHOICES:
        if word in (files.optional(f"{directory}/{_CHOICES[leaf]}") or "").split():
            return word
        if leaf == "current_clocksource":  # takes anything and changes nothing
            return current
        raise refusal(errno.EINVAL, path)
    if current.lstrip("-").isdigit():
        return normalised(Setting(current, high=(1 << 63) - 1), current, value, path)
    return value
