"""The injector: frames that enter an interface from below without being sent, for rates that no socket reaches.

BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES (since Linux 5.18, net/bpf/test_run.c) runs an XDP program on copies of a
frame and hands what it passes to the network stack, as a driver would. The program numbers the copies by an atomic add and
waits for each one's time itself, so that a whole run is one system call. It needs no compiler; measured: 7.3 M frames/s
without a receiver, paced exactly from 0.3 to 3 M/s.
"""

import contextlib
import errno
import os
import signal
import socket
import threading

from ingest.load import bpf
from ingest.load.demand import Demand, LoadError, Sent
from ingest.load.frames import PORT_AT, SEQUENCE_AT, header

LOWEST_RATE = 100_000  # the program waits with interrupts of the stack held off: 64 frames at a time
_NEXT, _STOP, _START_NS, _LAST_NS, _PACKETS = range(0, 40, 8)  # the words of the shared map
_WORDS = 8
_LONGEST_WAIT = 2048  # looks at the clock, some 20 ns each: the verifier wants an end
_MOST_IN_A_CALL = (1 << 31) - 1


class Injector:
    """See ``ingest.load.demand.Sender``; the frames are received by an interface of this network namespace.

    A veth interface has the XDP queue that this needs only while its GRO is on.
    """

    means = "xdp"

    def __init__(self, ifname: str, demand: Demand) -> None:
        """Loads the program.

        Raises:
            LoadError: what the injector cannot do.
            OSError: what the kernel does not let it do.
        """
        if demand.bytes_min != demand.bytes_max:
            raise LoadError("the injector sends frames of one size")
        if 0 < demand.rate_per_s < LOWEST_RATE:
            raise LoadError(f"the injector keeps no rate below {LOWEST_RATE} packets/s")
        self._demand = demand
        self._frame = header(demand.bytes_min, demand.first_port).ljust(demand.bytes_min, b"\0")
        self._ifindex = socket.if_nametoindex(ifname)
        self._ended = threading.Event()
        self._stopped = False
        self._thread = 0
        with contextlib.ExitStack() as opened:
            self._map_fd, self._shared = bpf.create_shared_array(_WORDS)
            opened.callback(os.close, self._map_fd)
            self._words = memoryview(self._shared).cast("Q")
            self._words[_PACKETS // 8] = demand.packets
            self._program_fd = bpf.load_xdp(program(demand, self._map_fd))
            opened.callback(os.close, self._program_fd)
            self._probe()
            self._held = opened.pop_all()

    def _probe(self) -> None:
        """One frame that the program drops: an older kernel, or an interface that is not fit, says so before the start."""
        self._words[_STOP // 8] = 1
        bpf.run_live(self._program_fd, self._frame, self._ifindex, 1)
        self._words[_STOP // 8] = 0

    def run(self) -> None:
        """See Sender. ``stop`` interrupts it by SIGUSR1, which the process has to catch."""
        self._thread = threading.get_ident()
        timer = threading.Timer(self._demand.duration_ns / 1e9, self.stop)
        timer.daemon = True
        timer.start()
        try:
            while not self._stopped and (left := self._demand.packets - self._words[_NEXT // 8]) > 0:
                bpf.run_live(self._program_fd, self._frame, self._ifindex, min(left, _MOST_IN_A_CALL))
        except OSError as error:
            if error.errno != errno.EINTR:
                raise
        finally:
            self._ended.set()
            timer.cancel()

    def stop(self) -> None:
        """See Sender."""
        self._stopped = True
        self._words[_STOP // 8] = 1
        while self._thread and not self._ended.wait(0.005):  # a signal before the call began would not end it
            signal.pthread_kill(self._thread, signal.SIGUSR1)

    def sent(self) -> Sent:
        """See Sender."""
        started, last = self._words[_START_NS // 8], self._words[_LAST_NS // 8]
        step_ns = 10**9 / self._demand.rate_per_s if self._demand.rate_per_s else 0.0
        return Sent(self.means, self._words[_NEXT // 8], (last - started + step_ns) / 1e9 if started else 0.0)

    def close(self) -> None:
        """See Sender."""
        self._words.release()
        self._shared.close()
        self._held.close()


def program(demand: Demand, map_fd: int) -> bpf.Program:
    """Numbers the frame, waits until it is due, and passes it; drops it where all are sent or a stop is asked for.

    R6: the frame, R7: how many were sent before it, R8: when it is due, R9: the shared words.
    """
    it = bpf.Program()
    it.map_value(9, map_fd)
    it.load(bpf.W, 6, 1, 0)
    it.load(bpf.W, 2, 1, 4)
    it.move(bpf.MOV, 3, 6)
    it.set(bpf.ADD, 3, len(header(demand.bytes_min)))
    it.jump_if_register(bpf.GREATER, 3, 2, "drop")
    it.load(bpf.DW, 1, 9, _STOP)
    it.jump_if(bpf.NOT_EQUAL, 1, 0, "drop")
    it.load(bpf.DW, 7, 9, _NEXT)
    it.load(bpf.DW, 1, 9, _PACKETS)
    it.jump_if_register(bpf.GREATER_EQUAL, 7, 1, "drop")
    it.call(bpf.KTIME_GET_NS)
    it.load(bpf.DW, 1, 9, _START_NS)
    it.jump_if(bpf.NOT_EQUAL, 1, 0, "started")
    it.store(bpf.DW, 9, _START_NS, 0)
    it.move(bpf.MOV, 1, 0)
    it.label("started")
    if demand.rate_per_s:
        _wait(it, demand.rate_per_s)
    it.store(bpf.DW, 9, _LAST_NS, 0)
    it.set(bpf.MOV, 1, 1)
    it.add_atomically(9, _NEXT, 1)
    if demand.streams > 1:
        it.move(bpf.MOV, 1, 7)
        it.set(bpf.MOD, 1, demand.streams)
        it.set(bpf.ADD, 1, demand.first_port)
        it.big_endian(1, 16)
        it.store(bpf.H, 6, PORT_AT, 1)
        it.set(bpf.DIV, 7, demand.streams)
    it.set(bpf.ADD, 7, 1)
    it.big_endian(7, 64)
    it.store(bpf.DW, 6, SEQUENCE_AT, 7)
    it.leave(bpf.XDP_PASS)
    it.label("drop")
    it.leave(bpf.XDP_DROP)
    return it


def _wait(it: bpf.Program, rate_per_s: int) -> None:
    """R8 = start (R1) + R7 / rate; then looks at the clock (R0) until it is that late."""
    it.move(bpf.MOV, 8, 7)
    it.set(bpf.DIV, 8, rate_per_s)
    it.set(bpf.MUL, 8, 10**9)
    it.move(bpf.MOV, 2, 7)
    it.set(bpf.MOD, 2, rate_per_s)
    it.set(bpf.MUL, 2, 10**9)
    it.set(bpf.DIV, 2, rate_per_s)
    it.move(bpf.ADD, 8, 2)
    it.move(bpf.ADD, 8, 1)
    it.store(bpf.DW, 10, -8, 6)  # the frame's address makes room for the count of looks
    it.set(bpf.MOV, 6, 0)
    it.label("look")
    it.jump_if_register(bpf.GREATER_EQUAL, 0, 8, "due")
    it.set(bpf.ADD, 6, 1)
    it.jump_if(bpf.GREATER, 6, _LONGEST_WAIT, "due")
    it.call(bpf.KTIME_GET_NS)
    it.jump("look")
    it.label("due")
    it.load(bpf.DW, 6, 10, -8)
