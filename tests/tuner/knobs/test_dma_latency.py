"""The latency that a process holds: on this machine's kernel, with the holder killed, its starter killed, and taken over.

Every hold here is a limit of a thousand seconds and more, which no idle state has: it disturbs nobody.
"""

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine import PROJECT, Sim

from tuner.host.dma_latency import DEVICE, DmaLatency, Holders, alive, end_process, process_name, record_text
from tuner.host.host import Host, Inventory
from tuner.knobs.dma_latency import DmaLatency as Knob
from tuner.knobs.knob import Unsupported
from tuner.plan import look
from tuner.undo import rollback

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
LONG = 1_000_000_007
LONGER = 1_500_000_009
PROFILE = f'summary = "x"\n[power]\ndma_latency_us = {LONG}\n'


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A place of the test's own for the holders' files; whoever still holds at its end is ended."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        pytest.skip(f"no {DEVICE} that this user may write")
    place = tmp_path / "run"
    yield place
    Holders(BOOT, directory=str(place)).release()


def holders(directory: Path) -> Holders:
    return Holders(BOOT, directory=str(directory))


def process_in(directory: Path, us: int) -> str:
    import json

    return str(json.loads((directory / f"dma-latency-{us}us").read_text())["process"])


def limit() -> int:
    """The least of all limits, read as anybody would."""
    with open(DEVICE, "rb", buffering=0) as file:
        return int(struct.unpack("=i", file.read(4))[0])


def gone(process: str, patience_s: float = 5.0) -> bool:
    end = time.monotonic() + patience_s
    while alive(process):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_it_is_held_by_a_process_of_its_own_and_no_longer_than_that(directory: Path) -> None:
    before = limit()
    holders(directory).hold(LONG)
    process = process_in(directory, LONG)
    pid = int(process.partition(":")[0])
    assert holders(directory).read() == DmaLatency(LONG, min(LONG, limit()))
    assert limit() <= LONG
    assert os.getsid(pid) == pid != os.getsid(0), "the end of our session would be its end"
    holders(directory).hold(LONG)
    assert process_in(directory, LONG) == process, "asked again for what is held, it started another"
    holders(directory).release()
    assert gone(process)
    assert os.listdir(directory) == []
    if before > LONG:
        assert limit() > LONG or limit() < before
    holders(directory).release()


def test_another_takes_over_without_a_gap(directory: Path) -> None:
    """The old holder ends after the new one holds."""
    holders(directory).hold(LONG)
    old = process_in(directory, LONG)
    order: list[str] = []
    mine = holders(directory)
    end = mine._end

    def noted(us: int) -> None:
        order.append(f"end {us} with {sorted(os.listdir(directory))}, limit {'held' if limit() <= LONGER else 'gone'}")
        assert alive(process_in(directory, LONGER))
        end(us)

    mine._end = noted  # type: ignore[method-assign]
    mine.hold(LONGER)
    assert order == [f"end {LONG} with ['dma-latency-{LONG}us', 'dma-latency-{LONGER}us'], limit held"]
    assert gone(old)
    assert holders(directory).read().held_us == LONGER


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_holder_that_died_is_missed_by_its_name(directory: Path, number: int) -> None:
    holders(directory).hold(LONG)
    process = process_in(directory, LONG)
    os.kill(int(process.partition(":")[0]), number)
    assert gone(process)
    found = holders(directory).read()
    assert found.held_us is None
    assert found.ended == f"process {process.partition(':')[0]}, which held {LONG} µs, ended"
    holders(directory).hold(LONG)
    assert holders(directory).read().held_us == LONG
    assert process_in(directory, LONG) != process


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_terminal_does_not_end_it(directory: Path, number: int) -> None:
    holders(directory).hold(LONG)
    process = process_in(directory, LONG)
    os.kill(int(process.partition(":")[0]), number)
    time.sleep(0.05)
    assert alive(process)


def test_whoever_starts_it_may_be_killed_anywhere(directory: Path) -> None:
    """SIGKILL from the first moment of a hold to its last: what is left is found, and a release leaves nobody."""
    ours = f"Holders({BOOT!r}, directory={str(directory)!r})"
    code = f"from tuner.host.dma_latency import Holders; print(flush=True); {ours}.hold({LONG})"
    left = 0
    for wait_ms in (0, 1, 2, 4, 8, 16, 32, 64, 200):
        starter = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE)
        assert starter.stdout is not None
        starter.stdout.read(1)
        time.sleep(wait_ms / 1e3)
        starter.kill()
        starter.wait()
        starter.stdout.close()
        holders(directory).release()
        end = time.monotonic() + 5
        while names := holding(directory):  # one that was just coming up finds its file gone
            assert time.monotonic() < end, names
            time.sleep(0.01)
        left += 1
    assert left == 9


def holding(directory: Path) -> list[str]:
    """Processes of this test's directory, found without what the tool knows."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"tuner.host.dma_holder" in words and any(w.startswith(os.fsencode(directory)) for w in words):
                found.append(entry)
    return found


def test_a_holder_whose_file_is_gone_ends(directory: Path) -> None:
    directory.mkdir()
    command = [sys.executable, "-I", "-m", "tuner.host.dma_holder", str(directory / f"dma-latency-{LONG}us"), DEVICE, str(LONG)]
    assert subprocess.run(command, timeout=20).returncode == 0


def test_it_does_not_come_up_and_says_why(directory: Path, tmp_path: Path) -> None:
    mine = Holders(BOOT, False, str(directory), str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        mine.hold(LONG)
    bad = Holders(BOOT, False, str(directory), "/proc/version")  # can be read, and takes no write
    with pytest.raises(OSError, match="did not come up"):
        bad.hold(LONG)
    assert os.listdir(directory) == []
    assert holding(directory) == []
    with pytest.raises(ValueError, match="no latency"):
        mine.hold(1 << 31)


def test_a_directory_that_others_may_write_is_refused(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(PermissionError, match="nobody else may write"):
        holders(directory).hold(LONG)


def test_files_that_are_none_are_passed_over(directory: Path) -> None:
    directory.mkdir()
    (directory / "dma-latency-2us").write_bytes(b"\xff{")
    (directory / "dma-latency-3us").write_bytes(b"[1]")
    (directory / "dma-latency-4us").write_bytes(record_text("of another boot", process_name(os.getpid())))
    (directory / "dma-latency-5us").write_bytes(record_text(BOOT, "1"))
    (directory / "dma-latency-6us").write_bytes(record_text(BOOT, "²:3"))
    (directory / "dma-latency-\x1b[2Jus").write_bytes(b"")
    assert holders(directory).read().held_us is None
    for us in range(2, 7):
        (directory / f"dma-latency-{us}us").unlink()


def test_a_number_that_was_used_again_is_not_killed() -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        pid, start = process_name(child.pid).split(":")
        end_process(f"{pid}:{int(start) + 1}")
        assert child.poll() is None
        end_process(f"{pid}:{start}")
        assert child.wait(timeout=5) == -signal.SIGTERM
        assert process_name(child.pid) == ""
    finally:
        child.kill()
        child.wait()


def test_a_sandbox_without_devices_still_knows_what_we_hold(directory: Path) -> None:
    holders(directory).hold(LONG)
    blind = Holders(BOOT, True, str(directory), "/dev/null/none")
    with pytest.raises(NotADirectoryError):
        blind.read()
    blind = Holders(BOOT, True, str(directory), "/dev/there-is-no-such-device")
    assert blind.read() == DmaLatency(LONG, None)
    with pytest.raises(FileNotFoundError):
        Holders(BOOT, False, str(directory), "/dev/there-is-no-such-device").read()
    process = process_in(directory, LONG)
    blind.release()
    assert gone(process)
    assert blind.read() == DmaLatency(None, None), "what was undone from in there was not there to be undone"


# ------------------------------------------------------------------------------------------------------------- as a knob


class RealLatency:
    """The port of a simulated host, with this machine's holders."""

    def __init__(self, inner: object, directory: Path) -> None:
        self._inner, self._holders = inner, Holders(BOOT, directory=str(directory))

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def dma_latency(self) -> DmaLatency:
        return self._holders.read()

    def hold_dma_latency(self, us: int) -> None:
        self._holders.hold(us)

    def release_dma_latency(self) -> None:
        self._holders.release()


@pytest.fixture
def real(sim: Sim, directory: Path) -> Callable[[], Host]:
    return lambda: Host(sim.host.files, RealLatency(sim.host.syscalls, directory), simulated=True)  # type: ignore[arg-type]


def test_applied_verified_missed_and_rolled_back(sim: Sim, real: Callable[[], Host], directory: Path) -> None:
    assert sim.apply(sim.profile(PROFILE), host=real()).outcome == "confirmed"
    (change,) = sim.plan(sim.profile(PROFILE)).changes
    from tuner.plan import wish_of

    assert look(Inventory(real()), wish_of(change)).state == "ok"
    process = process_in(directory, LONG)
    os.kill(int(process.partition(":")[0]), signal.SIGKILL)
    assert gone(process)
    missed = look(Inventory(real()), wish_of(change))
    assert missed.state == "differs"
    assert f"process {process.partition(':')[0]}, which held" in missed.note
    undone = rollback(real(), sim.store, None, "test")
    assert undone is not None
    assert [each.result for each in undone[1]] == ["restored"]
    assert os.listdir(directory) == []


def test_what_an_earlier_transaction_holds_comes_back(sim: Sim, real: Callable[[], Host], directory: Path) -> None:
    assert sim.apply(sim.profile(PROFILE), host=real()).outcome == "confirmed"
    later = sim.profile(PROFILE.replace(str(LONG), str(LONGER)))
    # the plan is made on the simulated files: what is held stands in the document there
    sim.host.syscalls.hold_dma_latency(LONG)
    assert sim.apply(later, host=real()).outcome == "confirmed"
    assert holders(directory).read().held_us == LONGER
    assert rollback(real(), sim.store, None, "test") is not None
    assert holders(directory).read().held_us == LONG


def test_another_holds_less(sim: Sim) -> None:
    """Less is in force than ours: as wanted. Theirs alone is not ours: it may go at any time."""
    knob = Knob()
    sim.apply(sim.profile('summary = "x"\n[power]\ndma_latency_us = 100\n'))
    document = Path(sim.root + "/dev/cpu_dma_latency.json")
    document.write_text('{"held_us": 100, "others_us": 3}')
    reading = knob.read(Inventory(sim.host), "host")
    assert (reading.now, reading.effective, reading.note) == (100, 3, "others hold 3 µs")
    assert knob.compare(reading, 100) == "ok"
    document.write_text('{"held_us": null, "others_us": 3}')
    assert knob.compare(knob.read(Inventory(sim.host), "host"), 100) == "differs"
    document.unlink()
    with pytest.raises(Unsupported, match="cpu_dma_latency"):
        knob.read(Inventory(sim.host), "host")
