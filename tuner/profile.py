"""Profiles: TOML that names knobs, never paths, with every fault of a file reported at once.

A profile is a flat map from the place of a setting (``nic.feed.rings.rx``) to its value and where it was written, so that
``extends`` is a merge and every planned change can say where it came from. What a place may hold is ``tuner.profile_check``'s;
where profiles lie and how they are opened is ``tuner.profile_files``'s.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.host.faults import FaultyFileError

Place = tuple[str, ...]
Value = Any  # checked by its kind: bool, int, str, and lists and tables of them

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a profile; ``source`` is ``feed-handler.toml: nic.feed.rings.rx``."""

    value: Value
    source: str


class ProfileError(FaultyFileError):
    """A profile that cannot be used."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A checked profile with what it extends merged in.

    Attributes:
        name: as it is asked for.
        summary: its one line.
        sha256: of the file that was asked for.
        layers: the files that were laid over one another, the most general first; the host's overlay last.
        settings: place -> what shall be there.
        requires: what must hold on a host before anything is written.
        sets: what ``--set`` changed for this run, by its dotted place.
        documents: the files of ``layers`` as they were read.
    """

    name: str
    summary: str
    sha256: str
    layers: tuple[str, ...]
    settings: Mapping[Place, Setting]
    requires: tuple[Setting, ...] = ()
    sets: Mapping[str, Value] = field(default_factory=dict)
    documents: "tuple[Document, ...]" = field(default=(), repr=False)

    @property
    def hashes(self) -> dict[str, str]:
        """File -> SHA-256 of every layer."""
        return {document.name: document.sha256 for document in self.documents}

    def get(self, *place: str) -> Setting | None:
        """The setting at a place."""
        return self.settings.get(place)

    def below(self, *place: str) -> dict[Place, Setting]:
        """The settings below a table, by the rest of their place, in the order in which they were written."""
        return {key[len(place) :]: s for key, s in self.settings.items() if key[: len(place)] == place and key != place}

    def texts(self, table: str) -> dict[str, str]:
        """A table of strings, such as ``cores`` and ``bind``."""
        return {".".join(place): str(setting.value) for place, setting in self.below(table).items()}


@dataclass(frozen=True, slots=True)
class Document:
    """One TOML file as it was read: its bytes' hash, its parsed, still unchecked table, and its text.

    ``--set`` makes one, too: it has neither text nor hash.
    """

    name: str
    sha256: str
    table: Mapping[str, object]
    text: str = field(default="", repr=False)

    def where(self, key: str) -> str:
        """A place of it, as faults and plans name it."""
        return f"{self.name} {key}" if self.name.startswith("--") else f"{self.name}: {key}"
