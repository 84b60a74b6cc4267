"""Faults: the line of the key, and where a setting belongs that stands at the wrong place."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.host.files import HostFiles
from tuner.language.lines import lines_of
from tuner.profile import ProfileError
from tuner.profile_files import load

TEXT = '''\
# a comment = "with a sign"
summary = "x"   # line 2
extends = [
  "a",  # = 4
  "b = 3",
]
[bind]
feed = "nic"
text = """
[not.a.table]
key = 1
"""
raw = \'\'\'
x = "y" \'\'\'
"quoted.key" = 1
[ nic . "feed" ]
rings = { rx = 1, tx = { deep = 2 }, list = [ {a = 1}, 2 ] }
dotted . key.more = -1.5e3
when = 1979-05-27 07:32:00
[[many]]
one = 1
[[many]]
one = 2
'''
WANTED = {
    "summary": 2, "extends": 3, "bind": 7, "bind.feed": 8, "bind.text": 9, "bind.raw": 13, "bind.quoted.key": 15,
    "nic.feed": 16,
    "nic.feed.rings": 17, "nic.feed.rings.rx": 17, "nic.feed.rings.tx": 17, "nic.feed.rings.tx.deep": 17,
    "nic.feed.rings.list": 17,
    "nic.feed.dotted.key.more": 18, "nic.feed.when": 19, "many": 20, "many.one": 21,
}  # fmt: skip


def test_every_key_is_found_on_its_line():
    assert tomllib.loads(TEXT)
    assert lines_of(TEXT) == WANTED
    assert lines_of(TEXT.replace("\n", "\r\n")) == WANTED


KEY = st.text("ab-_1", min_size=1, max_size=3)
VALUE = st.sampled_from(
    ['"x = 1"', "'[t]'", "1.5", "[1,\n 2]", "[[1], ['#']]", "{ a = 1, b = 'x' }", '"""\n[z]\n"""', "true", '"\\""']
)


@given(st.lists(st.tuples(KEY, VALUE), max_size=12), st.lists(st.tuples(KEY, KEY, VALUE), max_size=6))
@settings(max_examples=200, deadline=None)
def test_the_line_of_a_key_begins_with_the_key(pairs, tables):
    text = "".join(f"{key} = {value}  # end\n" for key, value in dict(pairs).items())
    text += "".join(f"[t-{table}-]\n{key}={value}\n" for table, (key, value) in {t: (k, v) for t, k, v in tables}.items())
    lines = text.split("\n")
    found = lines_of(text)
    for key, value in tomllib.loads(text).items():
        assert lines[found[key] - 1].lstrip("[").startswith(key)
        for below in value if isinstance(value, dict) else ():
            line = lines[found[f"{key}.{below}"] - 1]
            assert line.startswith(below) or f"{below} =" in line


@pytest.fixture
def faults(tmp_path: Path):
    def of(text: str) -> list[str]:
        path = tmp_path / "own.toml"
        path.write_text(text)
        with pytest.raises(ProfileError) as failure:
            load(HostFiles(tmp_path), str(path))
        return [fault.told() for fault in failure.value.faults]

    return of


def test_each_fault_has_its_line(faults):
    told = faults(
        'summary = 1\n\n[irq]\ndefault = 1.5\nfeed = { cores = "x",\tspred = "all" }\n[sysctl]\nnet.core.busy_pol.x = 1e3\n'
    )
    assert [fault.split(": ")[0] for fault in told] == ["own.toml:1", "own.toml:4", "own.toml:5", "own.toml:7"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[nic.feed]\nrx = 4096", "nic.feed.rx: unknown key (it belongs to nic.feed.rings.rx)"),
        ("[nic.feed]\nrx = 4", "nic.feed.rx: unknown key (it belongs to nic.feed.channels.rx)"),
        ("[nic.feed]\nntuple = true", "nic.feed.ntuple: unknown key (it belongs to nic.feed.features.ntuple)"),
        ("[nic.rings]\nrx = 4096", "nic.rings.rx: unknown key (it belongs to nic.feed.rings.rx)"),
        ("[nic]\nrings = 4096", "nic.rings: not a table (it belongs to nic.feed.rings)"),
        ("rings = { rx = 1 }", "rings: unknown table (it belongs to nic.feed.rings)"),
        ("[irq]\nspread = 'all'", "'spread' is bound by nothing"),
        ("workqueues = '0'", "workqueues: unknown key (it belongs to isolation.workqueues)"),
        ("kernel_thread = '0'", "kernel_thread: unknown key (it belongs to isolation.kernel_threads)"),
        ('"net.core.busy_poll" = 50', 'a sysctl: write it into [sysctl], as "net.core.busy_poll" = …'),
        ("[isolation]\nnet.core.busy_poll = 50", "unknown key"),
        ('[irq]\n"vm.swappiness" = 50', 'a sysctl: write it into [sysctl], as "vm.swappiness" = …'),
        ("[sysctl]\nworkqueues = '0'", "not the name of a sysctl (it belongs to isolation.workqueues)"),
    ],
)
def test_a_setting_at_the_wrong_place_is_told_where_it_belongs(faults, text, said):
    told = faults(f'{text}\n[bind]\nfeed = "nic"')
    assert any(said in fault for fault in told), told


def test_without_a_part_of_its_own_the_place_says_part(faults):
    assert "own.toml:2: nic.feed.rx: unknown key (it belongs to nic.PART.rings.rx)" in faults("[nic.feed]\nrx = 4096")
