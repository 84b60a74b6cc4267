"""Bad profiles, by the hundred: each ends with 1, says which file and which key, and nothing was opened for writing (R19).

Most run in this process, where an audit hook sees every file that Python opens, and every call that would change something; a
few run as the real command under strace.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from engine import Sim, command_line, run_quietcore, tree_of
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_read_only import CHANGING, traced, written_to

from tuner.host.faults import Fault
from tuner.knobs.catalogue import ENTRIES
from tuner.language.entry import PART
from tuner.language.tables import PerCpu, Table
from tuner.language.values import Whole
from tuner.profile_files import SIZE_LIMIT
from ui.cli import main as command

pytestmark = pytest.mark.promise("R19")

CHANGES = re.compile(
    r"os\.(?:mkdir|rename|remove|rmdir|ch(?:mod|own)|(?:sym)?link|truncate|utime|setxattr|exec)|shutil|subprocess"
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
HEAD = '[bind]\nfeed = "nic"\n[cores]\nrx = "1"\n'


class Witness:
    """Sees what this process opens; a hook cannot be taken out again, so it looks away when nobody asks."""

    def __init__(self) -> None:
        self.watching = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.watching:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and flags & WRITING and not (mode is None and flags & os.O_DIRECTORY)
            if writes and path not in ("/dev/null", os.devnull):
                self.seen.append(f"open {path!r} {flags:o}")
        elif CHANGES.match(event):
            self.seen.append(f"{event} {arguments!r}")


WITNESS = Witness()


@pytest.fixture(scope="module")
def place(sim_templates: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small host of this module's own, with a profile to be bad in it."""
    directory = tmp_path_factory.mktemp("bad")
    shutil.copytree(sim_templates(nodes=1, cores=4, smt=1, nics=1, queues=2), directory / "host", symlinks=True)
    yield directory
    shutil.rmtree(directory)


@dataclass(frozen=True)
class Outcome:
    """What a command said, and what it wrote."""

    status: int
    faults: list[str]
    wrote: list[str] = field(default_factory=list)


def run(place: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Outcome:
    """The real command in this process."""
    capsys.readouterr()
    WITNESS.seen, WITNESS.watching = [], True
    try:
        status = command.main(["--root", str(place / "host"), "--state", str(place / "state"), "--json", *words])
    finally:
        WITNESS.watching = False
    told = capsys.readouterr()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028\ud800-\udfff]", told.out + told.err)
    faults = json.loads(told.out).get("faults", [])
    return Outcome(status, [each if isinstance(each, str) else as_told(each) for each in faults], list(WITNESS.seen))


def as_told(fault: dict[str, str]) -> str:
    """A fault of ``profiles check --json`` as the other commands put it."""
    return Fault(fault["where"], fault["what"], fault["hint"], int(fault["line"] or 0)).told()


def is_refused(place: Path, capsys: pytest.CaptureFixture[str], path: Path, *expected: str) -> None:
    """Every command that takes a profile refuses it, and says where."""
    for words in (("plan",), ("verify",), ("apply", "--dry-run"), ("profiles", "check")):
        found = run(place, capsys, *words, str(path))
        assert found.status == 1, (words, found)
        assert found.wrote == [], words
        assert found.faults, words
        for each in expected:
            assert any(each in fault for fault in found.faults), (words, each, found.faults)


def test_the_witness_would_see_it(tmp_path: Path) -> None:
    WITNESS.seen, WITNESS.watching = [], True
    try:
        (tmp_path / "x").write_text("x")
        os.close(os.open(tmp_path / "y", os.O_WRONLY | os.O_CREAT))
        os.mkdir(tmp_path / "z")
        (tmp_path / "x").read_text()
        os.close(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY))
    finally:
        WITNESS.watching = False
    assert [each.split()[0] for each in WITNESS.seen] == ["open", "open", "os.mkdir"]


# -------------------------------------------------------------------------------------------- what stands in it is no good

# look-alikes of other scripts, marks that nobody sees, digits of other scripts, text that runs the other way, a byte-order mark
TRICKS = [
    "\u0455ysctl",
    "nic\u200b",
    "ir\u212a",
    "\uff4eic",
    "co\u0301res",
    "\u202ecores",
    "\ufeffirq",
    "nic\u00ad",
    "s\u0443sctl",
    "\U0001d5c7ic",
]
TABLES = st.sampled_from(["", "irq", "nic.feed", "nic.feed.rings", "isolation", "sysctl", "bind", "cores"])
WORDS = st.one_of(
    st.sampled_from([*TRICKS, "", " ", "a b", "x" * 300, "a\x1b[2J", "..", "../../etc", "knob", "rx ", "RX", "__class__"]),
    st.text(min_size=1, max_size=12).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text)),
)
ODD = st.sampled_from(
    [
        "nan", "inf", "-inf", "+nan", "1.5", "1e400", "-0.0", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "[]", "[[]]",
        "[[1]]", "{}",
        "{ x = 1 }", '""', '" "', '"\\u0000"', '"\\u001b[2J"', '"\\u202e"', '"\\u007f"', "true", "-1", str(10**25),
        str(-(10**25)), "0xFFFFFFFFFFFFFFFFF",
        '"\\uff11"', '"\\u0661"', '"max:\\u0664"', '"at-least:\\u0661"', '"at-least:"', '"max:0"', '"max:-1"', '"1e3"',
        '"count()"', "[nan]", "[1, [2]]",
    ]
)  # fmt: skip


def quoted(word: str) -> str:
    return json.dumps(word, ensure_ascii=False).replace("\x7f", "\\u007f")  # but for this one TOML escapes as JSON does


@given(TABLES, WORDS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_unknown_knob(place: Path, capsys: pytest.CaptureFixture[str], table: str, word: str) -> None:
    assume(not re.fullmatch(r"[a-z][a-z0-9_.-]*", word) and "." not in word)
    path = place / "bad.toml"
    value = '"nic"' if table == "bind" else '"0"'
    path.write_text(
        f"{HEAD}[{table}]\n{quoted(word)} = {value}\n" if table not in ("", "bind", "cores") else f"{quoted(word)} = 1\n"
    )
    is_refused(place, capsys, path, "bad.toml:")


def places() -> list[tuple[str, Callable[[object], bool]]]:
    """Every place that a family offers, and the keys of tables, with what says whether a value is taken there."""
    found = []
    for entry in ENTRIES:
        dotted = ".".join("feed" if word == PART else word for word in entry.place)
        found.append((dotted, lambda value, kind=entry.kind: kind.check(value, lambda *_: None) is not None))
    return [*found, ("cores.rx", lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0)]


@given(st.sampled_from(places()), ODD)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_value_of_the_wrong_type(
    place: Path, capsys: pytest.CaptureFixture[str], where: tuple[str, Callable[[object], bool]], value: str
) -> None:
    import tomllib

    dotted, taken = where
    assume(not taken(tomllib.loads(f"v = {value}")["v"]))
    path = place / "bad.toml"
    path.write_text(f'[bind]\nfeed = "nic"\n[{dotted.rpartition(".")[0]}]\n{dotted.rpartition(".")[2]} = {value}\n')
    if dotted == "cores.rx" and value.strip('"').strip():  # a text may be a core set: that shows on a host
        found = run(place, capsys, "plan", str(path))
        assert (found.status, found.wrote) == (1, [])
        assert any(f"bad.toml:4: {dotted}" in fault for fault in found.faults), found.faults
    else:
        is_refused(place, capsys, path, f"bad.toml:4: {dotted}")


def numbers() -> Iterator[tuple[str, int]]:
    for entry in ENTRIES:
        inner = entry.kind.inner if isinstance(entry.kind, PerCpu) else entry.kind
        kinds = inner.keys.items() if isinstance(inner, Table) else [("", inner)]
        within = ["0"] if isinstance(entry.kind, PerCpu) and isinstance(inner, Table) else []
        for key, kind in kinds:
            if isinstance(kind, Whole):
                words = (*entry.place, *within, *([key] if key else []))
                dotted = ".".join("feed" if word == PART else word for word in words)
                yield from ((dotted, number) for number in (kind.low - 1, kind.high + 1, -(1 << 64), 10**40))


@pytest.mark.parametrize(("dotted", "number"), list(numbers())[:400])
def test_a_number_out_of_range(place: Path, capsys: pytest.CaptureFixture[str], dotted: str, number: int) -> None:
    path = place / "bad.toml"
    path.write_text(f'[bind]\nfeed = "nic"\n[{dotted.rpartition(".")[0]}]\n{dotted.rpartition(".")[2]} = {number}\n')
    is_refused(place, capsys, path, f"bad.toml:4: {dotted}: out of range")


# ------------------------------------------------------------------------------------------------------- it is no profile

RAW = [
    b"\xff\xfe", "summary = 'x'".encode("utf-16"), b"\xef\xbb\xbfsummary = 'x'", b"summary = '\xc0\xaf'",
    b"summary = '\xed\xa0\x80'", b"a = 1\0",
    b"\x1b[2J", b"a = '\x07'", b"a = 1\x0b", b"\x7f", b"a = \xe2\x80\xae1", b"x =", b"[", b"]", b"=", b"[x", b"a = 1 b = 2",
    b"a.b = 1\na = 2",
    b"a = 1\na = 2", b"[irq]\ndefault = '0'\n[irq]\ndefault = '1'", b"[irq]\ndefault = '0'\ndefault = '0'",
    b"irq = 1\n[irq]\n", b"[[irq]]\n[irq]",
    b"a = 0777", b"a = 1__0", b"a = 1.", b"a = .5", b"a = True", b"a = yes", b"a = '", b'a = """x', b"a = [1,,2]",
    b"a = {b = 1,}", b"a = 1979-13-45",
    b"[sysctl]\n'vm.swappiness' = " + b"9" * 5000, b"x = " + b"[" * 3000, b"x = " + b"[" * 30000, b"x = " + b"{a=" * 20000,
    b"a." * 25000 + b"a = 1",
    b"[" + b"a." * 30000 + b"a]", b"# " + b"x" * SIZE_LIMIT, b"x" * 5_000_000, b"\n" * 5_000_000, b"\0" * 70_000,
    b"\x80" * 100, b"#\r", b"a = 1\r\r\n",
]  # fmt: skip


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: ascii(raw[:24]))
def test_bytes_that_are_no_toml_or_no_profile(place: Path, capsys: pytest.CaptureFixture[str], raw: bytes) -> None:
    path = place / "bad.toml"
    path.write_bytes(raw)
    is_refused(place, capsys, path, "bad.toml:")


@given(st.binary(min_size=1, max_size=80))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_end_with_a_status_and_write_nothing(place: Path, capsys: pytest.CaptureFixture[str], raw: bytes) -> None:
    path = place / "bad.toml"
    path.write_bytes(raw)
    found = run(place, capsys, "plan", str(path))
    assert found.status in (0, 1)
    assert bool(found.faults) == (found.status == 1)
    assert found.wrote == []


@pytest.mark.parametrize("length", [1, 2, 3, 7, 40])
def test_circles_of_any_length(place: Path, capsys: pytest.CaptureFixture[str], length: int) -> None:
    local = place / "host" / "etc" / "quietcore" / "profiles"
    local.mkdir(parents=True, exist_ok=True)
    for n in range(length):
        (local / f"c{n}.toml").write_text(f'extends = ["c{(n + 1) % length}"]\n')
    for words in (("plan", "c0"), ("verify", "c0"), ("profiles", "check", "c0")):
        found = run(place, capsys, *words)
        assert (found.status, found.wrote) == (1, [])
        assert any("extends: a circle: c0 -> " in fault for fault in found.faults)


@pytest.mark.parametrize(
    "text",
    [
        '[cores]\nx = "y"\ny = "x"\n[irq]\ndefault = "x"', '[cores]\nx = "x"\n[irq]\ndefault = "x"',
        '[irq]\ndefault = "' + "(" * 400 + "0" + ")" * 400 + '"', '[irq]\ndefault = "first(99999999, all)"',
        '[irq]\ndefault = "0-99999999999"',
        '[irq]\ndefault = "0-1:0/0"', '[irq]\ndefault = "all - all"', '[irq]\ndefault = "node(77)"',
        '[irq]\ndefault = "count(all)"',
        '[irq]\ndefault = "\uff10"', '[irq]\ndefault = "first(\u0661, all)"', '[irq]\ndefault = "4095"',
        '[irq]\ndefault = "' + "0+" * 499 + '"',
        'require = ["count(all) >= 99"]\n[irq]\ndefault = "0"', 'require = ["kernel >= 99.0"]', '[isolation]\ncores = "all"',
        '[isolation]\ncores = "0"',
        '[isolation]\nworkqueues = "0"', '[bind]\nfeed = "nic"\n[nic.feed.rings]\nrx = 1048576',
        "[cores]\nrx = 1\ntx = 1\n[irq]\ndefault = 0",
    ],
    ids=lambda text: ascii(text[:50]),
)  # fmt: skip
def test_what_makes_no_sense_on_this_host(place: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = place / "bad.toml"
    path.write_text(text)
    for words in (("plan",), ("verify",), ("apply", "--dry-run")):
        found = run(place, capsys, *words, str(path))
        assert (found.status, found.wrote) == (1, []), (words, found)
        assert found.faults


def made(place: Path, kind: str) -> Path:
    """A thing of that kind by the name of a profile."""
    path = place / f"{kind}.toml"
    path.unlink(missing_ok=True) if not path.is_dir() else None
    good = place / "good.toml"
    good.write_text("summary = 'x'")
    match kind:
        case "link":
            path.symlink_to(good)
        case "dangling":
            path.symlink_to(place / "nowhere")
        case "circle":
            path.symlink_to(path)
        case "directory":
            path.mkdir(exist_ok=True)
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        case "device":
            return Path("/dev/zero")
        case "hostile":
            return place / os.fsdecode(b"\x1b[2J\xff\n.toml")
    return path


@pytest.mark.parametrize("kind", ["link", "dangling", "circle", "directory", "fifo", "socket", "device", "missing", "hostile"])
def test_what_is_no_file(place: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = made(place, kind)
    if kind == "device":  # a bare name is a profile's: only check takes any path
        found = run(place, capsys, "profiles", "check", str(path))
        assert (found.status, found.wrote) == (1, [])
        return
    is_refused(place, capsys, path, "not a regular file" if kind in ("directory", "fifo") else "cannot be opened")


# --------------------------------------------------------------------------------------------- overlay, --set, the state


@pytest.mark.parametrize(
    "raw", [*RAW[:30], b"[sysctl]\n'vm.swappiness' = nan", b"[nic.feed.rings]\nrx = -1", b"extends = ['base']"]
)
def test_an_overlay_is_refused_like_a_profile(place: Path, capsys: pytest.CaptureFixture[str], raw: bytes) -> None:
    overlay = place / "host" / "etc" / "quietcore" / "host.toml"
    overlay.parent.mkdir(parents=True, exist_ok=True)
    overlay.write_bytes(raw)
    try:
        for words in (("plan", "base"), ("verify", "base"), ("profiles", "check", "/etc/quietcore/host.toml")):
            found = run(place, capsys, *words)
            assert (found.status, found.wrote) == (1, []), (words, found)
            assert any("host.toml" in fault for fault in found.faults)
    finally:
        overlay.unlink()


@given(st.sampled_from(places()), ODD)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_bad_set(
    place: Path, capsys: pytest.CaptureFixture[str], where: tuple[str, Callable[[object], bool]], value: str
) -> None:
    import tomllib

    dotted, taken = where
    assume(not taken(tomllib.loads(f"v = {value}")["v"]))
    path = place / "good.toml"
    path.write_text('[bind]\nfeed = "nic"\n[cores]\nrx = "1"\n')
    found = run(place, capsys, "plan", str(path), "--set", f"{dotted}={value}")
    assert (found.status, found.wrote) == (1, [])
    assert any(f"--set {dotted}" in fault for fault in found.faults), found.faults


def test_apply_itself_opens_nothing_but_its_lock(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree_of(place / "host")
    for n, raw in enumerate(RAW[:20]):
        path = place / f"bad{n}.toml"
        path.write_bytes(raw)
        found = run(place, capsys, "apply", str(path), "--allow", "link")
        assert found.status == 1
        assert [each for each in found.wrote if str(place / "state") not in each] == []
    assert tree_of(place / "host") == before
    assert not list((place / "state").rglob("*.journal"))


# -------------------------------------------------------------------------------------------------------- under strace

SAMPLE = {
    "unknown": b"[irq]\ndefolt = '0'\nx = 1",
    "type": b"[sysctl]\n'vm.swappiness' = nan",
    "deep": b"x = " + b"[" * 30000,
    "large": b"#" * 5_000_000,
    "control": b"a = '\x1b'",
    "utf": b"\xff",
    "duplicate": b"a = 1\na = 2",
}


@pytest.mark.parametrize("name", SAMPLE)
def test_the_process_opens_nothing_for_writing(sim: Sim, tmp_path: Path, name: str) -> None:
    if shutil.which("strace") is None or subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("strace cannot trace here")
    path, log = tmp_path / "bad.toml", tmp_path / "strace"
    path.write_bytes(SAMPLE[name])
    done = traced(log, f"open,openat,openat2,{CHANGING}", command_line("plan", str(path), root=sim.root, state=sim.state))
    assert done.returncode == 1
    assert "bad.toml:" in done.stderr
    assert "Traceback" not in done.stderr
    assert written_to(log) == []
    assert sim.changed() == []


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o620])
def test_this_host_is_not_changed_by_a_profile_that_others_can_write(tmp_path: Path, mode: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("apply on this host needs root before it looks at a profile")
    path = tmp_path / "bad.toml"
    path.write_text("[sysctl]\n'vm.swappiness' = 61\n")
    path.chmod(mode)
    before = Path("/proc/sys/vm/swappiness").read_text()
    done = run_quietcore("apply", str(path), state=str(tmp_path / "state"))
    assert done.returncode in (1, 4)  # 4: another run holds the lock of this host
    assert "bad.toml: others can write it" in done.stderr or "another run changes this host" in done.stderr
    assert Path("/proc/sys/vm/swappiness").read_text() == before
    assert not list((tmp_path / "state").rglob("*.journal"))
