"""Hyper-threading switched off and on again, and single CPUs offline, on a host with two threads a core."""

import errno
import os
from collections.abc import Callable

import pytest
from engine import Sim
from port import Faults, die, faulty, in_child

from tuner.host.host import Inventory
from tuner.knobs.cpus import Offline, Smt
from tuner.knobs.knob import Unsupported
from tuner.profile import ProfileError
from tuner.undo import recover, rollback

OFF = '[cpus]\nsmt = "off"\n'
SIBLINGS = '[cores]\nrx = "2-3"\n[cpus]\noffline = "smt(rx) - rx"\n'


@pytest.fixture
def sim(new_sim: Callable[..., Sim]) -> Sim:
    """Cores 0 to 3 with their second threads 4 to 7, of which one has an interrupt of its own."""
    made = new_sim(cores=4, smt=2)
    made.write("/proc/irq/1/smp_affinity_list", "6")
    from dataclasses import replace

    from engine import tree_of

    return replace(made, before=tree_of(made.root))


@pytest.mark.parametrize("text", [OFF, SIBLINGS], ids=["smt", "siblings"])
def test_it_is_applied_verified_and_put_back_to_the_byte(sim: Sim, text: str) -> None:
    profile = sim.profile(text)
    [change] = sim.plan(profile).differing
    assert change.disruption == "service"
    assert sim.apply(profile).outcome == "confirmed"
    gone = "4-7" if text is OFF else "6-7"
    assert sim.text("/sys/devices/system/cpu/offline") == f"{gone}\n"
    assert not sim.host.files.exists("/sys/devices/system/cpu/cpu6/topology")
    assert sim.text("/proc/irq/1/smp_affinity_list") == ("0-3\n" if text is OFF else "0-5\n")  # broken by the kernel
    assert sim.plan(profile).exit_status == 0
    assert sim.run("verify", "--json").returncode == 0
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert sim.changed() == []


@pytest.mark.promise("R5")
def test_an_interrupt_that_had_no_other_cpu_gets_it_back(sim: Sim) -> None:
    inventory = Inventory(sim.host)
    identity = next(irq.identity for irq in inventory.irqs if irq.number == 1)
    assert ("irq.affinity", identity) in Smt().moves(inventory, "host")
    # also one that has others: virtio_net deals its own out anew whenever a CPU comes or goes
    assert ("irq.affinity", identity) in Offline().moves(inventory, "7")


@pytest.mark.promise("R1")
@pytest.mark.parametrize("text", [OFF, SIBLINGS], ids=["smt", "siblings"])
def test_a_death_at_every_change_of_it(sim: Sim, text: str, held: Callable[[int], None]) -> None:
    profile, number = sim.profile(text), 1
    while in_child(lambda number=number: sim.apply(profile, host=faulty(sim, Faults(at={number: die})))):
        with sim.store.lock():
            recover(sim.host, sim.store)
        assert sim.changed() == [], number
        held(1)
        number += 1
    assert number > 1


@pytest.mark.promise("R2")
@pytest.mark.parametrize("text", [OFF, SIBLINGS], ids=["smt", "siblings"])
def test_every_change_of_it_refused(sim: Sim, text: str, held: Callable[[int], None]) -> None:
    profile, faults = sim.profile(text), Faults()
    assert sim.apply(profile, host=faulty(sim, faults)).outcome == "confirmed"
    rollback(sim.host, sim.store, None, "was a rehearsal")
    for number in range(1, len(faults.made) + 1):
        result = sim.apply(profile, host=faulty(sim, Faults(at={number: errno.EPERM})))
        assert result.outcome == "rolled-back"
        assert os.strerror(errno.EPERM) in result.error
        assert sim.changed() == []
        held(1)


def test_second_threads_that_were_offline_before_stay_so(sim: Sim) -> None:
    sim.write("/sys/devices/system/cpu/cpu7/online", "0")
    knob, inventory = Smt(), Inventory(sim.host)
    found = knob.read(inventory, "host")
    knob.write(inventory, "host", "off", {})
    knob.restore(inventory, "host", found.saved)
    assert sim.text("/sys/devices/system/cpu/offline") == "7\n"


def test_a_second_apply_finds_nothing_to_do(sim: Sim) -> None:
    """What is offline already is in no expression over the online CPUs; a plain list still names it."""
    for name, text in (("set", SIBLINGS), ("list", '[cpus]\noffline = "6-7"\n')):
        profile = sim.profile(text, name)
        assert sim.apply(profile).outcome in ("confirmed", "unchanged")
        again = sim.plan(profile)
        assert not again.differing
        assert bool(again.changes) == (name == "list")
        assert bool(again.warnings) == (name == "set")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[cpus]\noffline = "0"\n', "CPU 0"),
        ('[cpus]\noffline = "online"\n', "leaves no CPU online"),
        ('[cores]\nhousekeeping = "1,5"\n[cpus]\noffline = "housekeeping"\n', "last housekeeping CPU"),
        ('[cores]\nrx = "2"\n[cpus]\noffline = "2"\n', "which is 'rx'"),
        ('[isolation]\ncores = "2,6"\n[cpus]\noffline = "6"\n', "isolation.cores names"),
        ('[cpus]\noffline = "99"\n', "99"),
    ],
)
def test_what_must_not_go_is_a_fault_before_anything_is_written(sim: Sim, text: str, said: str) -> None:
    with pytest.raises(ProfileError) as caught:
        sim.plan(sim.profile(text))
    assert said in str(caught.value)


def test_it_needs_to_be_allowed(sim: Sim) -> None:
    done = sim.run("apply", sim.profile(OFF))
    assert done.returncode == 4
    assert "--allow service" in done.stderr
    assert sim.changed() == []


@pytest.mark.parametrize(
    ("control", "wanted", "state"),
    [
        ("notsupported", "off", "ok"),
        ("notsupported", "on", None),
        ("forceoff", "off", "ok"),
        ("forceoff", "on", None),
        ("on", "on", "ok"),
        ("on", "off", "differs"),
        ("off", "off", "ok"),
    ],
)
def test_what_cannot_be_said_is_a_state_and_no_failure(sim: Sim, control: str, wanted: str, state: str | None) -> None:
    sim.host.files.store("/sys/devices/system/cpu/smt/control", control + "\n")
    sim.host.files.store("/sys/devices/system/cpu/smt/active", "1\n" if control == "on" else "0\n")
    knob = Smt()
    reading = knob.read(Inventory(sim.host), "host")
    if state is None:
        with pytest.raises(Unsupported):
            knob.compare(reading, wanted)
    else:
        assert knob.compare(reading, wanted) == state


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("smt/control", "perhaps", errno.EINVAL),
        ("cpu5/online", "2", errno.EINVAL),
        ("cpu0/online", "0", errno.ENOENT),
    ],
)
def test_the_simulated_kernel_refuses_as_the_kernel_does(sim: Sim, path: str, value: str, code: int) -> None:
    with pytest.raises(OSError, match=os.strerror(code)):
        sim.write(f"/sys/devices/system/cpu/{path}", value)
    assert sim.changed() == []


def test_a_second_thread_cannot_return_while_hyper_threading_is_off(sim: Sim) -> None:
    sim.write("/sys/devices/system/cpu/smt/control", "off")
    with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
        sim.write("/sys/devices/system/cpu/cpu6/online", "1")
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        sim.write("/proc/irq/1/smp_affinity_list", "6")
