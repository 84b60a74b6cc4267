"""``nic.features.*``: what a NIC, and the stack above it, does with packets on its own (``ethtool -k``).

Source: ETHTOOL_GFEATURES / ETHTOOL_SFEATURES, net/core/dev.c (__netdev_update_features), net/ethtool/common.c (names). Three
things are told apart: what was asked for, what is in force, and what nobody may ask for (``[fixed]``). A feature may be asked
for and not be in force: another one that it needs is off (netdev_fix_features), or a bond, a bridge or XDP forbids it.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import ClassVar

from tuner.host.ethtool_values import FEATURES, Feature
from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.knobs.knob import About, Disruption, Json, Knob, Reading, State, Unsupported
from tuner.knobs.nic import driver_of, find_nic, parts_of, wish_together
from tuner.language.entry import PART, Entry, Family
from tuner.language.request import Request
from tuner.language.values import Flag

# short names, as ethtool -K has them -> the kernel's, with wildcards
SHORT = {
    "gro": "rx-gro",
    "gro_hw": "rx-gro-hw",
    "lro": "rx-lro",
    "gso": "tx-generic-segmentation",
    "tso": "tx-tcp*-segmentation",
    "rx": "rx-checksum",
    "tx": "tx-checksum-*",
    "sg": "tx-scatter-gather*",
    "rxvlan": "rx-vlan-hw-parse",
    "txvlan": "tx-vlan-hw-insert",
    "ntuple": "rx-ntuple-filter",
    "rxhash": "rx-hashing",
}
# All that a kernel can call a feature of a NIC (netdev_features_strings, 6.18), but for what nobody can switch.
KNOWN = (
    "esp-hw-offload", "esp-tx-csum-hw-offload", "highdma", "hsr-dup-offload", "hsr-fwd-offload", "hsr-tag-ins-offload",
    "hsr-tag-rm-offload", "hw-tc-offload", "l2-fwd-offload", "loopback", "macsec-hw-offload", "rx-all", "rx-checksum", "rx-fcs",
    "rx-gro", "rx-gro-hw", "rx-gro-list", "rx-hashing", "rx-lro", "rx-ntuple-filter", "rx-udp-gro-forwarding",
    "rx-udp_tunnel-port-offload", "rx-vlan-filter", "rx-vlan-hw-parse", "rx-vlan-stag-filter", "rx-vlan-stag-hw-parse",
    "tls-hw-record", "tls-hw-rx-offload", "tls-hw-tx-offload", "tx-checksum-fcoe-crc", "tx-checksum-ip-generic",
    "tx-checksum-ipv4", "tx-checksum-ipv6", "tx-checksum-sctp", "tx-esp-segmentation", "tx-fcoe-segmentation",
    "tx-generic-segmentation", "tx-gre-csum-segmentation", "tx-gre-segmentation", "tx-gso-list", "tx-gso-partial",
    "tx-ipxip4-segmentation", "tx-ipxip6-segmentation", "tx-nocache-copy", "tx-scatter-gather", "tx-scatter-gather-fraglist",
    "tx-sctp-segmentation", "tx-tcp-accecn-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation",
    "tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tunnel-remcsum-segmentation", "tx-udp-segmentation",
    "tx-udp_tnl-csum-segmentation", "tx-udp_tnl-segmentation", "tx-vlan-hw-insert", "tx-vlan-stag-hw-insert",
)  # fmt: skip
# What the core does in software, or a descriptor says packet by packet: no driver resets for it.
_SOFT = (
    "rx-gro", "rx-gro-list", "rx-udp-gro-forwarding", "tx-nocache-copy", "tx-*segmentation", "tx-checksum-*", "tx-scatter*",
    "tx-gso-list",
)  # fmt: skip


class FeatureSwitch(Knob):
    """One feature; the identity is the NIC's, a blank, and the kernel's name of the feature."""

    family: ClassVar[str] = "nic.features"
    about: ClassVar[About] = About(
        "What the NIC and the stack do with packets on their own: merging, splitting, checksums, steering",
        "On a feed gro, lro and gro_hw off, for they hold packets back to merge them. Where orders leave by TCP: tso, gso, "
        "gro and lro off, so that a segment leaves when it is written. ntuple on where rules steer groups. On elsewhere",
        "ethtool -k IF",
        effective="ethtool -k IF shows what is in force, and [requested on] where that is not what was asked for",
        risk="gro, gso, tso and checksums: none. lro, gro_hw, rxvlan, rxhash, ntuple and the like: many drivers reset",
        undo="what was asked for before; what is in force follows",
        quirks=(
            "[fixed]: the driver lets nobody change it; as it is, it is as wanted or unsupported",
            "switching gro off takes rx-gro-hw with it, which resets bnxt; rx-lro and rx-gro-hw need rx-checksum",
            "a bond, a bridge or an XDP program switches lro and gro_hw off, whatever is asked for",
            "ixgbe resets when ntuple changes",
        ),
        source="net/core/dev.c (__netdev_update_features, netdev_fix_features), net/ethtool/common.c",
    )
    resets: ClassVar[bool] = True

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """``now`` is what was asked for, ``effective`` what is in force; ``managed`` says [fixed]."""
        nic, name = find_nic(inventory, identity), identity.partition(" ")[2]
        row = read_features(inventory, nic).get(name)
        if row is None:
            raise Unsupported(f"this kernel knows no feature {name}")
        note = f"[fixed]: {driver_of(nic)} lets nobody change it" if row.fixed else ""
        if not row.fixed and row.requested != row.active:
            note = (
                "asked for and not in force: a feature that it needs is off, or a bond, a bridge or an XDP program forbids it"
            )
            note = note if row.requested else "in force though switched off: something above this NIC holds it"
        return Reading(now=row.active if row.fixed else row.requested, effective=row.active, managed=row.fixed, note=note)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where it is asked for, and in force, as wanted; what is fixed is so or cannot be."""
        if reading.effective == wanted and reading.now == wanted:
            return "ok"
        return "unsupported" if reading.managed else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """One request for all features that the plan changes on this NIC."""
        self._set(inventory, identity, dict(options.get("together") or {}) or {identity.partition(" ")[2]: wanted})

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Asks for what was asked for."""
        inventory.refresh()
        name = identity.partition(" ")[2]
        row = read_features(inventory, find_nic(inventory, identity)).get(name)
        if row is not None and not row.fixed and row.requested != undo:
            self._set(inventory, identity, {name: undo})

    def same(self, left: Json, right: Json) -> bool:
        """Equal."""
        return bool(left == right)

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """What a driver may forget that resets for it."""
        return () if self.disrupts(inventory, identity) == "none" else [("nic.settings", identity.partition(" ")[0])]

    def disrupts(self, inventory: Inventory, identity: str) -> Disruption:
        """``none`` for what is done in software, unless it takes hardware with it; a virtual interface has no link to lose."""
        nic, name = find_nic(inventory, identity), identity.partition(" ")[2]
        if not nic.physical:
            return "none"
        rows = read_features(inventory, nic)
        if name == "rx-gro" and "rx-gro-hw" in rows and rows["rx-gro-hw"].active and not rows["rx-gro-hw"].fixed:
            return "link"
        return "none" if any(fnmatchcase(name, soft) for soft in _SOFT) else "link"

    def _set(self, inventory: Inventory, identity: str, values: Mapping[str, bool]) -> None:
        inventory.refresh()
        inventory.host.syscalls.set_nic_values(find_nic(inventory, identity).name, FEATURES, values)
        inventory.refresh()

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """Each feature of each NIC, those first that have a short name."""
        found = []
        for nic in (nic for nic in inventory.nics if nic.physical):
            try:
                rows = read_features(inventory, nic)
            except Unsupported:
                continue
            short = [name for name in rows if any(fnmatchcase(name, pattern) for pattern in SHORT.values())]
            found += [(f"{nic.name} {name}", f"{nic.identity} {name}") for name in dict.fromkeys([*short, *rows])]
        return found


def read_features(inventory: Inventory, nic: Nic) -> dict[str, Feature]:
    """All features of a NIC.

    Raises:
        Unsupported: it shows none.
    """
    try:
        return inventory.once(("features", nic.name), lambda: inventory.host.syscalls.features(nic.name))
    except OSError as error:
        raise Unsupported(f"{driver_of(nic)} shows no features: {error.strerror}") from error


def _ask(request: Request) -> None:
    for part, settings in parts_of(request, "features").items():
        nic = request.nic(part)
        try:
            rows = read_features(request.inventory, nic)
        except Unsupported:
            rows = {}
        asked = {}
        # a short name for several is the general; a kernel's own name says it of one
        for word, setting in sorted(settings.items(), key=lambda item: item[0] not in SHORT):
            for name in _meant(rows, word):
                asked[name] = (f"nic.features.{name}", f"{nic.identity} {name}", name, setting.value, setting)
        wish_together(request, nic, FEATURES, asked.values(), [name for name, row in rows.items() if not row.fixed])


def _meant(rows: Mapping[str, Feature], word: str) -> list[str]:
    """The features that a word means here: of several those that may be changed, or all where none may."""
    pattern = SHORT.get(word, word)
    matching = [name for name in rows if fnmatchcase(name, pattern)] or [pattern.replace("*", "")]
    return [name for name in matching if name in rows and not rows[name].fixed] or matching


FAMILY = Family(
    "NIC features",
    (FeatureSwitch(),),
    tuple(Entry(("nic", PART, "features", word), Flag(), f"the kernel's {name}") for word, name in SHORT.items())
    + tuple(Entry(("nic", PART, "features", name), Flag(), "by the kernel's own name") for name in KNOWN),
    _ask,
)
