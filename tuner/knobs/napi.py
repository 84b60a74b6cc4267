"""``nic.napi.*``: when a NIC's receive work runs, and in whose thread.

Source: Documentation/networking/napi.rst, net/core/dev.c, net/core/net-sysfs.c. From 6.13 on each NAPI instance may have
values of its own, by netlink; writing the NIC's files sets them all.
"""

from typing import ClassVar

from tuner.knobs.knob import About
from tuner.knobs.nic_files import NicFile
from tuner.language.entry import PART, Entry, Family, on_nic
from tuner.language.values import Flag, Whole

_SOURCE = "Documentation/networking/napi.rst, net/core/net-sysfs.c"


class DeferHardIrqs(NicFile):
    """napi_defer_hard_irqs."""

    family: ClassVar[str] = "nic.napi.defer_hard_irqs"
    leaf: ClassVar[str] = "napi_defer_hard_irqs"
    about: ClassVar[About] = About(
        "Empty polls after which a queue's interrupt is switched on again",
        "2 where applications poll their sockets with SO_PREFER_BUSY_POLL: the interrupt stays off for as long as they do. "
        "0 where nobody polls",
        "/sys/class/net/IF/napi_defer_hard_irqs",
        risk="with gro_flush_timeout_ns at 0 it does nothing; with a large one, packets wait that long once nobody polls",
        since="5.8",
        source=_SOURCE,
    )


class FlushTimeout(NicFile):
    """gro_flush_timeout."""

    family: ClassVar[str] = "nic.napi.gro_flush_timeout_ns"
    leaf: ClassVar[str] = "gro_flush_timeout"
    about: ClassVar[About] = About(
        "After how long a queue is polled by a timer where its interrupt is off, in ns",
        "200000 beside defer_hard_irqs = 2 for busy polling: the watchdog for an application that stopped to poll. 0 elsewhere",
        "/sys/class/net/IF/gro_flush_timeout",
        risk="it is the longest time that a packet waits where nobody polls: less than what the application may be late",
        since="3.19",
        source=_SOURCE,
    )


class ThreadedNapi(NicFile):
    """threaded."""

    family: ClassVar[str] = "nic.napi.threaded"
    leaf: ClassVar[str] = "threaded"
    about: ClassVar[About] = About(
        "Whether a thread for each queue does its receive work, instead of softirq",
        "On a feed through the kernel's stack: a thread can be pinned to a core beside the receiver and given a priority. Off "
        "for busy polling and bypass, and where nobody places the threads: unplaced, they wander",
        "/sys/class/net/IF/threaded",
        "kernel threads napi/IF-N; the column NET_RX of /proc/softirqs stands still",
        "packets are not lost; they may wait while a thread is made",
        since="5.12",
        quirks=(
            "EOPNOTSUPP where the interface has no NAPI: a veth without GRO, a tunnel, a bond",
            "threads are made anew when queues change; they begin on all CPUs",
        ),
        source=_SOURCE,
    )


FAMILY = Family(
    "NAPI",
    (DeferHardIrqs(), FlushTimeout(), ThreadedNapi()),
    (
        Entry(
            ("nic", PART, "napi", "defer_hard_irqs"),
            Whole(0, 1000, "empty polls", bounds=False),
            "empty polls before the interrupt is back",
            on_nic("nic.napi.defer_hard_irqs"),
        ),
        Entry(
            ("nic", PART, "napi", "gro_flush_timeout_ns"),
            Whole(0, 10**9, "ns", bounds=False),
            "how long a packet may wait where nobody polls",
            on_nic("nic.napi.gro_flush_timeout_ns"),
        ),
        Entry(
            ("nic", PART, "napi", "threaded"),
            Flag(),
            "a thread for each queue does its receive work",
            on_nic("nic.napi.threaded"),
        ),
    ),
)
