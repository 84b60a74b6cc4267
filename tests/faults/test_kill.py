"""SIGKILL at the Nth system call of the real command, then ``recover``: the host is all-old or all-new, never in between (R1).

Every kind of call by which apply, confirm and rollback look at, or change, the host or their journal. A spread of the points
keeps a run short; ``make faults`` runs all of them.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from engine import PROJECT, Sim, Tree, clean_environment, tree_of

CALLS = ("write", "pwrite64", "ftruncate", "mkdir", "rmdir", "unlink", "fsync", "flock", "openat", "pread64", "readlink")
# Kinds that importing Python's own modules makes by the hundred: only those after the lock was taken count.
BUSY = ("openat", "pread64", "readlink")
ALL = bool(os.environ.get("QUIETCORE_ALL_FAULTS"))
WORKERS = 2
APPLY = ("apply", "feed-handler", "--allow", "link")
Point = tuple[str, int]
pytestmark = pytest.mark.promise("R1")


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    done = subprocess.run(["strace", "-o", "/dev/null", "-e", "inject=getcwd:error=ENOENT", "true"], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"strace cannot trace here: {done.stderr.decode(errors='replace').strip()[:100]}")


def traced(sim: Sim, options: Iterable[str], arguments: Iterable[str]) -> "subprocess.CompletedProcess[str]":
    """The command under strace; without -f: the kill is for the tool, not for the timer that it started."""
    words = [sys.executable, "-m", "ui.cli.main", "--root", sim.root, "--state", sim.state, *arguments]
    log = Path(sim.state).parent / "strace"
    return subprocess.run(
        ["strace", "-qq", "-o", str(log), *options, *words],
        capture_output=True, text=True, cwd=PROJECT, timeout=60, env=clean_environment(),
    )  # fmt: skip


def killed_at(sim: Sim, point: Point, *arguments: str) -> bool:
    """Runs the command and kills it at its Nth call of a kind; False where it had fewer and ended by itself."""
    call, number = point
    done = traced(sim, ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"], arguments)
    if done.returncode in (0, 5, 6):
        return False
    assert done.returncode in (-9, 137), (done.returncode, done.stderr)
    return True


def points_of(sim: Sim, wanted: int, *arguments: str) -> list[Point]:
    """A spread of about ``wanted`` of the calls that the whole command makes from the lock on; all of them on request."""
    assert traced(sim, ["-e", f"trace={','.join(CALLS)}"], arguments).returncode == 0
    seen = dict.fromkeys(CALLS, 0)
    locked = False
    every: list[Point] = []
    for line in (Path(sim.state).parent / "strace").read_text(errors="replace").splitlines():
        call = line.partition("(")[0]
        if call in seen:
            seen[call] += 1
            locked = locked or call == "flock"
            if locked or call not in BUSY:
                every.append((call, seen[call]))
    return every if ALL else every[:: max(1, len(every) // wanted)]


def each_point(new_sim: Callable[..., Sim], points: list[Point], check: Callable[[Sim, Point], bool]) -> int:
    """``check`` on a host of its own for every point, two at a time; how many of them were really killed."""
    making = threading.Lock()

    def one(point: Point) -> bool:
        with making:
            sim = new_sim()
        try:
            return check(sim, point)
        finally:
            shutil.rmtree(Path(sim.root).parent)

    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(one, points))


def recovered(sim: Sim, point: Point, allowed: tuple[Tree, ...]) -> None:
    """After ``recover`` the host is one of these."""
    assert sim.run("recover").returncode == 0, point
    assert tree_of(sim.root) in allowed, (point, sim.changed()[:5])


def test_apply_killed_anywhere_ends_all_old_or_all_new(new_sim: Callable[..., Sim], held: Callable[[int], None]) -> None:
    whole = new_sim()
    points = points_of(whole, 40, *APPLY)
    new = tree_of(whole.root)

    def check(sim: Sim, point: Point) -> bool:
        if not killed_at(sim, point, *APPLY):
            return False
        recovered(sim, point, (sim.before, new))
        return True

    killed = each_point(new_sim, points, check)
    assert killed > len(points) * 0.9
    held(killed)


def test_rollback_killed_anywhere_ends_all_old(new_sim: Callable[..., Sim], held: Callable[[int], None]) -> None:
    whole = new_sim()
    whole.apply()
    new = tree_of(whole.root)
    points = points_of(whole, 20, "rollback")

    def check(sim: Sim, point: Point) -> bool:
        sim.apply()
        if not killed_at(sim, point, "rollback"):
            return False
        # before its first record the rollback never began: then the host is still as it was applied
        recovered(sim, point, (sim.before, new))
        return True

    killed = each_point(new_sim, points, check)
    assert killed > len(points) * 0.9
    held(killed)


def test_confirm_killed_anywhere_leaves_the_host_applied(new_sim: Callable[..., Sim], held: Callable[[int], None]) -> None:
    whole = new_sim()
    whole.apply(confirm_within_s=60.0)
    points = points_of(whole, 10, "confirm")

    def check(sim: Sim, point: Point) -> bool:
        sim.apply(confirm_within_s=60.0)
        new = tree_of(sim.root)
        if not killed_at(sim, point, "confirm"):
            return False
        recovered(sim, point, (new,))
        assert sim.store.get(1).state in ("applied", "confirmed")
        return True

    killed = each_point(new_sim, points, check)
    assert killed > len(points) * 0.8
    held(killed)


def test_recover_killed_again_and_again_still_ends_all_old(new_sim: Callable[..., Sim], held: Callable[[int], None]) -> None:
    whole = new_sim()
    writes = [number for call, number in points_of(whole, 100_000, *APPLY) if call == "write"]
    sim = new_sim()
    assert killed_at(sim, ("write", writes[len(writes) * 2 // 3]), *APPLY)
    assert sim.changed()
    killed = [killed_at(sim, ("write", number), "recover") for number in (4, 11, 19, 31)]
    assert killed[0]
    assert sim.run("recover").returncode == 0
    assert sim.changed() == []
    held(sum(killed))
