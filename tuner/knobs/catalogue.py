"""All families of knobs, in the order in which they are applied; they are undone in the reverse.

What resets a device comes first, since it makes the device forget the rest; who must not be disturbed is moved before the
stack is tuned. Source of the order: drivers re-create interrupts on ring changes, and partitions reset affinities.
"""

from tuner.knobs import (
    boot,
    channels,
    clock,
    coalesce,
    cpus,
    device,
    features,
    hwtstamp,
    interface,
    irq,
    irq_queues,
    irqbalance,
    isolation,
    link,
    memory,
    napi,
    nic_stack,
    noise,
    pcie,
    power,
    qdisc,
    queue_cpus,
    rings,
    rss,
    services,
    steering,
    sysctl_special,
)
from tuner.knobs.knob import Knob
from tuner.language.entry import Entry, Family

FAMILIES: tuple[Family, ...] = (
    services.FAMILY,
    channels.FAMILY,
    rings.FAMILY,
    features.FAMILY,
    link.FAMILY,
    interface.FAMILY,
    rss.FAMILY,
    steering.FAMILY,
    coalesce.FAMILY,
    hwtstamp.FAMILY,
    irqbalance.FAMILY,
    irq.FAMILY,
    irq_queues.FAMILY,
    queue_cpus.FAMILY,
    napi.FAMILY,
    qdisc.FAMILY,
    isolation.FAMILY,
    noise.FAMILY,
    power.FAMILY,
    memory.FAMILY,
    pcie.FAMILY,
    clock.FAMILY,
    device.FAMILY,
    sysctl_special.FAMILY,
    nic_stack.FAMILY,  # what is in force there is made of the sysctls of all interfaces, too
    cpus.FAMILY,  # last: all else is set, and put back, while all CPUs are there
    boot.FAMILY,
)
KNOBS: tuple[Knob, ...] = tuple(knob for family in FAMILIES for knob in family.knobs)
ENTRIES: tuple[Entry, ...] = tuple(entry for family in FAMILIES for entry in family.entries)
_KEPT = tuple(knob for family in FAMILIES for knob in family.kept)
_BY_FAMILY = {knob.family: knob for knob in (*KNOBS, *_KEPT)}
_ORDER = {knob.family: place for place, knob in enumerate(KNOBS)}
# Families whose settings have names that only the host knows: ``sysctl.vm.swappiness``, ``nic.features.rx-gro``.
NAMED = ("sysctl", "nic.features", "nic.private_flags")


def _family(name: str) -> str:
    return name if name in _BY_FAMILY else next((family for family in NAMED if name.startswith(family + ".")), name)


def knob_of(name: str) -> Knob:
    """The knob of that name; every ``sysctl.…`` but a few, and what else only the host has names for, is one family.

    Raises:
        KeyError: this version has no such knob.
    """
    return _BY_FAMILY[_family(name)]


def order_of(name: str) -> int:
    """The knob's place in the order of application."""
    return _ORDER[_family(name)]
