"""Interrupts by what they serve: identity, queue, affinity asked for and in effect, and whose they are."""

import os

import pytest

from tuner.host.cpulist import CpuListError
from tuner.host.files import HostFiles
from tuner.host.irqs import Irq, queue_of, read_affinity, read_default_affinity, read_irqs
from tuner.host.nics import read_nics

PCI = "0000:81:00.0"


def interrupts(*lines: str, cpus: int = 2) -> str:
    """/proc/interrupts of a machine; a line is ``NUMBER: description``."""
    head = "  " + "".join(f"{f'CPU{n}':>11}" for n in range(cpus))
    rows = [f"{line.partition(':')[0]:>4}:" + f"{0:>11}" * cpus + f" {line.partition(':')[2]}" for line in lines]
    return "\n".join([head, *rows, f" NMI:{0:>11}{0:>11}   Non-maskable interrupts", " ERR:          0"]) + "\n"


def nic(name: str, pci: str = PCI, vectors: range = range(0)) -> dict[str, str]:
    device = f"/sys/devices/pci0000:80/{pci}"
    files = {
        f"{device}/net/{name}/ifindex": "3\n",
        f"/sys/class/net/{name}": f"-> ../../devices/pci0000:80/{pci}/net/{name}",
        f"{device}/net/{name}/device": "-> ../..",
        f"{device}/msi_irqs/": "",
        f"/sys/bus/pci/devices/{pci}": f"-> ../../../devices/pci0000:80/{pci}",
    }
    return files | {f"{device}/msi_irqs/{number}": "msix\n" for number in vectors}


def irq(number: int, requested: str = "0-1", effective: str | None = "0") -> dict[str, str]:
    files = {f"/proc/irq/{number}/smp_affinity_list": f"{requested}\n"}
    return files | ({f"/proc/irq/{number}/effective_affinity_list": f"{effective}\n"} if effective is not None else {})


def read(files: HostFiles) -> dict[str, Irq]:
    found = read_irqs(files, read_nics(files))
    assert [each.number for each in found] == sorted(each.number for each in found)
    return {each.action: each for each in found}


# -------------------------------------------------------------------------------------------------- naming of the drivers


@pytest.mark.parametrize(
    ("action", "queue", "receives"),
    [
        ("eth0-TxRx-3", 3, True),  # igb, ixgbe, igc
        ("i40e-eth0-TxRx-3", 3, True),
        ("ice-eth0-TxRx-3", 3, True),
        ("eth0-rx-0", 0, True),  # e1000e, enic
        ("eth0-tx-0", 0, False),
        ("eth0-rxtx-3", 3, True),  # vmxnet3
        ("eth0-Tx-Rx-31", 31, True),  # ena
        ("eth0-3", 3, True),  # bnx2, sfc
        ("eth0-fp-3", 3, True),  # bnx2x, qede
        ("eth0-xdp-1", 1, False),  # sfc
        ("eth0-Rx3", 3, True),  # cxgb4
        ("eth0-q3-rx", 3, True),  # xen-netfront
        ("eth0-q3-tx", 3, False),
        (f"mlx5_comp3@pci:{PCI}", 3, True),
        (f"mlx4-3@{PCI}", 3, True),
        (f"mlx4-comp-3@pci:{PCI}", 3, True),
        (f"gve-ntfy-blk3@pci:{PCI}", 3, True),
        (f"mana_q3@pci:{PCI}", 3, True),
        ("virtio2-input.0", 0, True),
        ("virtio2-output.0", 0, False),
        ("eth0", None, False),
        ("eth0-event", None, False),
        ("eth0-event-4", None, False),
        ("virtio2-config", None, False),
        (f"mlx5_async0@pci:{PCI}", None, False),
        (f"mlx5_async_eq@pci:{PCI}", None, False),
        (f"mlx4-async@pci:{PCI}", None, False),
        (f"ena-mgmnt@pci:{PCI}", None, False),
        (f"gve-mgmnt@pci:{PCI}", None, False),
        (f"i40e-{PCI}:misc", None, False),
        (f"ice-{PCI}:oicr", None, False),
        ("eth0-mbx-0", None, False),
    ],
)
def test_the_queue_in_the_name_that_a_driver_gives(tree, action, queue, receives):
    files = tree(
        nic("eth0", vectors=range(40, 41)) | irq(40) | {"/proc/interrupts": interrupts(f"40: PCI-MSIX-{PCI} 1-edge  {action}")}
    )
    found = read(files)[action]
    assert (found.queue, found.receives) == (queue, receives)
    assert (found.device, found.pci) == ("eth0", PCI)
    assert found.identity == f"{PCI}/{action}"


@pytest.mark.parametrize(
    ("nic_name", "action", "queue"),
    [
        ("mgmt0", "mgmt0-TxRx-3", 3),
        ("event1", "event1-rx-2", 2),
        ("mgmt", "mgmt-3", 3),
        ("feed-1", "feed-1", None),
        ("feed-1", "feed-1-TxRx-5", 5),
        ("feed-1", "feed-1-event", None),
        ("lan", "mgmt0-TxRx-3", 3),  # renamed after its driver had asked for interrupts
        ("comp", f"mlx5_comp3@pci:{PCI}", 3),
        ("a.7", "i40e-a.7-TxRx-1", 1),
        ("a.7", "a.7", None),
    ],
)
def test_what_a_nic_is_called_says_nothing_about_its_queues(nic_name, action, queue):
    assert queue_of(action, nic_name) == queue


@pytest.mark.parametrize(
    ("line", "chip", "actions"),
    [
        ("PCI-MSI 34603008-edge      vmx0-rxtx-0", "PCI-MSI", ("vmx0-rxtx-0",)),
        ("PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0", "PCI-MSIX-0000:00:03.0", ("virtio2-input.0",)),
        ("IO-APIC   5-edge      ACPI:Ged", "IO-APIC", ("ACPI:Ged",)),
        ("IO-APIC    9-fasteoi   acpi", "IO-APIC", ("acpi",)),
        ("IR-PCI-MSI 524288-edge      eth2-TxRx-0", "IR-PCI-MSI", ("eth2-TxRx-0",)),
        ("IO-APIC  16-fasteoi   ehci_hcd:usb1, hpilo", "IO-APIC", ("ehci_hcd:usb1", "hpilo")),
        ("PCI-MSI 49152-edge      PCIe PME, aerdrv, pciehp", "PCI-MSI", ("PCIe PME", "aerdrv", "pciehp")),
        ("GICv3  30 Level     arch_timer", "GICv3", ("arch_timer",)),
        ("ITS-PCI-MSI-0000:01:00.0   0 Edge      nvme0q0", "ITS-PCI-MSI-0000:01:00.0", ("nvme0q0",)),
        ("Hyper-V PCIe MSI 4129-edge      mlx5_comp0@pci:a1", "Hyper-V PCIe MSI", ("mlx5_comp0@pci:a1",)),
        ("xen-dyn    -event     eth0-q0-rx", "xen-dyn", ("eth0-q0-rx",)),
        ("PCI-MSI-edge      eth0-TxRx-0", "PCI-MSI-edge", ("eth0-TxRx-0",)),
        ("IO-APIC-fasteoi   uhci_hcd:usb3, hpilo", "IO-APIC-fasteoi", ("uhci_hcd:usb3", "hpilo")),
        ("PCI-MSI 1-edge      a\x1b[2J\x1cb", "PCI-MSI", ("a\x1b[2J\x1cb",)),
        ("PCI-MSI 1-edge      \u2003x-TxRx-0", "PCI-MSI", ("\u2003x-TxRx-0",)),
    ],
)
def test_chip_and_actions_of_every_kind_of_line(tree, line, chip, actions):
    found = read(tree(irq(7) | {"/proc/interrupts": interrupts(f"7: {line}")}))[actions[0]]
    assert (found.chip, found.actions) == (chip, actions)


@pytest.mark.parametrize("line", ["IO-APIC   5-edge", "PCI-MSI 524288-edge", "GICv3  30 Level", "xen-dyn    -event", "", "x"])
def test_a_number_that_nobody_asked_for_is_not_in_use(tree, line):
    assert read(tree(irq(7) | {"/proc/interrupts": interrupts(f"7: {line}")})) == {}


def test_hostile_interrupt_files_are_read_without_harm(tree):
    files = tree(
        irq(7) | {"/proc/irq/²/": "", "/proc/interrupts": "CPU0\n²: 1 x  y\n" + "9" * 5000 + ": 1 PCI 1-edge  z\n:\n7\n\0\n"}
    )
    assert read(files) == {}
    assert read_irqs(HostFiles(files.root / "nothing"), ()) == ()


# ----------------------------------------------------------------------------------------------------------------- identity


def test_identity_survives_renumbering_and_renaming(tree, tmp_path):
    names = [f"eth2-TxRx-{n}" for n in range(4)]

    def host(first: int, called: str) -> dict[str, str]:
        files = nic(called, vectors=range(first, first + 4))
        for n in range(4):
            files |= irq(first + n)
        lines = [f"{first + n}: PCI-MSI {n}-edge  {name}" for n, name in enumerate(names)]
        return files | {"/proc/interrupts": interrupts(*lines)}

    before = read(tree(host(40, "eth2")))
    (tmp_path / "root").rename(tmp_path / "before")
    after = read(tree(host(97, "feed0")))
    assert [before[n].identity for n in names] == [after[n].identity for n in names] == [f"{PCI}/{n}" for n in names]
    assert {after[n].number for n in names} == {97, 98, 99, 100}
    assert before[names[0]].label == "eth2/eth2-TxRx-0"
    assert after[names[0]].label == "feed0/eth2-TxRx-0"


def test_vectors_of_one_name_are_told_apart_by_their_order(tree):
    files = tree(
        nic("eth2", vectors=range(40, 43))
        | irq(40) | irq(41) | irq(42)
        | {"/proc/interrupts": interrupts(*(f"{n}: PCI-MSI {n}-edge  eth2" for n in (40, 41, 42)))}
    )  # fmt: skip
    found = read_irqs(files, read_nics(files))
    assert [each.identity for each in found] == [f"{PCI}/eth2", f"{PCI}/eth2#1", f"{PCI}/eth2#2"]
    assert [each.label for each in found] == ["eth2/eth2", "eth2/eth2#1", "eth2/eth2#2"]


def test_wires_keep_their_number(tree):
    lines = {"/proc/interrupts": interrupts("1: IO-APIC 1-edge  i8042", "12: IO-APIC 12-edge  i8042")}
    found = read_irqs(tree(irq(1) | irq(12) | lines), ())
    assert [each.identity for each in found] == ["irq1/i8042", "irq12/i8042"]


@pytest.mark.parametrize(
    ("action", "device"),
    [
        ("eth1", "eth1"),
        ("eth1-rx-0", "eth1"),
        ("eth10-rx-0", "eth10"),
        ("eth1.5-0", "eth1.5"),
        ("ice-eth1-TxRx-0", "eth1"),
        ("eth", ""),
    ],
)
def test_without_msi_irqs_the_name_tells_whose_it_is(tree, action, device):
    nics = nic("eth1", "0000:01:00.0") | nic("eth10", "0000:02:00.0") | nic("eth1.5", "0000:03:00.0")
    found = read(tree(nics | irq(9) | {"/proc/interrupts": interrupts(f"9: IO-APIC 9-fasteoi  {action}")}))[action]
    assert (found.device, found.pci) == (device, "")


def test_two_ports_of_one_function(tree):
    files = tree(
        nic("eth6", vectors=range(40, 42)) | nic("eth7") | irq(40) | irq(41)
        | {"/proc/interrupts": interrupts("40: PCI-MSI 1-edge  eth7-0", "41: PCI-MSI 2-edge  mlx4-async@pci:x")}
    )  # fmt: skip
    found = read(files)
    assert found["eth7-0"].device == "eth7"
    assert found["mlx4-async@pci:x"].device == "eth6"


def test_a_name_comes_from_its_directory_where_the_table_is_missing(tree):
    found = read(tree(nic("eth2", vectors=range(40, 41)) | irq(40) | {"/proc/irq/40/eth2-TxRx-5/": ""}))
    assert found["eth2-TxRx-5"].queue == 5


# ----------------------------------------------------------------------------------------------------------------- affinity


def test_a_wish_and_what_is_in_effect(tree):
    files = tree(
        irq(7, "0-3", "2") | irq(8, "0-3", None) | irq(9, "0-3", "") | {"/proc/irq/default_smp_affinity": "f,0000000f\n"}
    )
    assert read_affinity(files, 7) == ({0, 1, 2, 3}, {2})
    assert read_affinity(files, 8) == ({0, 1, 2, 3}, {0, 1, 2, 3})  # before 4.13
    assert read_affinity(files, 9) == ({0, 1, 2, 3}, {0, 1, 2, 3})  # not started
    assert read_default_affinity(files) == {0, 1, 2, 3, 32, 33, 34, 35}
    with pytest.raises(FileNotFoundError):
        read_affinity(files, 10)


def test_a_default_affinity_that_is_none(tree):
    with pytest.raises(FileNotFoundError):
        read_default_affinity(tree({"/proc/": ""}))
    with pytest.raises(CpuListError):
        read_default_affinity(tree({"/proc/irq/default_smp_affinity": "all\n"}))


def test_an_affinity_that_cannot_be_read_is_empty(tree):
    files = tree({"/proc/irq/7/smp_affinity_list": "nonsense\n", "/proc/interrupts": interrupts("7: PCI-MSI 1-edge  x")})
    found = read(files)["x"]
    assert (found.requested, found.effective) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("action", "managed"),
    [
        ("nvme0q0", False),  # the admin queue
        ("nvme0q1", True),
        ("nvme12q64", True),
        ("virtio1-req.0", True),
        ("virtio3-request", True),
        ("megasas0-msix5", True),
        ("mpt3sas0-msix12", True),
        ("mpi3mr0-msix1", True),
        ("timer", True),
        ("virtio2-input.0", False),
        ("eth0-TxRx-0", False),
        ("nvme0q1-like", False),
    ],
)
def test_interrupts_that_the_kernel_places_are_known_by_name(tree, action, managed):
    found = read(tree(irq(7) | {"/proc/interrupts": interrupts(f"7: PCI-MSI 1-edge  {action}")}))[action]
    assert found.managed is managed


def test_interrupts_that_the_kernel_places_are_known_by_their_mode(tree):
    files = tree(
        irq(7) | irq(8) | {"/proc/interrupts": interrupts("7: PCI-MSI 1-edge  hpsa0-msix1", "8: PCI-MSI 1-edge  hpsa0-msix2")}
    )
    os.chmod(files.path("/proc/irq/7/smp_affinity_list"), 0o444)
    found = read(files)
    assert found["hpsa0-msix1"].managed
    assert not found["hpsa0-msix2"].managed


# ------------------------------------------------------------------------------------------------------------- real machines


def test_this_machines_interrupts_are_the_kernels():
    machine = HostFiles("/")
    if not machine.entries("/proc/irq"):
        pytest.skip("this machine shows no /proc/irq")
    found = read_irqs(machine, read_nics(machine))
    with open("/proc/interrupts", encoding="utf-8", errors="surrogateescape") as file:
        numbers = {int(line.split(":")[0]) for line in file if line.split(":")[0].strip().isdigit()}
    assert {each.number for each in found} <= numbers
    assert len({each.identity for each in found}) == len(found)
    for each in found:
        if machine.exists(f"/proc/irq/{each.number}"):
            directories = set(machine.entries(f"/proc/irq/{each.number}"))
            assert set(each.actions) <= directories | {a for a in each.actions if "/" in a}


def captured_interrupts(name: str) -> str:
    path = os.path.join(os.path.dirname(__file__), "../../../shared/hosts/interrupts", name)
    if not os.path.exists(path):
        pytest.skip("the captured /proc/interrupts are not in ../shared/hosts/interrupts")
    with open(path, encoding="ascii") as file:
        return file.read()


def machine_of(table: str, *nics: str) -> dict[str, str]:
    numbers = [int(line.split(":")[0]) for line in table.splitlines() if line.split(":")[0].strip().isdigit()]
    files = {"/proc/interrupts": table}
    for number in numbers:
        files |= irq(number, "0-11")
    for n, name in enumerate(nics):
        files |= nic(name, f"0000:0{n}:00.0")
    return files


def test_a_server_with_ixgbe(tree):
    table = captured_interrupts("12cpu-ixgbe")
    found = read(tree(machine_of(table, "eth0", "eth1", "eth2", "eth3")))
    assert len(found) == sum(line.split(":")[0].strip().isdigit() for line in table.splitlines())
    receiving = [(each.device, each.queue) for each in found.values() if each.receives]
    assert sorted(receiving) == [(name, queue) for name in ("eth0", "eth1") for queue in range(8)]
    assert (found["eth2"].device, found["eth2"].queue) == ("eth2", None)
    assert found["ehci_hcd:usb1"].actions == ("ehci_hcd:usb1", "uhci_hcd:usb6")
    assert found["timer"].managed


def test_a_server_with_mlx4_and_be2net(tree):
    table = captured_interrupts("32cpu-mlx4-be2net")
    found = read(tree(machine_of(table, "eth0", "eth1", "eth6", "eth7")))
    queues = {
        name: sorted(e.queue for e in found.values() if e.device == name and e.receives) for name in ("eth0", "eth6", "eth7")
    }
    assert queues == {"eth0": [1, 2, 3, 4], "eth6": list(range(8)), "eth7": list(range(8))}
    assert (found["eth0-tx-0"].queue, found["eth0-tx-0"].receives) == (0, False)
    assert (found["mlx4-comp-1@pci:0000:04:00.0"].queue, found["mlx4-async@pci:0000:04:00.0"].queue) == (1, None)


@pytest.mark.parametrize(
    ("nic_name", "queues", "receiving"),
    [("vmx1", range(8), 8), ("vio0", range(8), 8), ("igb0", range(8), 8), ("e1e0", range(1), 1)],
)
def test_the_nics_of_a_captured_guest(captured, nic_name, queues, receiving):
    files = HostFiles(captured("lab-8cpu-2numa"))
    mine = [each for each in read_irqs(files, read_nics(files)) if each.device == nic_name]
    assert sorted(each.queue for each in mine if each.receives) == list(queues)[:receiving]
    assert all(each.pci for each in mine)
    assert all(each.effective <= each.requested or len(each.effective) == 1 for each in mine)


def test_identities_of_captured_hosts_are_one_to_one(captured):
    for name in ("lab-8cpu-2numa", "lab-8cpu-2numa-isolated"):
        files = HostFiles(captured(name))
        found = read_irqs(files, read_nics(files))
        assert found
        assert len({each.identity for each in found}) == len(found)
