"""What only looks opens nothing for writing (R19); what changes has it on the disk before (R10): by the system calls made."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from engine import PROJECT, Sim, clean_environment, command_line

LOOKING = [
    ("plan", "base"), ("plan", "feed-handler", "--bind", "feed=lo"), ("verify", "base"), ("status",), ("history",),
    ("profiles", "list"), ("watch", "--count", "1"), ("explain",), ("explain", "irq"), ("profiles", "schema"),
]  # fmt: skip
CHANGING = (
    "creat,mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,truncate,ftruncate,link,linkat,symlink,symlinkat"
)
BINDING = "sched_setaffinity,sched_setscheduler,sched_setattr,setpriority,mount,init_module,finit_module,bpf"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
# The first argument is where the packages are.
PROGRAM = "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from ui.cli.main import main; sys.exit(main())"
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")


@pytest.fixture(autouse=True)
def _strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode != 0:
        pytest.skip("strace cannot trace here")


@pytest.fixture(scope="module")
def as_nobody() -> list[str]:
    """The words that start the command as an unprivileged user, whose interpreter may not lie in root's home."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("becoming nobody needs root and setpriv")
    places = os.pathsep.join([str(PROJECT), sysconfig.get_path("purelib")])
    for python in (sys.executable, "/usr/bin/python3"):
        words = [*NOBODY, python, "-IB", "-c", PROGRAM, places]
        if subprocess.run([*words, "--version"], capture_output=True, cwd="/").returncode == 0:
            return words
    pytest.skip("no Python 3.11 that nobody may start and that reaches this tree")


def traced(log: Path, calls: str, words: list[str]) -> "subprocess.CompletedProcess[str]":
    tracer = ["strace", "-f", "-y", "-qq", "-s", "16", "-o", str(log), "-e", f"trace={calls}"]
    return subprocess.run([*tracer, *words], cwd=PROJECT, capture_output=True, text=True, timeout=60, env=clean_environment())


def written_to(log: Path) -> list[str]:
    """The lines of the trace that open something of the kernel's for writing, or change something."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        opened = re.search(r'open(?:at2?)?\(.*?"([^"]*)", *(.*)', line)
        if opened is None:
            found.append(line)  # one of the calls that change something
        elif WRITES.search(opened[2]) and opened[1] not in ("/dev/null", "/dev/tty"):
            found.append(line)
    return found


@pytest.mark.promise("R19")
@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
@pytest.mark.parametrize("who", ["root", "nobody"])
def test_looking_at_this_host_writes_nothing(
    tmp_path: Path, words: tuple[str, ...], who: str, request: pytest.FixtureRequest
) -> None:
    state = str(tmp_path / "state")
    command = command_line(*words, "--json", state=state)
    if who == "nobody":
        command = [*request.getfixturevalue("as_nobody"), *words, "--json", "--state", state]
    log = tmp_path / "strace"
    # a collector binds itself to housekeeping CPUs
    calls = f"open,openat,openat2,{CHANGING}" + ("" if words[0] == "watch" else f",{BINDING}")
    done = traced(log, calls, command)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 2, 3), done.stderr
    assert log.stat().st_size > 1000
    assert written_to(log) == []
    assert not (tmp_path / "state").exists()
    assert json.loads(done.stdout.splitlines()[0])["schema"] == "quietcore/1"


@pytest.mark.promise("R19")
def test_looking_sees_the_same_as_root_and_as_nobody(tmp_path: Path, as_nobody: list[str]) -> None:
    """What every user may read is most of it: only what may not be read is ``unverifiable``, and nothing fails."""
    records = []
    for command in (command_line(), as_nobody):
        words = [*command, "verify", "base", "--json", "--state", str(tmp_path / "none")]
        done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, env=clean_environment())
        records.append({(c["knob"], c["target"]): c for c in json.loads(done.stdout)["changes"]})
    root, nobody = records
    assert root.keys() == nobody.keys()
    for key, change in nobody.items():
        assert change["state"] in (root[key]["state"], "unverifiable"), change


@pytest.mark.promise("R10", "R14")
@pytest.mark.parametrize("confirmed", [False, True], ids=["kept", "to be confirmed"])
def test_the_journal_is_on_the_disk_and_the_timer_stands_before_the_first_write(sim: Sim, confirmed: bool) -> None:
    log = Path(sim.state).parent / "strace"
    words = ["apply", "feed-handler", "--allow", "link", *(["--confirm-within", "2s"] if confirmed else [])]
    calls = "write,pwrite64,fsync,mkdir,rmdir,ftruncate,execve"
    done = traced(log, calls, command_line(*words, root=sim.root, state=sim.state))
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    tool = lines[0].split()[0]
    pending = "simulated.pending"  # how the simulated kernel makes a call whole

    def places(pattern: str, process: str = tool) -> list[int]:
        return [n for n, line in enumerate(lines) if line.startswith(process) and re.search(pattern, line)]

    host = [n for n in places(rf"(write|pwrite64|ftruncate|mkdir|rmdir)\(.*{re.escape(sim.root)}/") if pending not in lines[n]]
    journal, directory = places(r"fsync\(.*000001\.journal"), places(r"fsync\(.*/transactions>")
    assert min(journal) < min(directory) < min(host)
    if confirmed:
        armed = next(n for n, line in enumerate(lines) if '"armed"' in line and "write(" in line and not line.startswith(tool))
        assert journal[1] < armed < min(host)
    # every change lies between its record and the next one
    records = places(r"write\(.*000001\.journal")
    assert len(records) > 40
    assert min(records) < min(host)
    assert max(host) < max(records)
    assert journal[-1] > max(host), "the end was not made durable"


def test_another_user_is_told_that_the_state_is_hidden_and_never_that_there_is_none(sim: Sim, as_nobody: list[str]) -> None:
    """The journals are root's alone: who may not read them cannot know of any."""
    assert sim.apply("base").outcome == "confirmed"
    for path in (sim.root, str(Path(sim.root).parent), str(Path(sim.root).parent.parent)):
        os.chmod(path, 0o755)
    os.chmod(sim.state, 0o700)
    for command, said in (("verify", "this user may not read"), ("doctor", "whether a profile is applied")):
        words = [*as_nobody, "--root", sim.root, "--state", sim.state, command]
        done = subprocess.run(words, cwd="/", capture_output=True, text=True, timeout=60, env=clean_environment())
        assert said in done.stdout + done.stderr, (words, done)
        assert "no profile is active" not in done.stdout + done.stderr
