"""What the language knows: places of a profile, and the families of knobs that own them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tuner.knobs.knob import Knob
from tuner.language.request import Request
from tuner.language.values import Kind
from tuner.profile import Place, Setting

Ask = Callable[[Request, Place, Setting], None]
PART = "*"  # in a place: the name of a bound part


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of a profile, as ``("nic", PART, "rings", "rx")``.

    Attributes:
        place: where; ``PART`` stands for any part that ``[bind]`` names.
        kind: what may stand there.
        about: one line for people who write profiles.
        ask: turns the setting into wishes; None where the family looks at its settings together.
        knobs: the knobs that it leads to, where neither ``ask`` nor the place itself names them.
    """

    place: Place
    kind: Kind
    about: str
    ask: Ask | None = None
    knobs: tuple[str, ...] = ()

    def matches(self, place: Place) -> bool:
        """Whether a place of a profile is this one."""
        return len(place) == len(self.place) and all(
            ours in (PART, theirs) for ours, theirs in zip(self.place, place, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Family:
    """Knobs that belong together, with the places that ask for them: what a file of ``tuner/knobs`` has to offer.

    Attributes:
        name: as in the headings of docs/knobs.md.
        knobs: in the order of application.
        entries: the places of the language.
        ask: for settings that are understood only together; called once for each profile, after the entries' own.
        kept: knobs that no profile names, but a journal can.
    """

    name: str
    knobs: tuple[Knob, ...] = ()
    entries: tuple[Entry, ...] = ()
    ask: Callable[[Request], None] | None = None
    kept: tuple[Knob, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class OnHost:
    """Asks for a setting that a host has once; its identity is ``host``."""

    knob: str

    def __call__(self, request: Request, place: Place, setting: Setting) -> None:
        """One wish."""
        del place
        request.wish(self.knob, "host", "host", setting.value, setting)


@dataclass(frozen=True, slots=True)
class OnNic:
    """Asks for a setting of the NIC that the place's part is bound to."""

    knob: str

    def __call__(self, request: Request, place: Place, setting: Setting) -> None:
        """One wish."""
        nic = request.nic(place[1])
        request.wish(self.knob, nic.name, nic.identity, setting.value, setting)


@dataclass(frozen=True, slots=True)
class OnCpus:
    """Asks for a setting of each CPU: one wish for each value, its identity the CPU list."""

    knob: str

    def __call__(self, request: Request, place: Place, setting: Setting) -> None:
        """A wish for each core set of the value."""
        del place
        for cpus, value in request.by_cpus(setting):
            request.wish(self.knob, f"CPU {cpus}", cpus, value, setting)


def on_host(knob: str) -> Ask:
    """Asks for a setting that a host has once."""
    return OnHost(knob)


def on_nic(knob: str) -> Ask:
    """Asks for a setting of the NIC that the place's part is bound to."""
    return OnNic(knob)


def on_nic_first(knob: str, offered: tuple[str, ...] | None = None) -> Ask:
    """As ``on_nic``, of a list of words the first that is offered."""

    def ask(request: Request, place: Place, setting: Setting) -> None:
        nic = request.nic(place[1])
        request.wish(knob, nic.name, nic.identity, request.first(setting, setting.value, offered), setting)

    return ask


def on_cpus(knob: str) -> Ask:
    """Asks for a setting of each CPU."""
    return OnCpus(knob)
