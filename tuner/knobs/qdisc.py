"""``nic.qdisc``: the queueing discipline on a NIC's way out.

Source: net/sched/sch_api.c, net/sched/sch_generic.c, tc(8). What the kernel attached by itself has handle 0: and comes back
when the root is taken away; what somebody set is put back with its handle and options. Disciplines with classes, filters or
tables cannot be put back like that: they are left alone unless that is accepted.
"""

import errno
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.host.host import Inventory
from tuner.host.qdiscs import ROOT, Qdisc
from tuner.host.text import printable
from tuner.knobs.knob import About, Disruption, Json, Knob, Reading, State, Unsupported
from tuner.knobs.nic import find_nic
from tuner.language.entry import PART, Entry, Family
from tuner.language.request import Request
from tuner.language.values import Word
from tuner.profile import Place, Setting

DEFAULT = "default"
_PLAIN = ("noqueue", "pfifo_fast", "pfifo", "fq", "fq_codel")
WORDS = (DEFAULT, *_PLAIN, "mq", *(f"mq:{kind}" for kind in _PLAIN if kind != "noqueue"))
_RESTORABLE = (*_PLAIN, "bfifo", "mq", "noop")


class RootQdisc(Knob):
    """The root discipline; the identity is ``tuner.host.nics.Nic.identity``.

    ``now`` is its kind, ``mq:KIND`` where it has one kind below each queue, ``mq:KIND,KIND`` where those differ. ``effective``
    says besides whether it is the kernel's own choice. ``undo`` is a list of [handle, parent, kind, options in hexadecimal].
    """

    family: ClassVar[str] = "nic.qdisc"
    disruption: ClassVar[Disruption] = "link"
    about: ClassVar[About] = About(
        "The queueing discipline on the way out",
        "Where orders leave: mq:pfifo_fast, a plain queue for each transmit queue, or noqueue, which drops instead of waiting "
        "where the ring is full. fq and fq_codel pace and sort, which costs time and helps bulk. On a feed nothing is sent",
        "tc qdisc show dev IF",
        "tc -s qdisc show dev IF: backlog and drops",
        "what is queued is dropped, and sending stops for a moment",
        "the kernel's own choice by taking the root away, else handle and options of each discipline",
        quirks=(
            "a root other than mq on a NIC with several queues is one lock for all senders",
            "mq takes a NIC with several transmit queues (EOPNOTSUPP)",
            "the disciplines below mq are made anew when the number of queues changes",
            "ENOENT: the kernel has no such discipline (fq, fq_codel and others may be modules)",
            "classes, filters and tables (htb, prio, mqprio, taprio, cake) do not come back with the old kind: refused",
        ),
        source="net/sched/sch_api.c, net/sched/sch_generic.c, tc(8)",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The root and what is below it. One dump of all interfaces' disciplines."""
        nic = find_nic(inventory, identity)
        try:
            found = self._found(inventory, nic.name)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Unsupported(f"this host does not tell of queueing disciplines: {error.strerror}") from error
            raise
        root = found[0]
        text = _text(found)
        undo = [[one.handle, one.parent, one.kind, one.options.hex()] for one in found] if root.handle else []
        return Reading(
            now=text,
            effective={"kinds": text, "default": root.handle == 0},
            undo={"kinds": text, "set": undo},
            irreversible=_why_not(inventory, nic.name, found),
        )

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where the kinds are the wanted ones; ``mq`` alone is content with whatever is below it."""
        if wanted == DEFAULT:
            return "ok" if reading.effective["default"] else "differs"
        kinds = str(reading.effective["kinds"])
        return "ok" if kinds == wanted or (wanted == "mq" and kinds.startswith("mq:")) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Replaces the root, and below mq the discipline of each queue."""
        del options
        inventory.refresh()
        nic, syscalls = find_nic(inventory, identity), inventory.host.syscalls
        kind, _, below = str(wanted).partition(":")
        if kind == DEFAULT:
            syscalls.release_root_qdisc(nic.name)
            return
        syscalls.set_qdisc(nic.name, Qdisc(0, ROOT, kind))
        if below:
            self._below(inventory, nic.name, [below])

    def _below(self, inventory: Inventory, name: str, kinds: Sequence[str]) -> None:
        """Puts these kinds below mq, in turn; the last for all that follow."""
        for place, one in enumerate(self._found(inventory, name)[1:]):
            kind = kinds[min(place, len(kinds) - 1)]
            if one.kind != kind:
                inventory.host.syscalls.set_qdisc(name, Qdisc(0, one.parent, kind))

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """The kernel's own choice, or each discipline with its handle and options.

        Raises:
            OSError: a kind with classes cannot be made again with its options (ENOENT, EINVAL).
        """
        inventory.refresh()
        nic, syscalls = find_nic(inventory, identity), inventory.host.syscalls
        if not undo["set"]:
            syscalls.release_root_qdisc(nic.name)
            # somebody may have changed net.core.default_qdisc since the NIC came up: the kinds are what counts
            if (text := self.read(inventory, identity).now) != undo["kinds"]:
                self._again(inventory, nic.name, str(undo["kinds"]), text)
            return
        for handle, parent, kind, options in undo["set"]:
            # what the kernel put below mq comes back with it
            if parent == ROOT or handle:
                syscalls.set_qdisc(nic.name, Qdisc(int(handle), int(parent), str(kind), bytes.fromhex(options)))
        wanted = str(undo["kinds"])
        if wanted.startswith("mq:") and self.read(inventory, identity).now != wanted:
            self._below(inventory, nic.name, _kinds(wanted))

    def _again(self, inventory: Inventory, name: str, wanted: str, now: str) -> None:
        kind, _, below = wanted.partition(":")
        if kind not in _RESTORABLE or kind == "noop" or now == "noop":
            return
        inventory.host.syscalls.set_qdisc(name, Qdisc(0, ROOT, kind))
        if below:
            self._below(inventory, name, _kinds(wanted))

    def same(self, left: Json, right: Json) -> bool:
        """Equal kinds."""
        return bool(left == right)

    @staticmethod
    def _found(inventory: Inventory, name: str) -> tuple[Qdisc, ...]:
        found = inventory.host.syscalls.qdiscs(name)
        # an interface that is down has noop, which the kernel does not tell of
        return found if found and found[0].parent == ROOT else (Qdisc(0, ROOT, "noop"), *found)


def _text(found: Sequence[Qdisc]) -> str:
    root = found[0].kind
    below = [one.kind for one in found[1:]] if root == "mq" else []
    if not below:
        return root
    return f"{root}:{below[0] if len(set(below)) == 1 else ','.join(below)}"


def _kinds(text: str) -> list[str]:
    return text.partition(":")[2].split(",")


def _why_not(inventory: Inventory, name: str, found: Sequence[Qdisc]) -> str:
    """Why what is there could not be put back; empty where it could."""
    strange = sorted({one.kind for one in found} - set(_RESTORABLE))
    if strange:
        return f"its {', '.join(map(printable, strange))} has classes or tables that do not come back"
    if found[0].kind != "mq" and len(found) > 1:
        return f"disciplines stand below its {found[0].kind}"
    if found[0].handle and inventory.host.syscalls.qdisc_filters(name):
        return "filters hang on its discipline, which do not come back"
    return ""


def _ask(request: Request, place: Place, setting: Setting) -> None:
    nic = request.nic(place[1])
    offered = tuple(word for word in WORDS if nic.tx_queues > 1 or not word.startswith("mq"))
    word = request.first(setting, setting.value, offered)
    if word not in offered:
        name = printable(nic.name)
        request.fault(
            setting, f"{name} has one transmit queue, and mq takes several", f'["{word}", "pfifo_fast"] takes what fits'
        )
    request.wish("nic.qdisc", nic.name, nic.identity, word, setting)


FAMILY = Family(
    "Queueing disciplines",
    (RootQdisc(),),
    (Entry(("nic", PART, "qdisc"), Word(WORDS), "the queueing discipline on the way out", _ask),),
)
