"""SIGKILL at the Nth system call of the real command, then ``recover``: the host is all-old or all-new, never in between."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import PROJECT, Sim, tree_of

# Every call by which apply, rollback and recover change anything.
CALLS = ("write", "pwrite64", "ftruncate", "mkdir", "rmdir", "unlink", "rename", "fsync")
Point = tuple[str, int]
# A spread of points keeps the run short; all of them on request.
ALL = bool(os.environ.get("QUIETCORE_ALL_FAULTS"))


@pytest.fixture(scope="module", autouse=True)
def _strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    done = subprocess.run(["strace", "-o", "/dev/null", "-e", "inject=getcwd:error=ENOENT", "true"], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"strace cannot trace here: {done.stderr.decode(errors='replace').strip()[:100]}")


def killed_at(sim: Sim, point: Point, *arguments: str) -> bool:
    """Runs the command and kills it at its Nth call of a kind; False where it had fewer and ended by itself."""
    call, number = point
    done = traced(sim, f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}", *arguments)
    if done.returncode in (0, 5, 6):
        return False
    assert done.returncode in (-9, 137), (done.returncode, done.stderr)
    return True


def traced(sim: Sim, what: str, *rest: str) -> subprocess.CompletedProcess[str]:
    split = (
        rest.index("apply") if "apply" in rest else next(i for i, word in enumerate(rest) if word in ("rollback", "recover"))
    )
    command = [sys.executable, "-m", "ui.cli.main", "--root", sim.root, "--state", sim.state, *rest[split:]]
    log = Path(sim.state).parent / "strace"
    return subprocess.run(
        ["strace", "-f", "-qq", "-o", log, "-e", what, *rest[:split], *command],
        capture_output=True, text=True, cwd=PROJECT, timeout=60, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def points_of(sim: Sim, wanted: int, *arguments: str) -> list[Point]:
    """A spread of about ``wanted`` of the calls that the whole command makes; all of them on request."""
    assert traced(sim, f"trace={','.join(CALLS)}", *arguments).returncode == 0
    lines = (Path(sim.state).parent / "strace").read_text().splitlines()
    made = {call: sum(f" {call}(" in line for line in lines) for call in CALLS}
    every = [(call, number) for call, count in made.items() for number in range(1, count + 1)]
    return every if ALL else every[:: max(1, len(every) // wanted)]


APPLY = ("apply", "feed-handler", "--allow", "link")


def test_apply_killed_anywhere_ends_all_old_or_all_new(new_sim: Callable[..., Sim]) -> None:
    whole = new_sim()
    points = points_of(whole, 18, *APPLY)
    new = tree_of(whole.root)
    verdicts = {"old": 0, "new": 0}
    for point in points:
        sim = new_sim()
        if not killed_at(sim, point, *APPLY):
            continue
        assert sim.run("recover").returncode == 0, point
        now = tree_of(sim.root)
        verdict = "old" if now == sim.before else "new" if now == new else "mixed"
        assert verdict != "mixed", (point, sim.changed()[:5])
        verdicts[verdict] += 1
        shutil.rmtree(Path(sim.root).parent)
    assert verdicts["old"] > 5


def test_rollback_killed_anywhere_ends_all_old(new_sim: Callable[..., Sim]) -> None:
    whole = new_sim()
    assert whole.run(*APPLY).returncode == 0
    held = 0
    for point in points_of(whole, 8, "rollback"):
        sim = new_sim()
        assert sim.run(*APPLY).returncode == 0
        new = tree_of(sim.root)
        if not killed_at(sim, point, "rollback"):
            continue
        assert sim.run("recover").returncode == 0, point
        now = tree_of(sim.root)
        # before its first record the rollback never began: then the host is still as it was applied
        assert now in (sim.before, new), (point, sim.changed()[:5])
        held += 1
        shutil.rmtree(Path(sim.root).parent)
    assert held > 4


def test_recover_killed_again_and_again_still_ends_all_old(new_sim: Callable[..., Sim]) -> None:
    whole = new_sim()
    writes = [number for call, number in points_of(whole, 1000, *APPLY) if call == "write"]
    sim = new_sim()
    assert killed_at(sim, ("write", writes[len(writes) * 2 // 3]), *APPLY)
    assert sim.changed()
    killed = [killed_at(sim, ("write", number), "recover") for number in (4, 11, 19, 31)]
    assert killed[0]
    assert sim.run("recover").returncode == 0
    assert sim.changed() == []
