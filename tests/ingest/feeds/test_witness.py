"""What the host's counters say of a ring's gaps, by reports and ledgers that are made up."""

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingest.feeds.formats import parse_feed
from ingest.feeds.witness import Verdict, Witness
from ingest.histogram import BUCKETS, Histogram
from ingest.loss_reader import SECOND_NS, Paced
from ingest.rings.counters import ChannelCounters, Followed, RingCounters, RingReport, StreamCounters
from ingest.rings.layout import Following, Group
from ingest.sample import LossSample
from ingest.stages import NAMES
from tuner.host.files import HostFiles
from tuner.host.host import Host
from tuner.host.simulated import Simulation, open_tree, write_tree

LINES = {"A": (socket.inet_aton("239.1.1.1"), 30001), "B": (socket.inet_aton("239.1.1.9"), 30002)}
TAP = "PACKET_STATISTICS tp_drops"


def made(place: Path) -> Host:
    write_tree(place, nodes=1, cores=2, queues=2)
    return open_tree(HostFiles(place))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """One that no test changes."""
    return made(tmp_path_factory.mktemp("witness") / "host")


@pytest.fixture
def own_host(tmp_path: Path) -> Host:
    return made(tmp_path / "host")


def following(*lines: str) -> Following:
    groups = tuple(Group(*LINES[line], channel=0, line="AB".index(line)) for line in lines)
    return Following((parse_feed("moldudp64"),), None, groups, ("itch",))


def witness(host: Host, *interfaces: str, lines: Sequence[str] = "AB") -> Witness:
    return Witness(host, interfaces or ("eth2", "eth3"), following(*lines))


def stream(line: str, lost: int = 0, received: int = 1000, datagrams: int | None = None, **more) -> StreamCounters:
    came = received if datagrams is None else datagrams
    latency = Histogram((came, *[0] * (BUCKETS - 1)), 0, 1)
    channel = more.pop("channel", "itch")
    return StreamCounters(
        *LINES[line or "A"], "moldudp64", lost=lost, received=received, line=line, channel=channel, latency=latency, **more
    )


def report(*streams: StreamCounters, lost: int | None = 0, drops: dict[str, int] | None = None, scope=None) -> RingReport:
    """``lost``: on both lines; None: no channel was followed."""
    rings = tuple(RingCounters(None, interface=name, drops=count) for name, count in (drops or {}).items())
    channels = () if lost is None else (ChannelCounters("itch", scope, received=1000, lost=lost),)
    return RingReport("packet:eth2 packet:eth3", "native", "latency", "whole", 1.0, rings, Followed(streams, channels))


def row(stage: int, lost: float, where: str, counter: str = "c", kind: str = "loss") -> LossSample:
    return LossSample(stage, NAMES[stage], where, counter, 10**6, lost / 2.0, True, kind)


def judged(watching: Witness, told: RingReport, *rows: LossSample) -> tuple[list, dict[str, dict]]:
    """[(verdict, line)] of the channel, and by stream what was likely; the ledger is of 2 s."""
    found = watching.judged(told, rows, 2.0)
    watching.close()
    channel = [(each.facts["verdict"], each.facts["line"]) for each in found if "verdict" in each.facts]
    return channel, {each.facts["stream"]: dict(each.facts) for each in found if "stage" in each.facts}


# ------------------------------------------------------------------------------------------------------------ the two lines


@pytest.mark.parametrize(("line", "interface"), [("A", "eth2"), ("B", "eth3")])
@pytest.mark.parametrize("stage", [2, 5, 7, 8, 9, 21])
def test_an_interface_s_own_counter_is_its_line_s(host, line, interface, stage):
    other = "B" if line == "A" else "A"
    told = report(*sorted((stream(line, 100), stream(other)), key=lambda each: each.line))
    channel, likely = judged(witness(host), told, row(stage, 100, interface))
    assert channel == [("host-path", line)]
    ((_, found),) = likely.items()
    assert (found["stage"], found["where"], found["explained"]) == (stage, interface, 100)


@pytest.mark.parametrize(("line", "other"), [("A", "eth3"), ("B", "eth2")])
@pytest.mark.parametrize("stage", [2, 7, 21])
def test_the_other_interface_s_counter_is_not(host, line, other, stage):
    """A ring's drops were once taken for the other line's, too."""
    lines = {"A": stream("A"), "B": stream("B")} | {line: stream(line, 100)}
    channel, likely = judged(witness(host), report(*lines.values()), row(stage, 100, other))
    assert channel == [("network", line)]
    ((_, found),) = likely.items()
    assert found["stage"] == 0
    assert "the other line is whole" in found["why"]


@pytest.mark.parametrize("stage", [12, 14, 15, 16, 17, 18, 19, 23, 26, 27])
def test_what_is_lost_behind_the_tap_explains_no_gap_of_the_tap(host, stage):
    channel, likely = judged(witness(host), report(stream("A", 100), stream("B")), row(stage, 100, "host"))
    assert channel == [("network", "A")]
    assert next(iter(likely.values()))["stage"] == 0


@pytest.mark.parametrize("kind", ["filtered", "delay", "warning", "detail", "aggregate"])
def test_what_is_no_loss_explains_nothing(host, kind):
    channel, _ = judged(witness(host), report(stream("A", 100), stream("B")), row(7, 100, "eth2", kind=kind))
    assert channel == [("network", "A")]


def test_few_drops_do_not_explain_many_losses(host):
    found = witness(host).judged(report(stream("A", 1000), stream("B")), [row(7, 3, "eth2", "rx_missed")], 2.0)
    assert found[0].facts["verdict"] == "network"
    assert "rx_missed of eth2 counted too few" in found[0].sentence
    assert "997 are not explained" in found[1].sentence


def test_drops_that_explain_what_one_line_lost_are_not_also_what_both_lost(host):
    told = report(stream("A", 140), stream("B", 40), lost=40)
    assert judged(witness(host), told, row(21, 100, "eth2", TAP))[0] == [("upstream", None), ("host-path", "A")]
    assert judged(witness(host), told, row(21, 140, "eth2", TAP))[0] == [("mixed", None), ("host-path", "A")]
    both = row(21, 140, "eth2", TAP), row(7, 40, "eth3", "rx_missed")
    assert judged(witness(host), told, *both)[0] == [("host", None), ("host-path", "A")]


def test_packets_stand_for_the_numbers_that_they_hold(host):
    told = report(stream("A", 1000, received=5000, datagrams=500), stream("B", received=6000, datagrams=600))
    channel, likely = judged(witness(host), told, row(7, 100, "eth2", "rx_missed"))
    assert channel == [("host-path", "A")]
    (found,) = likely.values()
    assert (found["stage"], found["explained"]) == (7, 1000)
    assert "100 packets of some 10.0 each; 1000 are missing" in found["why"]


# ----------------------------------------------------------------------------------------------------------- the CPUs' backlog


def dropped(count: float, interface: str = "eth2") -> LossSample:
    return row(13, count, interface, "rx_dropped", "aggregate")


def test_the_backlog_is_a_line_s_as_far_as_its_interface_dropped(host):
    told = report(stream("A", 100), stream("B"))
    backlog = row(11, 500, "CPU 1", "softnet dropped")
    channel, likely = judged(witness(host), told, backlog, dropped(100), dropped(400, "eth3"))
    assert channel == [("host-path", "A")]
    assert next(iter(likely.values()))["explained"] == 100
    channel, likely = judged(witness(host), told, backlog, dropped(0), dropped(500, "eth3"))
    assert channel == [("network", "A")]
    assert next(iter(likely.values()))["stage"] == 0
    channel, _ = judged(witness(host), told, backlog)  # nobody tells what the interface dropped: it may have been all
    assert channel == [("host-path", "A")]


def test_what_an_interface_dropped_for_any_cause_is_no_loss_by_itself(host):
    assert judged(witness(host), report(stream("A", 100), stream("B")), dropped(100))[0] == [("network", "A")]


# ------------------------------------------------------------------------------------------------------- lines that are silent


def test_a_silent_line(host):
    channel, likely = judged(witness(host), report(stream("A")))
    assert (channel, likely) == ([("line-silent", "B")], {})
    channel, _ = judged(witness(host), report(stream("A")), row(7, 1000, "eth3"))
    assert channel == [("host-path", "B")]
    channel, _ = judged(witness(host), report(stream("A")), row(7, 3, "eth3"))  # three packets are not a line of a thousand
    assert channel == [("line-silent", "B")]


def test_what_a_silent_line_misses_is_no_comparison(host):
    channel, likely = judged(witness(host), report(stream("A", 50), lost=50))
    assert channel == [("network", "A"), ("line-silent", "B")]
    assert "misses the same" not in next(iter(likely.values()))["why"]


def test_both_lines_missing_the_same_is_upstream_unless_most_of_it_is_one_line_s(host):
    _, likely = judged(witness(host), report(stream("A", 50), stream("B", 50), lost=50))
    assert all("misses the same" in each["why"] for each in likely.values())
    _, likely = judged(witness(host), report(stream("A", 500), stream("B", 5), lost=5))
    assert ["misses the same" in each["why"] for each in likely.values()] == [False, True]


def test_a_channel_of_which_nothing_came(host):
    assert judged(witness(host), report(lost=None))[0] == [("both-silent", None)]


def test_a_channel_of_one_line_misses_no_other(host):
    channel, likely = judged(witness(host, "eth2", lines="A"), report(stream("A", 10), lost=10))
    assert channel == []
    assert next(iter(likely.values()))["stage"] == 0
    assert judged(witness(host, "eth2", lines="A"), report(lost=None)) == ([], {})


# ---------------------------------------------------------------------------------------------------------------- interfaces


def test_a_feed_without_lines_may_have_come_through_any_interface(host):
    told = report(stream("", 100, channel=None), lost=None)
    for interface in ("eth2", "eth3"):
        watching = Witness(host, ("eth2", "eth3"), Following((parse_feed("moldudp64"),)))
        channel, likely = judged(watching, told, row(7, 100, interface))
        assert channel == []
        (found,) = likely.values()
        assert (found["stage"], found["where"]) == (7, interface)


def test_a_bond_s_packets_are_lost_in_its_ports(own_host):
    upper = own_host.files.path("/sys/class/net/bond0.5")
    middle = own_host.files.path("/sys/class/net/bond0")
    for path, links in ((upper, ["lower_bond0"]), (middle, ["lower_eth3", "upper_bond0.5"])):
        os.mkdir(path)
        for link in links:
            os.symlink("../nowhere", f"{path}/{link}")
    told = report(stream("A", 100), stream("B"))
    channel, likely = judged(witness(own_host, "bond0.5", "eth2"), told, row(7, 100, "eth3"))
    assert channel == [("host-path", "A")]
    assert next(iter(likely.values()))["stage"] == 7
    assert judged(witness(own_host, "bond0.5", "eth2"), told, row(7, 100, "eth2"))[0] == [("network", "A")]


def test_both_lines_through_one_interface(own_host):
    told = report(stream("A", 50), stream("B", 50), lost=50)
    assert judged(witness(own_host, "eth2"), told, row(7, 50, "eth2"))[0] == [
        ("host", None)
    ]  # it has two queues: which, who knows
    for queue in range(1, 9):
        path = own_host.files.path(f"/sys/class/net/eth2/queues/rx-{queue}")
        if os.path.isdir(path):
            os.rename(path, path.replace("rx-", "was-"))
    assert judged(witness(own_host, "eth2"), told, row(7, 50, "eth2"))[0] == [("shared-queue", None)]
    assert judged(witness(own_host, "eth2"), told, row(21, 50, "eth2", TAP))[0] == [("host", None)]  # no queue of a NIC


def renamed(host: Host, old: str, new: str) -> None:
    """In the tree, as the kernel shows it: the number stays, and so do the counts."""
    os.rename(host.files.path(f"/sys/class/net/{old}"), host.files.path(f"/sys/class/net/{new}"))
    os.rename(host.files.path(f"/ethtool/{old}.json"), host.files.path(f"/ethtool/{new}.json"))
    path = Path(host.files.path("/proc/net/dev"))
    if path.exists():
        path.write_text(path.read_text().replace(f"{old}:", f"{new}:"))


def counts_more(host: Host, name: str, counter: str, more: int) -> None:
    path = Path(host.files.path(f"/ethtool/{name}.json"))
    told = json.loads(path.read_text())
    told["stats"][counter] += more
    path.write_text(json.dumps(told))


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interface_that_is_renamed_during_the_run_is_followed(own_host, when):
    """Its counters have another name at the end, and so have their rates."""
    watching = witness(own_host)
    if when == "after":
        renamed(own_host, "eth2", "feed-a")
    counts_more(own_host, "feed-a" if when == "after" else "eth2", "rx_no_dma_resources", 60)
    if when == "before":
        renamed(own_host, "eth2", "feed-a")
    told = report(stream("A", 100), stream("B"), drops={"eth2": 40, "eth3": 0})
    found = watching.verdicts(told)
    watching.close()
    assert dict(found[0].facts) == {"interface": "eth2", "now": "feed-a"}
    assert found[0].sentence == "eth2: the interface is called feed-a now"
    assert [each.facts.get("verdict") for each in found[1:]] == ["host-path", None]
    assert (found[2].facts["stage"], found[2].facts["where"], found[2].facts["explained"]) == (7, "feed-a", 60)
    assert "packet ring 40" in found[2].sentence


def test_names_that_are_exchanged_are_not_mixed_up(own_host):
    watching = witness(own_host)
    for old, new in (("eth2", "other"), ("eth3", "eth2"), ("other", "eth3")):
        renamed(own_host, old, new)
    counts_more(own_host, "eth3", "rx_no_dma_resources", 100)  # line A's
    found = watching.verdicts(report(stream("A", 100), stream("B")))
    watching.close()
    assert [(each.facts["verdict"], each.facts["line"]) for each in found if "verdict" in each.facts] == [("host-path", "A")]


def test_names_are_compared_as_they_are_shown(own_host):
    evil = "e\x1b[7m"
    os.symlink(os.readlink(own_host.files.path("/sys/class/net/eth2")), own_host.files.path(f"/sys/class/net/{evil}"))
    watching = witness(own_host, evil, "eth3")
    Simulation(own_host).advance(1.0)
    told = report(stream("A", 100), stream("B"), drops={"e\\x1b[7m": 100, "eth3": 0})
    found = watching.verdicts(told)
    watching.close()
    assert found[0].facts["verdict"] == "host-path"
    assert found[1].facts["where"] == "e\\x1b[7m"
    assert "\x1b" not in "".join(each.sentence for each in found)


# ------------------------------------------------------------------------------------------------------------ the real ledger


def test_the_ring_s_drops_are_in_the_ledger_of_its_time(host):
    watching = witness(host)
    found = watching.verdicts(report(stream("A"), stream("B", 70), drops={"eth2": 0, "eth3": 70}))
    watching.close()
    assert [each.facts.get("verdict") for each in found] == ["host-path", None]
    assert (found[1].facts["stage"], found[1].facts["explained"]) == (21, 70)


def test_a_run_that_is_shorter_than_the_pace_of_the_counters(own_host, monkeypatch):
    """Drivers are asked once a second; a run of a tenth has what they counted in it all the same."""
    monkeypatch.setattr("ingest.loss_reader.Paced", lambda _, read: Paced(SECOND_NS, read))  # as on a real host
    watching = witness(own_host)
    path = own_host.files.path("/ethtool/eth2.json")
    with open(path) as file:
        told = json.load(file)
    told["stats"]["rx_no_dma_resources"] += 100
    with open(path, "w") as file:
        json.dump(told, file)
    found = watching.verdicts(report(stream("A", 100), stream("B")))
    watching.close()
    assert [each.facts.get("verdict") for each in found] == ["host-path", None]
    assert (found[1].facts["stage"], found[1].facts["explained"]) == (7, 100)


def test_nothing_is_said_of_what_is_whole(host):
    assert judged(witness(host), report(stream("A"), stream("B"))) == ([("fine", None)], {})
    watching = Witness(host, ("eth2",))
    assert watching.judged(report(lost=None), [], 1.0) == ()
    watching.close()


def test_a_verdict_is_a_sentence_and_facts(host):
    (finding, gap) = witness(host).judged(report(stream("A", 5), stream("B")), [], 0.0)
    assert isinstance(finding, Verdict)
    assert finding.sentence.startswith("itch: Line A lost 5 numbers")
    assert finding.facts["channel"] == "itch"
    assert gap.sentence.startswith("239.1.1.1:30001: likely stage 0, upstream")


def test_scopes_are_channels_of_their_own(host):
    streams = stream("A", 10, scope=7), stream("B", scope=7), stream("A", scope=8), stream("B", scope=8)
    told = report(*streams, scope=7)
    found = witness(host).judged(told, [], 1.0)
    assert [each.facts.get("channel") or each.facts["stream"] for each in found] == ["itch/7", "239.1.1.1:30001/7"]
