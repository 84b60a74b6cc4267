"""Rules of the house that no linter knows: what a command loads, how large a room may be, what an installation needs."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tuner.profile_files import available
from ui.cli.main import COMMANDS, build_parser

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("tuner", "ingest", "ui", "profiles")
HEAVY = ("textual", "rich", "pyroute2", "numpy", "ui.app")

# Runs one command line in a fresh interpreter and writes the modules that it left behind where the tests look for them.
SPY = """
import atexit, json, sys
atexit.register(lambda: json.dump(sorted(sys.modules), open(sys.argv.pop(), "w")))
place = sys.argv.pop(1)
sys.argv.append(place)
from ui.cli.main import main
status = main(sys.argv[1:-1])
sys.exit(status)
"""


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def text_files() -> list[Path]:
    """Everything that git keeps, or would keep."""
    run = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if run.returncode:
        return [path for path in ROOT.rglob("*") if path.is_file() and not {".venv", ".git", "__pycache__"} & set(path.parts)]
    return [ROOT / name for name in run.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def loads(tmp_path_factory):
    place = tmp_path_factory.mktemp("modules")

    def run(*words: str, status: int = 0) -> set[str]:
        path = place / "modules.json"
        done = subprocess.run(
            [sys.executable, "-c", SPY, path, *words],
            capture_output=True,
            text=True,
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == status, done.stderr
        return set(json.loads(path.read_text()))

    return run


def heavy_among(modules: set[str]) -> list[str]:
    return sorted(name for name in HEAVY if any(m == name or m.startswith(name + ".") for m in modules))


# ------------------------------------------------------------------------------------------------------------- start-up


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("plan", "observe"),
        ("profiles", "list"),
        ("profiles", "show", "feed-handler"),
        ("completion", "bash"),
        *((name, "--help") for name in COMMANDS),
    ],
    ids=" ".join,
)
def test_a_headless_command_loads_nothing_heavy(loads, words):
    assert heavy_among(loads(*words)) == []


@pytest.mark.parametrize(
    ("words", "status"), [(("status", "--json"), 0), (("history",), 0), (("plan", "feed-handler", "--bind", "feed=eth2"), 2)]
)
def test_a_command_on_a_tree_loads_nothing_heavy(loads, sim_templates, words, status):
    tree = sim_templates(nodes=1, cores=4, smt=1, nics=1, queues=2)
    assert heavy_among(loads("--root", tree, *words, status=status)) == []


def test_status_of_this_machine_loads_nothing_heavy(loads):
    assert heavy_among(loads("status", "--json")) == []


def test_who_only_watches_loads_little(loads):
    """The collector runs beside what it watches, and for weeks."""
    modules = loads("--json", "watch", "--count", "1", "--interval", "0.1")
    never = {"tuner.plan", "tuner.drift", "tuner.profile", "subprocess", "asyncio", "ssl", "psutil", "zipfile", "logging"}
    assert heavy_among(modules) == []
    assert sorted(never & modules) == []
    assert [name for name in modules if name.startswith("tuner.knobs")] == []


def test_who_only_watches_is_small():
    """Measured at 20 MB with Python 3.11, of which 7 are the interpreter's file; with pyroute2 and the knobs it was 41."""
    command = [sys.executable, "-m", "ui.cli.main", "--json", "watch", "--interval", "0.1"]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        for _ in range(5):
            assert watch.stdout.readline()
        resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{watch.pid}/status").read_text())
    finally:
        watch.kill()
        watch.communicate()
    assert int(resident[1]) < 26_000


def test_the_spy_would_see_it(loads, tmp_path):
    # the same interpreter with the app imported: the check above must be able to fail
    done = subprocess.run(
        [sys.executable, "-c", "import sys, ui.app.app; print(*sys.modules)"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert {"textual", "rich", "ui.app"} <= set(heavy_among(set(done.stdout.split())))


def test_only_lazy_imports_reach_the_app():
    found = []
    for path in sources("ui/cli"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name == "ui.app" or name.startswith(("ui.app.", "textual", "rich")) for name in names):
                found.append((path.name, id(node) in top))
    assert found == [("main.py", False), ("replay.py", False), ("view.py", False)]


# ---------------------------------------------------------------------------------------------------------- small rooms


def test_no_file_is_over_450_lines():
    long = {str(path.relative_to(ROOT)): n for path in sources(*PACKAGES) if (n := len(path.read_text().splitlines())) > 450}
    assert long == {}


def test_no_function_is_over_60_lines():
    long = {}
    for path in sources(*PACKAGES):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 60:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert long == {}


@pytest.mark.parametrize("path", sources(*PACKAGES), ids=str)
def test_python_is_started_isolated(path):
    """Else the directory in which root starts the app says which code it runs."""
    assert not re.findall(r"sys\.executable,\s*+(?!\"-I\")", path.read_text(encoding="utf-8")), "without -I"


def test_every_package_is_in_the_distribution():
    declared = set(
        re.findall(r'"([\w.]+)"', re.search(r"packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1])
    )
    there = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in sources(*PACKAGES) if path.name == "__init__.py"}
    assert declared == there


def test_the_version_is_said_once_in_each_place_alike():
    from ui.cli.main import VERSION

    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()


# --------------------------------------------------------------------------------------------- nothing of this machine

_FOREIGN = re.compile(
    r"/(?:home|Users|work)/[a-z]|/root/[\w.]|[a-z]:\\\\Users"  # a home or work directory
    r"|https?://[\w.-]*(?:pypi|pythonhosted|registry|artifactory|nexus|mirror)[\w.-]*"  # a registry
    r"|--(?:extra-)?index-url|--trusted-host"
)


def test_no_text_names_a_directory_of_a_machine_or_a_registry():
    found = []
    for path in text_files():
        if path == Path(__file__).resolve():
            continue
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
            if _FOREIGN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize("line", ["/home/somebody/x", "/work/tree", "https://pypi.example.org/simple", "pip --index-url x"])
def test_what_would_be_found(line):
    assert _FOREIGN.search(line)


# -------------------------------------------------------------------------------------------------------- what is shipped


def test_every_shipped_profile_plans_on_the_simulated_host(new_sim):
    sim = new_sim(nodes=2, cores=4, smt=2, nics=2, queues=4)
    from tuner.host.host import Inventory, open_host
    from tuner.plan import build
    from tuner.profile_files import load

    host = open_host(str(sim.root))
    shipped = [name for name, where in available(host.files).items() if where == "shipped"]
    assert {"observe", "base", "feed-handler"} <= set(shipped)
    for name in shipped:
        profile = load(host.files, name)
        assert profile.summary
        plan = build(Inventory(host), profile, dict(zip(profile.texts("bind"), ("eth2", "eth3"), strict=False)))
        assert plan.conflicts == ()
        assert not [change for change in plan.changes if change.state in ("failed", "gone")]
        assert bool(plan.changes) == (name != "observe")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as caught:
        build_parser(name).parse_args([name, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert COMMANDS[name][1][1:] in " ".join(said.split())
    assert "None" not in said
    assert len(max(said.splitlines(), key=len)) <= 100


@pytest.fixture
def copy(tmp_path_factory) -> Path:
    """What a clone would hold, and nothing that was built here."""
    place = tmp_path_factory.mktemp("clone") / "quietcore"
    for path in text_files():
        target = place / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return place


def build_wheel(copy: Path, place: Path, **environment: str) -> tuple[list[str], str]:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--disable-pip-version-check", "--wheel-dir", place, copy]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    if run.returncode and re.search(r"No matching distribution|Connection|Temporary failure|setuptools", run.stderr):
        pytest.skip(f"pip cannot have the build's setuptools here: {run.stderr.strip().splitlines()[-1][:120]}")
    assert run.returncode == 0, run.stderr
    (wheel,) = place.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist(), str(wheel)


def test_the_wheel_holds_profiles_and_the_walker(copy, tmp_path):
    names, _ = build_wheel(copy, tmp_path)
    shipped = {f"profiles/{path.name}" for path in (ROOT / "profiles").glob("*.toml")}
    assert shipped <= set(names)
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "ingest").rglob("*.[ch]")} <= set(names)
    assert {"tuner/py.typed", "ingest/py.typed", "ui/py.typed"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "bench/", "docs/"))]
    if shutil.which("cc"):
        assert {"ingest/rings/_walk.so", "ingest/load/_send.so"} <= set(names)


@pytest.mark.parametrize(("hidden", "best"), [("", "numpy"), ("numpy", "python")])
def test_without_a_compiler_the_installation_succeeds_and_works(copy, tmp_path, hidden, best):
    names, wheel = build_wheel(copy, tmp_path / "wheel", CC="/bin/false")
    assert not {"ingest/rings/_walk.so", "ingest/load/_send.so"} & set(names)
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "ingest").rglob("*.[ch]")} <= set(names)
    place = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.modules[sys.argv[2]] = None; import ingest.rings.walk as w;"
        "print(w.__file__, w.open_walker([]).name)"
    )
    for cache, expected in (("/proc/nowhere", best), (str(tmp_path / "cache"), "native")):
        run = subprocess.run(
            [sys.executable, "-P", "-c", program, place, hidden],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={key: value for key, value in os.environ.items() if key != "QUIETCORE_WALKER"} | {"XDG_CACHE_HOME": cache},
        )
        assert run.returncode == 0, run.stderr
        path, walker = run.stdout.split()
        assert path.startswith(str(place))
        if expected == best or shutil.which("cc"):  # with a compiler it is compiled on first use
            assert walker == expected
