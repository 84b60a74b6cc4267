"""CPUs, cores, caches and nodes: of this machine, of captured ones, and of trees that lack what some kernels lack."""

import os
from pathlib import Path

import pytest

from tuner.host.cpulist import format_list, parse_list
from tuner.host.files import HostFiles
from tuner.host.topology import CPU_ROOT, NODE_ROOT, Topology, read_topology

ALL_CAPTURED = (
    "intel-2node-16core-i350-connectx3",
    "intel-4node-interleaved-bnx2",
    "lab-8cpu-2numa",
    "lab-8cpu-2numa-isolated",
)


def consistent(topology: Topology) -> None:
    """What holds of every machine, whatever its files lack."""
    assert topology.online
    assert topology.online <= set(topology.cpus)
    assert topology.online <= topology.possible | topology.present
    assert topology.count > max(topology.online)
    for cpu in topology.cpus.values():
        assert cpu.cpu in cpu.siblings
        assert cpu.cpu in cpu.llc
        assert cpu.online == (cpu.cpu in topology.online)
    for cpu in topology.online:
        for sibling in topology.cpus[cpu].siblings & topology.online:
            assert topology.cpus[sibling].siblings == topology.cpus[cpu].siblings
        assert cpu in topology.nodes[topology.cpus[cpu].node]
    assert sorted(cpu.cpu for cpu in topology.ordered()) == sorted(topology.online)
    assert [cpu.node for cpu in topology.ordered()] == sorted(cpu.node for cpu in topology.ordered())
    assert topology.siblings(topology.first_threads(topology.online)) == topology.online


def test_this_machine_is_what_its_kernel_says():
    topology = read_topology(HostFiles("/"))
    consistent(topology)
    with open(f"{CPU_ROOT}/online", encoding="ascii") as file:
        assert format_list(topology.online) == file.read().strip()
    assert len(topology.online) == os.cpu_count()


@pytest.mark.parametrize("name", ALL_CAPTURED)
def test_every_captured_machine_holds_together(captured, name):
    consistent(read_topology(HostFiles(captured(name))))


def test_a_machine_of_two_nodes_with_room_for_more_cpus(captured):
    topology = read_topology(HostFiles(captured("intel-2node-16core-i350-connectx3")))
    assert format_list(topology.online) == "0-15"
    assert format_list(topology.possible) == "0-127"
    assert topology.count == 128
    assert {node: format_list(cpus) for node, cpus in topology.nodes.items()} == {0: "0-7", 1: "8-15"}
    assert format_list(topology.llc([3])) == "0-7"
    assert topology.first_threads(topology.online) == topology.online  # SMT is off
    assert {cpu.package for cpu in topology.cpus.values()} == {0, 1}


def test_nodes_whose_numbers_interleave(captured):
    topology = read_topology(HostFiles(captured("intel-4node-interleaved-bnx2")))
    assert format_list(topology.nodes[0]) == "0,4,8,12,16,20,24,28,32,36"
    assert format_list(topology.nodes[3]) == "3,7,11,15,19,23,27,31,35,39"
    assert topology.cpus[6].node == 2
    assert topology.llc([1]) == topology.nodes[1]
    assert [cpu.cpu for cpu in topology.ordered()][:3] == [0, 4, 8]
    # core numbers have holes and repeat on each package: they alone name no core
    assert topology.cpus[0].core == topology.cpus[1].core
    assert topology.cpus[0].siblings != topology.cpus[1].siblings


def test_threads_of_one_core(captured):
    topology = read_topology(HostFiles(captured("lab-8cpu-2numa")))
    assert topology.siblings([2]) == {2, 3}
    assert topology.siblings([0, 7]) == {0, 1, 6, 7}
    assert topology.first_threads(topology.online) == {0, 2, 4, 6}
    assert topology.first_threads([1, 2, 3]) == {1, 2}
    assert not topology.boot_isolated
    assert not topology.nohz_full


def test_what_the_boot_line_isolated(captured):
    topology = read_topology(HostFiles(captured("lab-8cpu-2numa-isolated")))
    assert topology.boot_isolated == topology.nohz_full == {2, 3, 6, 7}


def machine(cpus: str = "0-3", **more: str) -> dict[str, str]:
    """The smallest tree of a machine with two threads a core."""
    files = {f"{CPU_ROOT}/online": f"{cpus}\n", f"{CPU_ROOT}/present": f"{cpus}\n", f"{CPU_ROOT}/possible": f"{cpus}\n"}
    for cpu in parse_list(cpus):
        pair = f"{cpu & ~1}-{cpu | 1}\n"
        base = f"{CPU_ROOT}/cpu{cpu}"
        files |= {
            f"{base}/topology/core_cpus_list": pair,
            f"{base}/topology/package_cpus_list": f"{cpus}\n",
            f"{base}/topology/physical_package_id": "0\n",
            f"{base}/topology/core_id": f"{cpu // 2}\n",
            f"{base}/cache/index0/level": "1\n",
            f"{base}/cache/index0/shared_cpu_list": pair,
            f"{base}/cache/index3/level": "3\n",
            f"{base}/cache/index3/shared_cpu_list": f"{cpus}\n",
        }
    return files | more


def without(files: dict[str, str], *parts: str) -> dict[str, str]:
    return {name: content for name, content in files.items() if not any(part in name for part in parts)}


def test_a_machine_without_numa_is_one_node(tree):
    topology = read_topology(tree(machine()))
    consistent(topology)
    assert topology.nodes == {0: frozenset({0, 1, 2, 3})}


def test_an_offline_cpu_keeps_its_directory_and_loses_its_topology(tree):
    files = without(machine(), "cpu3/topology", "cpu3/cache") | {
        f"{CPU_ROOT}/online": "0-2\n",
        f"{CPU_ROOT}/cpu3/online": "0\n",
        f"{CPU_ROOT}/cpu2/topology/core_cpus_list": "2\n",
        f"{NODE_ROOT}/node0/cpulist": "0-2\n",
    }
    topology = read_topology(tree(files))
    consistent(topology)
    assert topology.online == {0, 1, 2}
    assert topology.present == {0, 1, 2, 3}
    assert not topology.cpus[3].online
    assert topology.siblings([2]) == {2}
    assert topology.first_threads([2, 3]) == {2, 3}
    assert 3 not in topology.nodes[0]
    assert topology.count == 4


def test_without_a_list_of_them_the_online_cpus_are_known_by_their_flags(tree):
    files = without(machine(), "/online") | {f"{CPU_ROOT}/cpu1/online": "0\n", f"{CPU_ROOT}/cpu2/online": "1\n"}
    assert read_topology(tree(files)).online == {0, 2, 3}


def test_cpus_that_could_be_but_never_were(tree):
    files = machine() | {f"{CPU_ROOT}/possible": "0-63\n", f"{CPU_ROOT}/present": "0-5\n"}
    topology = read_topology(tree(files))
    assert topology.online == {0, 1, 2, 3}
    assert topology.count == 64
    assert topology.present == {0, 1, 2, 3, 4, 5}


def test_a_captured_tree_may_name_more_cpus_than_it_holds(tree):
    topology = read_topology(tree(machine() | {f"{CPU_ROOT}/online": "0-15\n"}))
    assert topology.online == {0, 1, 2, 3}


@pytest.mark.parametrize("text", ["  (null)\n", "(null)", "\n", "", "nonsense\n"])
def test_nohz_full_that_names_nothing(tree, text):
    assert read_topology(tree(machine() | {f"{CPU_ROOT}/nohz_full": text})).nohz_full == frozenset()


def test_boot_lists_are_cut_to_what_is_online(tree):
    topology = read_topology(tree(machine() | {f"{CPU_ROOT}/nohz_full": "2-7\n", f"{CPU_ROOT}/isolated": "3,9\n"}))
    assert topology.nohz_full == {2, 3}
    assert topology.boot_isolated == {3}


def test_without_caches_the_package_shares_the_last_level(tree):
    files = without(machine(), "/cache/")
    assert read_topology(tree(files)).cpus[0].llc == {0, 1, 2, 3}


def test_without_caches_and_packages_a_cpu_is_alone(tree):
    files = without(machine(), "/cache/", "package_cpus_list")
    assert read_topology(tree(files)).cpus[0].llc == {0}


def test_the_names_of_older_kernels_are_read_too(tree):
    files = {
        name.replace("core_cpus_list", "thread_siblings_list").replace("package_cpus_list", "core_siblings_list"): content
        for name, content in without(machine(), "/cache/").items()
    }
    topology = read_topology(tree(files))
    assert topology.siblings([0]) == {0, 1}
    assert topology.llc([0]) == {0, 1, 2, 3}


def test_a_package_that_the_firmware_does_not_number(tree):
    files = machine() | {f"{CPU_ROOT}/cpu0/topology/physical_package_id": "-1\n"}
    assert read_topology(tree(files)).cpus[0].package == 0


def test_a_node_of_memory_alone_is_no_node_of_cpus(tree):
    files = machine() | {f"{NODE_ROOT}/node0/cpulist": "0-3\n", f"{NODE_ROOT}/node1/cpulist": "\n"}
    assert list(read_topology(tree(files)).nodes) == [0]


def test_cpus_that_are_not_here_are_left_out_of_every_question(tree):
    topology = read_topology(tree(machine()))
    assert topology.siblings([0, 99]) == {0, 1}
    assert topology.first_threads([99]) == frozenset()
    assert topology.llc([99]) == frozenset()


def test_hostile_names_in_a_tree_are_no_cpus(tree):
    names = ("cpu²", "cpu99999999", "cpu9999999999999", "cpu-1", "cpu1x", "cpu\x1b", "cpufreq")
    hostile = [f"{CPU_ROOT}/{name}/" for name in names]
    files = machine() | dict.fromkeys(hostile, "") | {f"{NODE_ROOT}/node²/cpulist": "0\n"}
    topology = read_topology(tree(files))
    assert set(topology.cpus) == {0, 1, 2, 3}
    assert topology.count == 4


def test_a_directory_that_is_no_host_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no CPUs below"):
        read_topology(HostFiles(tmp_path))
