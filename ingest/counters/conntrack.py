"""/proc/net/stat/nf_conntrack: packets that connection tracking dropped.

Source: net/netfilter/nf_conntrack_standalone.c ct_cpu_seq_show, nf_conntrack_core.c. A header, then one row for each *possible*
CPU, hexadecimal 32-bit words that wrap; kernels add and rename columns, so they are found by name. ``drop``: no entry could be
made (table full, no memory), or two clashed. ``insert_failed``: an entry could not be confirmed; clashes are counted in both.
``early_drop``: an *entry* was thrown out to make room, no packet. ``invalid`` packets are not dropped by tracking. A read costs
a µs per CPU.
"""

COUNTED = ("drop", "insert_failed", "early_drop")


def parse(raw: bytes) -> tuple[dict[str, int], ...]:
    """Each row's counts of ``COUNTED``, as far as this kernel has them; a row that is none is left out."""
    header, _, body = raw.partition(b"\n")
    names = header.decode("ascii", "replace").split()
    places = {name: names.index(name) for name in COUNTED if name in names}
    rows = []
    for line in body.split(b"\n"):
        words = line.split()
        if not places or len(words) != len(names):
            continue
        try:
            rows.append({name: int(words[place], 16) & 0xFFFFFFFF for name, place in places.items()})
        except ValueError:
            continue
    return tuple(rows)
