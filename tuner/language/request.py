"""A profile on its way to a host: the host's parts and core sets for those who ask, and the wishes that come of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuner.cores import CoreSetError, CoreSets
from tuner.host.cpulist import CpuListError, CpuSet, format_list
from tuner.host.faults import Fault
from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.knobs.knob import Json, Wish
from tuner.language.values import AT_LEAST, AT_MOST
from tuner.profile import Profile, Setting


@dataclass(slots=True)
class Request:
    """What a profile asks of a host, with what should be known before it is done.

    Attributes:
        inventory: the host.
        profile: the checked profile.
        bindings: bound part -> NIC name.
        sets: evaluates core sets.
        wishes: what came of it so far.
        roles: core set -> CPU list.
        warnings: for whoever reads the plan.
        conflicts: reasons not to apply it at all.
        faults: what makes no sense on this host.
    """

    inventory: Inventory
    profile: Profile
    bindings: dict[str, str]
    sets: CoreSets
    wishes: list[Wish] = field(default_factory=list)
    roles: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def wish(self, knob: str, target: str, identity: str, wanted: Json, setting: Setting, **options: Json) -> None:
        """Adds one wish; ``setting`` says where it was asked for."""
        self.wishes.append(Wish(knob, target, identity, wanted, setting.source, options))

    def fault(self, setting: Setting, what: str, hint: str = "") -> None:
        """What ``setting`` says makes no sense here."""
        self.faults.append(Fault(setting.source, what, hint))

    def nic(self, part: str) -> Nic:
        """The NIC that a part is bound to."""
        nic = self.inventory.nic(self.bindings[part])
        if nic is None:  # checked when it was bound: it left since
            raise CoreSetError(f"'{part}' is bound to {printable(self.bindings[part])}, which is not on this host")
        return nic

    def cpus(self, setting: Setting, expression: str | None = None) -> CpuSet:
        """The CPUs that a setting names; none is a fault, for whoever needs cores needs at least one."""
        text = str(setting.value) if expression is None else expression
        try:
            cpus = self.sets.evaluate(text)
        except (CoreSetError, CpuListError) as error:
            self.fault(setting, str(error))
            return frozenset()
        if not cpus:
            self.fault(setting, f"'{printable(text, 60)}' is empty on this host")
        return cpus

    def by_cpus(self, setting: Setting) -> list[tuple[str, Json]]:
        """(CPU list, value) for a value of all online CPUs, or of a table of core sets; a CPU in two of them is a fault."""
        value = setting.value
        if not isinstance(value, Mapping):
            return [(format_list(self.inventory.topology.online), value)]
        found: list[tuple[str, Json]] = []
        taken: frozenset[int] = frozenset()
        for expression, each in value.items():
            cpus = self.cpus(setting, expression)
            if shared := cpus & taken:
                self.fault(setting, f"names CPU {format_list(shared)} twice", "core sets of one table must not overlap")
            taken |= cpus
            if cpus:
                found.append((format_list(cpus), each))
        return found

    def count(self, setting: Setting, text: str) -> int:
        """The number that ``count(S)`` means."""
        return len(self.cpus(setting, text.removeprefix("count(").removesuffix(")")))

    def amount(self, setting: Setting, value: Json, now: int | None, maximum: int | None = None) -> int:
        """The number that a ``Whole`` means on this host.

        Args:
            setting: where it was asked for.
            value: a number, ``max``, ``max:N``, ``at-least:N``, ``at-most:N`` or ``count(S)``.
            now: what the host has, for the two that only raise or only lower.
            maximum: the most that the host can have; a larger number is a fault that names it.
        """
        text = str(value)
        if text.startswith("max"):
            limit = text.partition(":")[2]
            number = min(maximum or 0, int(limit)) if limit and maximum else int(limit or maximum or 0)
        elif text.startswith("count("):
            number = self.count(setting, text)
        elif text.startswith((AT_LEAST, AT_MOST)):
            bound = int(text.partition(":")[2])
            number = bound if now is None else max(bound, now) if text.startswith(AT_LEAST) else min(bound, now)
        else:
            number = int(value)
        if maximum is not None and number > maximum:
            self.fault(setting, f"asks for {number}; there are at most {maximum} here", f'"max:{number}" takes what there is')
        return number

    def first(self, setting: Setting, value: Json, offered: tuple[str, ...] | None) -> str:
        """The first word of a list that the host offers (all of them where it does not say); a single word is itself."""
        words = [str(each) for each in value] if isinstance(value, (list, tuple)) else [str(value)]
        if offered is None:
            return words[0]
        del setting
        return next((word for word in words if word in offered), words[0])
