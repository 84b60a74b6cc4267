"""A child in a network namespace of its own, with a veth pair of four queues and a sysfs that shows it: v0, v1."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROLOGUE = """
import ctypes, json, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x40000000 | 0x00020000):  # CLONE_NEWNET, CLONE_NEWNS
    sys.exit(f"no namespace: {os.strerror(ctypes.get_errno())}")
libc.mount(b"none", b"/", None, (1 << 18) | 16384, None)  # MS_PRIVATE, MS_REC
if libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None):
    sys.exit(f"no sysfs: {os.strerror(ctypes.get_errno())}")
queues = ["numrxqueues", "4", "numtxqueues", "4"]
made = subprocess.run(["ip", "link", "add", "v0", *queues, "type", "veth", "peer", "name", "v1", *queues], capture_output=True)
if made.returncode:
    sys.exit(f"no veth: {made.stderr!r}")
subprocess.run(["ip", "link", "set", "v0", "up"], check=True)
subprocess.run(["ip", "link", "set", "v1", "up"], check=True)
"""


def in_namespace(code: str) -> Any:
    """Runs ``code`` behind the prologue; what it prints as JSON. Skips where no namespace can be made."""
    run = subprocess.run([sys.executable, "-c", PROLOGUE + code], capture_output=True, text=True, timeout=60)
    if run.returncode and run.stderr.strip().startswith(("no namespace", "no sysfs", "no veth")):
        pytest.skip(f"cannot be made here: {run.stderr.strip()[-120:]}")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def apply_and_roll_back(profile: str, state: str) -> Any:
    """Applies a profile for v0 on the real kernel, verifies, rolls back: the looks of ``look(host)`` in between."""
    return in_namespace(f"""
import io, contextlib
from tuner.host.host import open_host
from ui.cli.main import main
from tuner import lock
lock.RUNTIME = {state!r} + "-run"

def look():
    calls = open_host().syscalls
    features = {{n: [f.requested, f.active, f.fixed] for n, f in calls.features("v0").items()}}
    return {{"channels": calls.nic_values("v0", "channels"), "features": features,
             "queues": sorted(os.listdir("/sys/class/net/v0/queues")),
             "rps": {{q: open(f"/sys/class/net/v0/queues/{{q}}/rps_cpus").read().strip()
                      for q in os.listdir("/sys/class/net/v0/queues") if q.startswith("rx")}}}}

def command(*words):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        status = main(["--json", "--state", {state!r}, *words])
    return [status, json.loads(out.getvalue())]

open("/sys/class/net/v0/queues/rx-3/rps_cpus", "w").write("2")
open("/sys/class/net/v0/queues/rx-0/rps_cpus", "w").write("1")
open({state!r} + ".toml", "w").write({profile!r})
words = [{state!r} + ".toml", "--bind", "feed=v0"]
found = {{"before": look(), "plan": command("plan", *words), "applied": command("apply", *words, "--allow", "link")}}
found |= {{"during": look(), "verify": command("verify"), "rollback": command("rollback"), "after": look()}}
print(json.dumps(found))
""")
