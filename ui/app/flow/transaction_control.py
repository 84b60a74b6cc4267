"""The flow of a change: plan, apply, verify, keep or undo. Each step is a command; this remembers where the flow stands.

A transaction is not the app's: another app, the command line or its own timer may end it. So the journals are watched, by one
``stat`` a second, and asked again when they moved.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ui.app.flow.remedies import Remedy
from ui.app.flow.runner import Answer, Runner
from ui.app.flow.transaction_outcome import ending, outcome
from ui.app.flow.transaction_view import ProfilesView, disruptions_of, key_of

CONFIRM_WITHIN_S = 60
_LOOK_S = 1.0
_IRREVERSIBLE = "irreversible"
_LOOKS = ("plan", "verify")  # what only reads
_ON_ITS_WAY = ("prepared", "applying", "rolling-back")


class TransactionControl:
    """Runs the engine's commands for the Profiles screen.

    Args:
        view: what the screen shows; filled here.
        runner: how a command is run.
        redraw: called whenever the view changed.
        tell: says a word in the footer, in a tone.
    """

    def __init__(
        self, view: ProfilesView, runner: Runner, redraw: Callable[[], None], tell: Callable[[str, str], None]
    ) -> None:
        self.view, self.runner, self.redraw, self._tell = view, runner, redraw, tell
        self._next_look = 0.0
        self._stamp: tuple[object, ...] = ()
        self._asking = False
        self._following: int | None = None  # a transaction that is not over yet

    def tell(self, words: str, tone: str) -> None:
        """A word in the footer, at once: nobody waits for what a step says."""
        self._tell(words, tone)
        self.redraw()

    # what is there

    async def load(self) -> None:
        """Profiles, history, and a transaction that waits from before."""
        answer = await self.runner.run("profiles", "list")
        known = {each.get("name"): each for each in self.view.profiles}
        found = answer.record.get("profiles", [])
        # counts stay until they are made anew
        self.view.profiles = [{**known.get(each.get("name"), {}), **each} for each in found]
        await self.refresh()
        if not self.view.about:
            knobs = (await self.runner.run("explain")).record.get("knobs", [])
            self.view.about = {str(each.get("knob")): each for each in knobs if isinstance(each, Mapping)}
        self._changed()

    async def count(self) -> None:
        """How many settings each profile would change here: one look at the host for all of them."""
        self.view.counts = "asked"
        answer = await self.runner.run("profiles", "list", "--changes")
        if answer.record.get("profiles"):
            self.view.profiles = list(answer.record["profiles"])
        self.view.counts = "there"
        self._changed()

    async def refresh(self) -> None:
        """What the journals say by now, and how a transaction that waited has ended."""
        stamp = self._stamped()
        answer = await self.runner.run("history")
        if "transactions" not in answer.record:
            self._stamp = stamp
            return
        view, waited = self.view, self.view.waiting
        view.history = list(answer.record["transactions"])
        known, view.journals = view.journals, str(answer.record.get("journals", ""))
        # what moved while it was asked is asked again; what was not known before could not be looked at
        self._stamp = stamp if known and len(stamp) == len(self._stamped()) else self._stamped()
        waiting = next((each for each in reversed(view.history) if each.get("undo_in_s") is not None), None)
        view.waiting = int(waiting["transaction"]) if waiting else None
        if waiting is not None:
            view.deadline = time.monotonic() + float(waiting["undo_in_s"])
            if view.waiting != waited:
                profile = (waiting.get("profile") or {}).get("name", "?")
                view.step("4 keep", "waits", f"transaction {view.waiting} of {profile}")
            self._following = view.waiting
        elif self._following is not None:
            self._ended(next((each for each in view.history if each.get("transaction") == self._following), {}))
        elif view.history and view.history[-1].get("state") in _ON_ITS_WAY:
            self._following = int(view.history[-1]["transaction"])
            view.step("2 apply", "running", f"transaction {self._following}, by somebody else")
        self._changed()

    def _ended(self, entry: Mapping[str, Any]) -> None:
        """Says how the transaction that waited ended, whoever ended it."""
        state, words = ending(entry)
        if entry.get("state") in _ON_ITS_WAY:
            self.view.step("4 keep", state, words)
            return
        self._following = None
        self.view.step("4 keep", state, words)
        if entry.get("state") in ("rolled-back", "degraded"):
            self.view.forget()
        self.view.counts = "wanted" if self.view.counts else ""
        self.tell(f"transaction {entry.get('transaction', '?')}: {words}", "good" if state == "ok" else "warn")

    def has_news(self) -> bool:
        """Whether the journals moved since they were asked, or counts are wanted; costs a stat a second."""
        now = time.monotonic()
        if self.view.busy or self._asking or now < self._next_look:
            return False
        self._next_look = now + _LOOK_S
        return self.view.counts == "wanted" or self._stamped() != self._stamp

    async def news(self) -> None:
        """Asks again."""
        self._asking = True
        try:
            if self._stamped() != self._stamp:
                await self.refresh()
            if self.view.counts == "wanted":
                await self.count()
        finally:
            self._asking = False

    def _stamped(self) -> tuple[object, ...]:
        """When a journal came or went, and what the one that waits holds."""
        if not self.view.journals:
            return ()
        names = [self.view.journals]
        if self.view.history:  # the newest: one that waits is always that
            names.append(os.path.join(self.view.journals, f"{int(self.view.history[-1]['transaction']):06d}.journal"))
        found: list[object] = []
        for name in names:
            with contextlib.suppress(OSError):  # not for this user, or gone
                status = os.stat(name)
                found += [status.st_mtime_ns, status.st_size]
        return tuple(found)

    # plan

    async def plan(self, name: str) -> None:
        """What a profile would change."""
        binds = [word for part, nic in self.view.binds.get(name, {}).items() for word in ("--bind", f"{part}={nic}")]
        if not name or not self._begin("plan"):
            return
        self.view.forget()
        await self._plan(name, (name, *binds), ())
        self._end("plan")

    async def plan_remedy(self, found: Remedy) -> None:
        """The plan of a remedy, its line selected; a stronger one where the host has it already."""
        if not self._begin("plan"):
            return
        view, step = self.view, found
        view.forget()
        while True:
            only = ("--only", f"{step.knob}@{step.target}") if step.alone else ()
            words = step.words[: len(step.words) - len(only)]
            there = await self._plan(step.profile, words, only)
            key = f"{step.knob}/{step.target}"
            if not there or any(key_of(change) == key for change in view.picked) or (more := step.stronger()) is None:
                break
            step = more
        if there:
            view.because, view.because_key, view.selected = step.because, key, key
            if not any(key_of(change) == key for change in view.to_do):
                view.step("1 plan", "failed", f"nothing to do: the host has that already ({step.title})")
        self._end("plan")

    async def _plan(self, name: str, words: Sequence[str], only: Sequence[str]) -> bool:
        view = self.view
        view.step("1 plan", "running", f"quietcore plan {' '.join([*words, *only])}")
        self.redraw()
        answer = await self.runner.run("plan", *words, *only)
        if view.busy != "plan":  # somebody kept or undid meanwhile: it is of another host
            view.step("1 plan", "failed", "the host changed while it was made")
            return False
        if "changes" not in answer.record:
            view.step("1 plan", "failed", answer.reason)
            return False
        view.planned = name or str(answer.record.get("profile", {}).get("name", ""))
        view.words, view.warned = tuple(words), ""
        view.take(answer.record, "plan")
        if only:
            view.out = {key_of(c) for c in view.to_do if f"{c['knob']}@{c['target']}" not in only}
            view.take(answer.record, "plan")
        conflicts = "; ".join(map(str, answer.record.get("conflicts", [])))
        boot = sum(change.get("disruption") == "reboot" for change in view.to_do)
        right = sum(count for state, count in answer.record.get("summary", {}).items() if state.startswith("ok"))
        told = f"nothing written: {len(view.to_do) - boot} to change now, {boot} at boot, {right} right"
        view.step("1 plan", "failed" if conflicts else "ok", conflicts or told)
        return True

    # apply

    async def apply(self) -> None:
        """Applies what is picked of the plan; it undoes itself unless kept."""
        view = self.view
        if view.waiting is not None:
            self.tell(f"transaction {view.waiting} waits: K keeps it, U undoes it, then the next can be applied", "warn")
        elif view.shows != "plan":
            self.tell("plan first: Enter on a profile, or f on whatever is red", "warn")
        elif not view.picked:
            self.tell("nothing is picked" if view.to_do else "the host is as wanted: there is nothing to apply", "warn")
        elif (final := self._irreversible()) and view.warned != _IRREVERSIBLE:
            view.warned = _IRREVERSIBLE
            self.tell(f"{final} would not come back: space picks it out, a once more applies it all the same", "warn")
        elif self._begin("apply"):
            try:
                await self._apply()
            finally:
                self._end("apply", "verify")

    def _irreversible(self) -> str:
        return ", ".join(f"{c['knob']} of {c['target']}" for c in self.view.picked if c.get("irreversible"))

    async def _apply(self) -> None:
        view = self.view
        picked, words = view.picked, [*view.words, *view.pick_words()]
        options = ["--confirm-within", f"{CONFIRM_WITHIN_S}s"]
        if allowed := disruptions_of(picked):
            options += ["--allow", ",".join(allowed)]
        if view.warned == _IRREVERSIBLE:
            options.append("--accept-irreversible")
        view.step("2 apply", "running", "the journal is written first, then each change, then it is read back")
        self.redraw()
        written = 0

        def progress(line: str) -> None:
            nonlocal written
            written += " -> " in line
            view.steps["2 apply"] = "running", f"{written} of {len(picked)}  {line}"
            view.generation += 1
            self.redraw()

        answer = await self.runner.run("apply", *words, *options, progress=progress)
        seconds = time.monotonic() - view.began
        state, told = outcome(answer, len(picked))
        view.step("2 apply", state, f"{told}, {seconds:.1f} s" if state == "ok" else told)
        # a refusal wrote nothing: the plan stands, to be picked anew
        if state == "ok":
            view.made = frozenset(key_of(change) for change in picked)
            await self.refresh()
            view.busy = "verify"
            await self._verify()
        else:
            self.tell(f"apply: {told}", "bad")
            await self.refresh()

    # verify, keep, undo

    async def verify(self) -> None:
        """Looks at the active profile again."""
        if self._begin("verify"):
            await self._verify()
            self._end("verify")

    async def _verify(self) -> None:
        view = self.view
        waits = view.steps.get("4 keep")
        view.step("3 verify", "running", "every setting is read again")
        if waits is not None and view.waiting is not None:
            view.steps["4 keep"] = waits
        self.redraw()
        answer = await self.runner.run("verify")
        if view.busy != "verify":  # it looked at what was undone meanwhile
            view.step("3 verify", "-", "")
            return
        if "changes" not in answer.record:
            view.step("3 verify", "failed", answer.reason)
            return
        view.take(answer.record, "verify")
        view.planned = str(answer.record.get("profile", {}).get("name", ""))
        counts: Mapping[str, int] = answer.record.get("summary", {})
        words = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "sets nothing"
        view.step("3 verify", "ok" if answer.status in (0, 3) else "failed", words)

    async def keep(self) -> None:
        """Keeps the transaction that waits."""
        if self.view.waiting is None:
            self.tell("no transaction waits to be kept", "warn")
        elif self._begin("keep"):
            number = self.view.waiting
            await self._end_it(await self.runner.run("confirm", str(number)), f"keep {number}")

    async def undo(self) -> None:
        """Undoes the transaction that waits, else the newest that holds the host."""
        if not self._begin("undo"):
            return
        which = [str(self.view.waiting)] if self.view.waiting is not None else []
        if self.view.waiting is None:
            self.view.step("4 keep", "running", "the newest transaction is undone")
            self.redraw()
        answer = await self.runner.run("rollback", *which)
        await self._end_it(answer, "undo")

    async def _end_it(self, answer: Answer, what: str) -> None:
        """What keep and undo have in common: the journals say how it ended, but for what the command itself refused."""
        waited = self.view.waiting
        await self.load()
        undone = answer.record.get("undone", [])
        if answer.status == 0 and what == "undo":
            self.view.forget()
            restored = sum(each.get("result") == "restored" for each in undone)
            nothing = answer.record.get("outcome") == "unchanged"
            words = "there is nothing to undo" if nothing else f"undone: {restored} of {len(undone)} put back"
            self.view.step("4 keep", "ok", words)
        elif answer.status == 0:
            self.view.step("4 keep", "ok", f"transaction {answer.record.get('transaction', waited)} kept")
        else:
            self.view.step("4 keep", "failed", outcome(answer, 0)[1])
            self.tell(f"{what}: {outcome(answer, 0)[1]}", "bad")
        self.view.counts = "wanted" if self.view.counts else ""
        self._end("keep", "undo")

    def leaving(self) -> str:
        """What whoever quits has to know."""
        if self.view.waiting is not None:
            number, left = self.view.waiting, self.view.undo_in()
            return f"Transaction {number} undoes itself in {left}: quietcore confirm {number} keeps it"
        if self.view.busy == "apply":
            return "The apply goes on without this terminal, and undoes itself unless confirmed: quietcore history"
        return ""

    def _begin(self, what: str) -> bool:
        """Marks the flow busy; False where something is on its way already. Who keeps or undoes does not wait for a look."""
        if self.view.busy and not (what in ("keep", "undo") and self.view.busy in _LOOKS):
            self.tell(f"{what}: {self.view.busy} is on its way", "warn")
            return False
        self.view.busy = what
        self._changed()
        return True

    def _end(self, *what: str) -> None:
        """It is over, if it is this that is on its way still."""
        if self.view.busy in what:
            self.view.busy = ""
        self._changed()

    def _changed(self) -> None:
        self.view.generation += 1
        self.redraw()
