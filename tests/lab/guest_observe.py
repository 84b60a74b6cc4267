"""Inside the lab's guest: cores set apart are watched, and what is put on them by hand is named; CPUs go and come; v1 cpusets.

Alone: ``vm -- python tests/lab/guest_observe.py`` (``v1`` behind it: the same isolation with a v1 hierarchy instead).
"""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from ui.cli.main import main as quietcore

STATE = "/var/lib/quietcore-lab-observe"
Check = Callable[..., None]
QUIET = """
[cores]
housekeeping = "0-3"
rx = "5,7"
[irq]
default = "housekeeping"
[isolation]
cores = "rx"
kernel_threads = "housekeeping"
workqueues = "housekeeping"
workqueue_masks = "housekeeping"
watchdog = "housekeeping"
[noise]
ignore_corrected_errors = true
mce_check_interval_s = 0
preempt = ["full", "voluntary"]
[sysctl]
"vm.stat_interval" = 120
"kernel.timer_migration" = 0
"""


def command(*arguments: str) -> tuple[int, dict]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = quietcore(["--json", "--state", STATE, *arguments])
    text = out.getvalue().strip()
    return status, json.loads(text) if text else {}


@contextlib.contextmanager
def profile(text: str) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        os.chmod(file.name, 0o600)
        yield file.name


def read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError as error:
        return f"<{error.strerror}>"


def offenders(record: dict, kind: str) -> list[tuple[int, str, int]]:
    return [
        (core["cpu"], found["name"], found["count"])
        for core in record["observed"]["cores"]
        for found in core["offenders"]
        if found["kind"] == kind
    ]


def settings() -> dict[str, str]:
    """What the profiles here set, and what CPUs that go take with them."""
    found = {f"irq {n}": read(f"/proc/irq/{n}/smp_affinity_list") for n in os.listdir("/proc/irq") if n.isdigit()}
    names = [
        "/proc/sys/kernel/watchdog_cpumask",
        "/sys/devices/virtual/workqueue/cpumask",
        "/sys/devices/virtual/workqueue/writeback/cpumask",
        "/sys/devices/system/machinecheck/machinecheck0/ignore_ce",
        "/sys/devices/system/machinecheck/machinecheck5/check_interval",
        "/sys/kernel/debug/sched/preempt",
        "/sys/kernel/debug/sched/fair_server/cpu5/runtime",
        "/sys/devices/system/cpu/online",
        "/sys/devices/system/cpu/smt/control",
        "/sys/fs/cgroup/cpuset/cpuset.sched_load_balance",
        "/sys/fs/cgroup/cpuset/cpuset.cpus",
    ]
    return found | {name: read(name) for name in names}


def changed(before: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    after = settings()
    return {k: (before.get(k), after.get(k)) for k in before.keys() | after.keys() if before.get(k) != after.get(k)}


def disk_interrupt() -> str:
    """The interrupt by which this guest gets its files: the one of a virtio queue that counts most while files are read."""

    def counts() -> dict[str, int]:
        lines = pathlib.Path("/proc/interrupts").read_text().splitlines()
        cpus = len(lines[0].split())
        rows = [line.split() for line in lines[1:]]
        return {row[0][:-1]: sum(map(int, row[1 : 1 + cpus])) for row in rows if row[0][:-1].isdigit() and "virtio" in row[-1]}

    before = counts()
    touch_files()
    after = counts()
    return max(after, key=lambda n: after[n] - before.get(n, 0))


def touch_files() -> None:
    """Something of the shared file system that no cache has."""
    for base, _, names in os.walk("/usr/share/doc"):
        for name in names[:4]:
            with contextlib.suppress(OSError):
                os.stat(os.path.join(base, name))
        if time.monotonic() % 1 > 0.8:
            break


def behaviour(check: Check) -> None:
    """Isolates two cores, finds them quiet of devices and threads, then puts an interrupt on one and has it named."""
    print("== behaviour of isolated cores", flush=True)
    subprocess.run(["mount", "-t", "debugfs", "none", "/sys/kernel/debug"], check=False, capture_output=True)
    before = settings()
    with profile(QUIET) as path:
        status, plan = command("plan", path)
        states = {c["knob"]: (c["state"], c["error"] or "") for c in plan["changes"]}
        check("plan", status == 2, {k: v for k, v in states.items() if v[0] not in ("ok", "differs")})
        status, applied = command("apply", path)
        check("apply", status == 0, applied.get("error"))
    time.sleep(1)
    status, quiet = command("verify", "--observe", "3s")
    everything = [(c["cpu"], f["kind"], f["name"], f["count"]) for c in quiet["observed"]["cores"] for f in c["offenders"]]
    check("no device interrupts the isolated cores", not offenders(quiet, "irq"), everything)
    check("no process runs there", not [o for o in offenders(quiet, "task") if "(process" in o[1]], offenders(quiet, "task"))
    check(
        "this kernel counts what cannot be named",
        not any("schedstat" in u for c in quiet["observed"]["cores"] for u in c["unseen"]),
    )
    number = disk_interrupt()
    pathlib.Path(f"/proc/irq/{number}/smp_affinity_list").write_text("5")
    child = os.fork()
    if child == 0:
        end = time.monotonic() + 4
        while time.monotonic() < end:
            touch_files()
        os._exit(0)
    status, loud = command("verify", "--observe", "3s")
    os.waitpid(child, 0)
    found = offenders(loud, "irq")
    check("an interrupt moved there by hand is named", any(o[0] == 5 and o[1].startswith(f"{number} ") for o in found), found)
    check("and nothing of it on the other", not [o for o in found if o[0] == 7], found)
    check("verify says so", status == 2, status)
    status, undone = command("rollback")
    left = {k: v for k, v in changed(before).items() if k != f"irq {number}"}
    check("rollback", status == 0 and not left, left or [u for u in undone["undone"] if u["result"] == "residual"])
    pathlib.Path(f"/proc/irq/{number}/smp_affinity_list").write_text(before[f"irq {number}"])
    _stray(check)


def _stray(check: Check) -> None:
    """A process that may run anywhere, on a core that is watched as if it were isolated."""
    once = "os.sched_setaffinity(0, [5]); os.sched_setaffinity(0, range(8))"
    code = f"import os\nwhile True:\n {once}\n for _ in range(90000): pass"
    stray = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(2)
    try:
        _, record = command("verify", "--observe", "3s", "--cpus", "5")
    finally:
        stray.kill()
        stray.wait()
    named = [o for o in offenders(record, "task") if f"process {stray.pid})" in o[1]]
    check("a thread that strays there is named", bool(named), offenders(record, "task")[:5])


def processors(check: Check) -> None:
    """CPUs offline one by one, and hyper-threading off: with an interrupt and a process that have no other CPU."""
    print("== CPUs offline and back", flush=True)
    before = settings()
    number = next(k.split()[1] for k, v in before.items() if k.startswith("irq ") and int(k.split()[1]) > 20)
    with contextlib.suppress(OSError):
        pathlib.Path(f"/proc/irq/{number}/smp_affinity_list").write_text("7")
    bound = subprocess.Popen(["taskset", "-c", "7", "sleep", "600"])
    both = subprocess.Popen(["taskset", "-c", "1,7", "sleep", "600"])
    time.sleep(0.5)
    start = settings()
    for text, offline in (('[cpus]\noffline = "5,7"\n', "5,7"), ('[cpus]\nsmt = "off"\n', None)):
        with profile(text) as path:
            status, refused = command("apply", path)
            if read("/sys/devices/system/cpu/smt/control") in ("notsupported", "notimplemented") and offline is None:
                check("no hyper-threading here: off whatever is asked", status == 0, status)
                continue
            check("it is refused without --allow service", status == 4, refused.get("error"))
            status, applied = command("apply", path, "--allow", "service")
            check(f"apply {text.split(']')[1].strip()}", status == 0, applied.get("error"))
            check(
                "the CPUs are gone", "7" not in read("/sys/devices/system/cpu/online"), read("/sys/devices/system/cpu/online")
            )
            moved = (read(f"/proc/irq/{number}/smp_affinity_list"), os.sched_getaffinity(bound.pid))
            check("and took with them what was bound", 7 not in moved[1] or moved[0] != "7", moved)
            status, _ = command("verify")
            check("verify", status == 0, status)
            status, undone = command("rollback")
            check("rollback", status == 0 and not changed(start), changed(start) or undone["undone"])
            threads = (os.sched_getaffinity(bound.pid), os.sched_getaffinity(both.pid))
            check("threads are bound as before", threads == ({7}, {1, 7}), threads)
    for child in (bound, both):
        child.kill()
        child.wait()
    with contextlib.suppress(OSError):
        pathlib.Path(f"/proc/irq/{number}/smp_affinity_list").write_text(before[f"irq {number}"])


def fair_server(check: Check) -> None:
    """Where the kernel has it (6.12)."""
    if not os.path.exists("/sys/kernel/debug/sched/fair_server"):
        print("no fair server in this kernel", flush=True)
        return
    before = settings()
    with profile('[noise]\nfair_server_runtime_ns = { "5,7" = 10000000 }\n') as path:
        status, applied = command("apply", path)
        now = read("/sys/kernel/debug/sched/fair_server/cpu5/runtime")
        check("the fair server of two cores gives less", status == 0 and now == "10000000", (now, applied.get("error")))
        check("and is put back", command("rollback")[0] == 0 and not changed(before), changed(before))


def version_one(check: Check) -> None:
    """The same isolation where cpuset is in a v1 hierarchy: the guest is made such a host for good."""
    print("== cgroup v1", flush=True)
    os.chdir("/")
    pathlib.Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("-cpuset") if os.path.exists(
        "/sys/fs/cgroup/cgroup.subtree_control"
    ) else None
    subprocess.run(["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup"], check=True)
    os.mkdir("/sys/fs/cgroup/cpuset")
    for _ in range(50):  # v2 lets a controller go only after its last cgroup is gone
        if (
            subprocess.run(["mount", "-t", "cgroup", "-o", "cpuset", "none", "/sys/fs/cgroup/cpuset"], check=False).returncode
            == 0
        ):
            break
        time.sleep(0.1)
    before = settings()
    with profile(QUIET) as path:
        status, plan = command("plan", path)
        check("a cpuset is chosen", "isolation.cpuset_v1" in {c["knob"] for c in plan["changes"]}, status)
        status, applied = command("apply", path)
        check("apply", status == 0, applied.get("error"))
        check("the root is not balanced any more", read("/sys/fs/cgroup/cpuset/cpuset.sched_load_balance") == "0")
        domains = (
            read("/sys/kernel/debug/sched/domains/cpu5/domain0/name"),
            read("/sys/kernel/debug/sched/domains/cpu1/domain0/name"),
        )
        check("no scheduling domain has the core", domains[0].startswith("<") and not domains[1].startswith("<"), domains)
        status, verdict = command("verify")
        check("verify", status == 0, verdict["summary"])
        status, quiet = command("verify", "--observe", "3s")
        check(
            "no process runs there", not [o for o in offenders(quiet, "task") if "(process" in o[1]], offenders(quiet, "task")
        )
        status, undone = command("rollback")
        check("rollback", status == 0 and not changed(before), changed(before) or undone)
        check("the domains are back", not read("/sys/kernel/debug/sched/domains/cpu5/domain0/name").startswith("<"))


def main() -> int:
    failed: list[str] = []

    def check(what: str, good: bool, detail: object = "") -> None:
        print(f"{'ok  ' if good else 'FAIL'} {what}" + (f"  [{detail}]" if detail != "" else ""), flush=True)
        if not good:
            failed.append(what)

    behaviour(check)
    fair_server(check)
    processors(check)
    if "v1" in sys.argv[1:]:
        version_one(check)
    print(f"\n{len(failed)} failed" if failed else "\nlab: all held", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
