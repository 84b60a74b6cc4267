"""Drop rules of nftables that count, by nfnetlink (NFT_MSG_GETRULE, NFT_MSG_GETCHAIN).

Source: include/uapi/linux/netfilter/nf_tables.h, nfnetlink.c. A rule's expressions run in order until one does not match, so a
counter tells of drops only where nothing but its verdict stands behind it: ``… counter drop``, which is also how iptables on
nftables writes its rules. A base chain whose policy is drop and that counts tells of what no rule decided. Rules that drop
without a counter, ``reject``, sets of verdicts, and the old iptables are not seen. 64-bit counts that start anew when rules are
loaded anew.

All of nfnetlink needs CAP_NET_ADMIN. A dump costs some µs a rule; a host can have tens of thousands of them: it is bounded, and
read every few seconds.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from tuner.host.netlink import attributes

_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
CHAINS, RULES = _SUBSYSTEM | 4, _SUBSYSTEM | 7  # NFT_MSG_GETCHAIN, NFT_MSG_GETRULE
QUESTION = struct.pack(">BBH", 0, 0, 0)  # struct nfgenmsg: all families
_NEW_CHAIN, _NEW_RULE = _SUBSYSTEM | 3, _SUBSYSTEM | 6
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}  # NFPROTO_*
_BEFORE_PROTOCOLS = (5, 7)
_DROP = 0  # NF_DROP


@dataclass(frozen=True, slots=True)
class DropRule:
    """One rule, or one chain's policy. ``early``: before the protocols, in a table of family netdev or bridge."""

    name: str  # family, table/chain, handle
    packets: int
    early: bool


def parse_rules(messages: Iterable[tuple[int, bytes]]) -> tuple[DropRule, ...]:
    """The rules that end in a counter and a drop."""
    found = []
    for kind, content in messages:
        if kind != _NEW_RULE or len(content) < 4:
            continue
        told = dict(attributes(content[4:]))  # 1 table, 2 chain, 3 handle, 4 expressions
        packets = _counted_drops([dict(attributes(each)) for _, each in attributes(told.get(4, b""))])
        if packets is not None:
            found.append(DropRule(f"{_chain(content, told, 2)} rule {_number(told, 3)}", packets, _early(content)))
    return tuple(found)


def parse_policies(messages: Iterable[tuple[int, bytes]]) -> tuple[DropRule, ...]:
    """The base chains whose policy is to drop, and that count."""
    found = []
    for kind, content in messages:
        if kind != _NEW_CHAIN or len(content) < 4:
            continue
        told = dict(attributes(content[4:]))  # 1 table, 3 name, 5 policy, 8 counters
        if 5 in told and _number(told, 5) == _DROP and 8 in told:
            packets = _number(dict(attributes(told[8])), 2)
            found.append(DropRule(f"{_chain(content, told, 3)} policy", packets, _early(content)))
    return tuple(found)


def _counted_drops(expressions: list[dict[int, bytes]]) -> int | None:
    """The packets of the counter before a final drop; None where the rule does not end so."""
    names = [_text(each, 1) for each in expressions]  # 1 name, 2 data
    if len(names) < 2 or names[-1] != "immediate":
        return None
    while names[-2:-1] == ["log"]:
        del names[-2], expressions[-2]
    if names[-2:-1] != ["counter"] or not _drops(expressions[-1].get(2, b"")):
        return None
    return _number(dict(attributes(expressions[-2].get(2, b""))), 2)  # 1 bytes, 2 packets


def _drops(immediate: bytes) -> bool:
    # NFTA_IMMEDIATE_DATA 2 -> NFTA_DATA_VERDICT 2 -> NFTA_VERDICT_CODE 1
    data = dict(attributes(dict(attributes(immediate)).get(2, b"")))
    code = dict(attributes(data.get(2, b""))).get(1, b"")
    return len(code) == 4 and int.from_bytes(code, "big") == _DROP


def _chain(content: bytes, told: dict[int, bytes], place: int) -> str:
    return f"{_FAMILIES.get(content[0], content[0])} {_text(told, 1)}/{_text(told, place)}"


def _early(content: bytes) -> bool:
    return content[0] in _BEFORE_PROTOCOLS


def _text(told: dict[int, bytes], kind: int) -> str:
    return told.get(kind, b"").split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _number(told: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(told.get(kind, b"")[:8], "big")
