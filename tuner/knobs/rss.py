"""``nic.rss.*``: to which receive queue a packet's hash leads, the key of the hash, and what is hashed.

Source: Documentation/networking/scaling.rst (RSS), net/ethtool/ioctl.c (ETHTOOL_SRSSH, ETHTOOL_SRXFH). Drivers taught: igb,
ixgbe and mlx5 change all of it while packets pass; bnxt closes and opens the device each time. A table that was set by hand is
remembered as such (IFF_RXFH_CONFIGURED) until the default is asked for, and forbids fewer channels than it names.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tuner.host.cpulist import CpuListError, format_list, parse_list
from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.host.rss import FIELDS, FLOWS, Rss
from tuner.host.text import printable
from tuner.knobs.knob import About, Disruption, Json, Knob, Reading, State, Unsupported
from tuner.knobs.nic import find_nic
from tuner.language.entry import PART, Entry, Family
from tuner.language.request import Request
from tuner.language.values import Json as Value
from tuner.language.values import Report, Schema
from tuner.profile import Place, Setting

_REOPENS = ("bnxt_en",)  # bnxt_set_rxfh, bnxt_srxfh: bnxt_close_nic and bnxt_open_nic
_RISK = "packets of a flow may pass each other once, as it changes its queue; bnxt: the device is closed and opened"
_SOURCE = "Documentation/networking/scaling.rst (RSS), net/ethtool/ioctl.c"
_QUEUES_LIMIT = 1024
SYMMETRIC = bytes.fromhex("6d5a")  # repeated: the hash of a flow's two directions is the same (Woo and Park, 2012)


class RssKnob(Knob):
    """What the three share; the identity begins with ``tuner.host.nics.Nic.identity``."""

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal texts."""
        return "ok" if self.same(reading.now, wanted) else "differs"

    def same(self, left: Json, right: Json) -> bool:
        """Equal texts."""
        return bool(left == right)

    def disrupts(self, inventory: Inventory, identity: str) -> Disruption:
        """The link, where the driver opens the device anew for it."""
        return "link" if find_nic(inventory, identity.partition("|")[0]).driver in _REOPENS else "none"


class RssTable(RssKnob):
    """The indirection table, as ``queues:0-3`` (dealt out in turn) or ``runs:0*96,1*32``."""

    family: ClassVar[str] = "nic.rss.table"
    about: ClassVar[About] = About(
        "To which receive queues packets go whose flow has no rule of its own (RSS indirection table)",
        "The queues that housekeeping serves, where flow rules take each feed to a receiving core's queue; without rules the "
        "queues of the receiving cores. A core that no queue leads to is not interrupted",
        "ethtool -x IF",
        "rx_queue_N_packets of ethtool -S IF",
        _RISK,
        "a table that was the driver's default is asked for as the default, so that channels stay free to change",
        quirks=(
            "bnxt: the device is closed and opened for each change",
            "igb deals out in blocks where others deal in turn",
            "while a table is set by hand, fewer channels than it names are refused (EINVAL)",
            "a ring or channel change makes some drivers forget it",
            "a guest's virtio NIC has a table only where the host offers VIRTIO_NET_F_RSS",
        ),
        source=_SOURCE,
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The table as a text; ``effective`` has its size and the number of queues besides."""
        rss = _read(inventory, identity)
        if not rss.table:
            raise Unsupported("this NIC has no indirection table")
        text = spelled(rss.table)
        return Reading(now=text, effective={"table": text, "entries": len(rss.table), "queues": rss.queues})

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal in every entry."""
        shape = reading.effective
        try:
            return "ok" if spelled(entries(str(wanted), shape["entries"], shape["queues"])) == reading.now else "differs"
        except ValueError:  # it names a queue that is not there yet
            return "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Sets the table; ``default`` is asked for as such.

        Raises:
            OSError: EINVAL and what else the driver says.
        """
        del options
        inventory.refresh()
        nic, rss = find_nic(inventory, identity), _read(inventory, identity)
        table = entries(str(wanted), len(rss.table), rss.queues)
        inventory.host.syscalls.set_rss_table(nic.name, None if wanted == "default" else table)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Sets the saved table; one that is the default for as many queues is asked for as such first."""
        inventory.refresh()
        nic, rss = find_nic(inventory, identity), _read(inventory, identity)
        table = entries(str(undo), len(rss.table), rss.queues)
        if table == entries("default", len(rss.table), rss.queues):
            inventory.host.syscalls.set_rss_table(nic.name, None)
        if _read(inventory, identity).table != table:
            inventory.host.syscalls.set_rss_table(nic.name, table)


class RssKey(RssKnob):
    """The hash's key, as octets in hexadecimal with colons between."""

    family: ClassVar[str] = "nic.rss.key"
    about: ClassVar[About] = About(
        "The key of the hash that chooses a receive queue (RSS)",
        "Keep it: the driver's random key spreads as well as any, and does not tell outsiders which flows meet in a queue. "
        "symmetric on a capture host: both directions of a connection come to the same queue",
        "ethtool -x IF",
        risk=_RISK,
        quirks=("symmetric sees only 16 bits of each address and port pair: many flows meet in few queues",),
        source=_SOURCE,
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The key."""
        rss = _read(inventory, identity)
        if not rss.key:
            raise Unsupported("this driver shows no key")
        return Reading(now=rss.key.hex(":"), effective=rss.key.hex(":"))

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal octets."""
        size = len(reading.now.split(":"))
        return "ok" if key_of(str(wanted), size).hex(":") == reading.now else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Sets the key, and leaves the table alone."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Sets the saved key."""
        inventory.refresh()
        nic = find_nic(inventory, identity)
        inventory.host.syscalls.set_rss_key(nic.name, key_of(str(undo), len(_read(inventory, identity).key)))


class HashFields(RssKnob):
    """What is hashed of one kind of flow; the identity is the NIC's, ``|``, and the flow (``udp4``)."""

    family: ClassVar[str] = "nic.rss.hash_fields"
    about: ClassVar[About] = About(
        "What of a packet is hashed to choose its receive queue",
        "sdfn (addresses and ports) for udp4 where one sender feeds many groups or ports: with sd, the default of most "
        "drivers, all of them meet in one queue. sd where datagrams are fragmented, for only the first fragment has ports",
        "ethtool -n IF rx-flow-hash udp4",
        risk=_RISK,
        quirks=(
            "igb, ixgbe: addresses cannot be left out, and of TCP neither can ports (EINVAL)",
            "e1000e says what it hashes, and takes nothing (EOPNOTSUPP)",
            "mlx5, bnxt, i40e: each set of fields is a table of its own; a wrong one is EINVAL",
            "fragments of one datagram may be reordered where ports are hashed",
        ),
        source=_SOURCE + " (ETHTOOL_GRXFH)",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The letters."""
        ident, _, flow = identity.rpartition("|")
        nic = find_nic(inventory, ident)
        try:
            fields = inventory.host.syscalls.hash_fields(nic.name, flow)
        except OSError as error:
            raise Unsupported(
                f"{nic.driver or 'the driver'} does not say what it hashes of {flow}: {error.strerror}"
            ) from error
        return Reading(now=fields, effective=fields)

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Sets the fields."""
        del options
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Sets the saved fields."""
        inventory.refresh()
        ident, _, flow = identity.rpartition("|")
        inventory.host.syscalls.set_hash_fields(find_nic(inventory, ident).name, flow, str(undo))

    def same(self, left: Json, right: Json) -> bool:
        """Equal sets of letters."""
        return set(str(left)) == set(str(right))

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """Each kind of flow of each NIC."""
        nics = [nic for nic in inventory.nics if nic.physical]
        return [(f"{nic.name} {flow}", f"{nic.identity}|{flow}") for nic in nics for flow in FLOWS]


def entries(text: str, size: int, queues: int) -> tuple[int, ...]:
    """The queue of each entry of a table.

    Args:
        text: ``default``, ``equal:N``, ``queues:LIST``, ``weights:W,W``, or ``runs:QUEUE*COUNT,…``.
        size: entries of the table.
        queues: receive queues there are.

    Raises:
        ValueError: not such a text, or it names a queue that is not there.
    """
    form, _, rest = text.partition(":")
    if form == "default":
        table = tuple(entry % queues for entry in range(size))  # ethtool_rxfh_indir_default
    elif form == "equal":
        table = tuple(entry % int(rest) for entry in range(size))
    elif form == "queues":
        chosen = sorted(parse_list(rest))
        table = tuple(chosen[entry % len(chosen)] for entry in range(size))
    elif form == "weights":
        table = _weighed([int(weight) for weight in rest.split(",")], size)
    else:
        runs = [tuple(map(int, run.split("*"))) for run in rest.split(",")]
        table = tuple(queue for queue, count in runs for _ in range(count))
    if len(table) != size or max(table, default=0) >= queues:
        raise ValueError(f"'{printable(text, 60)}' is no table of {size} entries for {queues} queues")
    return table


def _weighed(weights: list[int], size: int) -> tuple[int, ...]:
    # as ethtool -X weight: each queue's share is a run, and rounding goes to the later ones
    total, table, so_far = sum(weights), list[int](), 0
    for queue, weight in enumerate(weights):
        so_far += weight
        table += [queue] * (so_far * size // total - len(table))
    return tuple(table)


def spelled(table: Iterable[int]) -> str:
    """The shortest text that ``entries`` makes this table of."""
    table = tuple(table)
    chosen = sorted(set(table))
    if table == tuple(chosen[entry % len(chosen)] for entry in range(len(table))):
        return f"queues:{format_list(chosen)}"
    runs: list[list[int]] = []
    for queue in table:
        if runs and runs[-1][0] == queue:
            runs[-1][1] += 1
        else:
            runs.append([queue, 1])
    return "runs:" + ",".join(f"{queue}*{count}" for queue, count in runs)


def key_of(text: str, size: int) -> bytes:
    """The octets of ``symmetric`` or of a hexadecimal key, which may be of another size than the NIC's."""
    if text == "symmetric":
        return (SYMMETRIC * size)[:size]
    return bytes.fromhex(text.replace(":", ""))


def _read(inventory: Inventory, identity: str) -> Rss:
    nic: Nic = find_nic(inventory, identity)
    try:
        return inventory.host.syscalls.rss(nic.name)
    except OSError as error:
        raise Unsupported(f"{nic.driver or 'the driver'} has no RSS to be set: {error.strerror}") from error


_TABLE = re.compile(
    r"default|equal:[1-9][0-9]{0,3}|equal:count\(.{1,900}\)|queues:[0-9,:/-]{1,200}|weights:[0-9]{1,6}(?:,[0-9]{1,6}){0,255}"
)


@dataclass(frozen=True, slots=True)
class TableText:
    """Kind of value: an indirection table in words; a list of numbers is a list of weights."""

    def check(self, value: object, report: Report) -> Value:
        """One of the forms, kept as a text."""
        if isinstance(value, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in value):
            value = "weights:" + ",".join(map(str, value))
        if not isinstance(value, str) or not _TABLE.fullmatch(value) or printable(value, 2000) != value:
            report("not an indirection table", 'for example "equal:4", "queues:0-1", "weights:3,1" or "default"')
            return None
        form, _, rest = value.partition(":")
        if form == "queues" and _queues(rest) is None:
            report("not a list of queues", 'for example "queues:0-3"')
            return None
        if form == "weights" and not any(int(weight) for weight in rest.split(",")):
            report("no queue has a weight", 'for example "weights:3,1"')
            return None
        return value

    def expressions(self, value: Value) -> Iterable[str]:
        """What is counted."""
        return (value[12:-1],) if value.startswith("equal:count(") else ()

    def schema(self) -> Schema:
        """A text of a form, or weights."""
        weights = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
        return {"anyOf": [{"type": "string", "pattern": f"^(?:{_TABLE.pattern})$"}, weights]}

    def words(self) -> str:
        """For people."""
        return '`"equal:N"`, `"equal:count(S)"`, `"queues:LIST"`, `"weights:W,W,…"` or a list of weights, `"default"`'

    def sample(self) -> str:
        """The queues of housekeeping."""
        return '"queues:0-1"'


def _queues(text: str) -> list[int] | None:
    try:
        return sorted(parse_list(text, _QUEUES_LIMIT)) or None
    except CpuListError:
        return None


@dataclass(frozen=True, slots=True)
class KeyText:
    """Kind of value: ``symmetric``, or a key in hexadecimal."""

    def check(self, value: object, report: Report) -> Value:
        """Octets with or without colons."""
        if value == "symmetric":
            return value
        text = value.replace(":", "").lower() if isinstance(value, str) else ""
        if not re.fullmatch(r"(?:[0-9a-f]{2}){16,256}", text):
            report("not a key", '"symmetric", or hexadecimal octets as ethtool -x shows them')
            return None
        return bytes.fromhex(text).hex(":")

    def expressions(self, value: Value) -> Iterable[str]:
        """None."""
        del value
        return ()

    def schema(self) -> Schema:
        """A text."""
        return {"type": "string", "pattern": "^(?:symmetric|(?:[0-9A-Fa-f]{2}:?){16,256})$"}

    def words(self) -> str:
        """For people."""
        return '`"symmetric"`, or the octets in hexadecimal'

    def sample(self) -> str:
        """The word."""
        return '"symmetric"'


@dataclass(frozen=True, slots=True)
class Letters:
    """Kind of value: what is hashed, in ethtool's letters."""

    def check(self, value: object, report: Report) -> Value:
        """Each letter once, kept in one order."""
        if not isinstance(value, str) or not value or set(value) - FIELDS.keys() or len(set(value)) != len(value):
            report("not a choice of fields", f'letters of {"".join(FIELDS)}, for example "sdfn": addresses and ports')
            return None
        return "".join(letter for letter in FIELDS if letter in value)

    def expressions(self, value: Value) -> Iterable[str]:
        """None."""
        del value
        return ()

    def schema(self) -> Schema:
        """A text."""
        return {"type": "string", "pattern": f"^[{''.join(FIELDS)}]{{1,{len(FIELDS)}}}$"}

    def words(self) -> str:
        """For people."""
        return "letters: `s` source address, `d` destination address, `f` source port, `n` destination port, `v` VLAN, `m` MAC"

    def sample(self) -> str:
        """Addresses and ports."""
        return '"sdfn"'


def _ask_table(request: Request, place: Place, setting: Setting) -> None:
    nic, wanted = request.nic(place[1]), str(setting.value)
    if wanted.startswith("equal:count("):
        wanted = f"equal:{request.count(setting, wanted.removeprefix('equal:'))}"
    try:
        rss = _read(request.inventory, nic.identity)
        # channels of the same profile may make the queues that are missing now
        if rss.table and not request.profile.below("nic", place[1], "channels"):
            entries(wanted, len(rss.table), rss.queues)
    except Unsupported:
        pass
    except (ValueError, ZeroDivisionError):
        request.fault(
            setting, f"'{printable(wanted, 60)}' does not fit {printable(nic.name)}: it has {rss.queues} receive queues"
        )
    request.wish("nic.rss.table", nic.name, nic.identity, wanted, setting)


def _ask_key(request: Request, place: Place, setting: Setting) -> None:
    nic, wanted = request.nic(place[1]), str(setting.value)
    try:
        size = len(_read(request.inventory, nic.identity).key)
    except Unsupported:
        size = 0
    if size and len(key_of(wanted, size)) != size:
        request.fault(setting, f"is a key of {len(key_of(wanted, size))} octets; {printable(nic.name)} takes {size}")
    request.wish("nic.rss.key", nic.name, nic.identity, wanted, setting)


def _ask_fields(request: Request, place: Place, setting: Setting) -> None:
    nic = request.nic(place[1])
    flow = place[-1].removeprefix("hash_")
    request.wish("nic.rss.hash_fields", nic.name, f"{nic.identity}|{flow}", setting.value, setting)


FAMILY = Family(
    "RSS",
    (RssTable(), RssKey(), HashFields()),
    (
        Entry(("nic", PART, "rss", "table"), TableText(), "receive queues of flows that have no rule", _ask_table),
        Entry(("nic", PART, "rss", "key"), KeyText(), "the hash's key; best left alone", _ask_key),
        *(
            Entry(("nic", PART, "rss", f"hash_{flow}"), Letters(), f"what is hashed of {flow}", _ask_fields)
            for flow in FLOWS
            if not flow.startswith("sctp")
        ),
    ),
)
