"""The filter language: ``core:8-63 rate>10 policy:break eth2``. Terms are joined by *and*; ``!`` before one turns it round."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Values = Mapping[str, object]


class FilterError(ValueError):
    """A filter that cannot be read: what is wrong, and where."""


@dataclass(frozen=True, slots=True)
class Filter:
    """``matches`` says of a row's values whether it stays."""

    text: str
    matches: Callable[[Values], bool]


def everything() -> Filter:
    """Lets all rows stay."""
    return Filter("", lambda _values: True)


def parse(text: str) -> Filter:
    """The filter that ``text`` means.

    Raises:
        FilterError: what is wrong, and where.
    """
    words = text.lower().split()
    return Filter(text, lambda values: all(any(word in str(value).lower() for value in values.values()) for word in words))
