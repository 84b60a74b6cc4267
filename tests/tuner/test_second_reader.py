"""The second reader, python-ethtool: built where it can be, and asked for what we read; they must agree."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from engine import PROJECT, Sim

from tuner import second_reader
from tuner.host.files import HostFiles
from tuner.host.host import Host, Inventory, open_host
from tuner.knobs.knob import Wish
from tuner.plan import Change, look

COMPARE = """
import json, os, sys
from tuner.host.host import Inventory, open_host
from tuner.knobs.knob import Wish
from tuner.plan import look
from tuner.second_reader import checked, second_reader
if second_reader() is None:
    sys.exit("python-ethtool is not there")
inventory = Inventory(open_host())
knobs = ["nic.rings.rx", "nic.rings.tx", "nic.coalesce.rx_usecs", "nic.coalesce.rx_frames", "nic.coalesce.adaptive_rx"]
wishes = [Wish(knob, nic.name, nic.identity, 0, "", {}) for nic in inventory.nics if nic.physical for knob in knobs]
changes = checked(inventory.host, [look(inventory, wish) for wish in wishes])
print(json.dumps([[c.knob, c.target, c.now, c.state, c.note, c.error] for c in changes]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has python-ethtool: this one, else one in an environment of its own."""
    if second_reader.second_reader() is not None:
        return sys.executable
    missing = [
        package
        for package, header in (("libnl-3-dev", "netlink/netlink.h"), ("libnl-route-3-dev", "netlink/route/link.h"))
        if not Path("/usr/include/libnl3", header).exists()
    ]
    if missing:
        pytest.skip(f"python-ethtool is not installed, and to build it {', '.join(missing)} would have to be")
    directory = tmp_path_factory.mktemp("second")
    venv.create(directory, with_pip=True, system_site_packages=False)
    python = str(directory / "bin" / "python")
    done = subprocess.run([python, "-m", "pip", "-q", "install", "ethtool>=0.15"], capture_output=True, text=True, timeout=90)
    if done.returncode:
        pytest.skip(f"python-ethtool cannot be built here: {done.stderr.strip().splitlines()[-1][:200]}")
    return python


def test_both_readers_say_the_same_of_this_machines_nics(built: str) -> None:
    site = [path for path in sys.path if path.endswith("site-packages")]
    environment = {"PYTHONPATH": ":".join([str(PROJECT), *site]), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([built, "-c", COMPARE], capture_output=True, text=True, env=environment, timeout=60)
    assert run.returncode == 0, run.stderr
    rows = json.loads(run.stdout)
    if not [row for row in rows if row[2] is not None]:
        pytest.skip("no NIC of this machine shows rings or coalescing")
    for knob, target, now, state, note, error in rows:
        if now is not None:
            assert note.endswith("python-ethtool reads the same"), (knob, target, now, state, error)


class Reader:
    """Another mind than ours."""

    @staticmethod
    def get_ringparam(name: str) -> dict[str, int]:
        return {"rx_pending": 512, "tx_pending": 99}

    @staticmethod
    def get_coalesce(name: str) -> dict[str, int]:
        if name != "eth2":
            raise OSError(19, "No such device")
        return {"rx_coalesce_usecs": 1, "use_adaptive_rx_coalesce": 0}


@pytest.fixture
def changes(sim: Sim, monkeypatch: pytest.MonkeyPatch) -> tuple[Change, ...]:
    monkeypatch.setattr(second_reader, "second_reader", Reader)
    inventory = Inventory(open_host(sim.root))
    knobs = (
        "nic.rings.rx",
        "nic.rings.tx",
        "nic.coalesce.rx_usecs",
        "nic.coalesce.adaptive_rx",
        "nic.coalesce.tx_usecs",
        "nic.eee",
    )
    identity = inventory.nics[0].identity
    return tuple(look(inventory, Wish(knob, "eth2", identity, 512, "", {})) for knob in knobs)


def test_where_they_differ_nothing_is_verified(changes: tuple[Change, ...], sim: Sim) -> None:
    real = Host(HostFiles("/"), sim.host.syscalls)
    found = {c.knob: (c.state, c.error) for c in second_reader.checked(real, changes)}
    assert found["nic.rings.rx"] == ("ok", None)
    assert found["nic.rings.tx"] == ("unverifiable", "python-ethtool reads 99 here, and we 512")
    assert found["nic.coalesce.adaptive_rx"] == ("unverifiable", "python-ethtool reads 0 here, and we 1")
    same = {c.knob: c for c in changes}
    assert found["nic.coalesce.tx_usecs"] == (same["nic.coalesce.tx_usecs"].state, None)  # it does not say
    assert found["nic.eee"] == (same["nic.eee"].state, None)


def test_a_tree_of_files_has_one_reader(changes: tuple[Change, ...], sim: Sim) -> None:
    assert second_reader.checked(sim.host, changes) == changes


def test_without_the_extra_nothing_is_missed(changes: tuple[Change, ...], sim: Sim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_reader, "second_reader", lambda: None)
    assert second_reader.checked(Host(HostFiles("/"), sim.host.syscalls), changes) == changes
