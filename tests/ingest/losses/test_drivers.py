"""ethtool -S: names of each driver's own making, given a meaning; never a sum added to its parts, nor a queue to another."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.counters import driver
from ingest.counters.driver import CLASSES, classify, driver_map, label, parse_map
from ingest.nic_losses import _CLASSES, NicReading, nic_counts
from ingest.rates import PACKETS_PER_S, Rates
from ingest.stages import Count, Unseen, rated
from tuner.host.driver_statistics import DriverStatistics, read_statistics


def told(name: str, counters: list[tuple[str, int]]) -> driver.Classified:
    return classify(name, DriverStatistics(tuple(n for n, _ in counters), tuple(v for _, v in counters)))


def totals(name: str, counters: list[tuple[str, int]]) -> dict[str, int]:
    return {kind: sum(part.value for part in parts) for kind, parts in told(name, counters).parts.items()}


# ---------------------------------------------------------------------------------------------------------------- the map


def test_the_map_is_whole_and_every_class_of_it_has_a_stage():
    found = driver_map()
    assert {"ixgbe", "i40e", "ice", "igb", "igc", "e1000e", "mlx5_core", "bnxt_en", "sfc"} <= set(found)
    assert {"ena", "virtio_net", "vmxnet3", "gve", "gvnic", "tg3"} <= set(found)
    used = {rule.kind for each in found.values() for rule in each.rules}
    assert used - {driver.CONTAINED, driver.QUEUE_PACKETS} == set(_CLASSES)
    assert used <= CLASSES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[x.counters]\n'a(' = 'nic.fifo'", "no pattern"),
        ("[x.counters]\n'a' = 'nic.fifty'", "no such class"),
        ("[x.counters]\n'a' = { class = 'nic.fifo', bit = 32 }", "no such class or key"),
        ("[x]\ncolour = 'red'\n[x.counters]\n'a' = 'pcie'", "unknown key 'colour'"),
    ],
)
def test_a_fault_in_the_map_is_named(text, words):
    with pytest.raises(ValueError, match=words):
        parse_map(text)


# ------------------------------------------------------------------------------------------------------------ the drivers


def test_ixgbe_keeps_full_buffers_and_missing_descriptors_apart():
    found = totals(
        "ixgbe",
        [("rx_missed_errors", 5), ("rx_no_dma_resources", 7), ("rx_errors", 900), ("rx_fifo_errors", 900), ("rx_crc_errors", 1),
         ("rx_long_length_errors", 2), ("rx_short_length_errors", 3), ("rx_length_errors", 5), ("tx_flow_control_xoff", 4)],
    )  # fmt: skip
    assert found == {"nic.fifo": 5, "nic.nodesc": 7, "mac.crc": 1, "mac.length": 5, "mac.pause_tx": 4}


def test_i40e_before_and_after_its_counters_changed_their_meaning():
    old = totals("i40e", [("rx_dropped", 9), ("port.rx_discards", 2), ("rx_crc_errors", 3), ("port.rx_crc_errors", 3)])
    new = totals("i40e", [("rx_dropped", 1), ("rx_missed_errors", 9), ("port.rx_discards", 2)])
    assert old == {"nic.nodesc": 9, "nic.fifo": 2, "mac.crc": 3}
    assert new == {"nic.nodesc": 9, "nic.fifo": 2, "drv.error": 1}


def test_ice_is_the_other_way_round():
    assert totals("ice", [("rx_dropped", 9), ("rx_dropped.nic", 2)]) == {"nic.nodesc": 9, "nic.fifo": 2}


def test_igb_by_queue():
    names = [(f"rx_queue_{q}_{what}", 10 * q + n) for q in range(8) for n, what in enumerate(("packets", "drops", "csum_err"))]
    found = told("igb", [*names, ("rx_fifo_errors", 10_000)])
    assert found.by_queue("nic.nodesc") == {q: 10 * q + 1 for q in range(8)}
    assert found.by_queue("queue.packets") == {q: 10 * q for q in range(8)}
    assert label(found.parts["nic.nodesc"]) == "rx_queue_N_drops (x8)"
    assert "nic.fifo" not in found.parts


def test_bnxt_repeats_its_names_behind_the_ring():
    names = [
        (f"[{ring}]: {what}", ring + 1)
        for ring in (0, 1, 15)
        for what in ("rx_ucast_packets", "rx_mcast_packets", "rx_discards")
    ]
    found = told("bnxt_en", [*names, ("rx_total_ring_discards", 18), ("rx_stat_discard", 4)])
    assert found.by_queue("nic.nodesc") == {0: 1, 1: 2, 15: 16}
    assert found.by_queue("queue.packets") == {0: 2, 1: 4, 15: 32}
    assert sum(part.value for part in found.parts["nic.fifo"]) == 4


def vmxnet3(queues: list[tuple[int, int]]) -> list[tuple[str, int]]:
    """As vmxnet3_ethtool.c spells them: leading blanks, the same names for every queue, its number as a value."""
    found = [(name, 7) for q in range(2) for name in ("Tx Queue#", "  TSO pkts tx", "  ucast pkts tx", "  pkts tx err")]
    for number, lost in queues:
        found += [("Rx Queue#", number), ("  ucast pkts rx", 100), ("  mcast pkts rx", 50), ("  pkts rx OOB", lost)]
        found += [("  pkts rx err", 0), ("  drv dropped rx total", 99), ("  rx buf alloc fail", 0)]
    return [*found, ("tx timeout count", 0)]


def test_vmxnet3_by_position_whatever_the_order_of_its_queues():
    found = told("vmxnet3", vmxnet3([(1, 11), (0, 22), (3, 33)]))
    assert found.by_queue("nic.nodesc") == {0: 22, 1: 11, 3: 33}
    assert found.by_queue("queue.packets") == {0: 150, 1: 150, 3: 150}
    keys = [
        key for count in nic_counts(NicReading("e", "vmxnet3", own=found)) if isinstance(count, Count) for key, _ in count.parts
    ]
    assert len(keys) == len(set(keys))


def test_mlx5_wraps_at_32_bits_and_sums_are_not_added_to_their_rings():
    found = told(
        "mlx5_core",
        [("rx_out_of_buffer", 2**32 - 3), ("rx_discards_phy", 5), ("rx_prio0_discards", 4), ("rx_prio3_buf_discard", 1),
         ("rx_wqe_err", 6), ("rx0_wqe_err", 2), ("rx1_wqe_err", 4), ("rx_xdp_drop", 3), ("rx0_xdp_drop", 3),
         ("rx0_packets", 10), ("rx12_packets", 20), ("rx_packets", 30), ("tx_pause_ctrl_phy", 1), ("tx_prio0_pause", 1)],
    )  # fmt: skip
    sums = {kind: sum(part.value for part in parts) for kind, parts in found.parts.items()}
    assert sums["nic.fifo"] == 5
    assert sums["drv.error"] == 6
    assert sums["drv.xdp"] == 3
    assert sums["mac.pause_tx"] == 1
    assert found.by_queue("queue.packets") == {0: 10, 12: 20}
    (part,) = found.parts["nic.nodesc"]
    assert part.bits == 32
    rates = Rates(PACKETS_PER_S)
    seen = []
    for value in (2**32 - 3, 4):
        rates.begin(1.0)
        again = told("mlx5_core", [("rx_out_of_buffer", value)])
        counts = [c for c in nic_counts(NicReading("e", "mlx5_core", own=again)) if isinstance(c, Count)]
        seen.append(next(row.per_s for row in rated(counts, rates) if row.stage == 7))
    assert seen == [0.0, 7.0]


def test_virtio_old_and_new_names_and_no_totals():
    assert totals("virtio_net", [("rx_queue_0_drops", 3), ("rx_queue_1_drops", 4)]) == {"drv.drop": 7}
    new = [("rx_drops", 7), ("rx_xdp_drops", 2), ("rx0_drops", 3), ("rx1_drops", 4), ("rx1_xdp_drops", 2), ("rx0_kicks", 9)]
    assert totals("virtio_net", new) == {"drv.drop": 7, "drv.xdp": 2}
    assert told("virtio_net", [("rx_queue_3_packets", 5)]).by_queue("queue.packets") == {3: 5}


def test_a_driver_that_nobody_knows_has_no_counters():
    found = told("acme", [("rx_dropped", 1)])
    assert not found.known
    assert found.parts == {}


@given(
    st.sampled_from(["ixgbe", "vmxnet3", "bnxt_en", "mlx5_core", "acme"]),
    st.lists(st.tuples(st.text(max_size=32), st.integers(0, 2**64 - 1)), max_size=30),
)
def test_any_names_are_no_traceback_and_none_reaches_a_terminal_raw(name, counters):
    found = told(name, counters)
    for parts in found.parts.values():
        assert label(parts).isprintable()


def test_names_with_control_characters_are_made_visible():
    found = told("vmxnet3", [("Rx Queue#", 10**18), ("  pkts rx OOB", 1)])
    assert found.by_queue("nic.nodesc") == {10**18: 1}
    part = driver.Part("rx\x1b[2J", 0, None, 1)
    assert label([part]) == "rx\\x1b[2J"


def test_what_a_known_driver_does_not_count_is_invisible_and_a_zero_is_not():
    rows = list(nic_counts(NicReading("eth0", "e1000e", own=told("e1000e", [("rx_no_buffer_count", 0), ("rx_crc_errors", 0)]))))
    assert {row.stage for row in rows if isinstance(row, Unseen)} == {1, 3, 4, 5, 6, 8}
    assert {(row.stage, row.kind) for row in rows if isinstance(row, Count)} == {(2, "loss"), (7, "warning")}


def test_an_unknown_driver_is_told_by_the_kernel_alone():
    statistics = {"rx_crc_errors": 1, "rx_missed_errors": 2, "rx_dropped": 3, "rx_nohandler": 4, "tx_dropped": 5}
    rows = list(nic_counts(NicReading("eth0", "acme", statistics)))
    kinds = {(row.stage, row.counter): row.kind for row in rows if isinstance(row, Count)}
    assert kinds[5, "rx_missed_errors"] == "loss"
    assert kinds[13, "rx_dropped"] == "aggregate"
    assert kinds[13, "rx_nohandler"] == "filtered"
    assert "acme" in next(row.why for row in rows if isinstance(row, Unseen) and row.stage == 7)


# --------------------------------------------------------------------------------------------------------------- requests


class Driver:
    """Answers SIOCETHTOOL as net/ethtool/ioctl.c does: with as many as it has now, whatever was asked for."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes  # of each request in turn; the last one stays

    def __call__(self, request: bytes) -> bytes:
        count = self.sizes.pop(0) if len(self.sizes) > 1 else self.sizes[0]
        (command,) = struct.unpack_from("=I", request)
        if command == 0x37:
            answer = struct.pack("=IIQI", command, 0, 2 if count else 0, count)
        elif command == 0x1B:
            answer = struct.pack("=III", command, 1, count) + b"".join(f"n{i}".encode().ljust(32, b"\0") for i in range(count))
        else:
            answer = struct.pack("=II", command, count) + struct.pack(f"={count}Q", *range(count))
        assert len(answer) <= len(request), "the kernel would write past the buffer"
        return answer + request[len(answer) :]


def test_names_and_values_in_order():
    found = read_statistics(Driver([3]))
    assert found == DriverStatistics(("n0", "n1", "n2"), (0, 1, 2))


@pytest.mark.parametrize("sizes", [[8, 8, 500, 500], [8, 500, 500], [500, 8, 8, 8]])
def test_a_nic_whose_channels_change_between_two_requests_is_asked_again(sizes):
    last = sizes[-1]
    assert len(read_statistics(Driver(list(sizes))).values) == last


def test_a_number_that_never_stands_still_is_an_error():
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
        read_statistics(Driver([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]))
    assert caught.value.errno == errno.EAGAIN


@pytest.mark.parametrize("sizes", [[0], [1 << 20]])
def test_none_at_all_and_absurdly_many(sizes):
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
        read_statistics(Driver(sizes))
    assert caught.value.errno == errno.EOPNOTSUPP
