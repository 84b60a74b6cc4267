"""Profiles by keys, with a runner that only remembers: picks, steps, countdown, and what is told where something is refused."""

import asyncio
import itertools
import time

import pytest
from rich.cells import cell_len

from tests.app.screens import PLAN, FakeRunner, drive, lines_of, make_app, press, sample, text_of
from ui.app.flow.remedies import Remedy
from ui.app.flow.runner import Answer
from ui.app.flow.transaction_outcome import ending, outcome
from ui.app.flow.transaction_view import ProfilesView, plan_lines

RING = {
    "knob": "nic.rings.rx", "target": "eth2", "now": 512, "wanted": 4096, "effective": 512, "state": "differs",
    "disruption": "link", "why": "feed-handler.toml: nic.feed.rings.rx", "undo": 512, "error": None, "note": "",
}  # fmt: skip
AFFINITY = RING | {
    "knob": "irq.affinity", "target": "eth2/eth2-TxRx-0", "now": "0-3", "wanted": "2", "disruption": "none",
    "why": "feed-handler.toml: irq.feed",
}  # fmt: skip
BOOT = RING | {"knob": "boot.words", "target": "next boot", "now": "", "wanted": "skew_tick=1", "disruption": "reboot"}
HOSTILE = RING | {"knob": "sysctl.vm.swappiness", "target": "host", "now": "[b]x[/]", "wanted": "界界界", "disruption": "none"}


KNOB = {
    "knob": "nic.rings.rx", "summary": "Receive descriptors", "risk": "seconds without carrier", "why": "time to be late in",
    "where": "ethtool -g IF", "undo": "the old size", "quirks": ["igb: MAC reset"], "source": "ethtool.h",
}  # fmt: skip


class Runner(FakeRunner):
    """Answers with other changes, and as slowly as it is asked to."""

    def __init__(self, *changes, slow=(), **answers) -> None:
        super().__init__(**answers)
        self.changes, self.slow = list(changes), slow
        self.go_on = asyncio.Event()

    async def run(self, *arguments, progress=None):
        if arguments[0] in self.slow:
            self.calls.append(arguments)
            if progress is not None:
                progress("nic.rings.rx eth2: 512 -> 4096")
            await self.go_on.wait()
            self.calls.pop()
        if arguments[0] == "explain":
            self.calls.append(arguments)
            return Answer(0, {"knobs": [KNOB]})
        if arguments[0] == "plan" and "plan" not in self.answers:
            self.calls.append(arguments)
            summary = {"ok": 3, "differs": len(self.changes)}
            return Answer(2, PLAN | {"changes": self.changes, "summary": summary, "layers": {"base.toml": "0"}})
        return await super().run(*arguments, progress=progress)


def calls(runner, command):
    return [call for call in runner.calls if call[0] == command]


async def plan(pilot, *, profile="down"):
    await press(pilot, "6", *([profile] if profile else []), "enter")
    await pilot.pause(0.1)


def run(app, steps, size=(80, 24)):
    drive(app, steps, size)


def test_plan_apply_verify_keep():
    runner = Runner(RING, AFFINITY)
    app = make_app(runner=runner)

    async def steps(pilot):
        await plan(pilot)
        assert "2 of 2 picked" in text_of(app)
        assert "eth2 rings.rx" in text_of(app)
        assert not calls(runner, "apply")
        await press(pilot, "a")
        await pilot.pause(0.1)
        assert ("apply", "feed-handler", "--confirm-within", "60s", "--allow", "link") in runner.calls
        assert ("verify",) in runner.calls
        assert "4 KEEP?" in text_of(app)
        assert "undo in 0:5" in text_of(app) or "undo in 1:00" in text_of(app)
        await press(pilot, "1")  # from any screen
        assert "undo in" in text_of(app)
        await press(pilot, "K")
        await pilot.pause(0.1)
        assert ("confirm", "7") in runner.calls
        await press(pilot, "6")
        assert "transaction 7 kept" in text_of(app)
        assert "KEEP?" not in text_of(app)

    run(app, steps)


def test_undo():
    runner = Runner(RING)
    app = make_app(runner=runner)

    async def steps(pilot):
        await plan(pilot)
        await press(pilot, "a")
        await pilot.pause(0.1)
        await press(pilot, "U")
        await pilot.pause(0.1)
        assert ("rollback", "7") in runner.calls
        assert "1 of 1 put back" in text_of(app)
        assert app.profiles_view.waiting is None
        # and the next one can be planned at once
        await press(pilot, "enter")
        await pilot.pause(0.1)
        assert "1 of 1 picked" in text_of(app)

    run(app, steps)


def test_only_what_is_picked_is_applied():
    runner = Runner(RING, AFFINITY, HOSTILE)
    app = make_app(runner=runner)

    async def steps(pilot):
        await plan(pilot)
        await press(pilot, "space")
        assert "2 of 3 picked" in text_of(app)
        pointed = app.pane.pointed()
        assert (pointed.kind, pointed.key) == ("change", "nic.rings.rx/eth2")
        command = app.pane.command()
        assert command == (
            "quietcore apply feed-handler --only irq.affinity@eth2/eth2-TxRx-0 --only sysctl.vm.swappiness@host "
            "--confirm-within 60s"
        )
        rows = app.pane.listing().rows
        assert [row["picked"] for row in rows] == [False, True, True]
        await press(pilot, "a")
        await pilot.pause(0.1)
        [applied] = calls(runner, "apply")
        assert "nic.rings.rx@eth2" not in applied
        assert applied.count("--only") == 2
        assert "--allow" not in applied  # what would disturb was taken out

    run(app, steps)


def test_nothing_picked_is_nothing_applied():
    runner = Runner(RING)
    app = make_app(runner=runner)

    async def steps(pilot):
        await press(pilot, "6", "a")
        assert "plan first" in text_of(app)
        await press(pilot, "space")
        assert "plan first" in text_of(app)
        await plan(pilot)
        await press(pilot, "space", "a")
        assert "nothing is picked" in text_of(app)
        assert not calls(runner, "apply")

    run(app, steps)


def test_what_would_not_come_back_takes_a_second_key():
    runner = Runner(RING | {"irreversible": "addresses are lost"})
    app = make_app(runner=runner)

    async def steps(pilot):
        await plan(pilot)
        await press(pilot, "a")
        assert "would not come back" in text_of(app)
        assert not calls(runner, "apply")
        await press(pilot, "a")
        await pilot.pause(0.1)
        assert "--accept-irreversible" in calls(runner, "apply")[0]

    run(app, steps)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(4, {"error": "refused: another run holds the lock"}), "another run holds the lock"),
        (Answer(5, {"outcome": "rolled-back", "error": "Invalid argument", "transaction": 7}), "the host is as before"),
        (
            Answer(6, {"outcome": "degraded", "transaction": 7, "undone": [
                {"knob": "nic.rings.rx", "target": "eth2", "result": "residual"}]}),
            "not as before: nic.rings.rx of eth2. U tries again",
        ),
        (Answer(-9, {}, ()), "exit status -9"),
    ],
)  # fmt: skip
def test_how_an_apply_fails_is_told_with_what_to_do(answer, told):
    runner = Runner(RING, apply=answer)
    app = make_app(runner=runner)

    async def steps(pilot):
        await plan(pilot)
        await press(pilot, "a")
        await pilot.pause(0.1)
        assert told in app.profiles_view.steps["2 apply"][1]
        assert told[:30] in text_of(app)
        assert "KEEP?" not in text_of(app)
        # what was refused can be picked anew
        assert app.profiles_view.shows == "plan"

    run(app, steps, (200, 50))


def test_a_profile_that_cannot_be_planned_says_why():
    runner = Runner(plan=Answer(1, {"error": "bind.feed: no NIC is named for it; this host has: eth2, eth3"}))
    app = make_app(runner=runner)

    async def steps(pilot):
        await plan(pilot)
        assert "no NIC is named for it" in text_of(app)
        assert not app.panes["profiles"].on_plan

    run(app, steps)


def test_a_part_is_bound_by_a_key():
    both = {"name": "colo-both", "summary": "", "parts": ["feed", "order"]}
    runner = Runner(RING, profiles=Answer(0, {"profiles": [both | {"parts": ["feed"], "name": "one"}, both]}))
    app = make_app([sample(nic="eth2")], runner=runner)

    async def steps(pilot):
        await press(pilot, "6", "b")
        assert "feed=eth2" in text_of(app)
        await press(pilot, "enter")
        await pilot.pause(0.1)
        assert ("plan", "one", "--bind", "feed=eth2") in runner.calls
        await press(pilot, "escape", "b")
        assert "as /etc/quietcore/host.toml has it" in text_of(app)
        await press(pilot, "down", "b")
        assert "is for 2 NICs" in text_of(app)

    run(app, steps)


def test_who_may_not_change_the_host_is_told_why():
    runner = Runner(RING)
    app = make_app(runner=runner, may_change=False)

    async def steps(pilot):
        await plan(pilot)
        assert "read-only: not root" in text_of(app)
        assert "1 of 1 picked" in text_of(app)  # planning is reading
        await press(pilot, "a")
        assert "apply: not root" in text_of(app)
        await press(pilot, "K", "U")
        assert not {call[0] for call in runner.calls} & {"apply", "confirm", "rollback"}

    run(app, steps, size=(100, 40))


def test_while_one_waits_nothing_else_is_applied():
    runner = Runner(RING)
    app = make_app(runner=runner)

    async def steps(pilot):
        await plan(pilot)
        await press(pilot, "a")
        await pilot.pause(0.1)
        await press(pilot, "enter")
        await pilot.pause(0.1)
        await press(pilot, "a")
        assert "transaction 7 waits: K keeps it, U undoes it" in text_of(app)
        assert len(calls(runner, "apply")) == 1

    run(app, steps)


@pytest.mark.parametrize(("key", "command"), [("K", "confirm"), ("U", "rollback")])
def test_who_keeps_or_undoes_does_not_wait_for_the_verdict(key, command):
    runner = Runner(RING, slow=("verify",))
    app = make_app(runner=runner)

    async def steps(pilot):
        await plan(pilot)
        await press(pilot, "a")
        await pilot.pause(0.1)
        assert "every setting is read again" in text_of(app)
        await press(pilot, key)
        await pilot.pause(0.1)
        assert (command, "7") in runner.calls
        shown = app.profiles_view.steps["4 keep"]
        runner.go_on.set()
        await pilot.pause(0.1)
        assert app.profiles_view.steps["4 keep"] == shown
        assert app.profiles_view.busy == ""
        assert "2 apply" in app.profiles_view.steps

    run(app, steps)


def test_an_app_that_starts_while_one_waits_shows_it_and_says_so_when_left():
    runner = Runner(RING)
    runner.waiting = True
    app = make_app(runner=runner)

    async def steps(pilot):
        await pilot.pause(0.1)
        assert "undo in" in text_of(app)
        await press(pilot, "6")
        assert "4 KEEP?" in text_of(app)
        assert "Transaction 7 undoes itself in" in app.transactions.leaving()
        assert "quietcore confirm 7" in app.transactions.leaving()
        await press(pilot, "q")

    run(app, steps)
    assert not calls(runner, "rollback")


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("confirmed", "", "transaction 7: kept"),
        ("rolled-back", "not confirmed in time", "undone (not confirmed in time): 2 of 2 put back"),
        ("degraded", "asked for", "degraded: 2 of 2 put back; U tries again"),
    ],
)
def test_somebody_else_may_end_it(state, reason, told, tmp_path):
    """The journals are watched by one stat a second; what moved is asked for."""
    runner = Runner(RING)
    entry = {"transaction": 7, "profile": {"name": "feed-handler"}, "state": "applied", "undo_in_s": 60.0}
    (tmp_path / "000007.journal").write_text("a")
    runner.answers["history"] = Answer(0, {"journals": str(tmp_path), "transactions": [entry]})
    app = make_app(runner=runner)

    async def steps(pilot):
        await pilot.pause(0.1)
        assert app.profiles_view.waiting == 7
        asked = len(calls(runner, "history"))
        app.transactions._next_look = 0.0
        app.tick()
        await pilot.pause(0.1)
        assert len(calls(runner, "history")) == asked  # nothing moved: nobody was asked
        ended = entry | {"state": state, "reason": reason, "undo_in_s": None, "undone": [{"result": "restored"}] * 2}
        runner.answers["history"] = Answer(0, {"journals": str(tmp_path), "transactions": [ended]})
        (tmp_path / "000007.journal").write_text("ab")
        app.transactions._next_look = 0.0
        app.tick()
        await pilot.pause(0.1)
        assert app.profiles_view.waiting is None
        assert told in text_of(app)

    run(app, steps, (130, 40))


def test_the_view_lives_while_an_apply_is_on_its_way_and_leaving_says_that_it_goes_on():
    runner = Runner(RING, slow=("apply",))
    app = make_app(runner=runner)

    async def steps(pilot):
        await plan(pilot)
        await press(pilot, "a")
        await pilot.pause(0.1)
        assert "1 of 1  nic.rings.rx eth2: 512 -> 4096" in text_of(app)
        await press(pilot, "1")
        assert "worst" in text_of(app) or "core" in text_of(app)
        await press(pilot, "6", "v")
        assert "apply is on its way" in text_of(app)
        assert "goes on without this terminal" in app.transactions.leaving()
        runner.go_on.set()
        await pilot.pause(0.1)
        assert "4 KEEP?" in text_of(app)

    run(app, steps)


def test_a_remedy_is_planned_with_its_line_selected_and_why():
    runner = Runner(AFFINITY, RING)
    app = make_app(runner=runner)
    found = Remedy(
        "ring rx 4096", ("nic.port.rings.rx=max",), "nic.rings.rx", "eth2", because="eth2 lost 12", binds=("port=eth2",)
    )

    async def steps(pilot):
        app.action_show("profiles")
        await app.transactions.plan_remedy(found)
        await pilot.pause(0.1)
        assert runner.calls[-1] == (
            "plan", "observe", "--on-top", "--bind", "port=eth2", "--set", "nic.port.rings.rx=max",
            "--only", "nic.rings.rx@eth2",
        )  # fmt: skip
        assert app.pane.pointed().key == "nic.rings.rx/eth2"
        assert "eth2 lost 12" in text_of(app)
        assert "1 of 2 picked" in text_of(app)
        await press(pilot, "a")
        await pilot.pause(0.1)
        [applied] = calls(runner, "apply")
        assert applied[:3] == ("apply", "observe", "--on-top")
        assert applied[applied.index("--only") : applied.index("--only") + 2] == ("--only", "nic.rings.rx@eth2")

    run(app, steps, (130, 40))


def test_a_remedy_that_is_in_force_goes_on_to_the_next_step_and_then_says_so():
    runner = Runner(RING)  # never the backlog
    app = make_app(runner=runner)
    found = Remedy("backlog", ("a=1",), "sysctl.x", "host", more=("a=2",))

    async def steps(pilot):
        await app.transactions.plan_remedy(found)
        tried = [call[call.index("--set") + 1] for call in calls(runner, "plan")]
        assert tried == ["a=1", "a=2"]
        assert "the host has that already" in app.profiles_view.steps["1 plan"][1]

    run(app, steps)


def test_the_plan_one_below_the_other_and_all_that_is_known_of_a_line():
    app = make_app(runner=Runner(RING, AFFINITY))

    async def steps(pilot):
        await plan(pilot)
        await press(pilot, "d")
        assert "- 512" in text_of(app)
        assert "+ 4096" in text_of(app)
        await press(pilot, "down")
        assert app.pane.pointed().key == "nic.rings.rx/eth2"  # the second row of the same line
        await press(pilot, "enter")
        for words in ("seconds without carrier", "igb: MAC reset", "quietcore explain nic.rings.rx", "ethtool -g IF"):
            assert words in text_of(app), words
        await press(pilot, "escape")
        assert "1 plan" in text_of(app)
        await press(pilot, "z")
        assert "+ 4096" in text_of(app)
        await press(pilot, "escape", "escape")
        assert not app.panes["profiles"].on_plan

    run(app, steps)


def test_filter_and_focus():
    app = make_app(runner=Runner(RING, AFFINITY, BOOT))

    async def steps(pilot):
        await plan(pilot)
        await press(pilot, "slash", *"boot", "enter")
        assert "skew_tick=1" in text_of(app)
        assert "rings.rx" not in text_of(app).split("──")[0]
        await press(pilot, "escape")
        app.panes["profiles"].focus("change", "irq.affinity/eth2/eth2-TxRx-0")
        assert app.pane.pointed().key == "irq.affinity/eth2/eth2-TxRx-0"
        app.panes["profiles"].focus("profile", "base")
        assert app.pane.pointed().key == "base"

    run(app, steps)


def test_every_line_fits_at_every_size():
    many = [AFFINITY | {"target": f"eth2/界eth2-TxRx-{n}", "wanted": str(n)} for n in range(90)]
    app = make_app(
        runner=Runner(RING, BOOT, HOSTILE, RING | {"state": "failed", "target": "x" * 300, "error": "e" * 500}, *many)
    )
    pane = app.panes["profiles"]

    async def steps(pilot):
        await plan(pilot)
        for keys in ((), ("d",), ("enter",), ("escape", "z"), ("a",), ("escape", "v")):
            await press(pilot, *keys)
            await pilot.pause(0.05)
            assert {cell_len(line) for line in lines_of(app)} == {80}, keys
            assert len(lines_of(app)) == 24
            for size in itertools.product((80, 97, 129, 130, 169, 170, 200, 300), (21, 27, 28, 36, 47, 77)):
                lines = pane.lines(*size)
                assert len(lines) <= size[1], (keys, size)
                assert max(sum(s.cell_length for s in line) for line in lines) <= size[0], (keys, size)

    run(app, steps)


def test_alike_neighbours_are_one_line_and_marks_say_what_is_done():
    lines = plan_lines([AFFINITY | {"target": f"irq{n}", "now": str(n % 2)} for n in range(40)] + [BOOT, RING | {"now": None}])
    assert [(line.mark, line.when, line.now, line.target) for line in lines] == [
        ("~", "now", "various", "irq0 +39"),
        ("x", "boot", "-", "next boot"),
        ("+", "now", "-", "eth2"),
    ]
    view = ProfilesView()
    view.take({"changes": [dict(change) for line in lines for change in line.changes]}, "plan")
    view.turn(view.lines[0])
    assert len(view.picked) == 2
    view.turn(view.lines[0])
    assert view.pick_words() == ()


def test_what_a_transaction_ended_with_is_said_in_words():
    assert outcome(Answer(3, {"outcome": "applied", "transaction": 3}), 2) == (
        "ok", "transaction 3: 2 of 2; the rest with the next boot",
    )  # fmt: skip
    assert outcome(Answer(0, {"outcome": "unchanged"}), 2)[1].startswith("nothing to change")
    assert "K keeps it" in outcome(Answer(4, {"error": "transaction 3 (x) waits to be confirmed"}), 2)[1]
    assert ending({"state": "rolling-back"})[0] == "running"
    assert ending({"state": "void", "reason": "made before this boot"}) == ("undone", "void: made before this boot")


def test_a_tick_costs_next_to_nothing():
    many = [AFFINITY | {"target": f"eth2/eth2-TxRx-{n}", "wanted": str(n)} for n in range(500)]
    app = make_app([sample(128)], runner=Runner(RING, *many))

    async def steps(pilot):
        await plan(pilot)
        pane = app.pane
        pane.draw(200, 47)
        began = time.process_time()
        for _ in range(200):
            pane.draw(200, 47)
        calm_ms = (time.process_time() - began) / 200 * 1000
        began = time.process_time()
        for _ in range(50):
            pane.view.step("2 apply", "running", "nic.rings.rx eth2: 512 -> 4096")
            pane.draw(200, 47)
        busy_ms = (time.process_time() - began) / 50 * 1000
        print(f"calm {calm_ms:.3f} ms, while it is applied {busy_ms:.2f} ms")
        assert calm_ms < 1.0
        assert busy_ms < 10.0  # measured 0.7

    run(app, steps, (200, 50))
