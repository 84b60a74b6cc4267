"""Tab completion, driven as the shells drive it, on hosts whose names are hostile."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuner.knobs.catalogue import KNOBS
from ui.cli.command_tree import read_command_line
from ui.cli.main import COMMANDS

QUIETCORE = [sys.executable, "-m", "ui.cli.main"]
INSTALLED = [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)]
DRIVER = r"""
source "$1"
COMP_WORDBREAKS=$' \t\n"'"'"'><=;|&(:'
COMP_LINE=$2 COMP_POINT=${#2}
_quietcore
[[ ${#COMPREPLY[@]} -gt 0 ]] && printf '%s\n' "${COMPREPLY[@]}"
exit 0
"""
HOSTILE = ["$(>pwned)", "`>pwned`", "a\x1b[7m", "*", "-rf", ";>pwned", "größe"]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh", "fish"):
        run = subprocess.run([*QUIETCORE, "completion", shell], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        (place / shell).write_text(run.stdout)
    return place


@pytest.fixture
def root(tmp_path) -> Path:
    for name in ("eth7", "lo", *HOSTILE):
        (tmp_path / "host/sys/class/net" / name).mkdir(parents=True)
    (tmp_path / "host/sys/class/net/bonding_masters").write_text("")
    (tmp_path / "host/etc/quietcore/profiles").mkdir(parents=True)
    (tmp_path / "host/etc/quietcore/profiles/mine.toml").write_text("")
    (tmp_path / "host/var/lib/quietcore/transactions").mkdir(parents=True)
    for name in ("000009.journal", "000042.journal", "x.journal"):
        (tmp_path / "host/var/lib/quietcore/transactions" / name).write_text("")
    return tmp_path / "host"


@pytest.fixture
def bash(scripts, tmp_path):
    program = shutil.which("bash")
    if program is None:
        pytest.skip("bash is not installed")

    def complete(line: str) -> list[str]:
        run = subprocess.run(
            [program, "--norc", "-c", DRIVER, "driver", scripts / "bash", line], capture_output=True, text=True, cwd=tmp_path
        )
        assert (run.returncode, run.stderr) == (0, "")
        return run.stdout.splitlines()

    return complete


def test_every_command_and_option_is_in_every_script(scripts):
    tree = read_command_line()
    assert [command.name for command in tree.actions] == list(COMMANDS)
    for shell in ("bash", "zsh", "fish"):
        text = (scripts / shell).read_text()
        for command in tree.actions:
            assert command.name in text
            for option in command.options:
                assert any((flag if shell != "fish" else flag.lstrip("-")) in text for flag in option.flags)


@pytest.mark.parametrize("shell", INSTALLED)
def test_the_script_is_good_syntax(scripts, shell):
    run = subprocess.run([shell, "-n", scripts / shell], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_commands_and_options(bash):
    assert bash("quietcore ") == list(COMMANDS)
    assert bash("quietcore pl") == ["plan"]
    assert bash("quietcore --js") == ["--json"]
    assert "--confirm-within" in bash("quietcore apply --")
    assert "--confirm-within" not in bash("quietcore plan --")
    assert bash("quietcore profiles ") == ["list", "show", "check", "schema"]
    assert bash("quietcore explain nic.rings.r") == ["nic.rings.rx"]
    assert set(bash("quietcore explain ")) >= {knob.family for knob in KNOBS}
    assert bash("quietcore --json profiles sh") == ["show"]
    assert bash("quietcore completion ") == ["bash", "zsh", "fish"]
    assert bash("quietcore status ") == []
    assert bash("quietcore nonsense ") == []
    assert bash("") == list(COMMANDS)


def test_values_of_options(bash):
    assert bash("quietcore apply base --allow li") == ["link"]
    assert bash("quietcore apply base --allow link,") == ["link,service", "link,reboot"]
    assert bash("quietcore ring packet:lo --mode ") == ["latency", "throughput"]
    assert bash("quietcore ring packet:lo --mode=t") == ["throughput"]
    assert bash("quietcore ring packet:lo --seconds ") == []
    assert bash("quietcore ring packet:lo --feed m") == ["moldudp64", "memx_memoir", "miax_mach"]
    assert {"list", "infer"} < set(bash("quietcore ring --feed "))
    assert "soupbintcp" not in bash("quietcore ring --feed ")


def test_profiles_shipped_and_local(bash, root):
    assert {"base", "feed-handler", "observe"} <= set(bash("quietcore plan "))
    assert bash("quietcore plan fee") == ["feed-handler"]
    assert bash(f"quietcore --root {root} plan m") == ["mine"]
    assert bash(f"quietcore plan --root={root} m") == ["mine"]
    assert bash("quietcore profiles show ob") == ["observe"]
    assert bash("quietcore verify ob") == ["observe"]
    assert bash("quietcore plan feed-handler ob") == []  # one profile, no more


def test_transactions(bash, root):
    assert bash(f"quietcore --root {root} rollback ") == ["9", "42"]
    assert bash(f"quietcore --state {root}/var/lib/quietcore confirm 4") == ["42"]


def test_files_and_directories(bash, root):
    assert bash(f"quietcore --root {root}/s") == [f"{root}/sys"]
    assert bash(f"quietcore --root={root}/s") == [f"{root}/sys"]
    assert bash(f"quietcore profiles check {root}/etc/quietcore/profiles/m") == [f"{root}/etc/quietcore/profiles/mine.toml"]
    assert bash(f"quietcore plan {root}/etc/quietcore/profiles/m") == [f"{root}/etc/quietcore/profiles/mine.toml"]


def test_interfaces(bash, root):
    assert bash(f"quietcore --root {root} plan feed-handler --bind ") == ["feed=", "order="]
    assert bash(f"quietcore --root {root} plan feed-handler --bind feed=e") == ["eth7"]
    assert bash(f"quietcore --root {root} ring ") == ["packet:"]
    assert bash(f"quietcore --root {root} ring packet:e") == ["eth7"]
    assert "bonding_masters" not in bash(f"quietcore --root {root} ring packet:")


def test_a_hostile_name_is_quoted_and_never_run(bash, root, tmp_path):
    offered = bash(f"quietcore --root {root} ring packet:")
    assert len(offered) == len(os.listdir(root / "sys/class/net")) - 1
    assert not any("\x1b" in each for each in offered)
    assert not (tmp_path / "pwned").exists()
    for each in offered:  # what the shell makes of it is one word: the name itself
        run = subprocess.run(["bash", "--norc", "-c", f"printf '%s\\0' {each}"], capture_output=True, cwd=tmp_path)
        (word,) = run.stdout.split(b"\0")[:-1]
        assert os.path.isdir(os.path.join(os.fsencode(root / "sys/class/net"), word))
    assert not (tmp_path / "pwned").exists()


def test_a_real_bash_at_a_real_tab(scripts, root):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {**os.environ, "PS1": "ready> ", "TERM": "dumb"})
    seen = b""

    def until(wanted: bytes, limit_s: float = 10.0) -> None:
        nonlocal seen
        end = time.monotonic() + limit_s
        while wanted not in seen and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 4096)
        assert wanted in seen, seen

    try:
        until(b"ready> ")
        os.write(terminal, f"source {scripts / 'bash'}; echo lo''aded\n".encode())
        until(b"loaded")
        seen = b""
        os.write(terminal, b"quietcore plan fee\t--bi\tfe\t")
        until(b"feed-handler --bind feed=")
        seen = b""
        os.write(terminal, b"\x15quietcore --root " + os.fsencode(root) + b" ring pac\teth\t")
        until(b"packet:eth7")
    finally:
        os.write(terminal, b"\x15exit\n")
        os.close(terminal)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("shell", [shell for shell in INSTALLED if shell == "fish"] or ["none"])
def test_fish_offers_the_same(scripts, root, shell):
    lines = {
        "quietcore pl": ["plan"],
        f"quietcore --root {root} plan m": ["mine"],
        f"quietcore --root {root} rollback 4": ["42"],
    }
    if shell == "none":
        # without fish its script is read instead: each of these must be asked for by name
        assert all(name in (scripts / "fish").read_text() for name in ("__quietcore_profile)", "__quietcore_transaction)"))
        return
    for line, wanted in lines.items():
        run = subprocess.run(
            ["fish", "--no-config", "-c", f"source {scripts / 'fish'}; complete -C '{line}'"], capture_output=True, text=True
        )
        assert [each.split("\t")[0] for each in run.stdout.splitlines()] == wanted, run.stderr


def test_an_unknown_shell_is_a_usage_error():
    run = subprocess.run([*QUIETCORE, "completion", "tcsh"], capture_output=True, text=True)
    assert run.returncode == 1
    assert "invalid choice: 'tcsh'" in run.stderr
