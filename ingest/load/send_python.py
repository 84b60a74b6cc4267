"""The sender where no compiler was: one send for each packet, from Python. Some 100,000 packets/s at best."""

import errno
import struct
import time

from ingest.load.demand import Demand, Sent
from ingest.load.frames import PORT_AT, SEQUENCE_AT, header
from ingest.load.send_native import open_socket

_SHORTEST_SLEEP_S = 0.0001
_LONGEST_SLEEP_S = 0.02  # how long a stop may have to wait
_NOT_NOW = (errno.ENOBUFS, errno.EAGAIN)


class PythonSender:
    """See ``ingest.load.demand.Sender``."""

    means = "python"

    def __init__(self, ifname: str, demand: Demand) -> None:
        self._demand = demand
        self._socket = open_socket(ifname)
        self._sizes = _sizes(demand.bytes_min, demand.bytes_max)
        self._sent = self._refused = self._elapsed_ns = 0
        self._stopped = False

    def run(self) -> None:
        """See Sender."""
        demand, frames = self._demand, [bytearray(header(size)) + bytes(size - 62) for size in self._sizes]
        start_ns = time.monotonic_ns()
        try:
            while self._sent < demand.packets and not self._stopped:
                elapsed_ns = time.monotonic_ns() - start_ns
                if elapsed_ns >= demand.duration_ns:
                    break
                due = elapsed_ns * demand.rate_per_s // 10**9 if demand.rate_per_s else self._sent + 32
                if due <= self._sent:
                    wait_s = (self._sent + 1) / demand.rate_per_s - elapsed_ns / 1e9
                    time.sleep(min(_LONGEST_SLEEP_S, max(_SHORTEST_SLEEP_S, wait_s)))
                    continue
                self._send(frames[self._sent % len(frames)])
        finally:
            self._elapsed_ns = time.monotonic_ns() - start_ns

    def _send(self, frame: bytearray) -> None:
        turn, stream = divmod(self._sent, self._demand.streams)
        struct.pack_into(">H", frame, PORT_AT, self._demand.first_port + stream)
        struct.pack_into(">Q", frame, SEQUENCE_AT, turn + 1)
        try:
            self._socket.send(frame)
        except OSError as error:
            if error.errno not in _NOT_NOW:
                raise
            self._refused += 1
        else:
            self._sent += 1

    def stop(self) -> None:
        """See Sender."""
        self._stopped = True

    def sent(self) -> Sent:
        """See Sender."""
        return Sent(self.means, self._sent, self._elapsed_ns / 1e9, self._refused)

    def close(self) -> None:
        """See Sender."""
        self._socket.close()


def _sizes(lowest: int, highest: int) -> list[int]:
    """Sixteen sizes spread evenly between two, in an order that is none."""
    if lowest == highest:
        return [lowest]
    return [lowest + (highest - lowest) * (7 * i % 16) // 15 for i in range(16)]
