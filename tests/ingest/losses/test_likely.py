"""Where a gap was most likely lost: the stage, and the words for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.likely import SAME, SILENT, WHOLE, Gap, likely_stage
from ingest.sample import LossSample
from ingest.stages import NAMES, complete


def row(stage: int, per_s: float, where: str = "host", counter: str = "c", kind: str = "loss", note: str = "") -> LossSample:
    return LossSample(stage, NAMES[stage], where, counter, 10_000, per_s, True, kind, note)


def gap(lost: int = 100, **more) -> Gap:
    return Gap("eth2", lost, more.pop("interval_s", 1.0), **more)


def test_descriptors_before_the_backlog_that_overflowed_after_them():
    found = likely_stage(
        gap(), [row(11, 90, "CPU 3"), row(7, 60, "eth2", "rx_no_dma_resources"), row(10, 4, "CPU 3", kind="delay")]
    )
    assert (found.stage, found.where, found.explained) == (7, "eth2", 60)
    assert "rx_no_dma_resources on eth2 counted 60 of the 100" in found.why
    assert "softirq was late on CPU 3" in found.why
    assert "also moved: softnet backlog 90" in found.why


def test_a_stage_that_explains_little_is_not_the_likely_one():
    found = likely_stage(gap(), [row(2, 1, "eth2"), row(18, 99, counter="Udp.RcvbufErrors")])
    assert found.stage == 18


def test_where_none_explains_half_the_largest_says_what_is_left():
    found = likely_stage(gap(), [row(5, 10, "eth2"), row(18, 20)])
    assert found.stage == 18
    assert "80 are not explained" in found.why


def test_lldp_is_no_loss_of_a_feed():
    rows = [row(13, 1 / 30, "eth2", "rx_dropped", "aggregate")]
    found = likely_stage(gap(1, other_line=WHOLE), rows)
    assert found.stage == 0
    assert "the network of eth2's line" in found.why


def test_what_another_interface_lost_is_not_this_line():
    assert likely_stage(gap(other_line=WHOLE), [row(7, 100, "eth3"), row(2, 100, "eth3")]).stage == 0


def test_transmission_and_the_feed_itself_prove_nothing():
    assert likely_stage(gap(other_line=WHOLE), [row(27, 100, "eth2"), row(26, 100, "239.1.1.1:1")]).stage == 0


def test_corrected_errors_and_pressure_are_no_loss():
    rows = [row(1, 100, "eth2", "rx_corrected_bits_phy", "warning"), row(7, 100, "eth2", "rx_no_buffer_count", "warning")]
    assert likely_stage(gap(other_line=WHOLE), rows).stage == 0


def test_bad_frames_on_one_line_are_its_cable():
    found = likely_stage(gap(other_line=WHOLE), [row(2, 100, "eth2", "rx_crc_errors")])
    assert found.stage == 2
    assert "cable or optics" in found.why


def test_a_full_buffer_behind_a_slow_bus():
    rows = [row(5, 100, "eth2"), row(6, 40, "eth2", "outbound_pci_stalled_wr", "warning"), row(7, 3, "eth2", "x", "warning")]
    found = likely_stage(gap(), rows)
    assert found.stage == 5
    assert "PCIe held it up (outbound_pci_stalled_wr)" in found.why
    assert "descriptors were short (x)" in found.why


def test_a_loss_that_was_exported_to_the_switch():
    found = likely_stage(gap(), [row(3, 5, "eth2", "tx_flow_control_xoff", "warning")])
    assert found.stage == 3
    assert "tx_flow_control_xoff" in found.why


def test_a_group_that_is_joined_and_silent_is_membership():
    found = likely_stage(gap(received=0, joined=True, other_line=WHOLE), [row(13, 1 / 30, "eth2", "rx_dropped", "aggregate")])
    assert found.stage == 16
    assert "snooping" in found.why
    assert "not joined" in likely_stage(gap(received=0, joined=False), []).why
    assert likely_stage(gap(received=0, joined=True, other_line=SILENT), []).stage == 0
    # but not where this host itself drops everything
    assert likely_stage(gap(received=0, joined=True), [row(15, 100, counter="TcpExt.IPReversePathFilter")]).stage == 15


def test_both_lines_at_once():
    assert "what both lines share" in likely_stage(gap(other_line=SAME), []).why
    assert "share a queue" in likely_stage(gap(other_line=SAME), [row(7, 100, "eth2")]).why


def test_the_worst_socket_is_named():
    rows = [
        row(18, 100),
        row(18, 90, "239.1.1.1:30001", "sk_drops", "detail", "socket inode 4242"),
        row(18, 10, "x", "sk_drops", "detail"),
    ]
    assert "worst socket 239.1.1.1:30001 (socket inode 4242)" in likely_stage(gap(), rows).why


def test_the_worst_socket_is_that_of_the_interval():
    sockets = [row(18, per_s, where, "sk_drops", "detail") for per_s, where in ((1, "old:1"), (90, "new:2"), (9, "other:3"))]
    assert "worst socket new:2" in likely_stage(gap(), [row(18, 100), *sockets]).why


def test_another_ring_s_drops_are_not_this_line_s():
    for where, stage in (("eth2", 21), ("packet:eth2", 21), ("eth3", 0), ("packet:eth3", 0)):
        assert likely_stage(gap(), [row(21, 100, where, "tp_drops")]).stage == stage


def test_the_backlog_takes_no_more_of_a_line_than_its_interface_dropped():
    backlog = [row(11, 60, "CPU 0"), row(11, 40, "CPU 1")]
    for dropped, stage, explained in ((100, 11, 100), (70, 11, 70), (0, 0, 0)):
        found = likely_stage(gap(), [*backlog, row(13, dropped, "eth2", "rx_dropped", "aggregate")])
        assert (found.stage, found.explained) == (stage, explained)
    assert likely_stage(gap(), [*backlog, row(13, 0, "eth3", "rx_dropped", "aggregate")]).explained == 100  # not of this line
    one_of_two = row(13, 0, "bond0", "rx_dropped", "aggregate"), row(13, 80, "eth2", "rx_dropped", "aggregate")
    found = likely_stage(Gap("bond0", 100, 1.0, also=("eth2",)), [*backlog, *one_of_two])
    assert (found.stage, found.explained) == (11, 80)


def test_an_interface_beneath_is_the_line_s():
    assert likely_stage(Gap("bond0", 100, 1.0, also=("eth2", "eth3")), [row(7, 100, "eth3")]).stage == 7
    assert likely_stage(Gap("bond0", 100, 1.0, also=("eth2",)), [row(7, 100, "eth3")]).stage == 0


def test_a_packet_that_holds_many_numbers_explains_as_many():
    found = likely_stage(Gap("eth2", 1000, 1.0, per_packet=10.0), [row(2, 4, "eth2"), row(7, 96, "eth2", "rx_missed")])
    assert (found.stage, found.explained) == (7, 960)
    assert "rx_missed on eth2 counted 96 packets of some 10.0 each; 1000 are missing" in found.why


def test_more_than_is_missing_is_said_so():
    assert "counted 150, and 100 are missing" in likely_stage(gap(), [row(7, 150, "eth2")]).why


def test_where_nothing_moved_what_is_invisible_is_said():
    found = likely_stage(gap(), complete([], ["eth2"]))
    assert found.stage == 0
    assert "stages not visible here: 1, 2, 3" in found.why


def test_a_rate_counts_for_the_interval_of_the_gap():
    assert likely_stage(gap(100, interval_s=10.0), [row(18, 10)]).explained == 100


@pytest.mark.parametrize(("lost", "interval_s"), [(0, 1.0), (-1, 1.0), (5, 0.0), (5, float("nan"))])
def test_no_gap_is_an_error(lost, interval_s):
    with pytest.raises(ValueError, match="no gap"):
        likely_stage(Gap("eth2", lost, interval_s), [])


@given(
    st.lists(
        st.builds(
            row,
            st.integers(0, 27),
            st.floats(0, 1e9),
            st.sampled_from(["eth2", "eth3", "host", "CPU 1"]),
            kind=st.sampled_from(["loss", "filtered", "delay", "warning", "detail", "aggregate"]),
        ),
        max_size=12,
    ),
    st.integers(1, 10**6),
    st.sampled_from([WHOLE, SAME, SILENT, "unknown"]),
    st.sampled_from([None, 0, 5]),
)
def test_every_ledger_has_a_verdict_that_explains_no_more_than_is_missing(rows, lost, other, received):
    found = likely_stage(Gap("eth2", lost, 1.0, received, other, True), rows)
    assert 0 <= found.stage < 26
    assert 0 <= found.explained <= lost
    assert found.why
