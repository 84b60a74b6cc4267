"""What the tests of the tuning engine share: small hosts, the real command as a process, and trees compared to the byte."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.host.host import Host, Inventory, open_host
from tuner.lock import lock_path
from tuner.permission import Options
from tuner.plan import Plan, build
from tuner.profile_files import load_for_host
from tuner.store import Store
from tuner.transaction import Result, apply

PROJECT = Path(__file__).resolve().parent.parent
# a profile of that name stands for the shipped one: see its head
RECEIVER = str(PROJECT / "tests" / "feed-handler.toml")
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
Tree = dict[str, tuple[str, int, bytes]]


def tree_of(root: object) -> Tree:
    """Every file, directory and link below ``root`` by its relative path: kind, mode, content."""
    found: Tree = {}
    top = str(root)
    for base, directories, names in os.walk(top):
        for name in directories + names:
            path = os.path.join(base, name)
            short = path[len(top) :]
            if os.path.islink(path):
                found[short] = ("link", 0, os.readlink(path).encode())
            elif os.path.isdir(path):
                found[short] = ("directory", os.stat(path).st_mode, b"")
            else:
                with open(path, "rb") as file:
                    found[short] = ("file", os.stat(path).st_mode, file.read())
    return found


def differing(before: Tree, after: Tree) -> list[str]:
    """The paths in which two trees differ."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


@contextmanager
def directory_in_memory() -> Iterator[str]:
    """A directory that is gone afterwards."""
    directory = tempfile.mkdtemp(prefix="quietcore-test-", dir=MEMORY)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Sim:
    """One simulated host of a test's own, with the state directory beside it and the tree as it was at first."""

    root: str
    state: str
    before: Tree

    @property
    def host(self) -> Host:
        """The host, opened anew."""
        return open_host(self.root)

    @property
    def store(self) -> Store:
        """Its transactions."""
        return Store(self.state, lock_path(self.root))

    def changed(self) -> list[str]:
        """The paths in which the tree is no longer what it was at first."""
        return differing(self.before, tree_of(self.root))

    def text(self, name: str) -> str:
        """A file of the tree."""
        return Path(self.root + name).read_text()

    def write(self, name: str, value: str) -> None:
        """What somebody else writes to the host meanwhile."""
        self.host.files.write(name, value)

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """The real command on this host."""
        return run_quietcore(*arguments, root=self.root, state=self.state, **options)

    def json(self, *arguments: str, status: int | None = None) -> dict[str, Any]:
        """The object that the command prints under ``--json``."""
        done = self.run(*arguments, "--json")
        assert status is None or done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def profile(self, text: str, name: str = "own") -> str:
        """A local profile with this text; gives back its name. The tree is compared without it."""
        path = Path(self.state).parent / f"{name}.toml"
        path.write_text(text)
        path.chmod(0o644)
        return str(path)

    def plan(self, profile: str = "feed-handler", bindings: Mapping[str, str] | None = None) -> Plan:
        """The plan of a profile here."""
        host = self.host
        wanted, bound = load_for_host(host.files, RECEIVER if profile == "feed-handler" else profile)
        return build(Inventory(host), wanted, bound | dict(bindings or {}))

    def apply(
        self,
        profile: str = "feed-handler",
        host: Host | None = None,
        confirm_within_s: float | None = None,
        stopped: Any = lambda: "",
        progress: Any = lambda _: None,
        arm: Any = lambda _: None,
        bindings: Mapping[str, str] | None = None,
    ) -> Result:
        """Applies a profile in this process; ``host`` may be one with faults in it."""
        options = Options(allow=frozenset({"link", "service", "reboot"}), confirm_within_s=confirm_within_s)
        with self.store.lock():
            return apply(host or self.host, self.store, self.plan(profile, bindings), options, arm, progress, stopped)


def run_quietcore(
    *arguments: str,
    root: str | None = None,
    state: str | None = None,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own, behind the words ``before`` (strace, setpriv, …)."""
    return subprocess.run(
        [*before, *command_line(*arguments, root=root, state=state)],
        cwd=PROJECT,
        env=clean_environment() | dict(environment or {}),
        text=True,
        timeout=60,
        **({"capture_output": True} | options if not {"stdout", "stderr"} & options.keys() else options),
    )


def command_line(*arguments: str, root: str | None = None, state: str | None = None) -> list[str]:
    """The words that start the command."""
    where = [*(("--root", root) if root else ()), *(("--state", state) if state else ())]
    words = [RECEIVER if word == "feed-handler" else word for word in arguments]
    return [sys.executable, "-m", "ui.cli.main", *where, *words]


def clean_environment() -> dict[str, str]:
    """The environment without what would change the command's behaviour."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SSH_", "QUIETCORE_"))}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}
