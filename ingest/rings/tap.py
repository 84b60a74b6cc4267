"""The sockets of one interface: a ring for each receiving CPU, and what ties them together."""

from collections.abc import Callable
from dataclasses import dataclass

from ingest.rings.bpf import TAKE_NOTHING, TAKE_RECEIVED
from ingest.rings.filter import Filter
from ingest.rings.filter_program import compile_filter
from ingest.rings.tpacket import Geometry, RingError, Settling, Stamps, TpacketSocket


@dataclass(slots=True)
class Tap:
    """One interface's sockets, one for each ring."""

    ifname: str
    sockets: list[TpacketSocket]
    index: int = 0

    def open(self, count: int, geometry: Geometry, stamps: Stamps) -> None:
        """Makes the rings; nothing is received yet."""
        for _ in range(count):
            self.sockets.append(TpacketSocket(geometry))
            if stamps == "nic":
                self.sockets[-1].stamp_by_nic()
        self.index = self.sockets[0].index_of(self.ifname)

    def connect(self, promiscuous: bool, wanted: Filter | None) -> None:
        """Binds all sockets and lets those packets in that are wanted.

        A socket has to be bound before it can join a group, and until then it would receive every packet, not its CPU's: so
        all of them begin with a filter that takes nothing.
        """
        program = compile_filter(wanted, self.sockets[0].hardware_type(self.index)) if wanted else TAKE_RECEIVED
        for each in self.sockets:
            each.take(TAKE_NOTHING)
            each.bind(self.index)
        if promiscuous:
            self.sockets[0].promiscuous(self.index)
        if len(self.sockets) > 1:
            group = None
            for each in self.sockets:  # the order of joining is the order of CPUs
                group = each.join(group)
            Settling().wait()
        for each in self.sockets:
            each.take(program)

    def close(self) -> None:
        """Gives all rings back."""
        for each in self.sockets:
            each.close()


def open_sockets(taps: list[Tap], geometry_of: Callable[[int], Geometry], rings: int, stamps: Stamps) -> None:
    """So many rings of each interface; ``geometry_of`` says how large they are, given how many there are in all.

    Raises:
        RingError: they cannot be had.
    """
    names = [tap.ifname for tap in taps]
    if not 1 <= rings <= 256 or not 1 <= len(names) <= 16 or len(set(names)) < len(names):
        raise RingError(f"{rings} rings of {len(names)} interfaces cannot be had: 1 to 256, of 1 to 16 different ones")
    geometry = geometry_of(rings * len(names))
    for tap in taps:
        tap.open(rings, geometry, stamps)
