"""What a device forgets when it is reset: saved before, put back after.

A ring change takes most drivers through a stop and a start of the device. The link may be gone for seconds, interrupts are
requested anew (their affinity falls back to the driver's spread), coalescing and the RSS table may be the driver's defaults
again, and only what a plan names would be set again: the rest is ours to give back.
"""

import errno
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tuner.host.host import Inventory
from tuner.knobs.catalogue import knob_of
from tuner.knobs.knob import KernelManaged, Knob
from tuner.knobs.nic import find_nic

Setting = Mapping[str, Any]  # {"knob", "identity", "undo"}

# Drivers that reset the MAC for a ring change were seen without carrier for 3 s; autonegotiation takes longer on copper.
CARRIER_WAIT_S = 15.0


def snapshot(inventory: Inventory, knob: Knob, identity: str) -> list[Setting]:
    """The settings that writing this one can move, as the journal keeps them."""
    saved: list[Setting] = []
    for name, moved in knob.moves(inventory, identity):
        try:
            saved.append({"knob": name, "identity": moved, "undo": knob_of(name).read(inventory, moved).saved})
        except LookupError:  # this host has no such setting
            continue
    return saved


def put_back(inventory: Inventory, settings: Iterable[Setting], always: bool = False) -> None:
    """Restores each setting that is no longer what it was; with ``always`` each one. What is gone stays gone.

    Raises:
        OSError: the first refusal, after all settings were tried.
    """
    refused: OSError | None = None
    for setting in settings:
        knob = knob_of(str(setting["knob"]))
        try:
            now = knob.read(inventory, str(setting["identity"])).now
            if always or not knob.same(now, setting["undo"]):
                knob.restore(inventory, str(setting["identity"]), setting["undo"])
        except (LookupError, KernelManaged):
            continue
        except OSError as error:
            refused = refused or error
    if refused is not None:
        raise refused


def has_carrier(inventory: Inventory, identity: str) -> bool:
    """Whether a NIC has a carrier that its reset must give back: an unplugged port has none to wait for."""
    inventory.refresh()
    nic = find_nic(inventory, identity)
    return nic.up and nic.carrier


def wait_for_carrier(inventory: Inventory, identity: str, progress: Callable[[str], None]) -> None:
    """After the reset of a NIC that had one: until it has its carrier again.

    Raises:
        OSError: it has none after 15 s.
    """
    inventory.refresh()
    if not find_nic(inventory, identity).up:
        return
    deadline = time.monotonic() + CARRIER_WAIT_S
    told = False
    while not (nic := find_nic(inventory, identity)).carrier:
        if time.monotonic() > deadline:
            raise OSError(errno.ENETDOWN, f"{nic.name} has no carrier {CARRIER_WAIT_S:.0f} s after its reset")
        if not told:
            progress(f"waiting for the carrier of {nic.name}")
            told = True
        time.sleep(0.05)
        inventory.refresh()
