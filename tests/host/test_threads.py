"""Threads with any name, of this machine and of trees."""

import os
import threading
import time

import pytest

from tuner.host.files import HostFiles
from tuner.host.threads import cgroup_of, read_thread, thread_ids


def stat(tid: int, name: str, flags: int = 0, start: int = 777, cpu: int = 5) -> str:
    fields = ["0"] * 50
    fields[0], fields[6], fields[19], fields[36] = "S", str(flags), str(start), str(cpu)
    return f"{tid} ({name}) {' '.join(fields)}\n"


@pytest.mark.parametrize(
    "name", ["plain", "a b", "(sd-pam)", "a) S 1 (b", ")", "", ") 0 0 0", "\x1b[2J", "a\nb", "\udcff\udcfe", "tmux: server"]
)
def test_the_fields_behind_any_name(tree, name):
    files = tree({"/proc/7/stat": stat(7, name), "/proc/7/status": "Name:\tx\nCpus_allowed_list:\t0-2,4\n"})
    thread = read_thread(files, 7, 7)
    assert thread is not None
    assert thread.name == name
    assert (thread.tid, thread.pid, thread.start_ticks, thread.last_cpu) == (7, 7, 777, 5)
    assert thread.allowed == {0, 1, 2, 4}
    assert not thread.kernel
    assert thread.movable


def test_kernel_threads_and_those_that_belong_to_their_cpu(tree):
    files = tree({"/proc/2/stat": stat(2, "kthreadd", 0x00208040), "/proc/3/stat": stat(3, "ksoftirqd/0", 0x04208040)})
    free, bound = read_thread(files, 2, 2), read_thread(files, 3, 3)
    assert free is not None
    assert bound is not None
    assert (free.kernel, free.movable) == (True, True)
    assert (bound.kernel, bound.movable) == (True, False)


@pytest.mark.parametrize("content", ["", "7\n", "7 (x)\n", "7 (x) S 1 2\n", "7 (x) " + "x " * 50])
def test_a_thread_that_ended_or_is_nonsense_is_left_out(tree, content):
    assert read_thread(tree({"/proc/7/stat": content}), 7, 7) is None
    assert read_thread(tree({}), 8, 8) is None


def test_an_affinity_that_cannot_be_read_is_empty(tree):
    files = tree({"/proc/7/stat": stat(7, "x"), "/proc/7/status": "Cpus_allowed_list:\tnonsense\n"})
    thread = read_thread(files, 7, 7)
    assert thread is not None
    assert thread.allowed == frozenset()


def test_what_the_caller_knows_is_not_read(tree):
    thread = read_thread(tree({"/proc/7/stat": stat(7, "x")}), 7, 7, frozenset({3}), "/known")
    assert thread is not None
    assert thread.allowed == {3}
    assert thread.cgroup == "/known"


def test_all_threads_of_a_tree_with_and_without_task_directories(tree):
    files = tree(
        {
            "/proc/7/task/7/stat": stat(7, "main"),
            "/proc/7/task/9/stat": stat(9, "worker"),
            "/proc/8/stat": stat(8, "captured"),
            "/proc/²/stat": stat(1, "no number"),
            "/proc/self/stat": stat(1, "a link elsewhere"),
            "/proc/7/task/²/": "",
        }
    )
    assert sorted(thread_ids(files)) == [(7, 7), (7, 9), (8, 8)]
    worker = read_thread(files, 7, 9)
    assert worker is not None
    assert (worker.pid, worker.tid, worker.name) == (7, 9, "worker")


@pytest.mark.parametrize(
    ("content", "cgroup"),
    [
        ("0::/system.slice/a.service\n", "/system.slice/a.service"),
        ("12:cpuset:/\n0::/user.slice\n", "/user.slice"),
        ("12:cpuset:/x\n", "/"),
        ("", "/"),
        ("0::/a\x1cb\x85 c\n", "/a\x1cb\x85 c"),
    ],
)
def test_the_cgroup_of_a_process(tree, content, cgroup):
    assert cgroup_of(tree({"/proc/7/cgroup": content}), 7) == cgroup


def test_a_thread_of_this_process_is_found_with_its_name_and_affinity():
    go_on = threading.Event()
    numbers: list[int] = []

    def work() -> None:
        with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w", encoding="utf-8") as file:
            file.write("qc) R (\x1b[7m")
        numbers.append(threading.get_native_id())
        go_on.wait(20)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        deadline = time.monotonic() + 10
        while not numbers and time.monotonic() < deadline:
            time.sleep(0.001)
        machine = HostFiles("/")
        assert (os.getpid(), numbers[0]) in thread_ids(machine)
        thread = read_thread(machine, os.getpid(), numbers[0])
        assert thread is not None
        assert thread.name == "qc) R (\x1b[7m"
        assert thread.allowed == os.sched_getaffinity(numbers[0])
        assert not thread.kernel
        assert thread.movable
        since_boot_s = thread.start_ticks / os.sysconf("SC_CLK_TCK")
        assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot_s < 30
    finally:
        go_on.set()
        worker.join()
