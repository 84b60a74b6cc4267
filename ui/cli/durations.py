"""Durations as people write them: ``120s``, ``2m``, ``500ms``, ``1.5``."""

import argparse
import re

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ns|us|ms|s|m|min|h)?")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, None: 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds.

    Raises:
        ValueError: no number, an unknown unit, or nothing at all.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"not a duration: {text!r}; write 120s, 2m, 500ms or 1.5")
    return float(match[1]) * _SECONDS[match[2]]


def duration(text: str) -> float:
    """``parse_duration`` as argparse wants it."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
