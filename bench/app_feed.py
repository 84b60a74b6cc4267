"""The collector's place taken: samples of a large host, made up and printed at a pace, so that every run draws the same.

Run as a program it prints what ``quietcore watch --json`` would. ``stand_in`` makes a program that is the interpreter but for
``watch``: the app starts it in the place of the real one, and everything between is the app's own.
"""

import os
import random
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ingest.sample import CoreSample, Cost, Event, IrqSample, LossSample, NicSample, QueueSample, Sample

HERE = Path(__file__).resolve()
RATES = ("interruptions_per_s", "device_per_s", "timer_per_s", "ipi_per_s", "softirqs_per_s", "packets_per_s")


def first(cores: int = 128, irqs: int = 64, nics: int = 2, queues: int = 16, host: str = "ny4-md-07", seed: int = 7) -> Sample:
    """A host of two nodes whose first eight cores keep house; nine of ten cells are zero."""
    draw = random.Random(seed)
    each = max(1, cores // 2)
    return Sample(
        host=host,
        source="live",
        kernel="6.12.0",
        sequence=1,
        time_s=time.time(),
        monotonic_ns=time.monotonic_ns(),
        interval_s=0.5,
        cores=tuple(
            core(
                CoreSample(
                    cpu=cpu, node=min(cpu // each, 1), package=min(cpu // each, 1), core=cpu, llc=cpu // 8 * 8, siblings=(cpu,),
                    role="housekeeping" if cpu < 8 else "rx" if cpu < 24 else "app" if cpu < 96 else "isolated",
                    top_cause="LOC Local timer interrupts",
                ),
                draw,
                busy=False,
            )
            for cpu in range(cores)
        ),
        irqs=tuple(
            IrqSample(
                irq=str(100 + irq), name=f"eth{irq % max(1, nics) + 2}-TxRx-{irq // max(1, nics)}",
                device=f"eth{irq % max(1, nics) + 2}", queue=irq // max(1, nics), total=irq * 1000, per_s=float(irq * 31 % 900),
                per_cpu=((irq % cores, irq * 1000),), requested=str(irq % cores), effective=str(irq % cores), receives=True,
            )
            for irq in range(irqs)
        ),
        nics=tuple(
            NicSample(
                name=f"eth{nic + 2}", driver="ixgbe", node=nic % 2, up=True, speed_mbps=25000, rx_packets_per_s=1.2e6,
                tx_packets_per_s=3.0, rx_bytes_per_s=1e9, tx_bytes_per_s=1e3, drops_per_s=0.0, rx_ring=512, rx_ring_max=4096,
                counters=dict.fromkeys(("rx_packets", "tx_packets", "rx_dropped", "rx_missed_errors"), nic * 1000),
                queues=tuple(QueueSample(q, 100 + q, str(q % cores), 1000.0 * q) for q in range(queues)),
            )
            for nic in range(nics)
        ),
        losses=tuple(
            LossSample(stage, f"stage {stage}", "eth2" if stage < 9 else "host", f"counter_{stage}", 100 * stage, 0.0)
            for stage in range(1, 27)
        ),
        cost=Cost(3_500_000, 0.7, "0-7", 0),
        profile="feed-handler",
    )  # fmt: skip


def core(now: CoreSample, draw: random.Random, *, busy: bool) -> CoreSample:
    """A core at another tick: each rate anew, zero in nine of ten unless it is busy."""
    rates = {name: float(int(10 ** draw.uniform(0.0, 4.0))) if busy or draw.random() < 0.1 else 0.0 for name in RATES}
    drops = float(draw.randrange(1, 50)) if draw.random() < 0.01 else 0.0
    return replace(now, busy_percent=draw.uniform(0, 100) if busy else 0.0, backlog_drops_per_s=drops, **rates)


def stream(sample: Sample, interval_s: float, *, busy: bool, seed: int = 11) -> Iterator[Sample]:
    """Samples without end: of the cores and interrupts one in twenty changes, or each of them."""
    draw = random.Random(seed)
    share = 1.0 if busy else 0.05
    while True:
        sample = replace(
            sample,
            sequence=sample.sequence + 1,
            time_s=time.time(),
            monotonic_ns=time.monotonic_ns(),
            interval_s=interval_s,
            cores=tuple(core(each, draw, busy=busy) if draw.random() < share else each for each in sample.cores),
            irqs=tuple(
                replace(each, per_s=float(draw.randrange(9000)), total=each.total + 100) if draw.random() < share else each
                for each in sample.irqs
            ),
            events=(Event("warn", "eth2", "a ring is full"),) if busy and sample.sequence % 20 == 0 else (),
        )
        yield sample


def stand_in(directory: str, *, busy: bool = False, hz: float = 2.0, cores: int = 128, named: bool = False) -> str:
    """Writes the program that stands in for the interpreter, and gives back its path.

    ``named``: each sample's number is part of its host's name, which every screen shows.
    """
    path = os.path.join(directory, "interpreter")
    feed = shlex.join(
        [sys.executable, str(HERE), "busy" if busy else "calm", str(hz), str(cores), "named" if named else "plain"]
    )
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            f'#!/bin/sh\ncase " $* " in *\' watch \'*) PYTHONPATH={shlex.quote(str(HERE.parents[1]))} exec {feed} "$@";;\n'
            f'*) exec {shlex.quote(sys.executable)} "$@";; esac\n'
        )
    os.chmod(path, 0o755)
    return path


def app_words(interpreter: str | None = None, *arguments: str) -> list[str]:
    """The real command line of the app; its children are started by ``interpreter``."""
    program = "import sys; from ui.start import main; "
    if interpreter is not None:
        program += f"sys.executable = {interpreter!r}; "
    return [sys.executable, "-c", f"{program}sys.argv[0] = 'quietcore'; sys.exit(main())", *arguments]


def main(words: Sequence[str]) -> None:
    """``busy|calm HZ CORES named|plain``, then whatever ``watch`` would have been told."""
    busy, hz, named = words[0] == "busy", float(words[1]), words[3] == "named"
    samples = stream(first(int(words[2])), 1 / hz, busy=busy)
    line = _encoder(words)
    start = time.monotonic()
    for place, sample in enumerate(samples, 1):
        said = replace(sample, host=f"host-{sample.sequence:07}") if named else sample
        out = memoryview(f"{line(said)}\n".encode())
        while out:
            out = out[os.write(1, out) :]
        time.sleep(max(0.0, start + place / hz - time.monotonic()))


def _encoder(words: Sequence[str]):
    if "--changes" in words:
        from ingest.changes import Encoder

        return Encoder().line
    return Sample.to_json


if __name__ == "__main__":
    main(sys.argv[1:])
