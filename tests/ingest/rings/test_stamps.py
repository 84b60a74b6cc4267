"""From control messages to an interval: what is stamped by whom, and how far two clocks are apart."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.rings.bpf import TAKE_RECEIVED, WHOLE_PACKET
from ingest.stamps import clock
from ingest.stamps.ability import Ability, ability_of
from ingest.stamps.clock import HardwareClock, Offset, parse_extended, parse_plain
from ingest.stamps.control import Stamped, stamps_of
from ingest.stamps.interval import ClockOffset, NicInterval
from ingest.stamps.sampler import LOOKED_AT_PER_S, SNAP_BYTES, next_one_in, one_in, settled, unsettled
from ui.cli.stamps_text import stamps_lines, stamps_words

SECOND = 1_000_000_000
TAI = 37 * SECOND
# as igb told it in the lab: the kernel's stamp, nothing, the NIC's
TOLD = (1, 37, struct.pack("=6q", 1795265876, 473121481, 0, 0, 1795265876, 470317301))
ON = Ability("on", 0, "all")
EMPTY = NicInterval("eth9", ON)


def message(kernel: tuple[int, int] = (0, 0), nic: tuple[int, int] = (0, 0)) -> tuple[int, int, bytes]:
    return 1, 37, struct.pack("=6q", *kernel, 0, 0, *nic)


# ------------------------------------------------------------------------------------------------------- control messages


def test_both_stamps_of_a_real_message():
    found = stamps_of([(1, 40, b"\1\0\0\0"), TOLD])
    assert found == Stamped(nic_ns=1795265876470317301, kernel_ns=1795265876473121481)


@pytest.mark.parametrize(
    ("messages", "stamped"),
    [
        ([], Stamped()),
        ([message(kernel=(5, 6))], Stamped(kernel_ns=5 * SECOND + 6)),
        ([message(nic=(5, 6))], Stamped(nic_ns=5 * SECOND + 6)),
        ([message(kernel=(0, 7), nic=(0, 0))], Stamped(kernel_ns=7)),  # a NIC's clock may begin at 0, and so may a guest's
        ([message(kernel=(5, SECOND), nic=(-1, 5))], Stamped()),
        ([(1, 37, TOLD[2][:47])], Stamped()),
        ([(2, 37, TOLD[2]), (1, 35, TOLD[2])], Stamped()),
    ],
)
def test_what_is_no_stamp_is_none(messages, stamped):
    assert stamps_of(messages) == stamped


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(35, 39), st.binary(max_size=80)), max_size=4))
def test_rubbish_is_no_traceback(messages):
    found = stamps_of(messages)
    assert all(each is None or each > 0 for each in (found.nic_ns, found.kernel_ns))


# ------------------------------------------------------------------------------------------------------------- the clocks


def times(*each_ns: int, room: int) -> bytes:
    body = b"".join(struct.pack("=qII", *divmod(value, SECOND), 0xDEAD) for value in each_ns)
    return (struct.pack("=4I", 3, 0, 0, 0) + body).ljust(16 + 16 * room, b"\0")


def test_the_narrowest_of_the_extended_readings_is_the_offset():
    wide, narrow = 10 * SECOND, 11 * SECOND
    raw = times(
        *(wide, wide + TAI + 9_000, wide + 10_000),
        *(narrow, narrow + TAI + 400, narrow + 1_001),
        *(12 * SECOND, 12 * SECOND + TAI, 12 * SECOND + 5_000),
        room=75,
    )
    assert parse_extended(raw, 3) == Offset(narrow + 500, TAI - 100, 501)


def test_the_plain_readings_stand_between_each_other():
    raw = times(1_000, 90_000, 3_000, 92_500, 4_000, 95_000, 9_000, room=51)
    assert parse_plain(raw, 3) == Offset(3_500, 89_000, 500)


def test_a_clock_behind_the_hosts_has_a_negative_offset():
    assert parse_extended(times(5 * SECOND, 4 * SECOND, 5 * SECOND + 200, room=75), 1).offset_ns == -SECOND - 100


def test_readings_that_make_no_sense_are_refused():
    with pytest.raises(OSError, match="set back"):
        parse_extended(times(2_000, 5_000, 1_000, room=75), 1)


def test_the_requests_are_the_kernels():
    """_IOWR('=', 9, struct ptp_sys_offset_extended) and _IOW('=', 5, struct ptp_sys_offset), as the lab's kernel took them."""
    assert (clock.PTP_SYS_OFFSET_EXTENDED, clock.PTP_SYS_OFFSET) == (0xC4C03D09, 0x43403D05)


def test_a_driver_without_extended_readings_is_asked_for_the_plain_ones(monkeypatch, tmp_path):
    asked = []

    def answer(fd, request, buffer):
        asked.append(request)
        if request == clock.PTP_SYS_OFFSET_EXTENDED:
            raise OSError(95, "not by this driver")
        assert struct.unpack_from("=4I", buffer) == (clock.READINGS, 0, 0, 0)
        count = 2 * clock.READINGS + 1
        buffer[:] = times(*(1_000 * n + (TAI if n % 2 else 0) for n in range(1, count + 1)), room=51)

    monkeypatch.setattr(clock.fcntl, "ioctl", answer)
    monkeypatch.setattr(clock.os, "open", lambda *_: 99)
    found = HardwareClock(0).measure()
    assert asked == [clock.PTP_SYS_OFFSET_EXTENDED, clock.PTP_SYS_OFFSET]
    assert abs(found.offset_ns) == TAI
    assert found.uncertainty_ns == 1_000


def test_the_offset_drifts_evenly_between_two_measurements():
    before, after = Offset(0, 1_000, 50), Offset(1_000_000, 3_000, 60)
    assert [before.until(after, at) for at in (0, 250_000, 1_000_000, 1_500_000)] == [1_000, 1_500, 3_000, 4_000]
    assert before.until(before, 7) == 1_000


# ------------------------------------------------------------------------------------------------------------ the interval


def packet(at_ns: int, interval_ns: int, ahead_ns: int) -> Stamped:
    return Stamped(nic_ns=at_ns - interval_ns + ahead_ns, kernel_ns=at_ns)


def test_the_offset_is_taken_out_and_told():
    before, after = Offset(100 * SECOND, TAI, 200), Offset(101 * SECOND, TAI + 1_000, 300)
    packets = [
        packet(100 * SECOND + SECOND // 2, 15, TAI + 500),
        packet(101 * SECOND, 12, TAI + 1_000),
        Stamped(None, 5),
        Stamped(6),
    ]
    found = settled(EMPTY, packets, before, after)
    assert (found.looked_at, found.unstamped, found.unstamped_by_kernel) == (4, 1, 1)
    assert (found.latency.total, found.latency.percentile(50), found.latency.max_ns, found.lowest_ns) == (2, 12, 15, 12)


def test_a_negative_interval_is_shown_as_such():
    before = Offset(100 * SECOND, TAI, 200)
    found = settled(EMPTY, [packet(100 * SECOND, -200, TAI)], before, Offset(101 * SECOND, TAI, 200))
    assert (found.latency.negative, found.lowest_ns) == (1, -200)
    text = "\n".join(stamps_lines(found))
    assert "1 stamped by the NIC after the kernel had them, down to -200 ns" in text
    assert found.to_json()["latency"]["negative"] == 1


@pytest.mark.parametrize("after", [None, Offset(101 * SECOND, 0, 200), Offset(101 * SECOND, TAI + 2_000_000, 200)])
def test_packets_around_a_step_of_a_clock_have_no_interval(after):
    found = settled(EMPTY, [packet(100 * SECOND, 15, TAI)], Offset(100 * SECOND, TAI, 200), after)
    assert (found.stepped, found.latency.total, found.looked_at) == (1, 0, 1)
    assert any("came while a clock was set" in line for line in stamps_lines(found))


def test_clocks_that_nobody_can_compare_are_said_to_be_so():
    empty = NicInterval("eth9", ON, why_unknown="/dev/ptp0 cannot be read: Permission denied")
    found = unsettled(empty, [packet(100 * SECOND, 15, 5)])
    assert found.latency.max_ns == 10
    record = found.to_json()
    assert (record["clocks_agree"], record["clock"]) == (False, None)
    (line,) = [line for line in stamps_lines(found) if "known to agree" in line]
    assert "Permission denied" in line
    assert "+-" not in line


def test_two_parts_add_up():
    one = NicInterval("e", ON, 5, 1, 0, 0, 2, 64, EMPTY.latency, -3, ClockOffset("/dev/ptp0", 10, 5, 8, 10), "", 100)
    two = NicInterval("e", ON, 7, 0, 1, 1, 0, 8, EMPTY.latency, None, ClockOffset("/dev/ptp0", 12, 4, 10, 12), "", 50)
    both = one.merged(two)
    assert (both.looked_at, both.unstamped, both.unstamped_by_kernel, both.stepped, both.dropped) == (12, 1, 1, 1, 2)
    assert (both.one_in, both.lowest_ns, both.cpu_ns) == (8, -3, 150)
    assert both.clock == ClockOffset("/dev/ptp0", 12, 5, 8, 12)
    assert both.clock.to_json()["moved_ns"] == 4


@pytest.mark.parametrize(
    ("stamping", "words"),
    [("off", "hwstamp_ctl -i eth9 -r 1"), ("none", "does not stamp"), ("some", "'ptpv2-event'"), ("unknown", "does not say")],
)
def test_who_turns_stamps_on(stamping, words):
    sample = NicInterval("eth9", Ability(stamping, 0, "ptpv2-event"))
    assert words in sample.words
    assert sample.words in stamps_lines(sample)
    assert stamps_words(sample) == "  NIC to kernel -"


def test_a_nic_that_says_it_stamps_and_does_not():
    assert "none had a stamp" in NicInterval("eth9", ON, looked_at=9, unstamped=9).words
    assert NicInterval("eth9", ON, looked_at=9, unstamped=8).words == ""


def test_an_interface_that_is_not_there_is_no_traceback():
    assert ability_of("qcnosuch").stamping == "unknown"
    assert ability_of("a" * 40).stamping == "unknown"
    assert "\x1b" not in Ability("off").words("eth\x1b[2J")


# -------------------------------------------------------------------------------------------------------------- the sample


def test_one_byte_of_what_the_filter_takes():
    assert one_in(1, TAKE_RECEIVED) == tuple(
        (code, yes, no, SNAP_BYTES if k == WHOLE_PACKET else k) for code, yes, no, k in TAKE_RECEIVED
    )
    drawn = one_in(256, TAKE_RECEIVED)
    assert len(drawn) == len(TAKE_RECEIVED) + 3
    assert drawn[1][3] == (1 << 24) - 1  # 2^24 of 2^32 numbers


@given(st.floats(0, 50_000_000))
def test_the_sample_follows_the_traffic(rate):
    count, seconds = 1024, 0.0
    while (following := next_one_in(count, rate / count)) != count:
        count, seconds = following, seconds + 0.1
        assert seconds < 2
    assert rate / count <= LOOKED_AT_PER_S
    assert count == 1 or rate / count >= LOOKED_AT_PER_S / 8
