"""The system calls of a host that is a tree of files: ``/ethtool/<if>.json`` and ``/threads.json`` answer for it.

Any tree may have them, also a captured one; where they are missing, threads are read from /proc, and what ethtool would say
is EOPNOTSUPP.
"""

import errno
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from tuner.host.cpulist import CpuListError, CpuSet, format_list, parse_list
from tuner.host.dma_latency import DmaLatency
from tuner.host.driver_statistics import DriverStatistics
from tuner.host.ethtool_values import CHANNELS, Feature, Value, Values
from tuner.host.files import HostFiles
from tuner.host.grub import BootMenu, read_menu, unstage
from tuner.host.irqbalance import Bans
from tuner.host.netlink import Messages
from tuner.host.nics import valid_name
from tuner.host.services import ServiceState
from tuner.host.simulated import grub, nic_values, services
from tuner.host.simulated.cgroups import ROOT
from tuner.host.simulated.documents import Document, change_document, read_document
from tuner.host.simulated.kernel import SimulatedKernel
from tuner.host.simulated.nic_syscalls import SimulatedNicSyscalls
from tuner.host.simulated.tree_power import DMA_LATENCY
from tuner.host.simulated.tree_threads import THREADS
from tuner.host.syscalls import Channels, Driver, Rings
from tuner.host.threads import Thread, read_thread, thread_ids

DRIVER_SETTINGS = ("channels", "private_flags", "pause", "coalesce", "rss")
RING_MIN, RING_STEP = 64, 8  # IXGBE_MIN_RXD, IXGBE_REQ_RX_DESCRIPTOR_MULTIPLE


class SimulatedSyscalls(SimulatedNicSyscalls):
    """The port to a tree of files. ``kernel``: what answers writes to it, None for a tree that just keeps them."""

    def __init__(self, files: HostFiles, kernel: SimulatedKernel | None = None) -> None:
        self._files = files
        self._kernel = kernel

    def driver(self, ifname: str) -> Driver:
        """See Syscalls."""
        document = self._ethtool(ifname)
        text = {key: _text(document.get(key, "")) for key in ("driver", "version", "bus", "firmware")}
        return Driver(name=text["driver"], version=text["version"], bus=text["bus"], firmware=text["firmware"])

    def permanent_address(self, ifname: str) -> str | None:
        """See Syscalls."""
        return _text(self._ethtool(ifname).get("permanent_address", "")) or None

    def rings(self, ifname: str) -> Rings:
        """See Syscalls."""
        part = self._part(ifname, "rings")
        return Rings(*(_number(part, key, ifname) for key in ("rx", "tx", "rx_max", "tx_max")))

    def set_rings(self, ifname: str, rx: int | None = None, tx: int | None = None) -> None:
        """See Syscalls. As ixgbe: sizes are clamped from below and rounded up to a multiple of 8; equal ones do nothing."""
        now = self.rings(ifname)
        wanted_rx = now.rx if rx is None else _rounded(rx, now.rx_max, ifname)
        wanted_tx = now.tx if tx is None else _rounded(tx, now.tx_max, ifname)
        if (wanted_rx, wanted_tx) == (now.rx, now.tx):
            return
        if self._kernel is not None:
            self._kernel.set_rings(ifname, wanted_rx, wanted_tx)
        else:
            change_document(self._path(ifname), lambda document: document["rings"].update(rx=wanted_rx, tx=wanted_tx))

    def channels(self, ifname: str) -> Channels:
        """See Syscalls."""
        part = self._part(ifname, "channels")
        names = ("rx", "tx", "other", "combined", "rx_max", "tx_max", "combined_max")
        return Channels(*(_number(part, name, ifname) for name in names))

    def features(self, ifname: str) -> dict[str, Feature]:
        """See Syscalls."""
        return nic_values.features(self._ethtool(ifname))

    def nic_values(self, ifname: str, group: str) -> Values:
        """See Syscalls."""
        if group == CHANNELS:
            now = self.channels(ifname)
            counts = {"rx": (now.rx, now.rx_max), "tx": (now.tx, now.tx_max), "combined": (now.combined, now.combined_max)}
            return {name: count for name, (count, maximum) in counts.items() if maximum}
        return nic_values.values(self._ethtool(ifname), group)

    def set_nic_values(self, ifname: str, group: str, values: Mapping[str, Value]) -> None:
        """See Syscalls."""
        if self._kernel is not None and group == CHANNELS:
            if values.keys() != {"combined"}:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), ifname)
            self._kernel.set_channels(ifname, int(values["combined"]))
            return
        change_document(self._path(ifname), lambda document: nic_values.change(document, group, values))

    def driver_settings(self, ifname: str) -> dict[str, str]:
        """See Syscalls."""
        document = self._ethtool(ifname)
        parts = {name: document.get(name) for name in DRIVER_SETTINGS}
        return {name: json.dumps(part, separators=(",", ":")) for name, part in parts.items() if isinstance(part, dict)}

    def set_driver_setting(self, ifname: str, name: str, value: str) -> None:
        """See Syscalls."""
        if name not in DRIVER_SETTINGS:
            raise ValueError(f"no driver setting {name!r}")
        part = json.loads(value)
        if not isinstance(part, dict):
            raise ValueError(f"{name} is no object")
        # a snapshot of an earlier version has fewer names in it; and nobody sets what a driver has at most
        part = {key: value for key, value in part.items() if not key.endswith("_max")}
        change_document(self._path(ifname), lambda document: document.update({name: {**document.get(name, {}), **part}}))

    def statistics(self, ifname: str) -> dict[str, int]:
        """See Syscalls."""
        found = self.driver_statistics(ifname)
        return dict(zip(found.names, found.values, strict=True))

    def driver_statistics(self, ifname: str) -> DriverStatistics:
        """See Syscalls. ``stats`` is an object, or a list of [name, value] where names repeat."""
        part = self._ethtool(ifname).get("stats")
        rows = list(part.items()) if isinstance(part, dict) else part
        if not isinstance(rows, list):
            raise OSError(errno.EOPNOTSUPP, "the document has no stats", ifname)
        if not all(isinstance(row, list | tuple) and len(row) == 2 for row in rows):
            raise OSError(errno.EBADMSG, "stats are no pairs of name and value", ifname)
        return DriverStatistics(
            tuple(_text(name) for name, _ in rows), tuple(_number({"stats": value}, "stats", ifname) for _, value in rows)
        )

    def netlink_dump(self, protocol: int, kind: int, payload: bytes) -> Messages:  # noqa: ARG002
        """See Syscalls."""
        raise OSError(errno.EOPNOTSUPP, "files answer no netlink requests", str(self._files.root))

    def threads(self) -> tuple[Thread, ...]:
        """See Syscalls."""
        if not self._files.exists(THREADS):
            found = [read_thread(self._files, pid, tid) for pid, tid in thread_ids(self._files)]
            return tuple(thread for thread in found if thread is not None)
        rows = read_document(self._files.path(THREADS)).get("threads")
        if not isinstance(rows, list):
            raise OSError(errno.EBADMSG, "no list of threads", THREADS)
        effective: dict[str, CpuSet] = {}
        return tuple(self._thread(row, effective) for row in rows)

    def set_affinity(self, tid: int, cpus: CpuSet) -> None:
        """See Syscalls."""
        if not self._files.exists(THREADS):
            raise OSError(errno.EOPNOTSUPP, "this tree has no threads.json", str(self._files.root))

        def change(document: Document) -> None:
            row = next((row for row in document["threads"] if row["tid"] == tid), None)
            if row is None:
                raise OSError(errno.ESRCH, os.strerror(errno.ESRCH), f"thread {tid}")
            if not row["movable"] or not cpus & self._group_cpus(row["cgroup"]):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), f"thread {tid}")
            row["affinity"] = format_list(cpus)

        try:
            change_document(self._files.path(THREADS), change)
        except (KeyError, TypeError) as error:
            raise OSError(errno.EBADMSG, f"not a list of threads ({error!r})", THREADS) from error

    def dma_latency(self) -> DmaLatency:
        """See Syscalls. No process holds anything: ``/dev/cpu_dma_latency.json`` says what one would."""
        part = read_document(self._dma_latency())
        held, others = part.get("held_us"), _number(part, "others_us", DMA_LATENCY)
        held_us = None if held is None else _number(part, "held_us", DMA_LATENCY)
        return DmaLatency(held_us, others if held_us is None else min(held_us, others))

    def hold_dma_latency(self, us: int) -> None:
        """See Syscalls."""
        change_document(self._dma_latency(), lambda document: document.update(held_us=us))

    def release_dma_latency(self) -> None:
        """See Syscalls."""
        change_document(self._dma_latency(), lambda document: document.update(held_us=None))

    def service_state(self, unit: str) -> ServiceState:
        """See Syscalls."""
        return services.read_service(self._files, unit)

    def stop_service(self, unit: str) -> None:
        """See Syscalls."""
        services.set_active(self._files, unit, active=False)

    def start_service(self, unit: str) -> None:
        """See Syscalls."""
        services.set_active(self._files, unit, active=True)

    def irqbalance_bans(self) -> Bans | None:
        """See Syscalls."""
        return services.read_bans(self._files)

    def set_irqbalance_bans(self, cpus: CpuSet, irqs: frozenset[int]) -> None:
        """See Syscalls."""
        services.set_bans(self._files, cpus, irqs)

    def boot_menu(self) -> BootMenu:
        """See Syscalls."""
        return read_menu(self._files)

    def set_boot_words(self, content: str) -> None:
        """See Syscalls."""
        if self._kernel is None:
            raise OSError(errno.EOPNOTSUPP, "files have no grub-mkconfig", str(self._files.root))
        grub.stage(self._files, content)

    def release_boot_words(self, content: str | None) -> None:
        """See Syscalls."""
        unstage(self._files, content)

    def boot_id(self) -> str:
        """See Syscalls."""
        return self._files.optional("/proc/sys/kernel/random/boot_id") or ""

    def boottime_ns(self) -> int:
        """See Syscalls. This machine's: timers that are armed on a tree run here."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def _dma_latency(self) -> str:
        if not self._files.exists(DMA_LATENCY):
            raise OSError(errno.EOPNOTSUPP, f"this tree has no {DMA_LATENCY}", str(self._files.root))
        return self._files.path(DMA_LATENCY)

    def _path(self, ifname: str) -> str:
        if not valid_name(ifname) or not self._files.exists(f"/sys/class/net/{ifname}"):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), ifname)
        if not self._files.exists(f"/ethtool/{ifname}.json"):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), ifname)
        return self._files.path(f"/ethtool/{ifname}.json")

    def _ethtool(self, ifname: str) -> Document:
        return read_document(self._path(ifname))

    def _part(self, ifname: str, name: str) -> dict[str, Any]:
        part = self._ethtool(ifname).get(name)
        if not isinstance(part, dict):
            raise OSError(errno.EOPNOTSUPP, f"the document has no {name}", ifname)
        return part

    def _thread(self, row: Any, effective: dict[str, CpuSet]) -> Thread:
        try:
            cgroup = _text(row["cgroup"])
            if cgroup not in effective:
                effective[cgroup] = self._group_cpus(cgroup)
            wish = parse_list(row["affinity"])
            # a bound kernel thread stays where it is; one whose wish is empty in its group gets the group's CPUs
            allowed = wish if row["kernel"] and not row["movable"] else (wish & effective[cgroup] or effective[cgroup])
            return Thread(
                tid=int(row["tid"]),
                pid=int(row["pid"]),
                start_ticks=int(row["start_ticks"]),
                name=_text(row["name"]),
                kernel=bool(row["kernel"]),
                movable=bool(row["movable"]),
                allowed=allowed,
                cgroup=cgroup,
                last_cpu=int(row["last_cpu"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise OSError(errno.EBADMSG, f"not a thread ({error!r})", THREADS) from error

    def _group_cpus(self, cgroup: str) -> CpuSet:
        """The effective CPUs of the group, or of the nearest one above that has the controller."""
        if "/../" in cgroup + "/" or not cgroup.startswith("/"):
            raise OSError(errno.EBADMSG, f"not a cgroup: {cgroup!r}", THREADS)
        path = cgroup.rstrip("/")
        while True:
            text = self._files.optional(f"{ROOT}{path}/cpuset.cpus.effective")
            if text is not None or not path:
                break
            path = path.rpartition("/")[0]
        try:
            return parse_list(text if text is not None else self._files.text("/sys/devices/system/cpu/online"))
        except CpuListError as error:
            raise OSError(errno.EBADMSG, str(error), f"{ROOT}{path}") from error


def _rounded(size: int, maximum: int, ifname: str) -> int:
    if not 0 <= size <= maximum:  # the core's check, before the driver is asked (ethtool_set_ringparam)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), ifname)
    return min(maximum, -(-max(size, RING_MIN) // RING_STEP) * RING_STEP)


def _number(part: dict[str, Any], name: str, where: str) -> int:
    value = part.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise OSError(errno.EBADMSG, f"{name} is no whole number", where)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise OSError(errno.EBADMSG, f"{value!r} is no text")
    return value
