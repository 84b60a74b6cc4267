"""``record``, ``replay`` and ``view`` as processes: what they keep, what they say, how they end."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.blocks import header_of
from ingest.changes import Encoder
from ingest.collector import Collector
from ingest.recording import Recording, RecordingWriter
from ingest.sample import Event, LossSample, from_json
from tuner.host.files import HostFiles
from tuner.host.simulated import Simulation, open_tree
from ui.cli.moments import Moment, moment, time_text

PROJECT = Path(__file__).parents[2]
MAIN = [sys.executable, "-m", "ui.cli.main"]
SIZE = {"nodes": 1, "cores": 4, "smt": 1, "nics": 1, "queues": 2}
PATIENCE_S = 30.0


def run(*words, **options):
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60, "cwd": PROJECT} | options
    return subprocess.run([*MAIN, *words], **options)


@pytest.fixture
def record(sim_templates, tmp_path):
    """Records a simulated host into a file."""
    tree = sim_templates(**SIZE)

    def do(*words, file="r"):
        return run("--root", tree, "record", str(tmp_path / file), "--interval", "0.1", *words)

    return do


@pytest.fixture
def starting(sim_templates, tmp_path):
    """Starts to record one, and waits until there is something in the file."""
    children = []

    def do(*words, file="r"):
        path = tmp_path / file
        command = [*MAIN, "--root", sim_templates(**SIZE), "record", str(path), "--interval", "0.1", *words]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT)
        children.append(child)
        limit = time.monotonic() + PATIENCE_S
        while not path.exists() or path.stat().st_size < 6000:
            assert child.poll() is None, child.stderr.read()
            assert time.monotonic() < limit
            time.sleep(0.02)
        return child

    yield do
    for child in children:
        child.kill()
        child.communicate()


@pytest.fixture
def recording(sim_templates, tmp_path) -> Path:
    """Twenty samples, one a second, from 09:00:00 of this machine's clock on; a loss and an event in them."""
    host = open_tree(HostFiles(sim_templates(**SIZE)))
    collector, simulation, encoder = Collector(host), Simulation(host), Encoder()
    start_s = time.mktime((2026, 3, 2, 9, 0, 0, 0, 0, -1))
    path = tmp_path / "day.rec"
    for number in range(20):
        simulation.advance(1.0)
        losses = (LossSample(7, "ring full", "eth2", "rx_missed", 40 * number, 40.0),)
        events = (Event("crit", "eth\x1b[2J", "gone"),) if number == 7 else ()
        sample = replace(collector.tick(), time_s=start_s + number, interval_s=1.0, losses=losses, events=events)
        if number == 0:
            writer = RecordingWriter.create(str(path), header_of(sample))
        writer.add(encoder.line(sample).encode(), sample.time_s, encoder.whole)
    writer.close()
    return path


# ----------------------------------------------------------------------------------------------------------------- record


def test_it_records_for_a_time(record, tmp_path):
    done = record("--for", "500ms", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["command"], told["ended_by"], told["bytes"]) == ("record", "time", os.path.getsize(tmp_path / "r"))
    with Recording.open(str(tmp_path / "r")) as rec:
        assert len(rec) == told["samples"] >= 2
        assert rec.header.source == "simulated"
        assert rec.cut == ""
        assert [rec.sample(at).sequence for at in range(len(rec))] == list(range(2, 2 + len(rec)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(starting, tmp_path, number):
    child = starting()
    child.send_signal(number)
    out, words = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, out) == (0, "")
    with Recording.open(str(tmp_path / "r")) as rec:
        assert f"{len(rec)} samples" in words
        assert rec.cut == ""


def test_one_that_is_killed_leaves_what_it_had(starting, tmp_path):
    child = starting()
    child.kill()
    child.wait()
    with Recording.open(str(tmp_path / "r")) as rec:
        assert len(rec) >= 1
        assert rec.sample(len(rec) - 1).cores


def test_it_ends_before_its_limit(record, tmp_path):
    done = record("--limit", "8K", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ended_by"] == "limit"
    assert 4_000 < os.path.getsize(tmp_path / "r") <= 8 << 10


def test_what_is_there_is_not_touched_unless_told(record, tmp_path):
    assert record("--for", "300ms").returncode == 0
    before = (tmp_path / "r").read_bytes()
    done = record("--for", "300ms")
    assert done.returncode == 1
    assert "--append goes on with a recording, --force replaces one" in done.stderr
    assert (tmp_path / "r").read_bytes() == before
    assert record("--for", "300ms", "--append").returncode == 0
    assert (tmp_path / "r").read_bytes().startswith(before)
    assert len((tmp_path / "r").read_bytes()) > len(before)
    assert record("--for", "300ms", "--force").returncode == 0
    assert not (tmp_path / "r").read_bytes().startswith(before)
    assert record("--for", "300ms", "--append", file="new").returncode == 0


def test_force_replaces_recordings_and_nothing_else(record, tmp_path):
    (tmp_path / "letter").write_text("dear all")
    os.symlink(tmp_path / "letter", tmp_path / "link")
    os.mkdir(tmp_path / "place")
    for name, why in (("letter", "not a recording"), ("link", "nothing is replaced"), ("place", "nothing is replaced")):
        done = record("--for", "300ms", "--force", file=name)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
        assert record("--for", "300ms", "--append", file=name).returncode == 1
    assert (tmp_path / "letter").read_text() == "dear all"


def test_nothing_recorded_leaves_no_file(tmp_path):
    done = run("record", str(tmp_path / "r"), "--ring", "packet:nowhere0", "--for", "1s")
    assert done.returncode == 1
    assert "nowhere0" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "words", [("--limit", "0"), ("--limit", "x"), ("--for", "0s"), ("--append", "--force"), ("--feed", "itch")]
)
def test_bad_words_are_refused(record, tmp_path, words):
    done = record(*words)
    assert done.returncode == 1
    assert words[0] in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_said_and_the_file_opens(sim_templates, tmp_path):
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a small disk is mounted: needs root and util-linux")
    command = " ".join(["exec", *MAIN, "--root", sim_templates(**SIZE), "record", "$1/r", "--interval", "0.1"])
    script = f'mount -t tmpfs -o size=12k small "$1"; ({command}); status=$?; cp "$1/r" "$2"; exit $status'
    os.mkdir(tmp_path / "small")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", tmp_path / "small", tmp_path / "kept"],
        capture_output=True, text=True, timeout=60, cwd=PROJECT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1
    assert "No space left on device; the" in done.stderr
    with Recording.open(str(tmp_path / "kept")) as rec:
        assert f"the {len(rec)} samples before that can be replayed" in done.stderr
        assert len(rec) >= 3
        assert rec.cut == ""


def test_progress_is_for_a_terminal(sim_templates, tmp_path):
    control, terminal = pty.openpty()
    command = [*MAIN, "--root", sim_templates(**SIZE), "record", str(tmp_path / "r"), "--interval", "0.1", "--for", "1500ms"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal, cwd=PROJECT)
    os.close(terminal)
    seen = b""
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit and select.select([control], [], [], PATIENCE_S)[0]:
        try:
            seen += os.read(control, 4096)
        except OSError:  # the other end is closed
            break
    os.close(control)
    assert child.wait(10) == 0
    assert seen.count(b"\r\x1b[K") >= 2
    assert b"samples, " in seen
    assert b"/h" in seen


# ----------------------------------------------------------------------------------------------------------------- replay


def test_a_recording_in_a_few_lines(recording):
    done = run("replay", str(recording))
    assert (done.returncode, done.stderr) == (0, "")
    assert "2026-03-02 09:00:00 to 09:00:19, 20 samples" in done.stdout
    assert "SIMULATED" in done.stdout
    assert "the recording is whole" in done.stdout
    assert " 7 ring full  eth2   rx_missed   760" in done.stdout
    assert "events: 1" in done.stdout
    assert "09:00:07  crit  eth\\x1b[2J: gone" in done.stdout
    assert "worst/s" in done.stdout
    assert "\x1b" not in done.stdout


def test_its_samples_are_lines(recording):
    done = run("replay", str(recording), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    samples = [from_json(line) for line in done.stdout.splitlines()]
    with Recording.open(str(recording)) as rec:
        assert samples == [rec.sample(at) for at in range(20)]


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (("--from", "09:00:05"), range(5, 20)),
        (("--to", "09:00:05"), range(6)),
        (("--from", "4.5s", "--to", "6"), range(5, 7)),
        (("--from", "0", "--to", "0"), range(1)),
        (("--from", "2026-03-02T09:00:18"), range(18, 20)),
        (("--to", "2026-03-02T08:00"), range(0)),
        (("--from", "1h"), range(0)),
        (("--from", "10s", "--to", "5s"), range(0)),
    ],
    ids=str,
)
def test_a_part_of_it(recording, words, seconds):
    done = run("replay", str(recording), "--json", *words)
    assert [round(from_json(line).time_s) % 60 for line in done.stdout.splitlines()] == list(seconds)
    assert done.returncode == (0 if seconds else 1)
    assert bool(seconds) or "no sample in it is of that time" in done.stderr


def test_one_that_is_cut_says_so(recording):
    data = recording.read_bytes()
    recording.write_bytes(data[:-7])
    done = run("replay", str(recording))
    assert done.returncode == 0
    assert "19 samples" in done.stdout
    assert "the recording is not whole: it ends within a sample" in done.stdout
    assert "it ends within a sample" in done.stderr


def test_what_is_none_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"\x1b[2J" * 99)
    (tmp_path / "empty").write_bytes(b"")
    for name, why in (("x", "not a recording"), ("nowhere", "No such file"), ("empty", "no sample is in it")):
        done = run("replay", str(tmp_path / name))
        assert (done.returncode, done.stdout) == (1, "")
        assert why in done.stderr
    done = run("replay", str(tmp_path / "x"), "--from", "noon")
    assert (done.returncode, "'noon' is no time" in done.stderr) == (1, True)


def test_moments():
    start_s = time.mktime((2026, 3, 2, 23, 30, 0, 0, 0, -1))
    assert moment("23:45").time_s(start_s) == start_s + 900
    assert moment("0:15:00.5").time_s(start_s) == start_s + 2700.5
    assert moment("23:30").time_s(start_s + 0.7) == start_s
    assert moment("90").time_s(start_s) == moment("90s").time_s(start_s) == start_s + 90
    assert moment("1970-01-01T00:00:10+00:00") == Moment(at_s=10.0)
    assert time_text(1e30) == f"{1e30:.0f}"


# ------------------------------------------------------------------------------------------------------------------- view


@pytest.mark.parametrize("more", [(), ("--changes",)], ids=str)
def test_samples_pass_through_checked(sim_templates, more):
    watch = run("--root", sim_templates(**SIZE), "--json", "watch", "--interval", "0.1", "--count", "3", *more)
    done = run("view", "-", stdin=None, input=f"Last login: today\n{watch.stdout}")
    assert done.returncode == 0
    assert [from_json(line).sequence for line in done.stdout.splitlines()] == [2, 3, 4]
    assert "left out: not a sample" in done.stderr


def test_a_recording_can_be_piped_in(recording):
    with recording.open("rb") as file:
        done = run("view", "-", "--json", stdin=file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("replay", str(recording), "--json").stdout


def test_nothing_hostile_passes(recording):
    line = json.loads(run("replay", str(recording), "--json", "--to", "0").stdout)
    line["cores"][0]["role"] = "\x1b]0;owned\x07\u202e"
    done = run("view", "-", stdin=None, input="\x1b[2J\n" + json.dumps(line) + "\n")
    assert from_json(done.stdout).cores[0].role == "\\x1b]0;owned\\x07\\u202e"
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr)


def test_it_passes_on_at_once_and_ends_at_a_signal(recording):
    line = run("replay", str(recording), "--json", "--to", "0").stdout
    child = subprocess.Popen(
        [*MAIN, "view", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT
    )
    child.stdin.write(line)
    child.stdin.flush()
    assert child.stdout.readline() == line
    child.send_signal(signal.SIGTERM)
    _, words = child.communicate(timeout=PATIENCE_S)
    assert (child.returncode, words) == (0, "")


@pytest.mark.parametrize("text", ["", "hello\n", '{"schema":"quietcore/1"'])
def test_a_stream_without_a_sample_is_an_error(text):
    done = run("view", "-", stdin=None, input=text)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no sample came" in done.stderr


def test_without_a_stream_it_says_how():
    control, terminal = pty.openpty()
    done = run("view", "-", stdin=terminal)
    os.close(terminal)
    os.close(control)
    assert done.returncode == 1
    assert "ssh HOST quietcore watch --json --changes | quietcore view -" in done.stderr
    assert run("view", "file").returncode == 1
