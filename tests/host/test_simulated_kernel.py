"""The simulated kernel refuses as the kernel does, shows what the kernel shows, and can be taken back to the byte."""

import errno
import json

import pytest
from simulated_trees import differing, refusal, simulated, snapshot

from tuner.host.cpulist import format_mask, parse_list
from tuner.host.host import Host, Inventory


@pytest.fixture
def host():
    with simulated(nodes=2, cores=4, smt=2, nics=2, queues=2) as found:
        yield found


def number(host: Host, action: str) -> int:
    return next(irq.number for irq in Inventory(host).irqs if irq.action == action)


def affinity(host: Host, irq: int) -> tuple[str, str, str, str]:
    names = ("smp_affinity", "smp_affinity_list", "effective_affinity", "effective_affinity_list")
    return tuple(host.files.read(f"/proc/irq/{irq}/{name}").decode() for name in names)


def test_a_list_and_a_mask_move_an_interrupt_alike(host):
    irq = number(host, "eth2-TxRx-1")
    host.files.write(f"/proc/irq/{irq}/smp_affinity_list", "9,2-3")
    by_list = affinity(host, irq)
    assert by_list[:2] == ("020c\n", "2-3,9\n")
    assert parse_list(by_list[3].strip()) <= {2, 3, 9}
    assert len(parse_list(by_list[3].strip())) == 1
    host.files.write(f"/proc/irq/{irq}/smp_affinity", "0000020C")
    assert affinity(host, irq) == by_list


def check_refused(host: Host, path: str, value: str, code: int) -> None:
    """A write must fail with this errno, having changed nothing."""
    before = snapshot(host.files.root)
    with refusal(code):
        host.files.write(path, value)
    assert differing(before, snapshot(host.files.root)) == []


@pytest.mark.parametrize(
    ("leaf", "value", "code"),
    [
        ("smp_affinity_list", "", errno.EINVAL),
        ("smp_affinity_list", "16", errno.ERANGE),
        ("smp_affinity_list", "3-1", errno.EINVAL),
        ("smp_affinity_list", "two", errno.EINVAL),
        ("smp_affinity", "0", errno.EINVAL),
        ("smp_affinity", "10000", errno.EOVERFLOW),
        ("smp_affinity", "xyz", errno.EINVAL),
        ("effective_affinity_list", "1", errno.EPERM),
        ("no_such_file", "1", errno.ENOENT),
    ],
)
def test_bad_affinities_are_refused_as_the_kernel_does(host, leaf, value, code):
    check_refused(host, f"/proc/irq/{number(host, 'eth2-TxRx-0')}/{leaf}", value, code)


def test_managed_interrupts_refuse(host):
    check_refused(host, f"/proc/irq/{number(host, 'nvme0q1')}/smp_affinity_list", "0", errno.EPERM)
    check_refused(host, "/proc/irq/0/smp_affinity", "2", errno.EPERM)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("net/core/busy_poll", "fast", errno.EINVAL),
        ("net/core/busy_poll", "", errno.EINVAL),
        ("net/core/busy_poll", "-1", errno.EINVAL),
        ("net/core/busy_poll", "4294967296", errno.EINVAL),
        ("net/core/busy_poll", "1 2", errno.EINVAL),
        ("net/core/netdev_budget_usecs", "2000", errno.EINVAL),  # 2 jiffies at 250 Hz are 8000
        ("net/core/default_qdisc", "nothing", errno.ENOENT),
        ("vm/swappiness", "300", errno.EINVAL),
        ("kernel/sched_rt_runtime_us", "1000001", errno.EINVAL),
        ("kernel/osrelease", "7", errno.EPERM),
        ("net/core/no_such", "1", errno.ENOENT),
        ("vm/swappiness", "09", errno.EINVAL),
    ],
)
def test_bad_settings_are_refused(host, name, value, code):
    check_refused(host, f"/proc/sys/{name}", value, code)


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("/proc/sys/net/core/busy_poll", " 050\n", b"40\n"),  # octal
        ("/proc/sys/net/core/busy_poll", "0x32", b"50\n"),
        ("/proc/sys/net/ipv4/tcp_rmem", "4096 65536", b"4096\t65536\t6291456\n"),
        ("/proc/sys/net/core/rps_sock_flow_entries", "1000", b"1024\n"),
        ("/sys/class/net/eth2/queues/rx-0/rps_flow_cnt", "1000", b"1024\n"),
        ("/sys/class/net/eth2/queues/rx-0/rps_cpus", "3", b"0003\n"),
        ("/proc/sys/kernel/watchdog_cpumask", "3,1,2", b"1-3\n"),
        ("/proc/sys/kernel/watchdog_cpumask", "200", b"\n"),  # the kernel says yes and drops what is absent
        ("/sys/kernel/mm/transparent_hugepage/enabled", "never", b"always madvise [never]\n"),
        ("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance", b"performance\n"),
        ("/sys/devices/system/cpu/cpu3/cpuidle/state2/disable", "2", b"1\n"),
        ("/sys/devices/system/cpu/cpu3/power/pm_qos_resume_latency_us", "n/a", b"n/a\n"),
        ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "bogus", b"tsc\n"),
        ("/sys/devices/virtual/workqueue/cpumask", "f", b"000f\n"),
    ],
)
def test_what_is_shown_is_what_the_kernel_made_of_it(host, path, value, shown):
    host.files.write(path, value)
    assert host.files.read(path) == shown


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "ludicrous", errno.EINVAL),
        ("/sys/class/net/eth2/queues/rx-0/rps_cpus", "10000", errno.EOVERFLOW),
        ("/sys/class/net/eth2/gro_flush_timeout", "soon", errno.EINVAL),
        ("/sys/devices/virtual/workqueue/cpumask", "0", errno.EINVAL),
        ("/sys/devices/system/cpu/cpu3/online", "2", errno.EINVAL),
        ("/sys/class/net/eth2/address", "02:00:00:00:00:01", errno.EPERM),
    ],
)
def test_bad_attributes_are_refused(host, path, value, code):
    check_refused(host, path, value, code)


def test_a_ring_change_resets_the_nic_and_no_other(host):
    """What drivers forget when they make their vectors anew: affinities and the RSS table."""
    eth2, eth3 = number(host, "eth2-TxRx-0"), number(host, "eth3-TxRx-0")
    default = affinity(host, eth2)
    before = snapshot(host.files.root)
    for irq in (eth2, eth3):
        host.files.write(f"/proc/irq/{irq}/smp_affinity_list", "1")
    moved = affinity(host, eth3)
    with open(host.files.path("/ethtool/eth2.json"), "r+") as file:
        text = file.read().replace('"indirection": [0, 1', '"indirection": [1, 1')
        file.seek(0)
        file.write(text)
    host.syscalls.set_rings("eth2", rx=1001)
    assert (host.syscalls.rings("eth2").rx, host.syscalls.rings("eth2").tx) == (1008, 512)  # a multiple of 8
    assert affinity(host, eth2) == default
    assert affinity(host, eth3) == moved
    assert json.loads(host.files.text("/ethtool/eth2.json"))["rss"]["indirection"][:4] == [0, 1, 0, 1]
    host.files.write(f"/proc/irq/{eth2}/smp_affinity_list", "1")
    host.syscalls.set_rings("eth2", rx=1004)  # rounds to what it is: the driver does nothing
    assert affinity(host, eth2) == moved[:2] + affinity(host, eth2)[2:]
    host.syscalls.set_rings("eth2", rx=512)
    host.files.write(f"/proc/irq/{eth3}/smp_affinity", default_of(host, "eth3"))
    assert differing(before, snapshot(host.files.root)) == []


def default_of(host: Host, nic: str) -> str:
    return format_mask(next(n.local_cpus for n in Inventory(host).nics if n.name == nic), 16)


@pytest.mark.parametrize(
    ("name", "sizes", "code"),
    [
        ("eth2", {"rx": 4097}, errno.EINVAL),
        ("eth2", {"tx": -1}, errno.EINVAL),
        ("eth9", {"rx": 512}, errno.ENODEV),
        ("lo", {"rx": 512}, errno.EOPNOTSUPP),
        ("../eth2", {"rx": 512}, errno.ENODEV),
    ],
)
def test_impossible_rings_are_refused(host, name, sizes, code):
    before = snapshot(host.files.root)
    with refusal(code):
        host.syscalls.set_rings(name, **sizes)
    assert differing(before, snapshot(host.files.root)) == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"rings": 3}', b'{"rings": {"rx": "many"}}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_broken_document_is_an_error_and_no_traceback(host, content):
    with open(host.files.path("/ethtool/eth2.json"), "wb") as file:
        file.write(content)
    with pytest.raises(OSError, match=r"\w"):
        host.syscalls.rings("eth2")
    with open(host.files.path("/threads.json"), "wb") as file:
        file.write(content)
    with pytest.raises(OSError, match=r"\w"):
        host.syscalls.threads()
    with pytest.raises(OSError, match=r"\w"):
        host.syscalls.set_affinity(1, frozenset({0}))


def test_thread_affinities(host):
    threads = {thread.name: thread for thread in host.syscalls.threads()}
    host.syscalls.set_affinity(threads["rcu_preempt"].tid, frozenset({0, 1}))
    assert next(t for t in host.syscalls.threads() if t.name == "rcu_preempt").allowed == {0, 1}
    for tid, cpus, code in (
        (threads["ksoftirqd/1"].tid, {0}, errno.EINVAL),
        (threads["sshd"].tid, set(), errno.EINVAL),
        (threads["sshd"].tid, {99}, errno.EINVAL),
        (999_999, {0}, errno.ESRCH),
    ):
        with refusal(code):
            host.syscalls.set_affinity(tid, frozenset(cpus))
