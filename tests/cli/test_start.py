"""The first words: at once where the app will start, and nowhere else."""

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ui.start import FRAME, app_is_meant, chosen

PROJECT = Path(__file__).parents[2]
# Looks at the first write to the terminal: what was imported by then, and what it says.
SPY = """
import os, sys
before = set(sys.modules)
def spy(fd, data):
    loaded = sorted(set(sys.modules) - before - {"ui", "ui.start"})
    first = "%d %s %s" % (fd, data.startswith(b" quietcore"), loaded)
    write(2, first.encode())
    os._exit(0)
write, os.write = os.write, spy
from ui.start import main
main()
"""


def on_a_terminal(*words: str, program: str = "from ui.start import main; import sys; sys.exit(main())", limit_s: float = 30.0):
    """What a process says on a terminal until it ends, at most so many bytes as tell."""
    pid, control = pty.fork()
    if pid == 0:
        os.chdir(PROJECT)
        os.execv(sys.executable, [sys.executable, "-c", program, *words])
    said = b""
    try:
        while len(said) < 2000 and select.select([control], [], [], limit_s)[0]:
            try:
                said += os.read(control, 4096)
            except OSError:  # it ended
                break
            if said.startswith(FRAME):
                break
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(control)
    return said


def test_the_first_words_come_before_anything_is_imported():
    assert on_a_terminal(program=SPY) == b"1 True []"


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("history",), ("--json", "history"), ("--nonsense",), ("replay",)]
)
def test_what_is_not_the_app_says_only_what_it_has_to(words):
    said = on_a_terminal(*words)
    assert said
    assert FRAME.strip() not in said


def test_without_a_terminal_there_is_none():
    run = subprocess.run(
        [sys.executable, "-m", "ui.start", "--version"], capture_output=True, cwd=PROJECT, stdin=subprocess.DEVNULL
    )
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.startswith(b"quietcore ")


@pytest.mark.parametrize(
    ("line", "meant", "command"),
    [
        ("", True, None),
        ("--demo", True, None),
        ("--root /tmp/status --demo", True, None),
        ("--root=/tmp/x --state watch", True, None),
        ("--ring packet:eth2 --ring packet:eth3 --feed itch", True, None),
        ("--feed status", True, None),
        ("status", False, "status"),
        ("--demo watch", False, "watch"),
        ("--root /x replay file", False, "replay"),
        ("view -", False, "view"),
        ("--json", False, None),
        ("--help", False, None),
        ("-h", False, None),
        ("--version", False, None),
        ("--nonsense", False, None),
    ],
)
def test_whether_the_app_is_meant(line, meant, command):
    assert app_is_meant(line.split()) == meant
    assert chosen(line.split()) == command
