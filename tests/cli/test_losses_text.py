"""What status and watch say of losses: the worst first, what is no loss named so, what is not seen said so, nothing raw."""

import json
import subprocess
import sys

from ingest.sample import LossSample
from ingest.stages import complete
from tuner.host.files import HostFiles
from tuner.host.simulated import Simulation, open_tree, write_tree
from ui.cli.losses import losses_text, not_visible, now_lost

QUIETCORE = [sys.executable, "-m", "ui.cli.main"]


def row(stage: int, total: int, per_s: float = 0.0, where: str = "eth2", kind: str = "loss", name: str = "x") -> LossSample:
    return LossSample(stage, name, where, f"counter_{stage}", total, per_s, True, kind)


def test_the_worst_first_and_kinds_are_named():
    rows = [row(10, 9, 9.0, "CPU 1", "delay"), row(5, 70), row(7, 4, 2.0), row(2, 0)]
    lines = losses_text(rows).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["7", "5", "10"]
    assert "delay" in lines[3]
    assert len(lines) == 4  # a counter that is 0 has no line


def test_many_cpus_are_few_lines():
    rows = [row(11, 10, 1.0, f"CPU {cpu}") for cpu in range(64)]
    lines = losses_text(rows).splitlines()
    assert len(lines) == 5
    assert "and 61 more" in lines[-1]
    assert "610" in lines[-1]


def test_what_is_not_visible_is_one_line_and_a_stage_seen_anywhere_is_not_in_it():
    rows = complete([row(7, 0), row(16, 5, where="host", kind="filtered")], ["eth2", "eth3"])
    (line,) = not_visible(rows)
    assert line.startswith("not visible here: stages 0-6 8-15 17-27")
    assert "losses: none counted since boot" in losses_text([])


def test_watch_says_what_is_lost_now_and_what_is_only_late():
    assert now_lost([row(5, 100)]) == "lost: nothing"
    rows = [row(7, 4, 2.0), row(18, 4, 30.0, "host"), row(10, 9, 9.0, "CPU 1", "delay"), row(18, 4, 30.0, "s", "detail")]
    assert now_lost(rows) == "lost: x host 30/s; x eth2 2/s   not lost: x CPU 1 9/s"
    many = [row(stage, 1, 0.2, name=f"n{stage}") for stage in range(1, 9)]
    assert now_lost(many).endswith("n4 eth2 <1/s; and 4 more")


def test_hostile_names_are_made_visible():
    assert "\x1b" not in losses_text([row(7, 1, 1.0, "e\x1b[2J")])


def test_a_simulated_host_shows_drivers_own_counters(tmp_path):
    root = str(tmp_path / "host")
    write_tree(root)
    Simulation(open_tree(HostFiles(root))).advance(3600)
    done = subprocess.run([*QUIETCORE, "--root", root, "status", "--json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    seen = {(loss["where"], loss["counter"]): loss for loss in record["losses"] if loss["visible"]}
    assert seen["eth2", "rx_missed_errors"]["total"] > 0
    assert seen["eth2", "rx_no_dma_resources"]["stage"] == 7
    assert seen["eth2", "tx_flow_control_xoff"]["kind"] == "warning"
    assert ("eth2", "aer_dev_correctable") in seen
    assert [queue["packets"] > 0 for queue in record["nics"][0]["queues"]] == [True] * 8
    text = subprocess.run([*QUIETCORE, "--root", root, "status"], capture_output=True, text=True, timeout=60).stdout
    assert "NIC packet buffer" in text
    assert "not visible here: stages 0" in text


def test_the_demo_has_lost_nothing_yet_and_its_profile_holds():
    done = subprocess.run([*QUIETCORE, "--demo", "status", "--json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    lost = {loss["counter"]: loss["total"] for loss in record["losses"] if loss["where"] == "eth2" and loss["kind"] == "loss"}
    assert lost["rx_no_dma_resources"] == lost["rx_missed_errors"] == 0
    assert (record["profile"], record["drift"]) == ("feed-handler", [])
    assert {core["role"] for core in record["cores"]} == {"housekeeping", "rx", "app", "isolated"}
    assert min(nic["rx_packets_per_s"] for nic in record["nics"] if nic["physical"]) > 0
