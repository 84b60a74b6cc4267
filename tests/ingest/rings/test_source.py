"""Sources and feed formats as the command line names them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.feeds.formats import parse_feed
from ingest.rings.layout import Framing
from ingest.rings.source import Source, SourceError, parse_source


def test_an_interface() -> None:
    assert parse_source("packet:eth2") == Source("packet", "eth2")
    assert parse_source("packet:enp1s0f0np0.100").name == "enp1s0f0np0.100"


def test_a_capture_file() -> None:
    assert parse_source("capture:/var/cap/10:30 open.pcapng") == Source("capture", "/var/cap/10:30 open.pcapng")
    assert str(parse_source("capture:a\x1b[31m.pcap")) == "capture:a\\x1b[31m.pcap"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("xdp:eth2", "not built yet"),
        ("shared:/dev/shm/x", "not built yet"),
        ("capture:", "path of a pcap"),
        ("capture", "path of a pcap"),
        ("capture:a\x00b", "path of a pcap"),
        ("eth2", "packet:INTERFACE"),
        ("", "packet:INTERFACE"),
        ("packet", "packet:INTERFACE"),
        ("packet:", "no interface name"),
        ("packet:sixteen_bytes_xx", "no interface name"),
        ("packet:a/b", "no interface name"),
        ("packet:..", "no interface name"),
        ("packet:a b", "no interface name"),
        ("packet:a:b", "no interface name"),
        ("packet:ünïcödë_1234", "no interface name"),  # 12 characters, 16 bytes
        ("packet:a\x00b", "no interface name"),
    ],
)
def test_what_is_no_source(text: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        parse_source(text)


@given(st.text(max_size=40))
def test_no_source_reaches_the_terminal_raw(text: str) -> None:
    for candidate in (text, f"packet:{text}", f"capture:{text}", f"{text}:eth0"):
        try:
            shown = str(parse_source(candidate))
        except SourceError as error:
            shown = str(error)
        assert all(character.isprintable() or character == " " for character in shown if ord(character) < 0xA0)


def test_feed_formats() -> None:
    assert parse_feed("moldudp64").port == 0
    assert parse_feed("moldudp64:30001").port == 30001
    assert parse_feed("moldudp64:30001").sequence_offset == 10
    for name in ("moldudp64", "cme_mdp3", "iex_tp", "nyse_xdp_pillar", "cboe_pitch"):
        assert parse_feed(name).sequence_width in (4, 8)


@pytest.mark.parametrize("text", ["", "itch", "moldudp64:", "moldudp64:0", "moldudp64:65536", "moldudp64:1e3", "moldudp64:٣"])
def test_what_is_no_feed_format(text: str) -> None:
    with pytest.raises(ValueError, match=r"unknown feed format|no UDP port"):
        parse_feed(text)


@pytest.mark.parametrize("field", [{"sequence_width": 3}, {"count_width": 8}, {"port": 70000}, {"sequence_offset": -1}])
def test_what_is_no_framing(field: dict[str, int]) -> None:
    sound = {"name": "x", "sequence_offset": 0, "sequence_width": 8, "big_endian": True}
    with pytest.raises(ValueError, match=r"no such framing|no datagram"):
        Framing(**(sound | field))
