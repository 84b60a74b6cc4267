"""What the sysctls that matter here are for: ``sysctl_notes.toml`` as data.

Source: Documentation/admin-guide/sysctl/{net,kernel,vm}.rst and Documentation/networking/ip-sysctl.rst; bounds from the
kernel's tables. A table of the file is a sysctl, its keys are those of ``About``.
"""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from tuner.knobs.knob import About

FLOW_ENTRIES = "net.core.rps_sock_flow_entries"
WATCHDOG_CPUMASK = "kernel.watchdog_cpumask"
_DOCUMENTS = {
    "net.core.": "Documentation/admin-guide/sysctl/net.rst",
    "net.ipv4.": "Documentation/networking/ip-sysctl.rst",
    "net.ipv6.": "Documentation/networking/ip-sysctl.rst",
    "kernel.": "Documentation/admin-guide/sysctl/kernel.rst",
    "vm.": "Documentation/admin-guide/sysctl/vm.rst",
}


def about_of(name: str) -> About:
    """What a sysctl is for.

    Args:
        name: ``net.core.busy_poll`` or ``sysctl.net.core.busy_poll``.

    Raises:
        KeyError: nothing is written about it.
    """
    return _all()[name.removeprefix("sysctl.")]


def names() -> tuple[str, ...]:
    """The sysctls that something is written about, in the order of the file."""
    return tuple(_all())


@cache
def _all() -> dict[str, About]:
    table = tomllib.loads((files("tuner.knobs") / "sysctl_notes.toml").read_text(encoding="utf-8"))
    return {name: _about(name, row) for name, row in table.items()}


def _about(name: str, row: dict[str, Any]) -> About:
    document = next(where for prefix, where in _DOCUMENTS.items() if name.startswith(prefix))
    source = f"{document}, {row['source']}" if "source" in row else document
    fields = {key: value for key, value in row.items() if key not in ("quirks", "source")}
    return About(where=f"sysctl {name}", quirks=tuple(row.get("quirks", ())), source=source, **fields)
