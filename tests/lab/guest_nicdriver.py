"""Inside the lab's guest: settings of real NIC drivers, written, read back by effect, and put back.

Run by itself, ``guest_nicdriver.py NIC …``, or through ``nic_drivers`` from guest.py.
"""

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tuner.host.host import Inventory, open_host

Check = Callable[..., None]
Command = Callable[..., tuple[int, dict[str, Any]]]

HEAD = 'summary = "x"\n[bind]\nfeed = "nic"\n'
# driver -> settings of [nic.feed], and knobs that must change by them
PROFILES: dict[str, tuple[str, set[str]]] = {
    "virtio_net": (
        """
channels = { combined = 2 }
features = { gro = false }
[irq]
feed = "2-3"
""",
        {"nic.channels.combined", "nic.features.rx-gro", "irq.queue_affinity"},
    ),
    "vmxnet3": (
        """
rings = { rx = 2048, tx = 1024 }
features = { lro = false, gro = false }
""",
        {"nic.rings.rx", "nic.features.rx-gro"},
    ),
    "e1000e": (
        """
coalesce = { rx_usecs = 125 }
pause = { autoneg = false, rx = false, tx = false }
features = { rxvlan = false }
""",
        {"nic.coalesce.rx_usecs", "nic.pause.rx", "nic.pause.tx", "nic.pause.autoneg", "nic.features.rx-vlan-hw-parse"},
    ),
    "igb": (
        """
channels = { combined = 2 }
coalesce = { rx_usecs = 0 }
pause = { autoneg = false, rx = false, tx = false }
private_flags = { legacy-rx = true }
features = { rxvlan = false, gro = false }
[irq]
feed = "2-3"
default = "0-1"
""",
        {"nic.channels.combined", "nic.coalesce.rx_usecs", "nic.pause.rx", "nic.private_flags.legacy-rx", "irq.queue_affinity"},
    ),
}


def everything(nic: str) -> dict[str, Any]:
    """All that ethtool knows of a NIC, and what was asked of its interrupts and queues."""
    host = open_host()
    calls, found = host.syscalls, {}
    for group in ("channels", "coalesce", "pause", "private_flags", "eee", "fec", "tunables"):
        try:
            found[group] = calls.nic_values(nic, group)
        except OSError as error:
            found[group] = error.strerror
    found["features"] = {name: (row.requested, row.active) for name, row in calls.features(nic).items()}
    found["blocks"] = calls.driver_settings(nic)
    found["rings"] = str(calls.rings(nic))
    found["irqs"] = {irq.identity: sorted(irq.requested) for irq in Inventory(host).irqs if irq.device == nic}
    queues = pathlib.Path(f"/sys/class/net/{nic}/queues")
    for leaf in ("xps_cpus", "rps_cpus", "rps_flow_cnt"):
        found[leaf] = {path.parent.name: shown(path) for path in sorted(queues.glob(f"*/{leaf}"))}
    return found


def shown(path: pathlib.Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        return str(error.strerror)


def carrier(nic: str, peer: str) -> None:
    for name in (nic, peer):
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    deadline = time.monotonic() + 15
    while shown(pathlib.Path(f"/sys/class/net/{nic}/carrier")) != "1" and time.monotonic() < deadline:
        time.sleep(0.1)


def by_hand(nic: str) -> None:
    """What somebody set before: each interrupt and each queue differently, so that nothing comes back by chance."""
    for n, irq in enumerate(irq for irq in Inventory(open_host()).irqs if irq.device == nic):
        pathlib.Path(f"/proc/irq/{irq.number}/smp_affinity_list").write_text(f"{n % 4 + 4}")
    for n, path in enumerate(sorted(pathlib.Path(f"/sys/class/net/{nic}/queues").glob("rx-*/rps_cpus"))):
        path.write_text(f"{1 << n % 8:x}")


def nic_drivers(nics: list[tuple[str, str]], command: Command, check: Check) -> None:
    """Each NIC (with its peer) through plan, apply, verify, a second apply, and rollback."""
    for nic, peer in nics:
        driver = os.path.basename(os.readlink(f"/sys/class/net/{nic}/device/driver"))
        settings, must = PROFILES[driver]
        print(f"== driver of {nic} ({driver})", flush=True)
        carrier(nic, peer)
        by_hand(nic)
        before = everything(nic)
        path = f"/run/{nic}.toml"
        pathlib.Path(path).write_text(f"{HEAD}[nic.feed]\n{settings}")
        words = (path, "--bind", f"feed={nic}")
        status, plan = command("plan", *words)
        differing = {c["knob"] for c in plan["changes"] if c["state"] == "differs"}
        check("the plan would change all of it", status == 2 and must <= differing, sorted(must - differing) or plan["summary"])
        for change in plan["changes"]:
            if change["state"] not in ("ok", "differs", "kernel-managed"):
                print(f"     {change['knob']}: {change['state']}: {change['error'] or change['note']}")
        status, applied = command("apply", *words, "--allow", "link")
        check("apply", status == 0, applied.get("error"))
        after = everything(nic)
        print("     " + "; ".join(f"{key}: {after[key]}" for key in ("channels", "coalesce", "pause", "private_flags", "irqs")))
        status, verdict = command("verify")
        changes = verdict.get("changes", [])
        check("verify", status == 0, [(c["knob"], c["now"], c["note"]) for c in changes if c["state"] == "differs"])
        if "irq.queue_affinity" in must:
            placed = {c["target"]: c["now"] for c in changes if c["knob"] == "irq.queue_affinity"}
            check("each queue that is left has its core", list(placed.values()) == ["2", "3"], placed)
        status, again = command("apply", *words, "--allow", "link")
        check("a second apply writes nothing", status == 0 and again.get("outcome") == "unchanged", again.get("error"))
        status, undone = command("rollback")
        check("rollback", status == 0, [u for u in undone.get("undone", []) if u["result"] != "restored"])
        carrier(nic, peer)
        now = everything(nic)
        left = {key: (before[key], now[key]) for key in before if before[key] != now[key]}
        check("everything is as it was", not left, left)


def refused(nic: str, peer: str, settings: str, word: str, command: Command, check: Check) -> None:
    """What this driver takes from nobody: told, and everything put back that was changed before it."""
    carrier(nic, peer)
    before = everything(nic)
    path = f"/run/{nic}-refused.toml"
    pathlib.Path(path).write_text(f"{HEAD}[nic.feed]\n{settings}")
    status, applied = command("apply", path, "--bind", f"feed={nic}", "--allow", "link")
    check(f"{nic}: {settings.splitlines()[-1]} is refused", status in (1, 5) and word in applied["error"], applied.get("error"))
    carrier(nic, peer)
    now = everything(nic)
    check("and nothing of it is left", before == now, {key: (before[key], now[key]) for key in now if before[key] != now[key]})


def main() -> int:
    from tests.lab.guest import check, command, failures

    pairs = [(name, name[:-1] + "1") for name in sys.argv[1:]]
    nic_drivers(pairs, command, check)
    if ("e1e0", "e1e1") in pairs:
        settings = "pause = { autoneg = false, tx = false }\nprivate_flags = { s0ix-enabled = true }\n"
        refused("e1e0", "e1e1", settings, "s0ix-enabled", command, check)
    if ("igb0", "igb1") in pairs:
        refused("igb0", "igb1", "coalesce = { rx_usecs = 2 }\n", "igb refuses 2", command, check)
        refused("igb0", "igb1", "channels = { combined = 4 }\ncoalesce = { tx_usecs = 7 }\n", "tx_usecs", command, check)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
