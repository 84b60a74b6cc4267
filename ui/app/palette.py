"""The palette: every command, and everything that the newest sample has a name for, found by some of its letters.

The toolkit's palette asks a ``Provider``; this one reads the sample when the palette is opened, ranks names by itself (so that
thousands of them cost milliseconds) and hands over the best few. Names come from hosts: they are never markup.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.style import Style

from ingest.sample import Event
from tuner.host.text import printable
from ui.app.widgets.marks import MARKS
from ui.keys import Command, Screen

if TYPE_CHECKING:
    from ui.app.app import QuietcoreApp

SHOWN = 60  # hits
ROOM = 100  # characters of a search
RECENT = 200  # events that are looked at
_NOT_HERE = ("palette", "up", "down", "left", "right", "page up", "page down", "top", "bottom", "enter", "back")


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that can be found: ``text`` is searched and shown, ``words`` say more of it."""

    text: str
    words: str
    command: Command | None = None
    goes_to: tuple[Screen, str, str] | None = None


def entries(app: "QuietcoreApp") -> Iterator[Entry]:
    """All there is to find now: commands first, then what the sample on screen names."""
    for command in app.keys.commands_of(app.screen_name):
        if command.name not in _NOT_HERE:
            why = app.unavailable(command)
            key = f"[{MARKS.key(command.shown)}] " if command.keys else ""
            text = command.name if command.title.lower() == command.name else f"{command.name}: {command.title}"
            yield Entry(text, f"{key}{command.explained}" + (f" (not now: {why})" if why else ""), command)
    sample = app.model.sample
    if sample is not None:
        for core in sample.cores:
            yield Entry(f"core {core.cpu}", f"{core.role}, node {core.node}", goes_to=("core", "core", str(core.cpu)))
        for nic in sample.nics:
            yield Entry(f"interface {nic.name}", nic.driver or "no driver", goes_to=("nic", "nic", nic.name))
            for queue in nic.queues:
                where = f"irq {queue.irq} on CPU {queue.cpus}" if queue.irq is not None else "no interrupt of its own"
                yield Entry(f"queue {nic.name}/{queue.queue}", where, goes_to=("nic", "queue", f"{nic.name}/{queue.queue}"))
        for irq in sample.irqs:
            words = f"{irq.device} on CPU {irq.effective}" if irq.effective else irq.device
            yield Entry(f"irq {irq.irq} {irq.name}", words, goes_to=("irqs", "irq", irq.irq))
        for feed in sample.feeds:
            parts = [str(feed[part]) for part in ("channel", "line", "stream") if feed.get(part)]
            key = str(feed.get("stream") or feed.get("channel"))
            yield Entry(f"feed {' '.join(parts)}", str(feed.get("source", "")), goes_to=("ingest", "feed", key))
    for profile in app.profiles_view.profiles:
        name = str(profile.get("name", ""))
        yield Entry(f"profile {name}", str(profile.get("summary", "")), goes_to=("profiles", "profile", name))
    yield from _open_events(event for _, event in islice(app.model.events, RECENT))


def _open_events(events: Iterable[Event]) -> Iterator[Entry]:
    """Warnings and worse that are not over, the newest first; of what has a key, what was told last."""
    told = set()
    for event in events:
        name = event.key or f"{event.where}: {event.what}"
        if name not in told and event.level != "info":
            yield Entry(f"event {event.where}: {event.what}", event.level, goes_to=("events", "event", name))
        told.add(name)


def rank(query: str) -> Callable[[str], tuple[int, int, int] | None]:
    """How well a text fits: None for not at all, else the smaller the better.

    The same text, its beginning, the beginning of its words, a part of it, and at last all letters in their order.
    """
    words = query.lower().split()
    scattered = re.compile(".*?".join(map(re.escape, "".join(words))))
    whole = " ".join(words)

    def fits(text: str) -> tuple[int, int, int] | None:
        low = text.lower()
        if low.startswith(whole):
            return (0 if len(low) == len(whole) else 1 if not low[len(whole)].isalnum() else 2), 0, len(low)
        if all(word in low for word in words):
            begun = sum(re.search(rf"(?<![^\W_]){re.escape(word)}", low) is not None for word in words)
            return 3, len(words) - begun, len(low)
        found = scattered.search(low)
        return (4, found.end() - found.start(), len(low)) if found else None

    return fits


def marked(text: str, query: str, style: Style) -> Content:
    """``text`` with the letters that were searched for; as text, whatever it holds."""
    content, low, place = Content(text), text.lower(), 0
    for word in query.lower().split():
        start = low.find(word, place) if word in low[place:] else low.find(word)
        if start >= 0:
            place = start + len(word)
            content = content.stylize(style, start, place)
    return content


class Names(Provider):
    """Finds entries for the palette."""

    async def startup(self) -> None:
        """Takes the names of now: the palette is on screen for seconds."""
        self._entries = list(entries(self.app))  # type: ignore[arg-type]

    async def search(self, query: str) -> AsyncIterator[Hit]:
        """The best few."""
        fits = rank(query[:ROOM])
        found = [(how, place) for place, entry in enumerate(self._entries) if (how := fits(entry.text)) is not None]
        style = self.match_style or Style(bold=True)
        for place, (_, number) in enumerate(sorted(found)[:SHOWN]):
            entry = self._entries[number]
            shown = printable(entry.text)
            # the palette sorts by score, which is to be between 0 and 1
            yield Hit(1 - place / (SHOWN + 1), marked(shown, query, style), self._does(entry), shown, _help(entry))

    async def discover(self) -> Hits:
        """Before anything is typed: the commands."""
        for entry in self._entries:
            if entry.command is not None:
                shown = printable(entry.text)
                yield DiscoveryHit(Content(shown), self._does(entry), shown, _help(entry))

    def _does(self, entry: Entry) -> Callable[[], object]:
        app: QuietcoreApp = self.app  # type: ignore[assignment]
        return partial(app.chosen, entry)


def _help(entry: Entry) -> str:
    """Content is taken as it is; a string would be read as markup, whatever its type says."""
    return Content(printable(entry.words))  # type: ignore[return-value]


class Palette(CommandPalette):
    """The toolkit's palette, without its picture and borders."""

    DEFAULT_CSS = """
    Palette > Vertical { margin-top: 2; }
    Palette #--input { border: none; padding: 0; height: 1; }
    Palette CommandInput, Palette CommandInput:focus { border: none; padding: 0 1; height: 1; }
    Palette SearchIcon { display: none; }
    Palette CommandList, Palette CommandList:focus { border: none; }
    Palette LoadingIndicator { display: none; }
    """

    def __init__(self) -> None:
        super().__init__([Names], placeholder="a command, core 37, irq 142, an interface, a feed, a profile")
