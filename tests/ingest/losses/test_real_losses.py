"""Packets that are really lost, each in a place that was made for it: sent = received + lost by stage, to the packet.

The softnet backlog (11) is the host's, not a namespace's: it is left out of the sum, and what the pair itself lost there is
told by the sending end's own count.
"""

import subprocess
from collections import Counter

import pytest
from namespaces import FAR, GROUP, INTO, NEAR, OUT, STRANGER, Receiver, namespace_pair, nftables_drop

from ingest.likely import Gap, likely_stage
from ingest.sample import LossSample

OPEN, SHUT, NARROW = 30001, 30002, 30003
ROOMY = "0.0.0.0:30001:4000000"
HOST_WIDE = (10, 11)


@pytest.fixture
def pair():
    with namespace_pair() as made:
        yield made


def ledger(told: dict, when: str = "whole") -> list[LossSample]:
    return [LossSample(**row) for row in told[when]]


def lost_by_stage(rows: list[LossSample]) -> dict[int, int]:
    found = Counter()
    for row in rows:
        if row.visible and row.kind in ("loss", "filtered") and row.stage not in HOST_WIDE:
            found[row.stage] += row.total
    return {stage: count for stage, count in found.items() if count}


def test_nothing_is_lost_where_nothing_is_in_the_way(pair):
    receiver = Receiver(pair.far, ROOMY)
    sent = pair.send((NEAR, FAR, OPEN, 500))
    told = receiver.ended()
    assert told["received"] == sent - pair.pair_lost()
    assert lost_by_stage(ledger(told)) == {}


def test_a_socket_whose_buffer_is_too_small(pair):
    receiver = Receiver(pair.far, f"{FAR}:{NARROW}:2304")
    sent = pair.send((NEAR, FAR, NARROW, 500))
    told = receiver.ended()
    rows = ledger(told)
    lost = sent - pair.pair_lost() - told["received"]
    assert 0 < told["received"] < 50
    assert lost_by_stage(rows) == {18: lost}
    socket = next(row for row in rows if row.counter == "sk_drops")
    assert (socket.where, socket.kind, socket.total) == (f"{FAR}:{NARROW}", "detail", lost)
    interval = ledger(told, "interval")
    moved = next(row for row in interval if row.counter == "Udp.RcvbufErrors")
    assert moved.per_s * told["interval_s"] == pytest.approx(lost)
    verdict = likely_stage(Gap(INTO, lost, told["interval_s"], told["received"]), interval)
    assert (verdict.stage, verdict.explained) == (18, lost)


def test_a_rule_that_drops(pair):
    nftables_drop(pair.far, SHUT)
    receiver = Receiver(pair.far, ROOMY)
    sent = pair.send((NEAR, FAR, SHUT, 300), (NEAR, FAR, OPEN, 200))
    told = receiver.ended()
    assert told["received"] == 200
    assert lost_by_stage(ledger(told)) == {14: 300 - pair.pair_lost()}
    row = next(row for row in ledger(told) if row.counter == "counter before drop")
    assert row.where.startswith("ip qc/in rule ")
    assert sent == 500


def test_a_policy_that_drops(pair):
    nftables_drop(pair.far, SHUT, policy_drop=True)
    receiver = Receiver(pair.far, ROOMY)
    sent = pair.send((NEAR, FAR, OPEN, 200), (NEAR, FAR, SHUT, 100))
    told = receiver.ended()
    assert told["received"] == 0
    assert lost_by_stage(ledger(told)) == {14: sent - pair.pair_lost()}
    assert {row.where.split(" ")[2] for row in ledger(told) if row.counter == "counter before drop"} == {"rule", "policy"}


def test_a_source_whose_way_back_is_another(pair):
    pair.sh(pair.far, f"for c in all {INTO}; do echo 1 > /proc/sys/net/ipv4/conf/$c/rp_filter; done")
    receiver = Receiver(pair.far, ROOMY)
    pair.send((STRANGER, FAR, OPEN, 300), (NEAR, FAR, OPEN, 200))
    told = receiver.ended()
    assert told["received"] == 200
    assert lost_by_stage(ledger(told)) == {15: 300 - pair.pair_lost()}
    assert next(row for row in ledger(told) if row.stage == 15 and row.total).counter == "TcpExt.IPReversePathFilter"


def test_a_port_at_which_nobody_listens(pair):
    receiver = Receiver(pair.far, ROOMY)
    pair.send((NEAR, FAR, SHUT, 300), (NEAR, FAR, OPEN, 200))
    told = receiver.ended()
    assert told["received"] == 200
    assert lost_by_stage(ledger(told)) == {17: 300 - pair.pair_lost()}


def test_a_group_of_which_no_socket_wants_that_port(pair):
    receiver = Receiver(pair.far, f"{ROOMY}:{GROUP}")
    pair.send((NEAR, GROUP, SHUT, 300), (NEAR, GROUP, OPEN, 200))
    told = receiver.ended()
    assert told["received"] == 200
    rows = ledger(told)
    assert lost_by_stage(rows) == {16: 300 - pair.pair_lost()}
    assert next(row for row in rows if row.stage == 16 and row.total).kind == "filtered"
    joined = next(row for row in rows if row.stage == 16 and row.where == INTO)
    assert not joined.visible
    assert GROUP in joined.note


def test_frames_for_another_host(pair):
    wrong = f"ip neigh replace {FAR} lladdr 02:51:43:81:ff:ff dev {OUT} nud permanent"
    receiver = Receiver(pair.far, ROOMY)
    right = pair.send((NEAR, FAR, OPEN, 200))
    pair.sh(pair.near, wrong)
    sent = pair.send((NEAR, FAR, OPEN, 300))
    told = receiver.ended()
    assert told["received"] == right == 200
    rows = ledger(told)
    assert lost_by_stage(rows) == {4: sent - pair.pair_lost()}
    row = next(row for row in rows if row.counter == "rx_otherhost_dropped")
    assert (row.where, row.kind) == (INTO, "filtered")


def test_a_filter_of_traffic_control(pair):
    shape = f"tc qdisc add dev {INTO} clsact && tc filter add dev {INTO} ingress bpf da bytecode '1,6 0 0 2,'"
    done = subprocess.run(["ip", "netns", "exec", pair.far, "sh", "-ec", shape], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"traffic control takes no filter here: {done.stderr.strip()[:120]}")
    receiver = Receiver(pair.far, ROOMY)
    sent = pair.send((NEAR, FAR, OPEN, 300))
    told = receiver.ended()
    assert told["received"] == 0
    assert lost_by_stage(ledger(told)) == {12: sent - pair.pair_lost()}
    assert next(row for row in ledger(told) if row.stage == 12 and row.total).counter == "qdisc clsact drops"


def test_a_queueing_discipline_that_is_full(pair):
    shape = f"tc qdisc add dev {OUT} root tbf rate 8mbit burst 2kb limit 8kb"
    done = subprocess.run(["ip", "netns", "exec", pair.near, "sh", "-ec", shape], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"there is no token bucket here: {done.stderr.strip()[:120]}")
    sender = Receiver(pair.near)  # the ledger of the sending side
    receiver = Receiver(pair.far, ROOMY)
    sent = pair.send((NEAR, FAR, OPEN, 800))
    deadline = 200
    while _backlog(pair) and deadline:  # 8 kB at 8 Mb/s are gone after 8 ms
        deadline -= 1
    received = receiver.ended()["received"]
    rows = ledger(sender.ended())
    row = next(row for row in rows if row.counter == "qdisc tbf drops")
    assert row.where == OUT
    assert row.stage == 27
    assert row.total > 0
    assert sent == received + row.total + pair.pair_lost()
    assert next(row for row in rows if row.counter == "Ip.OutDiscards").kind == "aggregate"


def _backlog(pair) -> bool:
    shown = subprocess.run(
        ["tc", "-n", pair.near, "-s", "qdisc", "show", "dev", OUT], capture_output=True, text=True, check=True
    )
    return "backlog 0b 0p" not in shown.stdout


def test_all_causes_at_once_add_up(pair):
    nftables_drop(pair.far, 40001)
    pair.sh(pair.far, f"for c in all {INTO}; do echo 1 > /proc/sys/net/ipv4/conf/$c/rp_filter; done")
    receiver = Receiver(pair.far, f"{ROOMY}:{GROUP}", f"{FAR}:{NARROW}:2304")
    sent = pair.send(
        (NEAR, FAR, OPEN, 150),
        (NEAR, FAR, 40001, 60),
        (STRANGER, FAR, OPEN, 70),
        (NEAR, GROUP, 40002, 80),
        (NEAR, FAR, SHUT, 90),
        (NEAR, FAR, NARROW, 200),
        (NEAR, GROUP, OPEN, 50),
    )
    told = receiver.ended()
    found = lost_by_stage(ledger(told))
    assert sent == told["received"] + sum(found.values()) + pair.pair_lost()
    if not pair.pair_lost():
        assert found == {14: 60, 15: 70, 16: 80, 17: 90, 18: 200 - (told["received"] - 200)}
