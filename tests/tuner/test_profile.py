"""Profiles: everything that is wrong is told at once and in safe words, and nothing but a ProfileError ever comes out."""

import contextlib
import os
import re
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tuner.host.files import HostFiles
from tuner.profile import Profile, ProfileError
from tuner.profile_files import LOCAL, SHIPPED, SIZE_LIMIT, available, host_bindings, load, locate, read_document

GOOD = """\
summary = "a test"
[bind]
feed = "nic"
[cores]
housekeeping = "0"
rx = "cores(node(feed) - housekeeping)"
[irq]
default = "housekeeping"
feed = { cores = "rx", spread = "one-each" }
[nic.feed]
rings = { rx = "max:4096", tx = 512 }
[isolation]
cores = "rx"
kernel_threads = "housekeeping"
[sysctl]
"vm.swappiness" = 10
net.core.busy_poll = 50
"net.ipv4.tcp_rmem" = "4096  131072\\t6291456"
"kernel.numa_balancing" = false
"net.core.rmem_max" = "at-least:1000"
"""


@pytest.fixture
def files(tmp_path: Path) -> HostFiles:
    (tmp_path / "etc/quietcore/profiles").mkdir(parents=True)
    return HostFiles(tmp_path)


def put(files: HostFiles, text: str | bytes, name: str = "own") -> str:
    path = Path(files.path(f"{LOCAL}/{name}.toml"))
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o644)
    return name


def faults(files: HostFiles, text: str | bytes, **options: bool) -> list[str]:
    """What is said of a profile with this text; no word of it may move a cursor."""
    with pytest.raises(ProfileError) as failure:
        load(files, put(files, text), **options)
    found = [str(fault) for fault in failure.value.faults]
    assert found
    assert not any(re.search(r"[\x00-\x1f\x7f-\x9f\u202e\u2028]", fault) for fault in found)
    return found


def test_shipped_profiles_load(files):
    names = [name for name, where in available(files).items() if where == "shipped"]
    assert {"observe", "base", "feed-handler"} <= set(names)
    for name in names:
        profile = load(files, name, trusted_owner=True)
        assert profile.name == name
        assert profile.summary
    assert load(files, "observe").settings == {}
    assert load(files, "feed-handler").layers == ("base.toml", "feed-handler.toml")


def test_every_kind_of_setting_is_kept_with_its_source(files):
    profile = load(files, put(files, GOOD))
    assert {".".join(place): setting.value for place, setting in profile.settings.items()} == {
        "bind.feed": "nic",
        "cores.housekeeping": "0",
        "cores.rx": "cores(node(feed) - housekeeping)",
        "irq.default": "housekeeping",
        "irq.feed": {"cores": "rx", "spread": "one-each"},
        "nic.feed.rings.rx": "max:4096",
        "nic.feed.rings.tx": 512,
        "isolation.cores": "rx",
        "isolation.kernel_threads": "housekeeping",
        "sysctl.vm.swappiness": 10,
        "sysctl.net.core.busy_poll": 50,
        "sysctl.net.ipv4.tcp_rmem": "4096 131072 6291456",
        "sysctl.kernel.numa_balancing": 0,
        "sysctl.net.core.rmem_max": "at-least:1000",
    }
    assert profile.settings["nic", "feed", "rings", "rx"].source == "own.toml: nic.feed.rings.rx"
    assert (profile.name, profile.summary, profile.layers) == ("own", "a test", ("own.toml",))


def test_all_faults_are_told_at_once(files):
    told = faults(
        files,
        """
        summary = 3
        extends = "base"
        sumary = "x"
        [bind]
        feed = "disk"
        Feed2 = "nic"
        [cores]
        first = "0"
        rx = ""
        tx = true
        [irq]
        default = 1.5
        feed = { core = "rx", spread = "evenly" }
        [nic]
        other = 3
        [nic.feed]
        ring = 1
        rings = { rxx = 1, rx = 0, tx = "big" }
        [isolation]
        cors = "rx"
        [sysctl]
        "kernel.core_pattern" = "|/bin/sh"
        "vm.drop_caches" = 3
        "vm.swappiness" = nan
        "vm.stat_interval" = "at-least:many"
        "../../etc/passwd" = 1
        [core]
        x = 1
        """,
    )
    wanted = [
        ("summary", "not a line of text"),
        ("extends", "not a list of profile names"),
        ("sumary", "did you mean summary?"),
        ("bind.feed", "unknown kind of part"),
        ("bind.Feed2", "not a name"),
        ("cores.first", "means something else"),
        ("cores.rx", "not a text"),
        ("cores.tx", "not a text"),
        ("irq.default", "not a text"),
        ("irq.feed.core", "did you mean cores?"),
        ("irq.feed.cores", "missing"),
        ("irq.feed.spread", "known: one-each, all"),
        ("nic.other", "not a table"),
        ("nic.feed.ring", "did you mean rings?"),
        ("nic.feed.rings.rxx", "did you mean rx?"),
        ("nic.feed.rings.rx", "out of range: 0"),
        ("nic.feed.rings.tx", "not a number of descriptors"),
        ("isolation.cors", "did you mean cores?"),
        ("sysctl.kernel.core_pattern", "not among the sysctls"),
        ("sysctl.vm.drop_caches", "refused"),
        ("sysctl.vm.swappiness", "not a text"),
        ("sysctl.vm.stat_interval", "not a number to reach"),
        ("sysctl.../../etc/passwd", "not the name of a sysctl"),
        ("core", "did you mean cores?"),
    ]
    missing = [w for w in wanted if not any(f.startswith(f"own.toml: {w[0]}: ") and w[1] in f for f in told)]
    assert missing == []
    assert len(told) == len(wanted), told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[irq]\nfeet = "0"\n[bind]\nfeed = "nic"', "'feet' is bound by nothing (did you mean feed?)"),
        ("[nic.feed]\nrings = { rx = 64 }", """'feed' is bound by nothing (add feed = "nic" to [bind])"""),
        ('[cores]\nhousekeeping = "0"\nrx = "housekeping"', "unknown core set 'housekeping' (did you mean housekeeping?)"),
        ('[isolation]\ncores = "nobody"', "unknown core set 'nobody'"),
        ('[irq]\ndefault = "1"\n[bind]\nx = "nic"\n[cores]\nx1 = "node(y)"', "unknown core set 'y'"),
        ("cores = 3", "own.toml: cores: not a table (write [cores])"),
        ("x = ", "not TOML"),
        ('a = "1"\na = "2"', "not TOML"),
        ('extends = ["../base"]', "names only, no paths"),
        ('extends = ["nowhere"]', "there is no such profile"),
        ('extends = ["own"]', "a circle: own -> own"),
        ('[sysctl]\n"kernel.modprobe" = "/tmp/x"', "not among the sysctls"),
        ('[sysctl]\n"net.core.bpf_jit_harden" = 0', "a switch of security"),
        ('[sysctl]\n"vm.swappiness\\u001b" = 0', "not the name of a sysctl"),
        ('[sysctl]\n"vm.stat_interval" = "at-least:' + "9" * 5000 + '"', "not a number to reach"),
        ("[cores]\nrx = inf", "not a text"),
        ("[cores]\nrx = -3", "not a text"),
        ("[cores]\nrx = 1979-05-27", "not a text"),
        ('[cores]\nrx = "0\\u001b[2J"', "holds control characters"),
        ('summary = "x\\u202e"', "not a line of text"),
        ('"\\u001b]0;x\\u0007" = 1', "unknown key"),
        ('[irq]\n"\\u001b[2J" = "0"', "is bound by nothing"),
        ("[sysctl]\n" + ".".join("ab" for _ in range(20)) + " = 1", "not the name of a sysctl"),
        ("[sysctl]\n" + ".".join("ab" for _ in range(500)) + " = 1", "nested too deeply"),
    ],
)
def test_a_fault_says_what_is_wrong_and_what_was_meant(files, text, said):
    assert any(said in fault for fault in faults(files, text)), faults(files, text)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\xff\xfe", "not UTF-8: byte 0"),
        (b'summary = "a\0b"', "NUL bytes"),
        (b"x = " + b"[" * 20_000, "nested too deeply"),
        (b"x = " + b"{a=" * 9_000, "nested too deeply"),
        (b"x = 1" + b"0" * 10_000, "not TOML"),
        (b"x = 1\x1b[31m", "not TOML"),
        (b"# " + b"x" * SIZE_LIMIT, "a profile has at most 65536"),
    ],
)
def test_bytes_that_are_no_profile(files, raw, said):
    assert said in faults(files, raw)[0]


def test_a_number_that_no_kernel_holds_is_out_of_range(files):
    assert faults(files, f"[sysctl]\n'vm.swappiness' = {10**300}")[0].startswith(
        "own.toml: sysctl.vm.swappiness: out of range: 1000"
    )


def test_a_profile_of_just_the_size_limit_loads(files):
    assert load(files, put(files, GOOD + "#" * (SIZE_LIMIT - len(GOOD)))).name == "own"


def test_a_full_size_profile_of_faults_is_answered_soon(files):
    started = time.monotonic()
    assert len(faults(files, "".join(f"k{i} = 1\n" for i in range(7000))[: SIZE_LIMIT - 100].rpartition("\n")[0])) > 5000
    assert time.monotonic() - started < 10


@given(st.binary(max_size=120))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_are_a_profile_or_a_profile_error(files, raw):
    with contextlib.suppress(ProfileError):
        assert isinstance(load(files, put(files, raw)), Profile)


# fmt: off
KEYS = st.sampled_from([
    "summary", "extends", "bind", "cores", "irq", "nic", "isolation", "sysctl", "feed", "rings", "rx", "default", "spread",
    "vm.swappiness", '"net.core.busy_poll"', '""', '"\\u001b"', "a.b.c", "all", "first", "power",
])
VALUES = st.sampled_from([
    "1", "-1", "0", "nan", "inf", "true", '"nic"', '"rx"', '"first(2, all)"', '""', '"\\u0000"', '"at-least:5"', '"max:64"',
    "[]", '["base"]', '["own"]', "[[1]]", "{}", '{ cores = "rx" }', "{ rx = 64 }", "07:32:00", "1e999", str(10**25),
])
# fmt: on
LINES = st.one_of(
    st.builds("{} = {}".format, KEYS, VALUES),
    st.builds("[{}]".format, KEYS),
    st.builds("[[{}]]".format, KEYS),
    st.builds("[nic.{}]".format, KEYS),
    st.text(max_size=12).map(lambda text: text.encode("utf-8", "replace").decode()),
)


@given(st.lists(LINES, max_size=12))
@example(['extends = ["own", "own"]'])
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_anything_that_looks_like_toml_is_a_profile_or_a_profile_error(files, lines):
    try:
        profile = load(files, put(files, "\n".join(lines)))
    except ProfileError as error:
        text = "".join(fault.what + fault.hint for fault in error.faults)
        assert not re.search(r"[\x00-\x08\x1b]", text), text
    else:
        assert all(source.source.startswith(("own.toml: ", "base.toml: ")) for source in profile.settings.values())


def test_what_extends_wins_and_says_where_it_came_from(files):
    put(files, '[sysctl]\n"vm.swappiness" = 1\n"vm.stat_interval" = 2', "parent")
    put(files, 'extends = ["parent"]\n[sysctl]\n"vm.swappiness" = 9', "child")
    profile = load(files, "child")
    assert profile.settings["sysctl", "vm.swappiness"].value == 9
    assert profile.settings["sysctl", "vm.swappiness"].source == "child.toml: sysctl.vm.swappiness"
    assert profile.settings["sysctl", "vm.stat_interval"].source == "parent.toml: sysctl.vm.stat_interval"
    assert profile.layers == ("parent.toml", "child.toml")


def test_a_diamond_is_no_circle_and_a_circle_is_told(files):
    put(files, "", "root")
    for name in ("left", "right"):
        put(files, 'extends = ["root"]', name)
    put(files, 'extends = ["left", "right"]', "top")
    assert load(files, "top").layers == ("root.toml", "left.toml", "right.toml", "top.toml")
    put(files, 'extends = ["b"]', "a")
    put(files, 'extends = ["c"]', "b")
    put(files, 'extends = ["a"]', "c")
    with pytest.raises(ProfileError, match="a circle: a -> b -> c -> a"):
        load(files, "a")


def test_a_broken_parent_that_is_named_twice_is_no_circle(files):
    put(files, "x = ", "broken")
    put(files, 'extends = ["broken"]', "middle")
    told = faults(files, 'extends = ["broken", "middle"]')
    assert sum("not TOML" in fault for fault in told) == 2
    assert not any("circle" in fault for fault in told)


def test_a_local_profile_hides_a_shipped_one_and_odd_names_are_not_offered(files):
    put(files, 'summary = "mine"', "base")
    put(files, "", "-x")
    put(files, "", "A")
    assert available(files)["base"] == "local"
    assert load(files, "base").summary == "mine"
    assert not {"-x", "A"} & set(available(files))
    with pytest.raises(ProfileError, match=r"there is no such profile \(known: .*feed-handler"):
        locate(files, "nothing\x1b")


def test_only_a_regular_file_that_is_no_link_is_opened(files, tmp_path):
    real = put(files, GOOD)
    link = tmp_path / "link.toml"
    link.symlink_to(files.path(f"{LOCAL}/{real}.toml"))
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "directory.toml").mkdir()
    for name, said in [
        ("link", "cannot be opened: a symbolic link"),
        ("pipe", "not a regular file"),
        ("directory", "not a regular file"),
        ("missing", "No such file"),
    ]:
        with pytest.raises(ProfileError, match=said):
            read_document(str(tmp_path / f"{name}.toml"))
    with pytest.raises(ProfileError, match="not a regular file"):
        read_document("/dev/zero")


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o664, 0o620])
def test_what_others_can_write_is_planned_but_not_applied(files, mode):
    path = Path(files.path(f"{LOCAL}/{put(files, GOOD)}.toml"))
    path.chmod(mode)
    assert load(files, "own").name == "own"
    with pytest.raises(ProfileError, match="others can write it"):
        load(files, "own", trusted_owner=True)


def test_what_somebody_else_owns_is_not_applied(files):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = Path(files.path(f"{LOCAL}/{put(files, GOOD, 'parent')}.toml"))
    os.chown(path, 1234, 1234)
    put(files, 'extends = ["parent"]', "child")
    with pytest.raises(ProfileError, match=r"parent\.toml: others can write it"):
        load(files, "child", trusted_owner=True)
    assert load(files, "child").layers == ("parent.toml", "child.toml")


def test_a_path_with_hostile_bytes_is_told_safely(files, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\x1b[2J\xff.toml")
    with pytest.raises(ProfileError) as failure:
        load(files, path)
    assert "\x1b" not in str(failure.value)
    str(failure.value).encode()  # no surrogates


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[bind]\nfeed = 3", "host.toml: bind.feed: not an interface name"),
        ('[bind]\nfeed = "\\u001b"', "host.toml: bind.feed: not an interface name"),
        ("bind = 3", "host.toml: bind: not a table"),
        ("[binds]\nfeed = 'eth2'", "host.toml: binds: unknown table"),
        ("[bind", "not TOML"),
    ],
)
def test_host_toml_is_checked(files, text, said):
    overlay = Path(files.path("/etc/quietcore/host.toml"))
    assert host_bindings(files) == {}
    overlay.write_text('[bind]\nfeed = "eth2"\n')
    assert host_bindings(files) == {"feed": "eth2"}
    overlay.write_text(text)
    with pytest.raises(ProfileError) as failure:
        host_bindings(files)
    assert said in str(failure.value)


def test_host_toml_that_others_can_write_says_nothing_to_apply(files):
    overlay = Path(files.path("/etc/quietcore/host.toml"))
    overlay.write_text('[bind]\nfeed = "eth2"\n')
    overlay.chmod(0o666)
    assert host_bindings(files) == {"feed": "eth2"}
    with pytest.raises(ProfileError, match="others can write it"):
        host_bindings(files, trusted_owner=True)


def test_reading_profiles_leaves_no_descriptor_open(files):
    count = len(os.listdir("/proc/self/fd"))
    for raw in (GOOD.encode(), b"\0", b"x =", b"\xff"):
        with contextlib.suppress(ProfileError):
            load(files, put(files, raw))
    assert len(os.listdir("/proc/self/fd")) == count


def test_the_recursion_limit_is_left_alone():
    assert sys.getrecursionlimit() == 1000
    assert SHIPPED.is_dir()
