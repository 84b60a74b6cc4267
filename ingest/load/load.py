"""A load: numbered packets sent through a veth pair by a process of its own, paced, from one CPU."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from typing import Any, Self

from ingest.load.demand import MOST_PACKETS, Demand, LoadError, Sent
from ingest.load.namespaces import VethPair
from ingest.load.sender import MEANS, Order
from tuner.host.text import printable

READY_S = 30.0  # a Python interpreter starts in a tenth of a second, on a host in distress in more
_LATE = 1.5  # how much longer than asked for a sender may take that does not keep up


class Load:
    """Sends through a pair. ``start`` returns when sending has begun, ``result`` when it has ended; once more is allowed.

    Args:
        pair: through which interfaces.
        cpu: where the sender runs, and with it the receiving softirq; None: wherever this process may.
        means: ``sendmmsg``, ``xdp`` (frames are injected below the far interface: they do not cross the pair) or ``python``;
            None: sendmmsg up to 600,000 packets/s, xdp above, and what is left where one of them cannot be used.
        bytes_min: the size of the smallest frame, without its checksum.
        bytes_max: of the largest; None: all have one size.
        streams: destination ports, served in turn, each numbered from 1.

    Raises:
        ValueError: unknown means.
    """

    def __init__(
        self,
        pair: VethPair,
        *,
        cpu: int | None = None,
        means: str | None = None,
        bytes_min: int = 128,
        bytes_max: int | None = None,
        streams: int = 1,
    ) -> None:
        if means is not None and means not in MEANS:
            raise ValueError(f"{means[:40]!r} is no way to send: {', '.join(MEANS)}")
        self.means = ""
        self.note = ""  # why no better means could be used
        self._pair = pair
        self._cpu = cpu
        self._wanted_means = means or ""
        self._sizes = bytes_min, bytes_max if bytes_max is not None else bytes_min
        self._streams = streams
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""
        self._sent: Sent | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, rate_per_s: int | None, *, packets: int | None = None, seconds: float | None = None) -> None:
        """Starts the process and the sending.

        Args:
            rate_per_s: packets/s over all streams; None: as fast as it goes.
            packets: how many; None: as many as the rate makes in ``seconds``.
            seconds: for how long; None: until the packets are sent. A sender that does not keep up ends, packets or not,
                after half as long again.

        Raises:
            ValueError: neither packets nor seconds, or a value out of range.
            LoadError: it cannot be sent; why.
        """
        self.close()
        self._said, self._sent = b"", None
        self._spawn(self._demand(rate_per_s, packets, seconds))
        answer = self._answer(READY_S)
        if answer is None or "ready" not in answer:
            self.close()
            raise LoadError(str((answer or {}).get("error") or f"the sender was not ready within {READY_S:g} s"))
        self.means, self.note = str(answer["ready"]), printable(str(answer["note"]))
        self._say(b"go\n")
        if self._stopped:
            self._say(b"stop\n")

    def _demand(self, rate_per_s: int | None, packets: int | None, seconds: float | None) -> Demand:
        if packets is None and seconds is None:
            raise ValueError("a load needs an end: packets or seconds")
        duration_s = 86_400.0 if seconds is None else seconds
        if packets is None:
            packets = max(1, round(rate_per_s * duration_s)) if rate_per_s is not None else MOST_PACKETS
            duration_s = duration_s * _LATE if rate_per_s is not None else duration_s
        if rate_per_s == 0:
            raise ValueError("a rate of 0 packets/s sends nothing")
        return Demand(
            rate_per_s=rate_per_s or 0,
            packets=packets,
            duration_ns=min(round(duration_s * 1e9), 86_400 * 10**9),
            bytes_min=self._sizes[0],
            bytes_max=self._sizes[1],
            streams=self._streams,
        )

    def _spawn(self, demand: Demand) -> None:
        near, far = self._pair.near.fileno(), self._pair.far.fileno()
        order = Order(demand.to_json(), near, far, self._pair.out, self._pair.into, self._cpu, self._wanted_means)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "ingest.load.sender", order.to_text()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(near, far),
            process_group=0,  # Ctrl-C is for us: the sender is told to stop, and says what it sent
        )

    def ended(self) -> bool:
        """Whether ``result`` would come back at once."""
        return self._sent is not None or self._take(0.0)

    def result(self, timeout_s: float | None = None) -> Sent:
        """What was sent, after the end.

        Raises:
            LoadError: the sender failed, was never started, or has not ended within ``timeout_s``.
        """
        limit = time.monotonic() + timeout_s if timeout_s is not None else None
        while self._sent is None:
            left = 1.0 if limit is None else min(1.0, limit - time.monotonic())
            if left < 0:
                raise LoadError(f"the sender has not ended within {timeout_s:g} s")
            self._take(left)
        return self._sent

    def stop(self) -> None:
        """Ends the sending within milliseconds; ``result`` says what was sent. May come from a signal handler."""
        self._stopped = True
        self._say(b"stop\n")

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _take(self, timeout_s: float) -> bool:
        answer = self._answer(timeout_s)
        if answer is None:
            return False
        if "error" in answer:
            raise LoadError(printable(str(answer["error"])))
        self._sent = Sent(**answer["sent"])
        return True

    def _answer(self, timeout_s: float) -> dict[str, Any] | None:
        """The next line that the process says; None where none came in time.

        Raises:
            LoadError: it died.
        """
        if self._process is None or self._process.stdout is None:
            raise LoadError("nothing is being sent: start the load first")
        limit = time.monotonic() + timeout_s
        while b"\n" not in self._said:
            left = max(0.0, limit - time.monotonic())
            if not select.select([self._process.stdout], [], [], left)[0]:
                return None
            came = os.read(self._process.stdout.fileno(), 65536)
            if not came:
                raise LoadError(self._last_words())
            self._said += came
        line, _, self._said = self._said.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        process = self._process
        if process is None or process.stderr is None:
            return "the sender is gone"
        words = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        status = process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"the sender {how}{': ' + printable(words[-1]) if words else ''}"

    def _say(self, word: bytes) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended by itself
                os.write(process.stdin.fileno(), word)
