"""The flow of a change: plan, apply, verify, keep or undo. Each step is a command; this remembers where the flow stands."""

import time
from collections.abc import Callable
from typing import Any

from ui.app.model import ProfilesView
from ui.app.remedies import Remedy
from ui.app.runner import Answer, Runner

CONFIRM_WITHIN_S = 60


class TransactionControl:
    """Runs the engine's commands for the Profiles pane.

    Args:
        view: what the pane shows; filled here.
        runner: how a command is run.
        redraw: called whenever the view changed.
    """

    def __init__(self, view: ProfilesView, runner: Runner, redraw: Callable[[], None]) -> None:
        self.view = view
        self.runner = runner
        self.redraw = redraw

    async def load(self) -> None:
        """Profiles, history, and a transaction that waits from before."""
        answer = await self.runner.run("profiles", "list")
        self.view.profiles = list(answer.record.get("profiles", []))
        await self._load_history()
        self.redraw()

    async def _load_history(self) -> None:
        answer = await self.runner.run("history")
        self.view.history = list(answer.record.get("transactions", []))
        waiting = next((t for t in self.view.history if t.get("undo_in_s") is not None), None)
        self.view.waiting = int(waiting["transaction"]) if waiting else None
        if waiting:
            self.view.deadline = time.monotonic() + float(waiting["undo_in_s"])

    def _selected(self) -> str:
        return str(self.view.profiles[self.view.selected]["name"]) if self.view.profiles else ""

    async def plan(self) -> None:
        """What the selected profile would change."""
        name = self._selected()
        if not name or not self._begin("plan"):
            return
        self.view.steps.clear()
        self.view.step("1 plan", "running", name)
        answer = await self.runner.run("plan", name)
        self._show_plan(name, answer)
        self._end()

    def _show_plan(self, name: str, answer: Answer) -> None:
        if "changes" not in answer.record:
            self.view.step("1 plan", "failed", answer.reason)
            return
        self.view.plan, self.view.planned, self.view.scroll = answer.record, name, 0
        counts = answer.record.get("summary", {})
        words = "; ".join(answer.record.get("conflicts", []))
        self.view.step(
            "1 plan", "failed" if words else "ok", words or f"{counts.get('differs', 0)} to change, nothing written yet"
        )

    async def plan_remedy(self, found: Remedy) -> None:
        """The plan of a remedy."""
        del found

    async def apply(self) -> None:
        """Applies what was planned; it undoes itself unless kept."""
        name = self.view.planned
        if not name:
            await self.plan()
            return
        if not self._begin("apply"):
            return
        self.view.step("2 apply", "running", "journal first, then each change, read back")

        def progress(line: str) -> None:
            self.view.step("2 apply", "running", line)
            self.redraw()

        disruptions = sorted({c["disruption"] for c in self.view.plan.get("changes", []) if c["state"] == "differs"} - {"none"})
        allow = ["--allow", ",".join(disruptions)] if disruptions else []
        answer = await self.runner.run("apply", name, "--confirm-within", f"{CONFIRM_WITHIN_S}s", *allow, progress=progress)
        outcome = answer.record.get("outcome")
        if answer.status == 0:
            self.view.step("2 apply", "ok", f"transaction {answer.record.get('transaction')}: {outcome}")
            await self._load_history()
            await self._verify()
        else:
            self.view.step("2 apply", "failed", f"{outcome or ''} {answer.reason}".strip())
            await self._load_history()
        self._end()

    async def verify(self) -> None:
        """Looks at the active profile again."""
        if self._begin("verify"):
            await self._verify()
            self._end()

    async def _verify(self) -> None:
        self.view.step("3 verify", "running", "")
        self.redraw()
        answer = await self.runner.run("verify")
        if "changes" not in answer.record:
            self.view.step("3 verify", "failed", answer.reason)
            return
        self.view.plan, self.view.planned = answer.record, str(answer.record["profile"]["name"])
        counts: dict[str, Any] = answer.record.get("summary", {})
        words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        self.view.step("3 verify", "ok" if answer.status in (0, 3) else "failed", words)

    async def keep(self) -> None:
        """Keeps the transaction that waits."""
        if self.view.waiting is None or not self._begin("keep"):
            return
        answer = await self.runner.run("confirm", str(self.view.waiting))
        self.view.step("4 keep", "ok" if answer.status == 0 else "failed", "kept" if answer.status == 0 else answer.reason)
        await self.load()
        self._end()

    async def undo(self) -> None:
        """Undoes the transaction that waits, else the newest that holds the host."""
        if not self._begin("undo"):
            return
        which = [str(self.view.waiting)] if self.view.waiting is not None else []
        self.view.step("4 undo", "running", "")
        answer = await self.runner.run("rollback", *which)
        undone = answer.record.get("undone", [])
        restored = sum(u.get("result") == "restored" for u in undone)
        words = f"{restored} of {len(undone)} put back" if answer.status == 0 else answer.reason
        self.view.step("4 undo", "ok" if answer.status == 0 else "failed", words)
        self.view.planned, self.view.plan = "", {}
        await self.load()
        self._end()

    def _begin(self, what: str) -> bool:
        """Marks the flow busy; False where something is on its way already."""
        if self.view.busy:
            return False
        self.view.busy = what
        self.redraw()
        return True

    def _end(self) -> None:
        self.view.busy = ""
        self.redraw()
