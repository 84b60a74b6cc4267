"""Any sequence of commands, crashes, refusals, foreign writes, reboots: the host is what a small model says (R1, R14-R18)."""

import errno
import os
import shutil
import subprocess
from typing import Any

import pytest
from engine import tree_of
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from model import PROFILES, SECOND, SYSCTLS, Key, Model, Txn
from port import Faults, in_child, journal_dies

from tuner.deadman import _fire
from tuner.host.host import Inventory
from tuner.knobs.catalogue import knob_of

pytestmark = pytest.mark.promise("R1", "R16", "R17", "R18")
# a gate must not be a lottery: new draws are for the run that takes its time
ALL = bool(os.environ.get("QUIETCORE_ALL_FAULTS"))
BOOT = "/proc/sys/kernel/random/boot_id"
names = st.sampled_from([*PROFILES, "feed-handler"])
places = st.integers(1, 30)
refusals = st.sampled_from([errno.EINVAL, errno.ENOSPC])
passing = st.sampled_from([0, 0, 20, 61])
meanwhile = st.none() | st.sampled_from(SYSCTLS)


class Machine(Model):
    """The rules; what a rule expects is worked out by the model before the command is asked."""

    @rule(name=names, confirm=st.booleans(), late=st.booleans())
    def apply(self, name: str, confirm: bool, late: bool) -> None:
        before = None if self.overdue else tree_of(self.sim.root)
        quiet = not self.overdue
        self.settle()
        wanted = self.differing(name)
        status, record = self.command(*self.apply_words(name, confirm))
        if self.waits:
            assert status == 4, record
            assert f"quietcore confirm {self.holding[-1].number}" in record["error"]
            return
        assert (status, record["changed"]) == (0, bool(wanted)), record
        if not wanted:
            return
        if quiet:  # only what differs is written, and once
            kinds = [key[0] for key in wanted]
            assert self.written("/proc/sys/") == sum(kind.startswith("sysctl.") for kind in kinds)
            assert self.written("set_rings") == sum(kind.startswith("nic.rings") for kind in kinds)
            if not self.written("set_rings"):
                assert self.written("smp_affinity") == sum(kind.startswith("irq.") for kind in kinds)
            assert ("isolation.partition" in kinds) == bool(self.written("/sys/fs/cgroup"))
        self.hold(wanted, confirm, before)
        again, record = self.command(*self.apply_words(name, confirm))
        assert (again, record["changed"], self.faults.made) == (4 if confirm else 0, False, [])
        if confirm and late:
            self.clock_ns += 61 * SECOND
            assert self.command("confirm")[0] == 4

    @rule(name=names, confirm=st.booleans(), place=places, code=refusals)
    def apply_refused(self, name: str, confirm: bool, place: int, code: int) -> None:
        self.recover()
        before, wanted = tree_of(self.sim.root), self.differing(name)
        status, record = self.command(*self.apply_words(name, confirm), at={place: code})
        if len(self.faults.made) < place:
            assert status == (4 if self.waits else 0), record
            if wanted and not self.waits:
                self.hold(wanted, confirm, before)
        else:
            assert (status, record["outcome"]) == (5, "rolled-back"), record
            assert tree_of(self.sim.root) == before

    @rule(
        name=names, confirm=st.booleans(), place=places, again=st.none() | places, foreign=st.none() | st.sampled_from(SYSCTLS)
    )
    def apply_crashes(self, name: str, confirm: bool, place: int, again: int | None, foreign: str | None) -> None:
        """And so may the recovery from it; and somebody may write before that."""
        self.recover()
        before, wanted, waits = tree_of(self.sim.root), self.differing(name), self.waits
        died = self.dies(place, *self.apply_words(name, confirm))
        if not died and wanted and not waits:
            self.hold(wanted, confirm, before)
        if died and foreign is not None:
            self.third_party(foreign)
            if foreign in self.begun():  # the journal cannot tell whose value that is
                self.values[f"sysctl.{foreign}", foreign] = self.sysctl_before(foreign)
        if again is not None:
            self.dies(again, "recover")
        self.recover()
        if died and foreign is None:
            assert tree_of(self.sim.root) == before
        if died and foreign is not None:
            self.left(foreign)

    def begun(self) -> set[str]:
        """Identities of the newest transaction whose writing was begun, and not known to have ended."""
        txn = self.sim.store.get(self.sim.store.numbers()[-1])
        return {txn.plan["changes"][n]["identity"] for n in txn.started - txn.wrote.keys()} if txn.plan else set()

    def sysctl_before(self, foreign: str) -> Any:
        txn = self.sim.store.get(self.sim.store.numbers()[-1])
        return next(c["now"] for c in txn.plan["changes"] if c["identity"] == foreign)

    def left(self, foreign: str) -> None:
        """What the recovery left to its new owner is all that a forced rollback of that transaction has still to put back."""
        txn = self.sim.store.get(self.sim.store.numbers()[-1])
        if txn.number in self.numbers or not txn.undone:
            return
        changes = txn.plan["changes"]
        skipped = [changes[n] for n, undid in txn.undone.items() if undid["result"] == "skipped"]
        assert {change["identity"] for change in skipped} <= {foreign}
        old = {(c["knob"], c["identity"]): c["now"] for c in skipped}
        wrote = {(c["knob"], c["identity"]): c["wanted"] for c in skipped}
        self.past[txn.number] = Txn(txn.number, "rolled-back", old, wrote, None, 0, dict.fromkeys(old, "skipped"))

    @rule(seconds=passing)
    def recover(self, seconds: int = 0) -> None:
        self.clock_ns += seconds * SECOND
        self.settle()
        assert self.command("recover")[0] == 0
        self.check_tree()
        if not self.waits:
            assert self.command("confirm")[0] == 4

    @precondition(lambda self: self.waits)
    @rule(seconds=passing, torn=st.none() | st.booleans())
    def confirm(self, seconds: int, torn: bool | None) -> None:
        """In time or too late; ``torn``: it dies before its one record, or in the middle of it."""
        self.clock_ns += seconds * SECOND
        allowed = self.waits and not self.overdue
        if torn is not None:
            with journal_dies(1, torn):
                assert in_child(lambda: self.command("confirm")) == allowed
            return
        assert self.command("confirm")[0] == (0 if allowed else 4)
        if allowed:
            self.holding[-1].state = "confirmed"

    @precondition(lambda self: self.numbers)
    @rule(drift=meanwhile, seconds=passing)
    def rollback(self, drift: str | None, seconds: int) -> None:
        self.clock_ns += seconds * SECOND
        if drift is not None:
            self.third_party(drift)
        self.settle()
        status, record = self.command("rollback")
        assert status == 0, record
        results = self.undo(self.holding[-1]) if self.holding else {}
        assert self.told(record) == results
        self.check_tree()

    @precondition(lambda self: self.numbers)
    @rule(drift=meanwhile)
    def rollback_forced(self, drift: str | None) -> None:
        """Of the newest there ever was: also what was left to its new owner is put back."""
        self.recover()
        if drift is not None:
            self.third_party(drift)
        newest = self.sim.store.numbers()[-1]
        txn = next((each for each in self.holding if each.number == newest), self.past.get(newest))
        status, record = self.command("rollback", "--force", str(newest))
        if txn is not None:
            assert status == 0, record
            idle = txn.state == "rolled-back" and "skipped" not in txn.last.values()
            assert self.told(record) == ({} if idle else self.undo(txn, force=True))
            self.check_tree()
        else:
            assert status == 0 or "earlier boot" in record["error"], record
            assert self.faults.made == []

    @precondition(lambda self: self.holding)
    @rule(place=places, code=refusals)
    def rollback_refused(self, place: int, code: int) -> None:
        self.recover()
        status, record = self.command("rollback", at={place: code})
        if not self.holding:
            assert record["outcome"] == "unchanged"
            return
        txn, told = self.holding[-1], self.told(record)
        residual = [key for key, result in told.items() if result == "residual"]
        assert len(residual) <= 1
        assert (status, bool(residual)) in ((0, False), (6, True))
        assert self.undo(txn, refused=residual[0] if residual else None) == told
        if residual:
            self.adopt(txn, residual[0])
        self.check_tree()

    def adopt(self, txn: Txn, refused: Key) -> None:
        """What could not be put back is somewhere between; with a ring the interrupts that it reset."""
        now = self.read()
        self.values[refused] = now[refused]
        if refused[0].startswith("nic.rings"):
            txn.moved = {key: value for key, value in self.values.items() if key[0] == "irq.affinity" and value != now[key]}
            self.values |= {key: now[key] for key in txn.moved}

    @precondition(lambda self: self.holding)
    @rule(place=places, again=st.none() | places)
    def rollback_crashes(self, place: int, again: int | None) -> None:
        self.recover()
        begun = self.dies(place, "rollback")
        if again is not None:
            self.dies(again, "recover")
        if self.holding and (begun or self.sim.store.get(self.holding[-1].number).state == "rolled-back"):
            self.undo(self.holding[-1])
        self.recover()

    @rule(key=st.sampled_from(SYSCTLS))
    def third_party(self, key: str) -> None:
        setting = (f"sysctl.{key}", key)
        self.foreign(setting, "/proc/sys/" + key.replace(".", "/"), 33)

    @rule(place=st.integers(0, 5), cpus=st.sampled_from(["1", "0-1", "3"]))
    def irqbalance(self, place: int, cpus: str) -> None:
        irqs = sorted(key for key in self.values if key[0] == "irq.affinity")
        key = irqs[place % len(irqs)]
        irq = Inventory(self.sim.host).irq(key[1])
        assert irq is not None
        if not any(txn.last.get(key) == "residual" for txn in self.holding):
            self.foreign(key, f"/proc/irq/{irq.number}/smp_affinity_list", cpus)

    def foreign(self, key: Key, path: str, value: Any) -> None:
        self.sim.write(path, str(value))
        self.values[key] = value
        for txn in self.holding:
            txn.before = None

    @precondition(lambda self: self.numbers)
    @rule(place=st.integers(0, 100), seconds=passing)
    def a_timer_fires(self, place: int, seconds: int) -> None:
        """The one that is due, or a stale one of any transaction there ever was, which does nothing."""
        self.clock_ns += seconds * SECOND
        number = self.numbers[-1] if self.overdue else self.numbers[place % len(self.numbers)]
        if self.waits and not self.overdue and number == self.holding[-1].number:
            return
        fires, self.faults = self.overdue, Faults()
        self.settle()
        assert _fire(self.host(), self.sim.store, number) == 0
        assert fires or not self.faults.made
        self.check_tree()

    @precondition(lambda self: self.holding)
    @rule(crash=st.none() | st.tuples(names, places))
    def reboot(self, crash: tuple[str, int] | None) -> None:
        """Maybe by a power cut in the middle; time starts anew, and no journal of an earlier boot does anything."""
        if crash is not None:
            self.dies(crash[1], *self.apply_words(crash[0], False))
        shutil.rmtree(self.sim.root)
        subprocess.run(["cp", "-a", self.template, self.sim.root], check=True)
        self.boots += 1
        with open(self.sim.root + BOOT, "w") as file:
            file.write(f"00000000-0000-4000-8000-{self.boots:012d}\n")
        self.values, self.holding, self.past, self.clock_ns = dict(self.pristine), [], {}, 10 * SECOND
        self.recover()

    # what holds after every rule

    @invariant()
    def the_host_is_as_the_model_says(self) -> None:
        wrong = {k: (v, self.values[k]) for k, v in self.read().items() if not knob_of(k[0]).same(v, self.values[k])}
        assert not wrong

    @invariant()
    def the_journals_tell_the_same_story(self) -> None:
        everything = self.sim.store.all()
        assert {t.state for t in everything} <= {"void", "applied", "confirmed", "rolled-back", "degraded"}
        boot_id = self.host().syscalls.boot_id()
        assert [(t.number, t.state) for t in everything if t.boot_id == boot_id and t.state not in ("void", "rolled-back")] == [
            (txn.number, txn.state) for txn in self.holding
        ]
        pending = self.sim.store.pending(boot_id)
        assert (pending.number if pending else None) == (self.holding[-1].number if self.waits else None)
        now = [t.number for t in everything]
        assert now[: len(self.numbers)] == self.numbers
        self.numbers = now


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    deadline=None, max_examples=400 if ALL else 40, stateful_step_count=15, derandomize=not ALL, database=None,
    suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate],
)  # fmt: skip
