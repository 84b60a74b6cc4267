"""What a MAC, a PHY and a FEC count by the standard, by ethtool's netlink: the same names for every driver that has them.

Source: include/uapi/linux/ethtool_netlink.h, net/ethtool/stats.c, fec.c; the counters are those of IEEE 802.3 clause 30 and of
RMON (RFC 2819). ETHTOOL_MSG_STATS_GET since 5.13, FEC statistics since 5.13. A driver leaves out what it does not count. Of
each FEC counter the first word is the port's total, the others its lanes. A dump takes the RTNL lock and asks every driver,
some of which ask their firmware: once a second at most, as for ``ethtool -S``. Of four interfaces without any of it, both
questions cost 66 us of CPU on Linux 6.18.

RMON's lengths are read only where the MAC tells none: oversize packets are frames too long, and would be there twice.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ingest.counters.driver import Classified, Part
from ingest.counters.genetlink import Families, nested, number_of
from tuner.host.netlink import attribute, attributes

FAMILY = "ethtool"
_FEC_GET, _STATS_GET = 29, 32  # ETHTOOL_MSG_*_GET
_STATS_REPLY_HEADER, _FEC_REPLY_HEADER = 2, 1
_DEVICE_INDEX, _FLAGS = 1, 3
_FLAG_STATS = struct.pack("=I", 4)
_GROUPS, _GROUP, _GROUP_ID, _GROUP_STATISTIC = 3, 4, 2, 4
_PHY, _MAC, _RMON = 0, 1, 3  # ETHTOOL_STATS_*; 2 is for control frames
_NO_MASK, _SIZE, _VALUE = 1, 2, 4
_FEC_STATISTICS, _FEC_CORRECTED, _FEC_UNCORRECTABLE = 5, 2, 3

Counts = dict[str, tuple[tuple[str, int], ...]]

# group and number of a statistic: its name in the standard, the class of the drivers' counters that it is
_STATISTICS = {
    (_PHY, 0): ("SymbolErrorDuringCarrier", "wire.error"),
    (_MAC, 4): ("FrameCheckSequenceErrors", "mac.crc"),
    (_MAC, 5): ("AlignmentErrors", "mac.align"),
    (_MAC, 19): ("InRangeLengthErrors", "mac.length"),
    (_MAC, 21): ("FrameTooLongErrors", "mac.length"),
    (_RMON, 0): ("etherStatsUndersizePkts", "mac.length"),
    (_RMON, 1): ("etherStatsOversizePkts", "mac.length"),
    (_RMON, 2): ("etherStatsFragments", "mac.length"),
    (_RMON, 3): ("etherStatsJabbers", "mac.length"),
}
FEC_CORRECTED, FEC_UNCORRECTABLE = "fec.corrected", "fec.uncorrectable"
_BLOCKS = {
    _FEC_CORRECTED: ("FECCorrectedBlocks", FEC_CORRECTED),
    _FEC_UNCORRECTABLE: ("FECUncorrectableBlocks", FEC_UNCORRECTABLE),
}

_BITS = sum(1 << group for group in (_PHY, _MAC, _RMON))
# a bitset without a mask: these groups and no others
STATISTICS_QUESTION = nested(_STATS_REPLY_HEADER, b"") + nested(
    _GROUPS, attribute(_NO_MASK, b"") + attribute(_SIZE, struct.pack("=I", 4)) + attribute(_VALUE, struct.pack("=I", _BITS))
)
FEC_QUESTION = nested(_FEC_REPLY_HEADER, attribute(_FLAGS, _FLAG_STATS))


@dataclass(frozen=True, slots=True)
class Standard:
    """What one interface counts: class -> (name, count) of each counter."""

    counts: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StandardReader:
    """Asks for the statistics of all interfaces."""

    families: Families

    def read(self) -> dict[int, Standard]:
        """Index of an interface -> what it counts; none that counts nothing.

        Raises:
            OSError: ENOENT or EOPNOTSUPP on a kernel before 5.13, and as ``netlink.dump`` does.
        """
        statistics = parse_statistics(self.families.dump(FAMILY, _STATS_GET, STATISTICS_QUESTION))
        fec = parse_fec(self.families.dump(FAMILY, _FEC_GET, FEC_QUESTION))
        there = statistics.keys() | fec.keys()
        return {index: Standard({**statistics.get(index, {}), **fec.get(index, {})}) for index in there}


def parse_statistics(answers: Iterable[bytes]) -> dict[int, Counts]:
    """Index of an interface -> its MAC's, PHY's and RMON's errors, from the attributes of each answer."""
    found = {}
    for answer in answers:
        index = _index(answer, _STATS_REPLY_HEADER)
        counts: dict[str, list[tuple[int, str, int]]] = {}
        for group, number, value in _statistics(answer):
            name, kind = _STATISTICS.get((group, number), ("", ""))
            if name:
                counts.setdefault(kind, []).append((group, name, value))
        if index is not None and counts:
            found[index] = {kind: _once(told) for kind, told in counts.items()}
    return found


def _once(told: list[tuple[int, str, int]]) -> tuple[tuple[str, int], ...]:
    of_mac = any(group == _MAC for group, _, _ in told)
    return tuple((name, value) for group, name, value in told if group != _RMON or not of_mac)


def _statistics(answer: bytes) -> Iterable[tuple[int, int, int]]:
    """(group, number, count) of each statistic in an answer."""
    for kind, content in attributes(answer):
        if kind != _GROUP:
            continue
        group = number_of(dict(attributes(content)).get(_GROUP_ID))
        for inner, statistic in attributes(content):
            if inner == _GROUP_STATISTIC and group is not None:
                for number, raw in attributes(statistic):
                    value = number_of(raw)
                    if value is not None:
                        yield group, number, value


def parse_fec(answers: Iterable[bytes]) -> dict[int, Counts]:
    """Index of an interface -> the blocks that its FEC corrected, and those that it could not."""
    found = {}
    for answer in answers:
        index = _index(answer, _FEC_REPLY_HEADER)
        told = dict(attributes(dict(attributes(answer)).get(_FEC_STATISTICS, b"")))
        counts: Counts = {}
        names = (
            (_FEC_CORRECTED, FEC_CORRECTED, "FECCorrectedBlocks"),
            (_FEC_UNCORRECTABLE, FEC_UNCORRECTABLE, "FECUncorrectableBlocks"),
        )
        for place, kind, name in names:
            words = told.get(place, b"")
            if len(words) >= 8 and len(words) % 8 == 0:
                counts[kind] = ((name, int(struct.unpack_from("=Q", words)[0])),)
        if index is not None and counts:
            found[index] = counts
    return found


def _index(answer: bytes, header: int) -> int | None:
    return number_of(dict(attributes(dict(attributes(answer)).get(header, b""))).get(_DEVICE_INDEX))


def completed(own: Classified, standard: Standard) -> Classified:
    """A driver's counters, and the standard's of those classes that it has none of: no error is in it twice."""
    missing = {
        kind: tuple(Part(name, place, None, value) for place, (name, value) in enumerate(counts))
        for kind, counts in standard.counts.items()
        if kind not in own.parts
    }
    return Classified(own.driver, own.known, {**own.parts, **missing})
