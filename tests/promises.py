"""The reliability contract as a table: which promise was tested by how many points, and how many of them held.

A test names its promise by ``@pytest.mark.promise("R5")``; it is one point, or as many as it says through the ``held`` fixture.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

PROMISES = {
    "R1": "SIGKILL anywhere: all old or all new",
    "R2": "a write is refused: rolled back, named",
    "R3": "the undoing is refused, too: residuals, retried",
    "R4": "accepted, but not so: a failure",
    "R5": "what a change moves besides is put back",
    "R6": "what cannot come back is said before",
    "R7": "a device renamed, gone, exchanged",
    "R8": "a CPU goes or comes",
    "R9": "two runs at once: one winner",
    "R10": "power loss: journal first; another boot: void",
    "R11": "a journal torn, flipped, of another version",
    "R12": "no room for the journal: nothing touched",
    "R13": "signals: finish, then roll back",
    "R14": "confirm or undo, whatever dies",
    "R15": "the wall clock moves: nothing happens",
    "R16": "a pending transaction is never adopted",
    "R17": "what others changed is left alone, and said",
    "R18": "the least that makes the difference",
    "R19": "plan and verify write nothing, as anybody",
    "R20": "another version rolls back",
    "R21": "60 settings 1 s, recovery 0.1 s, journal 64 KiB",
    "R22": "never on the trading path",
}


@dataclass
class _Count:
    tests: set[str] = field(default_factory=set)
    run: int = 0
    held: int = 0


_counts = {promise: _Count() for promise in PROMISES}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "promise(name): which promise of the reliability contract the test is of")


@pytest.fixture
def held(request: pytest.FixtureRequest) -> Callable[[int], None]:
    """Says how many points a test tried; they count as held where it passes."""

    def tried(points: int) -> None:
        request.node.user_properties.append(("points", points))

    return tried


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped or not (report.when == "call" or report.failed):
        return
    points = sum(value for name, value in item.user_properties if name == "points") or 1
    for mark in item.iter_markers("promise"):
        for promise in mark.args:
            count = _counts[promise]
            count.tests.add(item.location[0].rpartition("/")[2].removesuffix(".py"))
            count.run += points
            count.held += points if report.passed else 0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not any(count.run for count in _counts.values()):
        return
    terminalreporter.section("promises")
    for promise, count in _counts.items():
        if count.run:
            tests = ", ".join(sorted(count.tests))
            terminalreporter.write_line(f"{promise:4} {PROMISES[promise]:50} {count.held:6} of {count.run:6} held   {tests}")
