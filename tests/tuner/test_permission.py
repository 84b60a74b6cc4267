"""What may be applied at all, and one run at a time."""

import os
import stat
from pathlib import Path

import pytest
from engine import Sim

from tuner import lock
from tuner.lock import Locked, held, lock_path, process

APPLY = ("apply", "feed-handler", "--allow", "link")
ROUTE = "eth2\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"


def test_the_nic_of_the_default_route_is_not_reset_without_an_undo_timer(sim: Sim) -> None:
    path = Path(f"{sim.root}/proc/net/route")
    before = path.read_text()
    path.write_text(before + ROUTE)
    refused = sim.json(*APPLY, status=4)
    assert "eth2 carries the default route" in refused["error"]
    assert "--confirm-within" in refused["error"]
    assert sim.store.all() == []
    assert sim.json(*APPLY, "--confirm-within", "60s", status=0)["outcome"] == "applied"
    sim.json("rollback", status=0)
    path.write_text(before)
    assert sim.changed() == []


def test_the_lock_of_this_machine_lies_where_only_its_owner_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RUNTIME", str(tmp_path / "quietcore"))
    path = lock_path("/")
    with held(path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    os.chmod(tmp_path / "quietcore", 0o777)
    with pytest.raises(PermissionError, match="nobody else may write"), held(path):
        pass
    os.chmod(tmp_path / "quietcore", 0o755)
    os.unlink(path)
    os.symlink("/etc/hostname", path)
    with pytest.raises(OSError, match="symbolic links"), held(path):
        pass


def test_whatever_the_state_directory_a_host_has_one_lock(sim: Sim) -> None:
    with sim.store.lock():
        done = sim.run("--state", f"{sim.state}-other", "apply", "base")
    assert done.returncode == 4
    assert f"process {os.getpid()}" in done.stderr
    assert sim.changed() == []


def test_only_the_process_that_is_meant_is_ended(tmp_path: Path) -> None:
    path = str(tmp_path)
    with held(path):
        assert not lock.end_holder(path, "")
        assert not lock.end_holder(path, f"{os.getpid()}:1")  # the number was used again
        assert process(os.getpid()).startswith(f"{os.getpid()}:")
        with pytest.raises(Locked, match=f"process {os.getpid()}"), held(path):
            pass
    assert not lock.end_holder(path, process(os.getpid()))  # it holds nothing any more
