"""Cores set apart by a v1 cpuset: on this machine's kernel, where it has one, on a simulated host, refused, killed anywhere."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from engine import Sim, tree_of
from port import ERRNOS, Faults, die, faulty, in_child

from ingest.roles import isolated_cpus
from tuner.host.host import Inventory, open_host
from tuner.host.simulated import cpuset_v1 as simulated
from tuner.host.simulated.shape import read_shape
from tuner.knobs.cpuset_v1 import ROOT, CpusetV1, has_cpuset_v1
from tuner.knobs.knob import Unsupported
from tuner.undo import recover, rollback

PROFILE = '[isolation]\ncores = "2-3"\nkernel_threads = "0-1"\nworkqueues = "0-1"\n'
KNOB = CpusetV1()
LEAVES = ("cpuset.cpus", "cpuset.mems", "cpuset.cpu_exclusive", "cpuset.sched_load_balance")


@pytest.fixture
def sim(new_sim: Callable[..., Sim]) -> Sim:
    """A simulated host whose cpuset controller is in a v1 hierarchy."""
    made = new_sim()
    shape = read_shape(made.host.files)
    assert shape is not None
    root = Path(made.root)
    pids = sorted({thread.pid for thread in made.host.syscalls.threads()})
    shutil.rmtree(root / "sys/fs/cgroup")
    for name, content in simulated.root_files(shape, pids).items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return replace(made, before=tree_of(made.root))


def test_it_is_chosen_where_there_are_no_partitions_and_put_back_to_the_byte(sim: Sim) -> None:
    profile = sim.profile(PROFILE)
    plan = sim.plan(profile)
    assert {c.knob for c in plan.changes} >= {"isolation.cpuset_v1", "isolation.user_threads", "isolation.workqueues"}
    assert "isolation.partition" not in {c.knob for c in plan.changes}
    assert sim.apply(profile).outcome == "confirmed"
    after = {c.knob: c for c in sim.plan(profile).changes}
    assert {c.state for c in after.values()} == {"ok"}
    assert after["isolation.cpuset_v1"].effective == "isolated 2-3"
    files = sim.host.files
    assert files.text(f"{ROOT}/cpuset.sched_load_balance") == "0"
    assert files.text(f"{ROOT}/quietcore-rest/cpuset.cpus") == "0-1"
    assert files.text(f"{ROOT}/quietcore-rest/cpuset.sched_load_balance") == "1"
    rollback(sim.host, sim.store, None, "test")
    assert sim.changed() == []


def test_whoever_watches_the_cores_knows_them_as_isolated(sim: Sim) -> None:
    host = sim.host
    assert isolated_cpus(host.files, Inventory(host).topology) == frozenset()
    assert sim.apply(sim.profile(PROFILE)).outcome == "confirmed"
    assert isolated_cpus(host.files, Inventory(host).topology) == {2, 3}


def test_who_was_started_inside_goes_to_the_root(sim: Sim) -> None:
    profile = sim.profile(PROFILE)
    assert sim.apply(profile).outcome == "confirmed"
    pid = next(t.pid for t in sim.host.syscalls.threads() if t.name == "bash")
    sim.write(f"{ROOT}/quietcore/cgroup.procs", str(pid))
    rollback(sim.host, sim.store, None, "test")
    assert not [path for path in sim.changed() if "cgroup" in path]


def test_another_cpuset_on_the_same_cores_is_a_conflict_and_shows_as_what_it_does(sim: Sim) -> None:
    sim.host.files.make_directory(f"{ROOT}/docker")
    sim.write(f"{ROOT}/docker/cpuset.cpus", "0-3")
    plan = sim.plan(sim.profile(PROFILE))
    assert any("docker" in conflict for conflict in plan.conflicts)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        KNOB.write(Inventory(sim.host), "quietcore", "isolated 2-3", {})
    sim.write(f"{ROOT}/docker/cpuset.cpus", "0-1")
    sim.write(f"{ROOT}/quietcore/cpuset.cpus", "2-3")
    sim.write(f"{ROOT}/quietcore/cpuset.sched_load_balance", "0")
    sim.write(f"{ROOT}/cpuset.sched_load_balance", "0")
    reading = KNOB.read(Inventory(sim.host), "quietcore")
    assert (reading.now, KNOB.compare(reading, "isolated 2-3")) == ("shared 2-3", "differs")  # not exclusive


def test_a_balanced_cpuset_over_the_cores_is_told_by_effect(sim: Sim) -> None:
    assert sim.apply(sim.profile(PROFILE)).outcome == "confirmed"
    (Path(sim.root) / ROOT.lstrip("/") / "quietcore-rest/cpuset.cpus").write_text("0-2\n")  # as no kernel would let it be
    reading = KNOB.read(Inventory(sim.host), "quietcore")
    assert reading.effective == "shared 2-3"
    assert "CPU 2 is in another cpuset" in reading.note


@pytest.mark.promise("R2")
def test_every_change_of_it_refused(sim: Sim, held: Callable[[int], None]) -> None:
    profile, faults = sim.profile(PROFILE), Faults()
    assert sim.apply(profile, host=faulty(sim, faults)).outcome == "confirmed"
    rollback(sim.host, sim.store, None, "was a rehearsal")
    for number, what in enumerate(faults.made, start=1):
        code = ERRNOS[number % len(ERRNOS)]
        result = sim.apply(profile, host=faulty(sim, Faults(at={number: code})))
        if code == errno.EBUSY or (what.startswith("set_affinity") and code == errno.EINVAL):
            rollback(sim.host, sim.store, None, "tolerated")
        else:
            assert result.outcome == "rolled-back", (what, errno.errorcode[code], result.error)
        assert sim.changed() == [], (what, errno.errorcode[code])
        held(1)


@pytest.mark.promise("R1")
def test_a_death_at_every_change_of_it(sim: Sim, held: Callable[[int], None]) -> None:
    profile, number = sim.profile(PROFILE), 1
    while in_child(lambda number=number: sim.apply(profile, host=faulty(sim, Faults(at={number: die})))):
        with sim.store.lock():
            recover(sim.host, sim.store)
        assert sim.changed() == [], number
        held(1)
        number += 1
    assert number > 10


def test_a_host_without_it_says_what_is_missing(new_sim: Callable[..., Sim]) -> None:
    with pytest.raises(Unsupported, match="no cgroup v1 cpuset"):
        KNOB.read(Inventory(new_sim().host), "quietcore")


# ------------------------------------------------------------------------------------------------------ this machine


@pytest.fixture
def machine() -> Iterator[Inventory]:
    """This machine, whose cpuset hierarchy is put back whatever happens."""
    host = open_host()
    if not has_cpuset_v1(host.files):
        pytest.skip("this machine's kernel has no cgroup v1 cpuset hierarchy mounted")
    if os.geteuid() != 0 or len(Inventory(host).topology.online) < 2:
        pytest.skip("needs root and two CPUs")
    balance, groups = host.files.text(f"{ROOT}/cpuset.sched_load_balance"), set(host.files.entries(ROOT))
    yield Inventory(host)
    host.files.write(f"{ROOT}/cpuset.sched_load_balance", balance)
    for left in set(host.files.entries(ROOT)) - groups:
        host.files.remove_directory(f"{ROOT}/{left}")


def hierarchy() -> dict[str, str]:
    """Every flag of every cpuset of this machine."""
    return {str(path): path.read_text() for leaf in LEAVES for path in Path(ROOT).rglob(leaf)}


def test_this_kernel_isolates_by_it_and_is_put_back(machine: Inventory) -> None:
    name, before = f"quietcore-test-{os.getpid()}", hierarchy()
    last = max(machine.topology.online)
    found = KNOB.read(machine, name)
    assert found.now == "none"
    try:
        KNOB.write(machine, name, f"isolated {last}", {})
        reading = KNOB.read(machine, name)
        assert (reading.now, reading.effective) == (f"isolated {last}", f"isolated {last}"), reading.note
        assert KNOB.compare(reading, f"isolated {last}") == "ok"
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        try:
            Path(f"{ROOT}/{name}/cgroup.procs").write_text(str(sleeper.pid))
            assert os.sched_getaffinity(sleeper.pid) == {last}
            KNOB.restore(machine, name, found.saved)
            assert Path(f"/proc/{sleeper.pid}/cpuset").read_text() == "/\n"
        finally:
            sleeper.kill()
            sleeper.wait()
        KNOB.restore(machine, name, found.saved)  # once more changes nothing
    finally:
        KNOB.restore(machine, name, found.saved)
    assert hierarchy() == before


def test_this_kernel_does_not_balance_onto_it(machine: Inventory) -> None:
    """Threads that may run anywhere and were started elsewhere stay away from the core, however crowded theirs is."""
    name, last = f"quietcore-test-{os.getpid()}", max(machine.topology.online)
    found = KNOB.read(machine, name)
    first = min(machine.topology.online)
    spin = (
        f"import os, time\nos.sched_setaffinity(0, [{first}])\nos.sched_setaffinity(0, {sorted(machine.topology.online)})\n"
        "end = time.time() + 60\nwhile time.time() < end: pass\n"
    )
    try:
        KNOB.write(machine, name, f"isolated {last}", {})
        spinners = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(3)]
        try:
            time.sleep(0.8)
            there = [_last_cpu(p.pid) for p in spinners for _ in range(3)]
            allowed = [os.sched_getaffinity(p.pid) for p in spinners]
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.wait()
    finally:
        KNOB.restore(machine, name, found.saved)
    assert all(last in cpus for cpus in allowed)  # they might
    assert last not in there


def _last_cpu(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[36])
