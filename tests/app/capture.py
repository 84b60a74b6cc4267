"""What reached a terminal, taken apart: text, and the sequences among it."""

import re

SEQUENCE = re.compile(r"\x1b(?:\[[0-9;:?<>=!]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_]|[ -/]+[0-~])")
# what Textual's driver and compositor send: colours, places, modes, questions, the keyboard protocol
EXPECTED = re.compile(r"\x1b\[(?:[0-9;]*m|[0-9;]*H|\?[0-9;]*[hl]|\?[0-9]+\$p|[<>=][0-9;]*u|[0-2]?[JK]|6n)|\x1b\]22;[a-z-]*\x07")
FORBIDDEN = re.compile(
    "[\x00-\x06\x08\x0b-\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]"
)
MODES = ("1049", "1000", "1003", "1006", "1015", "1004", "2004")


def text_of(output: bytes) -> str:
    """The text alone."""
    return SEQUENCE.sub("", output.decode("utf-8", "replace"))


def unexpected(output: bytes) -> list[str]:
    """Sequences that nobody of ours sends, and control characters outside of any."""
    text = output.decode("utf-8", "replace")
    found = [each for each in SEQUENCE.findall(text) if not EXPECTED.fullmatch(each)]
    rest = SEQUENCE.sub("", text)
    return found + FORBIDDEN.findall(rest) + re.findall("\x1b.{0,20}", rest) + re.findall("\ufffd", rest)


def left_on(output: bytes) -> list[str]:
    """The modes of a terminal that were turned on and not off again, and whether the cursor is hidden."""
    states = dict.fromkeys(MODES, "l") | {"25": "h", "7": "h"}
    for modes, state in re.findall(rb"\x1b\[\?([0-9;]+)([hl])", output):
        for mode in modes.decode().split(";"):
            states[mode] = state.decode()
    return sorted(mode for mode, state in states.items() if mode != "2026" and (state == "l") == (mode in ("25", "7")))
