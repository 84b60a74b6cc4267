"""The script over a simulated host's life: what it makes happen, and that the host obeys its settings meanwhile."""

from itertools import pairwise

import pytest
from simulated_trees import isolate, simulated

from tuner.host.host import Host
from tuner.host.nics import read_nics
from tuner.host.simulated import ShapeError, Simulation
from tuner.host.simulated.load import Weather
from tuner.host.simulated.story import BURST, BURSTS_S, REMEDY_S, STRAY_S, Story, Told, calm

SMALL = {"nodes": 1, "cores": 8, "smt": 1, "nics": 2, "queues": 4, "management": 1}
ADMIN = 24  # the disk's vector 0


def interrupted(host: Host, number: int = ADMIN) -> dict[int, int]:
    """CPU -> how often."""
    line = next(each for each in host.files.text("/proc/interrupts").splitlines() if each.strip().startswith(f"{number}:"))
    return {cpu: int(word) for cpu, word in enumerate(line.split()[1:9]) if int(word)}


def lost(host: Host, nic: str = "eth2") -> int:
    counters = host.syscalls.statistics(nic)
    return counters["rx_no_dma_resources"] + counters["rx_missed_errors"]


class Applied:
    """A remedy that only remembers."""

    def __init__(self, wanted: bool = True, takes: int = 1) -> None:
        self.calls: list[str] = []
        self._wanted, self._takes = wanted, takes

    def wanted(self) -> bool:
        self.calls.append("wanted")
        return self._wanted

    def start(self) -> str:
        self.calls.append("start")
        return "it begins"

    def outcome(self, wait: bool) -> Told | None:
        self.calls.append("wait" if wait else "look")
        self._takes -= 1
        return Told("info", "remedy", "done") if wait or self._takes <= 0 else None

    def close(self) -> None:
        self.calls.append("close")


def test_a_management_nic_is_there_beside_the_feeds_and_changes_nothing_of_them():
    with simulated(**SMALL) as host, simulated(**SMALL | {"management": 0}) as without:
        nics = {nic.name: nic for nic in read_nics(host.files)}
        assert {name: nic.driver for name, nic in nics.items()} == {"lo": "", "eth0": "igb", "eth2": "ixgbe", "eth3": "ixgbe"}
        assert [name for name, nic in nics.items() if nic.default_route] == ["eth0"]
        assert not any(nic.default_route for nic in read_nics(without.files))
        table = without.files.text("/proc/interrupts").splitlines()
        assert [line.split(":")[0] for line in host.files.text("/proc/interrupts").splitlines()][: len(table) - 20] == [
            line.split(":")[0] for line in table
        ][: len(table) - 20]
        simulation = Simulation(host)
        simulation.advance(10)
        received = {name: host.files.number(f"/sys/class/net/{name}/statistics/rx_packets") or 0 for name in ("eth0", "eth2")}
        assert 0 < received["eth0"] < received["eth2"] / 100


@pytest.mark.parametrize(("ring", "gone"), [(512, BURST - 512), (2048, BURST - 2048), (4096, 0)])
def test_a_burst_is_lost_as_far_as_the_ring_does_not_hold_it(ring, gone):
    with simulated(**SMALL) as host:
        host.syscalls.set_rings("eth2", rx=ring)
        simulation = Simulation(host)
        simulation.weather = Weather(chance=False, bursts={"eth2": (BURST, BURST)})
        simulation.advance(1)
        assert (lost(host), lost(host, "eth3")) == (2 * gone, 0)
        simulation.weather = calm(host)
        simulation.advance(600)
        assert lost(host) == 2 * gone


def test_the_story_in_its_order():
    with simulated(**SMALL) as host:
        isolate(host, "2-7")
        remedy = Applied()
        story = Story(host, remedy, patient=True, began=(1e9, 10**12))
        seen = []
        for _ in range(80):
            story.advance(0.5)
            seen.append((story.elapsed_s, interrupted(host), lost(host), [each.what for each in story.news()]))
        assert (story.time(), story.monotonic_ns()) == (1e9 + 40, 10**12 + 40 * 10**9)
        stray = next(at for (_, before, *_), (at, now, *_) in pairwise(seen) if now.keys() != before.keys())
        assert stray == STRAY_S + 0.5
        assert [cpu for cpu in seen[-1][1] if cpu > 1] == [3]  # where the partition has its second core
        losing = [at for (_, _, before, _), (at, _, now, _) in pairwise(seen) if now > before]
        assert losing == [at + 0.5 for at in BURSTS_S]
        assert seen[-1][2] == len(BURSTS_S) * (BURST - 512)
        assert [(at, news) for at, _, _, news in seen if news] == [(REMEDY_S + 0.5, ["it begins", "done"])]
        assert remedy.calls == ["wanted", "start", "wait"]
        story.close()
        assert remedy.calls[-1] == "close"


def test_who_moves_the_interrupt_ends_the_noise_and_who_raises_the_ring_the_loss():
    with simulated(**SMALL) as host:
        isolate(host, "2-7")
        remedy = Applied()
        story = Story(host, remedy)
        story.advance(12)
        before = interrupted(host)
        assert before[3] > 20
        host.files.write(f"/proc/irq/{ADMIN}/smp_affinity_list", "0-1")
        host.syscalls.set_rings("eth2", rx=4096)
        host.syscalls.set_rings("eth3", rx=4096)
        story.advance(48)
        after = interrupted(host)
        assert after[3] == before[3]
        assert after[0] > before.get(0, 0)  # it is polled all the same
        assert lost(host) == 0
        assert remedy.calls == []
        assert story.news() == ()


@pytest.mark.parametrize("wanted", [True, False])
def test_a_remedy_takes_its_time_beside_the_story_and_is_for_its_host_alone(wanted):
    with simulated(**SMALL) as host:
        isolate(host, "2-7")
        remedy = Applied(wanted, takes=3)
        story = Story(host, remedy)
        told = []
        for _ in range(80):
            story.advance(0.5)
            told += [(story.elapsed_s, each.what) for each in story.news()]
        assert told == ([(34.5, "it begins"), (35.5, "done")] if wanted else [])
        assert ("start" in remedy.calls) == wanted


def test_long_steps_leave_nothing_out_and_a_host_without_isolation_has_a_story_too():
    with simulated(**SMALL) as host:
        story = Story(host)
        story.advance(60)
        assert story.elapsed_s == pytest.approx(60)
        assert lost(host) == len(BURSTS_S) * (BURST - 512)
        assert story.process_time_ns() >= 0


def test_a_captured_host_has_no_story(tree):
    with simulated(**SMALL) as host, pytest.raises(ShapeError):
        Story(Host(tree({"/proc/interrupts": ""}), host.syscalls))
