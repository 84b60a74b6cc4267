"""As much of bpf(2) as the injector needs: one map, one XDP program in hand-written instructions, and its test run.

Numbers and layouts from linux/bpf.h: ``union bpf_attr``, ``struct bpf_insn``, ``struct xdp_md``.
"""

import ctypes
import mmap
import os
import platform
import struct
from dataclasses import dataclass, field

# The C library has no wrapper for bpf(2). Little-endian machines alone: `struct bpf_insn` has its registers in bit fields.
_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}
_MAP_CREATE, _PROG_LOAD, _PROG_TEST_RUN = 0, 5, 10
_MAP_TYPE_ARRAY = 2
_PROG_TYPE_XDP = 6
_F_MMAPABLE = 1 << 10  # since 5.5
_F_TEST_XDP_LIVE_FRAMES = 1 << 1  # since 5.18
_PSEUDO_MAP_VALUE = 2
_LOG_BYTES = 1 << 16
KTIME_GET_NS = 5
XDP_DROP, XDP_PASS = 1, 2
W, H, DW = 0x00, 0x08, 0x18
ADD, MUL, DIV, MOD, MOV = 0x00, 0x20, 0x30, 0x90, 0xB0
EQUAL, GREATER, GREATER_EQUAL, NOT_EQUAL = 0x10, 0x20, 0x30, 0x50


@dataclass(slots=True)
class Program:
    """Instructions with labels: jumps name where they go, and are resolved by ``code``. Registers are numbers."""

    _lines: list[tuple[int, int, int, int, int | str, int]] = field(default_factory=list)
    _labels: dict[str, int] = field(default_factory=dict)

    def label(self, name: str) -> None:
        """Names the next instruction."""
        self._labels[name] = len(self._lines)

    def set(self, operation: int, register: int, value: int) -> None:
        """``register`` operation= a constant below 2^31 (64 bits)."""
        self._add(0x07 | operation, register, 0, 0, value)

    def move(self, operation: int, register: int, other: int) -> None:
        """``register`` operation= ``other`` (64 bits)."""
        self._add(0x0F | operation, register, other)

    def big_endian(self, register: int, bits: int) -> None:
        """``register`` as a big-endian number of 16, 32 or 64 bits."""
        self._add(0xDC, register, 0, 0, bits)

    def load(self, width: int, register: int, base: int, offset: int) -> None:
        """``register`` = what stands at ``base`` + ``offset``."""
        self._add(0x61 | width, register, base, offset)

    def store(self, width: int, base: int, offset: int, register: int) -> None:
        """What stands at ``base`` + ``offset`` = ``register``."""
        self._add(0x63 | width, base, register, offset)

    def add_atomically(self, base: int, offset: int, register: int) -> None:
        """What stands at ``base`` + ``offset`` (64 bits) += ``register``."""
        self._add(0xDB, base, register, offset)

    def map_value(self, register: int, map_fd: int) -> None:
        """``register`` = the address of an array map's first value."""
        self._add(0x18, register, _PSEUDO_MAP_VALUE, 0, map_fd)
        self._add(0)

    def jump(self, label: str) -> None:
        """Goes on at ``label``."""
        self._add(0x05, 0, 0, label)

    def jump_if(self, condition: int, register: int, value: int, label: str) -> None:
        """Where ``register`` compares so to a constant (unsigned)."""
        self._add(0x05 | condition, register, 0, label, value)

    def jump_if_register(self, condition: int, register: int, other: int, label: str) -> None:
        """Where ``register`` compares so to ``other`` (unsigned)."""
        self._add(0x0D | condition, register, other, label)

    def call(self, helper: int) -> None:
        """R0 = the kernel's helper; R1 to R5 are lost."""
        self._add(0x85, 0, 0, 0, helper)

    def leave(self, value: int) -> None:
        """The end, with an outcome."""
        self.set(MOV, 0, value)
        self._add(0x95)

    def code(self) -> bytes:
        """The instructions as the kernel takes them."""
        built = bytearray()
        for at, (code, target, source, _, offset, value) in enumerate(self._lines):
            distance = self._labels[offset] - at - 1 if isinstance(offset, str) else offset
            built += struct.pack("=BBhi", code, source << 4 | target, distance, value)
        return bytes(built)

    def _add(self, code: int, target: int = 0, source: int = 0, offset: int | str = 0, value: int = 0) -> None:
        self._lines.append((code, target, source, 0, offset, value))


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(38, f"the number of bpf(2) on {platform.machine()} is not known here")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    held = ctypes.create_string_buffer(attributes, len(attributes))
    done = libc.syscall(
        ctypes.c_long(number), ctypes.c_long(command), ctypes.c_void_p(ctypes.addressof(held)), ctypes.c_long(len(attributes))
    )
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(done)


def create_shared_array(words: int) -> tuple[int, mmap.mmap]:
    """An array map of one value of ``words`` 64-bit words: its descriptor, and the value itself, mapped.

    Raises:
        OSError: not permitted (CAP_BPF), or an older kernel.
    """
    fd = _bpf(_MAP_CREATE, struct.pack("=5I", _MAP_TYPE_ARRAY, 4, 8 * words, 1, _F_MMAPABLE))
    try:
        return fd, mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    except BaseException:
        os.close(fd)
        raise


def load_xdp(program: Program) -> int:
    """The descriptor of a program that the verifier accepted. It calls no helper that is GPL only.

    Raises:
        OSError: refused; the text ends with the verifier's last line.
    """
    code = program.code()
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    log = ctypes.create_string_buffer(_LOG_BYTES)
    start = struct.pack("=IIQQ", _PROG_TYPE_XDP, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(licence))
    try:
        return _bpf(_PROG_LOAD, start + bytes(24))
    except OSError as refused:
        try:
            return _bpf(_PROG_LOAD, start + struct.pack("=IIQII", 1, _LOG_BYTES, ctypes.addressof(log), 0, 0))
        except OSError:
            said = log.value.decode("ascii", "replace").strip().splitlines()
            why = next((line for line in reversed(said) if line and not line.startswith(("processed", "verification"))), "")
            raise OSError(refused.errno, f"{refused.strerror} {why}".strip()) from refused


def run_live(program_fd: int, frame: bytes, ifindex: int, repeat: int) -> None:
    """Runs an XDP program on ``repeat`` copies of a frame as if an interface of this namespace had received them.

    What it passes goes up the network stack on this CPU. Costs about 20 ms more at its end, whatever ``repeat`` is.

    Raises:
        OSError: EINVAL from kernels before 5.18, or where the interface has no XDP queue (veth without GRO); EINTR: a signal
            ended it, between two batches of 64.
    """
    data = ctypes.create_string_buffer(frame, len(frame))
    context = struct.pack("=6I", 0, len(frame), 0, ifindex, 0, 0)
    held = ctypes.create_string_buffer(context, len(context))
    frames = struct.pack("=4I2Q", program_fd, 0, len(frame), 0, ctypes.addressof(data), 0)
    contexts = struct.pack("=4I2Q", repeat, 0, len(context), 0, ctypes.addressof(held), 0)
    _bpf(_PROG_TEST_RUN, frames + contexts + struct.pack("=4I", _F_TEST_XDP_LIVE_FRAMES, 0, 0, 0))
