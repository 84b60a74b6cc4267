"""What is shown holds nothing that a terminal would obey."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.host.text import is_number, printable


@given(st.text())
def test_no_control_character_is_left(text):
    for character in printable(text):
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp"), hex(ord(character))
        assert unicodedata.bidirectional(character) not in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@given(st.binary(max_size=40))
def test_any_bytes_can_be_shown_and_printed(raw):
    printable(raw.decode("utf-8", "surrogateescape")).encode()


@given(st.text(max_size=300), st.integers(1, 300))
def test_it_is_never_longer_than_the_limit(text, limit):
    assert len(printable(text, limit)) <= limit


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "S")), max_size=100))
def test_plain_text_stays_as_it_is(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("eth0", "eth0"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb\tc", "a\\x0d\\x0ab\\x09c"),
        ("\x7f\x9b31m", "\\x7f\\x9b31m"),
        ("\u202eevil", "\\u202eevil"),
        ("\u2028", "\\u2028"),
        (b"eth\xff".decode("utf-8", "surrogateescape"), "eth\\xff"),
        ("\ud800", "\\ud800"),
        ("größe", "größe"),
    ],
)
def test_what_is_shown_of(text, shown):
    assert printable(text) == shown


def test_a_cut_is_marked():
    assert printable("x" * 201) == "x" * 199 + "…"
    assert printable("x" * 200) == "x" * 200


@given(st.text(max_size=12))
def test_a_number_is_what_int_takes(text):
    if is_number(text):
        assert str(int(text)) == text.lstrip("0") or int(text) == 0


@pytest.mark.parametrize("text", ["", "²", "٣", "-1", "+1", "1_0", " 1", "1\n", "1234567890"])
def test_what_is_no_number(text):
    assert not is_number(text)
