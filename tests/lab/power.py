"""A power cut in the middle of an apply: QEMU is killed, its disk stays, the next boot recovers.

``python tests/lab/power.py LAB``. Three boots of one disk. In the first the power goes at a setting half-way, in the second
after everything was applied and while it waits to be confirmed, and the third goes on. Whatever the guest had not flushed is
lost, as on a host.
"""

import json
import os
import subprocess
import sys
import tempfile

GUEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest_power.py")
TIMEOUT_S = 240
failures: list[str] = []


def check(what: str, good: bool, detail: object = "") -> None:
    print(f"{'ok  ' if good else 'FAIL'} {what}" + (f"  [{detail}]" if detail != "" else ""), flush=True)
    if not good:
        failures.append(what)


def boot(lab: str, disk: str, steps: list[str], cut_at: str = "") -> list[str]:
    """Boots, runs the steps, and kills the whole machine as soon as a line begins with ``cut_at``; the lines that were seen."""
    drive = f"-drive file={disk},if=none,id=keep,format=raw -device virtio-blk-pci,drive=keep,bus=pcie.0"
    command = [sys.executable, lab, "--timeout", str(TIMEOUT_S), "--nics", "vmx", "--no-nvme", "--modules", "virtio_blk,ext4"]
    command += ["--qemu-args", drive, "--", sys.executable, GUEST, *steps]
    machine = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    assert machine.stdout is not None
    for line in machine.stdout:
        lines.append(line.rstrip())
        if cut_at and line.startswith(cut_at):
            machine.kill()  # QEMU dies with it
            break
    machine.wait(timeout=TIMEOUT_S)
    if cut_at and not lines[-1].startswith(cut_at):
        print("\n".join(lines[-15:]))
    return lines


def judged(lines: list[str]) -> dict[str, object]:
    found = [line for line in lines if line.startswith("JUDGED ")]
    if not found:
        print("\n".join(lines[-20:]))
        return {}
    return dict(json.loads(found[0].removeprefix("JUDGED ")))


def main() -> int:
    lab = sys.argv[1]
    if not os.path.exists(lab):
        print(f"lab skipped: there is no {lab}")
        return 0
    with tempfile.TemporaryDirectory(prefix="quietcore-lab-") as directory:
        disk = os.path.join(directory, "disk.img")
        with open(disk, "wb") as file:
            file.truncate(64 << 20)
        print("== the power goes in the middle of an apply", flush=True)
        lines = boot(lab, disk, ["cut"], "sysctl.vm.swappiness")
        check("cut off half-way", lines[-1].startswith("sysctl.vm.swappiness"), lines[-1][:60])
        lines = boot(lab, disk, ["judge", "confirm"], "It undoes itself unless")
        told = judged(lines)
        before = dict(told.get("before", {}))  # type: ignore[call-overload]
        whole = before.get("damage") == "" and before.get("records", 0) >= 2
        check("the journal is whole as far as it was flushed", whole, before)
        check("it says that the apply was cut off", before.get("state") in ("prepared", "applying"), before.get("state"))
        check("verdict: void, since its boot is over", (told.get("recover"), told.get("after")) == (0, "void"), told)
        check("and the host is as its boot made it", told.get("swappiness") == "60")
        check("the next apply is taken, and waits to be confirmed", "It undoes itself unless" in lines[-1], lines[-1][:60])
        print("== the power goes while it waits", flush=True)
        told = judged(boot(lab, disk, ["judge"]))
        before = dict(told.get("before", {}))  # type: ignore[call-overload]
        check("the journal says applied, not confirmed", before.get("state") == "applied", before)
        check("verdict: void", (told.get("recover"), told.get("after")) == (0, "void"), told.get("after"))
    print(f"\n{len(failures)} failed" if failures else "\npower: all held", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
