"""The part of a tree's port that is about one NIC's queues, stack and stamps: kept in ``/ethtool/<if>.json``.

As ixgbe answers it, but for flow rules, which need no ntuple feature here. What a driver refuses is refused before anything
changed; every answer is a function of the document, so that what is put back is the same to the byte.
"""

import errno
import os
from collections.abc import Sequence
from typing import Any

from tuner.host.files import HostFiles
from tuner.host.flow_rules import DROP, Flow, FlowTable, Rule, free_place
from tuner.host.hwtstamp import RECEIVE, TRANSMIT, Timestamping
from tuner.host.qdiscs import ROOT, Qdisc
from tuner.host.rss import FIELDS, Rss
from tuner.host.simulated.documents import Document, change_document
from tuner.host.simulated.nic_stack import default_qdiscs
from tuner.host.simulated.tree_devices import default_indirection

_QDISCS = ("pfifo_fast", "fq_codel", "fq", "pfifo", "noqueue", "mq")
_OUR_HANDLE = 0x8001  # the first that the kernel gives


class SimulatedNicSyscalls:
    """See tuner.host.nic_syscalls."""

    _files: HostFiles

    def _path(self, ifname: str) -> str:
        raise NotImplementedError

    def _ethtool(self, ifname: str) -> Document:
        raise NotImplementedError

    def rss(self, ifname: str) -> Rss:
        """See NicSyscalls."""
        part = self._table(ifname, "rss")
        table, key = part.get("indirection"), part.get("key")
        if not isinstance(table, list) or not all(isinstance(entry, int) and entry >= 0 for entry in table):
            raise OSError(errno.EBADMSG, "the indirection table is no list of queues", ifname)
        try:
            octets = bytes.fromhex(str(key).replace(":", "")) if key else b""
        except ValueError as error:
            raise OSError(errno.EBADMSG, "the key is not hexadecimal", ifname) from error
        return Rss(tuple(table), octets, str(part.get("function", "")), self._queues(ifname))

    def set_rss_table(self, ifname: str, table: Sequence[int] | None) -> None:
        """See NicSyscalls."""
        now = self.rss(ifname)
        if table is not None and (len(table) != len(now.table) or max(table) >= now.queues):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), ifname)
        wanted = default_indirection(now.queues) if table is None else list(table)
        self._change(ifname, lambda document: document["rss"].update(indirection=wanted))

    def set_rss_key(self, ifname: str, key: bytes) -> None:
        """See NicSyscalls."""
        if len(key) != len(self.rss(ifname).key):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), ifname)
        self._change(ifname, lambda document: document["rss"].update(key=key.hex(":")))

    def hash_fields(self, ifname: str, flow: str) -> str:
        """See NicSyscalls."""
        fields = self._table(ifname, "hash_fields").get(flow)
        if not isinstance(fields, str):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), ifname)
        return fields

    def set_hash_fields(self, ifname: str, flow: str, fields: str) -> None:
        """See NicSyscalls. As ixgbe_set_rss_hash_opt: addresses always, ports both or none; of TCP always."""
        self.hash_fields(ifname, flow)
        if set(fields) not in ({"s", "d"}, {"s", "d", "f", "n"}) or (flow.startswith("tcp") and len(fields) != 4):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), ifname)
        spelled = "".join(letter for letter in FIELDS if letter in fields)
        self._change(ifname, lambda document: document["hash_fields"].update({flow: spelled}))

    def flow_table(self, ifname: str) -> FlowTable:
        """See NicSyscalls."""
        part = self._table(ifname, "flow_table")
        try:
            rules = [Rule(int(row["location"]), Flow(**row["flow"]), int(row["queue"])) for row in part["rules"]]
            return FlowTable({rule.location: rule for rule in rules}, int(part["size"]))
        except (KeyError, TypeError, ValueError) as error:
            raise OSError(errno.EBADMSG, f"not a flow table ({error!r})", ifname) from error

    def set_flow_rule(self, ifname: str, flow: Flow, queue: int, location: int | None) -> int:
        """See NicSyscalls."""
        table = self.flow_table(ifname)
        place = free_place(table) if location is None else location
        if place >= table.size or (queue != DROP and not 0 <= queue < self._queues(ifname)):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), ifname)
        kept = {key: each for key, each in table.rules.items() if key != place}
        self._set_rules(ifname, kept | {place: Rule(place, flow, queue)})
        return place

    def release_flow_rule(self, ifname: str, location: int) -> None:
        """See NicSyscalls."""
        rules = dict(self.flow_table(ifname).rules)
        if rules.pop(location, None) is None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), ifname)  # as ixgbe_update_ethtool_fdir_entry
        self._set_rules(ifname, rules)

    def _set_rules(self, ifname: str, rules: dict[int, Rule]) -> None:
        rows = [
            {
                "location": rule.location,
                "flow": {name: getattr(rule.flow, name) for name in Flow.__dataclass_fields__},
                "queue": rule.queue,
            }
            for _, rule in sorted(rules.items())
        ]
        self._change(ifname, lambda document: document["flow_table"].update(rules=rows))

    def timestamping(self, ifname: str) -> Timestamping:
        """See NicSyscalls."""
        part = self._table(ifname, "timestamping")
        try:
            return Timestamping(str(part["transmit"]), str(part["receive"]), int(part["flags"]))
        except (KeyError, TypeError, ValueError) as error:
            raise OSError(errno.EBADMSG, f"no timestamping ({error!r})", ifname) from error

    def set_timestamping(self, ifname: str, wanted: Timestamping) -> Timestamping:
        """See NicSyscalls. As an X550: all packets, or all of PTP version 2, whatever kind of it was asked for."""
        self.timestamping(ifname)
        if wanted.receive not in RECEIVE or wanted.transmit not in TRANSMIT[:2]:
            raise OSError(errno.ERANGE, os.strerror(errno.ERANGE), ifname)
        receive = "ptpv2-event" if wanted.receive.startswith("ptpv2-") else wanted.receive
        made = Timestamping(wanted.transmit, receive, wanted.flags)
        fields = {"transmit": made.transmit, "receive": made.receive, "flags": made.flags}
        self._change(ifname, lambda document: document["timestamping"].update(fields))
        return made

    def qdiscs(self, ifname: str) -> tuple[Qdisc, ...]:
        """See NicSyscalls."""
        rows = self._ethtool(ifname).get("qdiscs")
        if not isinstance(rows, list):
            raise OSError(errno.EOPNOTSUPP, "the document has no qdiscs", ifname)
        try:
            return tuple(
                Qdisc(int(row["handle"]), int(row["parent"]), str(row["kind"]), bytes.fromhex(row["options"])) for row in rows
            )
        except (KeyError, TypeError, ValueError) as error:
            raise OSError(errno.EBADMSG, f"no list of qdiscs ({error!r})", ifname) from error

    def qdisc_filters(self, ifname: str) -> int:
        """See NicSyscalls."""
        self.qdiscs(ifname)
        return 0

    def set_qdisc(self, ifname: str, wanted: Qdisc) -> None:
        """See NicSyscalls."""
        now, queues = self.qdiscs(ifname), self._queues(ifname)
        if wanted.kind not in _QDISCS:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), ifname)
        if wanted.parent != ROOT:
            if not any(one.parent == wanted.parent for one in now) or not wanted.parent >> 16:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), ifname)
            handle = _OUR_HANDLE + (wanted.parent & 0xFFFF)
            new = Qdisc(handle << 16, wanted.parent, wanted.kind, wanted.options)
            rows = [_row(new if one.parent == new.parent else one) for one in now]
        elif wanted.kind == "mq":
            if queues == 1:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), ifname)
            rows = default_qdiscs(queues, self._default_qdisc(), wanted.handle >> 16 or _OUR_HANDLE)
        else:
            rows = [_row(Qdisc(wanted.handle or _OUR_HANDLE << 16, ROOT, wanted.kind, wanted.options))]
        self._change(ifname, lambda document: document.update(qdiscs=rows))

    def release_root_qdisc(self, ifname: str) -> None:
        """See NicSyscalls."""
        self.qdiscs(ifname)
        rows = default_qdiscs(self._queues(ifname), self._default_qdisc())
        self._change(ifname, lambda document: document.update(qdiscs=rows))

    def _default_qdisc(self) -> str:
        return self._files.optional("/proc/sys/net/core/default_qdisc") or "pfifo_fast"

    def _queues(self, ifname: str) -> int:
        channels = self._table(ifname, "channels")
        return max(1, int(channels.get("combined", 0)) + int(channels.get("rx", 0)))

    def _table(self, ifname: str, name: str) -> dict[str, Any]:
        part = self._ethtool(ifname).get(name)
        if not isinstance(part, dict):
            raise OSError(errno.EOPNOTSUPP, f"the document has no {name}", ifname)
        return part

    def _change(self, ifname: str, change: Any) -> None:
        change_document(self._path(ifname), change)


def _row(one: Qdisc) -> dict[str, object]:
    return {"handle": one.handle, "parent": one.parent, "kind": one.kind, "options": one.options.hex()}
