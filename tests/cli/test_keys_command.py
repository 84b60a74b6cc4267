"""quietcore keys and the keymap file: what is in force, and everything that is wrong with a file, at once."""

import json
import os
import string

import pytest
from textual.keys import _character_to_key

from ui.cli.main import main
from ui.key_names import NAMED, KeyNameError, key_of, spelled
from ui.keymap import NEVER_LOST, places, read_keymap
from ui.keys import COMMANDS, SCREENS, Keys


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A person's own keymap, and no other."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("ui.cli.keys.places", lambda environ: [str(tmp_path / "site.toml"), places(environ)[1]])
    return tmp_path


@pytest.fixture
def says(home):
    def write(text, path="config/quietcore/keys.toml"):
        place = home / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
        place.chmod(0o600)
        return str(place)

    return write


def faults(path):
    return [str(fault).removeprefix(f"{path}: ") for fault in read_keymap([path]).faults]


# ---------------------------------------------------------------------------------------------------------- the command


def test_json_is_the_table(home, capsys):
    assert main(["keys", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert list(record)[:2] == ["schema", "command"]
    assert (record["schema"], record["files"], record["faults"]) == ("quietcore/1", [], [])
    assert [each["name"] for each in record["keys"]] == [each.name for each in COMMANDS]
    for told, command in zip(record["keys"], COMMANDS, strict=True):
        assert list(told) == ["name", "keys", "title", "explained", "screens", "needs", "action"]
        assert told["screens"] == (list(command.where) or ["everywhere"])
        assert tuple(map(key_of, told["keys"])) == command.keys


@pytest.mark.parametrize("screen", SCREENS)
def test_one_screen(home, capsys, screen):
    assert main(["keys", "--screen", screen]) == 0
    told = capsys.readouterr().out
    assert f"[{screen}]" in told
    assert not [other for other in SCREENS if other != screen and f"[{other}]" in told]
    for command in Keys().commands_of(screen):
        assert command.explained in told


def test_the_text_has_every_command_once(home, capsys):
    assert main(["keys"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for command in COMMANDS:
        assert sum(command.explained in line for line in lines) == max(1, len(command.where)), command.name


def test_check_without_a_file_and_with_a_good_one(home, says, capsys):
    assert main(["keys", "--check"]) == 0
    assert "no keymap file" in capsys.readouterr().err
    path = says('[everywhere]\npause = "P"\n')
    assert main(["keys", "--check"]) == 0
    assert path in capsys.readouterr().err


def test_check_tells_every_fault_and_exits_with_1(home, says, capsys):
    path = says('[everywhere]\npuase = "P"\n[irq]\nbreaks = "b"\n')
    assert main(["keys", "--check"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count(path) == 2
    assert "did you mean pause?" in captured.err
    assert "did you mean irqs?" in captured.err
    assert main(["keys", "--check", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["faults"]) == 2
    assert main(["keys", "--json"]) == 0  # what is in force can be had all the same
    record = json.loads(capsys.readouterr().out)
    assert (len(record["faults"]), record["files"]) == (2, [])


# ---------------------------------------------------------------------------------------------------------- good files


def test_other_keys_are_in_force(says, capsys):
    says('[everywhere]\npause = ["P", "f5"]\nfilter = "ctrl+f"\ncopy = []\npage-up = "u"\n[overview]\nmetric = "M"\n')
    assert main(["keys", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    told = {(each["name"], *each["screens"]): each["keys"] for each in record["keys"]}
    assert told["pause", "everywhere"] == ["P", "f5"]
    assert told["copy", "everywhere"] == []
    assert told["page up", "everywhere"] == ["u"]
    assert (told["metric", "overview"], told["metric", "core"]) == (["M"], ["m"])
    assert all(keys == ["ctrl+f"] for (name, *_), keys in told.items() if name == "filter")


def test_a_screens_own_word_goes_over_everywhere(says):
    keys = read_keymap([says('[everywhere]\nsort = "o"\n[nic]\nsort = "O"\n[ingest]\nring = "r"\n')]).keys
    assert keys.command_for("irqs", "o").name == "sort"
    assert keys.command_for("nic", "O").name == "sort"
    assert keys.command_for("nic", "o") is None
    assert keys.command_for("ingest", "r").name == "ring"


def test_keys_can_be_exchanged(says):
    keys = read_keymap([says('[nic]\nchanged = "w"\nsince = "d"\n')]).keys
    assert (keys.command_for("nic", "w").name, keys.command_for("nic", "d").name) == ("changed", "since")


def test_the_hint_shows_the_key_that_works(says):
    keys = read_keymap([says('[everywhere]\npause = ["space", "P"]\nhelp = "f1"\n')]).keys
    assert keys.named("overview", "pause").shown == "space"
    assert keys.named("profiles", "pause").shown == "P"  # space is pick there
    assert keys.named("overview", "help").shown == "f1"


def test_the_persons_own_file_goes_over_the_sites(says):
    site, own = says('[everywhere]\npause = "P"\ncopy = "Y"\n', "site.toml"), says('[everywhere]\npause = "f5"\n')
    keymap = read_keymap([site, own])
    assert keymap.files == (site, own)
    assert keymap.keys.named("core", "pause").keys == ("f5",)
    assert keymap.keys.named("core", "copy").keys == ("Y",)


def test_a_wrong_file_changes_nothing_and_stops_no_other(says):
    site, own = says('[everywhere]\npause = "P"\n', "site.toml"), says('[everywhere]\npause = "f5"\ncopy = "P"\nkeep = "x9"\n')
    keymap = read_keymap([site, own])
    assert keymap.files == (site,)
    assert keymap.keys.named("core", "pause").keys == ("P",)
    assert len(keymap.faults) == 1


def test_a_link_to_a_dotfile_is_followed(says, home):
    target = says('[everywhere]\npause = "P"\n', "dotfiles/keys.toml")
    (home / "link.toml").symlink_to(target)
    assert read_keymap([str(home / "link.toml")]).keys.named("core", "pause").keys == ("P",)


def test_where_the_file_is_looked_for(monkeypatch):
    assert places({"XDG_CONFIG_HOME": "/a/b", "HOME": "/h"}) == ["/etc/quietcore/keys.toml", "/a/b/quietcore/keys.toml"]
    for config in ("", "relative"):
        assert places({"XDG_CONFIG_HOME": config, "HOME": "/h"})[1] == "/h/.config/quietcore/keys.toml"


# --------------------------------------------------------------------------------------------------------- wrong files


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[irq]\n", "[irq]: there is no such screen (did you mean irqs?)"),
        ('pause = "p"\n', "[pause]: there is no such screen"),
        ("irqs = 3\n", "[irqs]: not a table of commands"),
        ('[everywhere]\npuase = "p"\n', "[everywhere] puase: there is no such command (did you mean pause?)"),
        ('[core]\nbreaks = "b"\n', "[core] breaks: not a command of this screen (it belongs under [irqs])"),
        ('[core]\nquit = "Q"\n', "[core] quit: not a command of this screen (it belongs under [everywhere])"),
        ('[everywhere]\npause = "spcae"\n', "[everywhere] pause: 'spcae' is no key to be had (did you mean space?)"),
        ('[everywhere]\npause = "ctrl+c"\n', "[everywhere] pause: 'ctrl+c' is no key to be had (it is the terminal's)"),
        ('[everywhere]\npause = "ctrl+i"\n', "(it is tab to a terminal)"),
        ('[everywhere]\npause = "super+p"\n', "ctrl+ goes with a letter"),
        ('[everywhere]\npause = ""\n', "[everywhere] pause: '' is no key to be had"),
        ("[everywhere]\npause = 7\n", '[everywhere] pause: 7 is no key (a key or a list of keys: "p", or ["p", "space"])'),
        ("[everywhere]\npause = [1]\n", "[everywhere] pause: [1] is no key"),
        *((f"[everywhere]\n{name} = []\n", f"[everywhere] {name}: cannot be without a key") for name in NEVER_LOST),
        ('[irqs]\nbreaks = "s"\n', "[irqs] breaks: s is sort on irqs already (give sort another key)"),
        ('[everywhere]\ncopy = "x"\n', "[everywhere] copy: x is export already (give export another key)"),
        ('[everywhere]\npause = "d"\n', "[everywhere] pause: d is changed on nic"),
        ('[irqs]\nbreaks = "y"\n', "[irqs] breaks: leaves copy without a key on irqs (give copy one, or [])"),
        ('[irqs]\nbreaks = "q"\n', "[irqs] breaks: leaves quit without a key on irqs (give quit one)"),
        ("[everywhere\n", "not TOML: "),
        (b"\xff\xfe", "not TOML: "),
        (b"a\0b", "holds NUL bytes"),
        ("[everywhere]\n'\x7f[31m' = 'p'\n".replace("\x7f", "\\u001b").replace("'\\", '"\\').replace("m'", 'm"'), "\\x1b[31m"),
    ],
)
def test_what_is_wrong_is_said(says, text, wanted):
    path = says(text)
    told = faults(path)
    assert any(wanted in fault for fault in told), told
    assert not any("\x1b" in fault for fault in told)
    assert read_keymap([path]).files == ()
    assert [each.keys for each in read_keymap([path]).keys.commands] == [each.keys for each in COMMANDS]


def test_all_faults_are_told_at_once(says):
    told = faults(says('[irq]\n[everywhere]\nquit = []\ncopy = "x"\npause = "nokey"\n[core]\nmetrc = "m"\n'))
    assert len(told) == 5


def test_a_key_is_given_away_where_that_is_said(says):
    keymap = read_keymap([says('[irqs]\nbreaks = "y"\n[everywhere]\ncopy = []\n')])
    assert keymap.faults == ()
    assert keymap.keys.command_for("irqs", "y").name == "breaks"
    assert keymap.keys.named("irqs", "copy").keys == ()  # the palette has it


def test_what_others_may_write_is_not_obeyed(says, home):
    path = says('[everywhere]\npause = "P"\n')
    os.chmod(path, 0o666)
    assert faults(path) == [f"others can write it (chown root {path}; chmod go-w {path})"]
    os.chmod(path, 0o600)
    (home / "directory.toml").mkdir()
    assert faults(str(home / "directory.toml")) == ["not a regular file"]
    (home / "nowhere.toml").symlink_to(home / "nothing")
    assert "cannot be opened" in faults(str(home / "nowhere.toml"))[0]
    assert "65536" in faults(says(b"#" * 70_000))[0]


# -------------------------------------------------------------------------------------------------------- names of keys


def test_names_of_keys_are_the_toolkits():
    for mark in string.printable.strip() + "éß§":
        assert key_of(mark) == _character_to_key(mark), mark
        assert spelled(key_of(mark)) in (mark, key_of(mark))
    assert key_of(" ") == _character_to_key(" ") == "space"


def test_names_of_keys_as_people_write_them():
    for name in NAMED:
        assert key_of(name) == key_of(name.upper()) == name
    for text, key in {"Esc": "escape", "PgUp": "pageup", "ctrl+P": "ctrl+p", "alt++": "alt+plus", "shift+f3": "shift+f3",
        "Ctrl+Left": "ctrl+left", "+": "plus", "question_mark": "question_mark", "alt+K": "alt+K"}.items():  # fmt: skip
        assert key_of(text) == key
        assert key_of(spelled(key)) == key


@pytest.mark.parametrize(
    "text", ["", "ab", "ctrl+", "+p", "shift+a", "ctrl+1", "hyper+x", "\x1b", "\n", "f13", "ctrl+alt+x", "x" * 5000]
)
def test_what_is_no_key(text):
    with pytest.raises(KeyNameError):
        key_of(text)
