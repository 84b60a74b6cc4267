"""The life of a simulated host: counters only grow, agree with each other, and follow what is set."""

import os
import signal
import subprocess
import sys
import time

import pytest
from simulated_trees import differing, simulated, snapshot

from tuner.host.host import Host, Inventory, open_host
from tuner.host.simulated import ShapeError, Simulation, demo_place

CGROUP = "/sys/fs/cgroup"


def interrupts(host: Host) -> dict[str, list[int]]:
    lines = host.files.text("/proc/interrupts").splitlines()
    columns = len(lines[0].split())
    rows = (line.partition(":") for line in lines[1:])
    return {label.strip(): [int(word) for word in rest.split()[:columns] if word.isdigit()] for label, _, rest in rows}


def per_cpu(before: dict[str, list[int]], after: dict[str, list[int]]) -> list[int]:
    rows = [label for label in after if len(after[label]) > 1]
    return [sum(after[row][cpu] - before[row][cpu] for row in rows) for cpu in range(len(after["LOC"]))]


def softnet(host: Host) -> list[int]:
    return [int(line.split()[0], 16) for line in host.files.text("/proc/net/softnet_stat").splitlines()]


def statistic(host: Host, nic: str, name: str) -> int:
    return host.files.number(f"/sys/class/net/{nic}/statistics/{name}") or 0


def all_counters(host: Host) -> list[int]:
    """Every number of the counter files, in a fixed order."""
    found: list[int] = [value for row in interrupts(host).values() for value in row]
    for name in ("/proc/softirqs", "/proc/stat", "/proc/net/dev", "/proc/net/snmp"):
        found += [int(word) for word in host.files.text(name).split() if word.isdigit()]
    for nic in ("eth2", "eth3"):
        found += host.syscalls.statistics(nic).values()
        found += [statistic(host, nic, name) for name in host.files.entries(f"/sys/class/net/{nic}/statistics")]
    return found + softnet(host)


def test_counters_only_grow():
    with simulated() as host:
        simulation = Simulation(host)
        last = all_counters(host)
        for seconds in (0.01, 1.0, 0.3, 10.0, 1.0):
            simulation.advance(seconds)
            now = all_counters(host)
            assert len(now) == len(last)
            assert all(b >= a for a, b in zip(last, now, strict=True))
            assert sum(now) > sum(last)
            last = now


def test_counters_agree_with_each_other():
    with simulated() as host:
        simulation = Simulation(host)
        for _ in range(20):
            simulation.advance(0.5)
        rows = interrupts(host)
        stat = dict(line.split(" ", 1) for line in host.files.text("/proc/stat").splitlines())
        intr = [int(word) for word in stat["intr"].split()]
        assert intr[0] == sum(sum(row) for label, row in rows.items() if label not in ("ERR", "MIS"))
        assert all(sum(row) == intr[1 + int(label)] for label, row in rows.items() if label.isdigit())
        soft = {line.split(":")[0].strip(): line.split(":")[1] for line in host.files.text("/proc/softirqs").splitlines()[1:]}
        assert [int(n) for n in stat["softirq"].split()][3 + 1] == sum(map(int, soft["NET_RX"].split()))
        for cpu in range(64):
            assert sum(map(int, stat[f"cpu{cpu}"].split())) == pytest.approx(1000, abs=8)
        packets = {nic: statistic(host, nic, "rx_packets") for nic in ("eth2", "eth3")}
        assert sum(softnet(host)) == sum(packets.values())
        lines = [line.partition(":") for line in host.files.text("/proc/net/dev").splitlines()[2:]]
        dev = {name.strip(): rest.split() for name, _, rest in lines}
        for nic, count in packets.items():
            assert int(dev[nic][1]) == count == host.syscalls.statistics(nic)["rx_packets"]
        queues = [host.syscalls.statistics("eth2")[f"rx_queue_{queue}_packets"] for queue in range(8)]
        assert sum(queues) == packets["eth2"]
        assert min(queues) > 0
        assert float(host.files.text("/proc/uptime").split()[0]) == 10.0


def test_packets_and_interrupts_go_where_the_affinity_says():
    with simulated() as host:
        simulation = Simulation(host)
        feed = {irq.queue: irq for irq in Inventory(host).irqs if irq.action.startswith("eth2-TxRx-")}
        for queue, irq in feed.items():
            host.files.write(f"/proc/irq/{irq.number}/smp_affinity_list", str(20 + queue % 2))
        rows, packets = interrupts(host), softnet(host)
        simulation.advance(10)
        for irq in feed.values():
            moved = [b - a for a, b in zip(rows[str(irq.number)], interrupts(host)[str(irq.number)], strict=True)]
            assert [cpu for cpu, more in enumerate(moved) if more] == [20 + irq.queue % 2]
        received = [b - a for a, b in zip(packets, softnet(host), strict=True)]
        assert received[20] + received[21] >= statistic(host, "eth2", "rx_packets")
        assert received[14] == 0  # where the driver had put queue 0


def test_isolated_cores_go_quiet():
    """The story of the demo: a partition and housekeeping interrupts, and the noise is gone."""
    with simulated() as host:
        simulation = Simulation(host)
        start = interrupts(host)
        simulation.advance(10)
        middle = interrupts(host)
        noisy = per_cpu(start, middle)
        isolated = [8, 9, 40, 41]
        assert all(noisy[cpu] > 300 for cpu in isolated)
        host.files.write(f"{CGROUP}/cgroup.subtree_control", "+cpuset")
        host.files.make_directory(f"{CGROUP}/quiet")
        host.files.write(f"{CGROUP}/quiet/cpuset.cpus", "8-9,40-41")
        host.files.write(f"{CGROUP}/quiet/cpuset.cpus.partition", "isolated")
        for irq in Inventory(host).irqs:
            if not irq.managed:
                host.files.write(f"/proc/irq/{irq.number}/smp_affinity_list", "0-1")
        simulation.advance(10)
        quiet = per_cpu(middle, interrupts(host))
        assert all(quiet[cpu] <= 20 for cpu in isolated), quiet
        assert min(quiet[0], quiet[1]) > 10 * max(noisy[cpu] for cpu in isolated)


def test_the_spinning_thread_fills_its_core_and_leaves_it_with_the_partition():
    with simulated() as host:
        simulation = Simulation(host)

        def busy(cpu: int) -> float:
            before = host.files.text("/proc/stat").splitlines()[1 + cpu].split()
            simulation.advance(10)
            after = host.files.text("/proc/stat").splitlines()[1 + cpu].split()
            return 1000 - (int(after[4]) - int(before[4]))

        assert busy(4) > 950
        host.files.write(f"{CGROUP}/cgroup.subtree_control", "+cpuset")
        host.files.make_directory(f"{CGROUP}/quiet")
        host.files.write(f"{CGROUP}/quiet/cpuset.cpus", "4")
        host.files.write(f"{CGROUP}/quiet/cpuset.cpus.partition", "isolated")
        assert busy(4) < 10
        # and it spins there again once it is a member
        pid = next(thread.pid for thread in host.syscalls.threads() if thread.name == "md_feed/rx0")
        host.files.write(f"{CGROUP}/quiet/cgroup.procs", str(pid))
        assert busy(4) > 950


def test_a_small_ring_loses_bursts_and_a_large_one_does_not():
    with simulated() as host:
        simulation = Simulation(host)
        simulation.advance(600)
        lost = statistic(host, "eth2", "rx_missed_errors")
        assert 0 < lost < statistic(host, "eth2", "rx_packets") / 100
        assert host.syscalls.statistics("eth2")["rx_missed_errors"] == lost
        host.syscalls.set_rings("eth2", rx=4096)
        simulation.advance(600)
        assert statistic(host, "eth2", "rx_missed_errors") == lost
        host.syscalls.set_rings("eth2", rx=64)
        simulation.advance(60)
        assert statistic(host, "eth2", "rx_missed_errors") > lost


def test_the_same_seed_and_ticks_give_the_same_bytes():
    found = []
    for _ in range(2):
        with simulated(nodes=1, cores=4) as host:
            simulation = Simulation(host)
            for seconds in (1.0, 0.5, 2.0):
                simulation.advance(seconds)
            found.append({path[len(str(host.files.root)) :]: what for path, what in snapshot(host.files.root).items()})
    assert found[0] == found[1]


def test_a_life_goes_on_where_another_ended():
    with simulated(nodes=1, cores=4) as host:
        Simulation(host).advance(5)
        before = all_counters_of_one_nic(host)
        again = Simulation(open_host(str(host.files.root)))
        assert all_counters_of_one_nic(host) == before
        again.advance(0.001)
        after = all_counters_of_one_nic(host)
        assert all(b >= a for a, b in zip(before, after, strict=True))
        assert float(host.files.text("/proc/uptime").split()[0]) == 5.0


def all_counters_of_one_nic(host: Host) -> list[int]:
    rows = [value for row in interrupts(host).values() for value in row]
    return [*rows, *softnet(host), *host.syscalls.statistics("eth2").values()]


def test_living_touches_nothing_but_counters():
    counters = ("/proc/interrupts", "/proc/softirqs", "/proc/stat", "/proc/net/", "/proc/uptime", "/statistics/", "/ethtool/")
    with simulated(nodes=1, cores=4) as host:
        before = snapshot(host.files.root)
        Simulation(host).advance(30)
        changed = differing(before, snapshot(host.files.root))
        assert changed
        assert all(any(part in path for part in counters) for path in changed)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_time_that_cannot_pass_is_refused(seconds):
    with simulated(nodes=1, cores=1, smt=1, nics=1, queues=1) as host:
        simulation = Simulation(host)
        before = snapshot(host.files.root)
        with pytest.raises(ValueError, match="cannot pass"):
            simulation.advance(seconds)
        assert differing(before, snapshot(host.files.root)) == []


@pytest.mark.parametrize("name", ["/proc/net/softnet_stat", "/proc/stat", "/proc/net/snmp", "/proc/uptime"])
def test_counters_that_are_none_are_an_error(name):
    with simulated(nodes=1, cores=1, smt=1, nics=1, queues=1) as host:
        with open(host.files.path(name), "w") as file:
            file.write("cpu0 rubbish\nUdp: x\nUdp: y\n")
        with pytest.raises(OSError, match="not the counters"):
            Simulation(host)


def test_a_captured_host_has_no_life():
    with simulated(nodes=1, cores=1, smt=1, nics=1, queues=1) as host:
        os.unlink(host.files.path("/etc/quietcore/simulated.json"))
        with pytest.raises(ShapeError, match="not a simulated host"):
            Simulation(host)


@pytest.mark.parametrize(
    "size",
    [
        {"nodes": 1, "cores": 1, "smt": 1, "nics": 0, "queues": 1},
        {"nodes": 4, "cores": 64, "smt": 1, "nics": 4, "queues": 64},
    ],
    ids=str,
)
def test_any_size_lives(size):
    with simulated(**size) as host:
        simulation = Simulation(host)
        simulation.advance(2)
        assert sum(interrupts(host)["LOC"]) > 0


def test_a_tick_costs_little():
    with simulated() as host:
        simulation = Simulation(host)
        simulation.advance(1)
        start = time.process_time()
        for _ in range(30):
            simulation.advance(1)
        assert (time.process_time() - start) / 30 < 0.010


def test_the_demo_is_gone_afterwards_also_after_an_exception():
    seen = []

    def look() -> None:
        with demo_place() as directory:
            seen.append((directory, os.path.isdir(directory)))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        look()
    assert seen[0][1]
    assert not os.path.exists(seen[0][0])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, -signal.SIGINT)])
def test_the_demo_is_gone_after_a_signal(number, status):
    program = (
        "import time\nfrom tuner.host.simulated import demo_place\n"
        "with demo_place() as directory:\n print(directory, flush=True)\n time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    root = child.stdout.readline().strip()
    assert os.path.isdir(root)
    child.send_signal(number)
    assert child.wait(20) == status
    assert not os.path.exists(root)
