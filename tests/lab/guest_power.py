"""Inside the lab's guest, once for each boot of one disk: an apply that a power cut ends, and what the next boot makes of it.

``guest_power.py cut|confirm|judge VERDICT…``: ``cut`` and ``confirm`` apply and are ended from outside; ``judge`` recovers and
says what the journals on the disk add up to.
"""

import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tuner.store import Store
from ui.cli.main import main as quietcore

DISK = "/dev/vda"
MOUNT = "/mnt"
STATE = f"{MOUNT}/state"


def mount() -> None:
    """The disk that outlives the boots; its file system is made in the first."""
    if subprocess.run(["blkid", DISK], capture_output=True).returncode != 0:
        subprocess.run(["mkfs.ext4", "-q", DISK], check=True)
    subprocess.run(["mount", "-t", "ext4", DISK, MOUNT], check=True)


def apply(*more: str) -> int:
    # the file system must be on the disk; what is asked is whether the journal is
    os.sync()
    os.dup2(1, 2)
    return quietcore(["--state", STATE, "apply", "feed-handler", "--bind", "feed=vmx0", "--allow", "link", *more])


def judge() -> int:
    """Prints one JSON line: the last transaction before and after recovery, and whether the host is free for the next."""
    store = Store(STATE, "/run")
    number = store.numbers()[-1]
    found = store.get(number)
    before = {"state": found.state, "records": len(found.contents.records), "damage": found.contents.damage}
    status = quietcore(["--state", STATE, "recover", "--json"])
    swappiness = pathlib.Path("/proc/sys/vm/swappiness").read_text().strip()
    after = store.get(number).state
    told = {"transaction": number, "before": before, "recover": status, "after": after, "swappiness": swappiness}
    print("JUDGED " + json.dumps(told), flush=True)
    return 0


def main() -> int:
    pathlib.Path("/run/quietcore").mkdir(exist_ok=True)
    mount()
    for step in sys.argv[1:]:
        status = judge() if step == "judge" else apply(*(["--confirm-within", "600s"] if step == "confirm" else []))
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
