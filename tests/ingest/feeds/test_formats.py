"""The shipped formats: where each header holds what, as known of the venues, and how a table of a file is read."""

import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.feeds.format_table import KEYS, Checker, FeedFileError, Format, read_format
from ingest.feeds.formats import feed_words, find_format, parse_feed, read_formats, shipped, split_port
from ingest.feeds.reading import Unread, read_number, said_size
from ingest.rings.layout import MILLISECONDS, NANOSECONDS, SECONDS_AND_NANOSECONDS, Framing

ROOT = Path(__file__).resolve().parents[3]
BIG, LITTLE = True, False
FOLLOWED = [entry.name for entry in shipped().values() if entry.framing is not None]

# (byte order, sequence, count, scope, epoch, flag offset, send time, size), each (offset, width) or None
KNOWN = {
    "moldudp64": (BIG, (10, 8), (18, 2), None, (0, 10), None, None, None),
    "cme_mdp3": (LITTLE, (0, 4), None, None, None, None, (4, NANOSECONDS), None),
    "euronext_optiq_mdg": (LITTLE, (8, 4), None, (14, 2), (12, 1), None, (0, NANOSECONDS), None),
    "eurex_eobi": (LITTLE, (8, 4), None, (12, 5), None, 18, (24, NANOSECONDS), None),
    "lse_mitch_unit": (LITTLE, (4, 4), (2, 1), (3, 1), None, None, None, (0, 2)),
    "nyse_xdp_pillar": (LITTLE, (4, 4), (3, 1), None, None, 2, (8, SECONDS_AND_NANOSECONDS), (0, 2)),
    "nyse_openbook_ultra_legacy": (BIG, (4, 4), (14, 1), None, None, None, None, (0, 2)),
    "cboe_pitch_sequenced_unit": (LITTLE, (4, 4), (2, 1), (3, 1), None, None, None, (0, 2)),
    "opra_obi": (BIG, (6, 4), (10, 1), None, None, 4, (11, SECONDS_AND_NANOSECONDS), (1, 2)),
    "cta_cqs_cts": (BIG, (5, 4), (9, 1), None, None, 4, (10, SECONDS_AND_NANOSECONDS), (1, 2)),
    "iex_tp": (LITTLE, (24, 8), (14, 2), (4, 4), (8, 4), None, (32, NANOSECONDS), (12, 2)),
    "hkex_omd": (LITTLE, (4, 4), (2, 1), None, None, None, (8, NANOSECONDS), (0, 2)),
    "b3_umdf_sbe": (LITTLE, (4, 4), None, (0, 1), (2, 2), None, (8, NANOSECONDS), None),
    "ice_impact": (BIG, (2, 4), (6, 2), None, (0, 2), None, (8, MILLISECONDS), None),
    "memx_memoir": (BIG, (10, 8), (18, 2), None, (2, 8), 0, None, None),
    "miax_mach": (LITTLE, (0, 8), None, None, (11, 1), 10, None, None),
    "coinbase_derivatives_sbe": (LITTLE, (8, 8), None, (16, 2), None, 18, (0, NANOSECONDS), None),
    "deribit_multicast_sbe": (LITTLE, (8, 8), None, (16, 4), None, 20, (0, NANOSECONDS), None),
}


def test_every_format_is_there_with_how_it_was_checked() -> None:
    assert set(KNOWN) == set(FOLLOWED)
    assert set(shipped()) - set(FOLLOWED) == {"soupbintcp", "cme_tcp_conflated"}
    for entry in shipped().values():
        assert entry.checked
        assert entry.used_by


@pytest.mark.parametrize("name", KNOWN)
def test_where_the_header_holds_what(name: str) -> None:
    framing = parse_feed(name)
    big, sequence, count, scope, epoch, flag, time, size = KNOWN[name]

    def pair(field: str) -> tuple[int, int] | None:
        width = getattr(framing, f"{field}_width")
        return (getattr(framing, f"{field}_offset"), width) if width else None

    assert framing.big_endian == big
    assert (pair("sequence"), pair("count")) == (sequence, count)
    assert (pair("scope"), pair("epoch"), pair("size")) == (scope, epoch, size)
    assert (framing.flag_offset if framing.flag_width else None) == flag
    assert ((framing.time_offset, framing.time_kind) if framing.time_kind else None) == time


def accounted(name: str) -> set[int]:
    return set(range(256)) - parse_feed(name).flag_ignored


def test_which_flags_are_accounted() -> None:
    assert accounted("nyse_xdp_pillar") == {1, 10, 11, 12}
    assert parse_feed("nyse_xdp_pillar").flag_resets == {12}
    assert accounted("opra_obi") == accounted("cta_cqs_cts") == set(range(256)) - {ord("V")}
    assert accounted("memx_memoir") == {2}
    assert parse_feed("eurex_eobi").flag_resets == {1}
    assert accounted("miax_mach") == {3}
    assert parse_feed("iex_tp").size_excludes == 40
    assert parse_feed("moldudp64").end_count == 0xFFFF


# ------------------------------------------------------------------------------------------------- headers made by hand


def test_a_session_is_an_epoch() -> None:
    framing = parse_feed("moldudp64")
    for count, read in ((3, 3), (0, 0), (0xFFFF, 0)):
        numbered = read_number(framing, b"20240102AB" + struct.pack(">QH", 77, count))
        assert numbered is not None
        assert (numbered.epoch, numbered.sequence, numbered.count, numbered.scope) == (b"20240102AB", 77, read, b"")
    with pytest.raises(Unread):
        read_number(framing, bytes(19))


def test_high_bits_and_restarts_share_a_byte() -> None:
    framing = parse_feed("euronext_optiq_mdg")
    header = struct.pack("<QIHH", 1_700_000_000_000_000_000, 5, 0x0001 | 3 << 1 | 6 << 4 | 0x0200, 9)
    numbered = read_number(framing, header)
    assert numbered is not None
    assert numbered.sequence == 6 << 32 | 5
    assert numbered.epoch == bytes([3 << 1])
    assert numbered.scope == b"\x09\0"
    assert numbered.time_ns == 1_700_000_000_000_000_000
    compressed = read_number(framing, header[:12] + bytes([header[12] ^ 1, header[13]]) + header[14:])
    assert compressed == numbered


def test_a_segment_and_its_partition_are_a_scope() -> None:
    framing = parse_feed("eurex_eobi")
    header = struct.pack("<HHIIiBBBxIQ", 32, 13005, 0xFFFFFFFF, 41, -5, 7, 1, 1, 0, 1_700_000_000_000_000_000)
    numbered = read_number(framing, header)
    assert numbered is not None
    assert (numbered.sequence, numbered.count, numbered.reset) == (41, 1, True)
    assert numbered.scope == struct.pack("<iB", -5, 7)


def test_what_is_sent_again_is_not_accounted() -> None:
    framing = parse_feed("nyse_xdp_pillar")
    for flag in range(256):
        numbered = read_number(framing, struct.pack("<HBBIII", 16, flag, 2, 9, 1_700_000_000, 5))
        assert (numbered is None) == (flag not in (1, 10, 11, 12))
        if numbered is not None:
            assert numbered.reset == (flag == 12)
            assert numbered.time_ns == 1_700_000_000 * 10**9 + 5


def test_a_short_heartbeat_is_not_unread() -> None:
    framing = parse_feed("memx_memoir")
    assert read_number(framing, struct.pack(">BBQQ", 0, 18, 1, 5)) is None
    with pytest.raises(Unread):
        read_number(framing, struct.pack(">BBQQ", 2, 20, 1, 5))


def test_a_chain_is_counted() -> None:
    framing = parse_feed("miax_mach")
    packets = [struct.pack("<QHBB", 100 + n, 12 + n, 3, 1) + bytes(n) for n in range(4)]
    numbered = read_number(framing, b"".join(packets))
    assert numbered is not None
    assert (numbered.sequence, numbered.count) == (100, 4)
    for broken in (0, 9, 13, 65535):
        with pytest.raises(Unread):
            read_number(framing, packets[0] + struct.pack("<QHBB", 101, broken, 3, 1))


def test_zero_is_no_number() -> None:
    header = struct.pack("<HBBI", 8, 1, 1, 0)
    assert read_number(parse_feed("cboe_pitch"), header) is None
    assert read_number(parse_feed("lse_mitch_unit"), header) is not None


def test_sizes_and_times() -> None:
    iex = struct.pack("<BxHIIHHQQQ", 1, 0x8004, 1, 2, 5, 1, 0, 9, 1_700_000_000_000_000_000) + bytes(5)
    assert said_size(parse_feed("iex_tp"), iex) == len(iex) == 45
    assert said_size(parse_feed("moldudp64"), bytes(20)) is None
    ice = read_number(parse_feed("ice_impact"), struct.pack(">HIHQ", 7, 9, 1, 1_700_000_000_123))
    assert ice is not None
    assert (ice.epoch, ice.time_ns) == (b"\0\x07", 1_700_000_000_123_000_000)


@given(st.sampled_from(FOLLOWED), st.binary(max_size=200))
def test_no_datagram_is_more_than_unread(name: str, payload: bytes) -> None:
    try:
        numbered = read_number(parse_feed(name), payload)
    except Unread:
        return
    assert numbered is None or 0 <= numbered.sequence < 1 << 64


# ------------------------------------------------------------------------------------------------------- names of feeds


def test_names() -> None:
    assert parse_feed("cboe_pitch:30501") == parse_feed("cboe_pitch_sequenced_unit:30501")
    assert parse_feed("cboe_pitch:30501").port == 30501
    assert set(feed_words()) == {*FOLLOWED, "list", "infer"}
    assert find_format("nosuch", shipped()) is None
    assert split_port("infer") == ("infer", 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("soupbintcp", "sequence is implicit in a TCP stream; the ring does not reassemble TCP"),
        ("cme_tcp_conflated:1", "the ring does not reassemble TCP"),
        ("moldudp46", "did you mean moldudp64?"),
        ("zzz", "known: moldudp64, "),
        ("a\x1b[7m", "\\x1b"),
        ("moldudp64:70000", "is no UDP port"),
        ("moldudp64:\x1b[7m", "\\x1b"),
    ],
)
def test_what_cannot_be_followed(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_feed(text)
    assert said in str(caught.value)
    assert "\x1b" not in str(caught.value)


# ------------------------------------------------------------------------------------------------- framings and tables

SOUND = 'endian = "big"\nsequence = { at = 0, bytes = 8 }\n'


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sequence_width": 5}, "sequence_width is 5, not one of 4, 8"),
        ({"scope_width": 9}, "scope_width is 9"),
        ({"epoch_width": 17}, "epoch_width is 17"),
        ({"flag_width": 2}, "flag_width is 2"),
        ({"chain_width": 3}, "chain_width is 3"),
        ({"size_width": 8}, "size_width is 8"),
        ({"time_kind": 4}, "time_kind is 4"),
        ({"time_offset": 65536}, "time_offset is 65536, an offset that no datagram has"),
        ({"epoch_offset": -1}, "epoch_offset is -1"),
        ({"size_excludes": 70000}, "size_excludes is 70000"),
        ({"end_count": 1 << 32}, "end_count is 4294967296"),
        ({"flag_width": 1, "flag_ignored": frozenset({256})}, "flag_ignored holds what no byte can be"),
        ({"flag_resets": frozenset({1})}, "flag values without a flag"),
        ({"flag_width": 1, "flag_resets": frozenset({1}), "flag_ignored": frozenset({1})}, "both ignored and resets: [1]"),
        ({"high_mask": 0x70}, "four bytes"),
        ({"sequence_width": 4, "high_mask": 0x50}, "not adjacent bits"),
        ({"sequence_width": 4, "high_mask": 256}, "not adjacent bits"),
        ({"epoch_width": 2, "epoch_mask": 14}, "epoch of one byte"),
        ({"chain_width": 2, "count_width": 2}, "a chain is its own count"),
    ],
)
def test_what_is_no_framing(fields: dict[str, object], said: str) -> None:
    sound = {"name": "x", "sequence_offset": 0, "sequence_width": 8, "big_endian": True}
    with pytest.raises(ValueError, match="no such framing") as caught:
        Framing(**(sound | fields))  # type: ignore[arg-type]
    assert said in str(caught.value)


def test_all_faults_of_a_framing_are_said() -> None:
    with pytest.raises(ValueError, match=r"sequence_width is 3.*count_width is 3.*port is 99999"):
        Framing("x", 0, 3, big_endian=True, count_width=3, port=99999)


def test_a_table_with_everything() -> None:
    text = """
        used_by = "us"
        checked = ["memory"]
        aliases = ["ours"]
        note = "nothing"
        endian = "little"
        sequence = { at = 4, bytes = 4 }
        count = { at = 2, bytes = 1, end = 255 }
        scope = { at = 3, bytes = 1, is = "unit" }
        epoch = { at = 12, bytes = 1, mask = 0x0E, is = "session" }
        flag = { at = 13, is = "kind", ignore = [1, 2], reset = [3] }
        high = { at = 12, mask = 0x70 }
        time = { at = 16, unit = "s+ns" }
        size = { at = 0, bytes = 2, excludes = 8 }
        zero_unsequenced = true
    """
    checker = Checker("x.toml")
    entry = read_format(checker, "house", tomllib.loads(text))
    assert checker.faults == []
    assert entry == Format(
        name="house",
        framing=Framing(
            name="house",
            sequence_offset=4,
            sequence_width=4,
            big_endian=False,
            count_offset=2,
            count_width=1,
            end_count=255,
            scope_offset=3,
            scope_width=1,
            epoch_offset=12,
            epoch_width=1,
            epoch_mask=0x0E,
            flag_offset=13,
            flag_width=1,
            flag_ignored=frozenset({1, 2}),
            flag_resets=frozenset({3}),
            high_offset=12,
            high_mask=0x70,
            zero_unsequenced=True,
            time_offset=16,
            time_kind=SECONDS_AND_NANOSECONDS,
            size_width=2,
            size_excludes=8,
        ),
        used_by="us",
        checked=("memory",),
        aliases=("ours",),
        scope="unit",
        epoch="session",
        flag="kind",
        note="nothing",
    )


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("", ".endian", "missing"),
        ("", ".sequence", "missing"),
        ('endian = "middle"', ".endian", "neither big nor little"),
        ('endian = ["big"]', ".endian", "neither big nor little"),
        ("sequence = 3", ".sequence", "not a table"),
        ("sequence = { at = 0 }", ".sequence.bytes", "missing"),
        ("sequence = { at = 0, bytes = 3 }", ".sequence.bytes", "not one of 4, 8"),
        ("sequence = { at = true, bytes = 4 }", ".sequence.at", "not a number from 0 to 65535"),
        ("sequence = { at = -1, bytes = 4 }", ".sequence.at", "not a number from 0 to 65535"),
        ("sequence = { at = 1.0, bytes = 4 }", ".sequence.at", "not a number"),
        (SOUND + "sequense = 1", ".sequense", "did you mean sequence?"),
        (SOUND + "count = { at = 0, bites = 2 }", ".count.bites", "did you mean bytes?"),
        (SOUND + "count = { at = 0, bytes = 2, end = -1 }", ".count.end", "not a number"),
        (SOUND + "scope = { at = 0, bytes = 9 }", ".scope.bytes", "from 1 to 8"),
        (SOUND + 'scope = { at = 0, bytes = 1, is = "\\u001b" }', ".scope.is", "not a line of text"),
        (SOUND + "epoch = { at = 0, bytes = 2, mask = 1 }", "", "epoch of one byte"),
        (SOUND + "flag = { at = 0 }", ".flag", "no values"),
        (SOUND + "flag = { at = 0, ignore = 3 }", ".flag.ignore", "not a list"),
        (SOUND + "flag = { at = 0, ignore = [256] }", ".flag.ignore", "from 0 to 255"),
        (SOUND + "flag = { at = 0, ignore = [1], only = [2] }", ".flag", "says only and ignore"),
        (SOUND + "flag = { at = 0, only = [1], reset = [2] }", "", "both ignored and resets"),
        (SOUND + "high = { at = 0, mask = 1 }", "", "four bytes"),
        (SOUND + 'time = { at = 0, unit = "us" }', ".time.unit", "no unit of time"),
        (SOUND + "time = { at = 0, unit = [] }", ".time.unit", "no unit of time"),
        (SOUND + "zero_unsequenced = 1", ".zero_unsequenced", "neither true nor false"),
        (SOUND + 'checked = ["hearsay"]', ".checked.hearsay", "known: captures"),
        (SOUND + 'aliases = ["No"]', ".aliases", "not a list of names"),
        (SOUND + 'transport = "sctp"', ".transport", 'neither "udp" nor "tcp"'),
        ('transport = "tcp"', ".refusal", "missing"),
        (SOUND + 'refusal = "no"', ".refusal", "belongs to a format"),
    ],
)
def test_faults_of_a_table(text: str, where: str, said: str) -> None:
    with pytest.raises(FeedFileError) as caught:
        read_formats(f"[format.house]\n{text}", "x.toml")
    found = [fault for fault in caught.value.faults if fault.where == f"x.toml: format.house{where}"]
    assert any(said in str(fault) for fault in found), caught.value


def test_faults_of_a_file_of_formats() -> None:
    with pytest.raises(FeedFileError, match="not TOML"):
        read_formats("[format", "x.toml")
    with pytest.raises(FeedFileError, match="formats: unknown table"):
        read_formats("[formats.a]", "x.toml")
    with pytest.raises(FeedFileError, match="b names two formats"):
        read_formats(f'[format.a]\naliases = ["b"]\n{SOUND}[format.b]\n{SOUND}', "x.toml")
    with pytest.raises(FeedFileError, match="not a name"):
        read_formats(f"[format.Big]\n{SOUND}", "x.toml")


def test_the_docstring_has_every_key() -> None:
    import ingest.feeds.format_table as module

    words = {"aliases", "used_by", "checked", "note", "transport", "refusal"}  # of the shipped file alone
    for key in set(KEYS) - words:
        assert f"\n    {key} = " in str(module.__doc__), key


# ------------------------------------------------------------------------------------------------------------ the document


def test_the_table_of_the_document_is_up_to_date() -> None:
    run = subprocess.run([sys.executable, ROOT / "tools" / "feedtable", "-"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    text = (ROOT / "docs" / "feeds.md").read_text(encoding="utf-8")
    assert text == run.stdout, "run tools/feedtable"
    for name in shipped():
        assert f"| `{name}`" in text
