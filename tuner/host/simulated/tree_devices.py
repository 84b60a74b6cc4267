"""PCI functions, network interfaces and their driver answers (``/ethtool/<if>.json``) of a simulated host.

The feed NICs answer to the name of ixgbe, so that its counters and rounding mean what they mean in the field. Their firmware
says "simulated". One thing is harsher than on ixgbe: a ring change also resets interrupts and RSS, as it does on drivers that
make their vectors anew. And they have more to set than ixgbe has: every coalesce value, FEC, a copy-break.
"""

from tuner.host.cpulist import format_list, format_mask
from tuner.host.simulated.documents import canonical
from tuner.host.simulated.nic_stack import stack_document, write_conf
from tuner.host.simulated.shape import RELEASE, PciFunction, Shape, nics, pci_functions
from tuner.host.simulated.writer import TreeWriter

READ_ONLY = 0o444
RSS_ENTRIES = 128

STATISTICS = (
    "collisions",
    "multicast",
    "rx_bytes",
    "rx_compressed",
    "rx_crc_errors",
    "rx_dropped",
    "rx_errors",
    "rx_fifo_errors",
    "rx_frame_errors",
    "rx_length_errors",
    "rx_missed_errors",
    "rx_nohandler",
    "rx_over_errors",
    "rx_packets",
    "tx_aborted_errors",
    "tx_bytes",
    "tx_carrier_errors",
    "tx_compressed",
    "tx_dropped",
    "tx_errors",
    "tx_fifo_errors",
    "tx_heartbeat_errors",
    "tx_packets",
    "tx_window_errors",
)

# drivers/pci/pcie/aer.c, the names of the first errors of each severity
_AER = (
    ("correctable", "RxErr 0\nBadTLP 0\nBadDLLP 0\nRollover 0\nTimeout 0\nNonFatalErr 0", "TOTAL_ERR_COR"),
    ("nonfatal", "DLP 0\nSDES 0\nTLP 0\nFCP 0\nCmpltTO 0\nCmpltAbrt 0", "TOTAL_ERR_NONFATAL"),
    ("fatal", "DLP 0\nSDES 0\nTLP 0\nFCP 0\nCmpltTO 0\nCmpltAbrt 0", "TOTAL_ERR_FATAL"),
)

_IXGBE_STATISTICS = (
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
    "multicast",
    "collisions",
    "rx_over_errors",
    "rx_crc_errors",
    "rx_frame_errors",
    "rx_fifo_errors",
    "rx_missed_errors",
    "rx_long_length_errors",
    "rx_short_length_errors",
    "rx_csum_offload_errors",
    "tx_timeout_count",
    "lsc_int",
    "broadcast",
    "rx_no_buffer_count",
    "alloc_rx_page_failed",
    "rx_no_dma_resources",
    "fdir_match",
    "fdir_miss",
    "fdir_overflow",
    "rx_flow_control_xon",
    "rx_flow_control_xoff",
    "tx_flow_control_xon",
    "tx_flow_control_xoff",
)


def write_devices(tree: TreeWriter, shape: Shape) -> None:
    """PCI, network interfaces and what their drivers answer."""
    for function in pci_functions(shape):
        _write_function(tree, shape, function)
        if function.nic:
            base = f"{function.directory}/net/{function.name}"
            _write_interface(tree, base, function.name, function.ifindex, function.mac)
            _write_port(tree, base, function)
            write_queues(tree, shape.cpus, base, range(function.queues), function.queues)
            tree.link(f"{base}/device", function.directory)
            tree.put(f"/ethtool/{function.name}.json", canonical(ethtool_document(function)))
    write_conf(tree, ("lo", *(nic.name for nic in nics(shape))))
    lo = "/sys/devices/virtual/net/lo"
    _write_interface(tree, lo, "lo", 1, "00:00:00:00:00:00")
    tree.values(lo, {"operstate": "unknown", "carrier": 1, "type": 772, "carrier_changes": 0}, READ_ONLY)
    tree.values(lo, {"flags": "0x9", "mtu": 65536, "tx_queue_len": 1000})
    write_queues(tree, shape.cpus, lo, range(1), 1)


def _write_function(tree: TreeWriter, shape: Shape, function: PciFunction) -> None:
    local, base = shape.node_cpus(function.node), function.directory
    tree.values(
        base,
        {
            "vendor": function.vendor,
            "device": function.device,
            "class": function.pci_class,
            "revision": "0x01",
            "subsystem_vendor": function.vendor,
            "subsystem_device": "0x0001",
            "irq": 16,
            "local_cpus": format_mask(local, shape.cpus),
            "local_cpulist": format_list(local),
            "current_link_speed": "8.0 GT/s PCIe",
            "max_link_speed": "8.0 GT/s PCIe",
            "current_link_width": 8,
            "max_link_width": 8,
        },
        READ_ONLY,
    )
    if function.nic:
        errors = {f"aer_dev_{name}": f"{kinds}\n{total} 0" for name, kinds, total in _AER}
        tree.values(base, errors, READ_ONLY)
    tree.values(base, {"numa_node": function.node, "enable": 1, "power/control": "auto" if function.nic else "on"})
    tree.values(f"{base}/msi_irqs", {str(irq): "msix" for irq in function.irqs}, READ_ONLY)
    driver = f"/sys/bus/pci/drivers/{function.driver}"
    tree.link(f"{base}/driver", driver)
    tree.link(f"{driver}/{function.address}", base)
    tree.link(f"/sys/bus/pci/devices/{function.address}", base)
    port = base.rsplit("/", 1)[0]
    tree.values(port, {"class": "0x060400", "vendor": "0x8086", "device": "0x352a"}, READ_ONLY)
    tree.values(port, {"numa_node": function.node})
    tree.link(f"/sys/bus/pci/devices/{port.rsplit('/', 1)[1]}", port)


def _write_interface(tree: TreeWriter, base: str, name: str, ifindex: int, mac: str) -> None:
    tree.values(
        base,
        {
            "address": mac,
            "addr_len": 6,
            "addr_assign_type": 0,
            "broadcast": "ff:ff:ff:ff:ff:ff",
            "ifindex": ifindex,
            "iflink": ifindex,
            "dev_id": "0x0",
            "dev_port": 0,
            "dormant": 0,
            "testing": 0,
            "name_assign_type": 4,
            "uevent": f"INTERFACE={name}\nIFINDEX={ifindex}",
        },
        READ_ONLY,
    )
    tree.values(base, {"gro_flush_timeout": 0, "napi_defer_hard_irqs": 0, "threaded": 0, "netdev_group": 0, "ifalias": ""})
    tree.values(f"{base}/statistics", dict.fromkeys(STATISTICS, 0), READ_ONLY)
    tree.link(f"/sys/class/net/{name}", base)


def _write_port(tree: TreeWriter, base: str, function: PciFunction) -> None:
    tree.values(
        base,
        {
            "operstate": "up",
            "speed": function.speed_mbps,
            "duplex": "full",
            "type": 1,
            "carrier_changes": 2,
            "carrier_up_count": 1,
            "carrier_down_count": 1,
        },
        READ_ONLY,
    )
    tree.values(base, {"flags": "0x1003", "mtu": 1500, "tx_queue_len": 1000, "carrier": 1})


def write_queues(tree: TreeWriter, cpus: int, base: str, queues: range, allocated: int) -> None:
    """The attributes of some queues of an interface, as they are when the queues are new."""
    none = format_mask((), cpus)
    for queue in queues:
        tree.values(f"{base}/queues/rx-{queue}", {"rps_cpus": none, "rps_flow_cnt": 0})
        tree.values(f"{base}/queues/tx-{queue}", {"xps_cpus": none, "xps_rxqs": format_mask((), allocated), "tx_maxrate": 0})
        tree.values(f"{base}/queues/tx-{queue}", {"tx_timeout": 0}, READ_ONLY)
        limits = {"limit": 0, "limit_max": 1879048192, "limit_min": 0, "hold_time": 1000}
        tree.values(f"{base}/queues/tx-{queue}/byte_queue_limits", limits)
        tree.values(f"{base}/queues/tx-{queue}/byte_queue_limits", {"inflight": 0}, READ_ONLY)


DEFAULT_COALESCE: dict[str, bool | int] = {
    "rx_usecs": 1,
    "tx_usecs": 0,
    "rx_frames": 64,
    "tx_frames": 64,
    "rx_usecs_irq": 8,
    "tx_usecs_irq": 8,
    "rx_frames_irq": 16,
    "tx_frames_irq": 16,
    "rx_usecs_high": 50,
    "tx_usecs_high": 50,
    "adaptive_rx": True,
    "adaptive_tx": True,
}


def default_indirection(queues: int) -> list[int]:
    """The RSS table as drivers set it: the queues dealt out in turn (ethtool_rxfh_indir_default)."""
    return [entry % queues for entry in range(RSS_ENTRIES)]


def ethtool_document(function: PciFunction) -> dict[str, object]:
    """What the driver of a NIC answers that is no file, with the driver's defaults."""
    queues = [f"{way}_queue_{q}" for way in ("tx", "rx") for q in range(function.queues)]
    per_queue = [f"{queue}_{what}" for queue in queues for what in ("packets", "bytes")]
    key = ":".join(f"{(i * 73 + 41) % 256:02x}" for i in range(40))
    return {
        "driver": function.driver,
        "version": RELEASE,
        "firmware": "simulated",
        "bus": function.address,
        "permanent_address": function.mac,
        "rings": {"rx": 512, "tx": 512, "rx_max": 4096, "tx_max": 4096},
        "channels": {
            "rx": 0,
            "tx": 0,
            "other": 1,
            "combined": function.queues,
            "rx_max": 0,
            "tx_max": 0,
            "other_max": 1,
            "combined_max": function.queues,
        },
        "coalesce": dict(DEFAULT_COALESCE),
        "features": {
            name: {"active": on, "fixed": fixed, "requested": on and not fixed}
            for name, on, fixed in (
                ("rx-gro", True, False),
                ("rx-gro-hw", True, False),
                ("rx-lro", False, False),
                ("rx-checksum", True, False),
                ("rx-hashing", True, False),
                ("rx-ntuple-filter", False, False),
                ("rx-vlan-hw-parse", True, False),
                ("tx-tcp-segmentation", True, False),
                ("tx-generic-segmentation", True, False),
                ("highdma", True, True),
            )
        },
        "pause": {"autoneg": False, "rx": True, "tx": True},
        "eee": {"enabled": True, "active": True},
        "fec": {"mode": "auto", "active": "rs"},
        "tunables": {"rx_copybreak": 256},
        "private_flags": {"legacy-rx": False, "vf-ipsec": False},
        **stack_document(function.queues),
        "rss": {"indirection": default_indirection(function.queues), "key": key, "function": "toeplitz"},
        "stats": dict.fromkeys((*_IXGBE_STATISTICS, *per_queue), 0),
    }


def routes(shape: Shape) -> str:
    """The content of /proc/net/route: no route leaves by a NIC that takes a feed, the default one by that for management."""
    head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
    lines = [head]
    if shape.management:
        lines.append("eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0")
    return "".join(f"{line:<127}\n" for line in lines)


def memberships(shape: Shape) -> str:
    """The content of /proc/net/igmp: each NIC of a feed has joined two groups besides the one of all hosts."""
    lines = ["Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"]
    for name, ifindex, groups in [
        ("lo", 1, ()),
        *((n.name, n.ifindex, ("0101FDEF", "0201FDEF") if n.name != "eth0" else ()) for n in nics(shape)),
    ]:
        lines.append(f"{ifindex}\t{name:<10}: {len(groups) + 1:>5}      V3\n")
        lines += [f"\t\t\t\t{group} {1:>5} 0:00000000\t\t0\n" for group in (*groups, "010000E0")]
    return "".join(lines)
