"""The systemd units: what they run takes its arguments, what they close stays closed, and what is left suffices."""

import configparser
import importlib.util
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections import Counter
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from ui.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools" / "units"
UNITS = ("quietcore-watch.service", "quietcore-recover.service", "quietcore-undo.service")
# What systemd-analyze calls 2.5 and 4.0.
THRESHOLDS = {"quietcore-watch.service": 25, "quietcore-recover.service": 40, "quietcore-undo.service": 40}
LISTS = {"SystemCallFilter"}


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"no {program} here")
    return path


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("units")
    run = subprocess.run([sys.executable, TOOL, place], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    undo = place / "quietcore-undo.service"
    text = undo.read_text(encoding="utf-8")
    undo.write_text(text.replace("@STATE@", "/var/lib/quietcore").replace("@TRANSACTION@", "42"), encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def tool():
    loader = SourceFileLoader("units_tool", str(TOOL))
    spec = importlib.util.spec_from_loader("units_tool", loader)
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


def service_lines(place: Path, unit: str) -> list[tuple[str, str]]:
    section = (place / unit).read_text(encoding="utf-8").partition("\n[Service]\n")[2].partition("\n[")[0]
    lines = [line for line in section.splitlines() if line and not line.startswith("#")]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def words(place: Path, unit: str) -> list[str]:
    return shlex.split(dict(service_lines(place, unit))["ExecStart"])


# ---------------------------------------------------------------------------------------------------------- the files


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_unit_closes_is_enough(rendered, unit):
    program = needs("systemd-analyze")
    run = subprocess.run(
        [program, "security", "--offline=true", f"--threshold={THRESHOLDS[unit]}", "--no-pager", rendered / unit],
        capture_output=True,
        text=True,
    )
    if "nrecognized option" in run.stderr:
        pytest.skip("systemd-analyze is too old for --offline")
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_every_line(rendered, unit):
    run = subprocess.run([needs("systemd-analyze"), "verify", "--man=no", rendered / unit], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", UNITS)
def test_no_placeholder_is_left_and_no_key_stands_twice(rendered, unit):
    lines = service_lines(rendered, unit)
    assert not re.search(r"@[A-Z]+@", "\n".join(value for _, value in lines))
    assert [key for key, count in Counter(key for key, _ in lines).items() if count > 1 and key not in LISTS] == []


def test_every_line_of_undo_can_be_a_property(rendered):
    """A transient unit's properties go through no specifiers, and none is of a kind that systemd-run does not take."""
    for key, value in service_lines(rendered, "quietcore-undo.service"):
        assert "%" not in value
        assert '"' not in value
        assert not key.startswith(("Alias", "WantedBy", "Condition", "ExecCondition", "StartLimit"))
    assert dict(service_lines(rendered, "quietcore-undo.service"))["Slice"] == "system.slice"


def test_undo_is_never_installed(tool):
    assert "quietcore-undo.service" not in tool.INSTALLED
    assert "[Install]" not in (ROOT / "tuner" / "units" / "quietcore-undo.service").read_text(encoding="utf-8")


def test_recover_and_undo_may_do_the_same(rendered):
    own = {"Type", "ExecStart", "StateDirectory", "StateDirectoryMode", "ReadWritePaths", "PrivateTmp", "ProtectHome", "Slice"}
    own |= {"RemainAfterExit", "SuccessExitStatus", "TimeoutStartSec", "TimeoutStopSec", "NotifyAccess", "KillMode"}
    own |= {"Restart", "RestartSec", "OOMScoreAdjust"}
    recover, undo = (
        [(key, value) for key, value in service_lines(rendered, f"quietcore-{name}.service") if key not in own]
        for name in ("recover", "undo")
    )
    assert sorted(recover) == sorted(undo)


def test_the_journal_of_the_samples_is_bounded(rendered):
    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read(ROOT / "tuner" / "units" / "journald@quietcore.conf")
    assert {"LineMax", "SystemMaxUse"} <= set(parser["Journal"])
    assert dict(service_lines(rendered, "quietcore-watch.service"))["LogNamespace"] == "quietcore"


# ---------------------------------------------------------------------------------------------------- what they run


@pytest.mark.parametrize("unit", UNITS)
def test_units_run_this_python_isolated(rendered, unit):
    assert words(rendered, unit)[:3] == [sys.executable, "-I", "-m"]


@pytest.mark.parametrize("unit", ["quietcore-watch.service", "quietcore-recover.service"])
def test_the_command_takes_its_arguments(rendered, unit):
    module, *arguments = words(rendered, unit)[3:]
    assert module == "ui.cli.main"
    assert build_parser(arguments[0]).parse_args(arguments).command == arguments[0]


def test_the_undo_timer_takes_its_arguments_and_says_that_it_stands(rendered, tmp_path):
    """On a state directory without that transaction it has nothing to wait for."""
    command = [word.replace("/var/lib/quietcore", str(tmp_path)) for word in words(rendered, "quietcore-undo.service")]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(5)
        run = subprocess.run(
            command, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}, capture_output=True, text=True, timeout=30, cwd="/"
        )
        assert run.returncode == 0, run.stderr
        assert notify.recv(100) == b"READY=1"


# --------------------------------------------------------------------------------------- what is left of system calls


@cache
def members(group: str) -> frozenset[str]:
    """The system calls of one of systemd's groups."""
    run = subprocess.run([needs("systemd-analyze"), "syscall-filter", "--no-pager", group], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    names = [line.split()[0] for line in run.stdout.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return frozenset().union(*(members(name) if name.startswith("@") else {name} for name in names))


def allowed(lines: list[tuple[str, str]]) -> set[str]:
    left = set(members("@default"))
    for value in (value for key, value in lines if key == "SystemCallFilter"):
        named = {
            call for word in value.removeprefix("~").split() for call in (members(word) if word.startswith("@") else {word})
        }
        left = left - named if value.startswith("~") else left | named
    return left


def trace(command: list[str], place: Path) -> str:
    log = place / "strace"
    run = subprocess.run(
        [needs("strace"), "-f", "-qq", "-e", "signal=none", "-o", log, *command], capture_output=True, text=True, cwd="/"
    )
    text = log.read_text(errors="replace") if log.exists() else ""
    if run.returncode and "ptrace" in run.stderr:
        pytest.skip(f"strace may not trace here: {run.stderr.splitlines()[0]}")
    assert run.returncode == 0, run.stderr
    return text


@pytest.mark.parametrize("unit", UNITS)
def test_it_makes_no_call_and_no_memory_that_its_unit_refuses(rendered, tmp_path, unit):
    command = words(rendered, unit)
    if "watch" in command:
        command += ["--count", "1", "--interval", "100ms"]
    elif "recover" in command:
        if os.geteuid() != 0:
            pytest.skip("recover needs root")
        command += ["--state", str(tmp_path / "state")]
    else:
        command[command.index("--state") + 1] = str(tmp_path)
    text = trace(command, tmp_path)
    calls = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", text, re.MULTILINE))
    assert len(calls) > 20
    assert calls - allowed(service_lines(rendered, unit)) == set()
    assert re.findall(r"^.*PROT_WRITE\|PROT_EXEC.*$", text, re.MULTILINE) == []
    families = set(dict(service_lines(rendered, unit))["RestrictAddressFamilies"].split())
    assert set(re.findall(r"\bsocket\((\w+)", text)) <= families


# ------------------------------------------------------------------------------------------ watch with nothing allowed

# Files read-only, /proc without the processes of others, then nobody without capabilities and without new executable memory.
CLOSED = """
mount --make-rprivate /
mount -t proc -o nosuid,nodev,noexec,hidepid=invisible proc /proc
mount -o remount,bind,ro /proc/sys 2>/dev/null || mount --bind -o ro /proc/sys /proc/sys
mount -o remount,bind,ro /sys
mount -o remount,bind,ro /
exec setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
# PR_SET_MDWE (65), where the kernel has it (6.3)
NO_NEW_CODE = "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
PROGRAM = "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from ui.cli.main import main; sys.exit(main())"


def closed(*command: str) -> list[str]:
    return [needs("unshare"), "--mount", "sh", "-ec", CLOSED, "sh", *command]


@pytest.fixture(scope="module")
def python_of_nobody() -> str:
    """An interpreter that an unprivileged user may start: a virtual environment may lie in root's home."""
    if os.geteuid() != 0:
        pytest.skip("only root can take everything away")
    needs("setpriv")
    can_close = subprocess.run(closed("true"), capture_output=True, text=True)
    if can_close.returncode:
        pytest.skip(f"no mount namespaces here: {can_close.stderr.strip()[:200]}")
    for python in (sys.executable, "/usr/bin/python3"):
        # json: its library can be read; the capabilities of the one that starts it are gone only after that
        program = "import json, os, sys; sys.exit(sys.version_info < (3, 11) or not all(os.access(p, 5) for p in sys.argv[1:]))"
        command = closed(python, "-I", "-c", program, python, str(ROOT / "ui"))
        if subprocess.run(command, capture_output=True).returncode == 0:
            return python
    pytest.skip("no Python 3.11 that nobody may start and that reaches this tree")


def test_nothing_is_left_to_it(python_of_nobody):
    run = subprocess.run(closed("cat", "/proc/self/status"), capture_output=True, text=True)
    status = dict(line.split(":\t", 1) for line in run.stdout.splitlines() if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Uid"].split()[0]) == ("1", "65534")
    for command in (["sh", "-c", "echo > /proc/sys/vm/swappiness"], ["touch", "/var/tmp/x"], ["cat", "/proc/1/status"]):
        assert subprocess.run(closed(*command), capture_output=True).returncode != 0, command


def test_watch_needs_nothing(python_of_nobody):
    arguments = ["watch", "--json", "--count", "1", "--interval", "200ms"]
    places = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    command = [python_of_nobody, "-I", "-c", NO_NEW_CODE, python_of_nobody, "-I", "-c", PROGRAM, places, *arguments]
    run = subprocess.run(closed(*command), capture_output=True, text=True, timeout=60, cwd="/")
    assert (run.returncode, run.stderr) == (0, "")
    free = subprocess.run([sys.executable, "-I", "-m", "ui.cli.main", *arguments], capture_output=True, text=True, check=True)
    seen, there = json.loads(run.stdout), json.loads(free.stdout)
    assert [core["cpu"] for core in seen["cores"]] == [core["cpu"] for core in there["cores"]]
    assert sum(core["interrupts"] for core in seen["cores"]) > 0
    assert {irq["irq"] for irq in seen["irqs"]} == {irq["irq"] for irq in there["irqs"]}
    assert {nic["name"] for nic in seen["nics"]} == {nic["name"] for nic in there["nics"]}
    assert seen["cost"]["cpus"] == there["cost"]["cpus"]


# ------------------------------------------------------------------------------------------------------- installation


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/nowhere/python", "run `make venv` first"),
        ("python3", "an absolute path"),
        ("/opt/my python", "an absolute path"),
        ("/opt/%h/python", "an absolute path"),
    ],
)
def test_an_interpreter_that_cannot_stand_in_a_unit(tmp_path, python, said):
    run = subprocess.run([sys.executable, TOOL, tmp_path, "--python", python], capture_output=True, text=True)
    assert run.returncode == 1
    assert said in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_others_could_change_is_not_run_by_root(tool, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("files of this test belong to root only under root")
    program = tmp_path / "program"
    program.write_text("")
    program.chmod(0o755)
    assert tool.fault(str(program)) == ""
    program.chmod(0o775)
    assert "can be written by others" in tool.fault(str(program))
    program.chmod(0o600)
    assert "is closed to" in tool.fault(str(program))
    program.chmod(0o755)
    os.chown(program, 1234, 0)
    assert "belongs to user 1234" in tool.fault(str(program))


def test_an_installation_in_tmp_is_hidden_from_the_units(tool, monkeypatch):
    monkeypatch.setattr(tool, "code_of", lambda python: ["/usr/lib"])
    with pytest.raises(tool.Unusable, match="is hidden from the units"):
        tool.check_trusted("/var/tmp/quietcore/.venv/bin/python")


def test_installing_copies_watch_and_recover_and_reloads(tool, rendered, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tool, "check_trusted", lambda python: None)
    monkeypatch.setattr(tool, "SYSTEMCTL", "/bin/true")
    monkeypatch.setattr(tool.os, "geteuid", lambda: 0)
    tool.install(rendered, sys.executable, tmp_path)
    there = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert there == ["journald@quietcore.conf", "system/quietcore-recover.service", "system/quietcore-watch.service"]
    assert "systemctl enable --now" in capsys.readouterr().err
    monkeypatch.setattr(tool, "SYSTEMCTL", "/bin/false")
    with pytest.raises(tool.Unusable, match="daemon-reload"):
        tool.install(rendered, sys.executable, tmp_path)


def test_installing_needs_root(tool, rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(tool.os, "geteuid", lambda: 1000)
    with pytest.raises(tool.Unusable, match="needs root"):
        tool.install(rendered, sys.executable, tmp_path)
    assert list(tmp_path.iterdir()) == []
