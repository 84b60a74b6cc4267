"""What is installed is what the locks name, the bill of materials says so, and no code reaches a shell or runs data."""

import ast
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = ROOT / "requirements.lock"
DEVELOPMENT = ROOT / "requirements-dev.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHA256 = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def plain(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: Path) -> dict[str, tuple[str, str]]:
    """Name -> (version, everything behind it)."""
    text = lock.read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(.*\n(?:[ \t].*\n)*)", text, re.MULTILINE)
    return {plain(name): (version, rest) for name, version, rest in found}


def wanted(*groups: list[str]) -> dict[str, str]:
    """Name -> lower bound of the requirements in pyproject.toml; none has another condition."""
    found = {}
    for requirement in (each for group in groups for each in group):
        name, _, bound = requirement.partition(">=")
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name), requirement
        found[plain(name)] = bound
    return found


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


# ------------------------------------------------------------------------------------------------------------ the locks


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        (RUNTIME, [PROJECT["project"]["dependencies"]]),
        (
            DEVELOPMENT,
            [
                PROJECT["project"]["dependencies"],
                PROJECT["project"]["optional-dependencies"]["dev"],
                PROJECT["build-system"]["requires"],
            ],
        ),
    ],
    ids=["runtime", "development"],
)
def test_everything_that_the_project_names_is_in_the_lock(lock, groups):
    locked = entries(lock)
    for name, bound in wanted(*groups).items():
        assert name in locked, f"{name} is not in {lock.name}: make lock"
        assert number(locked[name][0]) >= number(bound), f"{name}: make lock"


@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT], ids=lambda path: path.name)
def test_every_requirement_has_one_version_and_its_hashes(lock):
    for line in lock.read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[^\s;]+( ; [^\\]+?)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
    assert all(SHA256.search(rest) for _, rest in entries(lock).values())
    assert len(entries(lock)) == len(re.findall(r"^[A-Za-z0-9]", lock.read_text(encoding="utf-8"), re.MULTILINE))


def test_both_locks_agree():
    development = entries(DEVELOPMENT)
    assert {name: development.get(name) for name in entries(RUNTIME)} == entries(RUNTIME)


def test_what_a_locked_package_requires_is_locked_too():
    """As far as it is installed here."""
    locked = entries(RUNTIME)
    for name in locked:
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in requires:
            each = Requirement(requirement)
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                assert plain(each.name) in locked, f"{name} requires {each.name}"


def test_what_is_installed_is_what_is_locked():
    locked = entries(DEVELOPMENT)
    there = {plain(each.metadata["Name"]): each.version for each in importlib.metadata.distributions()}
    common = sorted(set(locked) & set(there) - {"setuptools"})  # the one that came with the interpreter may be older
    differing = {name: (there[name], locked[name][0]) for name in common if there[name] != locked[name][0]}
    if differing and len(differing) > len(common) / 4:
        pytest.skip(f"this environment was not made by the lock: {differing}")
    assert differing == {}


def test_there_are_few_dependencies():
    assert len(PROJECT["project"]["dependencies"]) <= 4


# ------------------------------------------------------------------------------------------------- the bill of materials


def test_the_bill_names_every_locked_package(tmp_path):
    place = tmp_path / "bill" / "quietcore.cdx.json"
    run = subprocess.run([sys.executable, ROOT / "tools" / "sbom", place], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    bill = json.loads(place.read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    assert bill["metadata"]["component"]["version"] == PROJECT["project"]["version"]
    locked = entries(RUNTIME)
    assert {plain(each["name"]): each["version"] for each in bill["components"]} == {n: v for n, (v, _) in locked.items()}
    assert len({each["bom-ref"] for each in bill["components"]}) == len(locked)
    for each in bill["components"]:
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        hashes = {f"--hash=sha256:{one['content']}" for one in each["hashes"]}
        assert hashes == set(SHA256.findall(locked[plain(each["name"])][1]))
        assert all(one["alg"] == "SHA-256" for one in each["hashes"])
        for licence in each.get("licenses", ()):
            assert licence.get("expression") or licence["license"]["name"]


def test_the_same_lock_gives_the_same_bill(tmp_path):
    for name in ("one", "two"):
        subprocess.run([sys.executable, ROOT / "tools" / "sbom", tmp_path / name], check=True, capture_output=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_only_other_systems_need_is_left_out():
    loader = SourceFileLoader("lock_tool", str(ROOT / "tools" / "lock"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("lock_tool", loader))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    text = (
        "a==1 \\\n    --hash=sha256:0\nb==2 ; sys_platform == 'win32' \\\n    --hash=sha256:1\nc==3 \\\n    --hash=sha256:2\n"
    )
    assert module.only_linux(text) == "a==1 \\\n    --hash=sha256:0\nc==3 \\\n    --hash=sha256:2\n"


# --------------------------------------------------------------------------------------------- no shell, no data as code

_MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "commands", "pty", "code", "runpy"}
_BUILTINS = {"eval", "exec", "compile", "__import__"}
_CALLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"}
_STARTS = {
    *(f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output")),
    *(f"os.{name}" for name in ("execv", "execve", "execvp", "execvpe", "execl", "spawnv", "spawnve", "posix_spawn")),
    "asyncio.create_subprocess_exec",
}


def sources() -> list[Path]:
    return sorted(p for folder in ("tuner", "ingest", "ui") for p in (ROOT / folder).rglob("*.py"))


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


class Starts(ast.NodeVisitor):
    """Finds what one file forbids, and follows the first word of each program that it starts to where it comes from."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.found: list[str] = []
        self.programs: list[str] = []
        self.visit(self.tree)

    def values(self, name: str) -> Iterator[ast.AST]:
        """What is assigned to a name, or returned by the function of that name, anywhere in the file."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and any(dotted(target) == name for target in node.targets):
                yield node.value
            elif isinstance(node, ast.FunctionDef) and node.name == name:
                yield from (each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value)

    def first(self, node: ast.AST) -> set[str]:
        """What the first word of an argument vector can be; ``?`` where that cannot be told."""
        match node:
            case ast.List(elts=[head, *_]) | ast.Tuple(elts=[head, *_]):
                return self.first(head.value) if isinstance(head, ast.Starred) else self.word(head)
            case ast.Subscript(value=value, slice=ast.Slice(lower=None)):
                return self.first(value)
            case ast.Name(id=name) | ast.Call(func=ast.Name(id=name)):
                return {word for value in self.values(name) for word in self.first(value)} or {"?"}
        return {"?"}

    def word(self, node: ast.AST) -> set[str]:
        """What one word can be."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return {node.value}
        if dotted(node) == "sys.executable":
            return {"sys.executable"}
        if isinstance(node, ast.Name):
            return {word for value in self.values(node.id) for word in self.word(value)} or {"?"}
        return {"?"}

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [f"{node.lineno}: import {a.name}" for a in node.names if a.name.split(".")[0] in _MODULES]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        hidden = [a.name for a in node.names if f"{module}.{a.name}" in _CALLS | _STARTS]
        if module.split(".")[0] in _MODULES or hidden:
            self.found.append(f"{node.lineno}: from {module} import {', '.join(hidden) or '...'}")

    def visit_Call(self, node: ast.Call) -> None:
        name = dotted(node.func)
        shell = [k for k in node.keywords if k.arg == "shell" and not (isinstance(k.value, ast.Constant) and not k.value.value)]
        if name in _BUILTINS or name in _CALLS or shell:
            self.found.append(f"{node.lineno}: {name}")
        if name in _STARTS:
            flat = name.startswith("asyncio.")
            programs = (self.word(node.args[0]) if flat else self.first(node.args[0])) if node.args else {"?"}
            self.programs += sorted(programs)
            self.found += [
                f"{node.lineno}: {name} of {p}" for p in sorted(programs) if not p.startswith(("/", "sys.executable"))
            ]
        self.generic_visit(node)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_shell_no_pickle_no_code_from_data_and_programs_by_absolute_path(path):
    assert Starts(path.read_text(encoding="utf-8")).found == []


def test_the_programs_that_are_started_are_these():
    programs = {program for path in sources() for program in Starts(path.read_text(encoding="utf-8")).programs}
    by_commands = {"/usr/bin/systemctl", "/usr/sbin/grub-mkconfig", "/usr/bin/grub-script-check"}
    assert programs <= {"sys.executable", "/usr/bin/systemd-run", "/usr/bin/cc", *by_commands}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from marshal import loads",
        "from subprocess import run",
        "import os; os.system('ls')",
        "import os; os.popen('ls')",
        "eval('1')",
        "exec('1')",
        "import subprocess; subprocess.run(['/bin/ls'], shell=True)",
        "import subprocess; subprocess.run('/bin/ls')",
        "import subprocess; subprocess.run(['ls'])",
        "import subprocess; subprocess.run(command)",
        "import subprocess; LS = 'ls'; subprocess.Popen([LS, '-l'])",
        "import subprocess; words = ['ls']; subprocess.Popen([*words, '-l'])",
        "import asyncio; asyncio.create_subprocess_exec('ls')",
        "import asyncio; asyncio.create_subprocess_shell('/bin/ls')",
    ],
)
def test_what_would_be_found(line):
    assert Starts(line).found


@pytest.mark.parametrize(
    "line",
    [
        "import re; re.compile('x')",
        "import subprocess, sys; subprocess.run([sys.executable, '-I'], shell=False)",
        "import subprocess; LS = '/bin/ls'; words = [LS]; subprocess.Popen([*words[:-1], '-l'])",
    ],
)
def test_what_is_fine(line):
    assert Starts(line).found == []


# ------------------------------------------------------------------------------------------------------- the threat model


def test_every_file_and_test_of_the_threat_model_is_there():
    text = (ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|tuner|ingest|ui|tools)/[\w./@-]+|requirements[\w.-]+)(?:::(\w+))?`", text))
    assert len(named) > 40
    for path, test in named:
        assert (ROOT / path).is_file(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"
