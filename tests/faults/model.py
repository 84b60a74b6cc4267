"""A small model of a host under Quietcore: setting -> value, and a promise for each transaction that holds the host.

The rules that play with it are ``test_machine``. The commands are the real ones, in this process; a crash is a fork that dies.
"""

import json
import shutil
import subprocess
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from typing import Any
from unittest import mock

from engine import MEMORY, RECEIVER, Sim, Tree, tree_of
from hypothesis.stateful import RuleBasedStateMachine, initialize
from port import Faults, die, faulty, in_child

from tuner.host.cpulist import parse_list
from tuner.host.host import Host, Inventory
from tuner.host.simulated import write_tree
from tuner.knobs.catalogue import knob_of
from ui.cli.main import main

Key = tuple[str, str]
BIND = '[bind]\nfeed = "nic"\n'
PROFILES = {
    "one": BIND + '[nic.feed]\nrings = { rx = 4096 }\n[irq]\nfeed = { cores = "2-3", spread = "one-each" }\n'
    '[sysctl]\n"vm.swappiness" = 10\n"net.core.busy_poll" = 50\n',
    "two": '[isolation]\ncores = "3"\n[sysctl]\n"vm.swappiness" = 20\n"net.core.busy_poll" = 50\n"vm.stat_interval" = 120\n',
    "three": BIND + '[nic.feed]\nrings = { tx = 1024 }\n[irq]\nfeed = { cores = "0-1", spread = "all" }\n'
    '[sysctl]\n"net.core.busy_read" = 50\n',
}
# Counts of threads follow from the rest; the whole tree is compared besides.
COUNTS = ("isolation.user_threads", "isolation.kernel_threads")
SYSCTLS = ["vm.swappiness", "net.core.busy_poll", "vm.stat_interval"]
SECOND = 10**9
kept: list[Any] = []


@cache
def template() -> tuple[str, Tree]:
    """One small host for all examples, in memory, gone with the test run."""
    kept.append(tempfile.TemporaryDirectory(prefix="quietcore-machine-", dir=MEMORY))
    write_tree(f"{kept[0].name}/host", nodes=1, cores=4, smt=1, nics=1, queues=2)
    return f"{kept[0].name}/host", tree_of(f"{kept[0].name}/host")


@dataclass(slots=True)
class Txn:
    """A transaction as the model knows it: a promise to put ``old`` back where ``wrote`` still stands."""

    number: int
    state: str
    old: dict[Key, Any]
    wrote: dict[Key, Any]
    before: Tree | None  # None once somebody else wrote to the host
    deadline_ns: int
    last: dict[Key, str] = field(default_factory=dict)
    moved: dict[Key, Any] = field(default_factory=dict)  # interrupts that a ring's failed restoration left elsewhere


def differs(key: Key, now: Any, wanted: Any) -> bool:
    if key[0] == "irq.affinity":
        return not parse_list(now) <= parse_list(wanted)
    return not knob_of(key[0]).same(now, wanted)


class Model(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.template, before = template()
        self.place = tempfile.mkdtemp(prefix="quietcore-machine-", dir=MEMORY)
        self.sim = Sim(f"{self.place}/host", f"{self.place}/state", before)
        subprocess.run(["cp", "-a", self.template, self.sim.root], check=True)
        self.paths = {name: self.sim.profile(text, name) for name, text in PROFILES.items()} | {"feed-handler": RECEIVER}
        self.clock_ns, self.boots, self.faults = 1000 * SECOND, 0, Faults()
        self.holding: list[Txn] = []
        self.past: dict[int, Txn] = {}
        self.numbers: list[int] = []
        self.patches = [
            mock.patch("ui.cli.context.open_host", side_effect=lambda _: self.host()),
            mock.patch("ui.cli.apply.arm", return_value="none"),
        ]
        for patch in self.patches:
            patch.start()
        plans = {name: self.sim.plan(path).changes for name, path in self.paths.items()}
        usable = {
            name: [c for c in plan if c.state in ("differs", "ok") and c.knob not in COUNTS] for name, plan in plans.items()
        }
        self.wants = {name: {(c.knob, c.identity): c.wanted for c in plan} for name, plan in usable.items()}
        self.key_of = {(c.knob, c.target): (c.knob, c.identity) for plan in plans.values() for c in plan}
        self.values = {key: None for wants in self.wants.values() for key in wants}
        self.values = self.read()
        self.pristine = dict(self.values)

    def teardown(self) -> None:
        for patch in getattr(self, "patches", []):
            patch.stop()
        shutil.rmtree(getattr(self, "place", ""), ignore_errors=True)

    # the host, and commands on it

    def host(self) -> Host:
        host = faulty(self.sim, self.faults)
        host.syscalls.boottime_ns = lambda: self.clock_ns
        return host

    def read(self) -> dict[Key, Any]:
        inventory = Inventory(self.sim.host)
        return {key: knob_of(key[0]).read(inventory, key[1]).now for key in self.values}

    def command(self, *arguments: str, at: dict[int, Any] | None = None) -> tuple[int, dict[str, Any]]:
        self.faults, out = Faults(at=at or {}), StringIO()
        with redirect_stdout(out), redirect_stderr(StringIO()):
            status = main(["--root", self.sim.root, "--state", self.sim.state, "--json", *arguments])
        return status, json.loads(out.getvalue())

    def dies(self, place: int, *arguments: str) -> bool:
        return in_child(lambda: self.command(*arguments, at={place: die}))

    def apply_words(self, name: str, confirm: bool) -> list[str]:
        return ["apply", self.paths[name], "--allow", "link", *(["--confirm-within", "60s"] if confirm else [])]

    # the model

    @property
    def waits(self) -> bool:
        return bool(self.holding) and self.holding[-1].state == "applied"

    @property
    def overdue(self) -> bool:
        return self.waits and self.clock_ns >= self.holding[-1].deadline_ns

    def settle(self) -> None:
        """What apply, rollback and recover do first."""
        if self.overdue:
            self.undo(self.holding[-1])

    def undo(self, txn: Txn, force: bool = False, refused: Key | None = None) -> dict[Key, str]:
        results = {}
        for key, old in txn.old.items():
            last = txn.last.get(key)
            if last not in (None, "residual") and not (force and last == "skipped"):
                continue
            now = self.values[key]
            ours = not knob_of(key[0]).same(now, txn.wrote[key]) and not knob_of(key[0]).same(now, old)
            if ours and not force and last is None:
                results[key] = "skipped"
            elif key == refused:
                results[key] = "residual"
            else:
                self.values[key], results[key] = old, "restored"
        txn.last |= results
        if refused is not None:
            txn.state, txn.before = "degraded", None
            return results
        self.values |= txn.moved
        txn.moved, txn.state = {}, "rolled-back"
        self.past[txn.number] = txn
        self.holding = [each for each in self.holding if each is not txn]
        self.tree_due = txn.before
        return results

    tree_due: Tree | None = None

    def hold(self, wanted: dict[Key, Any], confirm: bool, before: Tree | None) -> None:
        state, deadline_ns = ("applied", self.clock_ns + 60 * SECOND) if confirm else ("confirmed", 0)
        old = {key: self.values[key] for key in wanted}
        self.holding.append(Txn(self.sim.store.numbers()[-1], state, old, wanted, before, deadline_ns))
        self.values |= wanted
        self.tree_due = None

    def differing(self, name: str) -> dict[Key, Any]:
        return {key: want for key, want in self.wants[name].items() if differs(key, self.values[key], want)}

    def written(self, kind: str) -> int:
        return sum(kind in what for what in self.faults.made)

    def told(self, record: dict[str, Any]) -> dict[Key, str]:
        return {self.key_of[each["knob"], each["target"]]: each["result"] for each in record["undone"]}

    def check_tree(self) -> None:
        due, self.tree_due = self.tree_due, None
        if due is not None:
            assert tree_of(self.sim.root) == due
