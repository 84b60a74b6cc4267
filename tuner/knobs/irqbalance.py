"""``[services] irqbalance``: stopped, or steered around the cores and interrupts that a profile places.

irqbalance leaves alone by itself only what the kernel isolated at boot (/sys/devices/system/cpu/isolated and nohz_full): a
partition that was made at run time means nothing to it (cputree.c, setup_banned_cpus). Its socket takes bans without a restart.
"""

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tuner.cores import CoreSetError
from tuner.host.cpulist import CpuSet, format_list, parse_list
from tuner.host.host import Inventory
from tuner.host.irqbalance import Bans
from tuner.host.irqs import Irq
from tuner.host.nics import Nic
from tuner.host.text import is_number
from tuner.knobs.channels import queues_to_come
from tuner.knobs.knob import About, Json, Knob, Reading, State
from tuner.knobs.services import wish_stopped
from tuner.language.entry import Entry, Family
from tuner.language.request import Request
from tuner.language.values import Word

# It takes CPUs into account at its next round; a kernel that is busy may make that late.
_ROUND_S, _LATE_S, _LOOK_S = 30, 2.0, 0.1
_PLACED = ("rx", "tx", "app")


class IrqbalanceBans(Knob):
    """CPUs and interrupts that irqbalance leaves alone; the identity is always ``irqbalance``.

    A value is ``{"cpus": CPU list, "irqs": [identity]}``, None where it does not run; the interrupt of a queue is there by
    (NIC, queue), too, since another number of channels makes others of it. Wanted is the least: what is banned stays so.
    """

    family: ClassVar[str] = "services.irqbalance_bans"
    about: ClassVar[About] = About(
        "What irqbalance leaves alone: trading cores, and the interrupts that a profile places",
        "Keeps irqbalance for everything else. Stopping it is simpler and surer; steering it serves a host whose other "
        "interrupts change all day",
        "irqbalance-ui, or setup over its socket: /run/irqbalance/irqbalancePID.sock or @irqbalancePID.sock",
        effective="the answer to setup",
        risk="irqbalance looks at the machine anew and may move interrupts that nobody placed",
        undo="what was banned before",
        quirks=(
            "CPUs are taken at its next round, up to ten seconds later; apply and rollback wait for it",
            "a ban ends with the process: after a restart of irqbalance verify says differs",
            "it bans interrupts by their numbers, which a driver may change when it resets",
            "only root is answered: as anybody else the state is unverifiable",
        ),
        source="irqbalance(1), irqbalance.c",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """What it leaves alone now."""
        del identity
        bans = inventory.host.syscalls.irqbalance_bans()
        if bans is None:
            return Reading(now=None, effective=None, note="irqbalance does not run")
        now = _value(inventory, bans)
        return Reading(now=now, effective=now)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """``ok`` where all that was wanted is banned, or it does not run."""
        if reading.effective is None:
            return "ok"
        cpus = parse_list(wanted["cpus"]) <= parse_list(reading.effective["cpus"])
        return "ok" if cpus and set(wanted["irqs"]) <= set(reading.effective["irqs"]) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Bans what is wanted and what was banned, and waits for its next round."""
        del options
        now = self.read(inventory, identity).now
        if now is not None:
            cpus = parse_list(now["cpus"]) | parse_list(wanted["cpus"])
            self._set(inventory, cpus, [*now["irqs"], *wanted["irqs"]])

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Bans what was banned before; a daemon that was started since knows nothing of ours."""
        if undo is not None and self.read(inventory, identity).now is not None:
            self._set(inventory, parse_list(undo["cpus"]), undo["irqs"])

    def same(self, left: Json, right: Json) -> bool:
        """Equal sets, or no irqbalance on one side: it took its bans with it."""
        if left is None or right is None:
            return True
        return parse_list(left["cpus"]) == parse_list(right["cpus"]) and set(left["irqs"]) == set(right["irqs"])

    @staticmethod
    def _set(inventory: Inventory, cpus: CpuSet, irqs: list[str]) -> None:
        syscalls = inventory.host.syscalls
        inventory.refresh()  # channels and rings may have been changed since the interrupts were read
        wanted = set(irqs)
        numbers = {irq.number for irq in inventory.irqs if wanted & set(_names(inventory, irq))}
        numbers |= {int(each[3:]) for each in irqs if each.startswith("irq") and is_number(each[3:])}
        syscalls.set_irqbalance_bans(cpus, frozenset(numbers))
        before = syscalls.irqbalance_bans()
        deadline = time.monotonic() + min(before.interval_s if before else 0, _ROUND_S) + _LATE_S
        while (now := syscalls.irqbalance_bans()) is not None and now.cpus != cpus and time.monotonic() < deadline:
            time.sleep(_LOOK_S)

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """The one daemon."""
        del inventory
        return [("irqbalance", "irqbalance")]


def _value(inventory: Inventory, bans: Bans) -> Json:
    names = {irq.number: _names(inventory, irq) for irq in inventory.irqs}
    banned = {name for number in bans.irqs for name in names.get(number, (f"irq{number}",))}
    return {"cpus": format_list(bans.cpus), "irqs": sorted(banned)}


def _names(inventory: Inventory, irq: Irq) -> tuple[str, ...]:
    """Its identity, and for the interrupt of a queue which one that is."""
    nic = inventory.nic(irq.device) if irq.queue is not None and irq.receives else None
    return (irq.identity,) if nic is None or irq.queue is None else (irq.identity, _queue(nic, irq.queue))


def _queue(nic: Nic, queue: int) -> str:
    return f"{nic.identity} queue {queue}"


def _ask(request: Request) -> None:
    setting = request.profile.get("services", "irqbalance")
    if setting is None:
        return
    word = request.first(setting, setting.value, None)
    if word == "stop":
        wish_stopped(request, "irqbalance.service", setting)
    if word != "ban":
        return
    cpus: CpuSet = frozenset()
    isolated = request.profile.get("isolation", "cores")
    if isolated is not None:
        cpus |= request.cpus(isolated)
    for name in _PLACED:
        if name in request.sets.names:
            try:
                cpus |= request.sets.named(name)
            except CoreSetError as error:
                request.fault(setting, str(error))
    if not cpus:
        request.fault(setting, "has no cores to keep irqbalance from", "name isolation.cores, or a core set rx, tx or app")
        return
    parts = [key[0] for key in request.profile.below("irq") if key != ("default",)]
    irqs: list[str] = []
    for nic in {request.bindings[part]: request.nic(part) for part in parts}.values():
        own = [irq for irq in request.inventory.irqs if irq.device == nic.name and irq.receives and not irq.managed]
        coming = queues_to_come(request, nic)
        queues = sorted({irq.queue for irq in own if irq.queue is not None}) if coming is None else range(coming)
        irqs += [_queue(nic, queue) for queue in queues] or [irq.identity for irq in own]
    wanted = {"cpus": format_list(cpus), "irqs": irqs}
    request.wish(IrqbalanceBans.family, "irqbalance", "irqbalance", wanted, setting)


FAMILY = Family(
    "irqbalance",
    (IrqbalanceBans(),),
    (
        Entry(
            ("services", "irqbalance"),
            Word(("stop", "ban", "leave")),
            "stop it, or keep it from isolated and rx cores and from the queues that [irq] places",
            knobs=("services.irqbalance_bans", "services.stopped"),
        ),
    ),
    _ask,
)
