"""A site's file of feeds: what it gives, every fault at once, and whose file is read at all."""

import os
import re
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.feeds.channels import SITE_FILE, SIZE_LIMIT, Channel, Line, choose_feed, read_site, site_of
from ingest.feeds.format_table import FeedFileError
from ingest.feeds.formats import parse_feed, shipped
from tuner.host.faults import Fault
from tuner.host.files import HostFiles
from tuner.host.text import printable

ROOT = Path(__file__).resolve().parents[3]
GOOD = """
[format.our_house]
endian = "big"
sequence = { at = 0, bytes = 8 }

[channel.itch]
format = "moldudp64"
a = "233.54.12.111:26477"
b = "233.49.196.111:26477"

[channel.ours]
format = "our_house"
a = "[ff15::1]:30001"
b = "239.1.1.2:30002"

[channel.alone]
format = "cboe_pitch"
a = "239.1.1.3:30003"
"""


def written(directory: Path, text: str | bytes) -> str:
    path = directory / "feeds.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o644)
    return str(path)


def faults(directory: Path, text: str | bytes) -> list[str]:
    with pytest.raises(FeedFileError) as caught:
        read_site(written(directory, text))
    return [str(fault) for fault in caught.value.faults]


def test_channels_and_formats(tmp_path: Path) -> None:
    site = read_site(written(tmp_path, GOOD))
    assert list(site.formats)[-1] == "our_house"
    assert set(shipped()) < set(site.formats)
    assert site.channels["itch"] == Channel(
        "itch",
        parse_feed("moldudp64:26477"),
        (Line(bytes([233, 54, 12, 111]), 26477, "A"), Line(bytes([233, 49, 196, 111]), 26477, "B")),
    )
    ours = site.channels["ours"]
    assert (ours.framing.name, ours.framing.port) == ("our_house", 0)  # its lines have a port each
    assert [str(line) for line in ours.lines] == ["[ff15::1]:30001", "239.1.1.2:30002"]
    assert len(ours.lines[0].address) == 16
    assert [line.name for line in site.channels["alone"].lines] == ["A"]
    assert site.channels["alone"].framing == parse_feed("cboe_pitch:30003")


def test_what_a_feed_may_name(tmp_path: Path) -> None:
    site = read_site(written(tmp_path, GOOD))
    assert choose_feed("itch", site) == (site.channels["itch"].framing, site.channels["itch"].lines)
    assert choose_feed("our_house:7", site)[0].port == 7
    assert choose_feed("cboe_pitch:7", site) == (parse_feed("cboe_pitch:7"), ())
    for text, said in (
        ("itch:26477", "has its ports in the file"),
        ("ich", "did you mean itch?"),
        ("our_hose", "did you mean our_house?"),
        ("soupbintcp", "does not reassemble TCP"),
        ("itch:x", "no UDP port"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            choose_feed(text, site)


def test_the_example_of_the_document(tmp_path: Path) -> None:
    page = (ROOT / "docs/feeds.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    site = read_site(written(tmp_path, text))
    assert list(site.channels) == ["itch", "ours"]
    assert site.formats["our_house"].framing is not None


def test_the_host_s_own_file(tmp_path: Path) -> None:
    files = HostFiles(tmp_path)
    assert (site_of(files).channels, set(site_of(files).formats)) == ({}, set(shipped()))
    place = tmp_path / SITE_FILE.lstrip("/")
    place.parent.mkdir(parents=True)
    written(place.parent, GOOD)
    assert "itch" in site_of(files).channels
    other = tmp_path / "other"
    other.mkdir()
    assert site_of(files, written(other, "")).channels == {}


def test_every_fault_at_once(tmp_path: Path) -> None:
    text = """
        speed = 1
        [formats.x]
        [format.moldudp64]
        endian = "big"
        sequence = { at = 0, bytes = 8 }
        [format.mine]
        aliases = ["cboe_pitch"]
        endian = "big"
        sequence = { at = 0, bytes = 8 }
        [format.broken]
        endian = "big"
        [channel.one]
        format = "moldudp46"
        a = "233.54.12.111"
        bee = 1
        [channel.two]
        format = "soupbintcp"
        a = "239.1.1.1:1"
        b = "239.1.1.1:1"
        [channel.three]
        format = "broken"
        [channel.moldudp64]
        a = "239.1.1.9:1"
        [channel.infer]
        format = 7
        a = "239.1.1.8:1"
        [channel."\\u001b[7m"]
        format = "cme_mdp3"
        a = "239.1.1.7:1"
        [channel]
        four = 4
    """
    found = faults(tmp_path, text)
    for wanted in (
        "feeds.toml: speed: unknown key",
        "feeds.toml: formats: unknown table (did you mean format?)",
        "feeds.toml: format.moldudp64: a shipped format has this name",
        "feeds.toml: format.mine.aliases: cboe_pitch names another format",
        "feeds.toml: format.broken.sequence: missing",
        "feeds.toml: channel.one.format: unknown feed format 'moldudp46'; did you mean moldudp64?",
        "feeds.toml: channel.one.a: not an address and a UDP port",
        "feeds.toml: channel.one.bee: unknown key",
        "feeds.toml: channel.two.format: soupbintcp cannot be followed",
        "feeds.toml: channel.two.b: 239.1.1.1:1 is channel.two.a already",
        "feeds.toml: channel.three.a: missing",
        "feeds.toml: channel.moldudp64: --feed has another meaning for this name",
        "feeds.toml: channel.moldudp64.format: missing",
        "feeds.toml: channel.infer: --feed has another meaning",
        "feeds.toml: channel.infer.format: not the name of a format",
        "feeds.toml: channel.\\x1b[7m: not a name",
        "feeds.toml: channel.four: not a table",
    ):
        assert any(fault.startswith(wanted) for fault in found), (wanted, found)
    assert len(found) == 17
    assert not any("\x1b" in fault for fault in found)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "239.1.1.1",
        "239.1.1.1:",
        "239.1.1.1:0",
        "239.1.1.1:65536",
        "239.1.1.1:1e3",
        "239.1.1.1:٣",
        "239.1.1:1",
        "239.1.1.1.1:1",
        "[239.1.1.1]:1",
        "ff15::1:1",
        "[ff15::1]",
        "[ff15::1%eth0]:1",
        "0.0.0.0:1",
        "[::]:1",
        "example.org:1",
        " 239.1.1.1:1",
    ],
)
def test_what_is_no_line(tmp_path: Path, endpoint: str) -> None:
    found = faults(tmp_path, f'[channel.x]\nformat = "cme_mdp3"\na = "{endpoint}"\n')
    assert len(found) == 1
    assert found[0].startswith("feeds.toml: channel.x.a: not an address and a UDP port")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\xff", "not UTF-8: byte 0"),
        (b"[channel", "not TOML"),
        (b"x = " + b"9" * 5000, "not TOML"),
        (b"x = " + b"[" * 20000, "nested too deeply"),
        (b"#\0", "NUL bytes"),
        (b"#" * (SIZE_LIMIT + 1), f"65537 bytes; a file of feeds has at most {SIZE_LIMIT}"),
        (b"channel = 1", "channel: not a table"),
        (b"format = []", "format: not a table"),
    ],
)
def test_hostile_bytes(tmp_path: Path, raw: bytes, said: str) -> None:
    (found,) = faults(tmp_path, raw)
    assert said in found


def test_whose_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    for mode in (0o664, 0o646, 0o666):
        os.chmod(path, mode)
        with pytest.raises(FeedFileError, match=r"others can write it \(chown root .*; chmod go-w"):
            read_site(path)
    os.chmod(path, 0o644)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    with pytest.raises(FeedFileError, match="cannot be opened: a symbolic link"):
        read_site(str(link))
    with pytest.raises(FeedFileError, match="No such file"):
        read_site(str(tmp_path / "nosuch.toml"))
    with pytest.raises(FeedFileError, match="not a regular file"):
        read_site(str(tmp_path))
    fifo = tmp_path / "fifo.toml"
    os.mkfifo(fifo)
    with pytest.raises(FeedFileError, match="not a regular file"):
        read_site(str(fifo))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s.toml"))
        with pytest.raises(FeedFileError, match="cannot be opened"):
            read_site(str(tmp_path / "s.toml"))


def test_somebody_else_s_file_is_not_read(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a file away needs root")
    path = written(tmp_path, GOOD)
    os.chown(path, 12345, 12345)
    with pytest.raises(FeedFileError, match="others can write it"):
        read_site(path)


VALUES = st.recursive(
    st.one_of(st.integers(-5, 1 << 40), st.booleans(), st.text(max_size=5), st.sampled_from(["moldudp64", "big", "1.2.3.4:5"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=4), st.sampled_from(["at", "bytes", "a", "b", "format", "sequence", "endian", "flag"])),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


def as_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(key)} = {as_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value if not 0xD800 <= ord(c) < 0xE000) + '"'
    return str(value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["format", "channel", "x"]), st.one_of(VALUES, st.dictionaries(st.text(max_size=3), VALUES))
    )
)
def test_any_file_is_a_site_or_has_faults_that_can_be_shown(tmp_path: Path, document: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {as_toml(value)}" for key, value in document.items())
    found: tuple[Fault, ...] = ()
    try:
        read_site(written(tmp_path, text))
    except FeedFileError as error:
        found = error.faults or pytest.fail("an error without a fault")
    assert all(printable(str(fault), 5000) == str(fault) for fault in found)
