"""One AF_PACKET socket, and one with a receive ring in memory that the kernel fills (net/packet/af_packet.c).

A tap: it takes nothing away from the sockets of other programs. The layout of the memory stands in ``layout.py``.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import socket
import struct
from dataclasses import dataclass
from typing import Literal

from ingest.rings.bpf import Program
from ingest.rings.layout import STATUS_STAMPED_BY_NIC, V2, V3, Area
from tuner.host.text import printable

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_RX_RING = 5
PACKET_STATISTICS = 6
PACKET_VERSION = 10
PACKET_TIMESTAMP = 17
PACKET_FANOUT = 18
PACKET_IGNORE_OUTGOING = 23  # since Linux 4.20
PACKET_MR_PROMISC = 1
FANOUT_CPU = 2
FANOUT_UNIQUE_ID = 0x2000
FANOUT_IGNORE_OUTGOING = 0x4000
SO_ATTACH_FILTER = 26
SO_TIMESTAMPNS = 35
SOF_TIMESTAMPING_RAW_HARDWARE = 1 << 6
SIOCGIFNAME = 0x8910
SIOCGIFMTU = 0x8921
SIOCGIFFLAGS = 0x8913
SIOCGIFHWADDR = 0x8927
IFF_UP = 1
ETH_P_ALL = 3
MAP_POPULATE = 0x8000
Stamps = Literal["kernel", "nic"]

_V3_FRAME_BYTES = 2048  # has to divide the block; packets are packed regardless


class RingError(Exception):
    """A packet ring that cannot be had; the text says why and what to do."""


class NoSuchInterface(RingError):
    """No interface of that name in this network namespace."""


class InterfaceDown(RingError):
    """The interface is there but administratively down."""


class NotPermitted(RingError):
    """Packet sockets need CAP_NET_RAW."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """``units`` frames (V2) or blocks (V3) of ``unit_bytes``, allocated in blocks of ``block_bytes``.

    ``retire_ms``: after this a V3 block is handed over though it is not full. A V3 ring is ``units * retire_ms`` deep in
    time, whatever its size: 64 blocks of 1 MiB at 1 ms lose packets in a pause of 100 ms (measured).
    """

    version: int
    unit_bytes: int
    units: int
    block_bytes: int
    retire_ms: int = 0

    @property
    def memory_bytes(self) -> int:
        """The ring's memory; it cannot be swapped out."""
        return self.unit_bytes * self.units

    def halved(self) -> "Geometry":
        """Half as many units."""
        return Geometry(self.version, self.unit_bytes, self.units // 2, self.block_bytes, self.retire_ms)

    def request(self) -> bytes:
        """The kernel's tpacket_req, or tpacket_req3. frame_nr must be what fits, exactly, or the kernel answers EINVAL."""
        if self.version == V2:
            return struct.pack("=4I", self.block_bytes, self.memory_bytes // self.block_bytes, self.unit_bytes, self.units)
        frames = self.memory_bytes // _V3_FRAME_BYTES
        return struct.pack("=7I", self.unit_bytes, self.units, _V3_FRAME_BYTES, frames, self.retire_ms, 0, 0)


@dataclass(frozen=True, slots=True)
class Statistics:
    """PACKET_STATISTICS since it was last read: ``reached`` includes ``drops``."""

    reached: int
    drops: int
    freezes: int


class PacketSocket:
    """A socket that receives nothing until ``bind``, and nothing but what its filter lets through afterwards."""

    def __init__(self) -> None:
        try:
            # protocol 0: nothing is queued before all is ready
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError as error:
            raise NotPermitted("a packet ring needs CAP_NET_RAW: run as root, or give the command that capability") from error
        except OSError as error:
            raise RingError(f"this kernel has no packet sockets: {error.strerror}") from error

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def index_of(self, name: str) -> int:
        """The number of an interface that is up.

        Raises:
            NoSuchInterface, InterfaceDown: it is not.
        """
        try:
            index = socket.if_nametoindex(name)
        except OSError as error:
            raise NoSuchInterface(f"no interface '{printable(name)}' in this network namespace (see: ip link)") from error
        if not self.is_up(index):
            raise InterfaceDown(f"interface '{printable(name)}' is down; first: ip link set '{printable(name)}' up")
        return index

    def is_there(self, index: int) -> bool:
        """Whether the interface still exists, by whatever name."""
        with contextlib.suppress(OSError):
            self._name_of(index)
            return True
        return False

    def is_up(self, index: int) -> bool:
        """Whether the interface exists and is administratively up."""
        with contextlib.suppress(OSError):
            request = struct.pack("16s24x", self._name_of(index))
            flags: int = struct.unpack_from("=H", fcntl.ioctl(self._socket, SIOCGIFFLAGS, request), 16)[0]
            return bool(flags & IFF_UP)
        return False

    def _name_of(self, index: int) -> bytes:
        answer = fcntl.ioctl(self._socket, SIOCGIFNAME, struct.pack("=16si20x", b"", index))
        return answer[:16].split(b"\0", 1)[0]

    def hardware_type(self, index: int) -> int:
        """ARPHRD_* of an interface: 1 for Ethernet.

        Raises:
            RingError: it is gone.
        """
        try:
            answer = fcntl.ioctl(self._socket, SIOCGIFHWADDR, struct.pack("16s24x", self._name_of(index)))
        except OSError as error:
            raise RingError(f"interface number {index} cannot be asked for its kind: {error.strerror}") from error
        return int(struct.unpack_from("=H", answer, 16)[0])

    def take(self, program: Program) -> None:
        """Replaces the filter: one atomic exchange, packets that are under way may still see the old one (``settle``).

        Old and new filter together must fit into net.core.optmem_max (sk_filter_charge): what could follow ``TAKE_NOTHING``
        can be followed by it.

        Raises:
            RingError: the kernel does not take it.
        """
        code = b"".join(struct.pack("=HBBI", *line) for line in program)
        held = ctypes.create_string_buffer(code, len(code))
        request = struct.pack("@HP", len(program), ctypes.addressof(held))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, request)
        except OSError as error:
            what = f"the kernel does not take a filter of {len(program)} instructions: {error.strerror}"
            if error.errno == errno.ENOMEM:
                what += "; it has to fit into net.core.optmem_max (as: sysctl -w net.core.optmem_max=1048576)"
            raise RingError(what) from error

    def bind(self, index: int) -> None:
        """Starts receiving from an interface, by number: its name may change meanwhile."""
        address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(ETH_P_ALL), index, 0, 0, 0, b"")
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.bind(self._socket.fileno(), address, len(address)):
            number = ctypes.get_errno()
            raise RingError(f"cannot receive from interface number {index}: {os.strerror(number)}")

    def promiscuous(self, index: int) -> None:
        """Asks the NIC for frames to other addresses too, until this socket closes."""
        self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("=iHH8s", index, PACKET_MR_PROMISC, 0, b""))

    def join(self, group: int | None) -> int:
        """Shares the interface's packets with the other sockets of a group, by the CPU that received them. Bound already.

        Args:
            group: the number that the first member got; None for that first member.

        Returns:
            The group's number.
        """
        kind = FANOUT_CPU | FANOUT_IGNORE_OUTGOING | (FANOUT_UNIQUE_ID if group is None else 0)
        try:
            self._socket.setsockopt(SOL_PACKET, PACKET_FANOUT, struct.pack("=I", (group or 0) | kind << 16))
            answer = self._socket.getsockopt(SOL_PACKET, PACKET_FANOUT, 4)
        except OSError as error:
            raise RingError(f"this kernel shares no packets among rings ({error.strerror}); ask for one ring") from error
        return int(struct.unpack("=I", answer)[0]) & 0xFFFF

    def statistics(self) -> Statistics:
        """Reads and clears the kernel's counters. They are 32 bits wide: to be read before 2^32 packets came."""
        raw = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12)
        reached, drops = struct.unpack_from("=2I", raw)
        freezes = struct.unpack_from("=I", raw, 8)[0] if len(raw) >= 12 else 0
        return Statistics(reached, drops, freezes)

    def error(self) -> int:
        """The errno that the socket reports, once; 0 for none."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def close(self) -> None:
        """Receives no more."""
        self._socket.close()


class TpacketSocket(PacketSocket):
    """One with a ring, made before anything is received."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        try:
            self.geometry = self._make_ring(geometry)
            flags = mmap.MAP_SHARED | MAP_POPULATE
            self._memory = mmap.mmap(self._socket.fileno(), self.geometry.memory_bytes, flags, mmap.PROT_READ | mmap.PROT_WRITE)
        except BaseException:
            self._socket.close()
            raise

    def _make_ring(self, geometry: Geometry) -> Geometry:
        self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, {V2: 1, V3: 2}[geometry.version])
        # Always: any other program that turns stamping on would otherwise move ours from the ring to the stack's entry.
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        while True:
            try:
                self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, geometry.request())
            except OSError as error:
                smaller = geometry.halved()
                if error.errno != errno.ENOMEM or smaller.memory_bytes < max(smaller.block_bytes, 1 << 20):
                    raise RingError(f"the kernel gives no ring of {geometry.memory_bytes} bytes: {error.strerror}") from error
                geometry = smaller
            else:
                return geometry

    def area(self, index: int, stamps: Stamps = "kernel") -> Area:
        """The ring's memory, for a walker, once it is known from which interface and by which clock its packets come."""
        geometry, kind = self.geometry, STATUS_STAMPED_BY_NIC if stamps == "nic" else 0
        return Area(self._memory, geometry.version, geometry.unit_bytes, geometry.units, kind, self._longest(index))

    def _longest(self, index: int) -> int:
        """Bytes of the longest frame that this interface's wire carries: its MTU, Ethernet's header and one tag."""
        with contextlib.suppress(OSError):
            request = struct.pack("16s24x", self._name_of(index))
            return int(struct.unpack_from("=i", fcntl.ioctl(self._socket, SIOCGIFMTU, request), 16)[0]) + 18
        return 0

    def stamp_by_nic(self) -> None:
        """Stamps of the NIC's clock where it has stamped the packet, which somebody else has to have turned on (SIOCSHWTSTAMP).

        Without it the kernel falls back to its own, and says so in each packet's status.
        """
        self._socket.setsockopt(SOL_PACKET, PACKET_TIMESTAMP, SOF_TIMESTAMPING_RAW_HARDWARE)

    def close(self) -> None:
        """Gives the memory back. A walker has to let go of it before."""
        self._memory.close()
        super().close()


class Settling:
    """Returns from ``wait`` when every packet that was under way in the kernel has reached its ring or missed it.

    Closing any packet socket waits for all receivers that have begun (packet_release: synchronize_net), which no system call
    offers by itself where nohz_full is set (membarrier answers EINVAL there). The socket is made beforehand, since whoever
    reads a ring may have given up the privilege by then.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)

    def wait(self) -> None:
        """Once."""
        self._socket.close()
