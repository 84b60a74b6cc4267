"""Inside the lab's guest: every shipped profile is applied, verified by effect, rolled back, and the whole host compared.

What a rollback leaves must differ in nothing but clocks and counters. Everything runs in this process: starting an interpreter
takes seconds on an emulated CPU.
"""

import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.lab.guest import check, command, failures
from tests.lab.whole_host import differences, settings
from tuner.host.host import open_host
from tuner.profile_files import SHIPPED, load

NICS = {"feed": "vmx0", "order": "e1e1"}  # queues and rings that can be changed, on node 0; one queue, on node 1
FINE = {"ok", "ok-rounded", "kernel-managed", "unsupported", "pending-reboot"}


def fine(change: dict) -> bool:
    """An idle queue's vector moves with its next interrupt: until then it cannot be verified, which is the truth."""
    return change["state"] in FINE or (change["knob"] == "irq.affinity" and change["state"] == "unverifiable")


def one_profile(name: str) -> None:
    host = open_host()
    parts = load(host.files, name).texts("bind")
    words = [word for part in parts for word in ("--bind", f"{part}={NICS.get(part, 'vmx0')}")]
    print(f"== {name} {' '.join(words)}", flush=True)
    before = settings(host)
    status, plan = command("plan", name, *words)
    check("plan", status in (0, 2, 3), plan.get("error") or plan.get("summary"))
    if status not in (0, 2, 3):
        return
    began = time.monotonic()
    status, applied = command("apply", name, *words, "--allow", "link,service,reboot", "--accept-irreversible")
    check("apply", status in (0, 3), applied.get("error") or f"{time.monotonic() - began:.1f} s")
    if status not in (0, 3):
        left = differences(before, settings(open_host()))
        check("a failed apply left the host as it was", not left, left[:5])
        return
    moved = len(differences(before, settings(open_host())))
    status, verdict = command("verify")
    wrong = [f"{c['knob']} {c['target']} {c['state']}: {c['effective']}" for c in verdict.get("changes", []) if not fine(c)]
    check("verify", not verdict or (status in (0, 3) and not wrong), wrong[:5] or verdict.get("summary"))
    if applied.get("transaction") is not None:
        status, undone = command("rollback")
        check("rollback", status == 0, [u for u in undone["undone"] if u["result"] != "restored"][:5])
    left = differences(before, settings(open_host()))
    check(f"of {moved} settings that were changed or moved, none is left", not left, left[:8])


def main() -> int:
    for nic in {*NICS.values()}:
        subprocess.run(["ip", "link", "set", nic, "up"], check=True)
    names = sys.argv[1:] or sorted(path.stem for path in SHIPPED.glob("*.toml"))
    for name in names:
        one_profile(name)
    print(f"\n{len(failures)} failed" if failures else f"\nprofiles: all {len(names)} held", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
