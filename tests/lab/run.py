"""Boots the virtual machine lab and runs the guests' checks in it: ``python tests/lab/run.py LAB [GUEST [ARGUMENT...]]``.

LAB boots a stock distribution kernel with real multi-queue NIC drivers in pairs wired to each other, sees this machine's files
read-only at the same paths, and runs a command as root. Without it the run says so and ends well: it is not everybody's.
"""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
GUESTS = ("guest.py", "guest_profiles.py")
TIMEOUT_S = 600


def main() -> int:
    """Sets the lab up where it is there and boots it for each guest, or the one that is named; returns the first bad status."""
    lab = sys.argv[1]
    if not os.path.exists(lab):
        print(f"lab skipped: there is no {lab}")
        return 0
    subprocess.run([sys.executable, lab, "--setup"], check=True, stdout=subprocess.DEVNULL)
    for guest in sys.argv[2:3] or GUESTS:
        inside = [sys.executable, os.path.join(HERE, guest), *sys.argv[3:]]
        done = subprocess.run(
            [sys.executable, lab, "--timeout", str(TIMEOUT_S), "--", *inside], check=False, timeout=TIMEOUT_S + 120
        )
        if done.returncode != 0:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
