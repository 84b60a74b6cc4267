"""Inside the lab's guest: applies ``feed-handler`` to real NICs, verifies it by effect, rolls back, compares everything.

Every command runs in this process, since starting an interpreter takes seconds on an emulated CPU; the one that is killed is
a process of its own.
"""

import contextlib
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.lab.guest_systemd import under_systemd
from tuner.host.cpulist import format_list, parse_list
from tuner.host.host import open_host
from ui.cli.main import main as quietcore

STATE = "/var/lib/quietcore-lab"
PACKETS = 3000
failures: list[str] = []


def check(what: str, good: bool, detail: object = "") -> None:
    print(f"{'ok  ' if good else 'FAIL'} {what}" + (f"  [{detail}]" if detail != "" else ""), flush=True)
    if not good:
        failures.append(what)


def command(*arguments: str) -> tuple[int, dict]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = quietcore(["--json", "--state", STATE, *arguments])
    text = out.getvalue().strip()
    return status, json.loads(text) if text else {}


def sh(*argv: str) -> None:
    subprocess.run(argv, check=True)


def read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError as error:
        return f"<{error.strerror}>"


def snapshot(nic: str) -> dict[str, str]:
    """Everything that the profile touches, and what its changes could have moved besides."""
    host = open_host()
    found = {f"irq {irq}": read(f"/proc/irq/{irq}/smp_affinity_list") for irq in os.listdir("/proc/irq") if irq.isdigit()}
    found["irq default"] = read("/proc/irq/default_smp_affinity")
    for base, _, names in os.walk("/proc/sys"):
        if base.startswith(("/proc/sys/net/core", "/proc/sys/net/ipv4", "/proc/sys/vm", "/proc/sys/kernel")):
            found |= {f"{base}/{name}": read(f"{base}/{name}") for name in names}
    found["rings"] = str(host.syscalls.rings(nic))
    found["channels"] = read(f"/sys/class/net/{nic}/queues/rx-0/rps_cpus")
    found["workqueues"] = read("/sys/devices/virtual/workqueue/cpumask")
    found["cgroups"] = ",".join(sorted(os.listdir("/sys/fs/cgroup")))
    for name in ("cgroup.subtree_control", "cpuset.cpus.effective"):
        found[name] = read(f"/sys/fs/cgroup/{name}")
    for thread in host.syscalls.threads():
        if thread.movable and not thread.name.startswith("kworker"):
            found[f"thread {thread.tid}:{thread.start_ticks} {thread.name}"] = format_list(thread.allowed)
    return found


# moved by the passage of time alone
VOLATILE = (
    "random/",
    "/ns_last_pid",
    "-nr",
    "nr_",
    "inode",
    "file-nr",
    "/dentry-state",
    "sched_domain",
    "pty/nr",
    "uuid",
    "boot_id",
)


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    changed = []
    for key in sorted(set(before) | set(after)):
        if any(word in key for word in VOLATILE):
            continue
        if key.startswith("thread") and (key not in before or key not in after):
            continue  # it ended or began meanwhile
        if before.get(key) != after.get(key):
            changed.append(f"{key}: {before.get(key)} -> {after.get(key)}")
    return changed


def interrupts_by_cpu(nic: str) -> dict[int, int]:
    """CPU -> interrupts of this NIC's queues so far."""
    host = open_host()
    from tuner.host.host import Inventory

    mine = {irq.number for irq in Inventory(host).irqs if irq.device == nic and irq.receives}
    lines = pathlib.Path("/proc/interrupts").read_text().splitlines()
    cpus = [int(word[3:]) for word in lines[0].split()]
    totals = dict.fromkeys(cpus, 0)
    for line in lines[1:]:
        label, _, rest = line.partition(":")
        if label.strip().isdigit() and int(label) in mine:
            for cpu, count in zip(cpus, rest.split(), strict=False):
                totals[cpu] += int(count)
    return totals


def link(nic: str, peer: str) -> None:
    """The peer into a namespace of its own, addresses on both, so that packets really cross the wire."""
    sh("ip", "netns", "add", "peer")
    sh("ip", "link", "set", peer, "netns", "peer")
    sh("ip", "addr", "add", "10.9.0.1/24", "dev", nic)
    sh("ip", "link", "set", nic, "up")
    sh("ip", "netns", "exec", "peer", "ip", "addr", "add", "10.9.0.2/24", "dev", peer)
    sh("ip", "netns", "exec", "peer", "ip", "link", "set", peer, "up")
    deadline = time.monotonic() + 15
    while read(f"/sys/class/net/{nic}/carrier") != "1" and time.monotonic() < deadline:
        time.sleep(0.1)


def unlink(nic: str, peer: str) -> None:
    sh("ip", "netns", "exec", "peer", "ip", "link", "set", peer, "netns", "1")
    sh("ip", "netns", "del", "peer")
    sh("ip", "addr", "flush", "dev", nic)


def traffic() -> int:
    """Numbered datagrams from the peer, with many source ports, so that every queue may get some; how many arrived."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("10.9.0.1", 30001))
    receiver.settimeout(3.0)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            os.setns(os.open("/run/netns/peer", os.O_RDONLY), 0) if hasattr(os, "setns") else _setns("/run/netns/peer")
            senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(32)]
            for n in range(PACKETS):
                senders[n % 32].sendto(n.to_bytes(8, "big"), ("10.9.0.1", 30001))
                time.sleep(0.0002)
        os._exit(0)
    got = 0
    try:
        while got < PACKETS:
            receiver.recv(64)
            got += 1
    except TimeoutError:
        pass
    os.waitpid(child, 0)
    receiver.close()
    return got


def _setns(path: str) -> None:
    import ctypes

    fd = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


def one_nic(nic: str, peer: str) -> None:
    driver = os.path.basename(os.readlink(f"/sys/class/net/{nic}/device/driver"))
    print(f"== {nic} ({driver})", flush=True)
    link(nic, peer)
    before = snapshot(nic)
    status, plan = command("plan", "feed-handler", "--bind", f"feed={nic}")
    check("plan differs", status == 2, plan["summary"])
    refused, _ = command("apply", "feed-handler", "--bind", f"feed={nic}")
    needs_link = any(c["disruption"] == "link" and c["state"] == "differs" for c in plan["changes"])
    if needs_link:
        check("apply is refused without --allow link", refused == 4)
        check("and changed nothing", not differences(before, snapshot(nic)), differences(before, snapshot(nic))[:3])
    status, applied = (
        command("apply", "feed-handler", "--bind", f"feed={nic}", "--allow", "link") if needs_link else (refused, {})
    )
    check("apply", status == 0, applied.get("error"))
    rx = parse_list(plan["roles"]["rx"])
    start = interrupts_by_cpu(nic)
    arrived = traffic()
    moved = {cpu: count - start[cpu] for cpu, count in interrupts_by_cpu(nic).items() if count != start[cpu]}
    check("packets arrive", arrived > PACKETS * 0.9, f"{arrived} of {PACKETS}")
    start = interrupts_by_cpu(nic)
    traffic()
    moved = {cpu: count - start[cpu] for cpu, count in interrupts_by_cpu(nic).items() if count != start[cpu]}
    check(
        "its interrupts land on the rx cores and nowhere else",
        bool(moved) and set(moved) <= rx,
        f"rx {sorted(rx)}, moved {moved}",
    )
    status, verdict = command("verify")
    check("verify", status == 0, verdict.get("summary"))
    effective = {
        c["target"]: c["effective"] for c in verdict["changes"] if c["why"].endswith("irq.feed") and c["state"] == "ok"
    }
    check(
        "effective affinity is the witness", bool(effective) and all(parse_list(e) <= rx for e in effective.values()), effective
    )
    isolated = plan_value(verdict, "isolation.partition")
    check("the kernel holds the partition", read("/sys/fs/cgroup/quietcore/cpuset.cpus.partition") == "isolated", isolated)
    status, again = command("apply", "feed-handler", "--bind", f"feed={nic}", "--allow", "link")
    check("a second apply writes nothing", status == 0 and again["outcome"] == "unchanged", again.get("outcome"))
    status, undone = command("rollback")
    check("rollback", status == 0, [u for u in undone["undone"] if u["result"] != "restored"])
    left = differences(before, snapshot(nic))
    check("everything is as it was", not left, left[:5])
    unlink(nic, peer)


def plan_value(record: dict, knob: str) -> object:
    return next((c["effective"] for c in record["changes"] if c["knob"] == knob), None)


def killed(nic: str) -> None:
    """SIGKILL in the middle of an apply on the real kernel, then recover."""
    print("== killed in the middle", flush=True)
    before = snapshot(nic)
    argv = [
        sys.executable,
        "-m",
        "ui.cli.main",
        "--state",
        STATE,
        "apply",
        "feed-handler",
        "--bind",
        f"feed={nic}",
        "--allow",
        "link",
    ]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=pathlib.Path(__file__).resolve().parents[2])
    assert process.stderr is not None
    for line in process.stderr:
        if "isolation.workqueues" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    check("it was killed between two writes", process.returncode == -signal.SIGKILL, process.returncode)
    check("and left the host half changed", bool(differences(before, snapshot(nic))))
    status, recovered = command("recover")
    check("recover", status == 0, [t["verdict"] for t in recovered["transactions"]])
    left = differences(before, snapshot(nic))
    check("everything is as it was", not left, left[:5])


def main() -> int:
    if sys.argv[1:] == ["systemd"]:
        under_systemd("vmx0", snapshot, differences, check)
        return 1 if failures else 0
    for nic, peer in (("vmx0", "vmx1"), ("e1e0", "e1e1"), ("vio0", "vio1")):
        one_nic(nic, peer)
    killed("vmx0")
    under_systemd("vmx0", snapshot, differences, check)
    print(f"\n{len(failures)} failed" if failures else "\nlab: all held", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
