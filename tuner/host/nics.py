"""Network interfaces, from sysfs alone: what they are, where they sit, how many queues they have.

Rings, channels and the rest that has no file come through the ``Syscalls`` port. Facts behind the reading:

* ``device`` of a virtio NIC points at the virtio device; the PCI function, which owns the interrupts, is its parent.
* ``numa_node`` is -1 where the firmware says nothing, and then ``local_cpus`` names every CPU.
* ``carrier`` and ``speed`` answer EINVAL while the interface is down; ``speed`` is -1 (or 2^32 - 1) while the link is.
* Any byte but ``/``, NUL and white space may stand in a name, 15 of them at most (net/core/dev.c dev_valid_name).
* A name is not an identity: it changes with udev and with replugging. (PCI address, permanent MAC) is.
"""

import re
from dataclasses import dataclass

from tuner.host.cpulist import CpuListError, CpuSet, parse_list
from tuner.host.files import HostFiles

NET_ROOT = "/sys/class/net"
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
NAME_BYTES = 15


@dataclass(frozen=True, slots=True)
class Nic:
    """One network interface. ``node`` is -1 and ``local_cpus`` empty where the host does not say."""

    name: str
    ifindex: int
    pci: str | None
    mac: str
    driver: str
    node: int
    local_cpus: CpuSet
    up: bool
    carrier: bool
    speed_mbps: int | None
    mtu: int
    rx_queues: int
    tx_queues: int
    default_route: bool
    permanent_mac: str = ""  # only ethtool knows it: empty where nobody asked, or the device has none

    @property
    def physical(self) -> bool:
        """Whether a device stands behind the interface: not loopback, bridge, VLAN, veth."""
        return self.pci is not None or bool(self.driver)

    @property
    def identity(self) -> str:
        """What stays when the name changes: PCI address and permanent MAC; for a virtual interface its name alone.

        The address in use is another one where the NIC is part of a bond.
        """
        return f"{self.pci}/{self.permanent_mac or self.mac}" if self.pci else f"virtual/{self.name}"


def valid_name(name: str) -> bool:
    """Whether the kernel would take this as an interface name."""
    raw = name.encode("utf-8", "surrogateescape")
    if not 0 < len(raw) <= NAME_BYTES or name in (".", ".."):
        return False
    return not any(byte in b"/:\0\xa0" or bytes((byte,)).isspace() for byte in raw)  # 0xa0 is white space in lib/ctype.c


def read_nics(files: HostFiles) -> tuple[Nic, ...]:
    """All interfaces of this network namespace, by name. A dozen small reads each."""
    routed = default_route_names(files)
    names = [n for n in files.entries(NET_ROOT) if valid_name(n) and files.entries(f"{NET_ROOT}/{n}")]
    return tuple(_read_nic(files, name, name in routed) for name in names)


def names_beneath(files: HostFiles, name: str) -> tuple[str, ...]:
    """The interfaces through which those on top of them receive: a bond's ports, a VLAN's device; in turn down to the lowest.

    Source: the links ``lower_*`` of sysfs (net/core/dev.c, netdev_adjacent_sysfs_add).
    """
    found: list[str] = []
    todo = [name] if valid_name(name) else []
    while todo:
        links = files.entries(f"{NET_ROOT}/{todo.pop()}")
        lower = [link.removeprefix("lower_") for link in links if link.startswith("lower_")]
        fresh = [each for each in lower if valid_name(each) and each != name and each not in found]
        found += fresh
        todo += fresh
    return tuple(found)


def _read_nic(files: HostFiles, name: str, default_route: bool) -> Nic:
    base = f"{NET_ROOT}/{name}"
    pci = pci_address(files, name)
    queues = files.entries(f"{base}/queues")
    speed = files.number(f"{base}/speed")
    node = files.number(f"/sys/bus/pci/devices/{pci}/numa_node") if pci else None
    if node is None:
        node = files.number(f"{base}/device/numa_node")
    flags = files.optional(f"{base}/flags")
    return Nic(
        name=name,
        ifindex=files.number(f"{base}/ifindex") or 0,
        pci=pci,
        mac=files.optional(f"{base}/address") or "",
        driver=_driver(files, base),
        node=-1 if node is None else node,
        local_cpus=_local_cpus(files, base, pci, node),
        up=_is_up(flags),
        carrier=files.optional(f"{base}/carrier") == "1",
        speed_mbps=speed if speed is not None and 0 < speed < 1 << 31 else None,
        mtu=files.number(f"{base}/mtu") or 0,
        rx_queues=sum(q.startswith("rx-") for q in queues),
        tx_queues=sum(q.startswith("tx-") for q in queues),
        default_route=default_route,
    )


def _is_up(flags: str | None) -> bool:
    try:
        return flags is not None and bool(int(flags, 16) & 1)  # IFF_UP
    except ValueError:
        return False


def pci_address(files: HostFiles, name: str) -> str | None:
    """The PCI function behind an interface: the last PCI address on the path of its device, behind a virtio device too."""
    link = files.link(f"{NET_ROOT}/{name}/device")
    if link is None:
        return None
    resolved = files.resolved(f"{NET_ROOT}/{name}/device")
    found = [part for part in (*resolved.split("/"), *link.split("/")) if _PCI.fullmatch(part)]
    in_path = [part for part in resolved.split("/") if _PCI.fullmatch(part)]
    return in_path[-1] if in_path else (found[-1] if found else None)


def _driver(files: HostFiles, base: str) -> str:
    link = files.link(f"{base}/device/driver")
    return link.rstrip("/").rsplit("/", 1)[-1] if link else ""


def _local_cpus(files: HostFiles, base: str, pci: str | None, node: int | None) -> CpuSet:
    if node is None or node < 0:
        return frozenset()
    for path in (
        f"/sys/devices/system/node/node{node}/cpulist",
        f"/sys/bus/pci/devices/{pci}/local_cpulist",
        f"{base}/device/local_cpulist",
    ):
        text = files.optional(path)
        if text:
            try:
                return parse_list(text)
            except CpuListError:
                continue
    return frozenset()


def default_route_names(files: HostFiles) -> frozenset[str]:
    """The interfaces that carry a default route: IPv4 from /proc/net/route, IPv6 from /proc/net/ipv6_route.

    /proc/net is a link to self/net, which a captured tree may lack: then nothing is known to be routed.
    """
    names = set()
    # names may hold what str.split and str.splitlines take for white space: \x1c, or a wide blank in UTF-8
    for line in (files.optional("/proc/net/route") or "").split("\n")[1:]:
        fields = line.split("\t")
        if len(fields) > 7 and fields[1] == "00000000" and fields[7] == "00000000":
            names.add(fields[0])
    for line in (files.optional("/proc/net/ipv6_route") or "").split("\n"):
        fields = [field for field in line.split(" ") if field]
        # destination ::/0 over a real gateway; the kernel lists an unreachable ::/0 on lo besides
        if len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00" and fields[9] != "lo":
            names.add(fields[9])
    return frozenset(names)
