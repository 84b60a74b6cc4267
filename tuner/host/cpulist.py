"""CPU sets in the two grammars of the kernel: lists (``0-3,8``, ``0-31:2/8``) and hexadecimal masks (``ff,0000000f``).

Source: lib/bitmap.c and lib/bitmap-str.c (bitmap_parselist, bitmap_parse), Documentation/admin-guide/kernel-parameters.rst
"cpu lists". ``N`` and ``all`` are accepted by the kernel where it knows how many CPUs there are; here the caller says.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

CpuSet = frozenset[int]

# CONFIG_NR_CPUS is at most 8192 on x86 (MAXSMP); more than this in a list is a mistake or an attack on our memory.
MAX_CPUS = 16384

_KEPT_LENGTH = 128
_SEPARATORS = re.compile(r"[,\s]", re.ASCII)  # white space ends a part like a comma


class CpuListError(ValueError):
    """A CPU list or mask that the kernel would refuse, with the part at fault."""


def parse_list(text: str, count: int = MAX_CPUS) -> CpuSet:
    """The CPUs of a kernel list.

    Args:
        text: ``0-3,8``, ``0-31:2/8`` (from every group of 8 the first 2), ``all``, ``N`` for the last CPU; empty for none.
        count: one more than the highest CPU that is allowed; what ``all`` and ``N`` mean.

    Raises:
        CpuListError: a part that is no range, a range that runs backwards, or a CPU beyond ``count``.
    """
    return _kept(text, count) if len(text) <= _KEPT_LENGTH else _parsed(text, count)


def _parsed(text: str, count: int) -> CpuSet:
    cpus: set[int] = set()
    for part in _SEPARATORS.split(text):
        if part:
            cpus.update(_parse_part(part, count))
    return frozenset(cpus)


# a host's hundreds of interrupts and thousands of threads have a handful of lists between them
_kept = lru_cache(maxsize=1024)(_parsed)


def _parse_part(part: str, count: int) -> Iterable[int]:
    span, colon, groups = part.partition(":")
    first_text, dash, last_text = span.partition("-")
    if span.lower() == "all":
        if count >= MAX_CPUS:
            raise CpuListError("'all' has no meaning where the number of CPUs is not known")
        dash, first, last = "-", 0, count - 1
    else:
        first = _cpu(first_text, part, count)
        last = _cpu(last_text, part, count) if dash else first
    if last < first:
        raise CpuListError(f"'{part[:40]}' runs backwards")
    if not colon:
        return range(first, last + 1)
    used_text, slash, group_text = groups.partition("/")
    used, group = _number(used_text, part, count), _number(group_text, part, count)
    if not (dash and slash) or group == 0 or used > group:
        raise CpuListError(f"'{part[:40]}' is not FIRST-LAST:USED/GROUP")
    return [cpu for cpu in range(first, last + 1) if (cpu - first) % group < used]


def _cpu(text: str, part: str, count: int) -> int:
    number = _number(text, part, count)
    if number >= count:
        raise CpuListError(f"CPU {number} is beyond the last possible CPU {count - 1}")
    return number


def _number(text: str, part: str, count: int) -> int:
    if text == "N" and count < MAX_CPUS:
        return count - 1
    # isdigit alone would accept other scripts' digits, which the kernel refuses
    if not (text.isascii() and text.isdigit()) or len(text) > 40 or len(text.lstrip("0")) > 9:
        raise CpuListError(f"'{part[:40]}' is not a CPU, FIRST-LAST or FIRST-LAST:USED/GROUP")
    return int(text)


def format_list(cpus: Iterable[int]) -> str:
    """The shortest list as the kernel prints it (``%*pbl``): ranges, ascending; empty text for no CPU."""
    parts: list[str] = []
    ordered = sorted(set(cpus))
    start = 0
    for i, cpu in enumerate(ordered):
        if i + 1 < len(ordered) and ordered[i + 1] == cpu + 1:
            continue
        first = ordered[start]
        parts.append(str(first) if first == cpu else f"{first}-{cpu}")
        start = i + 1
    return ",".join(parts)


def parse_mask(text: str) -> CpuSet:
    """The CPUs of a hexadecimal mask, with or without the kernel's commas every 32 bits and leading zeros.

    Raises:
        CpuListError: anything but hexadecimal digits, or a group of more than eight.
    """
    groups = text.strip().removeprefix("0x").split(",")
    value = 0
    for group in groups:
        if not group or not group.isascii() or any(c not in "0123456789abcdefABCDEF" for c in group):
            raise CpuListError(f"'{text.strip()[:40]}' is not a hexadecimal CPU mask")
        if len(group) > 8 and len(groups) > 1:
            raise CpuListError(f"'{text.strip()[:40]}' has a group of more than 32 bits")
        value = value << 32 | int(group, 16)
    if value.bit_length() > MAX_CPUS:
        raise CpuListError(f"the mask names CPU {value.bit_length() - 1}, more than {MAX_CPUS} CPUs")
    return frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)


def format_mask(cpus: Iterable[int], count: int = 0) -> str:
    """The mask as the kernel prints it (``%*pb``): groups of 32 bits, as wide as ``count`` CPUs need."""
    value = 0
    for cpu in cpus:
        value |= 1 << cpu
    bits = max(count, value.bit_length(), 1)
    words = (bits + 31) // 32
    parts = [f"{value >> 32 * word & 0xFFFFFFFF:08x}" for word in reversed(range(words))]
    parts[0] = parts[0][-(((bits - 1) % 32) // 4 + 1) :]
    return ",".join(parts)
