"""The NIC pane's stages: worst where there is little room, all of them where there is much, what is unseen said so."""

from dataclasses import replace

from ingest.sample import LossSample
from ingest.stages import STAGES, complete
from tests.app.screens import drive, make_app, press, sample, text_of

ROWS = complete(
    [
        LossSample(2, "MAC: checksum", "eth2", "rx_crc_errors", 0, 0.0),
        LossSample(5, "NIC packet buffer", "eth2", "rx_missed_errors", 4711, 0.0),
        LossSample(7, "no receive descriptor", "eth2", "rx_no_dma_resources", 99, 12.0),
        LossSample(7, "no receive descriptor", "eth9", "rx_no_dma_resources", 5, 5.0),
        *(LossSample(10, "softirq late", f"CPU {n}", "softnet time_squeeze", 50 - n, 3.0, kind="delay") for n in range(9)),
        LossSample(18, "UDP: socket buffer full", "host", "Udp.RcvbufErrors", 7, 0.0),
        LossSample(13, "interface: dropped, all causes", "eth2", "rx_dropped", 1, 0.0, kind="aggregate"),
    ],
    ["eth2"],
)


def app():
    base = sample()
    other = replace(base.nics[0], name="eth9")
    return make_app([replace(base, losses=ROWS, nics=(*base.nics, other))])


def test_where_there_is_little_room_the_worst_are_shown_and_the_unseen_are_counted_up():
    made = app()

    async def steps(pilot):
        await press(pilot, "2")
        text = text_of(made)
        assert "7 no receive descriptor" in text
        assert "5 NIC packet buffer" in text
        assert "18 UDP: socket buffer full" in text
        assert "MAC: checksum" not in text
        assert "not visible here: stages 0" in text

    drive(made, steps, size=(80, 24))


def test_where_there_is_much_room_every_stage_is_told_and_another_interface_is_not():
    made = app()

    async def steps(pilot):
        await press(pilot, "2")
        text = text_of(made)
        for stage in STAGES:
            assert f"{stage.number:>2} " in text
        assert "and 7 more" in text  # CPUs
        assert "unseen" in text
        assert "eth9 rx_no_dma_resources" not in text
        assert text.count("no receive descriptor") == 1

    drive(made, steps, size=(200, 70))
