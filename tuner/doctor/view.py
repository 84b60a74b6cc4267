"""What the lints look at: a host read once, what holds it now, and how its CPUs spent a moment."""

import json
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address
from typing import Any

from tuner.host.cpulist import CpuListError, CpuSet, parse_list
from tuner.host.files import HostFiles
from tuner.host.host import Inventory
from tuner.host.text import printable
from tuner.host.threads import Thread
from tuner.knobs.partition import CGROUP

_ALL_HOSTS = "224.0.0.1"
_FILE_LIMIT = 1 << 18


@dataclass(frozen=True, slots=True)
class Ticks:
    """What each CPU had counted at one moment: time in all and time busy (clock ticks, /proc/stat), local timer interrupts."""

    total: Mapping[int, int]
    busy: Mapping[int, int]
    timer: Mapping[int, int]


@dataclass
class View:
    """A host, and what an applied profile wants of it.

    Attributes:
        inventory: the host.
        wanted: (knob, identity) -> value, of the transaction that holds the host.
        bindings: part -> NIC name, of that transaction or of host.toml.
        roles: role -> CPUs, of that transaction.
        before, after: two looks at the CPUs; the same one where no time passed.
        seconds: between them.
        unseen: what this user may not read, and which lint missed it.
    """

    inventory: Inventory
    wanted: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    bindings: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, CpuSet] = field(default_factory=dict)
    before: Ticks = field(default_factory=lambda: Ticks({}, {}, {}))
    after: Ticks = field(default_factory=lambda: Ticks({}, {}, {}))
    seconds: float = 0.0
    unseen: list[str] = field(default_factory=list)

    @property
    def files(self) -> HostFiles:
        """The host's files."""
        return self.inventory.host.files

    @cached_property
    def threads(self) -> tuple[Thread, ...]:
        """All threads."""
        return self.inventory.host.syscalls.threads()

    @cached_property
    def isolated(self) -> CpuSet:
        """CPUs isolated at boot or by a partition; those of the applied profile, too, where nobody else may read them."""
        found = self.inventory.topology.boot_isolated | self.partitioned
        with suppress(CpuListError, KeyError, TypeError):
            found |= parse_list(str(self.wanted["isolation.partition", CGROUP]["cpus"]))
        return found & self.inventory.topology.online

    @cached_property
    def partitioned(self) -> CpuSet:
        """CPUs isolated at run time: what the root cgroup says, else our own partition (cgroup v2)."""
        own = f"/sys/fs/cgroup/{CGROUP}"
        held = self.files.optional(f"{own}/cpuset.cpus.partition") == "isolated"
        paths = ["/sys/fs/cgroup/cpuset.cpus.isolated", *([f"{own}/cpuset.cpus"] if held else [])]
        cpus: CpuSet = frozenset()
        for path in paths:
            with suppress(CpuListError):
                cpus |= parse_list(self.files.optional(path) or "")
        return cpus

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Interface -> multicast groups joined there, that of all hosts left out (/proc/net/igmp)."""
        found: dict[str, list[str]] = {}
        name = ""
        for line in (self.files.optional("/proc/net/igmp") or "").split("\n")[1:]:
            if line[:1].isdigit():
                name = line.partition("\t")[2].rpartition(":")[0].rstrip(" ")
            elif name and (words := line.split()):
                with suppress(ValueError, struct.error):
                    group = str(IPv4Address(struct.pack("=I", int(words[0], 16))))
                    found.setdefault(name, []).extend([group] if group != _ALL_HOSTS else [])
        return {each: tuple(groups) for each, groups in found.items() if groups}

    def processes(self, *names: str) -> list[Thread]:
        """Processes of these names."""
        return [t for t in self.threads if t.tid == t.pid and not t.kernel and t.name in names]

    def busy_share(self, cpu: int) -> float:
        """The share of the moment in which a CPU did something, 0 to 1; 0 where no time passed."""
        total = self.after.total.get(cpu, 0) - self.before.total.get(cpu, 0)
        return (self.after.busy.get(cpu, 0) - self.before.busy.get(cpu, 0)) / total if total > 0 else 0.0

    def timer_per_s(self, cpu: int) -> float:
        """Local timer interrupts a second."""
        ticks = self.after.timer.get(cpu, 0) - self.before.timer.get(cpu, 0)
        return ticks / self.seconds if self.seconds > 0 else 0.0

    def text(self, path: str, lint: str) -> str:
        """A file of settings, empty where it is not there; what this user may not read is noted."""
        try:
            raw = self.files.read(path)
        except PermissionError:
            self.unseen.append(f"{printable(path)} may not be read by this user: {lint} saw nothing of it")
            return ""
        except OSError:
            return ""
        return raw[:_FILE_LIMIT].decode("utf-8", "replace")

    def names(self, directory: str, lint: str, keep: Callable[[str], bool]) -> list[str]:
        """The paths of the files of a directory that ``keep`` takes by name; what this user may not list is noted."""
        import os

        try:
            found = sorted(os.listdir(self.files.path(directory)))
        except PermissionError:
            self.unseen.append(f"{directory} may not be read by this user: {lint} saw nothing of it")
            return []
        except OSError:
            return []
        return [f"{directory}/{name}" for name in found if keep(name)]

    def pause(self, ifname: str) -> tuple[bool, bool] | None:
        """(rx, tx): whether a NIC obeys pause frames, and sends them; None where its driver does not say."""
        try:
            text = self.inventory.host.syscalls.driver_settings(ifname).get("pause", "")
            if text.startswith("{"):  # a tree of files
                part = json.loads(text)
                return bool(part["rx"]), bool(part["tx"])
            # struct ethtool_pauseparam behind its command: autoneg, rx_pause, tx_pause
            _, rx, tx = struct.unpack("=III", bytes.fromhex(text))
        except (OSError, ValueError, KeyError, TypeError, struct.error):
            return None
        return bool(rx), bool(tx)


def read_ticks(files: HostFiles) -> Ticks:
    """A look at the CPUs: two files. user nice system idle iowait irq softirq steal (Documentation/filesystems/proc.rst)."""
    total, busy = {}, {}
    for line in (files.optional("/proc/stat") or "").split("\n"):
        name, *fields = line.split() or [""]
        if name.startswith("cpu") and name[3:].isdecimal() and all(f.isdecimal() for f in fields[:8]) and len(fields) >= 5:
            times = [int(f) for f in fields[:8]]
            total[int(name[3:])] = sum(times)
            busy[int(name[3:])] = sum(times) - times[3] - times[4]
    return Ticks(total, busy, _timer(files))


def _timer(files: HostFiles) -> dict[int, int]:
    lines = (files.optional("/proc/interrupts") or "").split("\n")
    cpus = [int(word[3:]) for word in lines[0].split() if word.startswith("CPU") and word[3:].isdecimal()]
    row = next((line.split()[1:] for line in lines if line.lstrip().startswith("LOC:")), [])
    return {cpu: int(count) for cpu, count in zip(cpus, row, strict=False) if count.isdecimal()}
