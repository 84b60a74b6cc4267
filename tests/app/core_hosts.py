"""Hosts of any shape for the screens of cores: who is reserved, who is disturbed, and what the screen shows of it."""

from collections.abc import Sequence
from dataclasses import replace

from rich.style import Style

from ingest.sample import CoreSample, Cost, IrqSample, LossSample, NicSample, Sample
from ui.app.state.model import Model
from ui.app.widgets.lines import Line
from ui.app.widgets.tones import TONES

BUSY, STRAY = 2, 37  # a housekeeping core with 8000 interrupts a second; an isolated one with one


def cores(count=64, nodes=2, smt=1, cache=8, housekeeping=8, **changed: CoreSample) -> tuple[CoreSample, ...]:
    """In the order of the machine: node, cache, core, thread. The first cores of each node keep house."""
    bodies = max(1, count // smt)
    found = []
    for cpu in range(count):
        body = cpu % bodies
        node = min(body * nodes // bodies, nodes - 1)
        within = body - -(-node * bodies // nodes)
        keeps = within < housekeeping
        rate = 8000.0 if cpu == BUSY else 1.0 if cpu == STRAY else 0.0
        found.append(
            CoreSample(
                cpu=cpu,
                node=node,
                package=node,
                core=body,
                llc=body // cache * cache,
                siblings=tuple(body + each * bodies for each in range(smt) if body + each * bodies < count),
                role="housekeeping" if keeps and cpu != STRAY else "isolated",
                interruptions_per_s=rate,
                device_per_s=rate,
                top_cause="142 nvme3q38" if cpu == STRAY else "117 eth2-rx" if rate else "",
            )
        )
    return tuple(sorted(found, key=lambda core: (core.node, core.llc, min(core.siblings), core.cpu)))


def host(of: Sequence[CoreSample] | None = None, sequence=1, interval_s=0.5, **more) -> Sample:
    of = tuple(of if of is not None else cores())
    numbers = [core.cpu for core in of]
    irqs = (
        IrqSample(
            "LOC", "Local timer interrupts", "", None, 10**6, 12.0, tuple((n, 1000 + n) for n in numbers), ((numbers[0], 12.0),)
        ),
        IrqSample("117", "eth2-rx", "eth2", 0, 10**6, 8000.0, ((BUSY, 10**6),), ((BUSY, 8000.0),), "2", "2", False, True),
        IrqSample("142", "nvme3q38", "0000:81:00.0", None, 17, 1.0, ((STRAY, 17),), ((STRAY, 1.0),), "37", "37", True),
        IrqSample("150", "ahci", "0000:00:1f.2", None, 0, 0.0, (), (), "0-63", "37"),
        IrqSample("CAL", "Function call interrupts", "", None, 90, 0.0, ((BUSY, 50), (STRAY, 40)), ()),
    )
    nics = tuple(
        NicSample(name, "mlx5_core", node, True, 25000, 1.2e6, 3.0, 1e9, 1e3, 0.0, 1024, 8192)
        for node, name in enumerate(("eth2", "eth3"))
    )
    losses = (
        LossSample(2, "MAC: checksum", "eth2", "rx_crc_errors", 0, 0.0),
        LossSample(5, "NIC packet buffer", "eth3", "rx_missed_errors", 4711, 0.0),
        LossSample(7, "no receive descriptor", "eth3", "rx_no_dma_resources", 99, 12.0),
        LossSample(11, "softnet backlog", "host", "softnet dropped", 0, 0.0),
        LossSample(10, "softirq late", "CPU 3", "softnet time_squeeze", 50, 3.0, kind="delay"),
        LossSample(18, "UDP: socket buffer full", "host", "Udp.RcvbufErrors", 7, 0.0),
        LossSample(22, "AF_XDP", "host", "", 0, 0.0, visible=False),
    )
    made = Sample(
        "ny4-md-07", "live", "6.12.0", sequence, 1e6 + sequence / 2, sequence, interval_s, of, irqs, nics, losses,
        cost=Cost(1000, 0.7, "0-1", 0), profile="feed-handler",
    )  # fmt: skip
    return replace(made, **more)


def changed(of: Sequence[CoreSample], cpu: int, **fields) -> tuple[CoreSample, ...]:
    return tuple(replace(core, **fields) if core.cpu == cpu else core for core in of)


def showing(pane_of, *samples: Sample, **options):
    """A screen that has seen these samples, and shows the last."""
    model = Model(**options)
    pane = pane_of(model)
    for each in samples:
        model.sample = each
        model.history.take(each)
    return pane


def show(pane, sample: Sample, width=80, height=21) -> list[str]:
    """One more sample, drawn."""
    pane.model.sample = sample
    pane.model.history.take(sample)
    return text(pane.lines(width, height))


def text(lines: Sequence[Line]) -> list[str]:
    return ["".join(segment.text for segment in line) for line in lines]


def cells(line: Line) -> list[tuple[str, Style | None]]:
    """Each character with its style."""
    return [(character, segment.style) for segment in line for character in segment.text]


def toned(name: str) -> Style | None:
    return TONES.style(name)
