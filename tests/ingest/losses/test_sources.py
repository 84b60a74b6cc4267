"""Every reader of a kernel source: what it says, and what it does with rubbish."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.counters import aer, conntrack, igmp, link_stats, nftables, packet_sockets, qdisc, snmp6, sockets, softnet
from ingest.counters.kept import KeptFile
from tuner.host.files import HostFiles
from tuner.host.netlink import ROUTE, attribute, attributes, dump

RUBBISH = st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
HEAD = b"  sl  local_address ...\n"


@given(RUBBISH)
def test_rubbish_is_no_traceback(raw):
    for parse in (sockets.parse, igmp.parse, conntrack.parse, packet_sockets.parse):
        parse(raw)
        parse(HEAD + raw)
    softnet.parse(raw, [0, 1])
    snmp6.parse(raw, ["Udp6NoPorts"])
    for severity in aer.SEVERITIES:
        aer.parse(raw.decode("utf-8", "replace"), severity)
    list(attributes(raw))
    link_stats.parse([(link_stats.ANSWER, raw)])
    for kind in (qdisc.ANSWER, (10 << 8) | 3, (10 << 8) | 6, 1):
        qdisc.parse([(kind, raw)])
        nftables.parse_rules([(kind, raw)])
        nftables.parse_policies([(kind, raw)])


@given(st.data())
def test_what_is_torn_anywhere_is_no_traceback_and_no_number_that_was_not_there(data):
    lines = b"".join(
        b"%5d: 0101FDEF:7531 00000000:0000 07 00000000:00000A00 00:00000000 00000000     0        0 %d 2 0 7\n" % (i, 100 + i)
        for i in range(4)
    )
    cut = data.draw(st.integers(0, len(lines)))
    assert {found.port for found in sockets.parse(HEAD + lines[:cut])} <= {30001}
    rows = b"0000000a 00000002 00000003 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n" * 2
    cut = data.draw(st.integers(0, len(rows)))
    assert {(row.packets, row.drops, row.squeezes) for row in softnet.parse(rows[:cut], [0, 1])} <= {(10, 2, 3)}


# ----------------------------------------------------------------------------------------------------------------- sockets


def test_sockets_of_both_families():
    four = (
        b"  17: 0101FDEF:7531 00000000:0000 07 00000000:00000A00 00:00000000 00000000  1000        0 4242 2 0000000012345678 -3"
    )
    six = (
        b"  18: 00000000000000000000000001000000:0035 "
        + b"0" * 32
        + b":0000 07 00000000:00000000 00:00000000 00000000 0 0 9 2 0 5"
    )
    first, second = (*sockets.parse(HEAD + four + b"\n"), *sockets.parse(HEAD + six + b"\n"))
    assert (first.name, first.inode, first.drops, first.queued) == ("239.253.1.1:30001", 4242, 2**32 - 3, 0xA00)
    assert (second.name, second.drops) == ("[::1]:53", 5)


def test_this_machine_prints_its_own_sockets_so():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind(("127.0.0.1", 0))
        port = mine.getsockname()[1]
        with open("/proc/net/udp", "rb") as file:
            found = [each for each in sockets.parse(file.read()) if each.port == port]
        assert [each.name for each in found] == [f"127.0.0.1:{port}"]


def test_more_sockets_than_are_read(tmp_path):
    line = b"    1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0 1\n"
    (tmp_path / "udp").write_bytes(HEAD + line * 60_000)
    raw = KeptFile(HostFiles(tmp_path), "/udp", sockets.LIMIT).read()
    assert len(raw) == sockets.LIMIT
    assert 0 < len(sockets.parse(raw)) < 60_000


# ---------------------------------------------------------------------------------------------- groups, tracking, listeners


def test_groups_by_interface_and_hostile_names():
    raw = (
        b"Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
        b"1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
        b"2\te\x1b[7m\xff     :     2      V2\n\t\t\t\t0101FDEF     1 0:00000000\t\t0\n\t\t\t\tZZZZ     1\n"
    )
    lo, evil = igmp.parse(raw)
    assert (lo.ifname, lo.groups) == ("lo", ())
    assert (evil.ifname, evil.version, evil.groups) == ("e\x1b[7m\udcff", "V2", ("239.253.1.1",))


def test_tracking_by_the_names_of_its_columns():
    old = b"entries  searched found insert_failed drop early_drop\n00000005  00000001 00000002 00000003 00000004 ffffffff\n"
    assert conntrack.parse(old) == ({"drop": 4, "insert_failed": 3, "early_drop": 2**32 - 1},)
    with open("/proc/net/stat/nf_conntrack", "rb") as file:
        rows = conntrack.parse(file.read())
    assert rows
    assert set(rows[0]) == set(conntrack.COUNTED)


def test_listeners():
    raw = (
        b"sk RefCnt Type Proto  Iface R Rmem   User   Inode\n0000000000000000 3      3    0003   2     1 0      0      33446\n"
    )
    assert packet_sockets.parse(raw) == (packet_sockets.PacketSocket(2, 33446),)
    assert packet_sockets.parse(raw[:90]) == ()


def test_ipv6_by_name():
    raw = b"Ip6InReceives                   \t9\nUdp6NoPorts                     \t3\nUdp6RcvbufErrors  \t" + b"9" * 30 + b"\n"
    assert snmp6.parse(raw, ["Udp6NoPorts", "Udp6RcvbufErrors"]) == {"Udp6NoPorts": 3}


# ------------------------------------------------------------------------------------------------------------------- softnet


def row(width: int, cpu: int = 0, packets: int = 1) -> bytes:
    words = [packets, 2, 3, 0, 0, 0, 0, 0, 0, 5, 7, 0, cpu, 0, 0][:width]
    return b" ".join(b"%08x" % word for word in words) + b"\n"


@pytest.mark.parametrize("width", range(9, 16))
def test_every_width_of_softnet(width):
    found = softnet.parse(row(width, 4) + row(width, 9), [4, 9])
    assert [each.cpu for each in found] == [4, 9]
    assert [(each.packets, each.drops, each.squeezes) for each in found] == [(1, 2, 3)] * 2
    assert [each.flow_limits for each in found] == [7 if width > 10 else 0] * 2


def test_a_cpu_that_goes_does_not_give_its_counts_to_another():
    before = softnet.parse(row(11, packets=1) + row(11, packets=2) + row(11, packets=3), [0, 1, 2])
    assert [each.packets for each in before] == [1, 2, 3]
    assert softnet.parse(row(11, packets=1) + row(11, packets=3), [0, 1, 2]) == ()  # which one went is not known yet
    assert [(each.cpu, each.packets) for each in softnet.parse(row(11, packets=1) + row(11, packets=3), [0, 2])] == [
        (0, 1),
        (2, 3),
    ]
    assert [each.cpu for each in softnet.parse(row(15, 0) + row(15, 2), [0, 1, 2])] == [0, 2]  # new kernels name it


# ------------------------------------------------------------------------------------------------------------------- netlink


def qdisc_message(parent: int, kind: bytes, drops: int) -> bytes:
    queue = attribute(3, struct.pack("=5I", 0, 0, drops, 0, 9))
    return struct.pack("=BxxxiIII", 0, 7, 0x10000, parent, 2) + attribute(1, kind + b"\0") + attribute(7, queue)


def test_roots_and_entries_are_taken_and_children_are_not():
    found = qdisc.parse(
        [
            (qdisc.ANSWER, qdisc_message(0xFFFFFFFF, b"mq", 2**32 - 1)),
            (qdisc.ANSWER, qdisc_message(0x10001, b"fq_codel", 5)),
            (qdisc.ANSWER, qdisc_message(0xFFFFFFF1, b"clsact", 4)),
            (99, qdisc_message(0xFFFFFFFF, b"mq", 1)),
            (qdisc.ANSWER, qdisc_message(0xFFFFFFFF, b"mq", 1)[:40]),
        ]
    )
    assert [(each.kind, each.ingress, each.drops, each.ifindex) for each in found] == [
        ("mq", False, 2**32 - 1, 7),
        ("clsact", True, 4, 7),
    ]


def test_a_dump_of_this_namespace_and_a_question_that_the_kernel_refuses():
    assert all(kind == qdisc.ANSWER for kind, _ in dump(ROUTE, qdisc.REQUEST, qdisc.QUESTION))
    with pytest.raises(OSError):  # noqa: PT011 - any refusal
        dump(ROUTE, 0x7FF0, qdisc.QUESTION)


def expression(name: bytes, data: bytes) -> bytes:
    return attribute(1, attribute(1, name + b"\0") + attribute(2, data))


COUNTER = expression(b"counter", attribute(1, (640).to_bytes(8, "big")) + attribute(2, (5).to_bytes(8, "big")))
MATCH = expression(b"cmp", attribute(1, b"\0\0\0\1"))


def verdict(code: int) -> bytes:
    return expression(b"immediate", attribute(2, attribute(2, attribute(1, code.to_bytes(4, "big", signed=True)))))


@pytest.mark.parametrize(
    ("expressions", "packets"),
    [
        (MATCH + COUNTER + verdict(0), 5),
        (COUNTER + expression(b"log", b"") + verdict(0), 5),
        (COUNTER + MATCH + verdict(0), None),  # what did not match was counted, too
        (COUNTER + verdict(1), None),  # accept
        (COUNTER + verdict(-3), None),  # jump
        (verdict(0), None),
        (COUNTER, None),
        (b"", None),
    ],
)
def test_only_a_counter_with_nothing_but_a_drop_behind_it_tells_of_drops(expressions, packets):
    body = attribute(1, b"t\0") + attribute(2, b"c\x1b\0") + attribute(3, (9).to_bytes(8, "big")) + attribute(4, expressions)
    found = nftables.parse_rules([((10 << 8) | 6, b"\2\0\0\0" + body)])
    assert [rule.packets for rule in found] == ([] if packets is None else [packets])
    assert [rule.name for rule in found] == ([] if packets is None else ["ip t/c\x1b rule 9"])


# ---------------------------------------------------------------------------------------------------------------------- PCIe


def test_pcie_errors_and_a_link_below_its_best(tmp_path):
    base = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    base.mkdir(parents=True)
    (base / "aer_dev_correctable").write_text("RxErr 3\nBadTLP 0\nTOTAL_ERR_COR 3\n")
    (base / "aer_dev_fatal").write_text("TOTAL_ERR_FATAL 99999999999999999999999\n")
    for name, value in (("current_link_speed", "8.0 GT/s PCIe"), ("max_link_speed", "16.0 GT/s PCIe")):
        (base / name).write_text(value + "\n")
    (base / "current_link_width").write_text("8\n")
    (base / "max_link_width").write_text("16\n")
    found = aer.read(HostFiles(tmp_path), "0000:01:00.0")
    assert found.errors == {"correctable": 3}
    assert found.link == "the link runs at 8 GT/s x8, its best is 16 GT/s x16"
    (base / "max_link_width").write_text("255\n")
    (base / "max_link_speed").write_text("Unknown\n")
    assert aer.read(HostFiles(tmp_path), "0000:01:00.0").link == ""
    assert aer.read(HostFiles(tmp_path), "0000:02:00.0") == aer.PcieState({}, "")
