"""/proc/schedstat: how often a thread was put on each CPU. Needs CONFIG_SCHEDSTATS; a read interrupts nobody.

Source: Documentation/scheduler/sched-stats.rst, kernel/sched/stats.c (show_schedstat): of a cpu line the ninth number, the same
in versions 15 to 17. It is counted where a thread that had waited begins to run, as the third number of /proc/TID/schedstat is,
so that those of all threads make up those of all CPUs.
"""


def parse(raw: bytes) -> dict[int, int]:
    """CPU -> times that a thread was put there since boot; a line of another form is left out."""
    found = {}
    for line in raw.split(b"\n"):
        words = line.split()
        if len(words) < 10 or not words[0].startswith(b"cpu") or not words[0][3:].isdigit():
            continue
        if words[9].isdigit():
            found[int(words[0][3:])] = int(words[9])
    return found
