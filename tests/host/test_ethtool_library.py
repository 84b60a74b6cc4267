"""pyroute2's ioctl class, loaded without pyroute2: the same class, nothing left behind, and the plain way where that fails."""

import json
import subprocess
import sys

import pytest

import tuner.host.ethtool_library as module
from tuner.host.ethtool_library import ioctl_library

ALONE = """
import json, sys
from tuner.host.ethtool_library import ioctl_library
one = ioctl_library()
left = [name for name in sys.modules if name.split(".")[0] in ("pyroute2", "asyncio", "ssl", "psutil")]
same = ioctl_library() is one
from pyroute2.ethtool.ioctl import IoctlEthtool
import pyroute2
known = set(dir(one)) == set(dir(sys.modules["pyroute2.ethtool.ioctl"])) - {"__cached__"} or sorted(
    set(dir(one)) ^ set(dir(sys.modules["pyroute2.ethtool.ioctl"])))
print(json.dumps([left, same, known, hasattr(pyroute2, "IPRoute"), ioctl_library().IoctlEthtool is IoctlEthtool]))
"""


def test_it_leaves_nothing_behind_and_a_later_import_finds_everything():
    run = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [[], True, True, True, True]


@pytest.fixture
def forgotten(monkeypatch):
    """As if nothing were loaded yet."""
    for name in [name for name in sys.modules if name.split(".")[0] == "pyroute2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(module, "_loaded", [])


@pytest.mark.parametrize("files", [{}, {"common.py": ""}, {"common.py": "", "ioctl.py": "class IoctlEthtool: pass"}])
def test_another_layout_is_imported_plainly(forgotten, monkeypatch, tmp_path, files):
    (tmp_path / "pyroute2/ethtool").mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "pyroute2/ethtool" / name).write_text(text)
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "pyroute2")]})
    monkeypatch.setattr(module.PathFinder, "find_spec", lambda _name: spec)
    asked = []
    monkeypatch.setattr(module.importlib, "import_module", asked.append)
    ioctl_library()
    assert asked == ["pyroute2.ethtool.ioctl"]


def test_without_the_library_it_is_said(forgotten, monkeypatch):
    monkeypatch.setattr(module.PathFinder, "find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])
    with pytest.raises(ImportError, match="pyroute2"):
        ioctl_library()
