"""Evidence: frozen by a critical event, whole or not at all, bounded, and told about in words. Files are real ones."""

import contextlib
import errno
import json
import os
import pwd
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from ingest.changes import Encoder
from ingest.recording import Recording
from ingest.sample import Event, from_json
from tests.app.screens import FakeRing, FakeRunner, drive, press, text_of
from tests.app.told import START_S, second
from ui.app.app import QuietcoreApp
from ui.app.state.model import Model
from ui.app.stream import evidence as evidence_room
from ui.app.stream.evidence import Evidence, applied
from ui.app.stream.evidence_files import EvidenceFiles, NoRoom, state_directory
from ui.app.stream.past import ListPast
from ui.app.stream.source import ListSource, PipeSource

CRIT = Event("crit", "eth2", "12 packets lost in 1.0 s")


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr(evidence_room, "_LOOK_S", 0.01)


def until(what, seconds=20.0):
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit, "it did not come to pass"
        time.sleep(0.005)


def past_until(number, first=1):
    return ListPast([second(n) for n in range(first, number + 1)])


def at(number):
    return START_S + number / 2


def made(directory, past, **options):
    return Evidence(past, EvidenceFiles(str(directory), **options), lambda: {"quietcore": "0.1.0", "plan": {"transaction": 7}})


def is_idle(evidence):
    return evidence._running is None


def frozen(directory, name):
    """(what stands beside a recording, the numbers of its samples)."""
    with open(directory / f"{name}.rec") as file:
        numbers = [from_json(line).sequence for line in file]
    return json.loads((directory / f"{name}.json").read_text()), numbers


def freeze(evidence, number, event=CRIT, after=65, first=None):
    """Sets one off at a sample, and lets the time after pass, once ``first`` is there."""
    past = evidence._past
    last = past.samples[-1].sequence
    evidence.saw(event, at(number), past.sample(past.at(at(number))))
    until(lambda: first is None or first.exists())
    past.samples.extend([second(last + n + 1) for n in range(after)])
    until(lambda: is_idle(evidence))


# ---- when


def test_a_critical_event_keeps_the_minute_before_and_half_a_minute_after(tmp_path):
    past = past_until(200)
    evidence = made(tmp_path, past)
    assert evidence.words() == "recorder armed, 1 min"
    evidence.saw(CRIT, at(200), past.sample(199))
    assert evidence.words().startswith("freezing 30")
    until(lambda: list(tmp_path.glob("*.rec")))  # what came before is there at once
    facts, numbers = frozen(tmp_path, "ev-0001")
    assert (facts["complete"], numbers) == (False, [*range(80, 201)])
    past.samples.extend(second(n) for n in range(201, 301))
    until(lambda: is_idle(evidence))
    facts, numbers = frozen(tmp_path, "ev-0001")
    assert (facts["complete"], numbers) == (True, [*range(80, 261)])
    assert sorted(os.listdir(tmp_path)) == ["ev-0001.json", "ev-0001.rec"]
    assert evidence.words() == "evidence ev-0001"
    assert evidence.file_of(at(200), "eth2") == str(tmp_path / "ev-0001.rec")
    assert evidence.file_of(at(201), "eth2") == ""
    ((told_s, event),) = evidence.events()
    assert (told_s, event.level) == (at(200), "info")
    assert "ev-0001 frozen: 60 s before, 30 s after" in event.what
    assert evidence.events() == []


def test_what_stands_beside_says_what_and_where_and_what_was_applied(tmp_path):
    evidence = made(tmp_path, past_until(10))
    freeze(evidence, 10)
    facts, _ = frozen(tmp_path, "ev-0001")
    assert facts["schema"] == "quietcore/1"
    assert (facts["by"], facts["event"]["what"], facts["host"]) == ("event", CRIT.what, "ny4-md-07")
    assert (facts["kernel"], facts["profile"], facts["quietcore"]) == ("6.12.0", "feed-handler", "0.1.0")
    assert facts["plan"] == {"transaction": 7}
    assert [row["counter"] for row in facts["losses"]] == ["rx_missed_errors", "Udp.RcvbufErrors"]
    assert (facts["from_s"], facts["to_s"]) == (at(10) - 60, at(10) + 30)
    assert os.stat(tmp_path / "ev-0001.rec").st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "ev-0001.json").st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "event", [Event("warn", "x", "y"), Event("info", "x", "y"), Event("crit", "x", "y", key="k", ended=True)], ids=str
)
def test_what_is_not_critical_or_over_sets_nothing_off(tmp_path, event):
    evidence = made(tmp_path, past_until(10))
    evidence.saw(event, at(10))
    assert is_idle(evidence)


def test_another_event_within_makes_it_longer_once(tmp_path):
    past = past_until(10)
    evidence = made(tmp_path, past)
    for number in (10, 30, 50, 52):
        evidence.saw(CRIT, at(number))
    past.samples.extend(second(n) for n in range(11, 200))
    until(lambda: is_idle(evidence))
    facts, numbers = frozen(tmp_path, "ev-0001")
    assert len(list(tmp_path.glob("*.rec"))) == 1
    assert numbers[-1] == 90  # thirty seconds after the second of them
    assert [each["time_s"] for each in facts["also"]] == [at(30), at(50), at(52)]
    assert evidence.file_of(at(50), "eth2")


def test_disarmed_nothing_is_kept_but_by_hand(tmp_path):
    evidence = made(tmp_path, past_until(100))
    assert "disarmed" in evidence.toggle()
    assert evidence.words() == "recorder off"
    evidence.saw(CRIT, at(100))
    assert is_idle(evidence)
    assert "60 s before and 30 s after" in evidence.by_hand(at(20))
    until(lambda: is_idle(evidence))
    facts, numbers = frozen(tmp_path, "ev-0001-kept")
    assert (facts["by"], numbers) == ("hand", [*range(1, 81)])  # all of it lay there: nothing to wait for
    assert evidence.toggle().startswith("armed")
    assert evidence.armed


def test_by_hand_within_a_freeze_keeps_that_for_good(tmp_path):
    past = past_until(100)
    evidence = made(tmp_path, past)
    evidence.saw(CRIT, at(100))
    until(lambda: list(tmp_path.glob("*.rec")))
    evidence.by_hand(at(90))
    assert "another time" in evidence.by_hand(at(900))
    past.samples.extend(second(n) for n in range(101, 200))
    until(lambda: is_idle(evidence))
    assert sorted(os.listdir(tmp_path)) == ["ev-0001-kept.json", "ev-0001-kept.rec"]


def test_a_source_that_tells_no_more_is_not_waited_for_forever(tmp_path):
    past = past_until(100)
    evidence = Evidence(past, EvidenceFiles(str(tmp_path)), after_s=0.05)
    evidence.saw(CRIT, at(100))
    evidence._running.deadline = time.monotonic() + 0.05
    until(lambda: is_idle(evidence))
    facts, numbers = frozen(tmp_path, "ev-0001")
    assert not facts["complete"]
    assert numbers[-1] == 100


def test_leaving_the_app_ends_a_freeze_with_what_there_is(tmp_path):
    evidence = made(tmp_path, past_until(100))
    evidence.saw(CRIT, at(100))
    evidence.close()
    facts, numbers = frozen(tmp_path, "ev-0001")
    assert (facts["complete"], numbers[-1]) == (False, 100)
    evidence.saw(CRIT, at(101))
    assert is_idle(evidence)


def test_events_from_several_threads_make_one(tmp_path):
    past = past_until(10)
    evidence = made(tmp_path, past)
    threads = [threading.Thread(target=evidence.saw, args=(CRIT, at(10))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    past.samples.extend(second(n) for n in range(11, 90))
    until(lambda: is_idle(evidence))
    assert len(list(tmp_path.glob("*.rec"))) == 1


def test_a_loop_that_hangs_does_not_hold_it_up(tmp_path):
    """What comes is read by a thread of its own; nothing of the app's loop runs here."""
    reading, writing = os.pipe()
    source, told = PipeSource(reading), []
    evidence = made(tmp_path / "kept", source.past)
    source.saw = lambda *words: (told.append(words), evidence.saw(*words))
    encoder = Encoder(every=5)
    with open(writing, "w", encoding="utf-8") as stream:
        stream.writelines(encoder.line(second(n, *([CRIT] if n == 30 else []))) + "\n" for n in range(1, 100))
    until(lambda: is_idle(evidence) and list((tmp_path / "kept").glob("*.rec")))
    assert [(event, time_s, taken.sequence) for event, time_s, taken in told] == [(CRIT, at(30), 30)]
    assert json.loads((tmp_path / "kept" / "ev-0001.json").read_text())["complete"]
    with Recording.open(str(tmp_path / "kept" / "ev-0001.rec")) as recording:
        assert [recording.sample(n).sequence for n in range(len(recording))] == [*range(1, 91)]
    assert source.ended == "the stream is over"


# ---- how much


def test_the_oldest_automatic_ones_make_room_and_none_that_was_kept_by_hand(tmp_path):
    evidence = made(tmp_path, past_until(10), most_files=3)
    evidence.by_hand(at(5))
    freeze(evidence, 10)  # the same one, by hand
    for _ in range(4):
        freeze(evidence, evidence._past.samples[-1].sequence)
    assert sorted(path.name for path in tmp_path.glob("*.rec")) == ["ev-0001-kept.rec", "ev-0004.rec", "ev-0005.rec"]
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["ev-0001-kept.json", "ev-0004.json", "ev-0005.json"]


def test_bytes_are_bounded_too(tmp_path):
    files = EvidenceFiles(str(tmp_path), most_bytes=10_000)

    def keep(size, by_hand=False):
        return files.keep(lambda path: open(path, "wb").write(bytes(size)), lambda name: {"name": name}, by_hand=by_hand)

    for _ in range(5):
        kept = keep(3_000)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10_000
    assert [each.name for each in files.kept()] == ["ev-0003", "ev-0004", "ev-0005"]
    assert kept.size == 3_000 + (tmp_path / "ev-0005.json").stat().st_size
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(NoRoom, match="has no room"):
        keep(11_000)
    assert sorted(os.listdir(tmp_path)) == before
    keep(9_000, by_hand=True)
    assert [path.name for path in tmp_path.glob("*.rec")] == ["ev-0006-kept.rec"]
    with pytest.raises(NoRoom, match="kept by hand"):
        keep(3_000)
    assert [path.name for path in tmp_path.glob("*.rec")] == ["ev-0006-kept.rec"]


def test_only_our_own_files_are_counted_and_removed(tmp_path):
    names = ["ev-0001.rec.bak", "ev-1.rec", "notes.rec", "ev-0002-mine.rec"]
    for name in names:
        (tmp_path / name).write_bytes(bytes(999))
    (tmp_path / "ev-0003.rec").symlink_to("notes.rec")
    evidence = made(tmp_path, past_until(10), most_files=1)
    freeze(evidence, 10)
    freeze(evidence, 75)
    assert set(names) <= set(os.listdir(tmp_path))
    assert (tmp_path / "notes.rec").read_bytes() == bytes(999)


def test_what_a_killed_process_left_unfinished_goes(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left = [
        tmp_path / f".ev-{child.pid}.tmp",
        tmp_path / f".ev-{child.pid}.tmp.json",
        tmp_path / f".ev-{child.pid}.tmp.0a.part",
    ]
    here = tmp_path / f".ev-{os.getppid()}.tmp"
    for path in (*left, here):
        path.write_text("half")
    EvidenceFiles(str(tmp_path)).check()
    assert not any(path.exists() for path in left)
    assert here.exists()


def test_two_apps_of_one_user_take_different_numbers(tmp_path):
    first, other = made(tmp_path, past_until(10)), made(tmp_path, past_until(10))
    for evidence in (first, other, first):
        freeze(evidence, 10)
    assert sorted(path.name for path in tmp_path.glob("*.rec")) == ["ev-0001.rec", "ev-0002.rec", "ev-0003.rec"]


# ---- what goes wrong


@contextlib.contextmanager
def small_disk(kilobytes):
    with tempfile.TemporaryDirectory() as directory:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=700", "quietcore-test", directory], capture_output=True
        )
        if mounted.returncode:
            pytest.skip(f"a small tmpfs cannot be mounted: {mounted.stderr.decode().strip()}")
        try:
            yield directory
        finally:
            subprocess.run(["umount", directory], check=True)


def test_a_full_disk_is_told_once_and_leaves_nothing_half():
    with small_disk(64) as directory:
        evidence = made(directory, past_until(400))
        for number in (400, 500, 600):
            freeze(evidence, number, after=100)
        assert os.listdir(directory) == []
        told = [event for _, event in evidence.events()]
        assert [event.level for event in told] == ["warn"]
        assert "none could be kept" in told[0].what
        assert os.strerror(errno.ENOSPC) in told[0].what
        assert evidence.words() == "evidence FAILED"
        evidence._past.samples[:] = evidence._past.samples[-4:]  # now it fits
        evidence.by_hand(at(640))
        until(lambda: is_idle(evidence))
        assert sorted(os.listdir(directory)) == ["ev-0001-kept.json", "ev-0001-kept.rec"]
        assert evidence.words() == "evidence ev-0001"


def test_a_disk_that_fills_within_leaves_what_came_before(tmp_path):
    past = past_until(20)
    size = sum(len(each.to_json()) for each in past.samples)
    evidence = made(tmp_path, past)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * size, hard))
        freeze(evidence, 20, after=100, first=tmp_path / "ev-0001.rec")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    facts, numbers = frozen(tmp_path, "ev-0001")
    assert (facts["complete"], numbers) == (False, [*range(1, 21)])
    assert sorted(os.listdir(tmp_path)) == ["ev-0001.json", "ev-0001.rec"]
    words = [event.what for _, event in evidence.events()]
    assert os.strerror(errno.EFBIG) in words[0]
    assert "holds only what came before" in words[1]


def test_a_directory_that_may_not_be_written_is_told_when_somebody_asks():
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    nobody = pwd.getpwnam("nobody").pw_uid
    with tempfile.TemporaryDirectory() as directory:  # root's own, 0700
        os.chmod(directory, 0o755)
        child = os.fork()
        if not child:
            status = 1
            try:
                os.setresuid(nobody, nobody, nobody)
                evidence = made(f"{directory}/state/evidence", past_until(10))
                assert not evidence.armed
                assert evidence.words() == "recorder off"
                assert os.strerror(errno.EACCES) in evidence.toggle()
                assert not evidence.armed
                assert os.strerror(errno.EACCES) in evidence.by_hand(at(5))
                evidence.saw(CRIT, at(10))
                assert evidence._running is None
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert os.listdir(directory) == []


def test_nothing_is_made_before_there_is_something_to_keep(tmp_path):
    evidence = made(tmp_path / "state" / "evidence", past_until(10))
    assert evidence.armed
    assert list(tmp_path.iterdir()) == []
    freeze(evidence, 5)
    assert (tmp_path / "state" / "evidence" / "ev-0001.rec").is_file()


def test_a_directory_that_others_can_write_is_refused(tmp_path):
    os.chmod(tmp_path, 0o777)
    evidence = made(tmp_path, past_until(10))
    assert not evidence.armed
    assert "others can write it" in evidence.by_hand(at(5))
    os.chmod(tmp_path, 0o700)
    assert evidence.toggle().startswith("armed")


def test_a_source_that_keeps_nothing_says_so():
    evidence = Evidence(object(), None)
    assert not evidence.armed
    assert "no directory" in evidence.by_hand(0.0)
    assert "cannot be armed" in evidence.toggle()
    with tempfile.TemporaryDirectory() as directory:
        assert "are not kept" in Evidence(object(), EvidenceFiles(directory)).by_hand(0.0)


def test_nothing_of_that_time_is_told(tmp_path):
    evidence = made(tmp_path, past_until(10))
    evidence.by_hand(at(5_000) - 10_000)
    until(lambda: is_idle(evidence))
    assert "no sample of that time" in evidence.events()[0][1].what
    assert os.listdir(tmp_path) == []


# ---- where


def test_where_it_goes():
    home = os.path.expanduser("~")
    assert state_directory({}, None, root=True) == "/var/lib/quietcore/evidence"
    assert state_directory({}, "/srv/state", root=True) == "/srv/state/evidence"
    assert state_directory({"XDG_STATE_HOME": "/x"}, "/srv/state", root=False) == "/x/quietcore/evidence"
    assert state_directory({"XDG_STATE_HOME": "not/absolute"}, None, root=False) == f"{home}/.local/state/quietcore/evidence"


def test_the_plan_that_is_applied():
    history = [
        {"transaction": 5, "state": "confirmed", "profile": {"name": "a"}},
        {"transaction": 6, "state": "applied", "profile": {"name": "b"}},
        {"transaction": 7, "state": "rolled-back"},
    ]
    assert applied(history) == {"transaction": 6, "profile": {"name": "b"}, "state": "applied"}
    assert applied([]) is None


def test_in_the_app_by_its_keys(tmp_path):
    samples = [second(n, *([CRIT] if n == 30 else [])) for n in range(1, 60)]
    source = ListSource(samples)
    evidence = made(tmp_path, source.past)
    app = QuietcoreApp(source, FakeRunner(), FakeRing(), Model(), evidence=evidence)

    async def steps(pilot):
        for _ in range(40):
            app.tick()
        assert "recorder armed, 1 min" in text_of(app)
        await press(pilot, "R")
        assert "disarmed" in text_of(app)
        app.tick()
        assert "recorder off" in text_of(app)
        await press(pilot, "R", "e")
        assert "keeping 60 s before and 30 s after" in text_of(app)
        app.tick()
        assert "freezing 30 s" in text_of(app) or "freezing 29 s" in text_of(app)

    drive(app, steps, size=(200, 50))
    facts, _ = frozen(tmp_path, "ev-0001-kept")  # the app was left: what there was is in it
    assert facts["event"]["what"] == "kept by hand"
    assert not facts["complete"]


def test_the_selected_event_names_its_file(tmp_path):
    samples = [second(n, *([CRIT] if n == 30 else [])) for n in range(1, 120)]
    source = ListSource(samples)
    evidence = made(tmp_path, source.past)
    app = QuietcoreApp(source, FakeRunner(), FakeRing(), Model(), evidence=evidence)

    async def steps(pilot):
        for _ in range(35):
            app.tick()
        evidence.saw(CRIT, at(30))
        for _ in range(84):
            app.tick()
        until(lambda: is_idle(evidence))
        app.tick()
        await press(pilot, "7", "end")
        text = text_of(app)
        assert "ev-0001 frozen" in text
        assert "ev-0001.rec" in text
        await press(pilot, "y")
        assert app.clipboard == f"quietcore replay {tmp_path}/ev-0001.rec"

    drive(app, steps, size=(200, 50))
