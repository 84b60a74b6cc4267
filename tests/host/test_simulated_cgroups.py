"""The cgroup hierarchy of a simulated host: partitions that are granted, refused and given back."""

import errno
from collections.abc import Callable

import pytest
from simulated_trees import CGROUP, GROUP, differing, isolate, refusal, simulated, snapshot

from tuner.host.cpulist import format_mask, parse_list


@pytest.fixture
def host():
    with simulated(nodes=2, cores=4, smt=2, nics=2, queues=2) as found:
        yield found


def test_an_isolated_partition_takes_its_cpus_from_all_others(host):
    before = snapshot(host.files.root)
    text = host.files.text
    assert not host.files.exists(f"{CGROUP}/system.slice/cpuset.cpus")
    assert isolate(host, "2-3,10-11") == "isolated"
    rest = "0-1,4-9,12-15"
    assert text(f"{CGROUP}/cgroup.subtree_control") == "cpuset cpu io memory pids"
    assert text(f"{CGROUP}/cpuset.cpus.effective") == text(f"{CGROUP}/system.slice/cpuset.cpus.effective") == rest
    assert text(f"{CGROUP}/cpuset.cpus.isolated") == text(f"{GROUP}/cpuset.cpus.effective") == "2-3,10-11"
    assert text("/sys/devices/virtual/workqueue/cpumask") == format_mask(parse_list(rest), 16)
    assert text("/sys/devices/virtual/workqueue/cpumask_requested") == "ffff"
    by_name = {thread.name: thread for thread in host.syscalls.threads()}
    assert by_name["md_feed/rx0"].allowed == parse_list(rest) if by_name["md_feed/rx0"].last_cpu in {2, 3} else True
    assert by_name["sshd"].allowed == by_name["rcu_preempt"].allowed == parse_list(rest)
    assert by_name["ksoftirqd/2"].allowed == {2}
    host.files.write(f"{GROUP}/cpuset.cpus.partition", "member")
    assert text(f"{CGROUP}/cpuset.cpus.effective") == "0-15"
    assert text(f"{CGROUP}/cpuset.cpus.isolated") == ""
    host.files.remove_directory(GROUP)
    host.files.write(f"{CGROUP}/cgroup.subtree_control", "-cpuset")
    assert differing(before, snapshot(host.files.root)) == []


def test_a_thread_pinned_to_isolated_cpus_is_moved_and_comes_back():
    with simulated() as host:
        feed = next(thread for thread in host.syscalls.threads() if thread.name == "md_feed/rx0")
        assert feed.allowed == {4}
        isolate(host, "4-7")
        moved = next(thread for thread in host.syscalls.threads() if thread.tid == feed.tid)
        assert moved.allowed == frozenset(range(64)) - {4, 5, 6, 7}
        # into the partition: what the thread had asked for holds again
        host.files.write(f"{GROUP}/cgroup.procs", str(feed.pid))
        inside = next(thread for thread in host.syscalls.threads() if thread.tid == feed.tid)
        assert (inside.allowed, inside.cgroup) == ({4}, "/quietcore")
        assert host.files.text(f"{GROUP}/cgroup.events").startswith("populated 1")
        with refusal(errno.EBUSY):
            host.files.remove_directory(GROUP)


@pytest.mark.parametrize(
    ("cpus", "reason"),
    [("", "cpuset.cpus and cpuset.cpus.exclusive are empty"), ("0-15", "Parent unable to distribute cpu downstream")],
)
def test_a_partition_that_cannot_be_says_why(host, cpus, reason):
    assert isolate(host, cpus) == f"isolated invalid ({reason})"
    assert host.files.text(f"{CGROUP}/cpuset.cpus.effective") == "0-15"
    host.files.write(f"{GROUP}/cpuset.cpus", "1")
    assert host.files.text(f"{GROUP}/cpuset.cpus.partition") == "isolated"


def test_partitions_that_overlap_or_sit_below_a_member_are_invalid(host):
    isolate(host, "1-2")
    host.files.make_directory(f"{CGROUP}/other")
    host.files.write(f"{CGROUP}/other/cpuset.cpus", "2-3")
    assert host.files.text(f"{GROUP}/cpuset.cpus.partition") == "isolated invalid (Cpu list in cpuset.cpus not exclusive)"
    assert host.files.text(f"{CGROUP}/cpuset.cpus.isolated") == ""
    host.files.write(f"{CGROUP}/other/cpuset.cpus", "3-4")
    assert host.files.text(f"{GROUP}/cpuset.cpus.partition") == "isolated"
    host.files.write(f"{CGROUP}/other/cgroup.subtree_control", "+cpuset")
    host.files.make_directory(f"{CGROUP}/other/inner")
    host.files.write(f"{CGROUP}/other/inner/cpuset.cpus", "3")
    host.files.write(f"{CGROUP}/other/inner/cpuset.cpus.partition", "root")
    assert host.files.text(f"{CGROUP}/other/inner/cpuset.cpus.partition") == "root invalid (Parent is not a partition root)"
    host.files.write(f"{CGROUP}/other/cpuset.cpus.partition", "root")
    assert host.files.text(f"{CGROUP}/other/inner/cpuset.cpus.partition") == "root"
    assert host.files.text(f"{CGROUP}/other/cpuset.cpus.effective") == "4"
    assert host.files.text(f"{CGROUP}/cpuset.cpus.effective") == "0,5-15"
    assert host.files.text(f"{CGROUP}/cgroup.stat").startswith("nr_descendants ")


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda files: files.write(f"{CGROUP}/cgroup.subtree_control", "cpuset"), errno.EINVAL),
        (lambda files: files.write(f"{CGROUP}/cgroup.subtree_control", "+nothing"), errno.EINVAL),
        (lambda files: files.write(f"{CGROUP}/system.slice/ssh.service/cgroup.subtree_control", "+io"), errno.ENOENT),
        (lambda files: files.write(f"{CGROUP}/system.slice/ssh.service/cgroup.subtree_control", "+pids"), errno.EBUSY),
        (lambda files: files.write(f"{CGROUP}/cgroup.subtree_control", "-memory"), errno.EBUSY),
        (lambda files: files.write(f"{CGROUP}/cgroup.procs", "999999"), errno.ESRCH),
        (lambda files: files.write(f"{CGROUP}/cgroup.procs", "me"), errno.EINVAL),
        (lambda files: files.make_directory(f"{CGROUP}/system.slice"), errno.EEXIST),
        (lambda files: files.make_directory(f"{CGROUP}/no/group"), errno.ENOENT),
        (lambda files: files.make_directory("/sys/devices/new"), errno.EPERM),
        (lambda files: files.remove_directory(f"{CGROUP}/system.slice"), errno.EBUSY),
        (lambda files: files.remove_directory(f"{CGROUP}/gone"), errno.ENOENT),
        (lambda files: files.remove_directory(CGROUP), errno.EBUSY),
        (lambda files: files.write(f"{GROUP}/cpuset.cpus", "16"), errno.ERANGE),
        (lambda files: files.write(f"{GROUP}/cpuset.cpus", "x"), errno.EINVAL),
        (lambda files: files.write(f"{GROUP}/cpuset.cpus.partition", "alone"), errno.EINVAL),
    ],
)
def test_bad_cgroup_calls_are_refused(host, call: Callable, code):
    isolate(host, "1")
    before = snapshot(host.files.root)
    with refusal(code):
        call(host.files)
    assert differing(before, snapshot(host.files.root)) == []
