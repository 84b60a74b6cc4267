"""Boots the virtual machine lab and runs the guests' checks in it: ``python tests/lab/run.py LAB [GUEST [ARGUMENT...]]``.

GUEST is a file of this folder; ``guest_serial.py`` is spoken to from outside, by ``serial_line.py``. LAB boots a stock
distribution kernel with real multi-queue NIC drivers in pairs wired to each other, sees this machine's files read-only at the
same paths, and runs a command as root. Without it the run says so and ends well: it is not everybody's. So it is with a guest
that wants the newer kernel and QEMU of ``LAB --setup --backports``.
"""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.lab import serial_line

HERE = os.path.dirname(os.path.abspath(__file__))
NEWER = ("--qemu", "bpo", "--kernel", "bpo")
GUESTS: dict[str, tuple[str, ...]] = {  # with what it asks of the lab
    "guest.py": (),
    "guest_profiles.py": (),
    "guest_knobs.py": (),
    "guest_serial.py": (),
    "guest_stamps.py": (*NEWER, "--nics", "igb,vio", "--append", "iomem=relaxed"),
}
TIMEOUT_S = 600


def main() -> int:
    """Sets the lab up where it is there and boots it for each guest, or the one that is named; returns the first bad status."""
    lab = sys.argv[1]
    if not os.path.exists(lab):
        print(f"lab skipped: there is no {lab}")
        return 0
    told = subprocess.run([sys.executable, lab, "--setup"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for guest in sys.argv[2:3] or GUESTS:
        options = GUESTS.get(guest, ())
        if NEWER[0] in options and " ".join(NEWER[:2]) not in told:
            print(f"lab: {guest} skipped: it wants a newer kernel and QEMU; once: {lab} --setup --backports")
            continue
        if guest == "guest_serial.py":
            if serial_line.main(lab) != 0:
                return 1
            continue
        inside = [sys.executable, os.path.join(HERE, guest), *sys.argv[3:]]
        command = [sys.executable, lab, "--timeout", str(TIMEOUT_S), *options, "--", *inside]
        done = subprocess.run(command, check=False, timeout=TIMEOUT_S + 120)
        if done.returncode != 0:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
