"""A NIC's queues and stack on this machine's kernel: veth pairs of four queues, in a namespace of the test's own."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from queue_namespace import in_namespace, said

from tuner.host.host import Inventory, open_host
from tuner.host.qdiscs import Qdisc
from tuner.knobs.catalogue import knob_of
from tuner.knobs.sysctl_special import ticks_per_s
from tuner.permission import Options
from tuner.plan import Plan, build
from tuner.profile import ProfileError
from tuner.profile_files import load
from tuner.store import Store
from tuner.transaction import Result, apply
from tuner.undo import rollback

CONF = "/proc/sys/net/ipv4/conf"


class Bench:
    """The host as the namespace sees it, with a state directory of its own."""

    def __init__(self, place: str) -> None:
        self.place = Path(place)
        self.host = open_host()
        self.store = Store(str(self.place / "state"), str(self.place / "lock"))

    def plan(self, text: str, nic: str = "qa") -> Plan:
        profile = self.place / "own.toml"
        profile.write_text(f'[bind]\nfeed = "nic"\n{text}')
        profile.chmod(0o644)
        return build(Inventory(self.host), load(self.host.files, str(profile)), {"feed": nic})

    def apply(self, text: str, nic: str = "qa") -> Result:
        options = Options(allow=frozenset({"link"}), accept_irreversible=True)
        with self.store.lock():
            return apply(self.host, self.store, self.plan(text, nic), options, lambda _: None, lambda _: None, lambda: "")

    def rollback(self) -> None:
        with self.store.lock():
            rollback(self.host, self.store, None, "test")

    def states(self, text: str, nic: str = "qa") -> dict[str, str]:
        return {change.knob: change.state for change in self.plan(text, nic).changes}


def at_the_bench(work: Callable[[Bench], None]) -> None:
    def inside() -> None:
        with tempfile.TemporaryDirectory() as place:
            work(Bench(place))

    in_namespace(inside)


def text(path: str) -> str:
    return Path(path).read_text().strip()


def snapshot(nic: str = "qa") -> dict[str, str]:
    base = Path(f"/sys/class/net/{nic}")
    names = [*base.glob("queues/*/*_cpus"), *base.glob("queues/*/rps_flow_cnt")]
    names += [base / name for name in ("mtu", "tx_queue_len", "threaded", "napi_defer_hard_irqs", "gro_flush_timeout")]
    names += [Path(f"{CONF}/{nic}/{name}") for name in ("rp_filter", "force_igmp_version")]
    return {str(name): text(str(name)) for name in names} | {"qdisc": said("tc", "qdisc", "show", "dev", nic)}


EVERYTHING = """
[nic.feed]
mtu = 1400
txqueuelen = 500
xps = { cores = "0-1", spread = "one-each" }
rps = "0"
rps_flow_cnt = 1000
qdisc = "mq:pfifo_fast"
rp_filter = 2
force_igmp_version = 2
napi = { defer_hard_irqs = 2, gro_flush_timeout_ns = 200000, threaded = true }
[sysctl]
"net.core.rps_sock_flow_entries" = 1000
"""


def test_everything_is_set_verified_and_put_back() -> None:
    def work(bench: Bench) -> None:
        said("ethtool", "-K", "qa", "gro", "on")  # a veth has NAPI only then
        flows = Path("/proc/sys/net/core/rps_sock_flow_entries")
        wanted = EVERYTHING if flows.exists() else EVERYTHING.partition("[sysctl]")[0]
        before = snapshot()
        result = bench.apply(wanted)
        assert result.outcome == "confirmed", result.error
        states = bench.states(wanted)
        assert states.pop("nic.rps_flow_cnt") == "ok-rounded"
        assert states.pop("sysctl.net.core.rps_sock_flow_entries", "ok-rounded") in ("ok-rounded", "unsupported")
        assert set(states.values()) == {"ok"}, states
        queues = "/sys/class/net/qa/queues"
        assert [text(f"{queues}/tx-{n}/xps_cpus") for n in range(4)] == ["1", "2", "0", "0"]
        assert [text(f"{queues}/rx-{n}/rps_cpus") for n in range(4)] == ["1"] * 4
        assert {text(f"{queues}/rx-{n}/rps_flow_cnt") for n in range(4)} == {"1024"}
        assert said("tc", "qdisc", "show", "dev", "qa").count("pfifo_fast") == 4
        assert "mtu 1400" in said("ip", "link", "show", "dev", "qa")
        assert "qlen 500" in said("ip", "link", "show", "dev", "qa")
        assert any("napi/qa" in text(str(name)) for name in Path("/proc").glob("[0-9]*/comm"))
        assert bench.apply(wanted).outcome == "unchanged"
        bench.rollback()
        assert snapshot() == before

    at_the_bench(work)


def test_a_refusal_takes_everything_back() -> None:
    def work(bench: Bench) -> None:
        before = snapshot()
        # without GRO a veth has no NAPI that a thread could poll
        result = bench.apply("[nic.feed]\nmtu = 1400\nxps = '0'\nnapi.threaded = true\n")
        assert result.outcome == "rolled-back"
        assert "threaded" in result.error
        assert snapshot() == before

    at_the_bench(work)


def test_one_transmit_queue_has_nothing_to_choose() -> None:
    def work(bench: Bench) -> None:
        change = bench.plan("[nic.feed]\nxps = '0'\n", "qs").changes[0]
        assert change.state == "unsupported"
        assert "one transmit queue" in str(change.error)
        with pytest.raises(ProfileError, match="one transmit queue"):
            bench.plan("[nic.feed]\nqdisc = 'mq'\n", "qs")
        # it is down, and has no discipline until somebody gives it one
        assert bench.apply("[nic.feed]\nqdisc = ['mq', 'pfifo_fast']\n", "qs").outcome == "confirmed"
        assert "pfifo_fast" in said("tc", "qdisc", "show", "dev", "qs")
        bench.rollback()
        assert "pfifo_fast" not in said("tc", "qdisc", "show", "dev", "qs")
        # RSS, flow rules, stamps and a PCI function: none of it here, and nothing fails for it
        lacking = bench.states(
            "[nic.feed]\nsteering = [{ udp = '239.1.1.1:1', queue = 0 }]\nhwtstamp = 'all'\nruntime_pm = 'on'\n"
            "rss = { table = 'equal:1', key = 'symmetric', hash_udp4 = 'sdfn' }\n",
            "qs",
        )
        assert set(lacking.values()) == {"unsupported"}, lacking

    at_the_bench(work)


@pytest.mark.parametrize(
    "before",
    [
        ["root", "handle", "7:", "pfifo", "limit", "77"],
        ["root", "pfifo_fast"],
        ["root", "noqueue"],
        ["root", "handle", "9:", "mq"],
    ],
    ids=" ".join,
)
def test_a_discipline_comes_back_as_it_was(before: list[str]) -> None:
    def work(bench: Bench) -> None:
        said("tc", "qdisc", "replace", "dev", "qa", *before)
        if "mq" in before:  # one queue's discipline is somebody's own
            said("tc", "qdisc", "replace", "dev", "qa", "parent", "9:2", "handle", "12:", "pfifo", "limit", "22")
        then = said("tc", "qdisc", "show", "dev", "qa")
        for wanted in ("noqueue", "mq:pfifo_fast", "pfifo", "default"):
            result = bench.apply(f"[nic.feed]\nqdisc = '{wanted}'\n")
            if result.outcome == "unchanged":
                continue
            assert result.outcome == "confirmed", (wanted, result.error)
            bench.rollback()
            shown = said("tc", "qdisc", "show", "dev", "qa")
            if before == ["root", "noqueue"] or before == ["root", "pfifo_fast"]:  # the kernel gave the handle
                assert shown == then, wanted
            assert sorted(shown.splitlines()) == sorted(then.splitlines()), wanted

    at_the_bench(work)


def test_a_discipline_with_classes_is_not_taken_away() -> None:
    def work(bench: Bench) -> None:
        said("tc", "qdisc", "replace", "dev", "qa", "root", "handle", "1:", "htb")
        change = bench.plan("[nic.feed]\nqdisc = 'noqueue'\n").changes[0]
        assert "htb" in change.irreversible
        assert "do not come back" in change.irreversible
        said("tc", "qdisc", "replace", "dev", "qa", "root", "handle", "2:", "pfifo")
        assert bench.plan("[nic.feed]\nqdisc = 'noqueue'\n").changes[0].irreversible == ""

    at_the_bench(work)


def test_an_unknown_discipline_is_the_kernels_refusal() -> None:
    def work(bench: Bench) -> None:
        with pytest.raises(OSError) as refused:  # noqa: PT011
            bench.host.syscalls.set_qdisc("qa", Qdisc(0, 0xFFFFFFFF, "quietcore"))
        assert refused.value.errno == 2
        with pytest.raises(OSError, match="No such device"):
            bench.host.syscalls.qdiscs("nothere")

    at_the_bench(work)


def test_the_filter_of_all_interfaces_counts() -> None:
    def work(bench: Bench) -> None:
        Path(f"{CONF}/all/rp_filter").write_text("2")
        with pytest.raises(ProfileError, match=r"net\.ipv4\.conf\.all\.rp_filter is 2"):
            bench.plan("[nic.feed]\nrp_filter = 0\n")
        both = '[nic.feed]\nrp_filter = 0\n[sysctl]\n"net.ipv4.conf.all.rp_filter" = 0\n'
        Path(f"{CONF}/qa/rp_filter").write_text("1")
        assert bench.apply(both).outcome == "confirmed"
        assert bench.states(both) == {"sysctl.net.ipv4.conf.all.rp_filter": "ok", "nic.rp_filter": "ok"}
        Path(f"{CONF}/all/rp_filter").write_text("1")
        change = next(c for c in bench.plan(both).changes if c.knob == "nic.rp_filter")
        assert (change.now, change.effective, change.state) == (0, 1, "differs")
        Path(f"{CONF}/all/rp_filter").write_text("0")
        bench.rollback()
        assert (text(f"{CONF}/all/rp_filter"), text(f"{CONF}/qa/rp_filter")) == ("2", "1")

    at_the_bench(work)


def test_igmp_speaks_the_forced_version() -> None:
    def work(bench: Bench) -> None:
        said("ip", "addr", "add", "10.0.0.1/24", "dev", "qa")
        assert bench.apply("[nic.feed]\nforce_igmp_version = 2\n").outcome == "confirmed"
        row = next(line for line in text("/proc/net/igmp").splitlines() if "qa" in line.split(":")[0])
        assert row.split()[-1] == "V2"

    at_the_bench(work)


def test_a_name_that_changed_is_found_again_by_identity() -> None:
    def work(bench: Bench) -> None:
        knob = knob_of("nic.rps")
        identity = next(nic.identity for nic in Inventory(bench.host).nics if nic.name == "qa")
        inventory = Inventory(bench.host)
        knob.write(inventory, identity, "one-each 0-1", {})
        assert knob.read(inventory, identity).now == {"0,2": "0", "1,3": "1"}
        knob.restore(inventory, identity, {"0-3": "", "7": "0"})  # a queue that is gone
        assert knob.read(inventory, identity).now == ""
        with pytest.raises(LookupError):
            knob.restore(inventory, "virtual/gone", "")

    at_the_bench(work)


def test_the_kernels_ticks_are_what_its_configuration_says() -> None:
    hz = ticks_per_s(Inventory(open_host()))
    if hz is None:
        pytest.skip("this kernel's configuration is neither in /proc/config.gz nor in /boot")
    assert hz in (100, 250, 300, 1000)
