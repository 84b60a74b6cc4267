"""``nic.channels.combined``, ``.rx`` and ``.tx``: how many queues a NIC has.

Source: ETHTOOL_GCHANNELS / ETHTOOL_SCHANNELS, net/ethtool/channels.c. Another number is more than a number: the driver gives
its vectors back and asks for others, so interrupts come and go, affinities are its own again, the RSS table is dealt out anew,
and the attributes of queues that went are forgotten (net/core/net-sysfs.c). What is gone cannot be saved by those who look at
what is there; so the old table and the old queues' attributes go into this knob's own undo.
"""

import errno
from collections.abc import Sequence
from typing import ClassVar

from tuner.host.ethtool_values import CHANNELS, Values
from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.knobs.device import attributes, driver_blocks
from tuner.knobs.knob import About, Disruption, Json, Reading, State, Unsupported
from tuner.knobs.nic import DriverValue, driver_of, find_nic, moved_by_reset, parts_of, read_group, wish_together
from tuner.language.entry import PART, Entry, Family
from tuner.language.request import Request
from tuner.language.values import Whole

# Drivers that show their channels and let nobody change them (no set_channels in 6.12).
_SHOWN_ONLY = frozenset({"vmxnet3"})
_QUIRKS = (
    "EINVAL: more than the NIC has, or fewer than an RSS table points at that somebody set (ethtool -X IF default)",
    "ice: EOPNOTSUPP while steering rules are active; i40e: EINVAL where a rule names a queue that would go",
    "vmxnet3 shows its channels and lets nobody change them",
    "virtio keeps the vectors of all queues that it could have; those beyond the number never fire",
    "igb, ixgbe, i40e, ice, mlx5, virtio count combined channels; tg3, mlx4, veth count rx and tx; bnxt has both",
)


class ChannelCount(DriverValue):
    """The number of one kind of channel. Undone with it: the RSS table and the attributes of queues that it made go."""

    group: ClassVar[str] = CHANNELS
    disruption: ClassVar[Disruption] = "link"
    resets: ClassVar[bool] = True
    kept: ClassVar[str] = "nic.settings.but_channels"

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The number, and for its undo what stands and falls with it."""
        nic = find_nic(inventory, identity)
        now = read_group(inventory, nic, CHANNELS)
        if self.key not in now:
            raise Unsupported(f"{driver_of(nic)} has no {self.key} channels; it counts {', '.join(now) or 'none'}")
        files: dict[str, list[str]] = {}
        for name in attributes(inventory.host.files, nic.name):
            value = inventory.host.files.optional(f"/sys/class/net/{nic.name}/{name}") if name.startswith("queues/") else None
            if value is not None:
                files.setdefault(value, []).append(name.removeprefix("queues/"))
        rss = {name: text for name, text in driver_blocks(inventory, nic.name).items() if name.startswith("rss")}
        count, fixed = now[self.key], nic.driver in _SHOWN_ONLY
        note = f"{nic.driver} lets nobody change them" if fixed else ""
        undo = {"count": count, "rss": rss, "queues": files}
        return Reading(now=count, effective=count, undo=undo, managed=fixed, note=note)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal; ``unsupported`` where the driver only shows them."""
        if reading.now == wanted:
            return "ok"
        return "unsupported" if reading.managed else "differs"

    def refused(self, inventory: Inventory, identity: str, error: OSError) -> str:
        """EINVAL has one cause that can be named."""
        del inventory, identity
        if error.errno != errno.EINVAL:
            return ""
        return ": an RSS table that somebody set, or a steering rule, points at a queue that would go (ethtool -x, -n IF)"

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """The old number, then the table over it, then the queues' attributes.

        Those of queues that were there all the time may be another's by now: whoever calls this kept them, and puts them back.
        """
        super().restore(inventory, identity, undo["count"])
        nic = find_nic(inventory, identity)
        blocks = driver_blocks(inventory, nic.name)
        for name, text in undo["rss"].items():
            if blocks.get(name, text) != text:
                inventory.host.syscalls.set_driver_setting(nic.name, name, text)
        files = inventory.host.files
        for value, names in undo["queues"].items():
            for path in (f"/sys/class/net/{nic.name}/queues/{name}" for name in names):
                if files.optional(path) not in (value, None):
                    files.write(path, value)

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """The affinities of the NIC's interrupts, and what else a reset moves."""
        return moved_by_reset(inventory, identity, self.kept)


class CombinedChannels(ChannelCount):
    """Queues that receive and send."""

    family: ClassVar[str] = "nic.channels.combined"
    key: ClassVar[str] = "combined"
    about: ClassVar[About] = About(
        "Queues that receive and send, each with an interrupt of its own",
        "As many as cores really take packets, 1 to 4 on a feed's port: each more is an interrupt more on a core that has "
        "better to do, and a feed of few groups fills few queues anyway. Fewest queues without overflow",
        "ethtool -l IF",
        risk="queues are made anew: packets are lost meanwhile, on most drivers the link drops; interrupts come and go, and "
        "with them every affinity; the RSS table is dealt out over the new number",
        undo="the old number, the RSS table, the attributes of the queues that come back, and every affinity",
        quirks=_QUIRKS,
        source="net/ethtool/channels.c, drivers/net/ethernet, Documentation/networking/scaling.rst",
    )


class ReceiveChannels(ChannelCount):
    """Queues that only receive."""

    family: ClassVar[str] = "nic.channels.rx"
    key: ClassVar[str] = "rx"
    about: ClassVar[About] = About(
        "Queues that only receive, on drivers that count them apart",
        "As nic.channels.combined",
        "ethtool -l IF",
        risk="as nic.channels.combined",
        undo="as nic.channels.combined",
        quirks=_QUIRKS,
        source="net/ethtool/channels.c",
    )


class TransmitChannels(ChannelCount):
    """Queues that only send."""

    family: ClassVar[str] = "nic.channels.tx"
    key: ClassVar[str] = "tx"
    about: ClassVar[About] = About(
        "Queues that only send, on drivers that count them apart",
        "One for each core that sends orders, so that none waits for another's lock",
        "ethtool -l IF",
        risk="as nic.channels.combined",
        undo="as nic.channels.combined",
        quirks=_QUIRKS,
        source="net/ethtool/channels.c",
    )


def queues_to_come(request: Request, nic: Nic) -> int | None:
    """How many queues there will be once the plan is applied; None where it asks for no number that this NIC can have."""
    asked = {w.knob.rpartition(".")[2]: w.wanted for w in request.wishes if _counts(w.knob) and w.identity == nic.identity}
    try:
        now: Values = read_group(request.inventory, nic, CHANNELS) if asked else {}
    except (Unsupported, PermissionError):
        return None
    if not now or nic.driver in _SHOWN_ONLY:
        return None
    count = {name: int(value) for name, value in (now | {k: v for k, v in asked.items() if k in now}).items()}
    return count.get("combined", 0) + max(count.get("rx", 0), count.get("tx", 0))


def _counts(knob: str) -> bool:
    return knob.startswith("nic.channels.")


def _ask(request: Request) -> None:
    for part, settings in parts_of(request, "channels").items():
        nic = request.nic(part)
        rows = []
        try:
            now = read_group(request.inventory, nic, CHANNELS)
            most = request.inventory.host.syscalls.channels(nic.name)
        except (Unsupported, OSError):
            now, most = {}, None
        for key, setting in settings.items():
            wanted = setting.value
            if most is not None and key in now:
                wanted = request.amount(setting, wanted, int(now[key]), int(getattr(most, f"{key}_max")))
            rows.append((f"nic.channels.{key}", nic.identity, key, wanted, setting))
        wish_together(request, nic, CHANNELS, rows, now)


_COUNT = Whole(1, 4096, "channels", maximum=True, counted=True, example='for example 4, "count(rx)", "max", or "max:8"')
FAMILY = Family(
    "NIC channels",
    (CombinedChannels(), ReceiveChannels(), TransmitChannels()),
    (
        Entry(("nic", PART, "channels", "combined"), _COUNT, "queues that receive and send"),
        Entry(("nic", PART, "channels", "rx"), _COUNT, "queues that only receive"),
        Entry(("nic", PART, "channels", "tx"), _COUNT, "queues that only send"),
    ),
    _ask,
)
