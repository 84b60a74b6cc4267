"""On which line of a file a key stands: tomllib says it of bad syntax alone, and people look for the line.

Only what tomllib has read already is looked at, so the text is known to be good TOML 1.0: a few tokens are enough. It is done
when there is a fault to tell, and not before.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tuner.host.faults import Fault
from tuner.host.text import printable
from tuner.profile import Document

_TOKEN = re.compile(
    r"""
      (?P<comment>\#[^\n]*)
    | (?P<string>\"{3}(?:[^\"\\]|\\.|\"{1,2}(?!\"))*\"{3,5}|'{3}(?:[^']|'{1,2}(?!'))*'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')
    | (?P<line>\n)
    | (?P<open>[\[{]) | (?P<close>[\]}])
    | (?P<sign>[=,.])
    | (?P<bare>[^\s\#"'\[\]{}=,.]+)
    """,
    re.VERBOSE | re.DOTALL,
)


def lines_of(text: str) -> dict[str, int]:
    """Dotted place -> the line on which it is first written, counted from 1; places in inline tables, too."""
    found: dict[str, int] = {}
    for path, line in _keys(_Tokens(text)):
        found.setdefault(".".join(path), line)
    return found


class _Tokens:
    """The tokens of a text, one at a time, with the line at hand."""

    def __init__(self, text: str) -> None:
        self._matches = _TOKEN.finditer(text)
        self.line = 1
        self.kind, self.text = "", ""
        self.next()

    def next(self) -> None:
        """Goes on; the kind is empty at the end."""
        self.line += self.text.count("\n")
        match = next(self._matches, None)
        self.kind, self.text = (str(match.lastgroup), match[0]) if match else ("", "")


def _keys(tokens: _Tokens) -> Iterator[tuple[tuple[str, ...], int]]:
    table: tuple[str, ...] = ()
    while tokens.kind:
        if tokens.kind in ("line", "comment"):
            tokens.next()
            continue
        line = tokens.line
        if tokens.kind == "open":  # [table] or [[table]]
            while tokens.kind == "open":
                tokens.next()
            table = _path(tokens)
            yield table, line
            while tokens.kind == "close":
                tokens.next()
        else:
            yield from _pair(tokens, table)


def _pair(tokens: _Tokens, table: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    line = tokens.line
    path = (*table, *_path(tokens))
    yield path, line
    tokens.next()  # the equals sign
    yield from _value(tokens, path)


def _path(tokens: _Tokens) -> tuple[str, ...]:
    parts = []
    while tokens.kind in ("bare", "string") or tokens.text == ".":
        if tokens.text != ".":
            parts.append(tomllib.loads(f"k = {tokens.text}")["k"] if tokens.kind == "string" else tokens.text)
        tokens.next()
    return tuple(parts)


def _value(tokens: _Tokens, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Over one value, with the keys of its inline tables; what it is no concern of ours is passed over."""
    if tokens.text == "{":
        tokens.next()
        while tokens.kind and tokens.text != "}":
            if tokens.kind in ("bare", "string"):
                yield from _pair(tokens, path)
            else:
                tokens.next()
        tokens.next()
    elif tokens.text == "[":
        depth = 0
        while tokens.kind:
            depth += {"open": 1, "close": -1}.get(tokens.kind, 0)
            tokens.next()
            if not depth:
                break
    else:
        while tokens.kind in ("bare", "string", "sign") and tokens.text != ",":
            tokens.next()


def located(faults: Iterable[Fault], documents: Sequence[Document]) -> list[Fault]:
    """The faults, each with the line of its key, or of the table that should hold it, where a file is meant."""
    known: dict[str, dict[str, int]] = {}
    texts = {document.name: document.text for document in documents}
    done = []
    for fault in faults:
        name, colon, key = fault.where.partition(": ")
        if fault.line or not colon or not texts.get(name):
            done.append(fault)
            continue
        if name not in known:
            known[name] = {printable(place, 300): line for place, line in lines_of(texts[name]).items()}
        done.append(replace(fault, line=_line(known[name], key)))
    return done


def _line(lines: dict[str, int], key: str) -> int:
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key, 0)
