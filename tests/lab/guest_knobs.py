"""Inside the lab's guest: every family of knobs on what the guest has for real, one after the other in one boot.

``version_one`` comes last: it makes a host of cgroup v1 out of the guest.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.lab.guest import check, command, failures
from tests.lab.guest_nic_queues import nic_queues
from tests.lab.guest_nicdriver import nic_drivers
from tests.lab.guest_observe import behaviour, fair_server, processors, version_one
from tests.lab.guest_power_knobs import latency_under_systemd, power_knobs
from tests.lab.guest_services import services


def main() -> int:
    nic_drivers([("vmx0", "vmx1"), ("e1e0", "e1e1"), ("vio0", "vio1")], command, check)
    nic_queues(check)
    power_knobs("vmx0", command, check)
    latency_under_systemd(check)
    behaviour(check)
    fair_server(check)
    processors(check)
    services("vmx0", check)  # a real irqbalance moves interrupts, and may outlive its check by a round
    version_one(check)
    print(f"\n{len(failures)} failed" if failures else "\nknobs: all held", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
