"""All families of knobs, in the order in which they are applied; they are undone in the reverse.

What resets a device comes first, since it makes the device forget the rest; who must not be disturbed is moved before the
stack is tuned. Source of the order: drivers re-create interrupts on ring changes, and partitions reset affinities.
"""

from tuner.knobs import boot, device, irq, irqbalance, isolation, rings, services, sysctl
from tuner.knobs.knob import Knob
from tuner.language.entry import Entry, Family

FAMILIES: tuple[Family, ...] = (
    services.FAMILY,
    rings.FAMILY,
    irqbalance.FAMILY,
    irq.FAMILY,
    isolation.FAMILY,
    device.FAMILY,
    sysctl.FAMILY,
    boot.FAMILY,
)
KNOBS: tuple[Knob, ...] = tuple(knob for family in FAMILIES for knob in family.knobs)
ENTRIES: tuple[Entry, ...] = tuple(entry for family in FAMILIES for entry in family.entries)
_KEPT = tuple(knob for family in FAMILIES for knob in family.kept)
_BY_FAMILY = {knob.family: knob for knob in (*KNOBS, *_KEPT)}
_ORDER = {knob.family: place for place, knob in enumerate(KNOBS)}


def knob_of(name: str) -> Knob:
    """The knob of that name; every ``sysctl.…`` is one family.

    Raises:
        KeyError: this version has no such knob.
    """
    return _BY_FAMILY["sysctl" if name.startswith("sysctl.") else name]


def order_of(name: str) -> int:
    """The knob's place in the order of application."""
    return _ORDER["sysctl" if name.startswith("sysctl.") else name]
