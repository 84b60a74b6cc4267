"""``[memory]``: huge pages, transparent and not, and merging of equal pages.

Source: Documentation/admin-guide/mm/{transhuge,hugetlbpage,ksm}.rst, mm/{huge_memory,khugepaged,ksm,hugetlb}.c. What belongs to
memory and is a sysctl (vm.*, kernel.numa_balancing) stands in ``[sysctl]``.
"""

from typing import ClassVar

from tuner.knobs.hugepages import SIZES_KB, HugePages
from tuner.knobs.hugepages import ask as ask_hugepages
from tuner.knobs.knob import About
from tuner.knobs.plain import HostFile
from tuner.knobs.words import WordFile, on_words
from tuner.language.entry import Entry, Family, on_host
from tuner.language.tables import PerCpu, Table
from tuner.language.values import Flag, Whole, Word

_THP = "/sys/kernel/mm/transparent_hugepage"
_SOURCE = "Documentation/admin-guide/mm/transhuge.rst, mm/huge_memory.c"


class TransparentHugePages(WordFile):
    """Whether memory is made of huge pages unasked; the identity is ``host``."""

    family: ClassVar[str] = "memory.thp"
    path: ClassVar[str] = f"{_THP}/enabled"
    about: ClassVar[About] = About(
        "Whether programs get huge pages without asking for them",
        "never, or madvise for those who ask: making one stops the thread that touches it, khugepaged all of a process",
        path,
        "AnonHugePages in /proc/PID/smaps",
        undo="the old word; pages that were split in the meantime stay small until khugepaged finds them",
        quirks=("pages that are huge already stay huge", "from 6.8 on each size has a word of its own besides"),
        source=_SOURCE,
    )


class TransparentDefrag(WordFile):
    """What is done to find a huge page at a fault; the identity is ``host``."""

    family: ClassVar[str] = "memory.thp_defrag"
    path: ClassVar[str] = f"{_THP}/defrag"
    about: ClassVar[About] = About(
        "How hard a page fault tries to find a huge page",
        "never, or madvise: with always a fault compacts memory before it returns, for milliseconds",
        path,
        source=_SOURCE,
    )


class KhugepagedDefrag(HostFile):
    """Whether khugepaged compacts memory; the identity is ``host``."""

    family: ClassVar[str] = "memory.khugepaged_defrag"
    path: ClassVar[str] = f"{_THP}/khugepaged/defrag"
    about: ClassVar[About] = About(
        "Whether khugepaged compacts memory to find huge pages",
        "false: it takes locks that the processes it works on wait for",
        path,
        source=_SOURCE,
    )


class SamePageMerging(HostFile):
    """Whether ksmd merges equal pages; the identity is ``host``. A reading of 2 is off, with everything unmerged."""

    family: ClassVar[str] = "memory.ksm"
    path: ClassVar[str] = "/sys/kernel/mm/ksm/run"
    about: ClassVar[About] = About(
        "Whether the kernel looks for equal pages and merges them",
        "false: a write to a merged page is a fault and a copy, and ksmd runs on any core",
        path,
        quirks=("ksmtuned switches it on again: stop that first", "what is merged stays merged; 2 by hand unmerges it"),
        source="Documentation/admin-guide/mm/ksm.rst, mm/ksm.c",
    )

    def same(self, left: object, right: object) -> bool:
        """Equal in whether it runs; what was 2 is put back as 2 where it was changed."""
        return (left == 1) == (right == 1)


FAMILY = Family(
    "Memory",
    (TransparentHugePages(), TransparentDefrag(), KhugepagedDefrag(), SamePageMerging(), HugePages()),
    (
        Entry(
            ("memory", "thp"), Word(("always", "madvise", "never")), "transparent huge pages", on_words(TransparentHugePages)
        ),
        Entry(
            ("memory", "thp_defrag"),
            Word(("always", "defer", "defer+madvise", "madvise", "never")),
            "how hard a page fault tries to find a huge page",
            on_words(TransparentDefrag),
        ),
        Entry(
            ("memory", "khugepaged_defrag"), Flag(), "whether khugepaged compacts memory", on_host("memory.khugepaged_defrag")
        ),
        Entry(("memory", "ksm"), Flag(), "whether equal pages are merged", on_host("memory.ksm")),
        Entry(
            ("memory", "hugepages"),
            PerCpu(Table({size: Whole(0, 1 << 24, "pages", example="for example 1024") for size in SIZES_KB})),
            "huge pages of each size, on each node of a core set",
            ask_hugepages,
        ),
    ),
)
