"""The language of core sets, against Python's own sets and against every mistake that somebody can make in it."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.cores import CoreSetError, CoreSets
from tuner.host.cpulist import format_list
from tuner.host.files import HostFiles
from tuner.host.host import Host, Inventory
from tuner.host.nics import Nic
from tuner.host.simulated import SimulatedSyscalls
from tuner.host.topology import Cpu, Topology

CPUS = 16


def nic(name: str, node: int) -> Nic:
    return Nic(
        name=name,
        ifindex=2,
        pci="0000:01:00.0",
        mac="02:00:00:00:00:01",
        driver="ixgbe",
        node=node,
        local_cpus=frozenset(),
        up=True,
        carrier=True,
        speed_mbps=10000,
        mtu=1500,
        rx_queues=2,
        tx_queues=2,
        default_route=False,
    )


def inventory(offline: frozenset[int] = frozenset(), nic_node: int = 1) -> Inventory:
    """2 nodes x 4 cores x 2 threads: c and c + 8 share a core; each half node shares a last-level cache."""
    cpus = {}
    for cpu in range(CPUS):
        core = cpu % 8
        llc = frozenset(c for c in range(CPUS) if c % 8 // 2 == core // 2)
        cpus[cpu] = Cpu(cpu, core // 4, core // 4, core % 4, frozenset({core, core + 8}), llc, cpu not in offline)
    everything = frozenset(range(CPUS))
    topology = Topology(
        cpus=cpus,
        online=everything - offline,
        present=everything,
        possible=everything,
        nodes={n: frozenset(c for c in everything if c % 8 // 4 == n) for n in (0, 1)},
        boot_isolated=frozenset(),
        nohz_full=frozenset(),
    )
    files = HostFiles("/nonexistent")
    found = Inventory(Host(files, SimulatedSyscalls(files)))
    found.__dict__.update(topology=topology, nics=(nic("eth2", nic_node), nic("eth3", -1)), irqs=())
    return found


def sets(names: Mapping[str, str] | None = None, offline: frozenset[int] = frozenset(), **bindings: str) -> CoreSets:
    return CoreSets(inventory(offline), names or {}, bindings or {"feed": "eth2", "lost": "eth9", "nowhere": "eth3"})


def cpus(expression: str, names: Mapping[str, str] | None = None, offline: frozenset[int] = frozenset()) -> str:
    return format_list(sets(names, offline).evaluate(expression))


@pytest.mark.parametrize(
    ("expression", "meaning"),
    [
        ("0", "0"),
        ("0-3,8", "0-3,8"),
        ("0-15:2/8", "0-1,8-9"),
        ("all", "0-15"),
        ("online - 0-14", "15"),
        ("node(0)", "0-3,8-11"),
        ("node(feed)", "4-7,12-15"),
        ("node(5)", None),  # a number in node() is a node, never a CPU
        ("node(0 + 0)", "0-3,8-11"),  # and a set is CPUs
        ("llc(0)", "0-1,8-9"),
        ("llc(5)", "4-5,12-13"),
        ("llc(feed)", "4-7,12-15"),
        ("smt(1)", "1,9"),
        ("smt(9)", "1,9"),
        ("cores(all)", "0-7"),
        ("cores(9-11)", "9-11"),
        ("cores(9 + 1)", "1"),
        ("first(2, node(feed))", "4-5"),
        ("first(0, all)", ""),
        ("first(99999, 3)", "3"),
        ("0-3 & 2-5", "2-3"),
        ("0-3 + 4-7 & 4", "0-4"),  # & binds tighter than +
        ("0-7 - 0-3 + 1", "1,4-7"),  # + and - from the left
        ("0-7 - (0-3 + 4)", "5-7"),
        ("+".join("0-3" for _ in range(240)), "0-3"),  # long is not deep
        ("( ( 0 ) )", "0"),
        ("\t0-1 ,8".replace(" ,", ","), "0-1,8"),
        ("rx+app", "1-3"),
        ("cores(node(feed)-smt(5))", "4,6-7"),
    ],
)
def test_an_expression_means(expression, meaning):
    names = {"rx": "1-2", "app": "3"}
    if meaning is None:
        with pytest.raises(CoreSetError, match=r"no node 5 here \(nodes: 0, 1\)"):
            cpus(expression, names)
    else:
        assert cpus(expression, names) == meaning


TERM = st.frozensets(st.integers(0, CPUS - 1), min_size=1, max_size=CPUS)


@st.composite
def expressions(draw, depth=4):
    """An expression and the set that it must mean, by Python's own operators."""
    if depth == 0 or draw(st.booleans()):
        wanted = draw(TERM)
        return format_list(wanted), wanted
    left, left_set = draw(expressions(depth=depth - 1))
    right, right_set = draw(expressions(depth=depth - 1))
    operator = draw(st.sampled_from("+-&"))
    blank = draw(st.sampled_from(["", " ", "  ", "\t"]))
    result = {"+": left_set | right_set, "-": left_set - right_set, "&": left_set & right_set}[operator]
    return f"({left}){blank}{operator}{blank}({right})", result


@given(expressions())
def test_operators_are_those_of_sets(pair):
    expression, wanted = pair
    if len(expression) <= 1000:
        assert sets().evaluate(expression) == wanted


@given(TERM, TERM, TERM)
def test_laws_of_sets_hold(a, b, c):
    names = {"a": format_list(a), "b": format_list(b), "c": format_list(c)}

    def same(left, right):
        return sets(names).evaluate(left) == sets(names).evaluate(right)

    assert same("a + b", "b + a")
    assert same("a - b - c", "a - (b + c)")
    assert same("a & (b + c)", "a & b + a & c")
    assert same("a - b", "a - a & b")
    assert same("a - (a - b)", "a & b")
    assert same("a - b + a & b", "a")


@given(TERM)
def test_functions_of_the_core_keep_their_promises(wanted):
    text = format_list(wanted)
    siblings = sets().evaluate(f"smt({text})")
    one_each = sets().evaluate(f"cores({text})")
    assert wanted <= siblings
    assert sets().evaluate(f"smt(smt({text}))") == siblings
    assert one_each <= wanted
    assert sets().evaluate(f"smt(cores({text}))") == siblings
    assert len({cpu % 8 for cpu in one_each}) == len(one_each)
    assert sets().evaluate(f"first(3, {text})") == frozenset(sorted(wanted)[:3])


def test_offline_cpus_are_in_no_set_and_cannot_be_named():
    offline = frozenset({0, 9})
    assert cpus("all", offline=offline) == "1-8,10-15"
    assert cpus("node(0)", offline=offline) == "1-3,8,10-11"
    assert cpus("smt(8)", offline=offline) == "8"  # its sibling 0 is offline
    assert cpus("cores(all)", offline=offline) == "1-8"  # core 0 is spoken for by CPU 8
    assert cpus("llc(1)", offline=offline) == "1,8"
    with pytest.raises(CoreSetError, match="CPU 0,9 is not online"):
        cpus("0-9", offline=offline)


def test_sets_refer_to_one_another_and_are_evaluated_once():
    names = {"a": "b + 1", "b": "c + 2", "c": "3"}
    assert cpus("a", names) == "1-3"
    deep = {f"s{i}": f"s{i + 1}" for i in range(25)} | {"s25": "7"}
    assert cpus("s0", deep) == "7"
    # doubling without memory would be 2^30 evaluations
    wide = {f"w{i}": f"w{i + 1} + w{i + 1}" for i in range(30)} | {"w30": "4"}
    assert cpus("w0", wide) == "4"


@pytest.mark.parametrize(
    ("expression", "names", "said"),
    [
        ("", {}, "expected a CPU list, a name or a function, found the end"),
        ("0 +", {}, "found the end"),
        ("0 1", {}, r"expected an operator \(\+ - &\), found '1'"),
        ("(0", {}, r"expected '\)', found the end"),
        ("0)", {}, r"found '\)'"),
        ("+ 0", {}, r"found '\+ 0'"),
        ("0 | 1", {}, r"found '\| 1'"),
        ("rx", {"tx": "0"}, r"unknown name 'rx' \(known: tx, all, online\)"),
        ("feed", {}, r"'feed' is a NIC; write node\(feed\)"),
        ("node(lost)", {}, "'lost' is bound to eth9, which is not on this host"),
        ("node(9)", {}, r"no node 9 here \(nodes: 0, 1\)"),
        ("node(nobody)", {}, "unknown name 'nobody'"),
        ("count(0-3)", {}, "is a number, not a set of CPUs"),
        ("first(x, all)", {}, r"expected a number and a comma, as in first\(2, node\(feed\)\)"),
        ("first(2 all)", {}, "a number and a comma"),
        ("first(-1, all)", {}, "a number and a comma"),
        ("smt", {}, "unknown name 'smt'"),
        ("16", {}, "CPU 16 is beyond the last possible CPU 15"),
        ("3-1", {}, "'3-1' runs backwards"),
        ("0-7:3/2", {}, "FIRST-LAST:USED/GROUP"),
        ("a", {"a": "b", "b": "c", "c": "a"}, "core sets in a circle: a -> b -> c -> a"),
        ("a", {"a": "a + 1"}, "core sets in a circle: a -> a"),
        ("s0", {f"s{i}": f"s{i + 1}" for i in range(60)} | {"s60": "1"}, "more than 32 deep"),
        ("(" * 300 + "0" + ")" * 300, {}, "brackets more than 64 deep"),
        ("s0", {f"s{i}": "(" * 30 + f"s{i + 1}" + ")" * 30 for i in range(20)} | {"s20": "1"}, "brackets more than 64 deep"),
        ("0 + " * 400 + "0", {}, "more than 1000 characters"),
        ("0 \x1b[31m", {}, r"\\x1b\[31m"),
    ],
)
def test_a_mistake_is_told_with_its_place(expression, names, said):
    with pytest.raises(CoreSetError, match=said) as failure:
        sets(names).evaluate(expression)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", str(failure.value))


@given(st.text(alphabet="0123456789-,:/ ()+&abfirstnodecuml\x1b\n\x00é²", max_size=60))
def test_whatever_is_written_is_a_set_or_a_clear_error(text):
    with contextlib.suppress(CoreSetError):
        assert sets({"a": "0", "b": "1-3"}).evaluate(text) <= frozenset(range(CPUS))


def test_a_nic_without_a_node_is_near_to_all_cpus_with_one_warning():
    found = sets()
    assert found.evaluate("node(nowhere)") == frozenset(range(CPUS))
    assert found.evaluate("node(nowhere) & 0") == {0}
    assert found.warnings == ["eth3: the firmware names no NUMA node; node(nowhere) is taken to be all CPUs"]


def test_a_nic_on_a_node_without_cpus_online_is_near_to_all_with_a_warning():
    found = CoreSets(inventory(offline=frozenset(range(4, 8)) | frozenset(range(12, 16))), {}, {"feed": "eth2"})
    assert found.evaluate("node(feed)") == frozenset(range(4)) | frozenset(range(8, 12))
    assert len(found.warnings) == 1


def test_a_hostile_interface_name_is_shown_escaped():
    here = inventory()
    here.__dict__["nics"] = (replace(nic("x\x1b[2J", -1), pci=None),)
    found = CoreSets(here, {}, {"feed": "x\x1b[2J", "lost": "y\x1b[2J"})
    found.evaluate("node(feed)")
    assert "\x1b" not in found.warnings[0]
    with pytest.raises(CoreSetError) as failure:
        found.evaluate("node(lost)")
    assert "\x1b" not in str(failure.value)
