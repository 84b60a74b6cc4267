import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.counters import nic, snmp, softirqs, softnet, stat
from ingest.counters.kept import KeptFile
from tuner.host.files import HostFiles


def test_softnet_of_every_width():
    rows = softnet.parse(
        b"00000001 00000002 00000003 00000000 00000000 00000000 00000000 00000000 00000000\n"
        b"00000010 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000005\n"
        b"000000ff 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000"
        b" 00000007 00000000 0000000b\n"
        b"ffffffff 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 0000000c"
        b" 00000000 00000000\n",
        [4, 6, 11, 12],
    )
    assert [row.cpu for row in rows] == [4, 6, 11, 12]
    assert [row.packets for row in rows] == [1, 16, 255, 2**32 - 1]
    assert (rows[0].drops, rows[0].squeezes, rows[1].received_rps, rows[2].flow_limits) == (2, 3, 5, 7)


@pytest.mark.parametrize("name", ["a", "b"])
def test_softnet_of_real_hosts(name, pytestconfig):
    path = pytestconfig.rootpath.parent / "shared" / "hosts" / "softnet" / name
    if not path.exists():
        pytest.skip("there are no captured hosts beside the project")
    rows = softnet.parse(path.read_bytes(), range(len(path.read_bytes().splitlines())))
    assert len(rows) == len(path.read_bytes().splitlines())
    assert rows[1].packets == int(path.read_bytes().splitlines()[1].split()[0], 16)


@given(st.binary(max_size=200))
def test_rubbish_is_no_traceback(raw):
    softnet.parse(raw, [0])
    softirqs.parse(raw)
    stat.parse(raw)
    snmp.Parser(["Udp.NoPorts"]).parse(raw)
    nic.parse_lines(raw)


def test_softirqs_columns_are_possible_cpus():
    table = softirqs.parse(
        b"                    CPU0       CPU1       CPU2\n          HI:          1          0          0\n"
        b"      NET_RX:          5          6          0\n"
    )
    assert table.cpus == (0, 1, 2)
    assert table.rows["NET_RX"] == (5, 6, 0)


def test_stat_of_old_and_new_kernels():
    times = stat.parse(b"cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 10 1 20 1000 5 2 3 7 4 0\ncpu3 1 2 3 4\nintr 5\n")
    assert times[0] == stat.CpuTime(busy=36, idle=1005, steal=7)
    assert times[3] == stat.CpuTime(busy=6, idle=4, steal=0)


def test_snmp_by_name_wherever_it_stands():
    parser = snmp.Parser(["Udp.RcvbufErrors", "Udp.MemErrors", "TcpExt.IPReversePathFilter"])
    old = b"Udp: InDatagrams NoPorts InErrors RcvbufErrors\nUdp: 9 8 7 6\n"
    new = b"Ip: A B\nIp: 1 2\nUdp: InDatagrams MemErrors RcvbufErrors\nUdp: 9 3 5\n"
    assert parser.parse(old) == {"Udp.RcvbufErrors": 6}
    assert parser.parse(new) == {"Udp.RcvbufErrors": 5, "Udp.MemErrors": 3}
    assert parser.parse(b"TcpExt: X IPReversePathFilter\nTcpExt: 1 2\n") == {"TcpExt.IPReversePathFilter": 2}


def test_statistics_are_read_where_the_line_moved(tmp_path):
    base = tmp_path / "sys/class/net/eth0/statistics"
    base.mkdir(parents=True)
    (tmp_path / "proc/net").mkdir(parents=True)
    dev = tmp_path / "proc/net/dev"
    dev.write_text("Inter-|\n face |\n  eth0: 1 1\n")
    (base / "rx_packets").write_text("1\n")
    reader = nic.Statistics(HostFiles(tmp_path))
    assert reader.read(["eth0"])["eth0"] == {"rx_packets": 1}
    (base / "rx_packets").write_text("2\n")
    assert reader.read(["eth0"])["eth0"] == {"rx_packets": 1}
    dev.write_text("Inter-|\n face |\n  eth0: 2 2\n")
    assert reader.read(["eth0"])["eth0"] == {"rx_packets": 2}
    assert reader.read(["eth9"]) == {"eth9": {}}


def test_a_kept_file_grows_vanishes_and_comes_back(tmp_path):
    path = tmp_path / "x"
    kept = KeptFile(HostFiles(tmp_path), "/x")
    assert kept.read() is None
    path.write_bytes(b"a" * 100_000)
    assert kept.read() == b"a" * 100_000
    path.write_bytes(b"short")
    assert kept.read() == b"short"
    kept.close()
    path.unlink()
    assert kept.read() is None
