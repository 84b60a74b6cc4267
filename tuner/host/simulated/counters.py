"""The counters of a simulated host in the kernel's own formats: /proc/interrupts, softirqs, stat, net/softnet_stat, net/dev.

Written once with the tree and again at every tick of its life; read back from the files when a life begins, so that a tree
goes on from where it was left. Sources of the formats: kernel/irq/proc.c and arch/x86/kernel/irq.c (show_interrupts),
fs/proc/softirqs.c, fs/proc/stat.c, net/core/net-procfs.c.
"""

from collections.abc import Container, Iterable

ARCH_ROWS = {
    "NMI": "Non-maskable interrupts",
    "LOC": "Local timer interrupts",
    "SPU": "Spurious interrupts",
    "PMI": "Performance monitoring interrupts",
    "IWI": "IRQ work interrupts",
    "RTR": "APIC ICR read retries",
    "RES": "Rescheduling interrupts",
    "CAL": "Function call interrupts",
    "TLB": "TLB shootdowns",
    "TRM": "Thermal event interrupts",
    "THR": "Threshold APIC interrupts",
    "DFR": "Deferred Error APIC interrupts",
    "MCE": "Machine check exceptions",
    "MCP": "Machine check polls",
}
ARCH_TAIL = {
    "PIN": "Posted-interrupt notification event",
    "NPI": "Nested posted-interrupt event",
    "PIW": "Posted-interrupt wakeup event",
}
HOST_ROWS = ("ERR", "MIS")
SOFTIRQS = ("HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU")
JIFFIES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
SOFTNET_COLUMNS = 15  # since 6.4
_SOFTNET_CPU = 12


class Table:
    """Rows of counters, one column per CPU, each row rendered anew only when it changed."""

    def __init__(self, columns: int, width: int, label_width: int) -> None:
        self.columns = columns
        self._width = width
        self._label_width = label_width
        self._values: dict[str, list[int]] = {}
        self._totals: dict[str, int] = {}
        self._cells: dict[str, list[str]] = {}
        self._tails: dict[str, str] = {}
        self._lines: dict[str, str] = {}

    def add_row(self, label: str, values: Iterable[int], tail: str) -> None:
        """One row; ``tail`` stands behind the counters."""
        self._values[label] = list(values)
        self._totals[label] = sum(self._values[label])
        self._cells[label] = [f"{value:>{self._width}}" for value in self._values[label]]
        self._tails[label] = tail
        self._lines.pop(label, None)

    def count(self, label: str, column: int, more: int) -> None:
        """Counts ``more`` events; an unknown row or column is none of this host's and is left out."""
        values = self._values.get(label)
        if values is not None and more > 0 and column < len(values):
            values[column] += more
            self._totals[label] += more
            self._cells[label][column] = f"{values[column]:>{self._width}}"
            self._lines.pop(label, None)

    def total(self, label: str) -> int:
        """The sum of a row."""
        return self._totals.get(label, 0)

    @property
    def labels(self) -> tuple[str, ...]:
        """All rows, in order."""
        return tuple(self._values)

    def line(self, label: str) -> str:
        """One row."""
        if label not in self._lines:
            self._lines[label] = f"{label:>{self._label_width}}:{''.join(self._cells[label])}{self._tails[label]}\n"
        return self._lines[label]

    def render(self, heading: str, without: Container[str] = ()) -> str:
        """The whole file, but for rows that are not there now."""
        return heading + "".join([self.line(label) for label in self._values if label not in without])


def interrupts_table(cpus: int, numbered: Iterable[tuple[int, str, str]]) -> Table:
    """/proc/interrupts with every counter at 0; ``numbered`` are (number, chip and trigger, actions)."""
    table = Table(cpus, 11, 3)
    for number, chip, actions in numbered:
        table.add_row(str(number), [0] * cpus, f" {chip}      {actions}")
    for rows in (ARCH_ROWS, dict.fromkeys(HOST_ROWS, ""), ARCH_TAIL):
        for label, words in rows.items():
            host_wide = label in HOST_ROWS
            table.add_row(label, [0] * (1 if host_wide else cpus), "" if host_wide else f"   {words}")
    return table


def interrupts_heading(cpus: int) -> str:
    """The first line of /proc/interrupts."""
    return " " * 11 + "".join(f"CPU{cpu:<8d}" for cpu in range(cpus)) + "\n"


def softirqs_table(cpus: int) -> Table:
    """/proc/softirqs with every counter at 0."""
    table = Table(cpus, 11, 12)
    for label in SOFTIRQS:
        table.add_row(label, [0] * cpus, "")
    return table


def softirqs_heading(cpus: int) -> str:
    """The first line of /proc/softirqs."""
    return " " * 20 + "".join(f"CPU{cpu:<8d}" for cpu in range(cpus)) + "\n"


def load_table(table: Table, text: str) -> None:
    """Takes over the counters of a file in the same format; rows that the table does not have, and torn ones, stay out."""
    for line in text.splitlines()[1:]:
        label, colon, rest = line.partition(":")
        fields = rest.split(None, table.columns)[: table.columns]
        if colon and all(field.isascii() and field.isdigit() for field in fields):
            for column, field in enumerate(fields):
                table.count(label.strip(), column, int(field))


class Softnet:
    """/proc/net/softnet_stat: 32-bit hexadecimal counters that wrap."""

    def __init__(self, cpus: int) -> None:
        self.rows = [[0] * SOFTNET_COLUMNS for _ in range(cpus)]
        for cpu, row in enumerate(self.rows):
            row[_SOFTNET_CPU] = cpu

    def load(self, text: str) -> None:
        """Takes over the counters of a file."""
        for row, line in zip(self.rows, text.splitlines(), strict=False):
            fields = [int(field, 16) for field in line.split()]
            row[:_SOFTNET_CPU] = fields[:_SOFTNET_CPU]

    def count(self, cpu: int, packets: int, squeezes: int) -> None:
        """Packets processed, and rounds that ended with work left over."""
        row = self.rows[cpu]
        row[0] = (row[0] + packets) & 0xFFFFFFFF
        row[2] = (row[2] + squeezes) & 0xFFFFFFFF

    def render(self) -> str:
        """The whole file."""
        pattern = " ".join(["%08x"] * SOFTNET_COLUMNS) + "\n"
        return "".join([pattern % tuple(row) for row in self.rows])


class Stat:
    """/proc/stat: jiffies of USER_HZ per CPU, and the totals of interrupts, switches and softirqs."""

    def __init__(self, cpus: int, btime: int) -> None:
        self.jiffies = [[0] * len(JIFFIES) for _ in range(cpus)]
        self.switches = 0
        self.processes = 4242
        self.btime = btime

    def load(self, text: str) -> None:
        """Takes over the counters of a file."""
        for line in text.splitlines():
            label, _, rest = line.partition(" ")
            fields = [int(field) for field in rest.split()]
            if label.startswith("cpu") and label[3:].isdigit() and int(label[3:]) < len(self.jiffies):
                self.jiffies[int(label[3:])] = fields[: len(JIFFIES)]
            elif label == "ctxt":
                self.switches = fields[0]
            elif label == "processes":
                self.processes = fields[0]
            elif label == "btime":
                self.btime = fields[0]

    def render(self, interrupts: Table, softirqs: Table) -> str:
        """The whole file; the interrupt line names every number up to the last, used or not."""
        sums = [sum(column) for column in zip(*self.jiffies, strict=True)]
        lines = ["cpu  " + " ".join(map(str, sums))]
        lines += [f"cpu{cpu} " + " ".join(map(str, row)) for cpu, row in enumerate(self.jiffies)]
        numbered = {int(label): interrupts.total(label) for label in interrupts.labels if label.isdigit()}
        everything = sum(interrupts.total(label) for label in interrupts.labels if label not in HOST_ROWS)
        each = [str(numbered.get(number, 0)) for number in range(max(numbered, default=-1) + 1)]
        lines.append(" ".join(["intr", str(everything), *each]))
        lines += [f"ctxt {self.switches}", f"btime {self.btime}", f"processes {self.processes}"]
        lines += ["procs_running 2", "procs_blocked 0"]
        by_kind = [softirqs.total(label) for label in SOFTIRQS]
        lines.append(" ".join(["softirq", str(sum(by_kind)), *map(str, by_kind)]))
        return "\n".join(lines) + "\n"


def network_devices(statistics: dict[str, dict[str, int]]) -> str:
    """/proc/net/dev out of the interfaces' statistics, drops summed as dev_seq_printf_stats does."""
    lines = [
        "Inter-|   Receive                                                |  Transmit\n",
    ]
    columns = "bytes    packets errs drop fifo", "compressed"
    lines.append(f" face |{columns[0]} frame {columns[1]} multicast|{columns[0]} colls carrier {columns[1]}\n")
    for name, s in statistics.items():
        frame = s["rx_length_errors"] + s["rx_over_errors"] + s["rx_crc_errors"] + s["rx_frame_errors"]
        carrier = s["tx_carrier_errors"] + s["tx_aborted_errors"] + s["tx_window_errors"] + s["tx_heartbeat_errors"]
        lines.append(
            f"{name:>6}: {s['rx_bytes']:7} {s['rx_packets']:7} {s['rx_errors']:4} {s['rx_dropped'] + s['rx_missed_errors']:4} "
            f"{s['rx_fifo_errors']:4} {frame:5} {s['rx_compressed']:10} {s['multicast']:9} "
            f"{s['tx_bytes']:8} {s['tx_packets']:7} {s['tx_errors']:4} {s['tx_dropped']:4} {s['tx_fifo_errors']:4} "
            f"{s['collisions']:5} {carrier:7} {s['tx_compressed']:10}\n"
        )
    return "".join(lines)


_SNMP = {
    "Ip": "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers "
    "OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates "
    "OutTransmits",
    "Icmp": "InMsgs InErrors InCsumErrors InDestUnreachs OutMsgs OutErrors OutDestUnreachs",
    "Tcp": "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs "
    "RetransSegs InErrs OutRsts InCsumErrors",
    "Udp": "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors",
}
_SNMP_FIXED = {
    "Ip/Forwarding": 2,
    "Ip/DefaultTTL": 64,
    "Tcp/RtoAlgorithm": 1,
    "Tcp/RtoMin": 200,
    "Tcp/RtoMax": 120000,
    "Tcp/MaxConn": -1,
}
_NETSTAT = {
    "TcpExt": "PruneCalled RcvPruned OfoPruned TCPRcvQDrop TCPZeroWindowDrop TCPOFODrop TCPBacklogDrop IPReversePathFilter "
    "BusyPollRxPackets",
    "IpExt": "InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InOctets OutOctets InMcastOctets InCsumErrors",
}


def snmp(values: dict[str, int]) -> str:
    """/proc/net/snmp; ``values`` by ``Udp/InDatagrams``, 0 where missing."""
    return _paired(_SNMP, _SNMP_FIXED | values)


def netstat(values: dict[str, int] | None = None) -> str:
    """/proc/net/netstat, the columns that tell of losses."""
    return _paired(_NETSTAT, values or {})


_UDP_HEAD = (
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"
)
_GROUPS = ("0101FDEF:7531", "0201FDEF:7532")  # as tree_devices.memberships has them joined, ports 30001 and 30002


def udp_sockets(drops: int) -> str:
    """/proc/net/udp: the feed handler's two sockets; the first is the one that overflows."""
    lines = [f"{_UDP_HEAD:<127}\n"]
    for place, address in enumerate(_GROUPS):
        lost = drops & 0xFFFFFFFF if place == 0 else 0
        state = f"{address} 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0"
        line = f"{place:>5}: {state} {20001 + place} 2 0 {lost}"
        lines.append(f"{line:<127}\n")
    return "".join(lines)


def conntrack(cpus: int) -> str:
    """/proc/net/stat/nf_conntrack of a host whose rules track nothing."""
    names = "clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new"
    row = " ".join(["00000000"] * 17)
    return f"entries  {names} expect_create expect_delete search_restart\n" + f"{row}\n" * cpus


def read_paired(text: str) -> dict[str, int]:
    """The counters of a file of paired lines, by ``Udp/InDatagrams``."""
    found = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        group = names.partition(":")[0]
        pairs = zip(names.split()[1:], values.split()[1:], strict=False)
        found.update({f"{group}/{name}": int(value) for name, value in pairs})
    return found


def _paired(table: dict[str, str], values: dict[str, int]) -> str:
    lines = []
    for group, names in table.items():
        numbers = " ".join(str(values.get(f"{group}/{name}", 0)) for name in names.split())
        lines.append(f"{group}: {names}\n{group}: {numbers}\n")
    return "".join(lines)
