"""Counters by generic netlink: queues by netdev-genl, MAC, PHY and FEC by ethtool's; none of them in the ledger twice."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.counters import ethtool_standard, netdev_queues
from ingest.counters.driver import Classified, classify
from ingest.counters.ethtool_standard import Standard, StandardReader, completed, parse_fec, parse_statistics
from ingest.counters.genetlink import HEAD, Families, nested, number_of, parse_families
from ingest.counters.netdev_queues import QueueReader, parse, preferred
from ingest.loss_reader import LossReader
from ingest.nic_losses import NicReading, nic_counts
from ingest.stages import ADDED, Count
from tuner.host import netlink
from tuner.host.driver_statistics import DriverStatistics
from tuner.host.host import open_host
from tuner.host.netlink import attribute, dump
from tuner.host.nics import read_nics

UNKNOWN = Classified("acme", known=False)
# Answers of Linux 6.18 to our questions: receive and transmit queue of virtio_net; the empty groups of a driver without any.
VIRTIO_RX = "0800010004000000 0800020000000000 0800030000000000 08000800de190100 0800090085e6f691"
VIRTIO_TX = "0800010004000000 0800020001000000 0800030000000000 08000a0011bf0000 08000b006fc25100 0800210000000000"
NO_STATISTICS = (
    "1800028008000100040000000900020065746830000000000800050000000000"
    "140004800800020000000000080003001100000014000480080002000100000008000300120000001400048008000200030000000800030014000000"
)


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def u64(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=Q", value))


def queue(index: int, number: int, kind: int = 0, **counts: int) -> bytes:
    names = {name.replace("-", "_"): place for place, name in netdev_queues._COUNTS.items()}
    body = b"".join((u64 if value >> 32 else u32)(names[name], value) for name, value in counts.items())
    return u32(1, index) + u32(2, kind) + u32(3, number) + body


def statistics(index: int, groups: dict[int, dict[int, int]]) -> bytes:
    """As net/ethtool/stats.c writes it: each statistic in a nest of its own, padded to 64 bits."""
    written = nested(2, u32(1, index) + attribute(2, b"eth9\0"))
    for group, told in groups.items():
        nests = b"".join(nested(4, attribute(1, b"") + u64(number, value)) for number, value in told.items())
        written += nested(4, u32(2, group) + u32(3, 0x11 + group) + nests)
    return written


def fec(index: int, **words: list[int]) -> bytes:
    places = {"corrected": 2, "uncorrectable": 3, "bits": 4}
    told = b"".join(attribute(places[name], struct.pack(f"={len(each)}Q", *each)) for name, each in words.items())
    return nested(1, u32(1, index)) + u32(4, 5) + nested(5, told)


# ---------------------------------------------------------------------------------------------------------------- families


class Kernel:
    """Answers dumps of nlctrl and of one family, whose number may change."""

    def __init__(self, number: int = 20) -> None:
        self.number, self.asked = number, []

    def __call__(self, protocol: int, kind: int, payload: bytes) -> netlink.Messages:
        self.asked.append((protocol, kind))
        if kind == 16:
            one = attribute(2, b"acme\0") + attribute(1, struct.pack("=H", self.number)) + u32(3, 1)
            return ((16, HEAD.pack(1, 2) + one), (16, HEAD.pack(1, 2)))
        if kind != self.number:
            raise OSError(errno.ENOENT, "no such family")
        return ((kind, HEAD.pack(5, 1) + payload[4:]), (7, HEAD.pack(5, 1)), (kind, b"\0"))


def test_a_family_is_looked_up_once_and_again_when_it_moved():
    kernel = Kernel()
    families = Families(kernel)
    assert families.dump("acme", 5, b"abcd") == families.dump("acme", 5, b"abcd") == (b"abcd",)
    assert kernel.asked == [(16, 16), (16, 20), (16, 20)]
    kernel.number = 31
    assert families.dump("acme", 5, b"wxyz") == (b"wxyz",)
    with pytest.raises(FileNotFoundError):
        families.dump("nosuch", 5)


def test_this_kernel_lists_its_families():
    found = parse_families(dump(16, 16, HEAD.pack(3, 1)))
    assert found["nlctrl"] == 16
    assert found["ethtool"] > 16


@pytest.mark.parametrize(
    ("raw", "value"), [(b"\1\0\0\0", 1), (b"\1" + bytes(7), 1), (b"\1", None), (None, None), (bytes(9), None)]
)
def test_numbers_of_both_widths(raw, value):
    assert number_of(raw) == value


# ------------------------------------------------------------------------------------------------------------------ queues


def test_receive_queues_as_this_kernel_told_them():
    assert parse([bytes.fromhex(VIRTIO_RX), bytes.fromhex(VIRTIO_TX)]) == {4: {0: {"rx-packets": 0x119DE}}}


def test_queues_of_both_widths_and_what_is_no_receive_queue():
    found = parse(
        [
            queue(3, 0, rx_packets=5, rx_hw_drops=2**33),
            queue(3, 11, rx_packets=6, rx_hw_drop_overruns=7, rx_alloc_fail=1),
            queue(3, 12),
            queue(3, 0, kind=1, rx_packets=9),
            u32(1, 3) + u32(8, 5),  # the device as a whole
        ]
    )
    assert found == {
        3: {
            0: {"rx-packets": 5, "rx-hw-drops": 2**33},
            11: {"rx-packets": 6, "rx-hw-drop-overruns": 7, "rx-alloc-fail": 1},
        }
    }


def test_the_queues_of_this_kernel_are_its_interfaces_own():
    """Between two reads none of them counts more than its interface received; which of them count is their drivers' choice."""
    host = open_host()
    reader = QueueReader(Families(dump))
    first = reader.read()
    there = {nic.ifindex: nic.name for nic in read_nics(host.files)}
    assert first.keys() <= there.keys()
    for index, queues in reader.read().items():
        received = host.files.number(f"/sys/class/net/{there[index]}/statistics/rx_packets") or 0
        before = sum(counts.get("rx-packets", 0) for counts in first.get(index, {}).values())
        now = sum(counts.get("rx-packets", 0) for counts in queues.values())
        assert before <= now <= received + 1_000


def rows(own: Classified, **kernel: int) -> dict[tuple[int, str], tuple[int, str]]:
    told = nic_counts(NicReading("eth9", own.driver, kernel, own))
    return {(row.stage, row.counter): (row.total, row.kind) for row in told if isinstance(row, Count)}


def added(own: Classified, **kernel: int) -> int:
    return sum(total for total, kind in rows(own, **kernel).values() if kind in ADDED)


def test_of_the_drivers_names_and_the_queues_the_queues_hold():
    """virtio_net tells the same drops by ethtool -S."""
    counters = {"rx0_packets": 10, "rx0_hw_drop_overruns": 3, "rx0_drops": 2, "rx1_packets": 20, "rx1_hw_drop_overruns": 4}
    own = classify("virtio_net", DriverStatistics(tuple(counters), tuple(counters.values())))
    told = preferred(own, {0: {"rx-packets": 11, "rx-hw-drops": 9, "rx-hw-drop-overruns": 3}, 1: {"rx-hw-drop-overruns": 5}})
    assert told.by_queue("queue.packets") == {0: 11}
    assert told.by_queue("nic.nodesc") == {0: 3, 1: 5}
    found = rows(told)
    assert found[7, "rx-hw-drop-overruns (x2)"] == (8, "loss")
    assert added(told) == 8 + 2


def test_an_unknown_drivers_queues_are_not_added_to_what_the_kernel_calls_missed():
    told = preferred(
        UNKNOWN, {0: {"rx-hw-drops": 9, "rx-hw-drop-overruns": 3, "rx-hw-drop-ratelimits": 1}, 1: {"rx-alloc-fail": 4}}
    )
    found = rows(told, rx_missed_errors=9, rx_crc_errors=2)
    assert found[7, "rx-hw-drop-overruns"] == (3, "loss")
    assert found[9, "rx-hw-drop-ratelimits"] == (1, "loss")
    assert found[5, "rx-hw-drops"] == (5, "loss")
    assert found[8, "rx-alloc-fail"] == (4, "warning")
    assert found[5, "rx_missed_errors"] == (9, "aggregate")
    assert added(told, rx_missed_errors=9, rx_crc_errors=2) == 9 + 2


def test_queues_without_drops_leave_the_kernels_row_what_it_was():
    told = preferred(UNKNOWN, {0: {"rx-packets": 9}})
    assert rows(told, rx_missed_errors=9)[5, "rx_missed_errors"] == (9, "loss")


# ---------------------------------------------------------------------------------------------------------------- standard


def test_a_driver_that_counts_nothing_by_the_standard_as_this_kernel_told_it():
    assert parse_statistics([bytes.fromhex(NO_STATISTICS)]) == {}


def test_mac_and_phy_by_their_numbers():
    """linux/ethtool_netlink.h: aFrameCheckSequenceErrors is the fifth of the MAC's, from 0."""
    found = parse_statistics([statistics(4, {0: {0: 1}, 1: {3: 1000, 4: 2**40, 5: 3, 19: 4, 20: 99, 21: 5}, 2: {0: 7}})])
    assert found == {
        4: {
            "wire.error": (("SymbolErrorDuringCarrier", 1),),
            "mac.crc": (("FrameCheckSequenceErrors", 2**40),),
            "mac.align": (("AlignmentErrors", 3),),
            "mac.length": (("InRangeLengthErrors", 4), ("FrameTooLongErrors", 5)),
        }
    }


def test_rmon_tells_lengths_where_the_mac_does_not():
    alone = parse_statistics([statistics(4, {3: {0: 1, 1: 2, 2: 3, 3: 4}})])
    assert sum(value for _, value in alone[4]["mac.length"]) == 10
    beside = parse_statistics([statistics(4, {3: {0: 1, 1: 2}, 1: {21: 2}})])
    assert beside[4]["mac.length"] == (("FrameTooLongErrors", 2),)


def test_fec_by_port_and_by_lane():
    found = parse_fec([fec(4, corrected=[30, 10, 20], uncorrectable=[2], bits=[99]), fec(5), fec(6, uncorrectable=[])])
    assert found == {4: {"fec.corrected": (("FECCorrectedBlocks", 30),), "fec.uncorrectable": (("FECUncorrectableBlocks", 2),)}}


def test_the_standard_fills_what_the_driver_does_not_tell_and_no_more():
    standard = Standard(
        parse_statistics([statistics(4, {1: {4: 7, 5: 2}})])[4] | parse_fec([fec(4, corrected=[5], uncorrectable=[1])])[4]
    )
    own = classify("e1000e", DriverStatistics(("rx_crc_errors",), (7,)))
    found = rows(completed(own, standard))
    assert found[2, "rx_crc_errors"] == (7, "loss")
    assert (2, "FrameCheckSequenceErrors") not in found
    assert found[2, "AlignmentErrors"] == (2, "loss")
    assert found[1, "FECUncorrectableBlocks"] == (1, "warning")
    assert found[1, "FECCorrectedBlocks"] == (5, "warning")
    assert added(completed(own, standard)) == 9
    unknown = completed(UNKNOWN, standard)
    assert rows(unknown, rx_crc_errors=7)[2, "rx_crc_errors"] == (7, "aggregate")
    assert added(unknown, rx_crc_errors=7, rx_frame_errors=2) == 9


def test_this_kernel_takes_both_questions():
    assert isinstance(StandardReader(Families(dump)).read(), dict)


# ----------------------------------------------------------------------------------------------------------------- rubbish


@given(st.lists(st.binary(max_size=120), max_size=4))
def test_rubbish_is_no_traceback(answers):
    parse(answers)
    parse_statistics(answers)
    parse_fec(answers)
    parse_families([(16, each) for each in answers])


@given(st.data())
def test_what_is_torn_tells_no_number_that_was_not_there(data):
    whole = data.draw(
        st.sampled_from(
            [queue(3, 1, rx_packets=5, rx_hw_drops=6), statistics(4, {1: {4: 7, 5: 2}}), fec(4, corrected=[5, 2, 3])]
        )
    )
    torn = whole[: data.draw(st.integers(0, len(whole)))]
    numbers = {count for queues in parse([torn]).values() for counts in queues.values() for count in counts.values()}
    for told in (*parse_statistics([torn]).values(), *parse_fec([torn]).values()):
        numbers |= {value for counts in told.values() for _, value in counts}
    assert numbers <= {5, 6, 7, 2}


def test_the_ledger_reads_on_where_the_kernel_knows_neither(monkeypatch):
    """A kernel before 6.9 has no qstats-get: EOPNOTSUPP; one before 5.13 no statistics."""

    def refuses(_self):
        raise OSError(errno.EOPNOTSUPP, "no such command")

    monkeypatch.setattr(QueueReader, "read", refuses)
    monkeypatch.setattr(StandardReader, "read", refuses)
    host = open_host()
    reader = LossReader(host)
    nics = read_nics(host.files)
    ledger = reader.read(1, 0.0, nics, {nic.name: {} for nic in nics}, (), {}, everything=True)
    assert {row.stage for row in ledger} >= set(range(1, 9))
    reader.close()


def test_the_questions_are_the_kernels():
    assert ethtool_standard.FEC_QUESTION.hex() == "0c0001800800030004000000"
    assert ethtool_standard.STATISTICS_QUESTION.hex() == "0400028018000380040001000800020004000000080004000b000000"
