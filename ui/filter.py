"""The filter language: ``core:8-63 rate>10 policy:break eth2``. It knows rows as named values, and no toolkit.

Terms are joined by *and*; ``or`` between terms and parentheses around them are understood. ``!`` before a term turns it round.

* ``word`` stands in one of the row's words; a figure with a fraction is none of them.
* ``key:text`` stands in that value. Of a key in ``LISTS`` it is a list, and one number in common is enough: ``core:8-63,70``.
* ``key=text`` is the whole value. * ``key>n`` ``>=`` ``<`` ``<=`` compare numbers: ``10``, ``2.5k``, ``1M``, ``91%``.
* Quotes keep blanks, colons and parentheses: ``name:"local timer"``, ``"0000:81:00.0"``. Upper and lower case are the same.

A key that a row does not have matches nothing, so ``!`` before it matches. Aliases stand in ``SAME``.
"""

import difflib
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tuner.host.text import printable

Values = Mapping[str, object]
Test = Callable[[Values], bool]
Spans = tuple[tuple[int, int], ...]

LONGEST = 256  # characters of a filter
DEEPEST = 16  # parentheses and negations in each other
# keys whose values are numbers, or lists of them
LISTS = frozenset({"core", "cpu", "cpus", "node", "irq", "queue", "effective", "allowed", "sibling", "llc", "stage"})
# names of one thing; a row has whichever its screen calls it by
SAME = (
    ("core", "cpu", "cpus"),
    ("rate", "per_s", "rate_per_s"),
    ("device", "dev", "nic", "interface"),
    ("name", "source"),
    ("allowed", "requested"),
    ("policy", "verdict"),
    ("queue", "q"),
    ("total", "boot"),
)
_ALIASES = {name: tuple(other for other in group if other != name) for group in SAME for name in group}
_TERM = re.compile(r"([a-z_][a-z0-9_./%-]*?)(>=|<=|!=|[:=<>])(.*)", re.DOTALL)
_NUMBER = re.compile(r"([+-]?(?:\d{1,18}(?:\.\d{0,9})?|\.\d{1,9}))([kmg]?)%?", re.ASCII)
_SPAN = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_SCALE = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
}


class FilterError(ValueError):
    """A filter that cannot be read: what is wrong, and where."""


@dataclass(frozen=True, slots=True)
class Filter:
    """``matches`` says of a row's values whether it stays."""

    text: str
    matches: Callable[[Values], bool]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str  # lower case, without its quotes
    place: int  # of its first character, from 1
    quoted: int  # where quotes began within the text; its length where there were none


def everything() -> Filter:
    """Lets all rows stay."""
    return Filter("", lambda _values: True)


def parse(text: str, keys: Sequence[str] = ()) -> Filter:
    """The filter that ``text`` means.

    Args:
        text: as it was typed; at most ``LONGEST`` characters.
        keys: the names that rows have, where they are known: any other key is an error then.

    Raises:
        FilterError: what is wrong, and where.
    """
    if len(text) > LONGEST:
        raise FilterError(f"a filter of {len(text)} characters: {LONGEST} are read")
    tokens = list(_tokens(text))
    if not tokens:
        return everything()
    return Filter(text, _Reader(tokens, frozenset(keys)).whole())


def _tokens(text: str) -> Iterator[_Token]:
    """Words, and ``!`` ``(`` ``)`` where they stand before or behind one."""
    at, depth = 0, 0
    while at < len(text):
        sign = text[at]
        if sign.isspace():
            at += 1
        elif sign in "!()" and (sign != ")" or depth):
            depth += (sign == "(") - (sign == ")")
            yield _Token(sign, at + 1, 1)
            at += 1
        else:
            start, at, word, quoted = at, *_word(text, at, depth)
            yield _Token(word, start + 1, quoted)


def _word(text: str, at: int, depth: int) -> tuple[int, str, int]:
    """Where a word ends, what it is, and where in it quotes began."""
    start, quote, quoted = at, "", -1
    kept: list[str] = []
    while at < len(text):
        sign = text[at]
        if quote:
            if sign == quote:
                quote = ""
            else:
                kept.append(sign)
        elif sign in "\"'":
            quote, quoted = sign, len(kept) if quoted < 0 else quoted
        elif sign.isspace() or (sign == ")" and depth):
            break
        else:
            kept.append(sign)
        at += 1
    if quote:
        raise _wrong(text[start:], start + 1, f"{quote} is not closed")
    return at, "".join(kept).lower(), quoted if quoted >= 0 else len(kept)


class _Reader:
    """Terms out of tokens: ``or`` of *and* of terms."""

    def __init__(self, tokens: Sequence[_Token], keys: frozenset[str]) -> None:
        self._tokens, self._keys = tokens, keys
        self._at = 0

    def whole(self) -> Test:
        return self._either(0)  # a parenthesis too many is part of a word

    @property
    def _next(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _either(self, depth: int) -> Test:
        tests = [self._all(depth)]
        while _plain(self._next, "or"):
            self._at += 1
            tests.append(self._all(depth))
        return tests[0] if len(tests) == 1 else lambda values: any(test(values) for test in tests)

    def _all(self, depth: int) -> Test:
        tests: list[Test] = []
        while (token := self._next) is not None and not _plain(token, ")") and not _plain(token, "or"):
            tests.append(self._term(depth))
        if not tests:
            last = self._next or self._tokens[self._at - 1]
            raise _wrong(last.text, last.place, "a term is missing here")
        return tests[0] if len(tests) == 1 else lambda values: all(test(values) for test in tests)

    def _term(self, depth: int) -> Test:
        token = self._tokens[self._at]
        self._at += 1
        if depth > DEEPEST:
            raise _wrong(token.text, token.place, f"more than {DEEPEST} parentheses and ! in each other")
        if _plain(token, "!"):
            if self._next is None or _plain(self._next, ")") or _plain(self._next, "or"):
                raise _wrong("!", token.place, "a term belongs behind it")
            turned = self._term(depth + 1)
            return lambda values: not turned(values)
        if _plain(token, "("):
            inner = self._either(depth + 1)
            if self._next is None:
                raise _wrong("(", token.place, "it is not closed")
            self._at += 1
            return inner
        return self._one(token)

    def _one(self, token: _Token) -> Test:
        found = _TERM.fullmatch(token.text)
        if found is None or found.end(2) > token.quoted:
            return _anywhere(token.text)
        key, sign, wanted = found.groups()
        names = (key, *_ALIASES.get(key, ()))
        if self._keys and not self._keys.intersection(names):
            raise _wrong(token.text, token.place, f"no {key[:40]} here: {self._hint(key)}")
        if not wanted and token.quoted == len(token.text):
            raise _wrong(token.text, token.place, f"{key[:40]}{sign} what? as core:8-63, rate>10, policy:break")
        if sign in _COMPARE:
            return _compared(names, _COMPARE[sign], _number(wanted, token))
        if sign == ":":
            return _contains(names, wanted, token)
        equal = _equal(names, wanted)
        return equal if sign == "=" else lambda values: not equal(values)

    def _hint(self, key: str) -> str:
        known = sorted(self._keys | {alias for name in self._keys for alias in _ALIASES.get(name, ())})
        close = difflib.get_close_matches(key[:40], known, n=1)
        return f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(self._keys))}; in quotes it is a word"


def _plain(token: _Token | None, sign: str) -> bool:
    """Whether a token is this sign, and not the same in quotes."""
    return token is not None and token.text == sign and token.quoted == len(sign)


def _wrong(part: str, place: int, problem: str) -> FilterError:
    return FilterError(f"filter, at character {place}, {printable(part, 30)}: {problem}")


def _number(text: str, token: _Token) -> float:
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise _wrong(token.text, token.place, f"'{printable(text, 20)}' is no number; as 10, 2.5k, 1M, 91%")
    return float(found[1]) * _SCALE[found[2]]


def _value(values: Values, names: Sequence[str]) -> object:
    for name in names:
        if name in values:
            return values[name]
    return None


def _anywhere(word: str) -> Test:
    def test(values: Values) -> bool:
        for value in values.values():
            if isinstance(value, str):
                if word in value.lower():
                    return True
            elif isinstance(value, int) and not isinstance(value, bool) and word == str(value):
                return True
        return False

    return test


def _contains(names: Sequence[str], wanted: str, token: _Token) -> Test:
    if not LISTS.isdisjoint(names):
        spans = _spans(wanted.rstrip("-,"))  # it is being typed
        if spans:
            return _listed(names, spans)
        if wanted[:1].isdigit():
            raise _wrong(token.text, token.place, f"'{printable(wanted, 20)}' is no list of numbers; as 8, 8-63, 0-3,8")

    def test(values: Values) -> bool:
        value = _value(values, names)
        return value is not None and wanted in _text(value)

    return test


def _listed(names: Sequence[str], spans: Spans) -> Test:
    firsts = [first for first, _ in spans]

    def test(values: Values) -> bool:
        value = _value(values, names)
        if isinstance(value, str):
            have = _spans(value)
        elif isinstance(value, int):
            have = ((int(value), int(value)),)
        else:
            return False
        for first, last in have:
            place = bisect_right(firsts, last) - 1
            if place >= 0 and spans[place][1] >= first:
                return True
        return False

    return test


def _compared(names: Sequence[str], holds: Callable[[float, float], bool], limit: float) -> Test:
    def test(values: Values) -> bool:
        value = _value(values, names)
        if isinstance(value, str):  # of a list each end counts: the others lie between
            found = _NUMBER.fullmatch(value.lower())
            if found is not None:
                return holds(float(found[1]) * _SCALE[found[2]], limit)
            return any(holds(end, limit) for span in _spans(value) for end in span)
        return isinstance(value, int | float) and holds(value, limit)

    return test


def _equal(names: Sequence[str], wanted: str) -> Test:
    found = _NUMBER.fullmatch(wanted)
    number = float(found[1]) * _SCALE[found[2]] if found is not None else None

    def test(values: Values) -> bool:
        value = _value(values, names)
        if value is None:
            return False
        if number is not None and isinstance(value, int | float) and value == number:
            return True
        return _text(value) == wanted

    return test


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).lower()


@lru_cache(maxsize=2048)
def _spans(text: str) -> Spans:
    """The ranges of a list, in order and joined; empty where it is none. ``all`` is one."""
    if text == "all":
        return ((0, 10**9),)
    found = []
    for part in text.split(","):
        span = _SPAN.fullmatch(part)
        if span is None:
            return ()
        first, last = int(span[1]), int(span[2] or span[1])
        if last < first:
            return ()
        found.append((first, last))
    joined: list[tuple[int, int]] = []
    for first, last in sorted(found):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return tuple(joined)
