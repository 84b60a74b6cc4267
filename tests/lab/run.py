"""Boots the virtual machine lab and runs the guest's checks in it: ``python tests/lab/run.py LAB``.

LAB boots a stock distribution kernel with real multi-queue NIC drivers in pairs wired to each other, sees this machine's files
read-only at the same paths, and runs a command as root. Without it the run says so and ends well: it is not everybody's.
"""

import os
import subprocess
import sys

GUEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest.py")
TIMEOUT_S = 600


def main() -> int:
    """Sets the lab up where it is there, runs the guest, and returns its status."""
    lab = sys.argv[1]
    if not os.path.exists(lab):
        print(f"lab skipped: there is no {lab}")
        return 0
    subprocess.run([sys.executable, lab, "--setup"], check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, lab, "--timeout", str(TIMEOUT_S), "--", sys.executable, GUEST, *sys.argv[2:]]
    return subprocess.run(command, check=False, timeout=TIMEOUT_S + 120).returncode


if __name__ == "__main__":
    sys.exit(main())
