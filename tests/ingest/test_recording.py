"""Recordings: whatever becomes of the file, what was whole comes out of it, and nothing else."""

import errno
import json
import os
import resource
import struct
import threading
import zlib
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from sample_sequences import blocks_of, sequences, tick

from ingest.blocks import BLOCK_BYTES, MAX_GROUP, Header, RecordingError, Scanner, deflate, head, header_of, inflate, pack
from ingest.past import Past
from ingest.recording import Recording, RecordingWriter, Samples
from ingest.rows import MAX_LINE
from ingest.sample import Sample


def write(path, samples, every=4):
    with RecordingWriter.create(str(path), header_of(samples[0])) as writer:
        for time_s, whole, line in blocks_of(samples, every):
            writer.add(line, time_s, whole)
    return path


def all_of(rec: Samples) -> list[Sample]:
    return [rec.sample(rec.first + at) for at in range(len(rec))]


@pytest.fixture
def ticks() -> list[Sample]:
    return [tick(number) for number in range(1, 12)]


@pytest.fixture
def path(tmp_path, ticks):
    return write(tmp_path / "r", ticks)


@contextmanager
def files_no_larger_than(size: int):
    """The kernel's own limit (RLIMIT_FSIZE): beyond it write(2) writes what fits, and then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(samples=sequences())
def test_what_was_written_is_read(tmp_path_factory, samples):
    path = write(tmp_path_factory.mktemp("r") / "r", samples)
    with Recording.open(str(path)) as rec:
        assert all_of(rec) == samples
        assert [rec.sample(at) for at in reversed(range(len(rec)))] == samples[::-1]
        assert rec.cut == ""


def test_header_times_and_places(path, ticks):
    with Recording.open(str(path)) as rec:
        assert rec.header == Header("box", "6.12", "live", ticks[0].time_s)
        assert [rec.time_s(at) for at in range(len(rec))] == [sample.time_s for sample in ticks]
        assert [rec.at(ticks[4].time_s + past) for past in (-1e12, -0.5, 0.0, 0.5, 1e12)] == [0, 3, 4, 4, 10]
        for wrong in (-1, len(ticks)):
            with pytest.raises(IndexError):
                rec.sample(wrong)
            with pytest.raises(IndexError):
                rec.time_s(wrong)


def test_rows_that_stood_still_are_the_same_objects(path):
    with Recording.open(str(path)) as rec:
        assert rec.sample(1).cores[1] is rec.sample(2).cores[1]
        assert rec.sample(2) is rec.sample(2)


def test_a_cut_anywhere_leaves_what_was_before_it(path, tmp_path, ticks):
    data = path.read_bytes()
    ends = [len(head(header_of(ticks[0])))]
    for time_s, whole, line in blocks_of(ticks):
        ends.append(ends[-1] + len(pack(deflate(line), round(time_s * 1e9), whole)))
    assert ends[-1] == len(data)
    cut = tmp_path / "cut"
    for size in range(len(data) + 1):
        cut.write_bytes(data[:size])
        with Recording.open(str(cut)) as rec:
            whole = sum(end <= size for end in ends) - 1
            assert len(rec) == max(0, whole)
            assert (rec.cut == "") == (size in ends)
            if size > ends[0] and size not in ends:
                assert f"{size - ends[whole]} bytes are left out" in rec.cut
            if size in (ends[-1] - 1, ends[5], ends[6] - 1):
                assert all_of(rec) == ticks[:whole]


def test_a_flipped_bit_costs_no_more_than_up_to_the_next_whole_line(path, tmp_path, ticks):
    data = path.read_bytes()
    wholes = [number for number in range(len(ticks)) if number % 4 == 0]
    place = tmp_path / "flipped"
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        place.write_bytes(flipped)
        with Recording.open(str(place)) as rec:
            found = [sample.sequence - 1 for sample in all_of(rec)]
            missing = sorted(set(range(len(ticks))) - set(found))
            assert found == sorted(found)
            assert all(rec.sample(index) == ticks[number] for index, number in enumerate(found))
            group = {max(whole for whole in wholes if whole <= number) for number in missing}
            assert len(group) <= 1
            assert rec.cut or rec.header != Header("box", "6.12", "live", ticks[0].time_s) or not missing
            assert bool(rec.cut), at  # it is told, wherever it was


def test_the_other_version_is_named(tmp_path):
    place = tmp_path / "r"
    text = b'{"host":"box"}'
    first = struct.pack("<8sII", b"\x89QCREC\r\n", 7, len(text))
    place.write_bytes(first + struct.pack("<I", zlib.crc32(first + text)) + text)
    with pytest.raises(RecordingError, match="version 7; this quietcore reads version 1"):
        Recording.open(str(place))


@pytest.mark.parametrize("data", [b"x", b"\x89PNG\r\n\x1a\n" + bytes(100), b'{"schema":"quietcore/1"}\n', bytes(4096)])
def test_what_is_no_recording_is_refused(tmp_path, data):
    (tmp_path / "r").write_bytes(data)
    with pytest.raises(RecordingError, match="not a recording"):
        Recording.open(str(tmp_path / "r"))


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "nowhere", "."):
        with pytest.raises(OSError, match=r".+"):
            Recording.open(str(tmp_path / name))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"host":7,"started_s":"x"}', b"\xff", b"[" * 30_000, b'{"host":"\\u001b[2J","started_s":1e999}']
)
def test_a_hostile_header_is_harmless(tmp_path, text):
    first = struct.pack("<8sII", b"\x89QCREC\r\n", 1, len(text))
    data = first + struct.pack("<I", zlib.crc32(first + text)) + text
    (tmp_path / "r").write_bytes(data)
    with Recording.open(str(tmp_path / "r")) as rec:
        assert rec.header.host == ""
        assert rec.header.started_s == 0.0


def test_a_bomb_is_not_unpacked(tmp_path):
    bomb = zlib.compress(b"[" * (MAX_LINE * 8), 9)
    (tmp_path / "r").write_bytes(head(Header()) + pack(bomb, 0, True))
    with Recording.open(str(tmp_path / "r")) as rec, pytest.raises(RecordingError, match=str(MAX_LINE)):
        rec.sample(0)


@pytest.mark.parametrize("payload", [b"", b"rubbish", deflate(b"{}"), deflate(b'{"base":1}'), deflate(b"x")[:-1]])
def test_a_block_that_is_in_order_and_holds_no_sample_is_told(tmp_path, payload):
    (tmp_path / "r").write_bytes(head(Header()) + pack(payload, 0, True))
    with Recording.open(str(tmp_path / "r")) as rec:
        for _ in range(2):
            with pytest.raises(RecordingError):
                rec.sample(0)


def test_no_look_reads_more_than_so_many_lines(tmp_path, ticks):
    """A file of one whole line and endless changes would take an hour for one sample."""
    change = pack(deflate(b"{}"), 0, False)
    (tmp_path / "r").write_bytes(head(Header()) + pack(deflate(ticks[0].to_json().encode()), 0, True) + change * 5000)
    with Recording.open(str(tmp_path / "r")) as rec:
        assert len(rec) == MAX_GROUP
        assert "904 samples stand upon" in rec.cut or "905 samples stand upon" in rec.cut


def test_the_index_is_small(tmp_path, ticks):
    line = deflate(ticks[0].to_json().encode())
    (tmp_path / "r").write_bytes(head(Header()) + pack(line, 0, True) * 2000)
    with Recording.open(str(tmp_path / "r")) as rec:
        assert len(rec) == 2000
        assert (rec._times.itemsize + rec._places.itemsize) == 16


def test_one_that_is_written_meanwhile_grows(tmp_path, ticks):
    place, whole = tmp_path / "r", write(tmp_path / "whole", ticks).read_bytes()
    place.write_bytes(b"")
    with Recording.open(str(place)) as rec:
        seen, total = [], 0
        for start in range(0, len(whole), 17):
            with place.open("ab") as file:
                file.write(whole[start : start + 17])
            came = rec.refresh()
            total += came
            assert len(rec) == total
            seen += [rec.sample(at) for at in range(total - came, total)]
        assert seen == ticks
        assert rec.cut == ""
        assert rec.header.host == "box"


def test_one_that_is_taken_away_meanwhile_ends_nothing(path):
    with Recording.open(str(path)) as rec:
        rec.sample(3)
        os.truncate(path, 100)
        with pytest.raises(RecordingError, match="the file was changed"):
            rec.sample(5)


def test_a_pipe_brings_the_same(path, ticks):
    data, scanner, found = path.read_bytes(), Scanner(), []
    for start in range(0, len(data), 5):
        found += scanner.feed(data[start : start + 5])
    assert [block.time_ns for block in found] == [round(sample.time_s * 1e9) for sample in ticks]
    assert json.loads(found[0].line)["sequence"] == 1
    assert (scanner.pending, scanner.damages) == (0, 0)


# ---------------------------------------------------------------------------------------------------------------- writing


def test_nothing_is_overwritten(path, ticks):
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        RecordingWriter.create(str(path), header_of(ticks[0]))
    assert path.read_bytes() == before


def test_going_on_cuts_what_is_torn(path, ticks):
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    with RecordingWriter.append(str(path), header_of(ticks[0])) as writer:
        writer.add(ticks[-1].to_json().encode(), ticks[-1].time_s, True)
        assert writer.size == os.path.getsize(path)
    with Recording.open(str(path)) as rec:
        assert all_of(rec) == ticks
        assert rec.cut == ""


def test_going_on_elsewhere_is_refused(path, ticks, tmp_path):
    with pytest.raises(RecordingError, match="of the host 'box', not of this one"):
        RecordingWriter.append(str(path), Header("other"))
    (tmp_path / "text").write_text("x" * 100)
    with pytest.raises(RecordingError, match="not a recording"):
        RecordingWriter.append(str(tmp_path / "text"), header_of(ticks[0]))
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(RecordingError, match="within its head"):
        RecordingWriter.append(str(tmp_path / "empty"), header_of(ticks[0]))
    assert (tmp_path / "text").read_text() == "x" * 100


def test_two_do_not_write_one_file(path, ticks):
    with RecordingWriter.append(str(path), header_of(ticks[0])), pytest.raises(OSError, match="somebody else is writing it"):
        RecordingWriter.append(str(path), header_of(ticks[0]))


def test_a_full_disk_leaves_what_was_whole(tmp_path, ticks):
    place = tmp_path / "r"
    writer = RecordingWriter.create(str(place), header_of(ticks[0]))

    def fill() -> None:
        for time_s, whole, line in list(blocks_of(ticks)) * 10:
            writer.add(line, time_s, whole)

    with files_no_larger_than(1500), pytest.raises(OSError, match="File too large") as caught:
        fill()
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(place))
    writer.close()
    with Recording.open(str(place)) as rec:
        assert len(rec) == writer.samples >= 3
        assert rec.cut == ""
        assert os.path.getsize(place) == writer.size


# ----------------------------------------------------------------------------------------------------------------- memory


def filled(samples, every=4, **limits) -> Past:
    past = Past(**limits)
    for time_s, whole, line in blocks_of(samples, every):
        past.append(line, time_s, whole)
    return past


def test_the_past_has_the_same_samples(ticks):
    past = filled(ticks)
    assert (len(past), past.first, past.cut) == (len(ticks), 0, "")
    assert all_of(past) == ticks
    assert [past.sample(at) for at in reversed(range(len(ticks)))] == ticks[::-1]
    assert past.header == header_of(ticks[0])
    assert [past.at(ticks[4].time_s + past_s) for past_s in (-1e12, -0.5, 0.0, 1e12)] == [0, 3, 4, 10]


def test_numbers_stay_while_the_oldest_are_dropped():
    samples = [tick(number) for number in range(400)]
    past = Past(limit_bytes=8000)
    firsts = set()
    for time_s, whole, line in blocks_of(samples):
        past.append(line, time_s, whole)
        assert past.held_bytes <= 8000
        firsts.add(past.first)
        newest = past.first + len(past) - 1
        assert past.sample(newest) == samples[newest]
        assert past.sample(past.first) == samples[past.first]
        assert past.at(samples[newest].time_s) == newest
    assert len(firsts) > 50
    assert {first % 4 for first in firsts} == {0}
    with pytest.raises(IndexError, match=str(past.first)):
        past.sample(past.first - 1)


def test_what_is_too_old_is_dropped():
    past = filled([tick(number) for number in range(100)], limit_s=20.0)
    assert past.first == 76  # 79 is 20 s old, and stands upon 76
    assert past.time_s(99) == tick(99).time_s


def test_changes_upon_nothing_are_left_out(ticks):
    past = Past()
    kept = list(blocks_of(ticks))
    for time_s, whole, line in kept[1:4]:
        past.append(line, time_s, whole)
    assert len(past) == 0
    with pytest.raises(IndexError):
        past.at(0.0)
    assert past.header == Header()
    for time_s, whole, line in kept[4:]:
        past.append(line, time_s, whole)
    assert all_of(past) == ticks[4:]


def test_one_group_that_is_too_large_is_let_go(ticks):
    past = filled([tick(number) for number in range(200)], every=150, limit_bytes=9000)
    assert past.held_bytes <= 9000
    assert all_of(past) == [tick(number) for number in range(past.first, past.first + len(past))]
    assert past.first + len(past) > 50


def test_a_span_of_the_past_is_a_recording(tmp_path, ticks):
    past = filled(ticks)
    assert past.write(str(tmp_path / "r"), ticks[5].time_s, ticks[8].time_s) == 5  # from the whole line, number 4, on
    with Recording.open(str(tmp_path / "r")) as rec:
        assert all_of(rec) == ticks[4:9]
        assert (rec.cut, rec.header) == ("", header_of(ticks[4]))
    assert os.listdir(tmp_path) == ["r"]


def test_a_span_is_written_whole_or_not_at_all(tmp_path, ticks):
    past = filled(ticks)
    (tmp_path / "there").write_text("mine")
    with pytest.raises(FileExistsError):
        past.write(str(tmp_path / "there"), 0.0, 1e12)
    with files_no_larger_than(600), pytest.raises(OSError, match="File too large") as caught:
        past.write(str(tmp_path / "r"), 0.0, 1e12)
    assert caught.value.filename == str(tmp_path / "r")
    with pytest.raises(FileNotFoundError):
        past.write(str(tmp_path / "nowhere" / "r"), 0.0, 1e12)
    with pytest.raises(IndexError):
        past.write(str(tmp_path / "r"), 1e12, 2e12)
    with pytest.raises(IndexError):
        Past().write(str(tmp_path / "r"), 0.0, 1e12)
    assert sorted(os.listdir(tmp_path)) == ["there"]
    assert (tmp_path / "there").read_text() == "mine"


def test_one_reads_while_another_appends():
    samples = [tick(number) for number in range(3000)]
    past, wrong, read = Past(limit_bytes=20_000), [], 0

    def append() -> None:
        for time_s, whole, line in blocks_of(samples):
            past.append(line, time_s, whole)

    thread = threading.Thread(target=append)
    thread.start()
    while thread.is_alive():
        try:
            newest = past.at(1e12)
            if past.sample(newest) != samples[newest]:
                wrong.append(newest)
            read += 1
        except IndexError:  # dropped meanwhile, or none yet
            continue
    thread.join()
    assert wrong == []
    assert read > 10


def test_a_line_packs_and_unpacks():
    assert inflate(deflate(b"x" * 100_000)) == b"x" * 100_000
    assert BLOCK_BYTES == 28
