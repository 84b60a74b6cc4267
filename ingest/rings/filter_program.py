"""A packet filter as classic BPF: first what a packet is, then of each kind only the tests that can be true of it.

A graph of questions (which protocol, is the header whole, which transport, are there ports) ends in leaves where so much is
known that most of the expression is decided. ``udp dst 239.1.1.1:30001`` costs an ARP packet four comparisons.

**Where the network header is.** Behind an Ethernet header it begins at byte 14 of what the filter sees: tpacket_rcv hands over
the packet from the link header on, and __netif_receive_skb_core has moved the outer VLAN tag into the metadata before that
(skb_vlan_untag), if the NIC had not. An inner tag (QinQ) is still there and moves everything by 4. On other links (tun, PPP and
tunnels: no header, or another one) loads count from SKF_NET_OFF, which bpf_skb_load_helper_8, _16 and _32 turn into the place
of skb_network_header: the same program fits any link. Ethernet does without it, because before Linux 6.16 such loads may not
reach data in pages (bpf_internal_load_pointer_neg_helper), where some NICs leave all behind the link header: every packet would
look cut short there, and none would be wanted.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ingest.rings import bpf
from ingest.rings.bpf import Assembly, Label, Program, ProgramTooLong
from ingest.rings.filter import Address, And, Cast, Filter, FilterError, Network, Not, Or, Port, Protocol, Side, Test, Vlan

ARPHRD_ETHER = 1
ARPHRD_LOOPBACK = 772
_ETHERNET_BYTES = 14

_IP, _IP6, _ARP = 0x0800, 0x86DD, 0x0806
_TAGS = (0x8100, 0x88A8)  # eth_type_vlan
_HEADER_BYTES = {_IP: 20, _IP6: 40, _ARP: 28}
_ADDRESSES: dict[int, dict[Side, int]] = {
    _IP: {"src": 12, "dst": 16},
    _IP6: {"src": 8, "dst": 24},
    _ARP: {"src": 14, "dst": 24},
}
_TRANSPORT_AT = {_IP: 9, _IP6: 6}
_UDP, _TCP, _NEITHER = 17, 6, -1
# of IPv4 and of IPv6; IGMP's place was taken by MLD, which is ICMPv6
_NUMBERS = {"udp": (_UDP, _UDP), "tcp": (_TCP, _TCP), "icmp": (1, 58), "igmp": (2, None)}
_ARP_OF_IP = 0x08000604  # protocol type IPv4, addresses of 6 and 4 bytes
_PORT_BYTES = 4
_WIDTHS = {bpf.LOAD_WORD: 0xFFFFFFFF, bpf.LOAD_HALF: 0xFFFF, bpf.LOAD_HALF_INDEXED: 0xFFFF, bpf.LOAD_BYTE: 0xFF}
_LONGEST_IP_HEADER = 60


@dataclass(frozen=True, slots=True)
class _Field:
    """One load into A, of at most ``mask``."""

    code: int
    k: int
    mask: int


@dataclass(frozen=True, slots=True)
class _Compare:
    field: _Field
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class _Inverse:
    part: "_Decision"


@dataclass(frozen=True, slots=True)
class _Join:
    """All of the parts, or any."""

    every: bool
    parts: "tuple[_Decision, ...]"


_Decision = bool | _Compare | _Inverse | _Join

_PACKET_TYPE = _Field(bpf.LOAD_WORD, bpf.PACKET_TYPE, 0xFFFFFFFF)
_TAGGED = _Compare(_Field(bpf.LOAD_WORD, bpf.VLAN_TAG_PRESENT, 0xFFFFFFFF), 1, 1)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a packet at one place of the program.

    ``network``: where its network header begins, for a load. ``protocol``: by the link header; ``whole``: its header is there.
    ``inner``: where the second tag is. ``transport``: 17, 6, -1 for neither, None where it was not asked. ``ports``: they are
    there, and for IPv4 X holds the header's length.
    """

    network: int
    protocol: int = 0
    whole: bool = False
    inner: int | None = None
    transport: int | None = None
    ports: bool = False

    def at(self, code: int, offset: int, mask: int) -> _Field:
        """A load from the network header."""
        return _Field(code, self.network + offset & 0xFFFFFFFF, mask)

    def decide(self, test: Test) -> _Decision:
        """What is left of ``test``: loads that cannot fail here."""
        match test:
            case Not(inner):
                return _inverse(self.decide(inner))
            case And(tests):
                return _join(True, [self.decide(each) for each in tests])
            case Or(tests):
                return _join(False, [self.decide(each) for each in tests])
            case Protocol(name):
                return self._protocol(name)
            case Vlan(number):
                return self._vlan(number)
            case Cast(kind):
                return self._cast(kind)
            case Address(side, network):
                return _join(False, [self._address(each, network) for each in _sides(side)])
            case Port(side, lowest, highest):
                return _join(False, [self._port(each, lowest, highest) for each in _sides(side)])

    def _protocol(self, name: str) -> _Decision:
        if name not in _NUMBERS:
            return self.protocol == {"ip": _IP, "ip6": _IP6, "arp": _ARP}[name]
        if not self.whole or self.protocol not in _TRANSPORT_AT:
            return False
        number = _NUMBERS[name][self.protocol == _IP6]
        if number is None:
            return False
        if self.transport is None or (self.transport == _NEITHER and number not in (_UDP, _TCP)):
            return _Compare(self.at(bpf.LOAD_BYTE, _TRANSPORT_AT[self.protocol], 0xFF), number, number)
        return self.transport == number

    def _vlan(self, number: int | None) -> _Decision:
        if number is None:
            return _join(False, [self.inner is not None, _TAGGED])
        outer = _join(True, [_TAGGED, _Compare(_Field(bpf.LOAD_WORD, bpf.VLAN_TAG, 0xFFF), number, number)])
        if self.inner is None:
            return outer
        return _join(False, [outer, _Compare(_Field(bpf.LOAD_HALF, self.inner, 0xFFF), number, number)])

    def _cast(self, kind: str) -> _Decision:
        if kind == "broadcast":
            link, lowest, highest, first = bpf.PACKET_BROADCAST, 0xFFFFFFFF, 0xFFFFFFFF, None
        else:
            link, lowest, highest, first = bpf.PACKET_MULTICAST, 0xE0000000, 0xEFFFFFFF, 0xFF
        parts: list[_Decision] = [_Compare(_PACKET_TYPE, link, link)]
        if self.whole and self.protocol == _IP:
            parts.append(_Compare(self.at(bpf.LOAD_WORD, _ADDRESSES[_IP]["dst"], 0xFFFFFFFF), lowest, highest))
        if self.whole and self.protocol == _IP6 and first is not None:
            parts.append(_Compare(self.at(bpf.LOAD_BYTE, _ADDRESSES[_IP6]["dst"], 0xFF), first, first))
        return _join(False, parts)

    def _address(self, side: Side, network: Network) -> _Decision:
        version = _IP6 if network.version == 6 else _IP
        if not self.whole or not (self.protocol == version or (self.protocol == _ARP and version == _IP)):
            return False
        offset = _ADDRESSES[self.protocol][side]
        wanted, mask = network.network_address.packed, network.netmask.packed
        parts: list[_Decision] = []
        if self.protocol == _ARP:
            parts.append(_Compare(self.at(bpf.LOAD_WORD, 2, 0xFFFFFFFF), _ARP_OF_IP, _ARP_OF_IP))
        for word in range(0, len(wanted), 4):
            bits = int.from_bytes(mask[word : word + 4])
            value = int.from_bytes(wanted[word : word + 4])
            if bits:
                parts.append(_Compare(self.at(bpf.LOAD_WORD, offset + word, bits), value, value))
        return _join(True, parts)

    def _port(self, side: Side, lowest: int, highest: int) -> _Decision:
        if not self.ports:
            return False
        if (lowest, highest) == (0, 0xFFFF):
            return True
        offset = 0 if side == "src" else 2
        if self.protocol == _IP:
            field = self.at(bpf.LOAD_HALF_INDEXED, offset, 0xFFFF)
        else:
            field = self.at(bpf.LOAD_HALF, _HEADER_BYTES[_IP6] + offset, 0xFFFF)
        return _Compare(field, lowest, highest)


def _sides(side: Side) -> tuple[Side, ...]:
    return ("src", "dst") if side == "either" else (side,)


def _inverse(part: _Decision) -> _Decision:
    if isinstance(part, bool):
        return not part
    return part.part if isinstance(part, _Inverse) else _Inverse(part)


def _join(every: bool, parts: list[_Decision]) -> _Decision:
    """All of the parts or any, as far as it is not decided."""
    flat: dict[_Decision, None] = {}
    for part in parts:
        flat |= dict.fromkeys(part.parts if isinstance(part, _Join) and part.every == every else (part,))
    if (not every) in flat or (every and _contradictory(flat)) or any(_inverse(part) in flat for part in flat):
        return not every
    left = tuple(part for part in flat if part is not every)
    if not left:
        return every
    return left[0] if len(left) == 1 else _Join(every, left)


def _contradictory(parts: Iterable[_Decision]) -> bool:
    """Whether two of the parts want one field to have two values."""
    common: dict[_Field, tuple[int, int]] = {}
    for part in parts:
        if isinstance(part, _Compare):
            lowest, highest = common.get(part.field, (part.lowest, part.highest))
            common[part.field] = max(lowest, part.lowest), min(highest, part.highest)
    return any(lowest > highest for lowest, highest in common.values())


class _Compiler:
    """Builds the graph from its leaves to its root, and writes it down from the root: so all jumps go forward."""

    def __init__(self, test: Test, network: int) -> None:
        self._test = test
        self._network = network
        self._code = Assembly()
        self._accept, self._reject = Label(), Label()
        self._blocks: list[tuple[Label, Callable[[], object]]] = []
        self._known_blocks: dict[tuple[object, ...], Label] = {}

    def compile(self) -> Program:
        code = self._code
        root = self._by_protocol(_Field(bpf.LOAD_WORD, bpf.PROTOCOL, 0xFFFFFFFF), _Known(self._network))
        code.add(bpf.LOAD_WORD, bpf.PACKET_TYPE)
        code.jump(bpf.JUMP_EQUAL, bpf.PACKET_OUTGOING, self._reject, root)
        for label, write in reversed(self._blocks):
            if code.is_used(label):
                code.place(label)
                write()
        if not code.is_used(self._accept):
            raise FilterError("no packet can match this filter (as udp and tcp, or arp and a port); did you mean or?")
        code.place(self._accept)
        code.add(bpf.RETURN, bpf.WHOLE_PACKET)
        code.place(self._reject)
        code.add(bpf.RETURN, 0)
        return code.program()

    # ---- questions

    def _block(self, key: tuple[object, ...], write: Callable[[], object]) -> Label:
        """Instructions that ``write`` adds; those of the same ``key`` do the same and stand there once."""
        if key not in self._known_blocks:
            self._known_blocks[key] = Label()
            self._blocks.append((self._known_blocks[key], write))
        return self._known_blocks[key]

    def _leaf(self, known: _Known) -> Label:
        decision = known.decide(self._test)
        if isinstance(decision, bool):
            return self._accept if decision else self._reject
        return self._block(("leaf", decision), lambda: self._write(decision, self._accept, self._reject, None))

    def _by_protocol(self, field: _Field, known: _Known) -> Label:
        """Asked once of the link header, and once more behind a second tag. What is behind a third is not looked at."""
        cases = {protocol: self._whole(replace(known, protocol=protocol)) for protocol in (_IP, _IP6, _ARP)}
        if known.inner is None:
            cases |= dict.fromkeys(_TAGS, self._tagged(known))
        return self._switch(field, cases, self._leaf(known))

    def _tagged(self, known: _Known) -> Label:
        behind = _Known(known.network + 4 & 0xFFFFFFFF, inner=known.network)
        inner = self._by_protocol(known.at(bpf.LOAD_HALF, 2, 0xFFFF), behind)
        return self._long_enough(4, known, inner, self._leaf(known))

    def _whole(self, known: _Known) -> Label:
        whole = replace(known, whole=True)
        inside = self._by_transport(whole) if known.protocol in _TRANSPORT_AT else self._leaf(whole)
        return self._long_enough(_HEADER_BYTES[known.protocol], known, inside, self._leaf(known))

    def _by_transport(self, known: _Known) -> Label:
        """UDP and TCP apart, where the expression asks about ports."""
        kinds = {number: replace(known, transport=number) for number in (_UDP, _TCP)}
        if all(kind.decide(self._test) == replace(kind, ports=True).decide(self._test) for kind in kinds.values()):
            return self._leaf(known)
        cases = {number: self._with_ports(kind) for number, kind in kinds.items()}
        field = known.at(bpf.LOAD_BYTE, _TRANSPORT_AT[known.protocol], 0xFF)
        return self._switch(field, cases, self._leaf(replace(known, transport=_NEITHER)))

    def _with_ports(self, known: _Known) -> Label:
        inside, without = self._leaf(replace(known, ports=True)), self._leaf(known)
        if known.protocol == _IP6:
            return self._long_enough(_HEADER_BYTES[_IP6] + _PORT_BYTES, known, inside, without)
        if inside is without:
            return inside

        def write() -> None:
            first = Label()
            self._load(known.at(bpf.LOAD_HALF, 6, 0xFFFF))
            self._code.jump(bpf.JUMP_ANY_BIT, 0x1FFF, without, first)  # a later fragment
            self._code.place(first)
            self._code.add(bpf.LOAD_X_HEADER_LENGTH, known.network)
            self._code.add(bpf.LOAD_LENGTH)
            self._code.add(bpf.ADD, _LONGEST_IP_HEADER)  # so that the difference is never below 0
            self._code.add(bpf.SUBTRACT_X)
            self._code.jump(bpf.JUMP_NOT_LESS, _LONGEST_IP_HEADER + _depth(known) + _PORT_BYTES, inside, without)

        return self._block(("ports", known.network, inside, without), write)

    def _switch(self, field: _Field, cases: dict[int, Label], default: Label) -> Label:
        """By the value of a field."""
        apart = [(value, label) for value, label in cases.items() if label is not default]
        if not apart:
            return default

        def write() -> None:
            self._load(field)
            for value, label in apart[:-1]:
                onward = Label()
                self._code.jump(bpf.JUMP_EQUAL, value, label, onward)
                self._code.place(onward)
            self._code.jump(bpf.JUMP_EQUAL, *apart[-1], default)

        return self._block(("switch", field, *apart, default), write)

    def _long_enough(self, count: int, known: _Known, inside: Label, short: Label) -> Label:
        """Whether ``count`` bytes from the network header on are there.

        Behind a link header of unknown length that is not exact: a packet cut short there may be taken for whole, and then a
        load from beyond it makes it unwanted.
        """
        if inside is short:
            return inside

        def write() -> None:
            self._code.add(bpf.LOAD_LENGTH)
            self._code.jump(bpf.JUMP_NOT_LESS, _depth(known) + count, inside, short)

        return self._block(("length", _depth(known) + count, inside, short), write)

    # ---- leaves

    def _load(self, field: _Field) -> None:
        self._code.add(field.code, field.k)
        if field.mask != _WIDTHS[field.code]:
            self._code.add(bpf.AND, field.mask)

    def _write(self, part: _Decision, yes: Label, no: Label, held: _Field | None) -> tuple[_Field | None, _Field | None]:
        """Jumps to ``yes`` or ``no``. Given what A holds; returns what it holds on arrival at each."""
        match part:
            case _Inverse(inner):
                held_no, held_yes = self._write(inner, no, yes, held)
                return held_yes, held_no
            case _Join(every, parts):
                return self._write_join(every, parts, yes, no, held)
            case _Compare(field, lowest, highest):
                if field != held:
                    self._load(field)
                self._write_range(field, lowest, highest, yes, no)
                return field, field
        raise AssertionError(part)  # constants have their own labels

    def _write_join(
        self, every: bool, parts: tuple[_Decision, ...], yes: Label, no: Label, held: _Field | None
    ) -> tuple[_Field | None, _Field | None]:
        """One part after the other, until one of them decides."""
        early: set[_Field | None] = set()
        for part in parts[:-1]:
            onward = Label()
            if every:
                held, decided = self._write(part, onward, no, held)
            else:
                decided, held = self._write(part, yes, onward, held)
            early.add(decided)
            self._code.place(onward)
        held_yes, held_no = self._write(parts[-1], yes, no, held)
        early.add(held_no if every else held_yes)
        decided = early.pop() if len(early) == 1 else None
        return (held_yes, decided) if every else (decided, held_no)

    def _write_range(self, field: _Field, lowest: int, highest: int, yes: Label, no: Label) -> None:
        code = self._code
        if lowest == highest:
            code.jump(bpf.JUMP_EQUAL, lowest, yes, no)
            return
        if highest == field.mask:
            code.jump(bpf.JUMP_NOT_LESS, lowest, yes, no)
            return
        if lowest:
            onward = Label()
            code.jump(bpf.JUMP_NOT_LESS, lowest, onward, no)
            code.place(onward)
        code.jump(bpf.JUMP_GREATER, highest, no, yes)


def _depth(known: _Known) -> int:
    """Bytes before the network header, without a link header whose length is not known."""
    return known.network & 0xFFFFF


def compile_filter(wanted: Filter, hardware_type: int) -> Program:
    """The program for an interface; it rejects outgoing packets as ``TAKE_RECEIVED`` does.

    The kernel's memory for it ends sooner than its 4096 instructions do: an ``or`` of 45 addresses with ports fits into 20 KiB
    of net.core.optmem_max, the default of older kernels, and of 301 into 128 KiB (measured, Linux 6.18).

    Args:
        wanted: the filter.
        hardware_type: ARPHRD_* of the interface (/sys/class/net/NAME/type).

    Raises:
        FilterError: no packet can match, or it takes more instructions than the kernel does.
    """
    ethernet = hardware_type in (ARPHRD_ETHER, ARPHRD_LOOPBACK)
    try:
        return _Compiler(wanted.test, _ETHERNET_BYTES if ethernet else bpf.NETWORK).compile()
    except ProgramTooLong as error:
        raise FilterError(f"the filter is too long: {error}; use networks and ranges of ports, or fewer tests") from error
