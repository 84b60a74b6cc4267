"""``nic.coalesce.*``: how long a NIC waits, and for how many packets, before it interrupts.

Source: ETHTOOL_GCOALESCE / ETHTOOL_SCOALESCE, net/ethtool/coalesce.c, and the drivers (6.12), which mean different things by
one number: see ``_SPECIAL``. All values that a profile names go in one request: most drivers refuse some states between (no
time and no packet to wait for; times while the driver adapts them).
"""

from collections.abc import Mapping
from typing import ClassVar

from tuner.host.ethtool_values import COALESCE, Values
from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.knobs.knob import About, Disruption, Json, Reading, State, Unsupported
from tuner.knobs.nic import DriverValue, driver_of, find_nic, parts_of, read_group, wish_together
from tuner.language.entry import PART, Entry, Family
from tuner.language.request import Request
from tuner.language.values import Flag, Kind, Whole
from tuner.profile import Setting

_DYNAMIC = "moderated by load, between some 4000 and 70000 interrupts a second"
# driver -> rx_usecs -> what it means there instead of microseconds (igb_set_itr, ixgbe_set_coalesce, e1000_set_coalesce)
_SPECIAL: dict[str, dict[int, str]] = {
    "igb": {1: _DYNAMIC, 3: f"{_DYNAMIC}, conservative"},
    "igc": {1: _DYNAMIC, 3: f"{_DYNAMIC}, conservative"},
    "e1000e": {1: _DYNAMIC, 3: f"{_DYNAMIC}, conservative", 4: "8000 interrupts a second at most"},
    "ixgbe": {1: _DYNAMIC},
}
# driver -> microseconds that it refuses (EINVAL), and up to where it takes others
_REFUSED: dict[str, tuple[frozenset[int], int]] = {
    "igb": (frozenset({2, *range(4, 10)}), 10000),
    "igc": (frozenset({2, *range(4, 10)}), 10000),
    "e1000e": (frozenset({2, *range(5, 10)}), 10000),
    "ixgbe": (frozenset(), 1022),
    "i40e": (frozenset(), 8160),
    "ice": (frozenset(), 8160),
}
# ixgbe resets the MAC where rx_usecs crosses the threshold under which receive coalescing in hardware cannot work
# (ixgbe_update_rsc); mlx5 opens its channels anew where adaptation goes on or off (mlx5e_ethtool_set_coalesce)
_DISTURBS: dict[str, Disruption] = {"ixgbe": "link", "mlx5_core": "link"}
_SOURCE = "net/ethtool/coalesce.c, drivers/net/ethernet/*/*_ethtool.c"
_ZERO = "0 with frames = 0, too, is refused by most drivers: no interrupt would ever come"


class CoalesceValue(DriverValue):
    """One value. Its undo is the value and all others as they were: a driver may take the old one only with them."""

    group: ClassVar[str] = COALESCE
    kept: ClassVar[str] = "nic.settings.but_coalesce"
    resets: ClassVar[bool] = True
    disturbs: ClassVar[Mapping[str, Disruption]] = _DISTURBS

    def reading(self, nic: Nic, now: Values) -> Reading:
        """The value, and what it means on this driver."""
        value = now[self.key]
        meant = _SPECIAL.get(nic.driver, {}).get(int(value)) if self.key == "rx_usecs" else None
        note = f"{nic.driver} takes {value} not for {value} µs: {meant}" if meant else ""
        return Reading(now=value, effective=meant or value, undo={"value": value, "all": dict(now)}, note=note)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal, or what drivers make of it: even microseconds, or the nearest that a rate of whole interrupts has."""
        now, want = int(reading.now), int(wanted)
        if now == want:
            return "ok"
        return "ok-rounded" if "usecs" in self.key and now in rounded(want) else "differs"

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """The saved value alone; where the driver refuses that, while it does not adapt, else with all others as they were."""
        try:
            super().restore(inventory, identity, undo["value"])
        except OSError:
            now = read_group(inventory, find_nic(inventory, identity), COALESCE)
            adapting = {name: on for name, on in now.items() if name.startswith("adaptive") and on and name != self.key}
            before = {name: value for name, value in undo["all"].items() if name in now}
            if adapting:
                self._set(inventory, identity, dict.fromkeys(adapting, False) | {self.key: undo["value"]})
                self._set(inventory, identity, adapting)
            elif len(before) > 1:
                self._set(inventory, identity, before)
            else:
                raise


def rounded(usecs: int) -> frozenset[int]:
    """What drivers make of so many microseconds where not themselves.

    i40e aligns up to its registers' 2 µs (ITR_REG_ALIGN), ice down; e1000e keeps interrupts a second and divides twice.
    """
    even = {usecs + 1, usecs - 1} if usecs % 2 else set()
    return frozenset(even | ({1_000_000 // (1_000_000 // usecs)} if 0 < usecs <= 1_000_000 else set()))


class ReceiveUsecs(CoalesceValue):
    """Microseconds after a packet."""

    family: ClassVar[str] = "nic.coalesce.rx_usecs"
    key: ClassVar[str] = "rx_usecs"
    about: ClassVar[About] = About(
        "Microseconds that a received packet waits before the NIC interrupts",
        "0 on a feed that is driven by interrupts: each packet is told at once. 60 to 100 where the application spins and "
        "interrupts are only the way back from sleep; else they storm. Adaptive on housekeeping NICs",
        "ethtool -c IF",
        risk="none on most drivers; ixgbe may reset its MAC, mlx5 its channels",
        undo="the old value, together with the others where the driver wants it so",
        quirks=(
            "1 µs is not 1 µs: igb, igc, e1000e and ixgbe take 1 (and 3) for moderation by load; 0 is none",
            "igb and igc refuse 2 and 4 to 9, e1000e 2 and 5 to 9; ixgbe takes 1022 at most",
            "i40e and ice count in steps of 2 µs: i40e rounds up, ice down; 8160 at most",
            "ice refuses another number while adaptive_rx is on: name both",
            _ZERO,
        ),
        source=_SOURCE,
    )


class TransmitUsecs(CoalesceValue):
    """Microseconds after a packet was sent."""

    family: ClassVar[str] = "nic.coalesce.tx_usecs"
    key: ClassVar[str] = "tx_usecs"
    about: ClassVar[About] = About(
        "Microseconds that a sent packet's memory waits to be given back",
        "It delays no packet. Short where a socket's send buffer is small and orders burst; long elsewhere",
        "ethtool -c IF",
        quirks=("igb, igc and ixgbe with paired queues have rx_usecs for both, and refuse this with EINVAL", _ZERO),
        source=_SOURCE,
    )


class ReceiveFrames(CoalesceValue):
    """Packets."""

    family: ClassVar[str] = "nic.coalesce.rx_frames"
    key: ClassVar[str] = "rx_frames"
    about: ClassVar[About] = About(
        "Packets that the NIC waits for before it interrupts",
        "1 on a feed that is driven by interrupts",
        "ethtool -c IF",
        quirks=("mlx5, bnxt, tg3 and virtio have it; Intel's drivers do not", _ZERO),
        source=_SOURCE,
    )


class TransmitFrames(CoalesceValue):
    """Sent packets."""

    family: ClassVar[str] = "nic.coalesce.tx_frames"
    key: ClassVar[str] = "tx_frames"
    about: ClassVar[About] = About(
        "Sent packets that the NIC waits for before it interrupts",
        "As nic.coalesce.tx_usecs",
        "ethtool -c IF",
        quirks=("virtio: 0 switches interrupts of sending off, 1 on; EBUSY while the interface is up",),
        source=_SOURCE,
    )


class AdaptiveReceive(CoalesceValue):
    """On or off."""

    family: ClassVar[str] = "nic.coalesce.adaptive_rx"
    key: ClassVar[str] = "adaptive_rx"
    about: ClassVar[About] = About(
        "Whether the driver changes rx_usecs and rx_frames by itself as load comes and goes",
        "Off on trading NICs: it learns from the quiet before a burst. On everywhere else",
        "ethtool -c IF",
        quirks=("igb, igc, ixgbe and e1000e have none: there rx_usecs = 1 is adaptive", "while on, rx_usecs says little"),
        source=f"{_SOURCE}, lib/dim",
    )


class AdaptiveTransmit(CoalesceValue):
    """On or off."""

    family: ClassVar[str] = "nic.coalesce.adaptive_tx"
    key: ClassVar[str] = "adaptive_tx"
    about: ClassVar[About] = About(
        "Whether the driver changes tx_usecs and tx_frames by itself",
        "As nic.coalesce.adaptive_rx",
        "ethtool -c IF",
        source=f"{_SOURCE}, lib/dim",
    )


def _lesser(key: str, summary: str, why: str, quirk: str) -> type[CoalesceValue]:
    """A value that few drivers have."""
    about = About(summary, why, "ethtool -c IF", quirks=(quirk,), source=_SOURCE)
    return type(f"Coalesce_{key}", (CoalesceValue,), {"family": f"nic.coalesce.{key}", "key": key, "about": about})


_BUSY = "As the value without _irq; only while the host is at work on an interrupt already"
_FEW = "bnxt, bnx2x and tg3 have it"
_FLOOR = "A ceiling on interrupts while adaptive: 0 leaves the driver free"
_LESSER = (
    _lesser("rx_usecs_irq", "rx_usecs while an interrupt is being served", _BUSY, _FEW),
    _lesser("rx_frames_irq", "rx_frames while an interrupt is being served", _BUSY, _FEW),
    _lesser("tx_usecs_irq", "tx_usecs while an interrupt is being served", _BUSY, _FEW),
    _lesser("tx_frames_irq", "tx_frames while an interrupt is being served", _BUSY, _FEW),
    _lesser("rx_usecs_high", "The least time between two interrupts of a receive queue", _FLOOR, "i40e and ice: 0 to 236"),
    _lesser("tx_usecs_high", "The least time between two interrupts of a transmit queue", _FLOOR, "i40e: 0 to 236"),
)


def _ask(request: Request) -> None:
    for part, settings in parts_of(request, "coalesce").items():
        nic = request.nic(part)
        try:
            now = read_group(request.inventory, nic, COALESCE)
        except (Unsupported, OSError):
            now = {}
        rows = []
        for key, setting in settings.items():
            wanted = setting.value
            if not isinstance(wanted, bool):
                wanted = request.amount(setting, wanted, int(now[key]) if key in now else None)
                _check(request, nic, key, wanted, setting)
            rows.append((f"nic.coalesce.{key}", nic.identity, key, wanted, setting))
        wish_together(request, nic, COALESCE, rows, now)


def _check(request: Request, nic: Nic, key: str, wanted: int, setting: Setting) -> None:
    if key != "rx_usecs":
        return
    refused, most = _REFUSED.get(nic.driver, (frozenset(), 1 << 32))
    if wanted in refused or wanted > most:
        hint = f"0, or {min(n for n in range(4, 11) if n not in refused)} to {most}" if refused else f"{most} at most"
        request.fault(setting, f"{driver_of(nic)} refuses {wanted} µs", hint)
    elif meant := _SPECIAL.get(nic.driver, {}).get(wanted):
        request.warnings.append(f"{setting.source}: {wanted} is not {wanted} µs on {nic.driver}: {meant}; 0 is no waiting")


_USECS, _FRAMES = Whole(0, 1 << 20, "µs"), Whole(0, 1 << 20, "packets")
_KNOBS = (
    AdaptiveReceive(), AdaptiveTransmit(), ReceiveUsecs(), ReceiveFrames(), TransmitUsecs(), TransmitFrames(),
    *(kind() for kind in _LESSER),
)  # fmt: skip


def _kind(key: str) -> Kind:
    return Flag() if key.startswith("adaptive") else _USECS if "usecs" in key else _FRAMES


FAMILY = Family(
    "NIC interrupt coalescing",
    _KNOBS,
    tuple(Entry(("nic", PART, "coalesce", knob.key), _kind(knob.key), knob.about.summary) for knob in _KNOBS),
    _ask,
)
