"""Rules in a NIC's flow table by ioctl: packets to an address and port go to one receive queue, or nowhere.

Source: include/uapi/linux/ethtool.h (struct ethtool_rxnfc, ethtool_rx_flow_spec), net/ethtool/ioctl.c. A driver either places
rules itself (RX_CLS_LOC_SPECIAL) or wants to be told where: then it is the highest free place, as ethtool(8) does it, since
low places win on most hardware. Only IPv4 rules by addresses and ports are understood; others are listed as foreign.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Request = Callable[[bytes], bytes]

_GRXCLSRLCNT, _GRXCLSRULE, _GRXCLSRLALL, _SRXCLSRLDEL, _SRXCLSRLINS = 0x2E, 0x2F, 0x30, 0x31, 0x32
_BYTES, _SPEC, _COUNT, _LOCATIONS = 192, 16, 184, 188  # struct ethtool_rxnfc, and where fs, rule_cnt, rule_locs are in it
_ADDRESSES, _MASKS, _COOKIE, _LOCATION = _SPEC + 4, _SPEC + 76, _SPEC + 152, _SPEC + 160
_UNION_AND_EXTENSION = 72  # union ethtool_flow_union and struct ethtool_flow_ext: what a rule matches, or its mask
_TUPLE = struct.Struct("=4s4sHHB")  # struct ethtool_tcpip4_spec; addresses and ports in network order
_ANY_PLACE, _PLACES_ITSELF = 0xFFFFFFFF, 1 << 31  # RX_CLS_LOC_ANY, RX_CLS_LOC_SPECIAL
_DISCARD = (1 << 64) - 1  # RX_CLS_FLOW_DISC
_EXTENDED, _TO_CONTEXT = 0xC0000000, 0x20000000  # FLOW_EXT and FLOW_MAC_EXT, FLOW_RSS
_LIMIT = 16384  # rules; the largest tables of NICs in use hold 8192
DROP = -1

PROTOCOLS = {"tcp": 0x01, "udp": 0x02}
_NAMES = {number: name for name, number in PROTOCOLS.items()}


@dataclass(frozen=True, slots=True)
class Flow:
    """What a rule matches. Addresses are dotted; an empty address and port 0 match everything."""

    protocol: str
    to: str = ""
    to_port: int = 0
    source: str = ""
    source_port: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule at its place. ``flow`` is None for one that is not by IPv4 addresses and ports; ``queue`` may be ``DROP``."""

    location: int
    flow: Flow | None
    queue: int


@dataclass(frozen=True, slots=True)
class FlowTable:
    """All rules by location; ``size`` is 0 where the driver does not say."""

    rules: Mapping[int, Rule] = field(default_factory=dict)
    size: int = 0
    places_itself: bool = False


def read_flow_table(request: Request) -> FlowTable:
    """All rules.

    Raises:
        OSError: EOPNOTSUPP: this driver has no flow table. EAGAIN: it changed meanwhile.
    """
    count, places_itself = _count(request)
    size = 0
    locations: tuple[int, ...] = ()
    if count or not places_itself:
        head = bytearray(_BYTES + 4 * count)
        struct.pack_into("=I", head, 0, _GRXCLSRLALL)
        struct.pack_into("=I", head, _COUNT, count)
        try:
            answer = request(bytes(head))
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise OSError(errno.EAGAIN, "the flow table changed meanwhile") from error
            raise
        size = struct.unpack_from("=Q", answer, 8)[0] & (_PLACES_ITSELF - 1)
        (found,) = struct.unpack_from("=I", answer, _COUNT)
        locations = struct.unpack_from(f"={min(count, found)}I", answer, _LOCATIONS)
    rules = {location: _rule(request, location) for location in locations}
    return FlowTable(rules, size, places_itself)


def _count(request: Request) -> tuple[int, bool]:
    answer = request(struct.pack(f"=I{_BYTES - 4}x", _GRXCLSRLCNT))
    (count,) = struct.unpack_from("=I", answer, _COUNT)
    if count > _LIMIT:
        raise OSError(errno.EBADMSG, f"a flow table of {count} rules is none")
    return count, bool(struct.unpack_from("=Q", answer, 8)[0] & _PLACES_ITSELF)


def _rule(request: Request, location: int) -> Rule:
    head = bytearray(_BYTES)
    struct.pack_into("=I", head, 0, _GRXCLSRULE)
    struct.pack_into("=I", head, _LOCATION, location)
    return parse_rule(request(bytes(head)))


def parse_rule(raw: bytes) -> Rule:
    """The rule in a struct ethtool_rxnfc."""
    (kind,) = struct.unpack_from("=I", raw, _SPEC)
    cookie, location = struct.unpack_from("=QI", raw, _COOKIE)
    queue = DROP if cookie == _DISCARD else int(cookie)
    # ixgbe marks every rule as extended; whether its extension matches anything, the mask says
    return Rule(location, None if kind & _TO_CONTEXT else _flow(raw, kind & ~_EXTENDED), queue)


def _flow(raw: bytes, kind: int) -> Flow | None:
    masks = raw[_MASKS : _MASKS + _UNION_AND_EXTENSION]
    if kind not in _NAMES or any(masks[_TUPLE.size :]):
        return None
    source, to, source_port, to_port, tos = _TUPLE.unpack_from(masks)
    if tos or {source, to} - {bytes(4), b"\xff" * 4} or {source_port, to_port} - {0, 0xFFFF}:
        return None  # a network, a range, a type of service: not ours
    values = _TUPLE.unpack_from(raw, _ADDRESSES)
    return Flow(
        _NAMES[kind],
        socket.inet_ntoa(values[1]) if any(to) else "",
        socket.ntohs(values[3]) if to_port else 0,
        socket.inet_ntoa(values[0]) if any(source) else "",
        socket.ntohs(values[2]) if source_port else 0,
    )


def rule_request(rule: Rule) -> bytes:
    """The struct ethtool_rxnfc that inserts a rule."""
    raw, flow = bytearray(_BYTES), rule.flow
    if flow is None:
        raise ValueError("not a rule by addresses and ports")
    struct.pack_into("=I", raw, 0, _SRXCLSRLINS)
    struct.pack_into("=I", raw, _SPEC, PROTOCOLS[flow.protocol])
    addresses = [socket.inet_aton(each) if each else bytes(4) for each in (flow.source, flow.to)]
    ports = [socket.htons(port) for port in (flow.source_port, flow.to_port)]
    _TUPLE.pack_into(raw, _ADDRESSES, *addresses, *ports, 0)
    masks = [b"\xff" * 4 if each else bytes(4) for each in (flow.source, flow.to)]
    _TUPLE.pack_into(raw, _MASKS, *masks, *(0xFFFF if port else 0 for port in ports), 0)
    struct.pack_into("=QI", raw, _COOKIE, _DISCARD if rule.queue == DROP else rule.queue, rule.location)
    return bytes(raw)


def insert_rule(request: Request, flow: Flow, queue: int, location: int | None = None) -> int:
    """Inserts a rule; gives back its location.

    Args:
        request: the interface.
        flow: what it matches.
        queue: where that goes; ``DROP``: nowhere.
        location: where to; what stands there is replaced. None: where the driver likes, else the highest free place.

    Raises:
        OSError: ENOSPC: no free place; EOPNOTSUPP, EINVAL: not this kind of rule here, or ntuple filters are off.
    """
    if location is None:
        location = free_place(read_flow_table(request))
    answer = request(rule_request(Rule(location, flow, queue)))
    return int(struct.unpack_from("=I", answer, _LOCATION)[0])


def free_place(table: FlowTable) -> int:
    """Where a new rule goes.

    Raises:
        OSError: ENOSPC.
    """
    if table.places_itself:
        return _ANY_PLACE
    for location in reversed(range(min(table.size, _LIMIT))):
        if location not in table.rules:
            return location
    raise OSError(
        errno.ENOSPC, f"no free place among {table.size} of the flow table" if table.size else os.strerror(errno.ENOSPC)
    )


def remove_rule(request: Request, location: int) -> None:
    """Takes the rule at a location away.

    Raises:
        OSError: ENOENT, on some drivers EINVAL: there is none.
    """
    raw = bytearray(_BYTES)
    struct.pack_into("=I", raw, 0, _SRXCLSRLDEL)
    struct.pack_into("=I", raw, _LOCATION, location)
    request(bytes(raw))
