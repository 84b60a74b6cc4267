"""Fixtures of the whole test run: simulated hosts, written once and copied for each test, and the captured real ones."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from engine import MEMORY, PROJECT, Sim, directory_in_memory, tree_of

from tuner.host.simulated import write_tree

pytest_plugins = ["promises"]
# a shell that starts the run in the background lets it ignore Ctrl-C, and every process that a test starts with it
signal.signal(signal.SIGINT, signal.default_int_handler)
# a gate draws the same cases each time; QUIETCORE_DRAWS=new looks for others
hypothesis.settings.register_profile("same", derandomize=True, database=None)
hypothesis.settings.register_profile("new", derandomize=False, database=None)
hypothesis.settings.load_profile(os.environ.get("QUIETCORE_DRAWS", "same"))
HOSTS = PROJECT / ".." / "shared" / "hosts"


@pytest.fixture(scope="session")
def sim_templates() -> Iterator[Callable[..., str]]:
    """Writes a simulated host of a size once; gives back its directory."""
    with directory_in_memory() as directory:

        def template(**size: int) -> str:
            path = os.path.join(directory, "-".join(f"{k}{v}" for k, v in sorted(size.items())))
            if not os.path.exists(path):
                write_tree(path, **size)
            return path

        yield template


@pytest.fixture
def new_sim(sim_templates: Callable[..., str]) -> Iterator[Callable[..., Sim]]:
    """Makes simulated hosts of the test's own: 1 node of 4 cores and one 2-queue NIC unless told otherwise."""
    with directory_in_memory() as directory:
        count = 0

        def make(nodes: int = 1, cores: int = 4, smt: int = 1, nics: int = 1, queues: int = 2) -> Sim:
            nonlocal count
            count += 1
            place = os.path.join(directory, str(count))
            os.mkdir(place)
            template = sim_templates(nodes=nodes, cores=cores, smt=smt, nics=nics, queues=queues)
            subprocess.run(["cp", "-a", template, f"{place}/host"], check=True)
            return Sim(f"{place}/host", f"{place}/state", tree_of(template))

        yield make


@pytest.fixture
def sim(new_sim: Callable[..., Sim]) -> Sim:
    """A small simulated host."""
    return new_sim()


@pytest.fixture(scope="session")
def captured_host() -> Iterator[Callable[[str], str]]:
    """The root of a captured real host by the name of its archive; the test is skipped where the archive is not there."""
    directory = tempfile.mkdtemp(prefix="quietcore-captured-", dir=MEMORY)

    def unpack(name: str) -> str:
        archives = list(HOSTS.glob(f"{name}.tar.*"))
        if not archives:
            pytest.skip(f"the captured host {name} is not in {os.path.relpath(HOSTS)}")
        place = Path(directory) / name
        if not place.exists():
            place.mkdir()
            subprocess.run(["tar", "xf", str(archives[0]), "-C", str(place)], check=True)
        return str(next(path.parent for path in (place / "sys", *place.glob("*/sys")) if path.is_dir()))

    yield unpack
    shutil.rmtree(directory, ignore_errors=True)
