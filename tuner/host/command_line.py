"""The kernel's command line as words.

Source: lib/cmdline.c (next_arg), kernel/params.c (parameq): words are parted by white space outside of double quotes, ``-``
and ``_`` in a name are the same, and what stands behind ``--`` is for init. Of a word that is there twice most parsers keep the
last.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tuner.host.files import HostFiles

PATH = "/proc/cmdline"


@dataclass(frozen=True, slots=True)
class BootWord:
    """One word: its name with ``_`` for ``-``, and its value, None where it has none."""

    name: str
    value: str | None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value}"


def parse(line: str) -> tuple[BootWord, ...]:
    """All words for the kernel, in their order."""
    found = []
    for text in _split(line):
        if text == "--":
            break
        name, equals, value = text.partition("=")
        found.append(BootWord(name.replace("-", "_"), value if equals else None))
    return tuple(found)


def _split(line: str) -> Iterator[str]:
    word, quoted = "", False
    for character in line:
        if character == '"':
            quoted = not quoted
        elif character.isspace() and not quoted:
            if word:
                yield word
            word = ""
        else:
            word += character
    if word:
        yield word


def running(files: HostFiles) -> tuple[BootWord, ...]:
    """The words with which the running kernel was booted; none where the host does not say."""
    return parse(files.optional(PATH) or "")
