"""``nic.steering``: flow rules that bring each group of a feed to its receive queue, or drop it in the NIC.

Source: net/ethtool/ioctl.c (ETHTOOL_SRXCLSRLINS), Documentation/networking/scaling.rst. One change is all rules of one NIC: its
identity names what they match, so that a rule is found again wherever it stands, and no other rule is ever touched.
"""

import contextlib
import errno
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tuner.host.flow_rules import DROP, PROTOCOLS, Flow, FlowTable, Rule
from tuner.host.host import Inventory
from tuner.host.text import printable
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported
from tuner.knobs.nic import find_nic
from tuner.language.entry import PART, Entry, Family
from tuner.language.request import Request
from tuner.language.tables import ListOf, Table
from tuner.language.values import Flag, Report, Schema, Text, Whole
from tuner.profile import Place, Setting

RULES_LIMIT = 256
_ANY = "*:*"
# For editors, what ``_end`` takes.
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PORT = "0{0,4}(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_END = rf"^(?:\*|{_OCTET}(?:\.{_OCTET}){{3}}):(?:\*|(?=[0-9]{{1,5}}$){_PORT})$"
_BETWEEN = " "


class Steering(Knob):
    """Flow rules; the identity is the NIC's, ``|``, and the matched flows with blanks between.

    ``now`` and wanted are flow -> queue, or ``drop``; a flow without a rule is missing in ``now``. ``undo`` has the place of
    each rule that was there before: flow -> [queue or drop, location].
    """

    family: ClassVar[str] = "nic.steering"
    about: ClassVar[About] = About(
        "Flow rules of the NIC: this group and port to that receive queue, or dropped (ntuple)",
        "One rule for each group and port of a feed, to the queue of the core that reads it: RSS then leads only what is left "
        "over to the housekeeping queues. A dropped group costs no core anything",
        "ethtool -n IF",
        "fdir_match and rx_queue_N_packets of ethtool -S IF; the rules themselves say nothing of what they match",
        "none is lost; a flow may be reordered once as it changes its queue",
        "each rule is taken away by its place; one that was another's before is put back where it stood",
        quirks=(
            "needs the ntuple feature on most drivers: EOPNOTSUPP without it. Switching it on resets ixgbe",
            "ixgbe: one mask for all rules, so either every rule has a port or none",
            "i40e, ice: one set of fields for each kind of flow; i40e wants flow-director-atr off beside it",
            "igb: only by ether type, VLAN or MAC, never by address: every rule here is EINVAL, EOPNOTSUPP before the i350",
            "sfc, mlx5: full masks and more rules than a feed has groups; bnxt: all fields of a flow or few of them",
            "ENOSPC: the table is full; ENOENT or EINVAL: a queue that is not there",
            "some drivers lose all rules in a reset or when ntuple is switched off: verify sees it",
        ),
        source="net/ethtool/ioctl.c, include/uapi/linux/ethtool.h (struct ethtool_rx_flow_spec)",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """What the NIC does with each of the flows. One request for each rule there is."""
        ident, flows = _parts(identity)
        found = _by_flow(_table(inventory, ident))
        ours = {spell(flow): found[flow] for flow in flows if flow in found}
        now = {name: _action(rule.queue) for name, rule in ours.items()}
        undo = {name: [_action(rule.queue), rule.location] for name, rule in ours.items()}
        missing = len(flows) - len(now)
        note = f"{missing} of {len(flows)} rules are not there" if missing else ""
        return Reading(now=now, effective=now, undo=undo, note=note)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where each flow has just this rule."""
        return "ok" if self.same(reading.effective, wanted) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Makes the rules that are missing or lead elsewhere.

        Raises:
            OSError: ENOSPC: the flow table is full; EOPNOTSUPP, EINVAL: the driver does not take such rules, or not now.
        """
        del options
        inventory.refresh()
        ident, flows = _parts(identity)
        nic, found = find_nic(inventory, ident), _by_flow(_table(inventory, ident))
        placed = {}
        for flow in flows:
            place = _one(inventory, nic.name, flow, found.get(flow), [wanted[spell(flow)], None])
            if place is not None:
                placed[flow] = place
        # what the driver made something else of would not be found again, and so never be taken away
        made = _by_flow(_table(inventory, ident))
        for flow in (flow for flow in placed if flow not in made):
            inventory.host.syscalls.release_flow_rule(nic.name, placed[flow])
            raise OSError(errno.EIO, f"{nic.driver} made another rule of {spell(flow)}", nic.name)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Takes away each rule that was not there, and gives those that were their queue and place again.

        Raises:
            OSError: the first refusal, after all rules were tried.
        """
        inventory.refresh()
        ident, flows = _parts(identity)
        nic, found = find_nic(inventory, ident), _by_flow(_table(inventory, ident))
        refused: OSError | None = None
        for flow in flows:
            try:
                _one(inventory, nic.name, flow, found.get(flow), undo.get(spell(flow)))
            except OSError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def same(self, left: Json, right: Json) -> bool:
        """The same flows to the same queues, wherever the rules stand."""
        return bool(left == right)

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """Each NIC, with the flows for which it has rules now."""
        found = []
        for nic in (nic for nic in inventory.nics if nic.physical):
            flows: Iterable[Flow] = ()
            with contextlib.suppress(Unsupported):  # the reading says it
                flows = _by_flow(_table(inventory, nic.identity))
            found.append((nic.name, f"{nic.identity}|{_BETWEEN.join(map(spell, flows))}"))
        return found


def _one(inventory: Inventory, name: str, flow: Flow, rule: Rule | None, wanted: Json) -> int | None:
    """Brings about one rule: ``wanted`` is [action, location or None], or None for no rule. Where it was inserted."""
    syscalls = inventory.host.syscalls
    if wanted is None:
        if rule is not None:
            syscalls.release_flow_rule(name, rule.location)
        return None
    queue, place = DROP if wanted[0] == "drop" else int(wanted[0]), wanted[1]
    if rule is not None and rule.queue == queue and place in (None, rule.location):
        return None
    if rule is not None:
        if place is None:
            place = rule.location
        # a driver may refuse two rules that match the same, and an insertion onto a place that is taken
        syscalls.release_flow_rule(name, rule.location)
    try:
        return syscalls.set_flow_rule(name, flow, queue, place)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise OSError(
                error.errno, f"{error.strerror}: ntuple filters are off, or the driver has none by address", name
            ) from error
        raise


def _table(inventory: Inventory, ident: str) -> FlowTable:
    nic = find_nic(inventory, ident)
    try:
        return inventory.host.syscalls.flow_table(nic.name)
    except OSError as error:
        raise Unsupported(f"{nic.driver or 'the driver'} has no flow table: {error.strerror}") from error


def _by_flow(table: FlowTable) -> dict[Flow, Rule]:
    # of two that match the same, the lower place wins on most hardware
    return {rule.flow: rule for _, rule in sorted(table.rules.items(), reverse=True) if rule.flow is not None}


def _action(queue: int) -> Json:
    return "drop" if queue == DROP else queue


def spell(flow: Flow) -> str:
    """A flow as one word: ``udp:239.1.1.1:30001``, with ``<10.0.0.1:5000`` behind it where its source counts."""
    text = f"{flow.protocol}:{flow.to or '*'}:{flow.to_port or '*'}"
    return text + (f"<{flow.source or '*'}:{flow.source_port or '*'}" if flow.source or flow.source_port else "")


def parse(text: str) -> Flow:
    """The flow that ``spell`` wrote.

    Raises:
        ValueError: it wrote no such thing.
    """
    protocol, _, ends = text.partition(":")
    to, _, source = ends.partition("<")
    if protocol not in PROTOCOLS:
        raise ValueError(f"no protocol: {printable(text, 60)}")
    return Flow(protocol, *_end(to), *(_end(source) if source else ("", 0)))


def _end(text: str) -> tuple[str, int]:
    """Address and port of ``239.1.1.1:30001``, either of which may be ``*``."""
    address, _, port = text.rpartition(":")
    if port != "*" and not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 1 << 16):
        raise ValueError("not a port")
    if address != "*":
        ipaddress.IPv4Address(address)
    return ("" if address == "*" else address), (0 if port == "*" else int(port))


def _parts(identity: str) -> tuple[str, list[Flow]]:
    ident, _, flows = identity.rpartition("|")
    return ident, [parse(each) for each in flows.split(_BETWEEN) if each]


@dataclass(frozen=True, slots=True)
class SteeringRule:
    """Kind of value: one rule."""

    _whole = Table(
        {
            "udp": Text('"239.1.1.1:30001"'),
            "tcp": Text('"10.0.0.1:9000"'),
            "source": Text('"10.0.0.1:*"'),
            "queue": Whole(0, 4095, "(the number of a receive queue)", bounds=False, example="for example 0"),
            "drop": Flag(),
        }
    )

    def check(self, value: object, report: Report) -> Json:
        """A flow and what becomes of it."""
        kept = self._whole.check(value, report)
        if kept is None:
            return None
        if ("udp" in kept) == ("tcp" in kept):
            report("one of udp and tcp", 'for example udp = "239.1.1.1:30001"')
            return None
        if ("queue" in kept) == bool(kept.get("drop")):
            report("one of queue and drop", "queue = 0, or drop = true")
            return None
        protocol = "udp" if "udp" in kept else "tcp"
        ends = {}
        for key in (protocol, "source"):
            try:
                ends[key] = _end(kept.get(key, _ANY))
            except ValueError:
                report("not ADDRESS:PORT of IPv4", '"239.1.1.1:30001"; * stands for any', key)
                return None
        if not any((*ends[protocol], *ends["source"])):
            report("matches everything", "name an address or a port; [nic.PART] rss says where the rest goes", protocol)
            return None
        flow = Flow(protocol, *ends[protocol], *ends["source"])
        return {"flow": spell(flow), "action": "drop" if kept.get("drop") else kept["queue"]}

    def expressions(self, value: Json) -> Iterable[str]:
        """None."""
        del value
        return ()

    def schema(self) -> Schema:
        """A table; one protocol, one action, and something that is matched."""
        whole = self._whole.schema()
        for key in (*PROTOCOLS, "source"):
            whole["properties"][key] = {"type": "string", "pattern": _END}
        actions = [{"required": ["queue"]}, {"required": ["drop"], "properties": {"drop": {"const": True}}}]
        matched = [{"required": [key], "properties": {key: {"not": {"const": _ANY}}}} for key in (*PROTOCOLS, "source")]
        one = [{"oneOf": [{"required": [key]} for key in PROTOCOLS]}, {"oneOf": actions}, {"anyOf": matched}]
        return {**whole, "allOf": one}

    def words(self) -> str:
        """For people."""
        return '`{ udp = "239.1.1.1:30001", queue = 0 }`, `{ tcp = "*:9000", source = "10.0.0.1:*", drop = true }`'

    def sample(self) -> str:
        """A group to a queue."""
        return '{ udp = "239.1.1.1:30001", queue = 0 }'


def _ask(request: Request, place: Place, setting: Setting) -> None:
    nic = request.nic(place[1])
    wanted: dict[str, Json] = {}
    for rule in setting.value:
        if rule["flow"] in wanted:
            request.fault(setting, f"names {rule['flow']} twice")
        wanted[rule["flow"]] = rule["action"]
    if not wanted:
        return
    queues = [action for action in wanted.values() if action != "drop"]
    # channels of the same profile may make the queues that are missing now
    if max(queues, default=0) >= nic.rx_queues > 0 and not request.profile.below("nic", place[1], "channels"):
        request.fault(setting, f"names queue {max(queues)}; {printable(nic.name)} has {nic.rx_queues} receive queues")
    request.wish("nic.steering", nic.name, f"{nic.identity}|{_BETWEEN.join(wanted)}", wanted, setting)


FAMILY = Family(
    "Flow rules",
    (Steering(),),
    (
        Entry(
            ("nic", PART, "steering"),
            ListOf(SteeringRule(), limit=RULES_LIMIT),
            "which groups and ports go to which receive queue",
            _ask,
        ),
    ),
)
