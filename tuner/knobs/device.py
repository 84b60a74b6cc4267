"""``nic.settings``: everything of a NIC that a reset may move and no plan names, kept whole and put back whole.

No profile can name it: it is what stands around a change. Source: drivers in drivers/net/ethernet (ixgbe, i40e, ice, mlx5, tg3,
vmxnet3), which set coalescing, indirection table or queue attributes to their defaults when they open the device again; and
net/core/dev.c, which drops XPS maps when the number of queues changes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from typing import ClassVar

from tuner.host.cpulist import format_list, parse_list
from tuner.host.files import HostFiles
from tuner.host.flow_rules import Flow
from tuner.host.host import Inventory
from tuner.host.text import is_number
from tuner.knobs.knob import About, Json, Knob, Reading, State
from tuner.knobs.nic import find_nic
from tuner.language.entry import Family

_OF_DEVICE = ("tx_queue_len", "gro_flush_timeout", "napi_defer_hard_irqs", "threaded")
_OF_RX = ("rps_cpus", "rps_flow_cnt")
_OF_TX = ("xps_cpus", "xps_rxqs", "tx_maxrate")
_LIMITS = ("limit_max", "limit_min", "hold_time")


class DeviceSettings(Knob):
    """Driver blocks and queue attributes of one NIC; the identity is ``tuner.host.nics.Nic.identity``.

    ``but`` are blocks that the change at hand sets itself, or that follow from it: they are not kept around it.

    A reading is ``{"driver": {name: text}, "files": {value: [name below /sys/class/net/IF]}, "rules": [flow rule]}``; the files
    are grouped by value, and queues that have the same one are told as a range, since a journal shall stay small.
    """

    family: ClassVar[str] = "nic.settings"
    about: ClassVar[About] = About(
        "Everything of a NIC that a reset may move and no plan names",
        "Nobody sets it: it is saved before a NIC is reset, and put back after",
        "ethtool -c -l -a -x IF, /sys/class/net/IF",
    )
    but: ClassVar[tuple[str, ...]] = ()

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """All of them as they are."""
        nic = find_nic(inventory, identity)
        files = inventory.host.files
        grouped: dict[str, list[str]] = {}
        for name in attributes(files, nic.name):
            value = files.optional(f"/sys/class/net/{nic.name}/{name}")
            if value is not None:
                grouped.setdefault(value, []).append(name)
        packed = {value: _packed(names) for value, names in grouped.items()}
        now = {"driver": self._driver(inventory, nic.name), "files": packed, "rules": flow_rules(inventory, nic.name)}
        return Reading(now=now, effective=None)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal in every part."""
        return "ok" if self.same(reading.now, wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Writes what differs."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes what differs from the saved reading, and goes on where one part is refused.

        Raises:
            OSError: the first refusal, after everything was tried.
        """
        refused: OSError | None = None
        inventory.refresh()  # another NIC may have taken the name since
        nic = find_nic(inventory, identity)
        now = self.read(inventory, identity).now
        for name, text in undo["driver"].items():
            if now["driver"].get(name) not in (text, None):
                try:
                    inventory.host.syscalls.set_driver_setting(nic.name, str(name), str(text))
                except OSError as error:
                    refused = refused or error
        current = _by_name(self.read(inventory, identity).now["files"])
        for name, value in _by_name(undo["files"]).items():
            if name in current and current[name] != value:
                try:
                    inventory.host.files.write(f"/sys/class/net/{nic.name}/{name}", value)
                except OSError as error:
                    refused = refused or error
        try:
            put_rules_back(inventory, nic.name, undo.get("rules", []))
        except OSError as error:
            refused = refused or error
        if refused is not None:
            raise refused

    def same(self, left: Json, right: Json) -> bool:
        """Equal in every part that both have: a queue that is gone has nothing to be compared."""
        ours, theirs = _by_name(left["files"]), _by_name(right["files"])
        files = all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())
        files = files and left.get("rules", []) == right.get("rules", [])
        return files and all(left["driver"][name] == right["driver"][name] for name in left["driver"].keys() & right["driver"])

    def _driver(self, inventory: Inventory, ifname: str) -> dict[str, str]:
        return {name: text for name, text in driver_blocks(inventory, ifname).items() if not name.startswith(self.but)}


class AroundChannels(DeviceSettings):
    """What is kept around another number of channels: the driver deals the RSS table out anew, over the queues that it has."""

    family: ClassVar[str] = "nic.settings.but_channels"
    but: ClassVar[tuple[str, ...]] = ("channels", "rss")


class AroundCoalesce(DeviceSettings):
    """What is kept around coalescing, where a driver resets for it."""

    family: ClassVar[str] = "nic.settings.but_coalesce"
    but: ClassVar[tuple[str, ...]] = ("coalesce",)


class AroundPause(DeviceSettings):
    """What is kept around pause frames."""

    family: ClassVar[str] = "nic.settings.but_pause"
    but: ClassVar[tuple[str, ...]] = ("pause",)


class AroundPrivateFlags(DeviceSettings):
    """What is kept around the driver's own flags."""

    family: ClassVar[str] = "nic.settings.but_private_flags"
    but: ClassVar[tuple[str, ...]] = ("private_flags",)


def driver_blocks(inventory: Inventory, ifname: str) -> dict[str, str]:
    """The blocks of a driver as they are, none where it has no ethtool."""
    try:
        return inventory.host.syscalls.driver_settings(ifname)
    except OSError:
        return {}


def flow_rules(inventory: Inventory, ifname: str) -> list[Json]:
    """The NIC's flow rules by IPv4 addresses as ``[location, queue, fields of the flow…]``; empty where it has no flow table.

    Rules that this version cannot spell are not kept: what matches by MAC or VLAN stays the business of who made it.
    """
    try:
        table = inventory.host.syscalls.flow_table(ifname)
    except OSError:
        return []
    return [[r.location, r.queue, *astuple(r.flow)] for _, r in sorted(table.rules.items()) if r.flow is not None]


def put_rules_back(inventory: Inventory, ifname: str, saved: Iterable[Json]) -> None:
    """Inserts again, at its own place, each rule that is no longer there; a place that somebody took meanwhile is theirs.

    Raises:
        OSError: the first refusal, after all rules were tried.
    """
    refused: OSError | None = None
    there = {rule[0] for rule in flow_rules(inventory, ifname)}
    for location, queue, *flow in saved:
        if location in there:
            continue
        try:
            inventory.host.syscalls.set_flow_rule(ifname, Flow(*flow), int(queue), int(location))
        except OSError as error:
            refused = refused or error
    if refused is not None:
        raise refused


def attributes(files: HostFiles, ifname: str) -> list[str]:
    """The names, below /sys/class/net/IF, of the attributes that are kept and may be written."""
    base = f"/sys/class/net/{ifname}"
    names = list(_OF_DEVICE)
    for queue in files.entries(f"{base}/queues"):
        kind, _, number = queue.partition("-")
        if kind in ("rx", "tx") and is_number(number):
            leaves = _OF_RX if kind == "rx" else (*_OF_TX, *(f"byte_queue_limits/{leaf}" for leaf in _LIMITS))
            names += [f"queues/{queue}/{leaf}" for leaf in leaves]
    return [name for name in names if files.writable_by_owner(f"{base}/{name}")]


_QUEUE = re.compile(r"queues/([rt]x)-(\d+)/(.*)")
_QUEUES = re.compile(r"queues/([rt]x)-\{([0-9,-]+)\}/(.*)")


def _packed(names: Iterable[str]) -> list[str]:
    """The same attribute of several queues as one name: ``queues/rx-{0-7}/rps_cpus``."""
    plain: list[str] = []
    queues: dict[tuple[str, str], set[int]] = {}
    for name in names:
        match = _QUEUE.fullmatch(name)
        if match is None:
            plain.append(name)
        else:
            queues.setdefault((match[1], match[3]), set()).add(int(match[2]))
    return plain + [f"queues/{kind}-{{{format_list(frozenset(each))}}}/{leaf}" for (kind, leaf), each in queues.items()]


def _unpacked(name: str) -> Iterable[str]:
    match = _QUEUES.fullmatch(name)
    if match is None:
        return (name,)
    return (f"queues/{match[1]}-{queue}/{match[3]}" for queue in sorted(parse_list(match[2])))


def _by_name(grouped: Mapping[str, list[str]]) -> dict[str, str]:
    return {each: value for value, names in grouped.items() for name in names for each in _unpacked(name)}


_AROUND = (AroundChannels(), AroundCoalesce(), AroundPause(), AroundPrivateFlags())
FAMILY = Family("NIC settings around a reset", kept=(DeviceSettings(), *_AROUND))
