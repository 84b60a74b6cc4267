"""Everything that is wrong with a file that somebody wrote, said at once."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a file: the file and key, what is wrong, and what was probably meant.

    ``line`` is the line of the file, counted from 1; 0 where it is not known.
    """

    where: str
    what: str
    hint: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.hint})" if self.hint else "")

    def told(self) -> str:
        """The same with its line, as editors and compilers write it: ``FILE:LINE: KEY: …``."""
        if not self.line:
            return str(self)
        name, colon, rest = str(self).partition(": ")
        return f"{name}:{self.line}{colon}{rest}"


class FaultyFileError(ValueError):
    """A file that cannot be used; ``faults`` holds everything that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))
