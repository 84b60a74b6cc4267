"""Which reader reads which ring."""

from collections.abc import Sequence

from ingest.rings.tpacket import RingError


def deal(cores: Sequence[int | None], cpus: Sequence[int]) -> list[list[int]]:
    """The places of each reader's rings; every ring is somebody's.

    A ring whose receiving core has a reader is that reader's: the packets are in that core's caches. The others go one by one
    to whoever has the fewest, in the order of ``cpus``.

    Args:
        cores: of each ring, the core that receives its packets; None: several do.
        cpus: where the readers run; none of them: one reader, anywhere.

    Raises:
        RingError: a CPU that is named twice, or more readers than there are rings for.
    """
    if len(cpus) <= 1:
        return [list(range(len(cores)))]
    if len(set(cpus)) < len(cpus):
        raise RingError(f"one reader for each CPU, and each CPU once: not {', '.join(map(str, cpus))}")
    shares: dict[int, list[int]] = {cpu: [] for cpu in cpus}
    left = [place for place, core in enumerate(cores) if core not in shares]
    for place, core in enumerate(cores):
        if core in shares:
            shares[core].append(place)
    for place in left:
        min(shares.values(), key=len).append(place)
    if idle := [str(cpu) for cpu, share in shares.items() if not share]:
        rings = f"{len(cores)} ring{'s' if len(cores) > 1 else ''}"
        what = f"{len(cpus)} readers for {rings}: nothing is left for CPU {', '.join(idle)}"
        raise RingError(f"{what}; name fewer CPUs, or those that receive, or ask for more rings")
    return [sorted(share) for share in shares.values()]
