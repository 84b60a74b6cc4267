"""Inside the lab's guest: units stopped and started again by a real systemd, and a real irqbalance kept off placed queues."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.lab.guest_systemd import Systemd
from tuner.host.cpulist import format_list
from tuner.host.host import Inventory, open_host
from ui.cli.main import main as quietcore

ROOT = pathlib.Path(__file__).resolve().parents[2]
Check = Callable[..., None]
STATE = "/var/lib/quietcore-services"
UNITS = pathlib.Path("/usr/local/lib/systemd/system")
UNIT = "[Service]\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=0\n"
STOPS = '[services]\nnumad = "stop"\npower_daemons = "stop"\n'
STEERS = """
[bind]
feed = "nic"
[cores]
rx = "first(2, cores(node(feed) - 0))"
[services]
irqbalance = "ban"
[irq]
feed = { cores = "rx", spread = "one-each" }
"""
ROUNDS_S = 5.0


def _profile(name: str, text: str) -> str:
    path = pathlib.Path(f"/tmp/{name}.toml")
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def units_under_systemd(check: Check) -> None:
    """Stopped and masked by apply, started by rollback, and put back from the state between the mask and the stop."""
    print("== units of a real systemd", flush=True)
    UNITS.mkdir(parents=True, exist_ok=True)
    for name in ("numad", "thermald"):
        (UNITS / f"{name}.service").write_text(UNIT)
    systemd = Systemd()
    try:
        systemd.systemctl("daemon-reload")
        systemd.systemctl("start", "numad.service")
        path = _profile("stops", STOPS)
        planned = systemd.quietcore("plan", path, "--json")
        states = {c["target"]: c["state"] for c in json.loads(planned.stdout)["changes"]}
        check("the one that runs differs, the others do not", states.pop("numad.service") == "differs", states)
        check("nothing else is to be stopped", set(states.values()) == {"ok"}, states)
        refused = systemd.quietcore("apply", path)
        check("refused without --allow service", refused.returncode == 4, refused.stderr[-200:])
        done = systemd.quietcore("apply", path, "--allow", "service")
        check("apply", done.returncode == 0, done.stderr[-300:])
        check("it does not run", systemd.systemctl("is-active", "numad.service") == "inactive")
        check("and nobody can start it", systemd.run("systemctl", "start", "numad.service").returncode != 0)
        check("it is masked until the next boot", systemd.systemctl("is-enabled", "numad.service") == "masked-runtime")
        check("verify", systemd.quietcore("verify").returncode == 0)
        undone = systemd.quietcore("rollback", "--json")
        check("rollback", undone.returncode == 0, undone.stdout[-300:])
        check("it runs again", systemd.systemctl("is-active", "numad.service") == "active")
        check("without a mask", systemd.systemctl("is-enabled", "numad.service") == "static")
        check("the idle one was never started", systemd.systemctl("is-active", "thermald.service") == "inactive")
        done = systemd.quietcore("apply", path, "--allow", "service", "--confirm-within", "6s")
        stopped = systemd.systemctl("is-active", "numad.service")
        check("stopped for six seconds", (done.returncode, stopped) == (0, "inactive"), done.stderr[-200:])
        deadline = time.monotonic() + 40
        while systemd.systemctl("is-active", "numad.service") != "active" and time.monotonic() < deadline:
            time.sleep(0.5)
        state = systemd.systemctl("is-active", "numad.service"), systemd.systemctl("is-enabled", "numad.service")
        check("the undo timer starts it out of its sandbox", state == ("active", "static"), state)
        systemd.systemctl("mask", "--runtime", "numad.service")
        masked = json.loads(systemd.quietcore("plan", path, "--json").stdout)["changes"]
        found = next(c for c in masked if c["target"] == "numad.service")
        check("one that runs although it is masked is left alone", found["state"] == "unsupported", found["error"])
        put_back = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tuner.host import services; services.start('numad.service')"
        )
        done = systemd.run(sys.executable, "-c", put_back)
        check("put back from between the mask and the stop", done.returncode == 0, done.stderr[-200:])
        state = systemd.systemctl("is-active", "numad.service"), systemd.systemctl("is-enabled", "numad.service")
        check("it runs, without a mask", state == ("active", "static"), state)
    finally:
        systemd.stop()


def steered(nic: str, check: Check) -> None:
    """Real interrupts, a real irqbalance with a round each second: placed queues stay, and nothing comes to their cores."""
    print("== a real irqbalance", flush=True)
    program = shutil.which("irqbalance", path="/usr/sbin:/usr/bin")
    if program is None:
        check("irqbalance is installed", False)
        return
    os.makedirs("/run/irqbalance", exist_ok=True)
    subprocess.run(["ip", "link", "set", nic, "up"], check=True)
    daemon = subprocess.Popen([program, "--foreground", "--interval=1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(ROUNDS_S)
        before = open_host().syscalls.irqbalance_bans()
        start = time.monotonic()
        status = quietcore(["--state", STATE, "apply", _profile("steers", STEERS), "--bind", f"feed={nic}"])
        check("apply", status == 0, f"{time.monotonic() - start:.1f} s")
        bans = open_host().syscalls.irqbalance_bans()
        inventory = Inventory(open_host())
        queues = [irq for irq in inventory.irqs if irq.device == nic and irq.receives]
        rx = frozenset(cpu for irq in queues for cpu in irq.requested)
        check(
            "its setup shows the bans", bans is not None and bans.cpus >= rx and bans.irqs >= {q.number for q in queues}, bans
        )
        placed = {irq.identity: format_list(irq.requested) for irq in queues}
        time.sleep(ROUNDS_S)
        now = Inventory(open_host())
        still = {irq.identity: format_list(irq.requested) for irq in now.irqs if irq.device == nic and irq.receives}
        check(f"after {ROUNDS_S:.0f} rounds the queues are where they were placed", still == placed, still)
        strays = [
            i.label for i in now.irqs if i.device not in (nic, "") and not i.managed and i.requested and i.requested <= rx
        ]
        check("and nothing else was sent to their cores", not strays, strays)
        check("verify", quietcore(["--state", STATE, "verify"]) == 0)
        check("rollback", quietcore(["--state", STATE, "rollback"]) == 0)
        check("the bans are as before", open_host().syscalls.irqbalance_bans() == before, before)
    finally:
        daemon.kill()
        daemon.wait()


def services(nic: str, check: Check) -> None:
    """Both."""
    steered(nic, check)
    units_under_systemd(check)


if __name__ == "__main__":
    failed = []

    def told(what: str, good: bool, detail: object = "") -> None:
        print(f"{'ok  ' if good else 'FAIL'} {what}" + (f"  [{detail}]" if detail != "" else ""), flush=True)
        if not good:
            failed.append(what)

    services("vmx0", told)
    sys.exit(1 if failed else 0)
