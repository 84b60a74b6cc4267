"""Network interfaces: what sysfs says of them, whatever they are called."""

import os
import subprocess
import sys

import pytest

from tuner.host.files import HostFiles
from tuner.host.nics import NET_ROOT, default_route_names, names_beneath, pci_address, read_nics, valid_name
from tuner.host.text import printable

HOSTILE = ["a\x1b[2Jb", "eth(0)", "a)_b", "\udcff\udcfe", "$(reboot)", "-rf", "..x", "a,b", "größe", "\x1c", "\u2003x"]
ROUTE_HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
ZERO = "0" * 32


def nic_tree(name: str, device: str = "/sys/devices/pci0000:00/0000:00:1c.0/0000:42:00.0", **attributes: str) -> dict[str, str]:
    """One interface behind a device, as sysfs shows it."""
    base = f"{device}/net/{name}"
    files = {f"{base}/{key}": f"{value}\n" for key, value in {"ifindex": "7", "mtu": "1500", **attributes}.items()}
    return files | {
        f"{NET_ROOT}/{name}": f"-> ../../{base.removeprefix('/sys/')}",
        f"{base}/device": "-> ../..",
        f"{device}/driver": "-> ../../../bus/pci/drivers/ixgbe",
        f"{base}/queues/rx-0/": "",
        f"{base}/queues/rx-1/": "",
        f"{base}/queues/tx-0/": "",
    }


def only(files: HostFiles):
    (nic,) = read_nics(files)
    return nic


def test_this_machines_interfaces_are_the_kernels():
    nics = read_nics(HostFiles("/"))
    with open("/proc/net/dev", encoding="utf-8", errors="surrogateescape") as file:
        names = {line.rpartition(":")[0].strip() for line in file.readlines()[2:]}
    assert {nic.name for nic in nics} == names
    lo = next(nic for nic in nics if nic.name == "lo")
    assert (lo.physical, lo.pci, lo.up, lo.mtu, lo.identity) == (False, None, True, 65536, "virtual/lo")


def test_the_default_route_of_this_machine_is_the_kernels():
    answer = subprocess.run(["ip", "-o", "route", "show", "default"], capture_output=True, text=True)
    if answer.returncode:
        pytest.skip(f"ip cannot say: {answer.stderr.strip()}")
    devices = {line.split(" dev ")[1].split()[0] for line in answer.stdout.splitlines() if " dev " in line}
    assert devices <= default_route_names(HostFiles("/"))


def test_the_captured_igb_and_connectx3(captured):
    nics = {nic.name: nic for nic in read_nics(HostFiles(captured("intel-2node-16core-i350-connectx3")))}
    assert (nics["eth0"].pci, nics["eth0"].driver, nics["eth0"].node) == ("0000:02:00.0", "igb", 0)
    assert nics["eth0"].local_cpus == set(range(8))
    assert (nics["eth0"].rx_queues, nics["eth0"].tx_queues, nics["eth0"].speed_mbps) == (8, 8, 1000)
    assert (nics["eth1"].up, nics["eth1"].carrier, nics["eth1"].speed_mbps) == (False, False, None)
    assert (nics["ib0"].driver, nics["ib0"].node) == ("mlx4_core", 1)
    assert len({nic.identity for nic in nics.values()}) == len(nics)


def test_captured_nics_of_which_the_firmware_names_no_node(captured):
    nics = {nic.name: nic for nic in read_nics(HostFiles(captured("intel-4node-interleaved-bnx2")))}
    for name in ("eth0", "eth1", "eth2", "eth3"):
        assert (nics[name].driver, nics[name].node, nics[name].local_cpus) == ("bnx2", -1, frozenset())
    assert nics["ib0"].node == 2
    assert nics["ib0"].local_cpus == {2, 6, 10, 14, 18, 22, 26, 30, 34, 38}  # the node's, not the card's wrong local_cpus


def test_captured_virtio_nics_are_known_by_the_function_behind_them(captured):
    nics = {nic.name: nic for nic in read_nics(HostFiles(captured("lab-8cpu-2numa")))}
    assert (nics["vio0"].driver, nics["vio0"].pci, nics["vio0"].node) == ("virtio_net", "0000:41:00.0", 0)
    assert (nics["vio1"].pci, nics["vio1"].node) == ("0000:81:00.0", 1)
    assert nics["vmx1"].local_cpus == {4, 5, 6, 7}
    assert nics["lo"].physical is False


def test_a_virtio_nic_takes_the_last_function_on_its_path(tree):
    device = "/sys/devices/pci0000:00/0000:00:02.0/0000:05:00.0/virtio3"
    files = tree(nic_tree("eth0", device) | {"/sys/bus/pci/devices/0000:05:00.0/numa_node": "1\n"})
    assert pci_address(files, "eth0") == "0000:05:00.0"
    assert only(files).node == 1


def test_no_node_named_by_the_firmware(tree):
    device = "/sys/devices/pci0000:00/0000:42:00.0"
    files = tree(
        nic_tree("eth0", device)
        | {"/sys/bus/pci/devices/0000:42:00.0/numa_node": "-1\n", "/sys/bus/pci/devices/0000:42:00.0/local_cpulist": "0-31\n"}
    )
    assert (only(files).node, only(files).local_cpus) == (-1, frozenset())


def test_everything_that_is_read_of_a_nic(tree):
    files = tree(
        nic_tree("eth2", address="52:54:00:00:00:02", flags="0x1003", carrier="1", speed="25000", mtu="9000", ifindex="12")
        | {"/sys/devices/system/node/node1/cpulist": "4-7\n", "/sys/bus/pci/devices/0000:42:00.0/numa_node": "1\n"}
        | {"/proc/net/route": ROUTE_HEAD}
    )
    nic = only(files)
    assert (nic.name, nic.ifindex, nic.pci, nic.mac) == ("eth2", 12, "0000:42:00.0", "52:54:00:00:00:02")
    assert (nic.driver, nic.node, nic.local_cpus) == ("ixgbe", 1, frozenset({4, 5, 6, 7}))
    assert (nic.up, nic.carrier, nic.speed_mbps, nic.mtu) == (True, True, 25000, 9000)
    assert (nic.rx_queues, nic.tx_queues, nic.default_route, nic.physical) == (2, 1, False, True)
    assert nic.identity == "0000:42:00.0/52:54:00:00:00:02"


@pytest.mark.parametrize("speed", ["-1", "4294967295", "0", "nonsense", ""])
def test_a_speed_that_is_none(tree, speed):
    assert only(tree(nic_tree("eth2", speed=speed))).speed_mbps is None


@pytest.mark.parametrize(("flags", "up"), [("0x1003", True), ("0x1002", False), ("", False), ("nonsense", False)])
def test_up_is_a_flag(tree, flags, up):
    assert only(tree(nic_tree("eth2", flags=flags))).up is up


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", HOSTILE)
def test_an_interface_may_be_called_anything_that_the_kernel_takes(tree, name):
    route = f"{ROUTE_HEAD}{name}\t00000000\t010200C0\t3\t0\t0\t0\t00000000\t0\t0\t0\n"
    nic = only(tree(nic_tree(name, mtu="9000") | {"/proc/net/route": route}))
    assert (nic.name, nic.mtu, nic.pci, nic.default_route) == (name, 9000, "0000:42:00.0", True)
    assert "\x1b" not in printable(nic.name)


def test_names_that_no_interface_can_have_are_left_out_of_a_tree(tree):
    files = tree(nic_tree("x" * 15) | {f"{NET_ROOT}/{'y' * 16}/mtu": "1\n", f"{NET_ROOT}/a b/mtu": "1\n"})
    assert only(files).name == "x" * 15


def test_a_file_among_the_interfaces_is_none(tree):
    assert only(tree(nic_tree("eth0") | {f"{NET_ROOT}/bonding_masters": "bond0\n"})).name == "eth0"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\nb", "à", "x" * 16, "ö" * 8, "a\0b"])
def test_names_that_are_refused(name):
    assert not valid_name(name)


@pytest.mark.parametrize("name", ["eth0", "x" * 15, "ö" * 7, "a.b", "...", *HOSTILE])
def test_names_that_are_taken(name):
    assert valid_name(name)


KERNEL_NAMES = """
import ctypes, fcntl, os, socket, struct, sys
if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
    sys.exit(f"no network namespace: {os.strerror(ctypes.get_errno())}")
import subprocess
subprocess.run(["ip", "link", "add", "old", "type", "veth", "peer", "name", "peer"], check=True)
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taken = []
for byte in range(1, 256):
    new = b"n" + bytes((byte,)) + b"e"
    try:
        fcntl.ioctl(control, 0x8923, struct.pack("16s16s8x", b"old", new))  # SIOCSIFNAME
        fcntl.ioctl(control, 0x8923, struct.pack("16s16s8x", new, b"old"))
    except OSError:
        continue
    taken.append(byte)
print(*taken)
"""


def test_every_byte_is_judged_as_the_kernel_judges_it():
    run = subprocess.run([sys.executable, "-c", KERNEL_NAMES], capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"no interface can be made here: {run.stderr.strip()[-120:]}")
    taken = {int(word) for word in run.stdout.split()}
    ours = {b for b in range(1, 256) if valid_name((b"n" + bytes((b,)) + b"e").decode("utf-8", "surrogateescape"))}
    # '%' asks SIOCSIFNAME for a number: as a name it can only come from elsewhere
    assert ours - {ord("%")} == taken - {ord("%")}


# ------------------------------------------------------------------------------------------------------- default routes


def test_default_routes_of_both_families(tree):
    files = tree(
        {
            "/proc/net/route": ROUTE_HEAD
            + "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
            + "eth1\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
            + "eth3\t00000000\t010200C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n",  # 0.0.0.0/1: half of the world
            "/proc/net/ipv6_route": f"{ZERO} 00 {ZERO} 00 fe80{'0' * 27}1 00000400 00000002 00000000 00000003     eth2\n"
            f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo\n"
            f"fe80{'0' * 28} 40 {ZERO} 00 {ZERO} 00000100 00000001 00000000 00000001     eth4\n",
        }
    )
    assert default_route_names(files) == {"eth0", "eth2"}


@pytest.mark.parametrize("content", ["", "\n", ROUTE_HEAD, ROUTE_HEAD + "eth0\n", b"\xff\x00" * 50])
def test_route_tables_without_a_default(tree, content):
    assert default_route_names(tree({"/proc/net/route": content, "/proc/net/ipv6_route": content})) == frozenset()


def test_a_name_that_python_would_split_carries_its_route(tree):
    name = "a\x1cb\u2003c"
    files = tree(
        {
            "/proc/net/route": f"{ROUTE_HEAD}{name}\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
            "/proc/net/ipv6_route": f"{ZERO} 00 {ZERO} 00 fe80{'0' * 27}1 00000400 00000002 00000000 00000003 {name}6\n",
        }
    )
    assert default_route_names(files) == {name, f"{name}6"}


def test_a_tree_without_sysfs_has_no_interfaces(tmp_path):
    assert read_nics(HostFiles(tmp_path)) == ()
    assert os.listdir(tmp_path) == []


def test_what_lies_beneath_an_interface_of_this_kernel():
    """A bridge over a veth, in a namespace of its own: the links are the kernel's."""
    script = (
        "mount -t sysfs sysfs /sys && ip link add low0 type veth peer name low1 && ip link add top0 type bridge"
        " && ip link set low0 master top0 && exec "
        f"{sys.executable} -c 'from tuner.host.files import HostFiles; from tuner.host.nics import names_beneath;"
        ' print(names_beneath(HostFiles("/"), "top0"), names_beneath(HostFiles("/"), "low1"))\''
    )
    done = subprocess.run(["unshare", "-mn", "sh", "-ec", script], capture_output=True, text=True)
    if done.returncode and ("unshare" in done.stderr or "RTNETLINK" in done.stderr or "not found" in done.stderr):
        pytest.skip(f"no namespace with a bridge here: {done.stderr.strip()}")
    assert done.stdout == "('low0',) ()\n", done.stderr


def test_what_lies_beneath_is_followed_to_the_bottom_and_not_in_circles(tree):
    links = {"top": ["lower_bond0", "upper_x"], "bond0": ["lower_eth2", "lower_eth3", "lower_top"], "eth2": ["lower_top"]}
    files = tree({f"{NET_ROOT}/{name}/{link}": "" for name, each in links.items() for link in each})
    assert sorted(names_beneath(files, "top")) == ["bond0", "eth2", "eth3"]
    assert names_beneath(files, "../net/top") == ()
    assert names_beneath(files, "nowhere") == ()
