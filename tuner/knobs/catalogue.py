"""All knobs by the name of their family, in the order in which they are applied; they are undone in the reverse.

What resets a device comes first, since it makes the device forget the rest; who must not be disturbed is moved before the
stack is tuned. Source of the order: drivers re-create interrupts on ring changes, and partitions reset affinities.
"""

from tuner.knobs.device import DeviceSettings
from tuner.knobs.irq import DefaultAffinity, IrqAffinity
from tuner.knobs.knob import Knob
from tuner.knobs.nic import ReceiveRing, TransmitRing
from tuner.knobs.partition import Partition
from tuner.knobs.sysctl import Sysctl
from tuner.knobs.threads import KernelThreads, UserThreads
from tuner.knobs.workqueue import Workqueues

KNOBS: tuple[Knob, ...] = (
    ReceiveRing(),
    TransmitRing(),
    DefaultAffinity(),
    IrqAffinity(),
    Partition(),
    UserThreads(),
    KernelThreads(),
    Workqueues(),
    Sysctl(),
)
# what a profile cannot name, but a journal can
_KEPT: tuple[Knob, ...] = (DeviceSettings(),)
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
