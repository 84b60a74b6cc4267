"""Frequency, turbo, idle states, uncore: what a profile may say, how settings hold each other, and this machine's kernel."""

from collections.abc import Callable
from pathlib import Path

import pytest
from engine import Sim, tree_of
from machine import kept, needs

from tuner.host.host import Inventory, open_host
from tuner.knobs.frequency import EnergyPreference, FrequencyRange, Governor
from tuner.knobs.frequency_range import Limits, compared, parsed, resolved, steps
from tuner.knobs.idle import IdleStates, ResumeLatency
from tuner.knobs.knob import Unsupported
from tuner.knobs.turbo import PolicyTurbo, Turbo
from tuner.knobs.uncore import UncoreRange
from tuner.plan import Plan, build
from tuner.profile import ProfileError
from tuner.profile_files import load
from tuner.undo import recover, rollback

CPU = "/sys/devices/system/cpu"


def power(sim: Sim, text: str) -> Plan:
    return sim.plan(sim.profile(f'summary = "x"\n[power]\n{text}'), {})


def faults(sim: Sim, text: str) -> str:
    with pytest.raises(ProfileError) as caught:
        power(sim, text)
    return "; ".join(str(fault) for fault in caught.value.faults)


def states(plan: Plan) -> dict[str, str]:
    return {f"{change.knob} {change.identity}": change.state for change in plan.changes}


# ---------------------------------------------------------------------------------------------------------- the language


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epp = 'fast'", "unknown word 'fast'"),
        ("epb = 16", "from 0 to 15"),
        ("epb = true", "not a number"),
        ("min_freq_khz = 0", "from 1 to 20000000 kHz"),
        ("resume_latency_us = 'na'", 'for example 2, "n/a" for none, or 0 for any'),
        ("resume_latency_us = -1", "from 0 to 2147483647"),
        ("cstate_limit_us = 'C1'", "not a number of µs of exit latency"),
        ("dma_latency_us = 'max'", "not a number"),
        ("turbo = 1", "neither true nor false"),
        ("min_perf_percent = 101", "from 0 to 100 percent"),
        ("governer = 'performance'", "did you mean governor?"),
        ("umwait = { enable_c2 = true }", "did you mean enable_c02?"),
        ("governor = { 'gone' = 'performance' }", "unknown core set 'gone'"),
        ("governor = { '0' = 'a\\u001b[2J' }", "not a word"),
    ],
)
def test_what_is_wrong_is_told(sim: Sim, text: str, told: str) -> None:
    assert told in faults(sim, text.replace("'", '"'))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("min_freq_khz = 9000000", "at most 4800000"),
        ("min_freq_khz = 100000", "no less than 800000"),
        ("min_freq_khz = 3000000\nmax_freq_khz = 2000000", "the lowest frequency would be 3000000 kHz and the highest 2000000"),
        ('epp = { "0-1" = "power", "1-2" = "performance" }', "names CPU 1 twice"),
        ('governor = "performance"\nepp = "balance_performance"', "the governor performance holds the preference"),
        ("umwait = { max_time_cycles = 6 }", "no multiple of 4"),
        ('uncore_min_khz = { "0" = "max", "1" = "min" }', "wants two things of package_00_die_00"),
    ],
)
def test_what_makes_no_sense_here_is_told(sim: Sim, text: str, told: str) -> None:
    assert told in faults(sim, text)


def test_the_first_word_that_the_host_offers(sim: Sim) -> None:
    plan = power(sim, 'governor = ["schedutil", "performance"]\ncpuidle_governor = ["haltpoll", "menu"]')
    assert [(c.wanted, c.state) for c in plan.changes] == [("performance", "differs"), ("menu", "ok")]


def test_a_word_that_the_host_does_not_offer_is_unsupported_and_not_written(sim: Sim) -> None:
    text = 'governor = "schedutil"\ncpuidle_governor = "haltpoll"\nplatform_profile = "turbo"'
    plan = power(sim, text)
    assert {change.state for change in plan.changes} == {"unsupported"}
    assert plan.changes[0].error == "this host offers performance powersave, not schedutil"
    assert sim.apply(sim.profile(f'summary = "x"\n[power]\n{text}')).outcome == "unchanged"
    assert sim.changed() == []


# ------------------------------------------------------------------------------------------------ governor and preference


def test_the_governor_takes_the_preference_with_it_and_gives_it_back(sim: Sim) -> None:
    sim.write(f"{CPU}/cpu2/cpufreq/energy_performance_preference", "power")
    before = Sim(sim.root, sim.state, tree_of(sim.root))
    assert sim.apply(sim.profile('summary = "x"\n[power]\ngovernor = { "1-2" = "performance" }')).outcome == "confirmed"
    assert sim.text(f"{CPU}/cpu2/cpufreq/energy_performance_preference") == "performance\n"
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert before.changed() == []


@pytest.mark.parametrize(
    "text",
    [
        'governor = { "1-2" = "performance" }\nepp = "performance"',
        'governor = "performance"\nepp = "performance"',
        'governor = { "1-2" = "performance" }\nepp = { "1-2" = "performance", "0" = "power" }',
        'governor = "powersave"\nepp = { "0-1" = "balance_power" }',
    ],
)
@pytest.mark.parametrize("held_before", [False, True])
def test_both_are_put_back_whoever_held_whom(sim: Sim, text: str, held_before: bool) -> None:
    """From either governor to either, no preference is ever written where it would be refused."""
    if held_before:
        for cpu in (1, 2):
            sim.write(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor", "performance")
    before = Sim(sim.root, sim.state, tree_of(sim.root))
    path = sim.profile(f'summary = "x"\n[power]\n{text}')
    result = sim.apply(path)
    assert result.outcome in ("confirmed", "unchanged"), result.error
    assert {change.state for change in sim.plan(path).changes} == {"ok"}
    undone = rollback(sim.host, sim.store, None, "test")
    assert undone is None or {each.result for each in undone[1]} == {"restored"}
    assert before.changed() == []


def test_a_preference_that_a_governor_holds_is_read_without_its_file(sim: Sim) -> None:
    """Reading it sends an interrupt to that CPU (rdmsr_on_cpu): under `performance` there is nothing to ask."""
    sim.write(f"{CPU}/cpu1/cpufreq/scaling_governor", "performance")
    asked: list[str] = []
    host = sim.host
    optional = host.files.optional

    def noted(name: str) -> str | None:
        asked.append(name)
        return optional(name)

    host.files.optional = noted  # type: ignore[method-assign]
    assert EnergyPreference().read(Inventory(host), "0-1").now == {"0": "balance_performance", "1": "performance"}
    assert [name for name in asked if name.endswith("energy_performance_preference")] == [
        f"{CPU}/cpu0/cpufreq/energy_performance_preference"
    ]


def shared_policies(sim: Sim) -> Sim:
    """As on a machine whose frequency policies span two CPUs each."""
    for cpu in range(4):
        link = Path(sim.root + f"{CPU}/cpu{cpu}/cpufreq")
        link.unlink()
        link.symlink_to(f"../cpufreq/policy{cpu // 2 * 2}")
        Path(sim.root + f"{CPU}/cpufreq/policy{cpu}/related_cpus").write_text(f"{cpu // 2 * 2} {cpu // 2 * 2 + 1}\n")
    return Sim(sim.root, sim.state, tree_of(sim.root))


def test_a_policy_that_spans_cpus(sim: Sim) -> None:
    sim = shared_policies(sim)
    plan = power(sim, 'governor = { "0-2" = "performance" }')
    assert plan.warnings == ("power.governor also changes CPU 3, which share a frequency policy with those that it names",)
    assert "CPU 0-1 share one frequency policy" in faults(sim, 'governor = { "0" = "performance", "1" = "powersave" }')
    assert sim.apply(sim.profile('summary = "x"\n[power]\ngovernor = { "0-2" = "performance" }')).outcome == "confirmed"
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert sim.changed() == []


# ------------------------------------------------------------------------------------------------------------------ ranges


@pytest.mark.parametrize(
    ("now", "wanted", "order"),
    [
        ((800, 2000), "3000-4000", ["max", "min"]),
        ((3000, 4000), "800-2000", ["min", "max"]),
        ((800, 4800), "3000-3000", ["max", "min"]),
        ((3000, 3000), "800-4800", ["max", "min"]),
        ((800, 4800), "800-4800", []),
        ((800, 4800), "-2000", ["max"]),
        ((800, 4800), "max-", ["min"]),
    ],
)
def test_the_side_that_makes_room_goes_first(now: tuple[int, int], wanted: str, order: list[str]) -> None:
    limits = Limits(*now, 800, 4800)
    written = steps(limits, wanted)
    assert [side for side, _ in written] == order
    low, high = now
    for side, khz in written:
        low, high = (khz, high) if side == "min" else (low, khz)
        assert low <= high
    assert compared(Limits(low, high, 800, 4800), wanted) == "ok"


def test_ranges_are_compared_by_what_the_hardware_has() -> None:
    assert parsed(Limits(1, 2, 0, 3).effective) == Limits(1, 2, 0, 3)
    assert resolved("min-max", Limits(5, 6, 1, 9)) == (1, 9)
    assert compared(Limits(800, 3000, 800, 3000), "-4800") == "ok-rounded"  # turbo is off: there is no more
    assert compared(Limits(800, 3000, 800, 4800), "-4800") == "differs"
    assert compared(Limits(800, 2390, 800, 4800), "-2400", step=100) == "ok-rounded"


def test_a_core_of_another_kind_has_another_maximum(sim: Sim) -> None:
    Path(sim.root + f"{CPU}/cpufreq/policy3/cpuinfo_max_freq").write_text("3600000\n")
    plan = power(sim, 'min_freq_khz = "max:4000000"')
    assert [(c.identity, c.wanted) for c in plan.changes] == [("0-2", "4000000-"), ("3", "3600000-")]


def test_turbo_moves_what_max_means(sim: Sim) -> None:
    """The driver answers with another maximum: max is max again, and the range comes back with turbo."""
    knob = FrequencyRange()
    Path(sim.root + f"{CPU}/cpufreq/policy1/cpuinfo_max_freq").write_text("3000000\n")
    Path(sim.root + f"{CPU}/cpufreq/policy1/scaling_max_freq").write_text("3000000\n")
    reading = knob.read(Inventory(sim.host), "0-1")
    assert reading.now == {"0": "800000-4800000", "1": "800000-3000000"}
    assert knob.compare(reading, "-max") == "ok"
    assert knob.compare(reading, "-4800000") == "ok-rounded"
    assert knob.compare(reading, "-3000000") == "differs"


# ------------------------------------------------------------------------------------------------------------------- turbo


def plain_host(tmp_path: Path, boost: bool = True) -> Inventory:
    """A tree of files as acpi-cpufreq and amd-pstate show them since 6.11; writes are just kept."""
    for cpu in range(2):
        policy = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        policy.mkdir(parents=True)
        (policy / "boost").write_text("1\n")
        (policy / "scaling_driver").write_text("acpi-cpufreq\n")
    (tmp_path / "sys/devices/system/cpu/online").write_text("0-1\n")
    if boost:
        (tmp_path / "sys/devices/system/cpu/cpufreq").mkdir()
        (tmp_path / "sys/devices/system/cpu/cpufreq/boost").write_text("1\n")
    return Inventory(open_host(str(tmp_path)))


def test_turbo_of_some_policies(tmp_path: Path) -> None:
    inventory = plain_host(tmp_path)
    path = tmp_path / "own.toml"
    path.write_text('summary = "x"\n[power]\nturbo = { "1" = false }\n')
    (change,) = build(inventory, load(inventory.host.files, str(path)), {}).changes
    assert (change.knob, change.identity, change.state) == ("power.policy_turbo", "1", "differs")
    knob = PolicyTurbo()
    before = tree_of(tmp_path)
    knob.write(inventory, "1", False, {})
    assert knob.compare(knob.read(inventory, "1"), False) == "ok"
    assert knob.compare(knob.read(inventory, "0-1"), False) == "differs"
    knob.restore(inventory, "1", change.undo)
    assert tree_of(tmp_path) == before


def test_turbo_of_the_host_by_boost_or_by_no_turbo(tmp_path: Path, sim: Sim) -> None:
    inventory = plain_host(tmp_path)
    knob = Turbo()
    assert knob.read(inventory, "host").now is True
    assert knob.moves(inventory, "host") == [("power.policy_turbo", "0-1")]
    knob.write(inventory, "host", False, {})
    assert (tmp_path / "sys/devices/system/cpu/cpufreq/boost").read_text() == "0\n"
    knob.write(Inventory(sim.host), "host", False, {})
    assert sim.text(f"{CPU}/intel_pstate/no_turbo") == "1\n"
    assert knob.read(Inventory(sim.host), "host").now is False
    (tmp_path / "sys/devices/system/cpu/cpufreq/boost").unlink()
    with pytest.raises(Unsupported, match="neither"):
        knob.read(Inventory(open_host(str(tmp_path))), "host")


# -------------------------------------------------------------------------------------------------------------- idle states


def test_idle_states_are_chosen_by_latency_and_found_by_name(sim: Sim) -> None:
    """On CPU 2 the states stand in another order: its second is the deep one."""
    for leaf, text in (("state1/name", "C6"), ("state1/latency", "290"), ("state3/name", "C1"), ("state3/latency", "1")):
        path = Path(sim.root + f"{CPU}/cpu2/cpuidle/{leaf}")
        path.chmod(0o644)
        path.write_text(text + "\n")
        path.chmod(0o444)
    sim.write(f"{CPU}/cpu2/cpuidle/state2/disable", "1")  # C1E was off before: it stays so
    before = Sim(sim.root, sim.state, tree_of(sim.root))
    path = sim.profile('summary = "x"\n[power]\ncstate_limit_us = { "1-2" = 2 }')
    (change,) = sim.plan(path).changes
    assert change.now == {"1": "POLL, C1, C1E, C6", "2": "POLL, C6, -C1E, C1"}
    assert change.effective == 290
    assert sim.apply(path).outcome == "confirmed"
    assert sim.text(f"{CPU}/cpu2/cpuidle/state1/disable") == "1\n"
    assert sim.text(f"{CPU}/cpu2/cpuidle/state3/disable") == "0\n"
    (after,) = sim.plan(path).changes
    assert (after.state, after.effective) == ("ok", {"1": 2, "2": 1})
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert before.changed() == []


def test_a_state_that_somebody_switches_on_again_is_drift(sim: Sim) -> None:
    path = sim.profile('summary = "x"\n[power]\ncstate_limit_us = 0')
    assert sim.apply(path).outcome == "confirmed"
    sim.write(f"{CPU}/cpu3/cpuidle/state1/disable", "0")
    (change,) = sim.plan(path).changes
    assert change.state == "differs"
    assert change.effective == {"0-2": 0, "3": 1}


def test_zero_is_no_limit_and_said_so_where_it_matters(sim: Sim) -> None:
    cores = 'summary = "x"\n[cores]\nrx = "2"\n'
    plan = sim.plan(sim.profile(cores + "[power]\nresume_latency_us = 0"))
    assert [w for w in plan.warnings if "no limit at all" in w]
    plan = sim.plan(sim.profile(cores + '[power]\nresume_latency_us = { "rx" = "n/a", "0" = 0 }'))
    assert not plan.warnings
    assert states(plan) == {"power.resume_latency_us 2": "differs", "power.resume_latency_us 0": "ok"}


# ------------------------------------------------------------------------------------------------------------------ uncore


def test_uncore_of_the_package_that_is_named(new_sim: Callable[..., Sim]) -> None:
    sim = new_sim(nodes=2)
    plan = power(sim, 'uncore_min_khz = { "node(1)" = "max" }\nuncore_max_khz = 1850000')
    assert {c.target: c.wanted for c in plan.changes} == {"package_01_die_00": "max-1850000", "package_00_die_00": "-1850000"}
    assert "2400000" in faults(sim, "uncore_min_khz = 2500000")
    path = sim.profile('summary = "x"\n[power]\nuncore_max_khz = 1850000')
    assert sim.apply(path).outcome == "confirmed"
    assert {c.state for c in sim.plan(path).changes} == {"ok-rounded"}
    assert rollback(sim.host, sim.store, None, "test") is not None
    assert sim.changed() == []


def test_uncore_as_tpmi_shows_it(tmp_path: Path) -> None:
    inventory = plain_host(tmp_path)
    die = tmp_path / "sys/devices/system/cpu/intel_uncore_frequency/uncore03"
    die.mkdir(parents=True)
    for leaf, value in (("min_freq_khz", 800000), ("max_freq_khz", 2400000), ("package_id", 0), ("domain_id", 2)):
        (die / leaf).write_text(f"{value}\n")
    (die.parent / "nonsense").mkdir()
    path = tmp_path / "own.toml"
    path.write_text('summary = "x"\n[power]\nuncore_min_khz = "max"\n')
    (change,) = build(inventory, load(inventory.host.files, str(path)), {}).changes
    assert (change.identity, change.now, change.state) == ("uncore03", "800000-2400000", "differs")
    with pytest.raises(Unsupported):
        UncoreRange().read(inventory, "../uncore03")


# ---------------------------------------------------------------------------------------------------- this machine's kernel


def test_resume_latency_on_this_machine() -> None:
    path = f"{CPU}/cpu1/power/pm_qos_resume_latency_us"
    needs(path)
    knob, inventory = ResumeLatency(), Inventory(open_host())
    with kept(path):
        before = knob.read(inventory, "1")
        knob.write(inventory, "1", 17, {})
        assert knob.compare(knob.read(inventory, "1"), 17) == "ok"
        knob.write(inventory, "1", "n/a", {})
        assert knob.read(inventory, "1").effective == "n/a"
        knob.restore(inventory, "1", before.saved)
        knob.restore(inventory, "1", before.saved)
        assert knob.same(knob.read(inventory, "1").now, before.now)


def test_idle_states_on_this_machine() -> None:
    path = f"{CPU}/cpu1/cpuidle/state1/disable"
    needs(path)
    knob, inventory = IdleStates(), Inventory(open_host())
    with kept(path):
        before = knob.read(inventory, "1")
        deep = int(before.effective)
        assert deep > 0
        knob.write(inventory, "1", deep - 1, {})
        after = knob.read(inventory, "1")
        assert knob.compare(after, deep - 1) == "ok"
        assert int(after.effective) < deep
        assert "-" in after.now
        knob.restore(inventory, "1", before.saved)
        assert knob.read(inventory, "1") == before


def test_the_whole_of_it_on_this_machine(tmp_path: Path) -> None:
    """Applied, verified and rolled back by the real transaction on the real kernel; what guests lack is unsupported."""
    from tuner.permission import Options
    from tuner.store import Store
    from tuner.transaction import apply

    files = [
        f"{CPU}/cpu1/cpuidle/state1/disable",
        f"{CPU}/cpu1/power/pm_qos_resume_latency_us",
        f"{CPU}/cpuidle/current_governor",
    ]
    needs(*files)
    words = Path(f"{CPU}/cpuidle/available_governors").read_text().split()
    other = next(word for word in words if word != Path(files[2]).read_text().strip())
    path = tmp_path / "own.toml"
    path.write_text(
        f'summary = "x"\n[power]\ngovernor = "performance"\nturbo = true\n'
        f'uncore_min_khz = "max"\ncpuidle_governor = "{other}"\n'
        'cstate_limit_us = { "1" = 0 }\nresume_latency_us = { "1" = "n/a" }\n'
    )
    path.chmod(0o644)
    host, store = open_host(), Store(str(tmp_path / "state"), str(tmp_path / "lock"))
    store.prepare()
    with kept(*files):
        before = [Path(each).read_text() for each in files]
        plan = build(Inventory(host), load(host.files, str(path)), {})
        result = apply(host, store, plan, Options(), lambda _: None, lambda _: None, lambda: "")
        assert result.outcome == "confirmed", result.error
        found = {change.knob: change.state for change in build(Inventory(host), load(host.files, str(path)), {}).changes}
        for knob in ("power.cpuidle_governor", "power.cstate_limit_us", "power.resume_latency_us"):
            assert found[knob] == "ok", found
        if not Path(f"{CPU}/cpufreq/policy0").exists():
            assert found["power.governor"] == found["power.turbo"] == found["power.uncore_khz"] == "unsupported"
        assert rollback(host, store, None, "test") is not None
        assert recover(host, store) == []
        assert [Path(each).read_text() for each in files] == before


# ------------------------------------------------------------------------------------------------------------ captured hosts


@pytest.mark.parametrize(
    "name",
    ["intel-2node-16core-i350-connectx3", "intel-4node-interleaved-bnx2", "lab-8cpu-2numa", "lab-8cpu-2numa-isolated"],
)
def test_captured_hosts_are_planned_and_never_a_traceback(
    captured_host: Callable[[str], str], tmp_path: Path, name: str
) -> None:
    inventory = Inventory(open_host(captured_host(name)))
    path = tmp_path / "own.toml"
    path.write_text(
        'summary = "x"\n[bind]\nfeed = "nic"\n[power]\ngovernor = ["performance"]\nepp = "performance"\nepb = 0\nturbo = true\n'
        'min_freq_khz = "max"\nmin_perf_percent = 100\nuncore_min_khz = "max"\nplatform_profile = "performance"\n'
        'cpuidle_governor = ["menu", "haltpoll"]\ncstate_limit_us = { "1" = 2 }\nresume_latency_us = { "1" = "n/a" }\n'
        "dma_latency_us = 2\numwait = { enable_c02 = false }\n"
        '[memory]\nthp = "never"\nthp_defrag = "never"\nkhugepaged_defrag = false\nksm = false\n'
        'hugepages = { "1" = { "2M" = 0 } }\n'
        '[pcie]\naspm_policy = "performance"\n[nic.feed]\naspm = false\n[clock]\nclocksource = "tsc"\n'
    )
    nic = next(nic.name for nic in inventory.nics if nic.physical)
    plan = build(inventory, load(inventory.host.files, str(path)), {"feed": nic})
    assert {change.state for change in plan.changes} <= {"ok", "differs", "unsupported"}, states(plan)
    assert len(plan.changes) > 15
    assert any(change.state in ("ok", "differs") for change in plan.changes)
    assert Governor().family in {change.knob for change in plan.changes}
