"""Makes hostile text safe to show.

Interface names, thread names, file contents and profile strings may hold escape sequences: the kernel refuses only ``/``,
white space and more than 15 bytes in an interface name (net/core/dev.c dev_valid_name), and a thread may call itself
anything. What is shown goes through ``printable`` once, where it enters the project.
"""

import re

# C0, DEL, C1, bidirectional controls, line and paragraph separators, surrogates (bytes that were not UTF-8).
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]")


def is_number(text: str) -> bool:
    """Whether ``text`` is a number as the kernel writes them into names: ASCII digits alone, at most nine.

    ``str.isdigit`` says yes to digits that ``int`` refuses (superscripts), which anybody may put into a tree of files.
    """
    return text.isascii() and text.isdigit() and len(text) <= 9


def printable(text: str, limit: int = 200) -> str:
    """``text`` with every control character as a visible escape, cut at ``limit`` characters."""
    shown = _UNSAFE.sub(_escape, text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the byte itself says more
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
