"""Requirements: what holds on a host and what does not, with both sides' values, before anything is written."""

import json

import pytest
from engine import Sim
from hypothesis import given
from hypothesis import strategies as st

from tuner.host.text import printable
from tuner.language.requirement import RequirementError, parse
from tuner.plan import Plan
from tuner.profile import ProfileError

HEAD = """
[bind]
feed = "nic"
[cores]
housekeeping = "0"
rx = "2-3"
"""


@pytest.fixture
def host(new_sim) -> Sim:
    return new_sim(nodes=2, cores=4, smt=1, nics=2, queues=4)


def plan(sim: Sim, *requirements: str) -> Plan:
    text = f"require = {json.dumps(requirements)}\n{HEAD}"
    return sim.plan(sim.profile(text), {"feed": "eth2"})


@pytest.mark.parametrize(
    "text",
    [
        "count(rx) >= 2", "2 == count(rx)", "count(rx) == count(housekeeping + 1)", "count(rx)<3", "rx <= node(feed)",
        "rx != housekeeping", "rx & housekeeping == rx - rx", "rx < all", "all > rx", "all >= all", "rx == 2-3", "2-3 == rx",
        "either(rx - rx, 1) == 1", "kernel >= 6.1", "kernel == 6", "kernel == 6.12", "6.12.0 <= kernel", "kernel < 6.13",
        "kernel != 5",
        'driver(feed) == "ixgbe"', "driver( feed ) != 'ice'", "driver(feed) == driver(feed)", "count( rx + 1 ) > 2",
    ],
)  # fmt: skip
def test_what_holds(host, text):
    assert plan(host, text).roles["rx"] == "2-3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("count(rx) >= 4", "'count(rx) >= 4' does not hold here: count(rx) is 2 (CPU 2-3)"),
        ("count(rx - rx) > count(rx)", "count(rx - rx) is 0 (empty), count(rx) is 2 (CPU 2-3)"),
        ("rx <= node(1)", "rx is CPU 2-3, node(1) is CPU 4-7"),
        ("rx - rx == rx", "rx - rx is empty, rx is CPU 2-3"),
        ("kernel >= 6.99", "kernel is 6.12.0-simulated"),
        ("kernel > 6.12", "kernel is 6.12.0-simulated"),
        ('driver(feed) == "ice"', 'driver(feed) is "ixgbe" (of eth2)'),
        ("rx <= 99", "CPU 99 is beyond"),
        ("rx <= (all", "expected ')', found the end"),
    ],
)
def test_what_does_not_hold_names_both_sides(host, text, said):
    with pytest.raises(ProfileError) as failure:
        plan(host, text)
    (fault,) = failure.value.faults
    assert said in fault.what, fault.what
    assert fault.told().startswith("own.toml:1: require: ")


def test_a_host_that_does_not_say_its_kernel(host):
    (host_release,) = (f"{host.root}/proc/sys/kernel/osrelease",)
    open(host_release, "w").close()
    with pytest.raises(ProfileError, match="does not say which kernel it runs"):
        plan(host, "kernel >= 1.0")


def test_all_that_do_not_hold_are_told_at_once_and_nothing_is_written(host):
    path = host.profile(f'require = ["count(rx) >= 9", "kernel >= 9.0", "count(rx) >= 1"]\n{HEAD}[irq]\ndefault = "0"')
    for command in ("plan", "apply", "verify"):
        record = host.json(command, path, "--bind", "feed=eth2", status=1)
        assert len(record["faults"]) == 2
        assert record["changed"] is False
    assert host.changed() == []
    assert host.store.all() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rx", "not a comparison"), ("", "not a comparison"), ("rx = 3", "not a comparison"), ("rx >=", "not a comparison"),
        ("1 < 2 < 3", "not a comparison"), ("a" * 2000, "not a comparison"), ("count(rx) >= many", "not with a number"),
        ("kernel >= new", "not with a version"), ("kernel >= 6.1.2.3.4", "not with a version"),
        ("kernel == count(rx)", "not with"),
        ("driver(feed) == ice", 'not with a text, as "ice"'), ('driver(feed) > "ice"', "by more than == and !="),
        ('"ice" == "ice"', "what is no driver"), ('rx == "ice"', "what is no driver"),
        ("count(rx) >= -1", "not with a number"),
    ],
)  # fmt: skip
def test_what_is_no_requirement(host, text, said):
    with pytest.raises(RequirementError, match=said):
        parse(text)
    with pytest.raises(ProfileError) as failure:
        plan(host, text)
    assert any(said in fault.what or "not a list" in fault.what for fault in failure.value.faults)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("count(housekeping) >= 1", "unknown core set 'housekeping' (did you mean housekeeping?)"),
        ("driver(fed) == 'ice'", "'fed' is bound by nothing (did you mean feed?)"),
    ],
)
def test_names_in_a_requirement_are_known_before_any_host(host, text, said):
    with pytest.raises(ProfileError) as failure:
        plan(host, text)
    assert said in str(failure.value)


def test_a_core_set_cannot_be_called_as_a_word_of_requirements(host):
    with pytest.raises(ProfileError, match="cannot be the name of a core set"):
        host.plan(host.profile('[cores]\nkernel = "0"'))


@given(st.text(max_size=60))
def test_any_text_is_a_requirement_or_an_error(text):
    try:
        sign = parse(text).sign
    except RequirementError as error:
        sign = ""
        said = str(error)
        assert said == printable(said, 1000)
    assert sign in ("", "==", "!=", "<=", ">=", "<", ">")
