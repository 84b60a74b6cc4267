"""What is told, how often, and when it is over: by made-up samples, a second apart where nothing else is said."""

import time
from dataclasses import replace

import pytest

from ingest import judgement
from ingest.alerts import MOST, STALE_NS, Alerts
from ingest.sample import CoreSample, Cost, Event, IrqSample, LossSample, NicSample, QueueSample, Sample, from_json

NMI = 10**9


def core(cpu: int = 5, role: str = "isolated", **more) -> CoreSample:
    made = CoreSample(cpu, 0, 0, cpu, 0, (cpu,), role, **more)
    return replace(made, interruptions_per_s=made.device_per_s + made.ipi_per_s + made.timer_per_s)


def irq(label: str = "24", name: str = "nvme0q0", cpu: int = 5, per_s: float = 12.0, device: str = "0000:01:00.0") -> IrqSample:
    return IrqSample(label, name, device, None, 100, per_s, per_cpu_per_s=((cpu, per_s),))


def nic(name: str = "eth2", queues: tuple[QueueSample, ...] = (), **more) -> NicSample:
    return NicSample(name, "ixgbe", 0, True, 10000, 0.0, 0.0, 0.0, 0.0, 0.0, 512, 4096, queues=queues, **more)


def row(stage: int = 7, per_s: float = 0.0, total: int = 1000, kind: str = "loss", where: str = "eth2", **more) -> LossSample:
    return LossSample(
        stage,
        more.pop("name", "no receive descriptor"),
        where,
        more.pop("counter", "rx_no_dma_resources"),
        total,
        per_s,
        kind=kind,
        **more,
    )


def stream(received: int, line: str = "A", channel: str | None = "itch", **more) -> dict:
    return {"stream": f"239.1.1.{ord(line)}:30001", "channel": channel, "line": line, "received": received} | more


class Stream:
    """A stream of samples; each call is the next."""

    def __init__(self, interval_s: float = 1.0) -> None:
        self.alerts, self.interval_s, self.sequence = Alerts(), interval_s, 0
        self.at_ns, self.wall_s = 10**12, 1.8e9
        self.nohz_full: frozenset[int] = frozenset()
        self()

    def __call__(self, cores=(), irqs=(), nics=(), losses=(), feeds=(), late: int = 0) -> tuple[Event, ...]:
        first = not self.sequence
        self.sequence += 1
        self.at_ns += round(self.interval_s * 1e9)
        self.wall_s += self.interval_s
        sample = Sample(
            "h", "live", "k", self.sequence, self.wall_s, self.at_ns, 0.0 if first else self.interval_s,
            tuple(cores), tuple(irqs), tuple(nics), tuple(losses), (), tuple(feeds), cost=Cost(late_ticks=late),
        )  # fmt: skip
        return self.alerts.judge(sample, self.nohz_full)

    def until_told(self, most: int = 30, **what) -> tuple[int, tuple[Event, ...]]:
        for count in range(1, most):
            if events := self(**what):
                return count, events
        raise AssertionError("nothing was told")


STRAY = {"cores": (core(device_per_s=12.0, top_cause="24 nvme0q0"),), "irqs": (irq(),)}


def test_an_interrupt_on_an_isolated_core_is_told_once_with_its_row_and_its_end():
    told = Stream()
    (event,) = told(**STRAY)
    assert (event.level, event.where, event.what) == ("warn", "CPU 5", "IRQ 24 nvme0q0 interrupts an isolated core: 12/s")
    assert (event.cpu, event.irq, event.nic, event.count, event.ended) == (5, "24", "", 12, False)
    assert event.since_s == pytest.approx(told.wall_s - 1.0)
    assert [told(**STRAY) for _ in range(20)] == [()] * 20
    seconds, (over,) = told.until_told()
    assert seconds == 4
    assert (over.level, over.key, over.ended, over.count) == ("info", event.key, True, 21 * 12)
    assert over.what == "over: IRQ 24 nvme0q0 interrupts an isolated core; 252 interrupts in 21.0 s"
    assert over.since_s == event.since_s
    assert [told() for _ in range(100)] == [()] * 100
    assert told.alerts._matters == {}


@pytest.mark.parametrize(
    ("role", "tells"), [("isolated", 1), ("app", 1), ("rx", 0), ("tx", 0), ("housekeeping", 0), ("general", 0)]
)
def test_the_role_says_whether_it_is_a_fault(role, tells):
    told = Stream()
    assert len(told(cores=[core(role=role, device_per_s=8000.0, ipi_per_s=0.0)], irqs=[irq(per_s=8000.0)])) == tells


def test_once_in_a_while_is_nothing_and_once_a_second_is():
    told = Stream(0.5)
    lone = {"cores": (core(device_per_s=2.0),), "irqs": (irq(per_s=2.0),)}  # one, in half a second
    for _ in range(10):
        assert told(**lone) == ()
        assert [told() for _ in range(9)] == [()] * 9
    events = [told(**lone) + told() for _ in range(4)]
    assert [len(each) for each in events] == [0, 0, 1, 0]


def test_each_row_on_a_core_is_a_matter_of_its_own_and_the_nic_of_a_queue_is_named():
    told = Stream()
    rows = [irq(), replace(irq("130", "eth2-TxRx-3", per_s=900.0, device="eth2"), queue=3)]
    events = told(cores=[core(device_per_s=912.0, ipi_per_s=30.0)], irqs=rows)
    assert [(e.key, e.nic, e.queue) for e in events] == [
        ("irq 130 CPU 5", "eth2", 3), ("ipi CPU 5", "", None), ("irq 24 CPU 5", "", None),
    ]  # fmt: skip


def test_ten_times_as_much_is_told_again_and_no_more_than_that():
    told = Stream()
    counts = []
    for per_s in (10.0, 20.0, 99.0, 101.0, 400.0, 1010.0, 1010.0):
        what = {"cores": (core(ipi_per_s=per_s),)}
        counts.append(len(told(**what)))
    assert counts == [1, 0, 0, 1, 0, 1, 0]


def test_the_tick_is_told_only_where_it_should_be_stopped():
    told = Stream()
    ticking = {"cores": (core(timer_per_s=250.0),)}
    assert [told(**ticking) for _ in range(5)] == [()] * 5
    told.nohz_full = frozenset({5})
    (event,) = told(**ticking)
    assert (event.level, event.irq) == ("warn", "LOC")
    assert "nohz_full should stop it" in event.what


LOSSES = [
    (
        row(7, 300.0),
        "crit",
        "eth2",
        "300 packets lost in 1.0 s: no receive descriptor (stage 7, rx_no_dma_resources), its ring 512 of 4,096",
    ),
    (row(5, 300.0, name="NIC packet buffer", counter="rx_missed_errors"), "crit", "eth2", "300 packets lost"),
    (row(2, 300.0, name="MAC: checksum", counter="rx_crc_errors"), "crit", "eth2", "MAC: checksum"),
    (
        row(18, 300.0, where="host", name="UDP: socket buffer full", counter="Udp.RcvbufErrors"),
        "crit",
        "sockets",
        "Udp.RcvbufErrors",
    ),
    (
        row(3, 300.0, kind="warning", name="pause sent to the switch"),
        "warn",
        "eth2",
        "it has to hold back, or drops for everybody: 300 frames/s",
    ),
    (row(15, 300.0, where="host", name="IP: reverse path filter"), "warn", "host", "reverse path"),
    (row(21, 300.0, name="packet ring", counter="PACKET_STATISTICS tp_drops"), "warn", "eth2", "packet ring"),
]


@pytest.mark.parametrize(("lost", "level", "where", "words"), LOSSES, ids=[str(each[0].stage) for each in LOSSES])
def test_losses_are_told_by_stage(lost, level, where, words):
    told = Stream()
    told(losses=[replace(lost, per_s=0.0, total=lost.total - 300)], nics=[nic()])
    (event,) = told(losses=[lost], nics=[nic()])
    assert (event.level, event.where) == (level, where)
    assert words in event.what
    assert (event.counter, event.count) == (lost.counter, 300)
    assert event.nic == ("eth2" if where == "eth2" else "")


NO_LOSS = [
    row(7, 0.0), row(7, 9.0, visible=False), row(4, 9.0, kind="filtered"), row(10, 9.0, kind="delay"), row(17, 9.0),
    row(18, 9.0, kind="detail"), row(13, 9.0, kind="aggregate"), row(23, 9.0), row(26, 9.0, kind="detail"), row(14, 9.0),
]  # fmt: skip


@pytest.mark.parametrize("harmless", NO_LOSS, ids=lambda each: f"{each.stage} {each.kind}")
def test_what_is_no_loss_is_not_told(harmless):
    told = Stream()
    told(losses=[replace(harmless, total=harmless.total - 9)])
    assert told(losses=[harmless]) == ()


def test_a_counter_that_is_read_once_a_second_is_counted_once():
    told = Stream(0.5)
    told(losses=[row(7, 0.0, 1000)])
    (event,) = told(losses=[row(7, 300.0, 1300)], nics=[nic(queues=(QueueSample(3, 9, "3", 1.0, drops_per_s=300.0),))])
    assert (event.count, event.queue) == (300, 3)
    assert ", queue 3," in event.what
    told(losses=[row(7, 300.0, 1300)])
    told(losses=[row(7, 200.0, 1500)])
    _, (over,) = told.until_told(losses=[row(7, 0.0, 1500)])
    assert over.count == 500
    assert over.ended


def test_a_backlog_that_drops_is_told_of_any_core():
    told = Stream()
    (event,) = told(cores=[core(3, "housekeeping", backlog_drops_per_s=40.0)])
    assert (event.level, event.cpu, event.counter, event.count) == ("crit", 3, "softnet dropped", 40)


def test_a_core_that_has_lost_its_role_meanwhile_is_no_matter():
    told = Stream()
    asked = []
    for _ in range(4):
        told()
        sample = Sample("h", "live", "k", 9, 0.0, told.at_ns, 1.0, STRAY["cores"], STRAY["irqs"], (), ())
        assert told.alerts.judge(sample, reserved=lambda cpu: bool(asked.append(cpu))) == ()
    assert asked == [5] * 4
    assert told.alerts._matters == {}


def test_links_and_late_ticks():
    told = Stream()
    assert told(nics=[nic(carrier=False)]) == ()  # it had none when this began
    told(nics=[nic()])
    (down,) = told(nics=[nic(carrier=False)])
    assert (down.level, down.where, down.what, down.nic) == ("crit", "eth2", "the link is down", "eth2")
    assert told(nics=[nic(carrier=False)]) == ()
    (again,) = told(nics=[nic()])
    assert (again.level, again.what, again.key) == ("info", "the link is up again, after 2.0 s", down.key)
    told(nics=[nic(carrier=False)])
    gone = [event for _ in range(4) for event in told()]
    assert ["gone" in event.what for event in gone] == [True]
    told(losses=[row(1, 0.0, 4, kind="warning", counter="carrier_down_count")], nics=[nic()])
    (flap,) = told(losses=[row(1, 1.0, 5, kind="warning", counter="carrier_down_count")], nics=[nic()])
    assert (flap.level, flap.count) == ("warn", 1)
    (late,) = told(late=3)
    assert (late.where, late.count) == ("collector", 3)


def test_a_stream_that_stops_is_stale_and_one_line_of_two_is_somebody_elses_to_tell():
    told = Stream()
    both = [stream(10), stream(10, "B")]
    told(feeds=both)
    assert [told(feeds=both) for _ in range(20)] == [()] * 20  # it never flowed while this looked
    told(feeds=[stream(20), stream(20, "B")])
    assert [told(feeds=[stream(20), stream(20 + n, "B")]) for n in range(1, 20)] == [()] * 19
    seconds, (event,) = told.until_told(feeds=[stream(20), stream(39, "B")])
    assert seconds == STALE_NS / 1e9
    assert (event.level, event.where, event.feed) == ("crit", "itch", "itch")
    assert told(feeds=[stream(20), stream(39, "B")]) == ()
    (over,) = told(feeds=[stream(20, heartbeats=1), stream(39, "B")])
    assert (over.level, over.what) == ("info", "it flows again, after 7.0 s")
    lone = [{"stream": "[ff15::1]:30001/7", "received": n} for n in (1, 2)]
    told(feeds=lone[:1])
    told(feeds=lone[1:])
    assert told.until_told(feeds=lone[1:])[1][0].feed == "[ff15::1]:30001/7"


def test_what_flaps_becomes_one_matter():
    told = Stream()
    counts = []
    for _ in range(120):  # half a minute each time: there for two seconds, away for four
        counts.append(sum(len(told(**STRAY)) for _ in range(2)) + sum(len(told()) for _ in range(4)))
    assert sum(counts) < 12
    assert sum(counts[20:]) == 0
    flapping = [told(nics=[nic(carrier=bool(n % 2))]) for n in range(600)]
    assert sum(map(len, flapping)) < 20


def test_a_storm_is_some_lines_and_one_that_says_how_many_more():
    told = Stream()
    storm = [core(cpu, ipi_per_s=10.0 + cpu) for cpu in range(64)]
    lost = row(7, 300.0)
    events = told(cores=storm, losses=[lost])
    assert len(events) == MOST + 1
    assert events[0].level == "crit"  # the gravest are never what is left out
    assert events[-1].what == "and 53 more began at the same time: 53 of ipi, on CPUs 0-52"
    assert [told(cores=storm, losses=[replace(lost, total=1000 + n)]) for n in range(1, 11)] == [()] * 10
    over = [event for _ in range(10) for event in told()]
    assert len(over) == MOST
    assert all(event.ended for event in over)


def test_many_that_end_at_once_are_bounded_too():
    told = Stream()
    for first in range(0, 64, 8):
        told(cores=[core(cpu, ipi_per_s=10.0) for cpu in range(first + 8)])
    _, over = told.until_told()
    assert len(over) == MOST + 1
    assert over[-1].what == "and 52 more are over"


def test_hostile_names_reach_no_terminal_and_bound_the_sentence():
    told = Stream()
    evil = "nvme\x1b[2J\n" + "x" * 5000
    events = told(
        cores=[core(device_per_s=12.0)],
        irqs=[irq(name=evil)],
        nics=[nic("e\x1b]0;x\x07")],
        losses=[row(7, 9.0, where="e\x1b]0;x\x07", counter=evil)],
    )
    assert len(events) == 2
    for event in events:
        texts = (event.level, event.where, event.what, event.key, event.irq, event.nic, event.counter, event.feed)
        assert all(text.isprintable() and len(text) <= 320 for text in texts)


def test_events_cross_the_border_between_processes_and_older_readers_ignore_what_is_new():
    sample = Sample("h", "live", "k", 1, 0.0, 1, 1.0, (), (), (), (), events=Stream()(**STRAY))
    assert from_json(sample.to_json()) == sample
    old = from_json(sample.to_json().replace('"key":', '"unknown":'))
    assert (old.events[0].what, old.events[0].key) == (sample.events[0].what, "")


@pytest.mark.parametrize("calm", [True, False])
def test_it_costs_little(calm):
    """0.2 ms a tick for 128 CPUs is the budget, and a multiple of it the bound here: the machine may be busy."""
    cores = [
        core(cpu, "isolated" if cpu > 7 else "housekeeping", timer_per_s=1.0, ipi_per_s=0.0 if calm else 5.0)
        for cpu in range(128)
    ]
    irqs = [replace(irq(str(n), f"eth2-TxRx-{n}", n % 8, 900.0), per_cpu_per_s=((n % 8, 900.0),)) for n in range(300)]
    losses = [row(stage, 0.0, where=f"eth{n}") for n in range(6) for stage in range(1, 28)]
    alerts, costs = Alerts(), []
    for sequence in range(60):
        sample = Sample(
            "h", "live", "k", sequence, 0.0, sequence * 10**9, 1.0, tuple(cores), tuple(irqs), (nic(),), tuple(losses)
        )
        start = time.thread_time_ns()
        alerts.judge(sample)
        costs.append(time.thread_time_ns() - start)
    assert sorted(costs)[30] < (1_000_000 if calm else 4_000_000)


def test_a_view_asks_for_one_core():
    stray = core(device_per_s=12.0, top_cause="24 nvme0q0", ipi_per_s=3.5, timer_per_s=250.0)
    found = judgement.of_core(stray)
    assert [each.kind for each in found] == [judgement.DEVICE, judgement.IPI, judgement.TICK]
    assert found[0].sentence == "IRQ 24 nvme0q0 interrupts an isolated core: 12/s"
    assert found[0].irq == "24"
    assert found[1].sentence.endswith(": 3.5/s")
    assert judgement.of_core(core()) == ()
    busy = core(role="housekeeping", device_per_s=9000.0, squeezes_per_s=2.0)
    assert [(each.kind, each.level) for each in judgement.of_core(busy)] == [(judgement.BUDGET, "info")]
    assert judgement.weight(stray) > judgement.weight(busy)
