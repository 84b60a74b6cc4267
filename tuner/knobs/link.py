"""``nic.pause.*``, ``nic.eee``, ``nic.fec``, ``nic.private_flags.*``, ``nic.rx_copybreak``: a NIC's driver and its partner.

Source: include/uapi/linux/ethtool.h, net/ethtool/{pause,eee,fec,tunables}.c, and the drivers (6.12). What is agreed with the
partner is agreed anew when it changes: the link must be taken to drop.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.ethtool_values import EEE, FEC, FEC_MODES, PAUSE, PRIVATE_FLAGS, TUNABLES, Values
from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.knobs.knob import About, Disruption, Json, Reading, State, Unsupported
from tuner.knobs.nic import DriverValue, driver_of, find_nic, parts_of, read_group, wish_together
from tuner.language.entry import PART, Entry, Family, on_nic
from tuner.language.request import Request
from tuner.language.values import Flag, Whole, Word
from tuner.profile import Place, Setting

_PAUSE_QUIRKS = (
    "igb, igc, e1000e, ixgbe: with autoneg on, rx and tx are the partner's, too, and what is asked for here is not kept",
    "igb and ixgbe drop for want of descriptors only without pause and with several queues: another counter shows loss",
    "i40e and ice refuse another autoneg here (ethtool -s IF autoneg does it), mlx5 has none",
    "i40e agrees anew with its partner: seconds without carrier; igb and ixgbe take the device down and up",
)
# Whose rx and tx are agreed with the partner while autoneg is on (igb_set_pauseparam and its like).
_AGREED = frozenset({"igb", "igc", "e1000e", "e1000", "ixgbe", "tg3"})


class PauseValue(DriverValue):
    """One of the three; set together, for each is a reset."""

    group: ClassVar[str] = PAUSE
    disruption: ClassVar[Disruption] = "link"
    resets: ClassVar[bool] = True
    kept: ClassVar[str] = "nic.settings.but_pause"

    def reading(self, nic: Nic, now: Values) -> Reading:
        """The value, and whether the partner has a say in it."""
        agreed = self.key != "autoneg" and now.get("autoneg") and nic.driver in _AGREED
        note = "autoneg is on: the partner has its say" if agreed else ""
        return Reading(now=now[self.key], effective=now[self.key], note=note)


class PauseReceive(PauseValue):
    """Whether the NIC obeys."""

    family: ClassVar[str] = "nic.pause.rx"
    key: ClassVar[str] = "rx"
    about: ClassVar[About] = About(
        "Whether the NIC stops sending when its partner asks for it",
        "Off: a switch that is congested elsewhere must not hold back an order",
        "ethtool -a IF",
        risk="the link drops for up to seconds on most drivers",
        quirks=_PAUSE_QUIRKS,
        source="net/ethtool/pause.c, drivers/net/ethernet",
    )


class PauseTransmit(PauseValue):
    """Whether the NIC asks."""

    family: ClassVar[str] = "nic.pause.tx"
    key: ClassVar[str] = "tx"
    about: ClassVar[About] = About(
        "Whether the NIC asks its partner to stop sending when it cannot keep up",
        "Off on a feed: what this host drops can be counted here; a switch that was stopped drops for all behind it, unseen",
        "ethtool -a IF",
        risk="as nic.pause.rx",
        quirks=_PAUSE_QUIRKS,
        source="net/ethtool/pause.c, drivers/net/ethernet",
    )


class PauseAutoneg(PauseValue):
    """Whether it is agreed."""

    family: ClassVar[str] = "nic.pause.autoneg"
    key: ClassVar[str] = "autoneg"
    about: ClassVar[About] = About(
        "Whether pause frames are agreed with the partner",
        "Off where rx and tx shall be what is asked for",
        "ethtool -a IF",
        risk="as nic.pause.rx",
        quirks=_PAUSE_QUIRKS,
        source="net/ethtool/pause.c, drivers/net/ethernet",
    )


class PrivateFlag(DriverValue):
    """One flag of the driver's own; the identity is the NIC's, a blank, and the flag's name."""

    family: ClassVar[str] = "nic.private_flags"
    about: ClassVar[About] = About(
        "A switch that only this driver has, by the driver's name for it",
        "mlx5: rx_cqe_compress off. i40e: flow-director-atr off where rules steer, disable-fw-lldp on. ice: fw-lldp-agent off",
        "ethtool --show-priv-flags IF",
        risk="many drivers reset for it",
        quirks=("names are the driver's, and differ between versions", "flags of one driver may exclude each other: EINVAL"),
        source="ETHTOOL_GPFLAGS, ETHTOOL_SPFLAGS; drivers/net/ethernet",
    )
    group: ClassVar[str] = PRIVATE_FLAGS
    disruption: ClassVar[Disruption] = "link"
    resets: ClassVar[bool] = True
    kept: ClassVar[str] = "nic.settings.but_private_flags"

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The flag."""
        nic, name = find_nic(inventory, identity), identity.partition(" ")[2]
        now = read_group(inventory, nic, PRIVATE_FLAGS)
        if name not in now:
            raise Unsupported(f"{driver_of(nic)} has no flag {printable(name)}; it has {printable(', '.join(now)) or 'none'}")
        return Reading(now=now[name], effective=now[name])

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """All flags that the plan asks for, in one word."""
        alone = {identity.partition(" ")[2]: wanted}
        super().write(inventory, identity, wanted, {"together": options.get("together") or alone})

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """The flag as it was; nothing where it is so."""
        inventory.refresh()
        name = identity.partition(" ")[2]
        if read_group(inventory, find_nic(inventory, identity), PRIVATE_FLAGS).get(name) != undo:
            self._set(inventory, identity, {name: undo})

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """Each flag of each NIC."""
        found = []
        for nic in (nic for nic in inventory.nics if nic.physical):
            with contextlib.suppress(Unsupported, OSError):
                names = read_group(inventory, nic, PRIVATE_FLAGS)
                found += [(f"{nic.name} {name}", f"{nic.identity} {name}") for name in names]
        return found


class EnergyEfficient(DriverValue):
    """On or off."""

    family: ClassVar[str] = "nic.eee"
    about: ClassVar[About] = About(
        "Whether the link may sleep between packets (Energy-Efficient Ethernet)",
        "Off: the first packet after a pause waits until both ends are awake, some 17 µs at 1 Gb/s",
        "ethtool --show-eee IF",
        effective="the same says whether it is active: the partner must want it, too",
        risk="the link is agreed anew: seconds without carrier",
        quirks=("only on twisted pair; others answer that there is none",),
        source="net/ethtool/eee.c, IEEE 802.3az",
    )
    group: ClassVar[str] = EEE
    key: ClassVar[str] = "enabled"
    disruption: ClassVar[Disruption] = "link"
    resets: ClassVar[bool] = True
    kept: ClassVar[str] = "nic.settings"

    def reading(self, nic: Nic, now: Values) -> Reading:
        """Whether it is enabled, and whether the partner agreed."""
        del nic
        return Reading(now=now["enabled"], effective=now["enabled"], note="active" if now.get("active") else "")


class ErrorCorrection(DriverValue):
    """A mode."""

    family: ClassVar[str] = "nic.fec"
    about: ClassVar[About] = About(
        "Forward error correction of the link",
        "As the switch has it. rs costs some 100 ns or more a packet; off or baser where cable and optics allow it",
        "ethtool --show-fec IF",
        effective="the active mode, which ethtool --show-fec shows beside the configured one",
        risk="the link is down until both ends agree: change the switch first",
        quirks=("auto leaves it to the driver and the module",),
        source="net/ethtool/fec.c, IEEE 802.3 clauses 74, 91, 108",
    )
    group: ClassVar[str] = FEC
    key: ClassVar[str] = "mode"
    disruption: ClassVar[Disruption] = "link"
    resets: ClassVar[bool] = True
    kept: ClassVar[str] = "nic.settings"

    def reading(self, nic: Nic, now: Values) -> Reading:
        """``now`` is what is configured, ``effective`` what the link uses."""
        del nic
        return Reading(now=now["mode"], effective=now.get("active", "none"))

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Configured as wanted and in use; ``unverifiable`` while the link says of none that it is in use."""
        if reading.now != wanted:
            return "differs"
        if wanted == "auto" or reading.effective == wanted:
            return "ok"
        return "unverifiable" if reading.effective == "none" else "differs"


class ReceiveCopybreak(DriverValue):
    """Bytes."""

    family: ClassVar[str] = "nic.rx_copybreak"
    about: ClassVar[About] = About(
        "Bytes up to which a received packet is copied out of its buffer, which stays with the NIC",
        "The driver's default, unless a measurement says otherwise: market data is short, copying it costs less than a page",
        "ethtool --get-tunable IF rx-copybreak",
        quirks=("ena, enic, gve, hns3, mlx4 and some others have it; most do not",),
        source="net/ethtool/ioctl.c (ETHTOOL_GTUNABLE), drivers/net/ethernet",
    )
    group: ClassVar[str] = TUNABLES
    key: ClassVar[str] = "rx_copybreak"


def _ask(request: Request) -> None:
    for part, settings in parts_of(request, "pause").items():
        nic = request.nic(part)
        now = _now(request, nic, PAUSE)
        rows = [(f"nic.pause.{key}", nic.identity, key, setting.value, setting) for key, setting in settings.items()]
        wish_together(request, nic, PAUSE, rows, now)
        autoneg = settings["autoneg"].value if "autoneg" in settings else now.get("autoneg")
        if autoneg and nic.driver in _AGREED and settings.keys() & {"rx", "tx"}:
            request.warnings.append(
                f"{printable(nic.name)}: with pause.autoneg on {nic.driver} agrees rx and tx with its partner; "
                "autoneg = false keeps them as they are asked for"
            )
    for part, settings in parts_of(request, "private_flags").items():
        nic = request.nic(part)
        rows = [
            (f"nic.private_flags.{n}", f"{nic.identity} {n}", n, s.value, s)
            for n, s in settings.items()
            if _named(request, n, s)
        ]
        wish_together(request, nic, PRIVATE_FLAGS, rows, _now(request, nic, PRIVATE_FLAGS))


def _named(request: Request, name: str, setting: Setting) -> bool:
    good = 0 < len(name) < 32 and printable(name) == name and name.strip() == name
    if not good:
        request.fault(setting, "not the name of a flag", "ethtool --show-priv-flags IF has them")
    return good


def _now(request: Request, nic: Nic, group: str) -> Values:
    try:
        return read_group(request.inventory, nic, group)
    except (Unsupported, OSError):
        return {}


def _ask_fec(request: Request, place: Place, setting: Setting) -> None:
    nic = request.nic(place[1])
    request.wish("nic.fec", nic.name, nic.identity, request.first(setting, setting.value, None), setting)


def _ask_copybreak(request: Request, place: Place, setting: Setting) -> None:
    nic = request.nic(place[1])
    now = _now(request, nic, TUNABLES).get("rx_copybreak")
    wanted = request.amount(setting, setting.value, None if now is None else int(now))
    request.wish("nic.rx_copybreak", nic.name, nic.identity, wanted, setting)


_MODES = tuple(mode for mode in FEC_MODES if mode != "none")
FAMILY = Family(
    "NIC link and driver",
    (PauseAutoneg(), PauseReceive(), PauseTransmit(), PrivateFlag(), EnergyEfficient(), ErrorCorrection(), ReceiveCopybreak()),
    (
        Entry(("nic", PART, "pause", "autoneg"), Flag(), "agree pause frames with the partner"),
        Entry(("nic", PART, "pause", "rx"), Flag(), "stop sending when the partner asks"),
        Entry(("nic", PART, "pause", "tx"), Flag(), "ask the partner to stop"),
        Entry(("nic", PART, "private_flags", PART), Flag(), "a flag of the driver's own, by its name"),
        Entry(("nic", PART, "eee"), Flag(), "let the link sleep between packets", on_nic("nic.eee")),
        Entry(("nic", PART, "fec"), Word(_MODES), "forward error correction", _ask_fec),
        Entry(("nic", PART, "rx_copybreak"), Whole(0, 65535, "bytes"), "copy packets up to this size", _ask_copybreak),
    ),
    _ask,
)
