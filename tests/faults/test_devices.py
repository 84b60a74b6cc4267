"""Devices that change between plan, apply and rollback: what is restored is the same device, or it is gone (promise R7)."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine import Sim, tree_of
from port import Faults, die, faulty, in_child

from tuner.host.host import Host
from tuner.permission import Options
from tuner.plan import Plan
from tuner.transaction import Result, apply
from tuner.undo import recover

pytestmark = pytest.mark.promise("R7")
TWO = {"nics": 2, "queues": 2}


def apply_plan(sim: Sim, plan: Plan, host: Host | None = None, progress: Any = lambda _: None) -> Result:
    """Applies a plan that was made before something changed."""
    with sim.store.lock():
        options = Options(allow=frozenset({"link"}))
        return apply(host or sim.host, sim.store, plan, options, lambda _: None, progress, lambda: "")


def undone(sim: Sim) -> dict[str, set[str]]:
    """Rolls back; (result) -> the targets of which it is told."""
    record = sim.json("rollback")
    results: dict[str, set[str]] = {}
    for each in record["undone"]:
        results.setdefault(each["result"], set()).add(f"{each['knob']} {each['target']}")
    return results | {"outcome": record["outcome"]}


def rename(sim: Sim, old: str, new: str) -> None:
    """As ``ip link set OLD name NEW`` on an interface that may stay up meanwhile: interrupts keep their names."""
    root = Path(sim.root)
    link = root / f"sys/class/net/{old}"
    base = link.resolve()
    target = os.readlink(link)
    base.rename(base.with_name(new))
    link.unlink()
    (root / f"sys/class/net/{new}").symlink_to(target.removesuffix(old) + new)
    (root / f"ethtool/{old}.json").rename(root / f"ethtool/{new}.json")


def swapped_names(sim: Sim) -> None:
    """eth2 is called feed0 now, and eth3 has taken its name."""
    rename(sim, "eth2", "feed0")
    rename(sim, "eth3", "eth2")


def unplug(sim: Sim) -> None:
    """eth2 is gone: its interface, its PCI function, and its interrupts."""
    root = Path(sim.root)
    function = (root / "sys/class/net/eth2/device").resolve()
    numbers = os.listdir(function / "msi_irqs")
    for place in ("sys/class/net/eth2", f"sys/bus/pci/devices/{function.name}", f"sys/bus/pci/drivers/ixgbe/{function.name}"):
        (root / place).unlink()
    (root / "ethtool/eth2.json").unlink()
    shutil.rmtree(function)
    for number in numbers:
        shutil.rmtree(root / f"proc/irq/{number}")
    table = root / "proc/interrupts"
    gone = tuple(f"{number}:" for number in numbers)
    kept = [line for line in table.read_text().splitlines(keepends=True) if not line.strip().startswith(gone)]
    table.write_text("".join(kept))


def exchange(sim: Sim, one: int, other: int) -> None:
    """Two interrupts get each other's number, as after a reset; what was asked of each goes with it."""
    root = Path(sim.root)
    irqs = root / "proc/irq"
    (irqs / str(one)).rename(irqs / "between")
    (irqs / str(other)).rename(irqs / str(one))
    (irqs / "between").rename(irqs / str(other))
    table = root / "proc/interrupts"
    lines = table.read_text().splitlines(keepends=True)
    at = {number: next(i for i, line in enumerate(lines) if line.strip().startswith(f"{number}:")) for number in (one, other)}
    tails = {number: lines[place].partition(":")[2] for number, place in at.items()}
    heads = {number: lines[place].partition(":")[0] for number, place in at.items()}
    for number, instead in ((one, other), (other, one)):
        lines[at[number]] = f"{heads[number]}:{tails[instead]}"
    table.write_text("".join(lines))
    vectors = {n: next(root.glob(f"sys/devices/pci*/*/*/msi_irqs/{n}")) for n in (one, other)}
    if vectors[one].parent != vectors[other].parent:
        vectors[one].rename(vectors[one].with_name(str(other)))
        vectors[other].rename(vectors[other].with_name(str(one)))


def asked(sim: Sim) -> dict[str, str]:
    """Action -> what was asked of its interrupt, whatever its number is."""
    irqs = Path(sim.root) / "proc/irq"
    return {action.name: (action.parent / "smp_affinity_list").read_text() for action in irqs.glob("*/*") if action.is_dir()}


@pytest.fixture
def pair(new_sim: Callable[..., Sim]) -> tuple[Sim, Sim]:
    """The host of the test, and one on which only the hardware changes: what the first must be like in the end."""
    return new_sim(**TWO), new_sim(**TWO)


def test_a_renamed_nic_is_found_and_the_one_with_its_name_left_alone(pair: tuple[Sim, Sim]) -> None:
    sim, alike = pair
    assert sim.run("apply", "feed-handler", "--allow", "link").returncode == 0
    swapped_names(sim)
    swapped_names(alike)
    assert set(undone(sim)) == {"restored", "outcome"}
    assert tree_of(sim.root) == tree_of(alike.root)


def test_a_nic_renamed_between_plan_and_write(pair: tuple[Sim, Sim]) -> None:
    sim, alike = pair
    assert alike.apply().outcome == "confirmed"
    swapped_names(alike)
    plan = sim.plan()
    swapped_names(sim)
    assert apply_plan(sim, plan).outcome == "confirmed"
    assert tree_of(sim.root) == tree_of(alike.root)
    assert json.loads(sim.text("/ethtool/eth2.json"))["rings"]["rx"] == 512
    assert json.loads(sim.text("/ethtool/feed0.json"))["rings"]["rx"] == 4096


def test_a_nic_renamed_between_the_last_look_and_the_write(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim(**TWO)

    def progress(line: str) -> None:
        if line.startswith("nic.rings"):
            swapped_names(sim)

    apply_plan(sim, sim.plan(), progress=progress)
    assert json.loads(sim.text("/ethtool/eth2.json"))["rings"]["rx"] == 512


def test_a_nic_renamed_while_down_has_new_names_for_its_interrupts(sim: Sim) -> None:
    """Down, renamed, up: the driver requests its interrupts anew, named after the interface; udev renames in this way."""
    assert sim.apply().outcome == "confirmed"
    rename(sim, "eth2", "feed0")
    for action in [*Path(sim.root).glob("proc/irq/*/eth2"), *Path(sim.root).glob("proc/irq/*/eth2-*")]:
        action.rename(action.with_name(action.name.replace("eth2", "feed0")))
    table = Path(sim.root) / "proc/interrupts"
    table.write_text(table.read_text().replace("eth2", "feed0"))
    results = undone(sim)
    assert asked(sim)["feed0-TxRx-0"] == "0-3\n"
    assert set(results) == {"restored", "outcome"}


def test_a_nic_that_is_gone_keeps_nothing_else_from_being_restored(pair: tuple[Sim, Sim]) -> None:
    sim, alike = pair
    assert sim.run("apply", "feed-handler", "--allow", "link").returncode == 0
    unplug(sim)
    unplug(alike)
    results = undone(sim)
    assert set(results) == {"restored", "gone", "outcome"}
    assert results["outcome"] == "rolled-back"
    assert all("eth2" in name for name in results["gone"]), results["gone"]
    assert tree_of(sim.root) == tree_of(alike.root)
    assert sim.json("rollback", status=0)["outcome"] == "unchanged"


@pytest.mark.parametrize("crash", [False, True], ids=["goes on", "dies there, too"])
def test_a_nic_unplugged_before_any_change_of_an_apply(
    new_sim: Callable[..., Sim], crash: bool, held: Callable[[int], None]
) -> None:
    """What was made is undone, or nothing of the rest needs the NIC and it is kept; never half of it."""
    wanted, alike = new_sim(**TWO), new_sim(**TWO)
    made = Faults()
    assert wanted.apply(host=faulty(wanted, made)).outcome == "confirmed"
    unplug(wanted)
    unplug(alike)
    new, old = tree_of(wanted.root), tree_of(alike.root)
    seen = set()
    for place in range(1, len(made.made) + 1, 3 if crash else 2):
        sim = new_sim(**TWO)

        def pulled(sim: Sim = sim, what: str = made.made[place - 1]) -> None:
            unplug(sim)
            if crash:
                die()
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), what)

        faults = Faults(at={place: pulled})
        if crash:
            assert in_child(lambda: sim.apply(host=faulty(sim, faults)))  # noqa: B023
            with sim.store.lock():
                recover(sim.host, sim.store)
        else:
            result = sim.apply(host=faulty(sim, faults))
            assert result.outcome == "rolled-back", (place, result)
            assert "No such device" in result.error
        now = tree_of(sim.root)
        assert now in (old, new), (place, made.made[place - 1])
        seen.add("old" if now == old else "new")
        shutil.rmtree(Path(sim.root).parent)
    assert seen == {"old"}
    held(len(range(1, len(made.made) + 1, 3 if crash else 2)))


IRQS = """
[bind]
feed = "nic"
[irq]
default = "0-1"
feed = { cores = "2-3", spread = "one-each" }
"""


@pytest.mark.parametrize(
    ("numbers", "when"),
    [((31, 32), "after apply"), ((31, 32), "by the reset"), ((31, 30), "after apply"), ((32, 29), "after apply")],
    ids=["two queues", "two queues, by the reset", "another device's", "yet another's"],
)
def test_interrupts_that_exchange_their_numbers(sim: Sim, numbers: tuple[int, int], when: str) -> None:
    """By (device, action), never by number: each had another affinity to go back to."""
    for number, cpus in ((29, "0-1"), (30, "0,2"), (31, "1-3"), (32, "2-3"), (33, "0-2")):
        sim.write(f"/proc/irq/{number}/smp_affinity_list", cpus)
    before = asked(sim)
    assert len({before[name] for name in ("xhci_hcd", "eth2-TxRx-0", "eth2-TxRx-1", "eth2")}) == 4
    host = sim.host

    def reset() -> None:
        host.syscalls.set_rings("eth2", rx=4096)
        exchange(sim, *numbers)

    # the simulated kernel knows the NIC's interrupts by their first numbers: no ring is changed where others take those
    profile = "feed-handler" if numbers == (31, 32) else sim.profile(IRQS)
    result = sim.apply(profile, host=faulty(sim, Faults(at={1: reset} if when == "by the reset" else {})))
    assert result.outcome == "confirmed", result.error
    if when == "after apply":
        exchange(sim, *numbers)
    assert (asked(sim)["eth2-TxRx-0"], asked(sim)["eth2-TxRx-1"], asked(sim)["xhci_hcd"]) == ("2\n", "3\n", "0-1\n")
    assert set(undone(sim)) == {"restored", "outcome"}
    assert asked(sim) == before
