"""The language of filters: what may be written, and what is said of the rest."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.rings.filter import MAX_CHARACTERS, Address, And, Cast, FilterError, Not, Or, Port, Protocol, Vlan, parse_filter
from tuner.host.text import printable

UDP, TCP, IP6 = Protocol("udp"), Protocol("tcp"), Protocol("ip6")
FEED = ipaddress.ip_network("239.1.1.1")
FEED6 = ipaddress.ip_network("ff15::1")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("udp", UDP),
        ("udp dst 239.1.1.1:30001", And((UDP, And((Address("dst", FEED), Port("dst", 30001, 30001)))))),
        ("239.1.1.1", Address("either", FEED)),
        ("src 10.0.0.0/8", Address("src", ipaddress.ip_network("10.0.0.0/8"))),
        ("ff15::1", Address("either", FEED6)),
        ("dst ff15::/16", Address("dst", ipaddress.ip_network("ff15::/16"))),
        ("[ff15::1]", Address("either", FEED6)),
        ("src [ff15::1]:5-9", And((Address("src", FEED6), Port("src", 5, 9)))),
        (
            "239.1.1.1:5",
            Or((And((Address("src", FEED), Port("src", 5, 5))), And((Address("dst", FEED), Port("dst", 5, 5))))),
        ),
        ("port 1-65535", Port("either", 1, 65535)),
        ("dst port 0", Port("dst", 0, 0)),
        ("vlan", Vlan(None)),
        ("vlan 4095 ip6", And((Vlan(4095), IP6))),
        ("vlan 0 port 7", And((Vlan(0), Port("either", 7, 7)))),
        ("multicast or broadcast", Or((Cast("multicast"), Cast("broadcast")))),
        ("ip6 udp port 5", And((IP6, UDP, Port("either", 5, 5)))),
        ("not udp port 5", Not(And((UDP, Port("either", 5, 5))))),
        ("udp not port 5", And((UDP, Not(Port("either", 5, 5))))),
        ("!!udp", Not(Not(UDP))),
        ("udp or tcp and multicast", Or((UDP, And((TCP, Cast("multicast")))))),
        ("(udp||tcp)&&multicast", And((Or((UDP, TCP)), Cast("multicast")))),
        ("udp(port 5)", And((UDP, Port("either", 5, 5)))),
        (" \t udp\n\r and  tcp ", And((UDP, TCP))),
    ],
)
def test_what_may_be_written(text, meaning):
    assert parse_filter(text).test == meaning


def is_safe(text: str) -> bool:
    """Whether a terminal may have it, on a line or two."""
    return printable(text, 400) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at its end: expected a protocol, an address"),
        ("   ", "at its end"),
        ("udp dts 239.1.1.1", "at character 5: expected .* found 'dts'; did you mean dst?"),
        ("UDP", "at character 1: .* did you mean udp?"),
        ("udpp", "did you mean udp?"),
        ("multicats", "did you mean multicast?"),
        ("host 10.0.0.1", "found 'host'; an address stands alone"),
        ("dst host 10.0.0.1", "at character 5: expected an address or port after dst, found 'host'; an address stands alone"),
        ("net 10.0.0.0/8", "a network stands alone"),
        ("portrange 1-5", "write: port 30001-30010"),
        ("icmp6", "write: ip6 icmp"),
        ("ipv6", "did you mean ip6?"),
        ("udp & tcp", "at character 5: .* did you mean &&?"),
        ("30001", "did you mean port 30001?"),
        ("udp 30001", "did you mean port 30001?"),
        ("udp and", "at its end: expected a protocol"),
        ("and udp", "at character 1: expected a protocol.* found 'and'"),
        ("udp or or tcp", "at character 8"),
        ("()", "at character 2: .* found '\\)'"),
        ("(udp", "at its end: expected '\\)', 'and' or 'or'"),
        ("udp)", "at character 4: expected 'and', 'or', or the end, found '\\)'"),
        ("port 5 udp", "at character 8: expected 'and', 'or', or the end, found 'udp'"),
        ("src 10.0.0.1 src 10.0.0.2", "at character 14: expected 'and', 'or'"),
        ("dst", "at its end: expected an address or port after dst"),
        ("src dst 10.0.0.1", "at character 5: expected an address or port after src, found 'dst'"),
        ("src udp", "found 'udp'"),
        ("port", "at its end: expected a port or a range of ports"),
        ("port or", "at character 6: expected a port"),
        ("port 70000", "at character 6: '70000' is no port: 0 to 65535"),
        ("port -5", "'-5' is no port"),
        ("port 5-", "'5-' is no port"),
        ("port http", "'http' is no port"),
        ("port ٣", "is no port"),
        ("port 9-5", "the wrong way round; did you mean 5-9?"),
        ("vlan 4096", "at character 6: '4096' is no VLAN ID: 0 to 4095"),
        ("vlan 99999999999999999999", "is no VLAN ID"),
        ("10.0.0.256", "'10.0.0.256' is no address"),
        ("10.0.0", "'10.0.0' is no address"),
        ("10.0.0.01", "is no address"),
        ("10/8", "'10/8' is no address"),
        ("10.0.0.0/33", "is no address"),
        ("10.0.0.0/255.0.0.0", "is no address"),
        ("10.0.0.1/8", "10.0.0.1/8 has bits behind its prefix; did you mean 10.0.0.0/8?"),
        ("2001:db8::1/32", "did you mean 2001:db8::/32?"),
        ("feed.example.com", r"'feed.example.com' is no address \(names are not looked up\)"),
        ("localhost:53", "names are not looked up"),
        ("fe80::1%eth0", "is no address"),
        ("239.1.1.1:", "'' is no port"),
        ("239.1.1.1:x", "'x' is no port"),
        ("[ff15::1", "expected \\[ADDRESS6\\]:PORT"),
        ("[ff15::1]30001", "expected \\[ADDRESS6\\]:PORT"),
        ("[10.0.0.1]:5", "expected \\[ADDRESS6\\]:PORT"),
        ("10.0.0.0/8:53", "a network has no port of its own; write: 10.0.0.0/8 and port N"),
        ("[ff15::/16]:53", "write: ff15::/16 and port N"),
        ("udp \x1b31m", r"found '\\x1b31m'"),
        ("not " * 65 + "udp", "more than 64 parentheses and nots within one another"),
        ("(" * 65 + "udp" + ")" * 65, "at character 65: more than 64"),
        ("udp " * 5000, f"a filter of 20000 characters; at most {MAX_CHARACTERS}"),
    ],
)
def test_faults_name_the_place_and_what_was_expected(text, said):
    with pytest.raises(FilterError, match=said) as caught:
        parse_filter(text)
    assert is_safe(str(caught.value))


def test_the_deepest_that_may_be_written():
    assert parse_filter("(" * 63 + "udp" + ")" * 63).test == UDP
    assert parse_filter("!" * 63 + "udp").test != UDP


def test_the_text_is_kept_as_one_printable_line():
    assert parse_filter("udp\n  dst\t239.1.1.1").text == "udp dst 239.1.1.1"


WORDS = ["udp", "ip6", "dst", "src", "port", "vlan", "5", "10.0.0.1", "10.0.0.0/8", "[::1]:5", "::", "(", ")", "!", "and", "||"]
WORDS += [
    "not",
    "1-5",
    "multicast",
    "[",
    "]:",
    "&",
    "\x1b[2J",
    "\udcff",
    "\u2028",
    "10.0.0.1:",
    "²",
    "port5",
    "/",
    ":",
    "%",
    ".",
]
rubbish = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=20).map("".join),
)


@settings(max_examples=500, deadline=None)
@given(rubbish)
def test_rubbish_is_refused_in_words_and_never_otherwise(text):
    try:
        wanted = parse_filter(text)
    except FilterError as error:
        assert is_safe(str(error))  # noqa: PT017
    else:
        assert is_safe(wanted.text)
        assert parse_filter(wanted.text) == wanted
