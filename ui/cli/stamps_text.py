"""From the NIC to the kernel, for people: what a sample says, and what its clocks are worth."""

from typing import TYPE_CHECKING

from ui.cli.table import microseconds

if TYPE_CHECKING:
    from ingest.stamps.interval import NicInterval


def stamps_lines(sample: "NicInterval") -> list[str]:
    """One interface: its interval, its clock, and what is wrong with either."""
    latency = sample.latency
    lines = []
    if latency.total > latency.negative:
        times = ", ".join(f"p{percent:g} {microseconds(latency.percentile(percent))}" for percent in (50, 99, 99.9))
        of = f"of {latency.total:,} packets with both stamps, {sample.looked_at:,} looked at, one in {sample.one_in:,}"
        lines.append(f"{sample.interface}: NIC to kernel {times}, max {microseconds(latency.max_ns)} ({of})")
    if latency.negative:
        early = f"{latency.negative:,} stamped by the NIC after the kernel had them, down to {sample.lowest_ns:,} ns"
        lines.append(f"{sample.interface}: {early}")
    if latency.total or sample.stepped:
        lines.append(f"{sample.interface}: {_clock(sample)}")
    lines += [f"{sample.interface}: {count:,} {what}" for count, what in _counts(sample) if count]
    if sample.words:
        lines.append(sample.words)
    elif not sample.looked_at:
        lines.append(f"{sample.interface}: NIC to kernel: no packet was looked at")
    return lines


def stamps_words(sample: "NicInterval") -> str:
    """The end of an interval's line."""
    latency = sample.latency
    if latency.total == latency.negative:
        return "  NIC to kernel -"
    return f"  NIC to kernel p50 {microseconds(latency.percentile(50))}  max {microseconds(latency.max_ns)}"


def _clock(sample: "NicInterval") -> str:
    clock = sample.clock
    if clock is None:
        return (
            f"the NIC's clock and the host's are not known to agree ({sample.why_unknown}): their difference is in these times"
        )
    stands = f"{microseconds(abs(clock.offset_ns))} {'ahead of' if clock.offset_ns >= 0 else 'behind'} the host's clock"
    known = f"known to +-{microseconds(clock.uncertainty_ns)} and taken out"
    return f"{clock.device} is {stands}, {known}; it moved {microseconds(clock.highest_ns - clock.lowest_ns)}"


def _counts(sample: "NicInterval") -> tuple[tuple[int, str], ...]:
    return (
        (sample.unstamped, f"of {sample.looked_at:,} looked at were not stamped by the NIC"),
        (sample.unstamped_by_kernel, "were not stamped by the kernel"),
        (sample.stepped, "came while a clock was set, or could not be read; not among the times"),
        (sample.dropped, "were drawn but not looked at: too many at once"),
    )
