"""``memory.hugepages``: pages of one size that a NUMA node keeps for programs that ask for them.

Source: Documentation/admin-guide/mm/hugetlbpage.rst, mm/hugetlb.c (__nr_hugepages_store_common). A write succeeds however few
pages were found, and takes all the memory that there is where it asks for too many: so the need is compared with what the node
can give before anything is written, and the number is read back.
"""

import errno
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.cpulist import parse_list
from tuner.host.files import HostFiles
from tuner.host.host import Inventory
from tuner.knobs.knob import About, Json, Knob, Reading, State, Unsupported
from tuner.language.request import Request
from tuner.profile import Place, Setting

NODE_ROOT = "/sys/devices/system/node"
SIZES_KB = {"2M": 2048, "1G": 1048576, "64K": 64, "32M": 32768, "512M": 524288}
_IDENTITY = re.compile(r"node(\d{1,4})/(\d{2,8})kB")
_FIELD = re.compile(r"^(?:Node \d+ )?([A-Za-z()_]+): +(\d+) kB$", re.MULTILINE)


class HugePages(Knob):
    """Pages of one size on one node; the identity is ``node0/2048kB``."""

    family: ClassVar[str] = "memory.hugepages"
    about: ClassVar[About] = About(
        "How many huge pages of a size a NUMA node keeps for programs that ask for them",
        "On the NIC's node, as many as the kernel-bypass stack or the receiver asks for; fewer TLB misses, no page faults",
        f"{NODE_ROOT}/nodeN/hugepages/hugepages-SIZEkB/nr_hugepages",
        "the same file: it shows what was found, whatever was asked for; free_hugepages beside it",
        "compaction stalls whoever allocates meanwhile; asking for too much would take all memory, and is refused before",
        "pages in use stay until their program ends, and count until then",
        quirks=(
            "a write succeeds however few were found",
            "1G at run time needs a whole free gigabyte in one piece: boot words find it, a host that ran for a week does not",
        ),
        source="Documentation/admin-guide/mm/hugetlbpage.rst, mm/hugetlb.c",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The pages that there are."""
        pages = inventory.host.files.number(path_of(identity))
        if pages is None:
            raise Unsupported(f"this host has no {path_of(identity)}")
        return Reading(now=pages, effective=pages)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal numbers."""
        return "ok" if reading.effective == wanted else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Writes the number, unless the node has no room for it by now.

        Raises:
            OSError: ENOMEM: it would need more than there is; nothing was written.
        """
        del options
        if lack := shortage(inventory.host.files, identity, int(wanted)):
            raise OSError(errno.ENOMEM, lack, path_of(identity))
        self.restore(inventory, identity, wanted)

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Writes the saved number."""
        inventory.host.files.write(path_of(identity), str(undo))

    def same(self, left: Json, right: Json) -> bool:
        """Equal numbers."""
        return bool(left == right)

    def irreversible(self, identity: str) -> str:
        """Which way it goes is not known here."""
        del identity
        return "pages in use stay until their program ends, and pages given up may not be found again in one piece"

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """Each size on each node."""
        files, found = inventory.host.files, []
        for node in inventory.topology.nodes:
            for size, kb in SIZES_KB.items():
                if files.exists(path_of(f"node{node}/{kb}kB")):
                    found.append((f"node {node}, {size}", f"node{node}/{kb}kB"))
        return found


def path_of(identity: str) -> str:
    """The file of a node and a size.

    Raises:
        ValueError: an identity that is none, whatever a journal says.
    """
    match = _IDENTITY.fullmatch(identity)
    if match is None:
        raise ValueError(f"not a node and a size of pages: {identity!r}")
    return f"{NODE_ROOT}/node{match[1]}/hugepages/hugepages-{match[2]}kB/nr_hugepages"


def available_kb(files: HostFiles, node: int) -> int:
    """What a node can give without anybody feeling it, in kB: what is free, and half of what could be given up.

    The kernel says it for the host (MemAvailable, si_mem_available) and not for a node; this is never more than that.
    """
    of_node = _fields(files.optional(f"{NODE_ROOT}/node{node}/meminfo") or "")
    of_host = _fields(files.optional("/proc/meminfo") or "")
    cached = sum(of_node.get(name, 0) for name in ("Active(file)", "Inactive(file)", "SReclaimable"))
    return min(of_node.get("MemFree", 0) + cached // 2, of_host.get("MemAvailable", 1 << 62))


def shortage(files: HostFiles, identity: str, wanted: int) -> str:
    """Why a node cannot have so many pages; empty where it can."""
    match = _IDENTITY.fullmatch(identity)
    now = files.number(path_of(identity))
    if match is None or now is None or wanted <= now:
        return ""
    node, size_kb = int(match[1]), int(match[2])
    need, have = (wanted - now) * size_kb, available_kb(files, node)
    if need <= have:
        return ""
    return (
        f"{wanted} pages of {size_kb} kB on node {node} need {need} kB more, and {have} kB are available there: "
        f"{now + have // size_kb} at most"
    )


def _fields(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in _FIELD.findall(text)}


def ask(request: Request, place: Place, setting: Setting) -> None:
    """One wish for each node of each core set, and size."""
    del place
    files, nodes = request.inventory.host.files, request.inventory.topology.nodes
    taken: set[str] = set()
    for cpus, sizes in request.by_cpus(setting) if isinstance(setting.value, Mapping) else ():
        mine = [node for node, theirs in nodes.items() if theirs & parse_list(cpus)]
        for node in mine:
            for size, value in sizes.items():
                identity = f"node{node}/{SIZES_KB[size]}kB"
                if identity in taken:
                    request.fault(setting, f"names node {node} twice", "core sets of one table must not share a node")
                    continue
                taken.add(identity)
                pages = request.amount(setting, value, files.number(path_of(identity)))
                if lack := shortage(files, identity, pages):
                    request.fault(setting, lack, "ask for fewer, or reserve them at boot")
                request.wish("memory.hugepages", f"node {node}, {size}", identity, pages, setting)
