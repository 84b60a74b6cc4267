"""From what is red to the words of the engine that end it, and why there are none where there are none."""

import time

import pytest

from ingest.sample import CoreSample, Event, IrqSample, LossSample, NicSample, QueueSample, Sample
from ui.app.flow.remedies import remedy, why_none
from ui.app.state.model import Pointed

ROLES = {0: "housekeeping", 1: "housekeeping", 2: "rx", 3: "rx", 4: "isolated", 5: "app"}
DRIFT = {"knob": "irq.affinity", "target": "eth3/eth3-TxRx-0", "wanted": "2", "now": "4", "suspect": "irqbalance"}


def irq(label="40", cpu=4, per_s=9.0, **more) -> IrqSample:
    known = {"name": "nvme0q9", "device": "0000:01:00.0", "queue": None, "requested": str(cpu), "effective": str(cpu)} | more
    return IrqSample(irq=label, total=5, per_s=per_s, per_cpu_per_s=((cpu, per_s),), **known)


def sample(irqs=(), losses=(), drift=(), ring=512, nic=(), **core) -> Sample:
    cores = tuple(
        CoreSample(cpu=cpu, node=0, package=0, core=cpu, llc=0, siblings=(cpu,), role=role, **(core if cpu in (1, 4) else {}))
        for cpu, role in ROLES.items()
    )
    figures = {"rx_packets_per_s": 1e6, "tx_packets_per_s": 0.0, "rx_bytes_per_s": 1e8, "tx_bytes_per_s": 0.0}
    nics = tuple(
        NicSample(
            name=name, driver="ixgbe", node=0, up=True, speed_mbps=10000, drops_per_s=12.0, rx_ring=ring, rx_ring_max=8192,
            queues=(QueueSample(3, 40, "4", 9.0, drops=1, drops_per_s=2.0), QueueSample(4, None, "2", 1.0)), **figures,
        )
        for name in ("eth2", "eth3", *nic)
    )  # fmt: skip
    return Sample(
        host="h", source="live", kernel="6.12", sequence=1, time_s=0.0, monotonic_ns=1, interval_s=1.0, cores=cores,
        irqs=tuple(irqs), nics=nics, losses=tuple(losses), drift=tuple(drift), profile="feed-handler",
    )  # fmt: skip


def loss(stage, counter, where="host", per_s=3.0, **more) -> LossSample:
    return LossSample(stage, f"place {stage}", where, counter, 9, per_s, **more)


def words(found) -> str:
    return " ".join(found.words)


def test_an_interrupt_on_an_isolated_core_goes_to_the_housekeeping_cores():
    found = remedy(sample([irq()]), Pointed("irq", "40"))
    assert found.title == "move to 0-1"
    assert words(found) == 'observe --on-top --set irq.default="0-1" --only irq.affinity@0000:01:00.0/nvme0q9'
    assert "IRQ 40 nvme0q9" in found.because
    # the core that it disturbs leads to the same
    assert remedy(sample([irq()], device_per_s=9.0), Pointed("core", "4")) == found


def test_a_queue_goes_to_its_own_receiving_core():
    at = irq(name="eth2-TxRx-3", device="eth2", queue=3, receives=True)
    found = remedy(sample([at]), Pointed("queue", "eth3/3"))
    assert found.knob == "nic.rings.rx"  # it loses: that comes first
    found = remedy(sample([at]), Pointed("irq", "40"))
    assert (found.title, found.target) == ("move to 3", "eth2/eth2-TxRx-3")


def test_what_the_kernel_places_itself_is_told_at_boot():
    found = remedy(sample([irq(managed=True)]), Pointed("irq", "40"))
    assert (found.sets, found.knob, found.target) == (('boot.isolcpus="managed_irq,4-5"',), "boot.words", "next boot")
    ticking = remedy(sample(timer_per_s=250.0), Pointed("core", "4"))
    assert ticking.sets == ('boot.nohz_full="4-5"',)
    assert remedy(sample([irq("LOC", name="LOC")]), Pointed("irq", "LOC")).sets == ticking.sets


def test_what_moved_goes_back_with_all_that_moved():
    at = irq(name="eth3-TxRx-0", device="eth3", queue=0, receives=True)
    for pointed in (
        Pointed("irq", "40"),
        Pointed("change", "irq.affinity/eth3/eth3-TxRx-0"),
        Pointed("event", "e", record=Event("warn", "eth3/eth3-TxRx-0", "irq.affinity moved, seen at 10:00:00: is 4")),
    ):
        found = remedy(sample([at], drift=[DRIFT]), pointed)
        assert words(found) == "observe --on-top", pointed
        assert (found.knob, found.target, found.title) == ("irq.affinity", "eth3/eth3-TxRx-0", "back to 2")


@pytest.mark.parametrize(
    ("at", "ring", "title", "told"),
    [
        (Pointed("nic", "eth3"), 512, "ring rx 4096", 'nic.port.rings.rx="max:4096"'),
        (Pointed("queue", "eth3/3"), 4096, "ring rx 8192", 'nic.port.rings.rx="max"'),
        (Pointed("loss", "7/eth3/rx_missed_errors"), 512, "ring rx 4096", 'nic.port.rings.rx="max:4096"'),
        (Pointed("feed", "packet:eth3/itch"), 512, "ring rx 4096", 'nic.port.rings.rx="max:4096"'),
    ],
)
def test_a_full_ring_becomes_deeper(at, ring, title, told):
    found = remedy(sample(losses=[loss(7, "rx_missed_errors", "eth3")], ring=ring), at)
    assert (found.title, found.binds, found.sets) == (title, ("port=eth3",), (told,))
    assert words(found).endswith("--only nic.rings.rx@eth3")


@pytest.mark.parametrize(
    ("row", "knob"),
    [
        (loss(11, "softnet dropped", "CPU 4"), "sysctl.net.core.netdev_max_backlog"),
        (loss(10, "softnet time_squeeze", "CPU 4", kind="delay"), "sysctl.net.core.netdev_budget"),
        (loss(18, "Udp.RcvbufErrors"), "sysctl.net.core.rmem_max"),
        (loss(15, "TcpExt.IPReversePathFilter"), "sysctl.net.ipv4.conf.all.rp_filter"),
    ],
)
def test_each_place_of_loss_has_its_setting(row, knob):
    found = remedy(sample(losses=[row]), Pointed("loss", f"{row.stage}/{row.where}/{row.counter}", "something is lost"))
    assert (found.knob, found.target, found.because) == (knob, "host", "something is lost")


def test_a_remedy_that_is_in_force_has_a_stronger_one_until_it_has_none():
    found = remedy(sample(backlog_drops_per_s=4.0), Pointed("core", "1"))
    seen = []
    while found is not None:
        seen += found.sets
        found = found.stronger()
    assert [each.rpartition(":")[2].strip('"') for each in seen] == ["10000", "50000", "250000"]


def test_events_lead_to_what_they_are_about():
    def of(where="eth3", **fields) -> object:
        event = Event("crit", where, "lost", **fields)
        return remedy(sample([irq()], [loss(7, "rx_missed_errors", "eth3")]), Pointed("event", "e", record=event))

    assert of().knob == "nic.rings.rx"
    assert of(counter="rx_missed_errors", nic="eth3").because == "eth3: lost"
    assert of(irq="40", cpu=4, where="CPU 4").knob == "irq.affinity"
    assert of(ended=True) is None


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (Pointed(), "nothing here has a remedy"),
        (Pointed("core", "0"), "nothing is wrong on core 0"),
        (Pointed("core", "77"), "not in the sample"),
        (Pointed("irq", "RES"), "not in the sample"),
        (Pointed("irq", "41"), "stays off the reserved cores"),
        (Pointed("irq", "CAL"), "comes from the cores themselves"),
        (Pointed("nic", "eth9"), "not in the sample"),
        (Pointed("queue", "eth2/4"), "loses nothing now"),
        (Pointed("loss", "2/eth3/rx_crc_errors"), "a cable, a transceiver, the switch"),
        (Pointed("loss", "7/eth2/none"), "not visible here: no counter"),
        (Pointed("loss", "17/host/Udp.NoPorts"), "nobody listens"),
        (Pointed("event", "e"), "no remedy"),
        (Pointed("change", "vm.swappiness/host"), "a applies what is picked"),
    ],
)
def test_what_has_no_remedy_says_why(at, why):
    now = sample(
        [irq("41", cpu=0), irq("CAL", name="CAL")],
        [
            loss(2, "rx_crc_errors", "eth3"),
            loss(7, "none", "eth2", visible=False, note="no counter"),
            loss(17, "Udp.NoPorts"),
        ],
    )
    assert remedy(now, at) is None
    assert why in why_none(now, at)
    deepest = sample(ring=8192)
    assert "as deep as it can be" in why_none(deepest, Pointed("nic", "eth3"))
    assert why_none(sample([irq()]), Pointed("irq", "40")) == ""


def test_it_is_cheap_enough_to_be_asked_for_each_row():
    """128 cores, 1000 interrupts: a tick asks for each visible row. An index a sample, then look-ups: no scan a row."""
    now = sample([irq(str(n), cpu=4 if n % 7 else 0) for n in range(1000)], nic=[f"n{n}" for n in range(20)])
    rows = [Pointed("irq", str(n)) for n in range(1000)]
    remedy(now, rows[0])
    began = time.process_time()
    for row in rows:
        remedy(now, row)
    each_us = (time.process_time() - began) / len(rows) * 1e6
    assert each_us < 200, f"{each_us:.0f} us a row"
