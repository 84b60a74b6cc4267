"""Power, memory and clock of a simulated host as files, with the defaults that a server boots with: nothing is tuned."""

from tuner.host.simulated.documents import canonical
from tuner.host.simulated.shape import Shape, nics
from tuner.host.simulated.tree_cpus import CPU_ROOT
from tuner.host.simulated.writer import TreeWriter

READ_ONLY = 0o444
DMA_LATENCY = "/dev/cpu_dma_latency.json"
LEAST_KHZ, MOST_KHZ = 800_000, 4_800_000
UNCORE_LEAST_KHZ, UNCORE_MOST_KHZ = 800_000, 2_400_000
_STATES = (("POLL", 0), ("C1", 1), ("C1E", 2), ("C6", 290))
_LINK_STATES = ("l1_aspm", "l1_1_aspm", "l1_2_aspm", "clkpm")


def write_power(tree: TreeWriter, shape: Shape) -> None:
    """Frequency, idle states, uncore, PCIe links, and the document that stands for /dev/cpu_dma_latency."""
    for cpu in sorted(shape.all_cpus):
        _write_policy(tree, cpu)
        _write_cpu(tree, cpu)
    pstate = f"{CPU_ROOT}/intel_pstate"
    tree.values(pstate, {"status": "active", "no_turbo": 0, "min_perf_pct": 16, "max_perf_pct": 100})
    idle = {"current_driver": "intel_idle", "current_governor_ro": "menu", "available_governors": "ladder menu teo "}
    tree.values(f"{CPU_ROOT}/cpuidle", idle, READ_ONLY)
    tree.values(f"{CPU_ROOT}/cpuidle", {"current_governor": "menu"})
    tree.values(f"{CPU_ROOT}/umwait_control", {"enable_c02": 1, "max_time": 100000})
    for package in range(shape.nodes):
        base = f"{CPU_ROOT}/intel_uncore_frequency/package_{package:02d}_die_00"
        tree.values(base, {"min_freq_khz": UNCORE_LEAST_KHZ, "max_freq_khz": UNCORE_MOST_KHZ})
        initial = {
            "initial_min_freq_khz": UNCORE_LEAST_KHZ,
            "initial_max_freq_khz": UNCORE_MOST_KHZ,
            "current_freq_khz": 1600000,
        }
        tree.values(base, initial, READ_ONLY)
    tree.values("/sys/firmware/acpi", {"platform_profile_choices": "low-power balanced performance"}, READ_ONLY)
    tree.values("/sys/firmware/acpi", {"platform_profile": "balanced"})
    tree.values("/sys/module/pcie_aspm/parameters", {"policy": "[default] performance powersave powersupersave"})
    for function in nics(shape):
        tree.values(f"{function.directory}/link", dict.fromkeys(_LINK_STATES, 1))
    tree.put(DMA_LATENCY, canonical({"held_us": None, "others_us": 2_000_000_000}))


def _write_policy(tree: TreeWriter, cpu: int) -> None:
    policy = f"{CPU_ROOT}/cpufreq/policy{cpu}"
    tree.values(
        policy,
        {
            "scaling_driver": "intel_pstate",
            "scaling_available_governors": "performance powersave ",
            "related_cpus": cpu,
            "affected_cpus": cpu,
            "cpuinfo_min_freq": LEAST_KHZ,
            "cpuinfo_max_freq": MOST_KHZ,
            "scaling_cur_freq": 2400000,
            "energy_performance_available_preferences": "default performance balance_performance balance_power power ",
        },
        READ_ONLY,
    )
    tree.values(
        policy,
        {
            "scaling_governor": "powersave",
            "scaling_min_freq": LEAST_KHZ,
            "scaling_max_freq": MOST_KHZ,
            "energy_performance_preference": "balance_performance",
        },
    )
    tree.link(f"{CPU_ROOT}/cpu{cpu}/cpufreq", policy)


def _write_cpu(tree: TreeWriter, cpu: int) -> None:
    base = f"{CPU_ROOT}/cpu{cpu}"
    tree.values(f"{base}/power", {"pm_qos_resume_latency_us": 0, "energy_perf_bias": 6})
    for state, (name, latency) in enumerate(_STATES):
        tree.values(f"{base}/cpuidle/state{state}", {"name": name, "latency": latency}, READ_ONLY)
        tree.values(f"{base}/cpuidle/state{state}", {"disable": 0})


def write_memory(tree: TreeWriter) -> None:
    """Transparent huge pages, page merging, and the clock source."""
    thp = "/sys/kernel/mm/transparent_hugepage"
    defrag = "always defer defer+madvise [madvise] never"
    tree.values(thp, {"enabled": "always [madvise] never", "defrag": defrag, "khugepaged/defrag": 1})
    tree.values("/sys/kernel/mm/ksm", {"run": 1})
    clock = "/sys/devices/system/clocksource/clocksource0"
    tree.values(clock, {"available_clocksource": "tsc hpet acpi_pm "}, READ_ONLY)
    tree.values(clock, {"current_clocksource": "tsc"})
