"""Numbers and sizes as people write them on a command line."""

import argparse

_UNITS = " KMGT"


def size(text: str) -> int:
    """A size as argparse wants it: bytes, or with K, M, G or T (powers of 1024)."""
    digits, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in tuple("KMGT") else (text, " ")
    return number(digits, 1, 99_999_999, "a size, as 500M or 2G") << 10 * _UNITS.index(unit)


def number(text: str, lowest: int, highest: int, what: str) -> int:
    """An integer within bounds; ``what`` names it where it is none."""
    if text.isascii() and text.isdigit() and len(text) < 9 and lowest <= int(text) <= highest:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {what}")


def size_text(count: float) -> str:
    """A size for people: ``14.2 MB``, in powers of 1000 as disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
