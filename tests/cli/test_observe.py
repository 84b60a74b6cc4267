"""``verify --observe``: what was on an isolated core and does not belong there, named: on simulated hosts and this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine import Sim, clean_environment, command_line, run_quietcore

from ingest.counters import schedstat
from tuner.behaviour import Interrupted, Observed, Placed, judge, offended
from tuner.host.files import HostFiles
from tuner.host.running import Ran, RunningThreads

ISOLATED = frozenset({2, 3})


def interrupt(label: str, kind: str, name: str, **counts: int) -> Interrupted:
    return Interrupted(label, kind, name, {int(cpu[3:]): count for cpu, count in counts.items()})  # type: ignore[arg-type]


def thread(name: str, cpu: int, allowed: frozenset[int], *, kernel: bool = False, movable: bool = True, times: int = 1) -> Ran:
    return Ran(100, 100, name, cpu, times, kernel, movable, allowed)


def one(observed: Observed, placed: Placed | None = None, cpu: int = 2):
    """(offenders, expected) of one core by kind and name."""
    [core] = judge(frozenset({cpu}), observed, placed or Placed(ISOLATED))
    return [(f.kind, f.name, f.count) for f in core.offenders], [(f.kind, f.name, f.count) for f in core.expected], core


# ---------------------------------------------------------------------------------------------------------------- judging


def test_an_interrupt_belongs_where_the_profile_placed_it_and_nowhere_else() -> None:
    rows = (interrupt("40", "device", "eth2-TxRx-0", cpu2=100, cpu3=1), interrupt("9", "device", "acpi", cpu2=3))
    observed = Observed(10.0, rows, {"NET_RX": {2: 90, 3: 1}})
    placed = Placed(ISOLATED, {"40": frozenset({2})})
    offenders, expected, core = one(observed, placed)
    assert offenders == [("irq", "9 acpi", 3)]
    assert expected == [("irq", "40 eth2-TxRx-0", 100), ("softirq", "NET_RX", 90)]
    assert core.offenders[0].per_s == pytest.approx(0.3)
    offenders, expected, _ = one(observed, placed, cpu=3)
    assert ("irq", "40 eth2-TxRx-0", 1) in offenders
    assert ("softirq", "NET_RX", 1) in offenders
    assert expected == []


def test_a_managed_interrupt_is_an_offender_that_the_kernel_put_there() -> None:
    rows = (Interrupted("30", "device", "nvme0q3", {2: 5}, managed=True),)
    _, _, core = one(Observed(1.0, rows))
    assert "placed by the kernel itself" in core.offenders[0].note


@pytest.mark.parametrize("label", ["RES", "CAL", "TLB", "IWI"])
def test_who_sent_an_interrupt_to_another_cpu_is_not_guessed(label: str) -> None:
    offenders, _, core = one(Observed(1.0, (interrupt(label, "ipi", "what it is", cpu2=4),)))
    assert offenders == [("ipi", f"{label} what it is", 4)]
    assert core.offenders[0].note


def test_the_tick_belongs_there_unless_it_was_switched_off() -> None:
    tick = Observed(
        4.0, (interrupt("LOC", "timer", "Local timer interrupts", cpu2=1000),), {"TIMER": {2: 500}, "SCHED": {2: 2}}
    )
    offenders, expected, core = one(tick)
    assert offenders == []
    assert [name for _, name, _ in expected] == ["LOC local timer", "TIMER", "SCHED"]
    assert "nohz_full" in core.expected[0].note
    offenders, _, core = one(tick, Placed(ISOLATED, nohz_full=ISOLATED))
    assert [name for _, name, _ in offenders] == ["LOC local timer", "TIMER"]
    assert "in spite of nohz_full" in core.offenders[0].note
    slow = Observed(4.0, (interrupt("LOC", "timer", "Local timer interrupts", cpu2=4),))
    assert one(slow, Placed(ISOLATED, nohz_full=ISOLATED))[0] == []
    fast = Observed(1.0, (interrupt("LOC", "timer", "Local timer interrupts", cpu2=5000),))
    assert one(fast)[0] == [("timer", "LOC local timer", 5000)]


def test_threads_belong_there_that_are_bound_to_isolated_cores_alone() -> None:
    threads = (
        thread("md_feed", 2, frozenset({2}), times=50),
        thread("sshd", 2, frozenset({0, 1, 2, 3}), times=7),
        thread("kworker/2:1-events", 2, frozenset({2}), kernel=True, movable=False, times=3),
        thread("kworker/u8:0", 2, frozenset({0, 1, 2, 3}), kernel=True, movable=False, times=2),
        thread("elsewhere", 3, frozenset({3})),
    )
    offenders, expected, core = one(Observed(1.0, threads=threads, switches={2: 62}))
    assert offenders == [
        ("task", "sshd (process 100)", 7),
        ("task", "kworker/2:1-events (kernel thread 100)", 3),
        ("task", "kworker/u8:0 (kernel thread 100)", 2),
    ]
    assert expected == [("task", "md_feed (process 100)", 50)]
    notes = {f.name.split()[0]: f.note for f in core.offenders}
    assert "belongs to this CPU" in notes["kworker/2:1-events"]
    assert "isolation.workqueues" in notes["kworker/u8:0"]
    assert "may run on CPU 0-3" in notes["sshd"]
    assert core.unseen == ()


def test_what_reading_cannot_name_is_counted_or_said() -> None:
    offenders, _, core = one(Observed(1.0, threads=(thread("md_feed", 2, frozenset({2}), times=50),), switches={2: 55}))
    assert offenders == [("task", "unnamed", 5)]
    assert "reading cannot name them" in core.offenders[0].note
    assert "no /proc/schedstat" in one(Observed(1.0))[2].unseen[0]
    assert "do not say" in one(Observed(1.0, threads=None))[2].unseen[0]
    assert "offline" in one(Observed(1.0, gone=frozenset({2})))[2].unseen[0]


def test_idle_states_deeper_than_allowed_and_rows_of_the_machine() -> None:
    rows = (interrupt("NMI", "other", "Non-maskable interrupts", cpu2=1), interrupt("MCP", "other", "polls", cpu2=2))
    offenders, _, core = one(Observed(1.0, rows, too_deep=((2, "C6 (290 us, allowed 0 us)", 8), (3, "C6", 1))))
    assert [kind for kind, _, _ in offenders] == ["idle-state", "other", "other"]
    assert all(f.note for f in core.offenders)
    assert offended([core])
    assert not offended([one(Observed(1.0))[2]])


def test_schedstat_counts_are_those_of_cpu_lines_alone() -> None:
    raw = b"version 17\ntimestamp 4295\ncpu0 0 0 0 0 0 0 9 8 77\ndomain0 MC 3 1 2\ncpu1 0 0 0 0 0 0 9 8 5\ncpux 1\ncpu2 0 0 0\n"
    assert schedstat.parse(raw) == {0: 77, 1: 5}
    assert schedstat.parse(b"") == {}


# ------------------------------------------------------------------------------------------------------------- simulated


@pytest.fixture
def isolated(new_sim: Callable[..., Sim]) -> Sim:
    """A host with cores 2-3 isolated and the first NIC's queues on them."""
    sim = new_sim()
    text = '[bind]\nfeed = "nic"\n[cores]\nhousekeeping = "0-1"\nrx = "2-3"\n[irq]\ndefault = "0-1"\nfeed = "rx"\n'
    assert sim.apply(sim.profile(text + '[isolation]\ncores = "rx"\nkernel_threads = "0-1"\n')).outcome == "confirmed"
    return sim


def test_a_quiet_host_is_as_wanted(isolated: Sim) -> None:
    record = isolated.json("verify", "--observe", "2s", "--live", status=0)
    assert next(iter(record)) == "schema"
    assert record["observed"]["seconds"] == 2.0
    assert [core["cpu"] for core in record["observed"]["cores"]] == [2, 3]
    for core in record["observed"]["cores"]:
        assert core["offenders"] == []
        kinds = {found["kind"] for found in core["expected"]}
        assert {"irq", "timer", "softirq"} <= kinds  # the feed's queue, and the tick
        assert "threads ran" in core["unseen"][0]


def test_an_interrupt_that_lands_there_is_named_and_the_status_says_so(isolated: Sim) -> None:
    disk = next(n for n in range(24, 60) if isolated.host.files.exists(f"/proc/irq/{n}/ahci[0000:02:00.0]"))
    isolated.write(f"/proc/irq/{disk}/smp_affinity_list", "3")
    record = isolated.json("verify", "--observe", "5s", "--live", status=2)
    cores = {core["cpu"]: core for core in record["observed"]["cores"]}
    assert cores[2]["offenders"] == []
    [offender] = cores[3]["offenders"]
    assert offender["kind"] == "irq"
    assert offender["name"] == f"{disk} ahci[0000:02:00.0]"
    assert offender["per_s"] == pytest.approx(offender["count"] / 5.0)
    text = isolated.run("verify", "--observe", "5s", "--live")
    assert text.returncode == 2
    assert "ahci[0000:02:00.0]" in text.stdout
    assert "CPU 2: nothing that does not belong there" in text.stdout


def test_without_a_profile_any_core_can_be_watched(sim: Sim) -> None:
    record = sim.json("verify", "--observe", "2s", "--live", "--cpus", "1", status=2)
    assert record["changes"] == []
    assert {found["kind"] for found in record["observed"]["cores"][0]["offenders"]} >= {"ipi"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "observe", "--observe", "1s"), "no core of this host is isolated"),
        (("verify", "--observe", "1s", "--cpus", "77"), "CPU 77 is not online here"),
        (("verify", "--observe", "1s", "--cpus", "x\x1b[2J"), "--cpus"),
        (("verify", "--cpus", "1"), "belong to --observe"),
        (("verify", "--observe", "soon", "--cpus", "1"), "not a duration"),
    ],
)
def test_what_cannot_be_observed_is_said(sim: Sim, words: tuple[str, ...], said: str) -> None:
    done = sim.run(*words)
    assert done.returncode == 1
    assert said in done.stderr
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_captured_host_does_not_behave(captured_host: Callable[[str], str], tmp_path: Path) -> None:
    done = run_quietcore("verify", "--observe", "1s", "--cpus", "1", root=captured_host("lab-8cpu-2numa"), state=str(tmp_path))
    assert done.returncode == 1
    assert "files do not behave" in done.stderr


# ---------------------------------------------------------------------------------------------------------- this machine

needs_two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")


def spinning(cpu: int, allowed: list[int]) -> subprocess.Popen[str]:
    """A process that may run on ``allowed`` and is on ``cpu`` every 20 ms, wherever it is balanced to between."""
    code = (
        "import os, time\nprint(flush=True)\nend = time.time() + 60\n"
        "while time.time() < end:\n"
        f"    os.sched_setaffinity(0, [{cpu}])\n    os.sched_setaffinity(0, {allowed})\n"
        "    now = time.time()\n    while time.time() < now + 0.02: pass\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    return child


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        child.kill()
        child.wait()


@needs_two
def test_on_this_machine_a_stray_is_told_from_who_was_put_there(processes: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    online = sorted(os.sched_getaffinity(0))
    last = online[-1]
    put, stray = spinning(last, [last]), spinning(last, online)
    processes += [put, stray]
    done = run_quietcore("verify", "--observe", "1500ms", "--cpus", str(last), "--json", state=str(tmp_path))
    assert done.returncode == 2, done.stderr
    [core] = json.loads(done.stdout)["observed"]["cores"]
    expected = {found["name"] for found in core["expected"] if found["kind"] == "task"}
    assert any(name.endswith(f"(process {put.pid})") for name in expected), core
    foreign = {found["name"]: found for found in core["offenders"] if found["kind"] == "task"}
    assert not any(f"process {put.pid})" in name for name in foreign)
    assert any(name.endswith(f"(process {stray.pid})") for name in foreign), core
    assert any(found["kind"] == "timer" for found in core["expected"] + core["offenders"])


@needs_two
def test_on_this_machine_interrupts_of_another_cpu_are_counted(processes: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    """membarrier interrupts every CPU that runs a thread of the process: function calls to the last CPU, from the first."""
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    code = (
        "import ctypes, os, threading, time\n"
        "libc = ctypes.CDLL(None)\n"
        "assert libc.syscall(324, 16, 0, 0) == 0\n"  # MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
        "def spin():\n"
        f"    os.sched_setaffinity(0, [{last}])\n"
        "    while True: libc.usleep(0)\n"
        "threading.Thread(target=spin, daemon=True).start()\n"
        f"os.sched_setaffinity(0, [{first}])\n"
        "print(flush=True)\n"
        "end = time.time() + 60\n"
        "while time.time() < end: libc.syscall(324, 8, 0, 0)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    processes.append(child)
    assert child.stdout is not None
    assert child.stdout.readline() == "\n"
    done = run_quietcore("verify", "--observe", "1500ms", "--cpus", str(last), "--json", state=str(tmp_path))
    [core] = json.loads(done.stdout)["observed"]["cores"]
    found = [each for each in core["offenders"] if each["kind"] == "ipi"]
    assert any(each["name"].startswith(("CAL", "IPI")) and each["count"] > 0 for each in found), core


@needs_two
def test_ctrl_c_ends_it_early_with_what_was_seen(tmp_path: Path) -> None:
    words = command_line(
        "verify", "--observe", "10min", "--cpus", str(max(os.sched_getaffinity(0))), "--json", state=str(tmp_path)
    )
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=clean_environment())
    time.sleep(1.5)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=30)
    if out:  # else the signal came before it had begun to watch
        assert json.loads(out)["observed"]["seconds"] < 60
        assert child.returncode in (0, 2)


@needs_two
def test_the_look_does_not_name_itself_and_sees_a_bound_thread_at_once(processes: list[subprocess.Popen[str]]) -> None:
    last = max(os.sched_getaffinity(0))
    processes.append(spinning(last, [last]))
    watch = RunningThreads(HostFiles(), frozenset({last}))
    watch.look()
    deadline = time.monotonic() + 20
    while not (found := [ran for ran in watch.found() if ran.pid == processes[0].pid]) and time.monotonic() < deadline:
        time.sleep(0.1)
        watch.look()
    assert found
    assert found[0].allowed == {last}
    assert os.getpid() not in {ran.pid for ran in watch.found()}
