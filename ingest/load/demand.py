"""What is asked of a sender, what a sender is, and what it says at the end. Crosses the border to its process as JSON."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ingest.load.frames import FIRST_PORT, LONGEST, MAX_STREAMS, SHORTEST

HIGHEST_RATE = 100_000_000  # packets/s; more than any interface carries, and no arithmetic overflows
MOST_PACKETS = 1 << 40
LONGEST_SECONDS = 86_400.0


class LoadError(Exception):
    """A load that cannot be sent; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Packets to be sent.

    ``rate_per_s``: packets/s over all streams together; 0: as fast as the sender can. ``packets`` and ``duration_ns``:
    whichever is reached first ends it. ``bytes_min`` and ``bytes_max``: sizes of the frames, without their checksum.
    ``streams``: destination ports from ``first_port`` on, served in turn, each numbered from 1.
    """

    rate_per_s: int
    packets: int
    duration_ns: int
    bytes_min: int = 128
    bytes_max: int = 128
    streams: int = 1
    first_port: int = FIRST_PORT

    def __post_init__(self) -> None:
        """Checks what is asked.

        Raises:
            ValueError: with what is wrong and what is allowed.
        """
        for value, lowest, highest, what in (
            (self.rate_per_s, 0, HIGHEST_RATE, "a rate of {} packets/s"),
            (self.packets, 1, MOST_PACKETS, "{} packets"),
            (self.duration_ns, 1, round(LONGEST_SECONDS * 1e9), "a duration of {} ns"),
            (self.bytes_min, SHORTEST, LONGEST, "a frame of {} bytes"),
            (self.bytes_max, self.bytes_min, LONGEST, "a largest frame of {} bytes"),
            (self.streams, 1, MAX_STREAMS, "a load of {} streams"),
            (self.first_port, 1, 65536 - self.streams, "a first port of {}"),
        ):
            if not lowest <= value <= highest:
                raise ValueError(f"{what.format(value)} cannot be sent: from {lowest} to {highest}")

    def to_json(self) -> dict[str, Any]:
        """As ``from_json`` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Demand":
        """The demand that ``to_json`` wrote."""
        return cls(**record)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sender did. ``refused``: how often the kernel took no packet (no buffer); each was sent afterwards."""

    means: str
    sent: int
    seconds: float
    refused: int = 0

    @property
    def rate_per_s(self) -> float:
        """The rate that was reached."""
        return self.sent / self.seconds if self.seconds > 0 else 0.0


class Sender(Protocol):
    """Sends what was demanded when it was made. ``means`` is ``sendmmsg``, ``xdp`` or ``python``."""

    means: str

    def run(self) -> None:
        """Sends; comes back when all is sent, the time is over, or after ``stop``.

        Raises:
            OSError: the kernel refused what it should not.
        """

    def stop(self) -> None:
        """From another thread: ends ``run`` within milliseconds."""

    def sent(self) -> Sent:
        """What was sent; complete once ``run`` came back."""

    def close(self) -> None:
        """Gives everything back; never during ``run``."""
