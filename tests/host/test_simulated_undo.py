"""Whatever is done to a simulated host can be undone to the byte, and no kill leaves it half done."""

import contextlib
import json
import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated_trees import CGROUP, GROUP, differing, isolate, simulated, snapshot

from tuner.host.cpulist import format_list, format_mask, parse_list
from tuner.host.host import Host, Inventory, open_host
from tuner.host.simulated.kernel import PENDING

CALLS: dict[str, Callable[[Host], None]] = {
    "write": lambda host: host.files.write("/proc/irq/8/smp_affinity_list", "1"),
    "rings": lambda host: host.syscalls.set_rings("eth2", 1024),
    "fewer channels": lambda host: host.syscalls.set_nic_values("eth2", "channels", {"combined": 1}),
    "more channels": lambda host: host.syscalls.set_nic_values("eth2", "channels", {"combined": 2}),
    "mkdir": lambda host: host.files.make_directory(GROUP),
    "partition": lambda host: host.files.write(f"{GROUP}/cpuset.cpus.partition", "isolated"),
    "rmdir": lambda host: host.files.remove_directory(GROUP),
    "controllers": lambda host: host.files.write(f"{CGROUP}/cgroup.subtree_control", "+cpuset"),
    "procs": lambda host: host.files.write(f"{GROUP}/cgroup.procs", "1"),
}


def prepared(host: Host, call: str) -> None:
    if call in ("partition", "rmdir", "procs"):
        isolate(host, "1", "member")
    if call == "more channels":
        host.syscalls.set_nic_values("eth2", "channels", {"combined": 1})


@pytest.mark.parametrize("call", CALLS)
def test_a_call_whose_process_was_killed_is_finished_by_the_next_one(call):
    """kill -9 at any file that a call writes or unlinks: after the next open the call is done, or it never was."""
    size = {"nodes": 2, "cores": 2, "smt": 1, "nics": 1, "queues": 2}
    with simulated(**size) as host:
        prepared(host, call)
        base = snapshot(host.files.root)
        CALLS[call](host)
        done = snapshot(host.files.root)
    strip = len(str(host.files.root))
    never = {path[strip:]: what for path, what in base.items()}
    always = {path[strip:]: what for path, what in done.items()}
    assert never != always
    outcomes, steps = set(), 0
    while True:
        with simulated(**size) as victim:
            prepared(victim, call)
            died = killed_after(victim, CALLS[call], steps)
            open_host(str(victim.files.root))
            assert not victim.files.exists(PENDING)
            found = {path[len(str(victim.files.root)) :]: what for path, what in snapshot(victim.files.root).items()}
        assert found in (never, always), f"{call}: neither done nor undone after {steps} steps"
        outcomes.add(found == always)
        if not died:
            break
        steps += 1
    assert outcomes == {True, False}
    assert steps >= 2


def killed_after(host: Host, call: Callable[[Host], None], steps: int) -> bool:
    """Runs a call in a child that ends itself before its (steps + 1)th change of the tree. Whether it got that far."""
    child = os.fork()
    if child == 0:
        left = steps

        def counted(original: Callable) -> Callable:
            def step(*arguments, **options):
                nonlocal left
                if left == 0:
                    os._exit(9)
                left -= 1
                return original(*arguments, **options)

            return step

        real_write = os.write
        os.write, os.unlink, os.rmdir = counted(real_write), counted(os.unlink), counted(os.rmdir)
        os.makedirs, os.ftruncate = counted(os.makedirs), counted(os.ftruncate)
        os.rename, os.chmod = counted(os.rename), counted(os.chmod)
        try:
            call(host)
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


CPUS = st.frozensets(st.integers(0, 8), max_size=6)  # 8 is beyond the host
OPERATION = st.one_of(
    st.tuples(st.just("irq_list"), st.integers(0, 12), CPUS),
    st.tuples(st.just("irq_mask"), st.integers(0, 12), CPUS),
    st.tuples(st.just("default"), st.just(0), CPUS),
    st.tuples(st.just("workqueue"), st.just(0), CPUS),
    st.tuples(st.just("rps"), st.integers(0, 1), CPUS),
    st.tuples(st.just("sysctl"), st.integers(0, 3), st.integers(-5, 70_000)),
    st.tuples(st.just("rings"), st.integers(0, 1), st.integers(0, 5000)),
    st.tuples(st.just("thread"), st.integers(0, 60), CPUS),
    st.tuples(st.just("mkdir"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("controller"), st.just(0), st.just(0)),
    st.tuples(st.just("cpus"), st.integers(0, 1), CPUS),
    st.tuples(st.just("partition"), st.integers(0, 1), st.sampled_from(["member", "isolated", "root", "none"])),
    st.tuples(st.just("move"), st.integers(0, 8), st.integers(0, 1)),
)
SYSCTL = ("net/core/busy_poll", "vm/swappiness", "net/core/netdev_budget_usecs", "net/core/rps_sock_flow_entries")


def operate(host: Host, kind: str, which: int, value: object) -> Callable[[], None]:
    """One change; gives back what undoes it, as a transaction would: raw old values, and what a reset had forgotten."""
    files = host.files

    def write(path: str, text: str, back: Callable[[str], str] = str) -> Callable[[], None]:
        old = files.text(path)
        files.write(path, text)
        return lambda: files.write(path, back(old))

    irqs = Inventory(host).irqs
    group = (GROUP, f"{CGROUP}/other")[which % 2]
    if kind in ("irq_list", "irq_mask"):
        base = f"/proc/irq/{irqs[which % len(irqs)].number}/smp_affinity"
        return write(f"{base}_list", format_list(value)) if kind == "irq_list" else write(base, format_mask(value))
    if kind == "thread":
        thread = host.syscalls.threads()[which]
        row = json.loads(files.text("/threads.json"))["threads"][which]
        host.syscalls.set_affinity(thread.tid, value)
        return lambda: host.syscalls.set_affinity(thread.tid, parse_list(row["affinity"]))
    if kind == "rings":
        old = host.syscalls.rings("eth2")
        own = [irq.number for irq in irqs if irq.action.startswith("eth2")]
        saved = {irq: files.text(f"/proc/irq/{irq}/smp_affinity") for irq in own}
        host.syscalls.set_rings("eth2", **{("rx", "tx")[which]: value})

        def put_back() -> None:
            host.syscalls.set_rings("eth2", rx=old.rx, tx=old.tx)
            for irq, mask in saved.items():
                files.write(f"/proc/irq/{irq}/smp_affinity", mask)

        return put_back
    if kind == "mkdir":
        files.make_directory(group)
        return lambda: files.remove_directory(group)
    if kind == "controller":
        had = "cpuset" in files.text(f"{CGROUP}/cgroup.subtree_control")
        files.write(f"{CGROUP}/cgroup.subtree_control", "+cpuset")
        return lambda: None if had else files.write(f"{CGROUP}/cgroup.subtree_control", "-cpuset")
    if kind == "move":
        pids = sorted({thread.pid: thread.cgroup for thread in host.syscalls.threads() if not thread.kernel}.items())
        pid, home = pids[which % len(pids)]
        files.write(f"{(GROUP, f'{CGROUP}/other')[value]}/cgroup.procs", str(pid))
        return lambda: files.write(f"{CGROUP}{home.rstrip('/')}/cgroup.procs", str(pid))
    path, text = {
        "default": ("/proc/irq/default_smp_affinity", lambda: format_mask(value)),
        "workqueue": ("/sys/devices/virtual/workqueue/cpumask", lambda: format_mask(value)),
        "rps": (f"/sys/class/net/eth2/queues/rx-{which % 2}/rps_cpus", lambda: format_mask(value)),
        "sysctl": (f"/proc/sys/{SYSCTL[which % 4]}", lambda: str(value)),
        "cpus": (f"{group}/cpuset.cpus", lambda: format_list(value)),
        "partition": (f"{group}/cpuset.cpus.partition", lambda: str(value)),
    }[kind]
    if kind == "workqueue":  # what was asked for is what is put back, not what was left of it
        old = files.text(f"{path}_requested")
        files.write(path, text())
        return lambda: files.write(path, old)
    return write(path, text(), lambda old: old.split()[0] if kind == "partition" else old)


@pytest.fixture(scope="module")
def small():
    with simulated(nodes=1, cores=4, smt=2, nics=1, queues=2) as found:
        yield found, snapshot(found.files.root)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPERATION, max_size=14), st.booleans())
def test_any_sequence_of_changes_undone_in_reverse_leaves_the_same_bytes(small, operations, with_groups):
    host, before = small
    undo = []
    if with_groups:
        operations = [("controller", 0, 0), ("mkdir", 0, 0), ("mkdir", 1, 0), *operations]
    try:
        for kind, which, value in operations:
            with contextlib.suppress(OSError):  # refused: nothing to undo
                undo.append(operate(host, kind, which, value))
    finally:
        for back in reversed(undo):
            back()
    assert differing(before, snapshot(host.files.root)) == []
