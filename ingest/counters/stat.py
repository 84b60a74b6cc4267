"""/proc/stat: where each CPU's time went, in clock ticks (USER_HZ). Source: fs/proc/stat.c."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Ticks since boot. ``busy`` is user, nice, system, irq and softirq; guest time is part of user already."""

    busy: int
    idle: int  # with iowait
    steal: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.busy + self.idle + self.steal


def parse(raw: bytes) -> dict[int, CpuTime]:
    """CPU -> time, online CPUs only; fields that an old kernel lacks count as 0."""
    found = {}
    for line in raw.split(b"\n"):
        if not line.startswith(b"cpu"):
            break
        name, _, rest = line.partition(b" ")
        words = rest.split()
        if name[3:].isdigit() and words and b"".join(words).isdigit():
            fields = list(map(int, words[:8]))
            fields += [0] * (8 - len(fields))
            user, nice, system, idle, iowait, irq, softirq, steal = fields
            found[int(name[3:])] = CpuTime(user + nice + system + irq + softirq, idle + iowait, steal)
    return found
