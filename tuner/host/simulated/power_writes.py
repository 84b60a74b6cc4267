"""What the kernel answers where power or memory is written, and which other files follow.

Sources: drivers/cpufreq/{cpufreq,intel_pstate,amd-pstate}.c, drivers/platform/x86/intel/uncore-frequency, mm/hugetlb.c,
mm/ksm.c, drivers/pci/pcie/aspm.c, arch/x86/kernel/cpu/{intel_epb,umwait}.c. Everything that follows is a function of files, so
that old values give old bytes; where kernels differ, the answer is that of the harsher one:

* the governor ``performance`` sets the energy preference, and leaves it there when it goes (amd-pstate up to 6.12; intel_pstate
  remembers the old one);
* a lowest frequency above the highest is EINVAL (up to 5.3; since then the lower one wins in silence).
"""

import errno
import re

from tuner.host.files import HostFiles
from tuner.host.simulated.settings import Setting, normalised, refusal
from tuner.host.simulated.shape import Shape, nics
from tuner.host.simulated.tree_cpus import NODE_MEMORY_KB, NODE_ROOT, node_meminfo

_PAGES = re.compile(NODE_ROOT + r"/node(\d+)/hugepages/hugepages-(\d+)kB/nr_hugepages")
_BIAS = {"performance": 0, "balance-performance": 4, "normal": 6, "balance-power": 8, "power": 15}
# file's name -> (lowest, highest) that it takes, and the step to which it is rounded down
_NUMBERS = {
    "no_turbo": (0, 1, 1),
    "enable_c02": (0, 1, 1),
    "max_time": (0, (1 << 32) - 1, 1),
    "run": (0, 2, 1),
    "min_freq_khz": (100_000, 12_700_000, 100_000),
    "max_freq_khz": (100_000, 12_700_000, 100_000),
}
_OWNERS = ("/intel_pstate/", "/umwait_control/", "/mm/ksm/", "/intel_uncore_frequency/")
ASPM_POLICY = "/sys/module/pcie_aspm/parameters/policy"


def shown(files: HostFiles, path: str, value: str) -> str | None:
    """What a file of power or memory shows after a write, None for any other.

    Raises:
        OSError: as the kernel refuses it.
    """
    directory, _, leaf = path.rpartition("/")
    if leaf in ("scaling_min_freq", "scaling_max_freq"):
        return _frequency(files, directory, leaf, value)
    if leaf == "energy_performance_preference":
        if value.strip() != "performance" and files.text(f"{directory}/scaling_governor") == "performance":
            raise refusal(errno.EBUSY, path)
        return None
    if leaf == "energy_perf_bias":
        return str(_BIAS.get(value.strip(), "")) or _number(path, value, 0, 15)
    if leaf == "min_perf_pct":  # clamped to what the hardware can do least, and to max_perf_pct
        return str(min(max(int(_number(path, value, 0, 1 << 30)), 16), int(files.text(f"{directory}/max_perf_pct"))))
    if match := _PAGES.fullmatch(path):
        return _pages(files, path, int(match[1]), int(match[2]), value)
    if leaf in _NUMBERS and any(owner in path for owner in _OWNERS):
        low, high, step = _NUMBERS[leaf]
        number = int(_number(path, value, low, high))
        if leaf == "max_time" and number % 4:
            raise refusal(errno.EINVAL, path)
        return str(number // step * step)
    if directory.endswith("/link"):
        on = int(_number(path, value, 0, 1))
        return str(int(bool(on) and "[performance]" not in (files.optional(ASPM_POLICY) or "")))
    return None


def following(files: HostFiles, shape: Shape, path: str, shown_now: str) -> dict[str, str]:
    """The files that change with one that was just written: name -> content."""
    directory, _, leaf = path.rpartition("/")
    if leaf == "scaling_governor" and shown_now == "performance":
        return {f"{directory}/energy_performance_preference": "performance\n"}
    if leaf == "l1_aspm" and shown_now == "0":  # the substates go with it
        return {f"{directory}/{name}": "0\n" for name in ("l1_1_aspm", "l1_2_aspm")}
    if leaf in ("l1_1_aspm", "l1_2_aspm") and shown_now == "1":  # and cannot be without it
        return {f"{directory}/l1_aspm": "1\n"}
    if path == ASPM_POLICY:
        return _policy(files, shape, shown_now)
    if match := _PAGES.fullmatch(path):
        return _memory(files, shape, int(match[1]))
    return {}


def _number(path: str, value: str, low: int, high: int) -> str:
    return normalised(Setting("0", low, high), "0", value, path)


def _frequency(files: HostFiles, directory: str, leaf: str, value: str) -> str:
    path = f"{directory}/{leaf}"
    least, most = int(files.text(f"{directory}/cpuinfo_min_freq")), int(files.text(f"{directory}/cpuinfo_max_freq"))
    khz = min(max(int(_number(path, value, 0, (1 << 32) - 1)), least), most)
    low = khz if "min" in leaf else int(files.text(f"{directory}/scaling_min_freq"))
    high = khz if "max" in leaf else int(files.text(f"{directory}/scaling_max_freq"))
    if low > high:
        raise refusal(errno.EINVAL, path)
    return str(khz)


def _policy(files: HostFiles, shape: Shape, policy: str) -> dict[str, str]:
    # links keep apart what was switched off by hand; this host has one such state for each link: all, or none
    on = "0\n" if "[performance]" in policy else "1\n"
    links = [f"{function.directory}/link" for function in nics(shape)]
    return {f"{link}/{name}": on for link in links for name in files.entries(link)}


def _pages(files: HostFiles, path: str, node: int, size_kb: int, value: str) -> str:
    """As many as there is room for: the write succeeds all the same."""
    others = _huge_kb(files, node) - int(files.text(path)) * size_kb
    room = (NODE_MEMORY_KB * 3 // 4 - others) // size_kb
    return str(min(int(_number(path, value, 0, (1 << 63) - 1)), room))


def _huge_kb(files: HostFiles, node: int) -> int:
    base = f"{NODE_ROOT}/node{node}/hugepages"
    return sum(int(n[10:-2]) * int(files.text(f"{base}/{n}/nr_hugepages")) for n in files.entries(base))


def _memory(files: HostFiles, shape: Shape, node: int) -> dict[str, str]:
    base = f"{NODE_ROOT}/node{node}"
    counts = {name: files.text(f"{base}/hugepages/{name}/nr_hugepages") for name in files.entries(f"{base}/hugepages")}
    changed = {f"{base}/hugepages/{name}/free_hugepages": f"{count}\n" for name, count in counts.items()}
    changed[f"{base}/meminfo"] = node_meminfo(node, _huge_kb(files, node), int(counts["hugepages-2048kB"]))
    small = [int(files.text(f"{NODE_ROOT}/node{n}/hugepages/hugepages-2048kB/nr_hugepages")) for n in range(shape.nodes)]
    return changed | {"/proc/sys/vm/nr_hugepages": f"{sum(small)}\n"}
