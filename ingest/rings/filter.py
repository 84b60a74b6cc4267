"""The language of packet filters: which packets a ring wants.

    udp dst 239.1.1.1:30001

Grammar: an expression is terms joined by ``and`` (``&&``, binds tighter) and ``or`` (``||``). A term is ``not`` (``!``) and a
term, an expression in parentheses, or one of

    ip  ip6  arp  udp  tcp  icmp  igmp  vlan [ID]                     a protocol; ``icmp`` is that of IPv4 and of IPv6
    [src|dst] ADDRESS | ADDRESS/PREFIX | ADDRESS:PORTS | [ADDRESS6]:PORTS
    [src|dst] port PORTS                                              of UDP or TCP; PORTS is N or N-M
    multicast  broadcast

A protocol and the term that follows it mean both: ``udp dst 239.1.1.1:30001`` is ``udp and dst 239.1.1.1:30001``, and
``not udp port 53`` is ``not (udp and port 53)``. An address without ``src`` or ``dst`` is either. What a test asks about and a
packet does not have (the ports of a later fragment, a header cut short) makes the test false, never the packet unwanted.
"""

import difflib
import ipaddress
import re
from dataclasses import dataclass
from typing import Literal, NoReturn

from tuner.host.text import printable

MAX_CHARACTERS = 16384
_NESTING = 64
_TOKEN = re.compile(r"[ \t\r\n]*(&&|\|\||[()!]|[^ \t\r\n()!&|]+|.)", re.DOTALL)
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

PROTOCOLS = ("ip", "ip6", "arp", "udp", "tcp", "icmp", "igmp")
_KEYWORDS = (*PROTOCOLS, "vlan", "src", "dst", "port", "multicast", "broadcast", "and", "or", "not")
_JOINTS = ("and", "&&", "or", "||", ")")
_TERM = "a protocol, an address, src, dst, port, vlan, multicast, broadcast, not or '('"
# words of other filter languages, and what stands for them here
_ELSEWHERE = {
    "host": "an address stands alone: 10.0.0.1, or src 10.0.0.1",
    "net": "a network stands alone: 10.0.0.0/8",
    "portrange": "write: port 30001-30010",
    "icmp6": "icmp is that of both versions; write: ip6 icmp",
    "ip4": "did you mean ip?",
    "ipv4": "did you mean ip?",
    "inet": "did you mean ip?",
    "ipv6": "did you mean ip6?",
    "inet6": "did you mean ip6?",
    "source": "did you mean src?",
    "destination": "did you mean dst?",
    "mcast": "did you mean multicast?",
    "&": "did you mean &&?",
    "|": "did you mean ||?",
}

Side = Literal["src", "dst", "either"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class FilterError(ValueError):
    """An expression that cannot be read or that no packet can match; the text says where and what to write instead."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One of ``PROTOCOLS``, by the packet's own headers."""

    name: str


@dataclass(frozen=True, slots=True)
class Vlan:
    """A tag with this ID, the outer or the next; None: any tag."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Cast:
    """``multicast`` or ``broadcast``: by the link's address or by IP's."""

    kind: Literal["multicast", "broadcast"]


@dataclass(frozen=True, slots=True)
class Address:
    """An address of IP, or of ARP for IPv4, within ``network``."""

    side: Side
    network: Network


@dataclass(frozen=True, slots=True)
class Port:
    """A port of UDP or TCP from ``lowest`` to ``highest``."""

    side: Side
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of ``test``."""

    test: "Test"


@dataclass(frozen=True, slots=True)
class And:
    """All of ``tests``, two or more."""

    tests: "tuple[Test, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """Any of ``tests``, two or more."""

    tests: "tuple[Test, ...]"


Test = Protocol | Vlan | Cast | Address | Port | Not | And | Or


@dataclass(frozen=True, slots=True)
class Filter:
    """An expression as it was written, made printable, and what it means."""

    text: str
    test: Test


def parse_filter(text: str) -> Filter:
    """What ``text`` means.

    Raises:
        FilterError: with the place at fault, counted in characters from 1, and what was expected there.
    """
    if len(text) > MAX_CHARACTERS:
        raise FilterError(f"a filter of {len(text)} characters; at most {MAX_CHARACTERS}")
    return Filter(printable(" ".join(text.split()), MAX_CHARACTERS), _Parser(text).whole())


class _Parser:
    """Recursive descent over one expression; no deeper than ``_NESTING``."""

    def __init__(self, text: str) -> None:
        self._tokens = [(match[1], match.start(1)) for match in _TOKEN.finditer(text.rstrip(" \t\r\n"))]
        self._length = len(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Test:
        test = self._any()
        if self._peek():
            raise self._error("'and', 'or', or the end")
        return test

    def _any(self) -> Test:
        tests = [self._all()]
        while self._take("or", "||"):
            tests.append(self._all())
        return Or(tuple(tests)) if len(tests) > 1 else tests[0]

    def _all(self) -> Test:
        tests = self._term()
        while self._take("and", "&&"):
            tests += self._term()
        return _both(tests)

    def _term(self) -> list[Test]:
        """Protocols and what follows them."""
        if self._depth >= _NESTING:
            self._fail(f"more than {_NESTING} parentheses and nots within one another")
        self._depth += 1
        tests: list[Test] = []
        while self._peek() in PROTOCOLS or self._peek() == "vlan":
            name = self._word()
            tests.append(self._vlan() if name == "vlan" else Protocol(name))
        if not tests or (self._peek() and self._peek() not in _JOINTS):
            tests.append(self._test())
        self._depth -= 1
        return tests

    def _test(self) -> Test:
        if self._take("("):
            test = self._any()
            if not self._take(")"):
                raise self._error("')', 'and' or 'or'")
            return test
        if self._take("not", "!"):
            return Not(_both(self._term()))
        if word := self._take("multicast", "broadcast"):
            return Cast("multicast" if word == "multicast" else "broadcast")
        if side := self._take("src", "dst"):
            return self._end("src" if side == "src" else "dst")
        return self._end("either")

    def _end(self, side: Side) -> Test:
        """``port`` and ports, or an address; behind ``src`` or ``dst``, or alone."""
        if self._take("port"):
            return Port(side, *self._ports(self._word("a port or a range of ports, as port 30001-30010")))
        word = self._peek()
        if word in _KEYWORDS or not re.search(r"[.:/\[]", word):
            raise self._error(_TERM if side == "either" else f"an address or port after {side}")
        self._next += 1
        return self._address(side, word)

    def _vlan(self) -> Vlan:
        word = self._peek()
        if not (word.isascii() and word.isdigit()):
            return Vlan(None)
        if len(word) > 4 or int(word) > 4095:
            self._fail(f"'{printable(word, 40)}' is no VLAN ID: 0 to 4095")
        self._next += 1
        return Vlan(int(word))

    def _address(self, side: Side, word: str) -> Test:
        if word.startswith("["):
            address, bracket, rest = word[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")) or ":" not in address:
                self._fail("expected [ADDRESS6]:PORT, as [ff15::1]:30001", back=True)
            colon, ports = rest[:1], rest[1:]
        elif word.count(":") == 1:
            address, colon, ports = word.partition(":")
        else:
            address, colon, ports = word, "", ""
        network = self._network(address, word)
        if not colon:
            return Address(side, network)
        lowest, highest = self._ports(ports)
        ends: tuple[Side, ...] = ("src", "dst") if side == "either" else (side,)
        tests: list[Test] = [And((Address(end, network), Port(end, lowest, highest))) for end in ends]
        return Or(tuple(tests)) if len(tests) > 1 else tests[0]

    def _network(self, text: str, word: str) -> Network:
        address, slash, prefix = text.partition("/")
        if slash and (":" not in text or word.startswith("[")) and ":" in word:
            self._fail(f"a network has no port of its own; write: {printable(text, 50)} and port N", back=True)
        try:
            if "%" in address or (slash and not re.fullmatch("[0-9]{1,3}", prefix)):
                raise ValueError
            interface = ipaddress.ip_interface(text)
        except ValueError:
            hint = "names are not looked up" if re.search("[g-zG-Z]", address) else "as 239.1.1.1, 10.0.0.0/8 or ff15::1"
            self._fail(f"'{printable(text, 50)}' is no address ({hint})", back=True)
        if interface.ip != interface.network.network_address:
            self._fail(f"{text} has bits behind its prefix; did you mean {interface.network}?", back=True)
        return interface.network

    def _ports(self, text: str) -> tuple[int, int]:
        match = _PORTS.fullmatch(text)
        if match is None or max(ends := (int(match[1]), int(match[2] or match[1]))) > 65535:
            self._fail(f"'{printable(text, 40)}' is no port: 0 to 65535, or a range as 30001-30010", back=True)
        if ends[0] > ends[1]:
            self._fail(f"ports {text} are the wrong way round; did you mean {ends[1]}-{ends[0]}?", back=True)
        return ends

    # ---- words

    def _peek(self) -> str:
        """The next word; empty at the end."""
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _take(self, *words: str) -> str:
        word = self._peek()
        if word not in words:
            return ""
        self._next += 1
        return word

    def _word(self, expected: str = "") -> str:
        word = self._peek()
        if not word or word in _JOINTS:
            raise self._error(expected)
        self._next += 1
        return word

    def _error(self, expected: str) -> FilterError:
        """At the next word: what should have stood there."""
        word = self._peek()
        if not word:
            return FilterError(f"filter, at its end: expected {expected}")
        close = difflib.get_close_matches(word.lower()[:20], _KEYWORDS, 1)
        hint = f"did you mean {close[0]}?" if close and close[0] != word else ""
        hint = _ELSEWHERE.get(word, hint)
        if word.isascii() and word.isdigit():
            hint = f"did you mean port {word[:5]}?"
        found = f"filter, at character {self._tokens[self._next][1] + 1}: expected {expected}, found '{printable(word, 40)}'"
        return FilterError(f"{found}; {hint}" if hint else found)

    def _fail(self, what: str, *, back: bool = False) -> NoReturn:
        """At the next word, or at the one just read."""
        place = self._next - back
        at = self._tokens[place][1] if place < len(self._tokens) else self._length
        raise FilterError(f"filter, at character {at + 1}: {what}")


def _both(tests: list[Test]) -> Test:
    return And(tuple(tests)) if len(tests) > 1 else tests[0]
