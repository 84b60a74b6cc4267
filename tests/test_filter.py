"""The filter language: what each form means, what is refused with which words, and that no text breaks it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.host.text import printable
from ui.filter import LONGEST, FilterError, parse

NVME = {
    "irq": 142, "name": "nvme3q38", "device": "0000:81:00.0", "queue": 38, "rate": 1.5, "core": "37", "allowed": "8-63,68-127",
    "policy": "BREAK", "managed": True, "node": 0, "total": 12345,
}  # fmt: skip
LOCAL = {"irq": "LOC", "name": "Local timer interrupts", "rate": 8100.0, "core": "0-7,64", "policy": "info", "node": None}


@pytest.mark.parametrize(
    ("text", "nvme", "local"),
    [
        ("", True, True),
        ("nvme", True, False),
        ("NVME3", True, False),
        ("nvme local", False, False),  # terms are joined by and
        ("nvme or local", True, True),
        ("!nvme", False, True),
        ("!!nvme", True, False),
        ("142", True, False),
        ("14", False, False),  # a number is whole
        ("1.5", False, False),  # figures with a fraction are no words
        ("8100", False, False),
        ("core:37", True, False),
        ("core:3", False, True),  # 0-7 has it; 37 is another one
        ("cpu:8-63", True, False),
        ("cpus:60-70", False, True),
        ("core:1-2,64", False, True),
        ("core:all", True, True),
        ("core:30-38,36", True, False),  # ranges within ranges
        ("core:8-", False, False),  # being typed: 8
        ("irq:142", True, False),
        ("irq:100-150", True, False),
        ("irq:lo", False, True),
        ("irq=loc", False, True),
        ("irq=lo", False, False),
        ("irq!=loc", True, False),
        ("queue:30-40", True, False),
        ("node:0", True, False),
        ("allowed:100", True, False),
        ("requested:64", False, False),
        ("policy:break", True, False),
        ("policy:bre", True, False),
        ("policy=bre", False, False),
        ("verdict:info", False, True),
        ("rate>10", False, True),
        ("rate>8k", False, True),
        ("rate>8.1k", False, False),
        ("rate>=8.1k", False, True),
        ("per_s<2", True, False),
        ("rate<=1.5", True, False),
        ("rate>1M", False, False),
        ("rate<50%", True, False),
        ("rate=1.5", True, False),
        ("total>12k", True, False),
        ("core>50", False, True),
        ("core<37", False, True),
        ("managed:yes", True, False),
        ("managed=no", False, False),
        ("nothing:here", False, False),
        ("!nothing:here", True, True),
        ("nothing>1", False, False),
        ('name:"local timer"', False, True),
        ("'local timer'", False, True),
        ('"0000:81:00.0"', True, False),
        ("0000:81:00.0", True, False),  # no key begins with a digit
        ("(nvme or local) rate>10", False, True),
        ("!(nvme or local)", False, False),
        ("nvme or local rate>9k", True, False),
        ("! nvme", False, True),
        ('"or"', False, False),
        ('"!" or "("', False, False),
        ("local) or nvme", True, False),  # a parenthesis without its other is a letter
    ],
)
def test_what_it_means(text, nvme, local):
    found = parse(text)
    assert found.text == text
    assert (found.matches(NVME), found.matches(LOCAL)) == (nvme, local)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rate>abc", "at character 1, rate>abc: 'abc' is no number; as 10, 2.5k, 1M, 91%"),
        ("eth2 rate>", "at character 6, rate>: rate> what?"),
        ("core:", "core: what?"),
        ("core:8x", "'8x' is no list of numbers; as 8, 8-63, 0-3,8"),
        ("core:9-3", "no list of numbers"),
        ('eth2 "ab', 'at character 6, "ab: " is not closed'),
        ("(eth2", "(: it is not closed"),
        ("eth2 or", "a term is missing here"),
        ("or eth2", "a term is missing here"),
        ("()", "a term is missing here"),
        ("eth2 !", "!: a term belongs behind it"),
        ("!" * 40 + "x", "in each other"),
        ("x" * 300, "300 characters"),
        ("rate>\x1b[31m", "\\x1b"),
    ],
)
def test_what_is_refused_says_what_and_where(text, words):
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert printable(str(caught.value), 1000) == str(caught.value)


def test_an_unknown_key_is_named_with_what_was_meant():
    keys = ("core", "rate", "policy")
    with pytest.raises(FilterError, match="no polcy here: did you mean policy"):
        parse("eth2 polcy:break", keys)
    with pytest.raises(FilterError, match="known: core, policy, rate"):
        parse("zzzzzz:1", keys)
    assert parse("cpu:37 verdict:break", keys).matches(NVME)  # aliases of what is known
    assert parse('"polcy:break" or nvme', keys).matches(NVME)


@pytest.mark.parametrize(
    "text",
    [
        "core:" + ",".join(str(n) for n in range(0, 140, 2)),
        "core:0-999999999",
        "(" * 16 + "a" + ")" * 16,
        "a " * 128,
        ("x:" + "1," * 200)[:LONGEST],
        "n" * 100 + "!=1",
        "rate>" + "9" * 18 + "g",
    ],
)
def test_nothing_that_is_short_enough_is_slow(text):
    rows = [NVME | {"core": ",".join(str(n) for n in range(1, 512, 2)), "irq": n} for n in range(500)]
    begun = time.process_time()
    found = parse(text)
    for row in rows:
        found.matches(row)
    assert time.process_time() - begun < 1.0


TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            ["(", ")", "!", "or", "core:", "8-63", "rate>", "1k", '"', "'", "irq=", "²", "nvme", " ", ":", ",", "-", "9" * 12]
        ),
        max_size=30,
    ).map("".join),
)
VALUES = st.dictionaries(
    st.sampled_from(["core", "rate", "irq", "name", "x"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just("0-3,8")),
)


@given(TEXTS, VALUES, st.sampled_from([(), ("core", "rate")]))
def test_no_text_and_no_row_breaks_it(text, values, keys):
    try:
        found = parse(text, keys)
    except FilterError as error:
        words = str(error)
    else:
        assert found.matches(values) in (True, False)
        return
    assert printable(words, 1000) == words
