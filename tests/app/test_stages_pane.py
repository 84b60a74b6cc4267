"""The Overview's line of losses; the NIC screen's stages are in test_nic.py."""

from dataclasses import replace

from ingest.sample import LossSample
from ingest.stages import complete
from tests.app.screens import drive, make_app, sample, text_of

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


def test_the_overview_tells_losses_and_no_delays():
    made = app()

    async def steps(pilot):
        text = text_of(made)
        line = next(line for line in text.splitlines() if line.startswith(" eth2 "))
        assert "no receive descriptor 12 (99), NIC packet buffer 0 (4711)" in line
        host = next(line for line in text.splitlines() if line.startswith(" host "))
        assert "UDP: socket buffer full 0 (7)" in host
        assert "late" not in host

    drive(made, steps, size=(160, 50))
