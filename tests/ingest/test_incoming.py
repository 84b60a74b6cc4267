"""Samples from a pipe: cut into pieces anywhere, mixed with what is none, and without end."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_sequences import blocks_of, tick

from ingest.blocks import RecordingError, deflate, head, header_of, pack
from ingest.changes import Encoder
from ingest.incoming import Incoming
from ingest.rows import MAX_LINE

SAMPLES = [tick(number) for number in range(1, 10)]


def encoded(kind: str) -> bytes:
    if kind == "whole":
        return b"".join(sample.to_json().encode() + b"\n" for sample in SAMPLES)
    encoder = Encoder(4)
    if kind == "changes":
        return b"".join(encoder.line(sample).encode() + b"\n" for sample in SAMPLES)
    blocks = (pack(deflate(line), round(time_s * 1e9), whole) for time_s, whole, line in blocks_of(SAMPLES))
    return head(header_of(SAMPLES[0])) + b"".join(blocks)


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(["whole", "changes", "recording"]), cuts=st.lists(st.integers(1, 700), min_size=1))
def test_it_comes_in_pieces(kind, cuts):
    data, incoming, found, at = encoded(kind), Incoming(), [], 0
    while at < len(data):
        size = cuts[len(found) % len(cuts)]
        found += incoming.feed(data[at : at + size])
        at += size
    assert [arrived.sample for arrived in found] == SAMPLES
    assert (incoming.refused, incoming.left) == (0, "")
    assert [arrived.whole for arrived in found] == [kind == "whole" or at % 4 == 0 for at in range(len(SAMPLES))]


def test_what_arrived_goes_on_as_it_came():
    """What keeps the past of a stream needs the lines, not the samples."""
    data = encoded("changes")
    assert b"".join(arrived.line + b"\n" for arrived in Incoming().feed(data)) == data


@pytest.mark.parametrize(
    "noise", [b"Welcome to host\r\n", b"\n\n", b"\x00\xff\x1b[2J\n", b'{"schema":"quietcore/2"}\n', b"{}\n"]
)
def test_a_greeting_costs_nothing(noise):
    incoming = Incoming()
    found = list(incoming.feed(noise + encoded("changes")))
    assert [arrived.sample for arrived in found] == SAMPLES
    assert incoming.refused == (noise != b"\n\n")
    assert "\x1b" not in incoming.why


def test_a_lost_line_costs_up_to_the_next_whole_one():
    lines = encoded("changes").splitlines(keepends=True)
    incoming = Incoming()
    found = list(incoming.feed(b"".join(lines[:2] + lines[3:])))
    assert [arrived.sample for arrived in found] == SAMPLES[:2] + SAMPLES[4:]
    assert (incoming.refused, "a whole line is awaited" in incoming.why) == (1, True)


def test_a_line_without_end_fills_no_memory():
    incoming = Incoming()
    for _ in range(3 * (MAX_LINE >> 20)):
        assert list(incoming.feed(b"x" * (1 << 20))) == []
    assert incoming.refused == 1
    assert len(incoming._rest) <= MAX_LINE
    assert "left out" in incoming.left
    assert [arrived.sample for arrived in incoming.feed(b"\n" + encoded("whole"))] == SAMPLES


def test_what_is_cut_at_the_end_is_told():
    for kind in ("changes", "recording"):
        incoming = Incoming()
        found = list(incoming.feed(encoded(kind)[:-5]))
        assert [arrived.sample for arrived in found] == SAMPLES[:-1]
        assert "it ends within a sample" in incoming.left


def test_a_damaged_recording_is_told():
    data = bytearray(encoded("recording"))
    data[len(data) // 2] ^= 1
    incoming = Incoming()
    assert 4 <= len(list(incoming.feed(bytes(data)))) < len(SAMPLES)
    assert "the recording is damaged" in incoming.why


def test_a_recording_of_another_version_is_refused():
    first = struct.pack("<8sII", head(header_of(SAMPLES[0]))[:8], 2, 0)
    with pytest.raises(RecordingError, match="version 2"):
        list(Incoming().feed(first + struct.pack("<I", zlib.crc32(first))))
