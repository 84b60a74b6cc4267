"""What the app's tests share: samples of any size, a runner and a ring that only remember, and the screen as text."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from ingest.sample import CoreSample, Cost, Event, LossSample, NicSample, QueueSample, Sample
from ui.app.app import QuietcoreApp
from ui.app.flow.runner import Answer
from ui.app.state.model import Model, RingView
from ui.app.stream.source import ListSource
from ui.app.widgets.lines import Lines

WIDGETS = ("#header", "#tabs", "#body", "#footer")


def sample(cores=64, nodes=2, sequence=1, nic="eth2", role="general", source="live", **core) -> Sample:
    each = max(1, cores // nodes)
    return Sample(
        host="ny4-md-07",
        source=source,
        kernel="6.12.0",
        sequence=sequence,
        time_s=0.0,
        monotonic_ns=sequence,
        interval_s=1.0,
        cores=tuple(
            CoreSample(
                cpu=i,
                node=min(i // each, nodes - 1),
                package=0,
                core=i,
                llc=0,
                siblings=(i,),
                role=role,
                interruptions_per_s=float(i * 37 % 5000),
                top_cause="LOC Local timer interrupts",
                timer_per_s=float(i),
                **core,
            )
            for i in range(cores)
        ),
        irqs=(),
        nics=(
            NicSample(
                name=nic,
                driver="ixgbe",
                node=0,
                up=True,
                speed_mbps=25000,
                rx_packets_per_s=1.2e6,
                tx_packets_per_s=3.0,
                rx_bytes_per_s=1e9,
                tx_bytes_per_s=1e3,
                drops_per_s=12.0,
                rx_ring=512,
                rx_ring_max=4096,
                queues=tuple(QueueSample(q, 100 + q, str(q), 1000.0 * q) for q in range(8)),
            ),
            NicSample(
                name="lo",
                driver="",
                node=-1,
                up=True,
                speed_mbps=None,
                rx_packets_per_s=0,
                tx_packets_per_s=0,
                rx_bytes_per_s=0,
                tx_bytes_per_s=0,
                drops_per_s=0,
                physical=False,
            ),
        ),
        losses=(
            LossSample(5, "NIC buffer or descriptors", nic, "rx_missed_errors", 4711, 12.0),
            LossSample(18, "UDP: socket buffer full", "host", "Udp.RcvbufErrors", 0, 0.0, visible=False),
        ),
        events=(Event("warn", nic, "the interface is gone"),),
        cost=Cost(1000, 0.7, "0-1", 0),
        profile="feed-handler",
    )


PLAN = {
    "schema": "quietcore/1",
    "command": "plan",
    "profile": {"name": "feed-handler", "sha256": "0"},
    "conflicts": [],
    "changes": [
        {
            "knob": "nic.rings.rx",
            "target": "eth2",
            "now": 512,
            "wanted": 4096,
            "effective": 512,
            "state": "differs",
            "disruption": "link",
            "why": "feed-handler.toml: nic.feed.rings.rx",
            "undo": 512,
            "error": None,
            "note": "",
        },
        {
            "knob": "irq.affinity",
            "target": "eth2/eth2-TxRx-0",
            "now": "0-3",
            "wanted": "2",
            "effective": "1",
            "state": "differs",
            "disruption": "none",
            "why": "feed-handler.toml: irq.feed",
            "undo": "0-3",
            "error": None,
            "note": "",
        },
    ],
    "summary": {"ok": 3, "differs": 2},
}


class FakeRunner:
    """Answers like the engine and remembers what it was asked."""

    def __init__(self, **answers: Answer) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.waiting = False
        self.answers = answers

    async def run(self, *arguments, progress=None):
        self.calls.append(arguments)
        command = arguments[0]
        if command in self.answers:
            return self.answers[command]
        if command == "profiles":
            return Answer(
                0, {"profiles": [{"name": n, "summary": f"for {n}", "active": False} for n in ("base", "feed-handler")]}
            )
        if command == "explain":
            return Answer(0, {"knobs": []})
        if command == "history":
            entry = {"transaction": 7, "profile": {"name": "feed-handler"}, "state": "applied", "undo_in_s": 60.0}
            return Answer(0, {"transactions": [entry] if self.waiting else []})
        if command == "plan":
            return Answer(2, PLAN)
        if command == "apply":
            self.waiting = True
            if progress is not None:
                progress("nic.rings.rx eth2: 512 -> 4096")
            return Answer(0, PLAN | {"command": "apply", "transaction": 7, "outcome": "applied", "changed": True})
        if command in ("confirm", "rollback"):
            self.waiting = False
            return Answer(0, {"command": command, "transaction": 7, "undone": [{"result": "restored"}]})
        if command == "verify":
            return Answer(0, PLAN | {"command": "verify", "changes": [], "summary": {"ok": 5}})
        if command == "explain":
            return Answer(0, {"knobs": []})
        raise AssertionError(arguments)


class FakeRing:
    """A ring that has counted a little."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.stopped = 0

    def start(self, view: RingView, interface: str) -> None:
        self.started.append(interface)
        view.running, view.interface = True, interface
        view.record = {
            "source": f"packet:{interface}",
            "walker": "native",
            "mode": "latency",
            "seconds": 1.0,
            "total": {"packets": 100, "bytes": 12800, "drops": 3},
            "rings": [
                {
                    "core": 1,
                    "packets": 100,
                    "bytes": 12800,
                    "drops": 3,
                    "freezes": 0,
                    "latency": {"from": "kernel", "to": "ring", "p50_ns": 31000, "p99_ns": 140000, "p99.9_ns": 1, "max_ns": 2},
                }
            ],
        }

    def stop(self, view: RingView) -> None:
        self.stopped += 1
        view.running = False

    def poll(self, view: RingView) -> None:
        pass


def lines_of(app: QuietcoreApp) -> list[str]:
    """The screen as text, row by row."""
    return [
        "".join(segment.text for segment in widget.render_line(y))
        for widget in (app.query_one(name, Lines) for name in WIDGETS)
        for y in range(widget.size.height)
    ]


def text_of(app: QuietcoreApp) -> str:
    return "\n".join(lines_of(app))


def make_app(samples=None, runner=None, *, may_change=True) -> QuietcoreApp:
    source = ListSource(samples if samples is not None else [sample()])
    model = Model(may_change=may_change, why_not="" if may_change else "not root")
    return QuietcoreApp(source, runner or FakeRunner(), FakeRing(), model, places=("/nonexistent",))


def drive(app: QuietcoreApp, steps: Callable[..., Awaitable[None]], size=(80, 24)) -> None:
    """Runs the app at a size and lets ``steps(pilot)`` act on it."""

    async def session() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(pilot)

    asyncio.run(session())


async def press(pilot, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


SIZES = list(itertools.chain([(80, 24), (200, 50)], itertools.product((80, 101, 129, 130, 170, 240), (24, 31, 50, 70))))
