"""Layers: what a child drops, what a host's overlay lays over every profile, and what ``--set`` lays over both."""

import json
import os
from pathlib import Path

import pytest
from engine import Sim
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.host.files import HostFiles
from tuner.profile import ProfileError
from tuner.profile_files import HOST_OVERLAY, LOCAL, host_bindings, load, load_for_host
from tuner.profile_merge import with_sets


@pytest.fixture
def files(tmp_path: Path) -> HostFiles:
    (tmp_path / "etc/quietcore/profiles").mkdir(parents=True)
    return HostFiles(tmp_path)


def put(files: HostFiles, text: str, name: str = "own") -> str:
    path = Path(files.path(f"{LOCAL}/{name}.toml"))
    path.write_text(text)
    path.chmod(0o644)
    return name


def overlay(files: HostFiles, text: str) -> None:
    path = Path(files.path(HOST_OVERLAY))
    path.write_text(text)
    path.chmod(0o644)


def values(profile) -> dict[str, object]:
    return {".".join(place): setting.value for place, setting in profile.settings.items()}


def told(call, *arguments, **options) -> list[str]:
    with pytest.raises(ProfileError) as failure:
        call(*arguments, **options)
    return [fault.told() for fault in failure.value.faults]


PARENT = """
require = ["kernel >= 1.0"]
[bind]
feed = "nic"
[cores]
rx = "0"
[irq]
default = "0"
feed = "rx"
[sysctl]
"vm.swappiness" = 1
"vm.stat_interval" = 2
"net.core.busy_poll" = 50
"""


# ------------------------------------------------------------------------------------------------------------------ drop


def test_a_child_drops_settings_and_whole_tables(files):
    put(files, PARENT, "parent")
    child = load(files, put(files, 'extends = ["parent"]\ndrop = ["irq.feed", "sysctl.vm", "require"]'))
    assert set(values(child)) == {"bind.feed", "cores.rx", "irq.default", "sysctl.net.core.busy_poll"}
    assert child.requires == ()


def test_what_is_dropped_can_be_set_anew_by_the_same_file_and_by_a_grandchild(files):
    put(files, PARENT, "parent")
    put(files, 'extends = ["parent"]\ndrop = ["sysctl"]\n[sysctl]\n"vm.swappiness" = 7', "child")
    assert values(load(files, "child"))["sysctl.vm.swappiness"] == 7
    assert "sysctl.vm.stat_interval" not in values(load(files, "child"))
    put(files, 'extends = ["child"]\n[sysctl]\n"vm.stat_interval" = 9', "grandchild")
    assert values(load(files, "grandchild"))["sysctl.vm.stat_interval"] == 9


def test_two_parents_may_drop_the_same(files):
    put(files, PARENT, "parent")
    for name in ("left", "right"):
        put(files, 'extends = ["parent"]\ndrop = ["irq.feed"]', name)
    assert "irq.feed" not in values(load(files, put(files, 'extends = ["left", "right"]')))


def test_a_name_is_dropped_and_not_what_begins_like_it(files):
    put(files, '[bind]\nfeed = "nic"\nfeed2 = "nic"\n[irq]\nfeed = "0"\nfeed2 = "0"', "parent")
    child = load(files, put(files, 'extends = ["parent"]\ndrop = ["irq.feed"]'))
    assert "irq.feed2" in values(child)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('drop = ["irq.feed"]', "own.toml:1: drop: 'irq.feed' is not inherited (it extends nothing that sets something)"),
        ('extends = ["parent"]\ndrop = ["irq.feet"]', "own.toml:2: drop: 'irq.feet' is not inherited (did you mean irq.feed?)"),
        ('extends = ["parent"]\ndrop = ["irqs.feed"]', "no place of a setting: 'irqs.feed' (did you mean irq?)"),
        ("drop = 3", "not a list of inherited settings"),
        ("drop = [3]", "not a list of inherited settings"),
        ('drop = ["\\u001b"]', "not a list of inherited settings"),
        ('extends = ["parent"]\ndrop = ["bind.feed"]', "parent.toml:9: irq.feed: 'feed' is bound by nothing"),
        ('extends = ["parent"]\ndrop = ["cores.rx"]', "parent.toml:9: irq.feed: unknown core set 'rx'"),
    ],
)
def test_a_drop_that_makes_no_sense_is_told(files, text, said):
    put(files, PARENT, "parent")
    faults = told(load, files, put(files, text))
    assert any(said in fault for fault in faults), faults


# -------------------------------------------------------------------------------------------------------------- host.toml


def test_the_overlay_wins_and_says_so(files):
    overlay(files, '[bind]\nfeed = "eth2"\n[cores]\nrx = "2-3"\n[sysctl]\n"vm.swappiness" = 60\n"vm.stat_interval" = 3\n')
    profile, bound = load_for_host(files, put(files, PARENT))
    assert bound == {"feed": "eth2"}
    assert profile.settings["cores", "rx"].value == "2-3"
    assert profile.settings["sysctl", "vm.swappiness"].source == "host.toml: sysctl.vm.swappiness"
    assert profile.settings["bind", "feed"].value == "nic"
    assert profile.layers == ("own.toml", "host.toml")
    assert set(profile.hashes) == {"own.toml", "host.toml"}
    assert load(files, "own").settings["sysctl", "vm.swappiness"].value == 1, "checked and shown without it"


def test_a_profile_that_sets_nothing_still_sets_nothing(files):
    overlay(files, '[sysctl]\n"vm.swappiness" = 60')
    assert load_for_host(files, "observe")[0].settings == {}


def test_the_overlay_may_speak_of_parts_that_only_other_profiles_bind(files):
    overlay(
        files,
        """
        require = ["driver(order) == 'ice'", "count(near) >= 1", "kernel >= 1.0"]
        [bind]
        order = "eth3"
        [cores]
        near = "node(order)"
        nearer = "near & 0"
        rx = "1"
        [irq]
        order = "nearer"
        [nic.order.rings]
        rx = 512
        """,
    )
    profile, _ = load_for_host(files, put(files, PARENT))
    assert {"irq.order", "cores.near", "cores.nearer", "nic.order.rings.rx"} & set(values(profile)) == set()
    assert values(profile)["cores.rx"] == "1"
    assert [setting.value for setting in profile.requires] == ["kernel >= 1.0", "kernel >= 1.0"]
    other, _ = load_for_host(files, put(files, PARENT.replace("feed", "order")))
    assert {"irq.order", "cores.near", "cores.nearer", "nic.order.rings.rx"} <= set(values(other))
    assert len(other.requires) == 4


def test_the_overlay_drops_from_every_profile_that_has_it(files):
    overlay(files, 'drop = ["sysctl.vm.swappiness", "irq.nobody"]')
    assert "sysctl.vm.swappiness" not in values(load_for_host(files, put(files, PARENT))[0])
    assert load_for_host(files, put(files, '[sysctl]\n"vm.stat_interval" = 1', "other"))[0].settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('extends = ["base"]', "host.toml:1: extends: unknown key"),
        ("[sysctl]\n'vm.swapiness\\' = 1", "host.toml:2: sysctl.vm.swapiness\\"),
        ('[nic.feed.rings]\nrx = "much"', "host.toml:2: nic.feed.rings.rx: not a number of descriptors"),
        ('[irq]\nfeet = "0"', "host.toml:2: irq.feet: 'feet' is bound by nothing (did you mean feed?)"),
        ('[cores]\nrx = "rz"', "host.toml:2: cores.rx: unknown core set 'rz'"),
        ("[bind]\nfeed = 3", "host.toml:2: bind.feed: not an interface name"),
        ("[bind]\n'fe ed' = 'eth2'", "host.toml:2: bind.fe ed: not a name"),
        ("[bind", "not TOML"),
        ('[sysctl]\n"kernel.core_pattern" = "|x"', "not among the sysctls"),
    ],
)
def test_every_fault_of_the_overlay_is_told_like_a_profiles(files, text, said):
    overlay(files, text)
    faults = told(load_for_host, files, put(files, PARENT))
    assert any(said in fault for fault in faults), faults


def test_an_overlay_that_others_can_write_is_not_applied(files):
    overlay(files, '[sysctl]\n"vm.swappiness" = 60')
    Path(files.path(HOST_OVERLAY)).chmod(0o666)
    assert load_for_host(files, put(files, PARENT))
    with pytest.raises(ProfileError, match=r"host\.toml: others can write it"):
        load_for_host(files, "own", trusted_owner=True)
    with pytest.raises(ProfileError, match=r"host\.toml: others can write it"):
        host_bindings(files, trusted_owner=True)


def test_the_overlay_is_checked_by_the_command(sim: Sim):
    os.makedirs(f"{sim.root}/etc/quietcore", exist_ok=True)
    for path in (f"{sim.root}{HOST_OVERLAY}", f"{os.path.dirname(sim.state)}/host.toml"):
        Path(path).write_text('[bind]\nfeed = "eth2"\n[sysctl]\n"vm.swappiness" = 9\n[cores]\nrx = "nobody"\n')
        done = sim.run("profiles", "check", path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "1 parts bound, 2 settings over every profile" in done.stdout
    assert sim.run("profiles", "check", HOST_OVERLAY).returncode == 0
    Path(f"{sim.root}{HOST_OVERLAY}").write_text('extends = ["base"]\n\n[bind]\nfeed = true\n')
    done = sim.run("profiles", "check", HOST_OVERLAY, "--json")
    assert done.returncode == 1
    faults = json.loads(done.stdout)["faults"]
    assert [(fault["where"], fault["line"]) for fault in faults] == [("host.toml: extends", 1), ("host.toml: bind.feed", 4)]


# ------------------------------------------------------------------------------------------------------------------ --set


def set_over(files: HostFiles, *pairs: str) -> dict[str, object]:
    return values(load_for_host(files, put(files, PARENT), pairs)[0])


@pytest.mark.parametrize(
    ("pair", "place", "value"),
    [
        ("sysctl.vm.swappiness=5", "sysctl.vm.swappiness", 5),
        ('sysctl."vm.swappiness"=5', "sysctl.vm.swappiness", 5),
        ("sysctl.vm.swappiness=at-least:5", "sysctl.vm.swappiness", "at-least:5"),
        ("sysctl.net.ipv4.tcp_rmem=1 2 3", "sysctl.net.ipv4.tcp_rmem", "1 2 3"),
        ('cores.rx="2-3"', "cores.rx", "2-3"),
        ("cores.rx=2-3", "cores.rx", "2-3"),
        ("cores.rx=2-3,7", "cores.rx", "2-3,7"),
        ("cores.rx=2", "cores.rx", "2"),
        ("cores.rx=either(all - all, 0)", "cores.rx", "either(all - all, 0)"),
        (" nic . feed . rings . rx = max:4096 ", "nic.feed.rings.rx", "max:4096"),
        ("irq.feed=all", "irq.feed", {"cores": "all"}),
        ("irq.feed.spread=all", "irq.feed", {"cores": "rx", "spread": "all"}),
        ('irq.feed={ cores = "0", spread = "all" }', "irq.feed", {"cores": "0", "spread": "all"}),
    ],
)
def test_a_value_is_toml_or_bare_words(files, pair, place, value):
    assert set_over(files, pair)[place] == value


def test_a_set_wins_over_the_overlay_and_the_last_over_the_first(files):
    overlay(files, '[sysctl]\n"vm.swappiness" = 60')
    profile, _ = load_for_host(files, put(files, PARENT), ["sysctl.vm.swappiness=5", "sysctl.vm.swappiness=6"])
    assert profile.settings["sysctl", "vm.swappiness"].value == 6
    assert profile.settings["sysctl", "vm.swappiness"].source == "--set sysctl.vm.swappiness"
    assert profile.sets == {"sysctl.vm.swappiness": 6}


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("x", "--set x: not KEY=VALUE"),
        ("=1", "--set =1: not KEY=VALUE"),
        ("nic.feed.rings.rx=", "not KEY=VALUE"),
        ("nic..rx=1", "not a dotted place"),
        ("nic.feed.rings.rx[0]=1", "not a dotted place"),
        ("nic.feed.rngs.rx=1", "--set nic.feed.rngs: unknown key (did you mean rings?)"),
        ("nic.feed.rings.rx=0", "--set nic.feed.rings.rx: out of range: 0"),
        ("nic.fed.rings.rx=64", "--set nic.fed.rings.rx: 'fed' is bound by nothing (did you mean feed?)"),
        ("bind.feed=eth2", "which NIC a part is, is said by --bind"),
        ("summary=x", "no place of a setting"),
        ("extends=[]", "no place of a setting"),
        ("corez.rx=1", "did you mean cores?"),
        ('cores.rx="1', "the value is not TOML"),
        ("cores.rx=[", "the value is not TOML"),
        ("cores.rx=1\ny=2", "control characters"),
        ("cores.rx=\x1b[2J", "control characters"),
        ("cores.rx=" + "9" * 5000, "more than 4096 characters"),
        ("sysctl.vm.swappiness=nan", "--set sysctl.vm.swappiness: not a text"),
        ("sysctl.vm.swappiness=1979-05-27", "--set sysctl.vm.swappiness: not a text"),
        ("sysctl.kernel.core_pattern=|x", "not among the sysctls"),
        ("irq.feed.sprad=all", "--set irq.feed.sprad: unknown key (did you mean spread?)"),
        (".".join("abcdefgh" for _ in range(400)) + "=1", "not a dotted place"),
    ],
)
def test_a_set_that_makes_no_sense_is_told(files, pair, said):
    faults = told(load_for_host, files, put(files, PARENT), [pair])
    assert any(said in fault for fault in faults), faults
    assert not any(c in fault for fault in faults for c in "\x1b\n")


@given(st.text(max_size=40), st.text(max_size=20), st.sampled_from(["{}", "cores.{}", "sysctl.vm.swappiness", "irq.feed.{}"]))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_set_is_a_setting_or_a_fault(files, value, key, shape):
    profile = load(files, put(files, PARENT))
    changed, faults = with_sets(profile, [f"{shape.format(key)}={value}"])
    assert faults or changed.sets
    assert not any(ord(c) < 32 for fault in faults for c in fault.told())


def test_sets_are_shown_recorded_and_only_for_the_run(sim: Sim):
    pairs = ("--set", "sysctl.vm.swappiness=3", "--set", "sysctl.vm.stat_interval=at-least:11")
    plan = sim.json("plan", "base", *pairs, status=2)
    assert plan["set"] == {"sysctl.vm.swappiness": 3, "sysctl.vm.stat_interval": "at-least:11"}
    why = {change["knob"]: change["why"] for change in plan["changes"]}
    assert why["sysctl.vm.swappiness"] == "--set sysctl.vm.swappiness"
    assert why["sysctl.kernel.numa_balancing"].startswith("base.toml")
    applied = sim.json("apply", "base", *pairs, status=0)
    assert applied["set"] == plan["set"]
    begin = sim.store.get(1).begin
    assert begin["set"] == plan["set"]
    assert begin["profile"]["sha256"] == plan["profile"]["sha256"] == begin["layers"]["base.toml"]
    verdict = sim.json("verify", status=0)
    assert (verdict["set"], verdict["layers"]) == (begin["set"], begin["layers"])
    assert sim.json("verify", "base", status=2)["set"] == {}
    assert "--set sysctl.vm.swappiness=3" in sim.run("history", "1").stdout
    assert sim.text("/proc/sys/vm/swappiness") == "3\n"
    sim.json("rollback", status=0)
    assert sim.changed() == []


def test_the_overlay_is_applied_and_recorded(sim: Sim):
    os.makedirs(f"{sim.root}/etc/quietcore", exist_ok=True)
    path = Path(f"{sim.root}{HOST_OVERLAY}")
    path.write_text('[sysctl]\n"vm.swappiness" = 42\n')
    path.chmod(0o644)
    wanted = {change["knob"]: (change["wanted"], change["why"]) for change in sim.json("plan", "base", status=2)["changes"]}
    assert wanted["sysctl.vm.swappiness"] == (42, "host.toml: sysctl.vm.swappiness")
    assert set(sim.json("apply", "base", status=0)["layers"]) == {"base.toml", "host.toml"}
    assert set(sim.store.get(1).begin["layers"]) == {"base.toml", "host.toml"}
