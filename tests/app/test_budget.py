"""What drawing costs, as a ratio to the least that could do it, in one process and one run: so it holds on any machine.

The least is rows compared and written with ANSI sequences: 128 cores times 4 figures and 64 rows of 10 columns, of which one in
twenty changes. What is compared is a whole tick of the app on a terminal: decoding, histories, the screen's lines, header, tabs
and footer, the rows that differ.
"""

import asyncio
import io
import time

import pytest

from bench.app_feed import first, stream
from bench.app_rivals import Figures
from ingest.changes import Decoder, Encoder
from tests.app.screens import FakeRing, FakeRunner
from ui.app.app import QuietcoreApp
from ui.app.state.model import Model
from ui.app.stream.source import ListSource
from ui.keys import SCREENS

TICKS = 40
# calm and busy: some two and a half times what was measured, since a ratio of two short times wanders
LIMITS = {
    "overview": (14, 40), "core": (11, 30), "irqs": (9, 25), "nic": (11, 24), "ingest": (8, 15), "profiles": (8, 15),
    "events": (8, 15),
}  # fmt: skip


class Painter:
    """A terminal that takes everything."""

    def __init__(self):
        self.bytes = 0

    def takes(self):
        return True

    def paint(self, x, y, text):
        self.bytes += len(text.encode())

    def send(self, x, y):
        pass


class LineSource(ListSource):
    """Lines that are decoded when they are asked for, as the thread that reads them would."""

    def __init__(self, lines):
        super().__init__([])
        self.lines, self.decoder = iter(lines), Decoder()

    def newest(self):
        self.past.samples.append(self.decoder.take(next(self.lines)))
        return self.past.samples[-1]


def least_s(ticks):
    """CPU time of so many ticks of the least."""
    figures, shown, out = Figures(), [""] * 72, io.StringIO()
    before = time.process_time()
    for _ in range(ticks):
        figures.step()
        for y, line in enumerate(figures.lines()):
            if line != shown[y]:
                shown[y] = line
                out.write(f"\x1b[{y + 1};1H{line}")
    return time.process_time() - before


def ticks_of(screen, *, busy):
    """CPU time of ticks of the app, each beside as many of the least; the median of what they cost in these."""
    encoder, samples = Encoder(), stream(first(), 0.5, busy=busy)
    app = QuietcoreApp(
        LineSource([encoder.line(next(samples)).encode() for _ in range(TICKS + 60)]),
        FakeRunner(),
        FakeRing(),
        Model(kind="view"),
    )
    painter, ratios = Painter(), []

    async def session():
        async with app.run_test(size=(200, 50)) as pilot:
            app.action_show(screen)
            for _ in range(30):  # caches fill, histories begin
                app.tick()
            await pilot.pause()
            app.terminal = painter
            for _ in range(TICKS):
                before = time.process_time()
                app.tick()
                spent = time.process_time() - before
                ratios.append(spent / least_s(1))
            app.terminal = None

    asyncio.run(session())
    return sorted(ratios)[len(ratios) // 2], painter.bytes / TICKS


@pytest.mark.parametrize("screen", SCREENS)
def test_a_tick_of_each_screen_is_within_its_budget(screen):
    for busy, limit in zip((False, True), LIMITS[screen], strict=True):
        ratio, _ = ticks_of(screen, busy=busy)
        print(f"{screen} {'busy' if busy else 'calm'}: {ratio:.1f} times the least")
        assert ratio < limit, (screen, busy, ratio)


def test_a_calm_host_sends_little_to_the_terminal():
    _, calm = ticks_of("overview", busy=False)
    _, busy = ticks_of("overview", busy=True)
    assert 0 < calm < 12_000  # bytes a tick: 24 kB/s at two a second
    assert calm < busy
