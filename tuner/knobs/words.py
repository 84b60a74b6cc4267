"""Knobs that take one of some words, where the host itself says which: a word that it does not offer is never written.

Some files take any word and change nothing (kernel/time/clocksource.c), others refuse it in the middle of a transaction: so the
words are read first, and one that is not among them is ``unsupported``, with what there is.
"""

from dataclasses import dataclass
from typing import ClassVar

from tuner.host.files import HostFiles
from tuner.host.host import Inventory
from tuner.host.text import printable
from tuner.knobs.knob import Json, Reading, State, Unsupported
from tuner.knobs.plain import Choice, chosen, offered
from tuner.language.entry import Ask
from tuner.language.request import Request
from tuner.profile import Place, Setting


@dataclass(frozen=True, slots=True)
class Offer(Reading):
    """A reading with the words that the host takes; empty where it does not say."""

    offered: tuple[str, ...] = ()


def check_offered(reading: Reading, wanted: Json) -> None:
    """Refuses a word that the host does not offer.

    Raises:
        Unsupported: with the words that it does.
    """
    words = reading.offered if isinstance(reading, Offer) else ()
    if words and str(wanted) not in words:
        raise Unsupported(f"this host offers {printable(' '.join(words), 200)}, not {printable(str(wanted), 60)}")


class WordFile(Choice):
    """One of some words in one file; the identity is ``host``.

    Attributes:
        choices: the file that lists the words; empty where the file itself does, as ``always [madvise] never``.
    """

    choices: ClassVar[str] = ""

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The word in force, and those there are."""
        del identity
        files = inventory.host.files
        try:
            text = files.text(self.path)
        except FileNotFoundError as error:
            raise Unsupported(f"this kernel has no {self.path}") from error
        now = chosen(text)
        return Offer(now=now, effective=now, offered=words_of(files, self.path, self.choices))

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where it is the word in force."""
        check_offered(reading, wanted)
        return "ok" if reading.effective == wanted else "differs"


def words_of(files: HostFiles, path: str, choices: str = "") -> tuple[str, ...]:
    """The words that a file takes; empty where the host does not say."""
    return offered(files.optional(choices or path) or "")


def on_words(knob: type[WordFile]) -> Ask:
    """Asks for the first word of a list that the host offers."""

    def ask(request: Request, place: Place, setting: Setting) -> None:
        del place
        words = words_of(request.inventory.host.files, knob.path, knob.choices)
        request.wish(knob.family, "host", "host", request.first(setting, setting.value, words or None), setting)

    return ask
