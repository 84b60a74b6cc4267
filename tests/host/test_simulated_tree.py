"""The tree of a simulated host, read back by the same readers that read a real one."""

import os
import shutil

import pytest
from simulated_trees import differing, new_directory, simulated, snapshot

from tuner.host.cpulist import format_list, format_mask, parse_list, parse_mask
from tuner.host.files import HostFiles
from tuner.host.host import Inventory, open_host
from tuner.host.irqs import read_default_affinity
from tuner.host.simulated import Shape, ShapeError, tree_threads, write_tree
from tuner.host.simulated.shape import NVME_QUEUES


def test_topology_of_the_default_host():
    with simulated() as host:
        topology = Inventory(host).topology
    assert topology.online == topology.present == topology.possible == frozenset(range(64))
    assert topology.nodes == {0: frozenset([*range(16), *range(32, 48)]), 1: frozenset([*range(16, 32), *range(48, 64)])}
    assert topology.cpus[37].siblings == {5, 37}
    assert topology.cpus[37].llc == topology.nodes[0]
    assert (topology.cpus[50].node, topology.cpus[50].package, topology.cpus[50].core) == (1, 1, 2)
    assert topology.boot_isolated == topology.nohz_full == frozenset()
    assert len(topology.first_threads(topology.online)) == 32


def test_nics_of_the_default_host():
    with simulated() as host:
        nics = {nic.name: nic for nic in Inventory(host).nics}
        driver, rings, channels = (getattr(host.syscalls, what)("eth2") for what in ("driver", "rings", "channels"))
        assert host.syscalls.permanent_address("eth3") == nics["eth3"].mac
    assert list(nics) == ["eth2", "eth3", "lo"]
    assert [nics[n].node for n in ("eth2", "eth3", "lo")] == [0, 1, -1]
    assert [nics[n].default_route for n in nics] == [False, False, False]
    assert nics["eth2"].rx_queues == nics["eth2"].tx_queues == 8
    assert nics["eth2"].up
    assert nics["eth2"].carrier
    assert nics["eth2"].speed_mbps == 10000
    assert nics["eth3"].local_cpus == frozenset([*range(16, 32), *range(48, 64)])
    assert not nics["lo"].physical
    assert nics["eth2"].physical
    assert len({nic.identity for nic in nics.values()}) == 3
    assert driver.name == nics["eth2"].driver == "ixgbe"
    assert driver.bus == nics["eth2"].pci
    assert driver.firmware == "simulated"
    assert (rings.rx, rings.rx_max) == (512, 4096)
    assert channels.combined == 8


def test_interrupts_of_the_default_host():
    with simulated() as host:
        inventory = Inventory(host)
        irqs, local = inventory.irqs, inventory.topology.nodes[0]
        assert read_default_affinity(host.files) == frozenset(range(64))
    feed = [irq for irq in irqs if irq.action.startswith("eth2-TxRx-")]
    assert [irq.queue for irq in feed] == list(range(8))
    assert all(irq.receives and not irq.managed for irq in feed)
    assert all(irq.requested == local and len(irq.effective) == 1 for irq in feed)
    managed = {irq.action for irq in irqs if irq.managed}
    assert managed == {"timer", *(f"nvme0q{q}" for q in range(1, NVME_QUEUES + 1))}
    # every CPU has a disk queue
    disk = [irq.requested for irq in irqs if irq.action in managed - {"timer"}]
    assert sorted(cpu for cpus in disk for cpu in cpus) == list(range(64))
    assert len({irq.identity for irq in irqs}) == len(irqs)


def test_threads_of_the_default_host():
    with simulated() as host:
        threads = host.syscalls.threads()
    by_name = {thread.name: thread for thread in threads}
    assert len({thread.tid for thread in threads}) == len(threads)
    assert by_name["ksoftirqd/63"].allowed == {63}
    assert not by_name["ksoftirqd/63"].movable
    assert by_name["rcu_preempt"].movable
    assert by_name["rcu_preempt"].kernel
    assert by_name["kthreadd"].tid == 2
    assert by_name["kswapd1"].allowed == frozenset([*range(16, 32), *range(48, 64)])
    assert by_name["md_feed/rx0"].allowed == {4}
    assert not by_name["md_feed/rx0"].kernel
    assert by_name["md_feed/rx0"].cgroup == tree_threads.FEED_GROUP


@pytest.mark.parametrize(
    "size",
    [
        {"nodes": 1, "cores": 1, "smt": 1, "nics": 0, "queues": 1},
        {"nodes": 1, "cores": 1, "smt": 1, "nics": 1, "queues": 64},
        {"nodes": 1, "cores": 3, "smt": 2, "nics": 3, "queues": 2},
        {"nodes": 3, "cores": 11, "smt": 1, "nics": 5, "queues": 7},
        {"nodes": 16, "cores": 2, "smt": 4, "nics": 16, "queues": 1},
        {"nodes": 4, "cores": 64, "smt": 1, "nics": 4, "queues": 64},
    ],
    ids=str,
)
def test_any_size_is_a_whole_host(size):
    with simulated(**size) as host:
        inventory = Inventory(host)
        shape = Shape(**size)
        cpus = frozenset(range(shape.cpus))
        assert inventory.topology.online == cpus
        assert frozenset().union(*inventory.topology.nodes.values()) == cpus
        assert len(inventory.topology.nodes) == size["nodes"]
        assert all(len(cpu.siblings) == size["smt"] for cpu in inventory.topology.cpus.values())
        feed = [nic for nic in inventory.nics if nic.name.startswith("eth")]
        assert len(feed) == size["nics"]
        assert all(nic.rx_queues == size["queues"] for nic in feed)
        assert len({nic.pci for nic in feed}) == size["nics"]
        for irq in inventory.irqs:
            assert irq.effective <= irq.requested <= cpus
            assert len(irq.effective) == 1
            base = f"/proc/irq/{irq.number}"
            assert parse_mask(host.files.text(f"{base}/smp_affinity")) == irq.requested
            assert parse_mask(host.files.text(f"{base}/effective_affinity")) == irq.effective
        numbered = {irq.number for irq in inventory.irqs}
        assert numbered == {int(entry) for entry in host.files.entries("/proc/irq") if entry.isdigit()}
        assert {thread.name for thread in host.syscalls.threads()} >= {f"migration/{max(cpus)}", "md_feed"}
        assert host.files.exists("/sys/fs/cgroup/system.slice/md-feed.service/cgroup.procs")


def test_formats_are_the_kernels():
    with simulated(nodes=1, cores=40, smt=1, nics=1) as host:
        files = host.files
        assert files.read("/proc/irq/default_smp_affinity") == b"ff,ffffffff\n"
        assert files.read("/sys/devices/system/cpu/online") == b"0-39\n"
        assert files.read("/sys/devices/system/cpu/isolated") == b"\n"
        assert files.read("/proc/softirqs").splitlines()[0].split() == [b"CPU%d" % cpu for cpu in range(40)]
        lines = files.read("/proc/interrupts").decode().splitlines()
        assert lines[0].split() == [f"CPU{cpu}" for cpu in range(40)]
        # columns as wide as the kernel's, chip and action behind them
        loc = next(line for line in lines if line.lstrip().startswith("LOC:"))
        assert len(loc.rsplit("Local", 1)[0]) == 4 + 40 * 11 + 3
        assert any(line.endswith("-edge      eth2-TxRx-7") and "IR-PCI-MSIX-0000:" in line for line in lines)
        assert all(len(line.split()) == 15 for line in files.read("/proc/net/softnet_stat").decode().splitlines())
        assert files.read("/proc/stat").startswith(b"cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 ")
        for name in files.entries("/sys/class/net"):
            assert not os.path.isabs(files.link(f"/sys/class/net/{name}") or "/")


def test_managed_affinities_are_read_only_and_wishes_are_not():
    with simulated(nodes=1, cores=2, smt=1, nics=1, queues=1) as host:
        irqs = {irq.action: irq.number for irq in Inventory(host).irqs}
        for action, writable in (("nvme0q1", False), ("timer", False), ("nvme0q0", True), ("eth2-TxRx-0", True)):
            assert host.files.writable_by_owner(f"/proc/irq/{irqs[action]}/smp_affinity_list") is writable
            assert host.files.writable_by_owner(f"/proc/irq/{irqs[action]}/smp_affinity") is writable
            assert not host.files.writable_by_owner(f"/proc/irq/{irqs[action]}/effective_affinity_list")


def test_the_same_arguments_give_the_same_bytes():
    with new_directory() as directory:
        one, two = os.path.join(directory, "one"), os.path.join(directory, "two")
        for path in (one, two):
            write_tree(path, nodes=1, cores=2, nics=1, queues=2)
        first, second = snapshot(one), snapshot(two)
        assert {path[len(one) :]: what for path, what in first.items()} == {
            path[len(two) :]: what for path, what in second.items()
        }


def test_a_directory_with_something_in_it_is_left_alone():
    with new_directory() as directory:
        with open(os.path.join(directory, "mine"), "w") as file:
            file.write("keep")
        with pytest.raises(FileExistsError):
            write_tree(directory)
        assert os.listdir(directory) == ["mine"]


def test_nothing_is_left_of_a_tree_that_could_not_be_finished(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tuner.host.simulated.tree_threads.write_threads", interrupted)
    with new_directory() as directory:
        for name in (directory, os.path.join(directory, "new")):
            with pytest.raises(KeyboardInterrupt):
                write_tree(name, nodes=1, cores=1)
        assert os.listdir(directory) == []


@pytest.mark.parametrize(
    "size", [{"nodes": 0}, {"cores": 513}, {"smt": 5}, {"nics": 17}, {"queues": 0}, {"nodes": 16, "cores": 33}], ids=str
)
def test_impossible_sizes_write_nothing(size):
    with new_directory() as directory:
        with pytest.raises(ShapeError, match=r"\d"):
            write_tree(os.path.join(directory, "new"), **size)
        assert os.listdir(directory) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"schema": "quietcore/simulated/1", "nodes": "x"}', b'{"schema": "other"}', b"\xff", b"[" * 9999],
)
def test_a_marker_that_is_none_is_an_error_that_names_it(content):
    with simulated(nodes=1, cores=1, smt=1, nics=0, queues=1) as host:
        path = host.files.path("/etc/quietcore/simulated.json")
        with open(path, "wb") as file:
            file.write(content)
        with pytest.raises(OSError, match=r"simulated\.json"):
            open_host(str(host.files.root))


def test_a_tree_without_marker_keeps_what_is_written():
    with simulated(nodes=1, cores=2, smt=1, nics=1, queues=2) as host:
        os.unlink(host.files.path("/etc/quietcore/simulated.json"))
        plain = open_host(str(host.files.root))
        assert plain.source == "files"
        assert not plain.simulated
        plain.files.write("/proc/sys/vm/swappiness", "rubbish")
        assert plain.files.text("/proc/sys/vm/swappiness") == "rubbish"
        before = snapshot(host.files.root, "proc")
        plain.syscalls.set_rings("eth2", 1000)
        assert plain.syscalls.rings("eth2").rx == 1000
        assert differing(before, snapshot(host.files.root, "proc")) == []
        shutil.rmtree(host.files.path("/ethtool"))
        with pytest.raises(OSError, match="not supported"):
            plain.syscalls.rings("eth2")


def test_masks_and_lists_say_the_same_everywhere():
    with simulated(nodes=2, cores=2, smt=2, nics=1, queues=1) as host:
        files = host.files
        for cpu in range(8):
            base = f"/sys/devices/system/cpu/cpu{cpu}"
            for mask, cpus in (
                ("topology/core_cpus", "topology/core_cpus_list"),
                ("cache/index3/shared_cpu_map", "cache/index3/shared_cpu_list"),
            ):
                found = parse_list(files.text(f"{base}/{cpus}"))
                assert files.text(f"{base}/{mask}") == format_mask(found, 8)
                assert files.text(f"{base}/{cpus}") == format_list(found)
                assert cpu in found


def test_host_files_do_not_leave_the_tree():
    with simulated(nodes=1, cores=1, smt=1, nics=1, queues=1) as host:
        files = HostFiles(host.files.root)
        for name in files.entries("/sys/bus/pci/devices"):
            assert files.resolved(f"/sys/bus/pci/devices/{name}").startswith("/sys/devices/pci0000:")
