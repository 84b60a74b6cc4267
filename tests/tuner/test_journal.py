"""The journal: what a crash, a full disk or a flipped bit may do to it, and what must never come of that."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from engine import PROJECT, Sim
from hypothesis import given
from hypothesis import strategies as st

from tuner.journal import SCHEMA, Contents, Journal, JournalError, decode, encode, read_journal
from tuner.store import Refused, Store, TransactionRecord

RECORDS = (
    {"record": "begin", "schema": SCHEMA, "boot_id": "b", "profile": {"name": "p", "sha256": "0"}, "transaction": 1},
    {"record": "plan", "changes": [{"knob": "sysctl.vm.swappiness", "undo": "\udcff\x1bé", "wanted": 1}]},
    {"record": "write", "n": 0},
    {"record": "wrote", "n": 0, "state": "ok", "now": 1.5, "effective": None},
    {"record": "applied"},
)
RAW = b"".join(encode(record) for record in RECORDS)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(min_size=7), VALUES, max_size=4), max_size=5))
def test_records_come_back_as_they_were(extra):
    records = (RECORDS[0], *({**fields, "record": "x"} for fields in extra))
    raw = b"".join(encode(record) for record in records)
    assert decode(raw) == Contents(records, len(raw))
    assert raw.count(b"\n") == len(records)  # a line each, whatever stands in it


def test_a_record_is_a_line_that_people_can_read():
    line = encode({"record": "write", "n": 3})
    text = b'{"record":"write","n":3}'
    assert line == b"%08x %d %s\n" % (zlib.crc32(text), len(text), text)


@pytest.mark.promise("R11")
def test_cut_at_any_offset_the_whole_records_are_left_and_nothing_is_said(held):
    held(len(RAW) + 1)
    ends = [len(b"".join(encode(r) for r in RECORDS[:n])) for n in range(len(RECORDS) + 1)]
    for cut in range(len(RAW) + 1):
        whole = max(n for n, end in enumerate(ends) if end <= cut)
        assert decode(RAW[:cut]) == Contents(RECORDS[:whole], ends[whole]), cut


@pytest.mark.promise("R11")
def test_a_flipped_bit_anywhere_never_invents_a_record(held):
    held(8 * len(RAW))
    for place in range(len(RAW)):
        for bit in range(8):
            flipped = bytearray(RAW)
            flipped[place] ^= 1 << bit
            found = decode(bytes(flipped))
            if found.records != RECORDS:  # a capital letter in the CRC changes nothing
                assert found.records == RECORDS[: len(found.records)], (place, bit)
                # silent only where it looks like an end that was cut off: the last line end is gone
                assert found.damage or place == len(RAW) - 1, (place, bit)


@pytest.mark.promise("R11")
@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_without_a_word(raw):
    assert decode(raw).records == ()
    found = decode(RAW + raw)
    assert found.records[: len(RECORDS)] == RECORDS
    assert len(found.records) == len(RECORDS)


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b'{"no":"record"}',
        b'{"record":3}',
        b"[" * 5000,
        b'{"record":"x","n":' + b"9" * 5000 + b"}",
        b"\xff",
        b"",
    ],
)
def test_a_good_crc_of_something_else_is_damage(line):
    raw = RAW + b"%08x %d %s\n" % (zlib.crc32(line), len(line), line)
    assert decode(raw) == Contents(RECORDS, len(RAW), f"record {len(RECORDS) + 1} is damaged")


@pytest.mark.promise("R11")
@pytest.mark.parametrize("schema", [0, SCHEMA + 1, None, "1\x1b[2J" * 40])
def test_another_schema_is_refused_whole(schema):
    raw = encode({**RECORDS[0], "schema": schema}) + RAW
    found = decode(raw)
    assert found.records == ()
    assert "schema" in found.damage
    assert "\x1b" not in found.damage
    assert len(found.damage) < 100


@pytest.mark.promise("R11")
def test_damage_before_good_records_is_told(tmp_path):
    lines = RAW.splitlines(keepends=True)
    path = tmp_path / "x.journal"
    path.write_bytes(lines[0] + b"zeros\0\0\n" + b"".join(lines[1:]))
    found = read_journal(str(path))
    assert found.damage == "record 2 is damaged"
    assert TransactionRecord(1, str(path), found).state == "damaged"


def test_a_file_that_cannot_be_read_is_damage(tmp_path):
    assert "cannot be opened" in read_journal(str(tmp_path / "none")).damage
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert "cannot be opened" in read_journal(str(tmp_path / "link")).damage
    assert "cannot be read" in read_journal(str(tmp_path)).damage
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate((16 << 20) + 1)
    assert read_journal(str(big)).damage == "cannot be read: too large for a journal"


def test_reopening_cuts_the_torn_end_so_that_the_next_record_is_whole(tmp_path):
    path = str(tmp_path / "x.journal")
    for cut in range(1, len(RAW) + 1):
        Path(path).write_bytes(RAW[:cut])
        whole = decode(RAW[:cut]).records
        with Journal.reopen(path) as journal:
            journal.append({"record": "rolling-back", "schema": SCHEMA})
        assert read_journal(path).records == (*whole, {"record": "rolling-back", "schema": SCHEMA}), cut
        assert not read_journal(path).damage


def test_a_new_journal_is_for_its_owner_alone_and_never_over_another(tmp_path):
    path = str(tmp_path / "x.journal")
    before = os.umask(0)
    try:
        Journal.create(path, RECORDS[:2]).close()
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o777 == 0o600
    with pytest.raises(JournalError, match="File exists"):
        Journal.create(path, RECORDS[:2])
    assert read_journal(path).records == RECORDS[:2]
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError):
        Journal.create(str(tmp_path / "link"), RECORDS[:2])
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.promise("R10")
def test_the_journal_is_on_the_disk_with_its_name_before_create_returns(tmp_path, monkeypatch):
    calls = []

    def spy(name):
        real = getattr(os, name)

        def call(first, *rest, **options):
            where = first if isinstance(first, str) else os.readlink(f"/proc/self/fd/{first}")
            calls.append((name, where))
            return real(first, *rest, **options)

        monkeypatch.setattr(os, name, call)

    for name in ("write", "fsync"):
        spy(name)
    path = str(tmp_path / "x.journal")
    Journal.create(path, RECORDS[:2]).close()
    assert calls == [("write", path), ("fsync", path), ("fsync", str(tmp_path))]


@pytest.mark.promise("R12")
@pytest.mark.parametrize("failing", ["write", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_journal_that_could_not_be_made_durable_is_removed(tmp_path, monkeypatch, failing, code):
    path = str(tmp_path / "x.journal")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(JournalError, match="cannot write the journal") as failure:
        Journal.create(path, RECORDS[:2])
    assert failure.value.errno == code
    assert failure.value.filename == path
    assert not os.path.exists(path)


@pytest.mark.parametrize("failing", ["fsync", "short write", "write"])
def test_a_record_that_failed_leaves_no_trace_for_the_next_one(tmp_path, monkeypatch, failing):
    path = str(tmp_path / "x.journal")
    real_write = os.write

    def fail(*_):
        raise OSError(errno.EIO, "I/O error")

    with Journal.create(path, RECORDS[:2]) as journal:
        with monkeypatch.context() as faulty:
            if failing == "short write":
                faulty.setattr(os, "write", lambda fd, data: real_write(fd, data[:9]))
            else:
                faulty.setattr(os, failing, fail)
            with pytest.raises(JournalError):
                journal.append({"record": "confirmed"}, durable=True)
        assert read_journal(path).records == RECORDS[:2]
        journal.append(RECORDS[2])
    assert read_journal(path) == Contents(RECORDS[:3], os.path.getsize(path))


def limited_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@pytest.mark.promise("R12")
def test_without_room_for_a_journal_nothing_is_changed(sim: Sim):
    """RLIMIT_FSIZE of 0 for the whole command: the first byte of the journal is EFBIG, and so would be any knob's."""
    with sim.store.lock():
        pass
    done = sim.run("apply", "feed-handler", "--allow", "link", preexec_fn=limited_file_size)
    assert done.returncode == 1
    assert "journal" in done.stderr or "File too large" in done.stderr
    assert sim.changed() == []
    assert sim.store.all() == []


@pytest.mark.promise("R12")
def test_on_a_full_disk_nothing_is_changed(sim: Sim):
    """A tmpfs of its own for the state, full to the last page."""
    os.makedirs(sim.state, 0o700)
    script = (
        "import os, subprocess, sys\n"
        f"assert subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=16k,mode=700', 'x', {sim.state!r}]).returncode == 0\n"
        f"os.makedirs({sim.state!r} + '/transactions', 0o700)\n"
        f"open({sim.state!r} + '/lock', 'w').write('1')\n"
        f"fd = os.open({sim.state!r} + '/filler', os.O_CREAT | os.O_WRONLY)\n"
        "try:\n"
        "    while True: os.write(fd, bytes(4096))\n"
        "except OSError: pass\n"
        "sys.exit(subprocess.run(sys.argv[1:]).returncode)\n"
    )
    words = [sys.executable, "-m", "ui.cli.main", "--root", sim.root, "--state", sim.state, "apply", "feed-handler"]
    isolated = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", script]
    if subprocess.run(["unshare", "--mount", "--propagation", "private", "true"], capture_output=True).returncode:
        pytest.skip("mount namespaces cannot be made here")
    done = subprocess.run([*isolated, *words, "--allow", "link"], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert sim.changed() == []


def test_names_that_are_no_journals_are_passed_over(tmp_path):
    store = Store(str(tmp_path / "state"), str(tmp_path))
    store.prepare()
    other_digits = [chr(0x661) * 6, chr(0xB2) * 6]  # what str.isdigit takes for digits
    for name in ("1", "000000", "0000001", "000001.journal~", "x", *other_digits):
        Path(store.transactions_directory, f"{name}.journal").write_bytes(RAW)
    assert store.all() == []
    number, journal = store.begin({"record": "begin", "schema": SCHEMA}, {"record": "plan", "changes": []})
    journal.close()
    assert (number, [t.number for t in store.all()]) == (1, [1])
    Path(store.transactions_directory, "1234567.journal").write_bytes(RAW)
    assert store.begin({"record": "begin", "schema": SCHEMA}, {"record": "plan", "changes": []})[0] == 1234568


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_state_directory_that_others_can_write_is_refused(tmp_path, mode):
    store = Store(str(tmp_path / "state"), str(tmp_path))
    store.prepare()
    assert os.stat(store.directory).st_mode & 0o777 == 0o700
    os.chmod(store.directory, mode)
    with pytest.raises(Refused, match="chmod 700"), store.lock():
        pass


def test_a_state_directory_of_somebody_else_is_refused(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    store = Store(str(tmp_path / "state"), str(tmp_path))
    store.prepare()
    os.chown(store.transactions_directory, 1234, 1234)
    with pytest.raises(Refused, match="belongs to another user"), store.lock():
        pass


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ("", "void"),
        ("begin", "void"),
        ("begin plan", "prepared"),
        ("begin plan armed", "prepared"),
        ("begin plan void", "void"),
        ("begin plan collateral", "applying"),
        ("begin plan write", "applying"),
        ("begin plan armed write wrote", "applying"),
        ("begin plan write wrote applied", "applied"),
        ("begin plan write wrote applied confirmed", "confirmed"),
        ("begin plan write wrote confirmed", "confirmed"),
        ("begin plan write rolling-back", "rolling-back"),
        ("begin plan write wrote applied confirmed rolling-back undid", "rolling-back"),
        ("begin plan write rolling-back undid degraded", "degraded"),
        ("begin plan write rolling-back undid degraded rolling-back", "rolling-back"),
        ("begin plan write rolling-back undid rolled-back", "rolled-back"),
        ("begin plan write applied void", "void"),
    ],
)
def test_the_journal_alone_tells_where_a_transaction_stands(kinds, state):
    records = tuple({"record": kind, "schema": SCHEMA, "changes": [], "n": 0} for kind in kinds.split())
    assert TransactionRecord(1, "", Contents(records)).state == state
    assert TransactionRecord(1, "", Contents(records, damage="x")).state == "damaged"


def test_the_journal_of_a_whole_transaction_stays_small(sim: Sim):
    sim.apply()
    transaction = sim.store.get(1)
    assert transaction.state == "confirmed"
    assert os.path.getsize(transaction.path) < 64 << 10
    for line in Path(transaction.path).read_bytes().splitlines():
        json.loads(line.split(b" ", 2)[2])
