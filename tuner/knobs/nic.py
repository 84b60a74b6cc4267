"""Which NIC a knob works on, and what all knobs of a driver's settings share.

A NIC is found anew at every call, since names and numbers change under it. All settings of one group that a profile asks for go
to the driver in one request: each may be a reset, and between two requests the driver may stand where it refuses to be (no
packet and no time to wait for at once).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from tuner.host.ethtool_values import Value, Values
from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.knobs.knob import Disruption, Gone, Json, Knob, Reading, State, Unsupported
from tuner.language.request import Request
from tuner.profile import Setting


def find_nic(inventory: Inventory, identity: str) -> Nic:
    """The NIC of that identity, under whatever name. A setting's own name may stand behind a blank, which no identity has.

    Raises:
        Gone: no such PCI function with that address here.
    """
    own = identity.partition(" ")[0]
    nic = inventory.nic_by_identity(own)
    if nic is None:
        raise Gone(f"no NIC {own} on this host")
    return nic


def moved_by_reset(inventory: Inventory, identity: str, kept: str = "nic.settings") -> Sequence[tuple[str, str]]:
    """What a NIC's reset moves besides: its interrupts' affinities, and what its driver forgets when it opens it again."""
    nic = find_nic(inventory, identity)
    interrupts = [irq.identity for irq in inventory.irqs if irq.device == nic.name and not irq.managed]
    return [(kept, identity), *(("irq.affinity", each) for each in interrupts)]


def driver_of(nic: Nic) -> str:
    """What to call its driver."""
    return nic.driver or "the driver"


class DriverValue(Knob):
    """One setting of a NIC's driver in one group; the identity is ``tuner.host.nics.Nic.identity``.

    Attributes:
        group: of ``tuner.host.ethtool_values``.
        key: the setting's name in its group.
        kept: the knob that keeps what its reset moves; empty: it moves nothing.
        disturbs: driver -> what writing it there disturbs, where that is not ``disruption``.
    """

    group: ClassVar[str]
    key: ClassVar[str]
    kept: ClassVar[str] = ""
    disturbs: ClassVar[Mapping[str, Disruption]] = {}

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The value as the driver has it."""
        nic = find_nic(inventory, identity)
        now = read_group(inventory, nic, self.group)
        if self.key not in now:
            raise Unsupported(f"{driver_of(nic)} has no {self.key}; it has {', '.join(now) or 'none'}")
        return self.reading(nic, now)

    def reading(self, nic: Nic, now: Values) -> Reading:
        """What the group's values say of this one."""
        del nic
        return Reading(now=now[self.key], effective=now[self.key])

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal."""
        return "ok" if reading.effective == wanted else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """One request for this and all that the plan asks for in its group.

        Raises:
            OSError: as the driver refuses it; the text names all that was asked for.
        """
        together = dict(options.get("together") or {}) or {self.key: wanted}
        try:
            self._set(inventory, identity, together)
        except OSError as error:
            asked = ", ".join(f"{printable(name)} = {value}" for name, value in together.items())
            reason = self.refused(inventory, identity, error)
            raise type(error)(error.errno, f"{error.strerror} to {asked}{reason}") from error

    def refused(self, inventory: Inventory, identity: str, error: OSError) -> str:
        """Why a driver is known to refuse, with what to do about it."""
        del inventory, identity, error
        return ""

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Sets the saved value; nothing where it is so."""
        inventory.refresh()  # another NIC may have taken the name since
        if read_group(inventory, find_nic(inventory, identity), self.group).get(self.key) != undo:
            self._set(inventory, identity, {self.key: undo})

    def same(self, left: Json, right: Json) -> bool:
        """Equal values."""
        return bool(left == right)

    def moves(self, inventory: Inventory, identity: str) -> Sequence[tuple[str, str]]:
        """All that the driver may forget when it resets for this."""
        if not self.kept or self.disrupts(inventory, identity) == "none":
            return ()
        return [(self.kept, identity.partition(" ")[0])]

    def disrupts(self, inventory: Inventory, identity: str) -> Disruption:
        """By the driver's name."""
        return self.disturbs.get(find_nic(inventory, identity).driver, self.disruption)

    def _set(self, inventory: Inventory, identity: str, values: Mapping[str, Value]) -> None:
        inventory.refresh()
        inventory.host.syscalls.set_nic_values(find_nic(inventory, identity).name, self.group, values)
        inventory.refresh()


def read_group(inventory: Inventory, nic: Nic, group: str) -> Values:
    """The values of a group.

    Raises:
        Unsupported: the driver has no such group.
        OSError: ENODEV: the NIC is gone; EPERM: not for this user.
    """
    try:
        return inventory.once(("nic", nic.name, group), lambda: inventory.host.syscalls.nic_values(nic.name, group))
    except PermissionError:
        raise
    except OSError as error:
        raise Unsupported(f"{driver_of(nic)} shows no {group.replace('_', ' ')}: {error.strerror}") from error


def wish_together(
    request: Request, nic: Nic, group: str, wishes: Iterable[tuple[str, str, str, Json, Setting]], there: Iterable[str]
) -> None:
    """Asks for some settings of a group by one request to the driver.

    Args:
        request: where the wishes go.
        nic: the NIC.
        group: their group.
        wishes: (knob, identity, key in the group, wanted, setting) of each.
        there: the keys that the driver has; what it has not stays out of the request, and is shown as unsupported.
    """
    rows, known = list(wishes), set(there)
    together = {key: wanted for _, _, key, wanted, _ in rows if key in known}
    for knob, identity, key, wanted, setting in rows:
        options = {"request": f"{group} {nic.identity}", "together": together, "key": key} if key in known else {}
        request.wish(knob, nic.name, identity, wanted, setting, **options)


def parts_of(request: Request, table: str) -> dict[str, dict[str, Setting]]:
    """Bound part -> the settings that a profile has in that table of its NIC."""
    found: dict[str, dict[str, Setting]] = {}
    for place, setting in request.profile.below("nic").items():
        if len(place) == 3 and place[1] == table:
            found.setdefault(place[0], {})[place[2]] = setting
    return found
