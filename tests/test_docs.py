"""The documents say what the code does: every profile is loaded, every expression evaluated, every file is there."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tuner.cores import CoreSets
from tuner.host.cpulist import format_list
from tuner.host.files import HostFiles
from tuner.host.host import Inventory, open_host
from tuner.host.simulated import write_tree
from tuner.knobs.sysctl import PREFIXES
from tuner.plan import build
from tuner.profile import ProfileError
from tuner.profile_check import TABLES
from tuner.profile_files import host_bindings, load, load_for_host
from ui.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PROFILES = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml([^\n]*)\n(.*?)^```$", PROFILES, re.MULTILINE | re.DOTALL)
GOOD = [text for kind, text in BLOCKS if not kind]
ROWS = re.findall(r"^\| `([^`]+)` \| ([\d,-]+) \|$", PROFILES, re.MULTILINE)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory) -> Inventory:
    directory = tmp_path_factory.mktemp("documented") / "host"
    write_tree(str(directory), nodes=2, cores=4, smt=2, nics=2, queues=4)
    return Inventory(open_host(str(directory)))


# -------------------------------------------------------------------------------------------------------- profiles.md


def test_the_document_has_its_examples():
    assert len(GOOD) >= 5
    assert len(ROWS) >= 12


@pytest.mark.parametrize("text", GOOD, ids=lambda text: text.splitlines()[0][:40])
def test_every_profile_of_the_document_loads_and_plans(text, tmp_path, inventory):
    path = tmp_path / "documented.toml"
    path.write_text(text, encoding="utf-8")
    profile = load(inventory.host.files, str(path))
    bindings = dict(zip(profile.texts("bind"), ("eth2", "eth3"), strict=False))
    plan = build(inventory, profile, bindings)
    assert plan.changes or set(tomllib.loads(text)) <= {"cores", "bind"}
    assert not [change for change in plan.changes if change.state == "failed"]


def test_the_host_overlay_of_the_document_is_read(tmp_path):
    (text,) = (text for kind, text in BLOCKS if kind.strip() == "host.toml")
    (tmp_path / "etc/quietcore").mkdir(parents=True)
    (tmp_path / "etc/quietcore/host.toml").write_text(text, encoding="utf-8")
    assert host_bindings(HostFiles(tmp_path)) == {"feed": "eth2"}
    profile, bound = load_for_host(HostFiles(tmp_path), "feed-handler", trusted_owner=True)
    assert bound == {"feed": "eth2"}
    overlaid = {".".join(place) for place, setting in profile.settings.items() if setting.source.startswith("host.toml: ")}
    assert overlaid == {"cores.rx", "nic.feed.rings.rx"}
    assert ("sysctl", "kernel.nmi_watchdog") not in profile.settings


def test_the_faults_of_the_document_are_the_faults_of_its_wrong_profile(tmp_path):
    (text,) = (text for kind, text in BLOCKS if kind.strip() == "wrong")
    (wanted,) = re.findall(r"^```text\n(.*?)^```$", PROFILES, re.MULTILINE | re.DOTALL)
    (tmp_path / "nearly.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError) as caught:
        load(HostFiles(tmp_path), str(tmp_path / "nearly.toml"))
    assert [fault.told() for fault in caught.value.faults] == wanted.splitlines()


@pytest.mark.parametrize(("expression", "cpus"), ROWS)
def test_every_core_set_of_the_document_means_what_it_says(expression, cpus, inventory):
    names = dict(re.findall(r"`(housekeeping|rx) = \"([^\"]+)\"`", PROFILES))
    assert set(names) == {"housekeeping", "rx"}
    assert format_list(CoreSets(inventory, names, {"feed": "eth2"}).evaluate(expression)) == cpus


def test_every_table_and_key_is_described():
    for word in (*TABLES, *PREFIXES, "at-least:", "max:", "host.toml"):
        assert word in PROFILES, word


# ----------------------------------------------------------------------------------------------------------- the manual


def test_the_manual_page_is_what_the_parsers_say():
    run = subprocess.run([sys.executable, ROOT / "tools" / "manpage", "-"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (ROOT / "docs" / "quietcore.1").read_text(encoding="utf-8") == run.stdout, "run tools/manpage"


def test_every_command_has_its_section():
    page = (ROOT / "docs" / "quietcore.1").read_text(encoding="utf-8")
    assert re.findall(r'^\.SS "(.*)"$', page.partition(".SH KEYS")[0], re.MULTILINE) == list(COMMANDS)


def test_every_key_of_the_app_is_in_the_manual():
    from ui.key_names import spelled
    from ui.keys import COMMANDS as KEYS
    from ui.keys import SCREENS

    section = (ROOT / "docs" / "quietcore.1").read_text(encoding="utf-8").partition(".SH KEYS")[2].partition(".SH ")[0]
    headings = re.findall(r'^\.SS "On (.*)"$', section, re.MULTILINE)
    assert headings == ["every screen", *SCREENS]
    for heading, part in zip(headings, re.split(r"^\.SS .*$", section, flags=re.MULTILINE)[1:], strict=True):
        told = re.findall(r"^\.TP\n(.*)\n(.*)$", part, re.MULTILINE)
        wanted = [each for each in KEYS if (heading in each.where if heading in SCREENS else not each.where)]
        assert len(told) == len(wanted)
        for (keys, words), command in zip(told, wanted, strict=True):
            plain = re.sub(r"\\f[BR]|\\&", "", keys).replace("\\-", "-").replace("\\e", "\\")
            assert plain == ", ".join(map(spelled, command.keys))
            assert words.replace("\\-", "-").removeprefix("\\&").startswith(f"{command.name}: {command.explained}")


def test_the_formatter_has_nothing_to_complain_of():
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    run = subprocess.run([groff, "-man", "-ww", "-Tutf8", "-z", ROOT / "docs" / "quietcore.1"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_the_formatted_page_shows_options_that_can_be_copied():
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    run = subprocess.run([groff, "-man", "-Tutf8", "-P-c", ROOT / "docs" / "quietcore.1"], capture_output=True, text=True)
    assert "--confirm-within" in re.sub(".\b", "", run.stdout)
    assert "quietcore --root /tmp/host plan feed-handler" in run.stdout


# --------------------------------------------------------------------------------------------- architecture.md, README.md


@pytest.mark.parametrize(
    "name", ["README.md", *(f"docs/{each}.md" for each in ("architecture", "app", "profiles", "feeds", "knobs"))]
)
def test_every_file_that_a_document_names_is_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(r"`((?:tuner|ingest|ui|docs|tools|profiles|tests|bench)/[\w./-]*)`", text)
    named += [link for link in re.findall(r"\]\(([^)#]+)\)", text) if ":" not in link]
    missing = [each for each in named if not (ROOT / each).exists() and not (ROOT / name).parent.joinpath(each).exists()]
    assert missing == []


def test_the_architecture_fits_a_page():
    assert len((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines()) <= 80


def commands_in(text: str) -> list[list[str]]:
    """Command lines of quietcore in a document's indented blocks, without their comments."""
    lines = re.findall(r"^    (?:sudo )?quietcore((?: [^#\n]*)?)(?:#.*)?$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("name", ["README.md", "docs/profiles.md", "docs/feeds.md"])
def test_every_command_line_of_a_document_is_understood(name):
    from ui.cli.main import _chosen, build_parser

    lines = commands_in((ROOT / name).read_text(encoding="utf-8"))
    assert lines
    for words in lines:
        arguments = build_parser(_chosen(words)).parse_args(words)
        assert arguments.command in (None, *COMMANDS)


def test_every_command_that_the_readme_mentions_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    mentioned = set(re.findall(r"`quietcore ([a-z]+)", text))
    assert mentioned
    assert mentioned <= set(COMMANDS)
    for target in re.findall(r"`make ([a-z]+)`", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), target
