"""/proc/net/snmp and /proc/net/netstat: the protocols' counters, by the names in their own headers.

Source: net/ipv4/proc.c. Lines come in pairs, names and values; new kernels add names, so nothing is found by position.
"""


def parse(raw: bytes) -> dict[str, int]:
    """``Udp.RcvbufErrors`` -> count."""
    found: dict[str, int] = {}
    lines = raw.decode("ascii", "replace").splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        group, _, columns = names.partition(":")
        other, _, counts = values.partition(":")
        if group != other:
            continue
        for name, count in zip(columns.split(), counts.split(), strict=False):
            if count.lstrip("-").isdigit():
                found[f"{group}.{name}"] = int(count)
    return found
