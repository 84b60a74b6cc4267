"""The settings of a simulated kernel (/proc/sys and a few of /sys): default values, and what each takes.

Bounds are those of the kernel's tables (6.12: net/core/sysctl_net_core.c, kernel/sysctl.c, kernel/watchdog.c,
kernel/sched/rt.c, mm/page-writeback.c, net/ipv4/sysctl_net_ipv4.c). A write outside them is EINVAL, as is text where numbers
are wanted; numbers are shown again in decimal with tabs between.
"""

import errno
import os
import re
from dataclasses import dataclass

from tuner.host.simulated.shape import HZ

INT_MAX = (1 << 31) - 1
LONG_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its default as the kernel prints it, the bounds of each number, or the words that it takes."""

    default: str
    low: int = -INT_MAX - 1
    high: int = INT_MAX
    words: tuple[str, ...] = ()
    power_of_two: bool = False
    read_only: bool = False


def _flag(default: int) -> Setting:
    return Setting(str(default), 0, 1)


def _count(default: int, low: int = 0, high: int = INT_MAX) -> Setting:
    return Setting(str(default), low, high)


def _three(default: str) -> Setting:
    return Setting(default, 1)


_NUMBER = re.compile(r"(-?)(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})")
_QDISCS = ("pfifo_fast", "fq_codel", "fq", "pfifo", "noqueue", "sfq")

SYSCTLS: dict[str, Setting] = {
    "net/core/busy_poll": _count(0),
    "net/core/busy_read": _count(0),
    "net/core/rmem_max": _count(212992, 2304),
    "net/core/rmem_default": _count(212992, 2304),
    "net/core/wmem_max": _count(212992, 4608),
    "net/core/wmem_default": _count(212992, 4608),
    "net/core/optmem_max": _count(131072),
    "net/core/netdev_max_backlog": Setting("1000"),
    "net/core/netdev_budget": Setting("300"),
    "net/core/netdev_budget_usecs": _count(8000, 2 * 1_000_000 // HZ),  # 2 jiffies
    "net/core/dev_weight": _count(64, 1),
    "net/core/netdev_tstamp_prequeue": Setting("1"),
    "net/core/rps_sock_flow_entries": Setting("0", 0, 1 << 29, power_of_two=True),
    "net/core/default_qdisc": Setting("fq_codel", words=_QDISCS),
    "net/core/somaxconn": _count(4096),
    "net/core/bpf_jit_enable": _count(1, 0, 2),
    "net/core/skb_defer_max": _count(64),
    "net/core/gro_normal_batch": _count(8, 1),
    "net/core/message_cost": Setting("5"),
    "net/ipv4/ip_forward": _flag(0),
    "net/ipv4/tcp_rmem": _three("4096\t131072\t6291456"),
    "net/ipv4/tcp_wmem": _three("4096\t16384\t4194304"),
    "net/ipv4/tcp_mem": Setting("381891\t509191\t763782", 0, LONG_MAX),
    "net/ipv4/udp_mem": Setting("763782\t1018382\t1527564", 0, LONG_MAX),
    "net/ipv4/udp_rmem_min": _count(4096, 1),
    "net/ipv4/udp_wmem_min": _count(4096, 1),
    "net/ipv4/udp_early_demux": Setting("1", 0, 255),
    "net/ipv4/tcp_low_latency": Setting("0", 0, 255),
    "net/ipv4/tcp_timestamps": Setting("1", 0, 2),
    "net/ipv4/tcp_sack": Setting("1", 0, 255),
    "net/ipv4/tcp_slow_start_after_idle": Setting("1", 0, 255),
    "net/ipv4/tcp_autocorking": _flag(1),
    "net/ipv4/tcp_no_metrics_save": Setting("0", 0, 255),
    "net/ipv4/tcp_fastopen": Setting("1"),
    "net/ipv4/tcp_moderate_rcvbuf": Setting("1", 0, 255),
    "net/ipv4/tcp_mtu_probing": Setting("0", 0, 255),
    "net/ipv4/tcp_congestion_control": Setting("cubic", words=("cubic", "reno")),
    "net/ipv4/igmp_max_memberships": Setting("20"),
    "net/ipv4/igmp_max_msf": Setting("10"),
    "net/ipv4/igmp_qrv": _count(2, 1),
    "net/ipv4/ip_local_port_range": Setting("32768\t60999", 1, 65535),
    "vm/stat_interval": _count(1, 0, INT_MAX // HZ),
    "vm/swappiness": _count(60, 0, 200),
    "vm/dirty_ratio": _count(20, 0, 100),
    "vm/dirty_bytes": _count(0, 8192),  # two pages; the 0 of the default cannot be written
    "vm/dirty_background_ratio": _count(10, 0, 100),
    "vm/dirty_background_bytes": _count(0, 1),
    "vm/overcommit_ratio": _count(50),
    "vm/overcommit_kbytes": _count(0),
    "vm/dirty_writeback_centisecs": _count(500),
    "vm/dirty_expire_centisecs": _count(3000),
    "vm/zone_reclaim_mode": _count(0),
    "vm/overcommit_memory": _count(0, 0, 2),
    "vm/max_map_count": _count(65530),
    "vm/min_free_kbytes": _count(67584),
    "vm/nr_hugepages": _count(0),
    "vm/compaction_proactiveness": _count(20, 0, 100),
    "vm/vfs_cache_pressure": _count(100),
    "vm/watermark_boost_factor": _count(15000),
    "vm/watermark_scale_factor": _count(10, 1, 3000),
    "vm/page_lock_unfairness": _count(5),
    "kernel/numa_balancing": _count(1, 0, 4),
    "kernel/nmi_watchdog": _flag(1),
    "kernel/soft_watchdog": _flag(1),
    "kernel/watchdog": _flag(1),
    "kernel/watchdog_thresh": _count(10, 0, 60),
    "kernel/timer_migration": _flag(1),
    "kernel/sched_rt_runtime_us": Setting("950000", -1, 1_000_000),
    "kernel/sched_rt_period_us": _count(1_000_000, 1),
    "kernel/sched_autogroup_enabled": _flag(1),
    "kernel/sched_schedstats": _flag(0),
    "kernel/split_lock_mitigate": _flag(1),
    "kernel/hung_task_timeout_secs": _count(120),
    "kernel/printk": Setting("4\t4\t1\t7"),
    "kernel/randomize_va_space": Setting("2"),
    "kernel/perf_event_paranoid": Setting("2"),
    "kernel/kptr_restrict": _count(1, 0, 2),
    "kernel/pid_max": _count(4194304, 301, 4194304),
    "kernel/ostype": Setting("Linux", read_only=True),
    "kernel/version": Setting("#1 SMP PREEMPT_DYNAMIC quietcore simulation", read_only=True),
    "fs/file-max": Setting("9223372036854775807", 0, LONG_MAX),
    "fs/nr_open": _count(1048576, 8),
}

# Writing the one sets the other to 0.
COUPLED = {
    "vm/dirty_ratio": "vm/dirty_bytes",
    "vm/dirty_bytes": "vm/dirty_ratio",
    "vm/dirty_background_ratio": "vm/dirty_background_bytes",
    "vm/dirty_background_bytes": "vm/dirty_background_ratio",
    "vm/overcommit_ratio": "vm/overcommit_kbytes",
    "vm/overcommit_kbytes": "vm/overcommit_ratio",
}


def normalised(setting: Setting, current: str, value: str, path: str) -> str:
    """What the kernel shows after ``value`` was written to a setting that showed ``current``.

    A vector takes fewer numbers than it has: the rest stays (proc_dointvec).

    Raises:
        OSError: EINVAL: no number, too few or too many of them, or out of bounds; ENOENT: a word that is not known.
    """
    if setting.words:
        word = value.strip()
        if word not in setting.words:
            raise refusal(errno.ENOENT, path)
        return word
    fields = value.split()
    kept = current.split()
    if not fields or len(fields) > len(kept):
        raise refusal(errno.EINVAL, path)
    numbers = [_number(field, setting, path) for field in fields]
    return "\t".join([*map(str, numbers), *kept[len(fields) :]])


def _number(field: str, setting: Setting, path: str) -> int:
    match = _NUMBER.fullmatch(field)
    if match is None:
        raise refusal(errno.EINVAL, path)
    sign, digits = match.groups()
    # simple_strtoul with base 0: hexadecimal behind 0x, octal behind 0
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    try:
        number = int(digits, base) * (-1 if sign else 1)
    except ValueError:  # 09
        raise refusal(errno.EINVAL, path) from None
    if not setting.low <= number <= setting.high:
        raise refusal(errno.EINVAL, path)
    return power_of_two(number) if setting.power_of_two else number


def power_of_two(number: int) -> int:
    """The power of two from ``number`` upwards; 0 stays 0 (roundup_pow_of_two in net/core)."""
    return 1 << (number - 1).bit_length() if number > 0 else 0


def refusal(code: int, path: str) -> OSError:
    """The kernel's refusal of a write."""
    return OSError(code, os.strerror(code), path)
