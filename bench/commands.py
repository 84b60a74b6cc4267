"""what a command costs before it answers, and what it costs to look at everything

CPU time (user and system) of whole processes, as the kernel accounts it when they end: the least of some, since what else runs
on the machine can only add to it; beside it the ratio to an interpreter that does nothing. Then, without start-up and imports,
one look at every knob there is (``plan``) and another (``verify``): a profile with a value for every place of the language, on
a simulated host of 256 CPUs and two NICs of 64 queues, and on this host. A place that makes no sense on a host is left out, and
how many knobs remained is told.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.figures import Board, Figure
from tuner.host.host import Host, Inventory, open_host
from tuner.host.simulated import write_tree
from tuner.knobs.catalogue import ENTRIES, KNOBS
from tuner.language.entry import PART
from tuner.plan import Plan, build
from tuner.profile import ProfileError
from tuner.profile_files import load

ROOT = Path(__file__).resolve().parents[1]
HELP_MS, PLAN_MS, SIMULATED_MS, HERE_MS = 60, 200, 400, 80
ROUNDS = 9
HEAD = """
[bind]
feed = "nic"

[cores]
housekeeping = "smt(0)"
rx = "first(4, cores(all - smt(0)))"
app = "cores(all - smt(0)) - rx"

[sysctl]
"vm.swappiness" = 10
"net.core.rmem_max" = "at-least:67108864"
"net.core.busy_poll" = 50
"""


def process_ms(words: Sequence[str]) -> float:
    """CPU time of one process in milliseconds."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # it was waited for
    return (used.ru_utime + used.ru_stime) * 1e3


def commands_ms(rounds: int) -> dict[str, float]:
    """The least CPU time of an interpreter that does nothing, of the help, and of a plan on this host."""
    quietcore = [sys.executable, "-m", "ui.cli.main"]
    asked = {"nothing": [sys.executable, "-c", "pass"], "help": [*quietcore, "--help"], "plan": [*quietcore, "plan", "base"]}
    found: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, words in asked.items():
            found[name].append(process_ms(words))
    return {name: min(times) for name, times in found.items()}


class Whole:
    """A host, with a profile that names every place of the language that makes sense there."""

    def __init__(self, root: str, directory: str) -> None:
        self.root = root
        self.path = os.path.join(directory, "whole.toml")
        self.left_out: list[str] = []
        host = open_host(root)
        nics = [nic for nic in Inventory(host).nics if nic.physical]
        self.bindings: Mapping[str, str] = {"feed": (nics[0].name if nics else "lo")}
        values = {}
        for each in ENTRIES:
            words = ["feed" if word == PART else word for word in each.place]
            quoted = ".".join(f'"{word}"' if "." in word else word for word in words)  # a word of the kernel's may have one
            if sample := each.kind.sample():  # what is always refused has none
                values[".".join(words)] = f"{quoted} = {sample}"
        for _ in range(len(values)):
            self._write(values)
            try:
                self.plan(host)
            except ProfileError as error:
                wrong = {key for key in values for fault in error.faults if fault.where.partition(": ")[2].startswith(key)}
                if not wrong:
                    raise
                self.left_out += sorted(wrong)
                values = {key: value for key, value in values.items() if key not in wrong}
            else:
                return

    def _write(self, values: Mapping[str, str]) -> None:
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in values.values()) + HEAD)

    def plan(self, host: Host) -> Plan:
        """One look at everything, from the files of the profile to the last reading."""
        return build(Inventory(host), load(host.files, self.path), self.bindings)

    def twice_ms(self) -> float:
        """CPU time of ``plan`` and ``verify`` in milliseconds, each on a host that was opened anew."""
        before = time.process_time_ns()
        for _ in range(2):
            self.plan(open_host(self.root))
        return (time.process_time_ns() - before) / 1e6

    def told(self) -> str:
        """How much of everything it is."""
        changes = self.plan(open_host(self.root)).changes
        knobs = {"sysctl" if change.knob.startswith("sysctl.") else change.knob for change in changes}
        left = f"; left out: {', '.join(self.left_out)}" if self.left_out else ""
        return f"{len(changes)} settings of {len(knobs)} of {len(KNOBS)} knobs{left}"


def simulated(directory: str) -> Whole:
    """The large host: 256 CPUs, two NICs of 64 queues."""
    root = os.path.join(directory, "host")
    write_tree(root, nodes=2, cores=64, smt=2, nics=2, queues=64)
    return Whole(root, directory)


def main(board: Board, *, brief: bool = False) -> None:
    """Prints what the commands cost."""
    least = commands_ms(3 if brief else ROUNDS)
    for name, title, limit in (("help", "quietcore --help", HELP_MS), ("plan", "quietcore plan, on this host, cold", PLAN_MS)):
        note = f"{least[name] / least['nothing']:.1f} times an interpreter that does nothing ({least['nothing']:.0f} ms)"
        board.put(Figure(title, least[name], at_most=limit, unit="ms", note=note))
    directory = tempfile.mkdtemp(prefix="quietcore-bench-")
    try:
        for title, whole, limit in (
            ("plan and verify of everything, 256 CPUs, 64 queues", simulated(directory), SIMULATED_MS),
            ("plan and verify of everything, this host", Whole("/", directory), HERE_MS),
        ):
            times = [whole.twice_ms() for _ in range(2 if brief else ROUNDS)]
            board.put(Figure(title, min(times), at_most=limit, unit="ms", note=whole.told()))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
