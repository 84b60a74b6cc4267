"""Everything about a host that is no file: ethtool requests and thread affinity, behind one port.

``LinuxSyscalls`` asks this machine's kernel; a tree of files is answered for by ``tuner.host.simulated``.
ethtool goes through pyroute2's ioctl class, loaded at the first request: most commands ask nothing.
Never another program's text: parsers of ``ethtool`` output broke silently for years.
"""

import errno
import os
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tuner.host import grub, irqbalance, netlink, services
from tuner.host.cpulist import CpuSet
from tuner.host.dma_latency import MISC, DmaLatency, Holders
from tuner.host.driver_statistics import DriverStatistics, read_statistics
from tuner.host.ethtool import read_blocks, write_block
from tuner.host.ethtool_library import ioctl_library
from tuner.host.ethtool_values import (
    CHANNEL_FIELDS,
    CHANNELS,
    COALESCE,
    COALESCE_FIELDS,
    FEATURES,
    Feature,
    Value,
    Values,
    read_values,
    supported_coalesce,
    write_values,
)
from tuner.host.files import HostFiles
from tuner.host.interface_ioctl import ethtool_request as _request
from tuner.host.nic_syscalls import LinuxNicSyscalls, NicSyscalls
from tuner.host.nics import valid_name
from tuner.host.threads import Thread, cgroup_of, process_named, read_thread, thread_ids

T = TypeVar("T")

ETHTOOL_GDRVINFO = 0x3
ETHTOOL_GPERMADDR = 0x20


@dataclass(frozen=True, slots=True)
class Driver:
    """ETHTOOL_GDRVINFO."""

    name: str
    version: str
    bus: str
    firmware: str


@dataclass(frozen=True, slots=True)
class Rings:
    """Descriptors per ring (ETHTOOL_GRINGPARAM). A maximum of 0 means that the driver has no such ring."""

    rx: int
    tx: int
    rx_max: int
    tx_max: int


@dataclass(frozen=True, slots=True)
class Channels:
    """Queues (ETHTOOL_GCHANNELS)."""

    rx: int
    tx: int
    other: int
    combined: int
    rx_max: int
    tx_max: int
    combined_max: int


class Syscalls(NicSyscalls, Protocol):
    """What a host does that is no file. Every method raises OSError with the kernel's errno; EOPNOTSUPP: not on this NIC."""

    def driver(self, ifname: str) -> Driver:
        """Driver and firmware of an interface."""

    def permanent_address(self, ifname: str) -> str | None:
        """The MAC burnt in, None where the device has none."""

    def rings(self, ifname: str) -> Rings:
        """Ring sizes, current and maximal."""

    def set_rings(self, ifname: str, rx: int | None = None, tx: int | None = None) -> None:
        """Changes ring sizes; most drivers take the link down for it. None leaves a ring as it is."""

    def channels(self, ifname: str) -> Channels:
        """Queue counts, current and maximal."""

    def features(self, ifname: str) -> dict[str, Feature]:
        """What the NIC and the stack above it do with packets, by the kernel's names."""

    def nic_values(self, ifname: str, group: str) -> Values:
        """Settings of the driver by name, of a group of ``ethtool_values`` that is not ``features``."""

    def set_nic_values(self, ifname: str, group: str, values: Mapping[str, Value]) -> None:
        """Changes some of a group in one request; most drivers take the link down for channels, pause and private flags."""

    def driver_settings(self, ifname: str) -> dict[str, str]:
        """Every setting of the driver that a reset may move, but ring sizes, as opaque texts by name."""

    def set_driver_setting(self, ifname: str, name: str, value: str) -> None:
        """Puts back one of ``driver_settings``."""

    def statistics(self, ifname: str) -> dict[str, int]:
        """The driver's own counters by name; of names that repeat, the last. See ``driver_statistics``."""

    def driver_statistics(self, ifname: str) -> DriverStatistics:
        """The driver's own counters (ETHTOOL_GSTATS); firmware commands on some NICs: never faster than 1 Hz."""

    def netlink_dump(self, protocol: int, kind: int, payload: bytes) -> netlink.Messages:
        """Everything of a kind that netlink tells, see ``tuner.host.netlink.dump``; EOPNOTSUPP on a tree of files."""

    def threads(self) -> tuple[Thread, ...]:
        """All threads of the host."""

    def set_affinity(self, tid: int, cpus: CpuSet) -> None:
        """Binds one thread. ESRCH: it ended; EINVAL: bound kernel thread, or no online CPU in the set."""

    def dma_latency(self) -> DmaLatency:
        """The exit latency that our own process holds, and the least that anybody does; ENOENT, EOPNOTSUPP: not here."""

    def hold_dma_latency(self, us: int) -> None:
        """Has a process that outlives this one hold an exit latency, and nothing else. See ``tuner.host.dma_latency``."""

    def release_dma_latency(self) -> None:
        """Ends that process, whatever it held."""

    def service_state(self, unit: str) -> services.ServiceState:
        """One unit of systemd; EOPNOTSUPP where systemd is not PID 1."""

    def stop_service(self, unit: str) -> None:
        """Masks a unit until the next boot and stops it."""

    def start_service(self, unit: str) -> None:
        """Takes that mask away and starts it."""

    def irqbalance_bans(self) -> irqbalance.Bans | None:
        """What irqbalance leaves alone, None where it does not run; EPERM: it answers root alone."""

    def set_irqbalance_bans(self, cpus: CpuSet, irqs: frozenset[int]) -> None:
        """Makes irqbalance leave just these alone; ESRCH: it does not run. The CPUs follow at its next round."""

    def boot_menu(self) -> grub.BootMenu:
        """The boot loader, and the words that the next kernel will get."""

    def set_boot_words(self, content: str) -> None:
        """Makes our file of words for the next boot hold ``content``, and the boot menu follow."""

    def release_boot_words(self, content: str | None) -> None:
        """Puts back what that file held, or that it was not there, and takes the words out of the boot menu."""

    def boot_id(self) -> str:
        """A name of this boot: nothing applied at run time outlives it."""

    def boottime_ns(self) -> int:
        """CLOCK_BOOTTIME: goes on while suspended, deaf to changes of the wall clock."""


class LinuxSyscalls(LinuxNicSyscalls):
    """The port to this machine's kernel."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def driver(self, ifname: str) -> Driver:
        """See Syscalls."""
        # struct ethtool_drvinfo: cmd, driver[32], version[32], fw_version[32], bus_info[32], erom[32], reserved, counts
        raw = _request(ifname, struct.pack("=I192x", ETHTOOL_GDRVINFO))
        text = [raw[4 + 32 * i : 36 + 32 * i].split(b"\0", 1)[0].decode("utf-8", "surrogateescape") for i in range(4)]
        return Driver(name=text[0], version=text[1], firmware=text[2], bus=text[3])

    def permanent_address(self, ifname: str) -> str | None:
        """See Syscalls."""
        raw = _request(ifname, struct.pack("=II32x", ETHTOOL_GPERMADDR, 32))
        (size,) = struct.unpack_from("=I", raw, 4)
        address = raw[8 : 8 + min(size, 32)]
        return address.hex(":") if any(address) else None

    def rings(self, ifname: str) -> Rings:
        """See Syscalls."""
        raw = _ethtool(ifname, lambda tool: tool.get_rings())
        return Rings(rx=raw["rx"], tx=raw["tx"], rx_max=raw["rx_max"], tx_max=raw["tx_max"])

    def set_rings(self, ifname: str, rx: int | None = None, tx: int | None = None) -> None:
        """See Syscalls."""

        def change(tool: Any) -> None:
            raw = tool.get_rings()  # the mini and jumbo rings must go back as they are
            raw["rx"] = raw["rx"] if rx is None else rx
            raw["tx"] = raw["tx"] if tx is None else tx
            tool.set_rings(raw)

        _ethtool(ifname, change)

    def channels(self, ifname: str) -> Channels:
        """See Syscalls."""
        raw = _ethtool(ifname, lambda tool: tool.get_channels())
        return Channels(
            rx=raw["rx_count"],
            tx=raw["tx_count"],
            other=raw["other_count"],
            combined=raw["combined_count"],
            rx_max=raw["max_rx"],
            tx_max=raw["max_tx"],
            combined_max=raw["max_combined"],
        )

    def features(self, ifname: str) -> dict[str, Feature]:
        """See Syscalls."""

        def read(tool: Any) -> dict[str, Feature]:
            found = tool.get_features()
            return {
                name: Feature(
                    requested=found.is_requested(name),
                    active=found.is_active(name),
                    fixed=found.is_never_changed(name) or not found.is_available(name),
                )
                for name in found.keys()  # noqa: SIM118 - iterating it gives rows
                if name
            }

        return _ethtool(ifname, read)

    def nic_values(self, ifname: str, group: str) -> Values:
        """See Syscalls."""
        if group == CHANNELS:
            now = self.channels(ifname)
            return {name: getattr(now, name) for name in CHANNEL_FIELDS if getattr(now, f"{name}_max")}
        if group == COALESCE:
            there = supported_coalesce(ifname)
            raw = _ethtool(ifname, lambda tool: tool.get_coalesce())
            return {
                name: bool(raw[field]) if name.startswith("adaptive") else int(raw[field])
                for name, (field, _) in COALESCE_FIELDS.items()
                if there is None or name in there
            }
        return read_values(lambda request: _request(ifname, request), group)

    def set_nic_values(self, ifname: str, group: str, values: Mapping[str, Value]) -> None:
        """See Syscalls. What is not named goes back as it was read in the same moment."""

        def channels(tool: Any) -> None:
            raw = tool.get_channels()
            for name, value in values.items():
                raw[CHANNEL_FIELDS[name][0]] = int(value)
            tool.set_channels(raw)

        def coalesce(tool: Any) -> None:
            raw = tool.get_coalesce()
            for name, value in values.items():
                raw[COALESCE_FIELDS[name][0]] = int(value)
            tool.set_coalesce(raw)

        def features(tool: Any) -> None:
            found = tool.get_features()
            for name, value in values.items():
                found.set_value(name, bool(value))
            tool.set_features(found)

        library = {CHANNELS: channels, COALESCE: coalesce, FEATURES: features}
        if group in library:
            _ethtool(ifname, library[group])
        else:
            write_values(lambda request: _request(ifname, request), group, values)

    def driver_settings(self, ifname: str) -> dict[str, str]:
        """See Syscalls."""
        return read_blocks(lambda request: _request(ifname, request))

    def set_driver_setting(self, ifname: str, name: str, value: str) -> None:
        """See Syscalls."""
        write_block(lambda request: _request(ifname, request), name, value)

    def statistics(self, ifname: str) -> dict[str, int]:
        """See Syscalls."""
        found = self.driver_statistics(ifname)
        return dict(zip(found.names, found.values, strict=True))

    def driver_statistics(self, ifname: str) -> DriverStatistics:
        """See Syscalls."""
        return read_statistics(lambda request: _request(ifname, request))

    def netlink_dump(self, protocol: int, kind: int, payload: bytes) -> netlink.Messages:
        """See Syscalls."""
        return netlink.dump(protocol, kind, payload)

    def threads(self) -> tuple[Thread, ...]:
        """See Syscalls. sched_getaffinity instead of ``status``: 1 µs instead of 15 for each thread."""
        found = []
        cgroups: dict[int, str] = {}
        for pid, tid in thread_ids(self._files):
            try:
                allowed: Iterable[int] = os.sched_getaffinity(tid)
            except OSError:  # ended meanwhile
                continue
            if pid not in cgroups:
                cgroups[pid] = cgroup_of(self._files, pid)
            thread = read_thread(self._files, pid, tid, frozenset(allowed), cgroups[pid])
            if thread is not None:
                found.append(thread)
        return tuple(found)

    def set_affinity(self, tid: int, cpus: CpuSet) -> None:
        """See Syscalls."""
        os.sched_setaffinity(tid, cpus)

    def dma_latency(self) -> DmaLatency:
        """See Syscalls."""
        return self._holders().read()

    def hold_dma_latency(self, us: int) -> None:
        """See Syscalls."""
        self._holders().hold(us)

    def release_dma_latency(self) -> None:
        """See Syscalls."""
        self._holders().release()

    def _holders(self) -> Holders:
        return Holders(self.boot_id(), known=self._files.exists(MISC))

    def service_state(self, unit: str) -> services.ServiceState:
        """See Syscalls."""
        if not services.has_systemd(self._files):
            raise OSError(errno.EOPNOTSUPP, "systemd is not PID 1 here", services.BOOTED)
        return services.read_service(self._files, unit)

    def stop_service(self, unit: str) -> None:
        """See Syscalls."""
        services.stop(unit)

    def start_service(self, unit: str) -> None:
        """See Syscalls."""
        services.start(unit)

    def irqbalance_bans(self) -> irqbalance.Bans | None:
        """See Syscalls."""
        pid = process_named(self._files, "irqbalance")
        return irqbalance.read_bans(pid) if pid else None

    def set_irqbalance_bans(self, cpus: CpuSet, irqs: frozenset[int]) -> None:
        """See Syscalls."""
        pid = process_named(self._files, "irqbalance")
        if not pid:
            raise ProcessLookupError(errno.ESRCH, "irqbalance does not run")
        irqbalance.set_bans(pid, cpus, irqs)

    def boot_menu(self) -> grub.BootMenu:
        """See Syscalls."""
        return grub.read_menu(self._files)

    def set_boot_words(self, content: str) -> None:
        """See Syscalls."""
        grub.stage(self._files, content, grub.make_menu, grub.check_menu)

    def release_boot_words(self, content: str | None) -> None:
        """See Syscalls."""
        grub.unstage(self._files, content)

    def boot_id(self) -> str:
        """See Syscalls."""
        return self._files.optional("/proc/sys/kernel/random/boot_id") or ""

    def boottime_ns(self) -> int:
        """See Syscalls."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _ethtool(ifname: str, request: Callable[[Any], T]) -> T:
    """One request through pyroute2, its exceptions turned back into the errnos that they were."""
    library = ioctl_library()
    if not valid_name(ifname):  # a longer name is an IndexError in there
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), ifname)
    tool = None
    try:
        tool = library.IoctlEthtool(ifname)
        return request(tool)
    except UnicodeEncodeError as error:  # it takes no name that is not UTF-8
        raise OSError(errno.EOPNOTSUPP, "the interface's name is not UTF-8", ifname) from error
    except library.NotSupportedError as error:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), ifname) from error
    except library.NoSuchDevice as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), ifname) from error
    finally:
        if tool is not None:
            tool.close()
