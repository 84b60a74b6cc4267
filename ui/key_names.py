"""Names of keys: as people write them (``?``, ``K``, ``ctrl+p``) and as the toolkit calls them (``question_mark``)."""

import string
import unicodedata

# the toolkit calls a mark by its Unicode name, but for these
_SHORTER = {
    "solidus": "slash", "reverse_solidus": "backslash", "commercial_at": "at", "hyphen_minus": "minus", "plus_sign": "plus",
    "low_line": "underscore",
}  # fmt: skip
_ALSO = {
    "esc": "escape", "return": "enter", "pgup": "pageup", "pgdn": "pagedown", "del": "delete", "ins": "insert", " ": "space",
}  # fmt: skip
NAMED = (
    "up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete", "backspace", "enter", "escape",
    "tab", "space", *(f"f{n}" for n in range(1, 13)),
)  # fmt: skip
# what never reaches the app, or what a terminal sends for another key, too
_TAKEN = {
    "ctrl+c": "the terminal's", "ctrl+q": "quit, always", "ctrl+z": "the shell's", "ctrl+i": "tab to a terminal",
    "ctrl+m": "enter to a terminal", "ctrl+j": "enter to a terminal", "ctrl+h": "backspace to a terminal",
}  # fmt: skip


class KeyNameError(ValueError):
    """No such key, or none that a terminal sends; the text says what is wrong."""


def _mark_name(mark: str) -> str:
    name = unicodedata.name(mark, "").lower().replace("-", "_").replace(" ", "_")
    return _SHORTER.get(name, name)


_MARKS = {_mark_name(mark): mark for mark in string.punctuation}


def spelled(key: str) -> str:
    """A key as people write it: ``?`` for ``question_mark``."""
    lead, plus, last = key.rpartition("+")
    return lead + plus + _MARKS.get(last, last)


def key_of(text: str) -> str:
    """The toolkit's name of a key.

    Args:
        text: the character that it types, its name (``space``, ``f1``, ``question_mark``), or ``ctrl+``, ``alt+``, ``shift+``
            and one of these.

    Raises:
        KeyNameError: there is no such key.
    """
    lead, plus, last = text[:-1].rpartition("+")  # the key may be + itself
    last += text[-1:]
    name = _plain(last)
    if not plus:
        return name
    modifier = lead.lower()
    if modifier == "ctrl" and (len(name) == 1 and name.isascii() and name.isalpha()):
        key = f"ctrl+{name.lower()}"
    elif modifier == "alt" or (modifier in ("ctrl", "shift") and name in NAMED):
        key = f"{modifier}+{name}"
    else:
        raise KeyNameError("ctrl+ goes with a letter or a named key, shift+ with a named key, alt+ with any key")
    if key in _TAKEN:
        raise KeyNameError(f"it is {_TAKEN[key]}")
    return key


def _plain(text: str) -> str:
    """The name of a key without a modifier."""
    lower = text.lower()
    if lower in _ALSO or lower in NAMED:
        return _ALSO.get(lower, lower)
    if lower in _MARKS:
        return lower
    if len(text) == 1 and text.isprintable():
        return text if text.isalnum() else _mark_name(text)
    import difflib

    close = difflib.get_close_matches(lower[:40], [*NAMED, *_ALSO, *_MARKS], n=1)
    raise KeyNameError(f"did you mean {close[0]}?" if close else "a character, or a name: space, enter, tab, f1, ctrl+p")
