"""Inside the lab's guest: every knob of a NIC's queues and stack on real drivers, one transaction each, and back again.

What a driver takes is written down in ``TAKEN`` and checked; whatever it refuses, nothing may be left behind.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tuner.host.host import Host, Inventory, open_host
from tuner.permission import Options
from tuner.plan import build
from tuner.profile_files import load
from tuner.store import Store
from tuner.transaction import apply
from tuner.undo import rollback

Check = Callable[..., None]
CONF = "/proc/sys/net/ipv4/conf"
SETTINGS = {
    "rss.table": 'rss = { table = "queues:1" }',
    "rss.weights": "rss = { table = [3, 1] }",
    "rss.key": 'rss = { key = "symmetric" }',
    "rss.hash_udp4": 'rss = { hash_udp4 = "sdfn" }',
    "rss.hash_udp4_sd": 'rss = { hash_udp4 = "sd" }',
    "steering": 'steering = [{ udp = "239.1.1.1:30001", queue = 0 }]',
    "xps": 'xps = "4-7"',
    "rps": 'rps = "0-1"',
    "rps_flow_cnt": "rps_flow_cnt = 1000",
    "napi": "napi = { defer_hard_irqs = 2, gro_flush_timeout_ns = 200000, threaded = true }",
    "mtu": "mtu = 1400",
    "txqueuelen": "txqueuelen = 500",
    "qdisc.fq": 'qdisc = "fq"',
    "qdisc.mq": 'qdisc = ["mq:fq", "fq_codel"]',
    "qdisc.noqueue": 'qdisc = "noqueue"',
    "hwtstamp": 'hwtstamp = { rx = ["all"], tx = "on" }',
    "hwtstamp.ptp": 'hwtstamp = { rx = "ptpv2-sync" }',
    "runtime_pm": 'runtime_pm = "auto"',
    "rp_filter": "rp_filter = 2",
    "igmp": "force_igmp_version = 2",
}
ALWAYS = {
    "rps",
    "rps_flow_cnt",
    "napi",
    "mtu",
    "txqueuelen",
    "qdisc.fq",
    "qdisc.mq",
    "qdisc.noqueue",
    "runtime_pm",
    "rp_filter",
    "igmp",
}
_RSS = {"rss.table", "rss.weights", "xps"}
TAKEN = {
    "vmxnet3": _RSS,
    "virtio_net": _RSS | {"rss.key", "rss.hash_udp4", "rss.hash_udp4_sd"},
    "igb": _RSS | {"rss.hash_udp4", "rss.hash_udp4_sd", "hwtstamp.ptp"},
    "e1000e": {"hwtstamp", "hwtstamp.ptp"},
}
# disciplines with somebody's own options: they come back with them
CONFIGURED = (
    ("fq_codel", "limit", "1000", "flows", "512", "target", "3ms", "interval", "50ms", "ce_threshold", "7ms", "noecn"),
    ("fq", "limit", "500", "flow_limit", "20", "quantum", "2000", "maxrate", "1gbit"),
    ("pfifo_fast",),
    ("pfifo", "limit", "33"),
    ("bfifo", "limit", "99999"),
)


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def text(path: pathlib.Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        return f"<{error.strerror}>"


def snapshot(host: Host, nic: str) -> dict[str, str]:
    """Everything that these knobs set, by other eyes than theirs."""
    base = pathlib.Path(f"/sys/class/net/{nic}")
    names = [*base.glob("queues/*/*_cpus"), *base.glob("queues/*/rps_flow_cnt"), base / "device/power/control"]
    names += [base / name for name in ("mtu", "tx_queue_len", "threaded", "napi_defer_hard_irqs", "gro_flush_timeout")]
    names += [pathlib.Path(f"{CONF}/{nic}/{name}") for name in ("rp_filter", "force_igmp_version")]
    found = {str(name): text(name) for name in names}
    found["qdisc"] = said("tc", "qdisc", "show", "dev", nic)
    found["rss"] = said("ethtool", "-x", nic)
    found["udp4"] = said("ethtool", "-n", nic, "rx-flow-hash", "udp4")
    found["rules"] = said("ethtool", "-n", nic)
    found["driver"] = str(host.syscalls.driver_settings(nic))
    with contextlib.suppress(OSError):
        found["hwtstamp"] = str(host.syscalls.timestamping(nic))
    return found


def one_setting(host: Host, store: Store, place: pathlib.Path, nic: str, line: str) -> tuple[str, str]:
    """Applies one line, verifies it, rolls it back: how it went, and why not."""
    profile = place / "own.toml"
    profile.write_text(f'[bind]\nfeed = "nic"\n[nic.feed]\n{line}\n')
    profile.chmod(0o644)
    loaded = load(host.files, str(profile))

    def look() -> list[str]:
        return [change.state for change in build(Inventory(host), loaded, {"feed": nic}).changes]

    plan = build(Inventory(host), loaded, {"feed": nic})
    if not plan.differing:
        return plan.changes[0].state, plan.changes[0].error or ""
    with store.lock():
        result = apply(host, store, plan, Options(frozenset({"link"})), lambda _: None, lambda _: None, lambda: "")
    if result.outcome != "confirmed":
        return result.outcome, result.error
    after = look()
    with store.lock():
        rollback(host, store, None, "lab")
    return ("taken" if set(after) <= {"ok", "ok-rounded"} else f"verify says {after}"), str(plan.changes[0].now)


def nic_queues(check: Check) -> None:
    """All of it on every NIC pair's first NIC."""
    host = open_host()
    with tempfile.TemporaryDirectory() as place:
        store = Store(f"{place}/state", f"{place}/lock")
        for nic in ("vmx0", "vio0", "e1e0", "igb0"):
            if not os.path.exists(f"/sys/class/net/{nic}"):
                continue
            subprocess.run(["ip", "link", "set", nic, "up"], check=True)
            subprocess.run(["ip", "link", "set", f"{nic[:-1]}1", "up"], check=True)
            driver = host.syscalls.driver(nic).name
            print(f"== queues and stack of {nic} ({driver})", flush=True)
            taken = set()
            before = snapshot(host, nic)
            for name, line in SETTINGS.items():
                how, why = one_setting(host, store, pathlib.Path(place), nic, line)
                after = snapshot(host, nic)
                left = [f"{key}: {before.get(key)!r} -> {after.get(key)!r}" for key in after if after[key] != before.get(key)]
                check(f"{nic} {name}: {how}, and as it was after", not left and "verify" not in how, (why[:150], left[:3]))
                taken |= {name} if how in ("taken", "ok", "ok-rounded") else set()
            for words in CONFIGURED:
                subprocess.run(["tc", "qdisc", "replace", "dev", nic, "root", "handle", "7:", *words], check=True)
                shown = said("tc", "qdisc", "show", "dev", nic)
                how, why = one_setting(host, store, pathlib.Path(place), nic, SETTINGS["qdisc.noqueue"])
                again = said("tc", "qdisc", "show", "dev", nic)
                check(f"{nic} {words[0]} of somebody's own comes back", how == "taken" and again == shown, (why, shown, again))
                subprocess.run(["tc", "qdisc", "del", "dev", nic, "root"], check=True)
            check(f"{nic}: takes what {driver} is known to take", taken >= TAKEN.get(driver, set()) | ALWAYS, sorted(taken))


def main() -> int:
    failures: list[str] = []

    def check(what: str, good: bool, detail: object = "") -> None:
        print(f"{'ok  ' if good else 'FAIL'} {what}" + (f"  [{detail}]" if detail != "" else ""), flush=True)
        if not good:
            failures.append(what)

    nic_queues(check)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
