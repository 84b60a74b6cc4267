"""Where packets will be lost: filters, buffers, pause, rings and links.

Source: Documentation/networking/ip-sysctl.rst (rp_filter), net/core/sock.c (rmem_max), Documentation/PCI/sysfs-pci.rst.
"""

import re
from collections.abc import Iterator

from tuner.doctor.finding import Finding
from tuner.doctor.view import View
from tuner.host.cpulist import CpuSet, format_list
from tuner.host.nics import Nic
from tuner.host.text import printable

# A burst: what arrives at line rate while a receiver is away for a scheduler's slice.
_AWAY_S = 0.003
_SKB_TRUESIZE = 2304  # bytes that a small datagram takes of a socket's buffer (one 2 KiB fragment and the sk_buff)
_BUFFER = 2048  # bytes of a receive buffer in most drivers
_DDIO_SHARE = 0.1  # two ways of twenty: what a NIC's writes may use of the last-level cache
_UNITS = {"K": 10, "M": 20, "G": 30}


def _part(view: View, nic: Nic) -> str:
    return next((part for part, name in view.bindings.items() if name == nic.name), "PART")


def _feeds(view: View) -> list[Nic]:
    """NICs that take a feed: a group is joined there, or a profile binds them."""
    return [n for n in view.inventory.nics if n.physical and (n.name in view.groups or n.name in view.bindings.values())]


def reverse_path(view: View) -> Iterator[Finding]:
    """Strict reverse-path filtering where groups are joined: a source that is not routed back through it is dropped."""
    everywhere = view.files.number("/proc/sys/net/ipv4/conf/all/rp_filter") or 0
    for name in view.groups:
        path = f"/proc/sys/net/ipv4/conf/{name}/rp_filter"
        own = view.files.number(path) or 0
        if max(everywhere, own) == 1 and name != "lo":
            shown = printable(name)
            yield Finding(
                "rp-filter",
                "high",
                shown,
                f"strict reverse-path filtering on {shown}, on which {len(view.groups[name])} groups are joined",
                (f"/proc/sys/net/ipv4/conf/all/rp_filter: {everywhere}", f"{printable(path)}: {own}", "/proc/net/igmp"),
                "multicast whose source is not routed back through this interface is dropped without a word "
                "(TcpExt IPReversePathFilter counts it)",
                f'[sysctl] "net.ipv4.conf.{shown}.rp_filter" = 2',
            )


def receive_buffers(view: View) -> Iterator[Finding]:
    """Sockets may not ask for a buffer that holds a burst."""
    limit = view.files.number("/proc/sys/net/core/rmem_max")
    if limit is None:
        return
    for nic in _feeds(view):
        if not nic.speed_mbps or nic.name not in view.groups:
            continue
        packets = int(nic.speed_mbps * 1e6 * _AWAY_S / 8 / 300)  # of 300 bytes on the wire
        need = packets * _SKB_TRUESIZE
        if limit < need:
            yield Finding(
                "receive-buffer",
                "medium",
                printable(nic.name),
                f"applications may ask for {limit} bytes of socket buffer; {_AWAY_S * 1e3:.0f} ms of small packets at "
                f"{nic.speed_mbps} Mb/s need {need}",
                (f"/proc/sys/net/core/rmem_max: {limit}", f"/sys/class/net/{printable(nic.name)}/speed: {nic.speed_mbps}"),
                "a receiver that is away loses what does not fit (Udp RcvbufErrors); SO_RCVBUF is cut to this limit",
                f'[sysctl] "net.core.rmem_max" = "at-least:{1 << (need - 1).bit_length()}", and let the application ask for it',
            )


def pause(view: View) -> Iterator[Finding]:
    """Pause frames on a port that takes a feed."""
    for nic in _feeds(view):
        found = view.pause(nic.name)
        if found and any(found):
            ways = " and ".join(word for word, on in zip(("obeys", "sends"), found, strict=True) if on)
            yield Finding(
                "pause",
                "medium",
                printable(nic.name),
                f"{printable(nic.name)} {ways} pause frames",
                (f"ethtool -a {printable(nic.name)}",),
                "a NIC without descriptors stops the switch instead of dropping: the loss moves to where nobody here sees it, "
                "and to other receivers",
                f"[nic.{_part(view, nic)}] pause = {{ rx = false, tx = false }}",
            )


def ring_and_cache(view: View) -> Iterator[Finding]:
    """Receive rings larger than what a NIC may keep in the last-level cache."""
    cache = _cache_bytes(view)
    for nic in _feeds(view):
        try:
            size = view.inventory.host.syscalls.rings(nic.name).rx
        except OSError:
            continue
        queues = max(nic.rx_queues, 1)
        used, share = size * queues * _BUFFER, int(cache * _DDIO_SHARE)
        if cache and used > 2 * share:
            fitting = max(512, 1 << max(0, (share // (queues * _BUFFER)).bit_length() - 1))
            yield Finding(
                "ring-cache",
                "low",
                printable(nic.name),
                f"{queues} rings of {size} descriptors are {used >> 20} MiB of buffers; about {share >> 20} MiB of the "
                f"last-level cache ({cache >> 20} MiB) take a NIC's writes",
                (f"ethtool -g {printable(nic.name)}", "/sys/devices/system/cpu/cpu0/cache/index3/size"),
                "packets go to memory and back; deep rings pay only where loss for want of descriptors was seen",
                f'[nic.{_part(view, nic)}] rings = {{ rx = "max:{fitting}" }}, or fewer queues: channels',
            )


def _cache_bytes(view: View) -> int:
    base = "/sys/devices/system/cpu/cpu0/cache"
    sizes = [0]
    for index in view.files.entries(base):
        match = re.fullmatch(r"(\d{1,9})([KMG])", view.files.optional(f"{base}/{index}/size") or "")
        if match and view.files.optional(f"{base}/{index}/level") == "3":
            sizes.append(int(match[1]) << _UNITS[match[2]])
    return max(sizes)


def link_speed(view: View) -> Iterator[Finding]:
    """A NIC whose PCIe link came up slower or narrower than it can."""
    for nic in view.inventory.nics:
        base = f"/sys/bus/pci/devices/{nic.pci}"
        if not nic.pci:
            continue
        speed = [_number(view.files.optional(f"{base}/{which}_link_speed")) for which in ("current", "max")]
        width = [_number(view.files.optional(f"{base}/{which}_link_width")) for which in ("current", "max")]
        slower, narrower = 0 < speed[0] < speed[1], 0 < width[0] < width[1] < 255
        if slower or narrower:
            yield Finding(
                "pcie-link",
                "high" if nic.up else "low",
                printable(nic.name),
                f"the PCIe link of {printable(nic.name)} is {speed[0]:g} GT/s x{width[0]:g} of {speed[1]:g} GT/s x{width[1]:g}",
                tuple(
                    f"{base}/{name}"
                    for name in ("current_link_speed", "max_link_speed", "current_link_width", "max_link_width")
                ),
                "at a burst the NIC's own buffer fills because the bus does not take it: no setting of the host cures that",
                "another slot, its settings in the firmware, or the card seated anew; aer_dev_correctable tells of errors",
            )


def _number(text: str | None) -> float:
    match = re.match(r"\d{1,4}(?:\.\d{1,2})?", text or "")
    return float(match[0]) if match else 0.0


def one_queue(view: View) -> Iterator[Finding]:
    """Lines A and B of a feed that share a queue, or a core: one starvation takes both."""
    for nic in _feeds(view):
        groups = view.groups.get(nic.name, ())
        if len(groups) > 1 and nic.rx_queues == 1:
            yield Finding(
                "one-queue",
                "medium",
                printable(nic.name),
                f"{len(groups)} groups arrive at the one receive queue of {printable(nic.name)}",
                ("/proc/net/igmp", f"/sys/class/net/{printable(nic.name)}/queues"),
                "where they are lines A and B of a feed, one core that is late, or one full ring, takes both",
                f"lines A and B on two NICs, or [nic.{_part(view, nic)}] channels = {{ combined = 2 }}, a rule for each",
            )
    landing: dict[CpuSet, list[Nic]] = {}
    for nic in _feeds(view):
        if nic.name in view.groups:
            queues = [irq for irq in view.inventory.irqs if irq.device == nic.name and irq.receives]
            cpus = frozenset(cpu for irq in queues for cpu in irq.effective)
            if cpus:
                landing.setdefault(cpus, []).append(nic)
    for cpus, nics in landing.items():
        if len(nics) > 1 and len(cpus) == 1:
            names = " and ".join(printable(nic.name) for nic in nics)
            yield Finding(
                "one-queue",
                "medium",
                names,
                f"all receive queues of {names} interrupt CPU {format_list(cpus)}",
                ("/proc/irq/N/effective_affinity_list", "/proc/net/igmp"),
                "where they are lines A and B of a feed, one core that is late takes both",
                "[irq] with a core set of its own for each of them",
            )


LINTS = (reverse_path, receive_buffers, pause, ring_and_cache, link_speed, one_queue)
