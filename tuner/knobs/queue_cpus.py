"""``nic.xps``, ``nic.rps`` and ``nic.rps_flow_cnt``: which CPUs send through a queue, and on which more of its work is done.

Source: Documentation/networking/scaling.rst, net/core/net-sysfs.c, net/core/dev.c (netif_set_xps_queue). The kernel taught:

* A NIC with one transmit queue answers ENOENT for its xps_cpus.
* RPS masks are cut down in silence to CPUs that keep house (rps_cpumask_housekeeping); EINVAL where none is left.
* rps_flow_cnt is rounded up to a power of two.
* All of it is forgotten when the number of queues changes.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from tuner.host.cpulist import CpuListError, CpuSet, format_list, format_mask, parse_list, parse_mask
from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.knobs.knob import About, Json, State
from tuner.knobs.nic_files import QueueFiles
from tuner.language.entry import PART, Entry, Family, on_nic
from tuner.language.request import Request
from tuner.language.tables import ListOf, Table
from tuner.language.values import Cores, Report, Schema, Whole, Word
from tuner.profile import Place, Setting

_CPU = "/sys/devices/system/cpu"
SPREADS = ("one-each", "all")
OFF = "off"


class QueueMask(QueueFiles):
    """CPU masks of queues, read as CPU lists.

    Wanted is ``off``, ``one-each LIST``, ``all LIST``, or a list of CPU lists, the first for queue 0.
    """

    def parse(self, text: str) -> Json:
        """The CPU list of a mask."""
        return format_list(parse_mask(text))

    def spell(self, inventory: Inventory, value: Json) -> str:
        """The mask of a CPU list; it has no list form."""
        return format_mask(parse_list(str(value)), inventory.topology.count)

    def dealt(self, wanted: Json, queues: list[int]) -> dict[int, Json]:
        """The CPU list for each queue."""
        if not isinstance(wanted, str):
            named = [str(each) for each in wanted]
            return {queue: named[place] if place < len(named) else "" for place, queue in enumerate(queues)}
        spread, _, cpus = wanted.partition(" ")
        if spread != "one-each":
            return dict.fromkeys(queues, "" if spread == OFF else cpus)
        return {
            queue: format_list(one) for queue, one in zip(queues, self.one_each(parse_list(cpus), len(queues)), strict=True)
        }

    def one_each(self, cpus: CpuSet, count: int) -> list[CpuSet]:
        """The CPUs of each of ``count`` queues."""
        raise NotImplementedError


class TransmitCpus(QueueMask):
    """XPS."""

    family: ClassVar[str] = "nic.xps"
    way: ClassVar[str] = "tx"
    leaf: ClassVar[str] = "xps_cpus"
    about: ClassVar[About] = About(
        "Which CPUs send through which transmit queue (XPS)",
        "Each core that sends orders its own queue: no lock and no cache line is shared with another sender, and completions "
        "come back to it. One queue for all housekeeping is enough",
        "/sys/class/net/IF/queues/tx-N/xps_cpus",
        "tc -s qdisc show dev IF: only the queue of the sending core counts",
        "none is lost; a flow may pass another once as it changes its queue",
        since="2.6.38",
        quirks=(
            "ENOENT where the NIC has one transmit queue",
            "several drivers (ixgbe, i40e, mlx5, virtio_net) map queues to CPUs by themselves when they open the device",
            "xps_rxqs, where it is set, is asked before xps_cpus",
            "a change of the number of queues forgets it",
        ),
        source="Documentation/networking/scaling.rst (XPS), net/core/net-sysfs.c",
    )

    def missing(self, nic: Nic) -> str:
        """One queue has nothing to choose from."""
        return f"{nic.name} has one transmit queue, and a choice takes two"

    def one_each(self, cpus: CpuSet, count: int) -> list[CpuSet]:
        """Each CPU in turn its queue; queues beyond the last CPU get none, so that each CPU has exactly one."""
        ordered = sorted(cpus)
        return [frozenset(ordered[queue::count]) for queue in range(count)]


class ReceiveCpus(QueueMask):
    """RPS."""

    family: ClassVar[str] = "nic.rps"
    way: ClassVar[str] = "rx"
    leaf: ClassVar[str] = "rps_cpus"
    about: ClassVar[About] = About(
        "On which CPUs the stack's work for a receive queue is done (RPS)",
        "Off on a feed: each packet would cost an interprocessor interrupt and a second cache. Housekeeping cores only for a "
        "bulk NIC with fewer queues than it needs",
        "/sys/class/net/IF/queues/rx-N/rps_cpus",
        "the same file; the column received_rps of /proc/net/softnet_stat, the rows CAL and RES of /proc/interrupts",
        "packets of one flow may pass each other once",
        since="2.6.35",
        quirks=(
            "CPUs that isolcpus= or nohz_full= took are dropped from the mask in silence; EINVAL where none is left",
            "the backlog of the chosen CPU can overflow: net.core.netdev_max_backlog",
        ),
        source="Documentation/networking/scaling.rst (RPS), net/core/net-sysfs.c (rps_cpumask_housekeeping)",
    )

    def one_each(self, cpus: CpuSet, count: int) -> list[CpuSet]:
        """Queue i to the i-th CPU, from the start again where queues outnumber CPUs."""
        ordered = sorted(cpus)
        return [frozenset((ordered[queue % len(ordered)],)) if ordered else frozenset() for queue in range(count)]


class FlowCount(QueueFiles):
    """RFS."""

    family: ClassVar[str] = "nic.rps_flow_cnt"
    way: ClassVar[str] = "rx"
    leaf: ClassVar[str] = "rps_flow_cnt"
    about: ClassVar[About] = About(
        "Flows that each receive queue remembers for receive flow steering (RFS)",
        "0 on a feed. Where RPS is on for TCP, it moves each flow to the CPU whose application reads it; the sum over the "
        "queues should be net.core.rps_sock_flow_entries, without which it does nothing",
        "/sys/class/net/IF/queues/rx-N/rps_flow_cnt",
        since="2.6.35",
        quirks=("rounded up to a power of two",),
        source="Documentation/networking/scaling.rst (RFS), net/core/net-sysfs.c",
    )

    def compare_value(self, now: Json, wanted: Json) -> State:
        """Equal, or the power of two above."""
        if now == wanted:
            return "ok"
        return "ok-rounded" if int(now) == 1 << max(0, int(wanted) - 1).bit_length() and wanted else "differs"


class QueueCpus:
    """Kind of value: ``off``, a core set, a table of core set and spread, or of a core set for each queue."""

    _whole = Table(
        {"cores": Cores('"app"'), "spread": Word(SPREADS), "queues": ListOf(Cores('"2"'), limit=256)},
        short="cores",
    )
    _by_cores = Table({"cores": Cores('"app"'), "spread": Word(SPREADS)}, required=("cores",), short="cores")
    _by_queue = Table({"queues": ListOf(Cores('"2"'), limit=256)}, required=("queues",))

    def check(self, value: object, report: Report) -> Json:
        """One of the forms; ``cores`` and ``queues`` exclude each other."""
        if value == OFF:
            return {}
        kept = self._whole.check(value, report)
        if isinstance(kept, dict) and ("cores" in kept) == ("queues" in kept):
            report("neither cores nor queues" if "cores" not in kept else "both cores and queues", "one of them deals out CPUs")
            return None
        if isinstance(kept, dict) and "queues" in kept and "spread" in kept:
            report("a spread beside queues", "queues says it already", "spread")
            return None
        return kept

    def expressions(self, value: Json) -> Iterable[str]:
        """Its core sets."""
        return (*([value["cores"]] if "cores" in value else []), *value.get("queues", ()))

    def schema(self) -> Schema:
        """Any of the forms."""
        return {"anyOf": [{"const": OFF}, self._by_cores.schema(), self._by_queue.schema()]}

    def words(self) -> str:
        """For people."""
        return '`"off"`, a core set, `{ cores = SET, spread = "one-each" | "all" }`, or `{ queues = [SET, …] }`'

    def sample(self) -> str:
        """A core set."""
        return '"app"'


def _wanted(request: Request, setting: Setting, allowed: CpuSet | None) -> Json:
    """What the setting means here; ``allowed``: the CPUs that the kernel would take, None for any."""
    value: Mapping[str, Json] = setting.value
    if "queues" in value:
        return [format_list(_kept(request, setting, request.cpus(setting, each), allowed)) for each in value["queues"]]
    if "cores" not in value:
        return OFF
    cpus = _kept(request, setting, request.cpus(setting, value["cores"]), allowed)
    spread = request.first(setting, value.get("spread", "one-each"), None)
    return f"{spread} {format_list(cpus)}"


def _kept(request: Request, setting: Setting, cpus: CpuSet, allowed: CpuSet | None) -> CpuSet:
    if allowed is None or cpus <= allowed or not cpus:
        return cpus
    lost = format_list(cpus - allowed)
    if not cpus & allowed:
        request.fault(
            setting, f"CPU {lost} was isolated at boot, and the kernel sends no RPS work there", "name housekeeping cores"
        )
    else:
        request.warnings.append(f"{setting.source}: CPU {lost} was isolated at boot; the kernel leaves it out of RPS")
    return cpus & allowed


def _ask_xps(request: Request, place: Place, setting: Setting) -> None:
    nic = request.nic(place[1])
    wanted = _wanted(request, setting, None)
    if isinstance(wanted, list) and len(wanted) > nic.tx_queues:
        request.warnings.append(
            f"{setting.source}: {printable(nic.name)} has {nic.tx_queues} transmit queues, not {len(wanted)}"
        )
    request.wish("nic.xps", nic.name, nic.identity, wanted, setting)


def _ask_rps(request: Request, place: Place, setting: Setting) -> None:
    nic = request.nic(place[1])
    allowed = request.inventory.topology.online - boot_isolated(request.inventory)
    request.wish("nic.rps", nic.name, nic.identity, _wanted(request, setting, allowed), setting)


def boot_isolated(inventory: Inventory) -> CpuSet:
    """CPUs that isolcpus= or nohz_full= took from the kernel's own work."""
    found: CpuSet = frozenset()
    for name in ("isolated", "nohz_full"):
        try:
            found |= parse_list((inventory.host.files.optional(f"{_CPU}/{name}") or "").replace("(null)", ""))
        except CpuListError:
            continue
    return found


FAMILY = Family(
    "Queues and CPUs",
    (TransmitCpus(), ReceiveCpus(), FlowCount()),
    (
        Entry(("nic", PART, "xps"), QueueCpus(), "which cores send through which transmit queue", _ask_xps),
        Entry(("nic", PART, "rps"), QueueCpus(), "on which cores the stack works for which receive queue", _ask_rps),
        Entry(
            ("nic", PART, "rps_flow_cnt"),
            Whole(0, 1 << 20, "flows", bounds=False),
            "flows that each receive queue remembers",
            on_nic("nic.rps_flow_cnt"),
        ),
    ),
)
