"""Classic BPF, the kernel's language for socket filters: instructions, and an assembler with labels.

An instruction is struct sock_filter (linux/filter.h): code, jump if true, jump if false, k. A program has an accumulator A, an
index X, and ends with how many bytes of the packet are taken; 0 is none. Jumps go forward only. A load from beyond the packet
ends the program with 0 (net/core/filter.c convert_bpf_ld_abs), so a test must know before that its bytes are there.
"""

from dataclasses import dataclass

Instruction = tuple[int, int, int, int]
Program = tuple[Instruction, ...]

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_FARTHEST = 255  # conditional jumps have eight bits

LOAD_WORD = 0x20  # A = 32 bits of the packet at k
LOAD_HALF = 0x28
LOAD_BYTE = 0x30
LOAD_HALF_INDEXED = 0x48  # A = 16 bits at X + k
LOAD_LENGTH = 0x80  # A = skb->len, paged data included
LOAD_X_HEADER_LENGTH = 0xB1  # X = 4 * (the byte at k & 15): BPF_MSH, made for the IPv4 header
ADD = 0x04
SUBTRACT_X = 0x1C
AND = 0x54
JUMP = 0x05
JUMP_EQUAL = 0x15
JUMP_GREATER = 0x25
JUMP_NOT_LESS = 0x35
JUMP_ANY_BIT = 0x45
RETURN = 0x06

# What is not in the packet: SKF_AD_OFF + SKF_AD_*.
PROTOCOL = 0xFFFFF000  # skb->protocol
PACKET_TYPE = 0xFFFFF004  # skb->pkt_type
VLAN_TAG = 0xFFFFF02C  # skb->vlan_tci
VLAN_TAG_PRESENT = 0xFFFFF030
NETWORK = 0xFFF00000  # SKF_NET_OFF: from here on k counts from the network header

PACKET_BROADCAST = 1
PACKET_MULTICAST = 2
PACKET_OUTGOING = 4
WHOLE_PACKET = 0xFFFFFFFF

TAKE_NOTHING: Program = ((RETURN, 0, 0, 0),)
# PACKET_IGNORE_OUTGOING spares the kernel a clone but is younger than 4.20, and does not reach into a fanout group.
TAKE_RECEIVED: Program = (
    (LOAD_WORD, 0, 0, PACKET_TYPE),
    (JUMP_EQUAL, 0, 1, PACKET_OUTGOING),
    (RETURN, 0, 0, 0),
    (RETURN, 0, 0, WHOLE_PACKET),
)


class ProgramTooLong(ValueError):
    """More instructions than the kernel takes; ``count`` is how many."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} instructions; the kernel takes {MAX_INSTRUCTIONS}")
        self.count = count


class Label:
    """A place in a program, known before it is reached."""


@dataclass(slots=True)
class _Line:
    """One instruction. A conditional one has ``yes`` and ``no``; what is too far for it goes by a jump of its own."""

    code: int
    k: int = 0
    yes: Label | None = None
    no: Label | None = None
    far_yes: bool = False
    far_no: bool = False

    @property
    def size(self) -> int:
        return 1 + self.far_yes + self.far_no


class Assembly:
    """A program in the making: instructions in order, jumps to labels that are placed later."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []
        self._places: dict[Label, int] = {}
        self._used: set[Label] = set()

    def add(self, code: int, k: int = 0) -> None:
        """An instruction that goes on to the next."""
        self._lines.append(_Line(code, k))

    def go(self, label: Label) -> None:
        """A jump to ``label``, whatever A is."""
        self._lines.append(_Line(JUMP, yes=label))
        self._used.add(label)

    def jump(self, code: int, k: int, yes: Label, no: Label) -> None:
        """A jump to one of two labels by comparing A with ``k``."""
        self._lines.append(_Line(code, k, yes, no))
        self._used |= {yes, no}

    def place(self, label: Label) -> None:
        """``label`` is the next instruction. Every jump to it must have been added before."""
        self._places[label] = len(self._lines)

    def is_used(self, label: Label) -> bool:
        """Whether any jump so far goes there."""
        return label in self._used

    def program(self) -> Program:
        """The finished program.

        Raises:
            ProgramTooLong: more than 4096 instructions.
        """
        starts = self._lengthened()
        if starts[-1] > MAX_INSTRUCTIONS:
            raise ProgramTooLong(starts[-1])
        code: list[Instruction] = []
        for line in self._lines:
            at = len(code)
            yes, no = (self._start(starts, label) for label in (line.yes, line.no))
            if line.yes is None:
                code.append((line.code, 0, 0, line.k))
            elif line.no is None:
                code.append((line.code, 0, 0, yes - at - 1))
            else:
                # the two jumps stand behind it: first that of yes, then that of no
                near_yes = 0 if line.far_yes else yes - at - 1
                near_no = int(line.far_yes) if line.far_no else no - at - 1
                code.append((line.code, near_yes, near_no, line.k))
                code += [(JUMP, 0, 0, yes - len(code) - 1)] if line.far_yes else []
                code += [(JUMP, 0, 0, no - len(code) - 1)] if line.far_no else []
        return tuple(code)

    def _start(self, starts: list[int], label: Label | None) -> int:
        return starts[self._places[label]] if label is not None else 0

    def _lengthened(self) -> list[int]:
        """Where each line begins, once every jump that is too far has got its own. A jump never becomes near again."""
        while True:
            starts = [0]
            for line in self._lines:
                starts.append(starts[-1] + line.size)
            changed = False
            for line, start in zip(self._lines, starts, strict=False):
                if line.no is None:
                    continue
                far_yes = line.far_yes or self._start(starts, line.yes) - start - 1 > _FARTHEST
                far_no = line.far_no or self._start(starts, line.no) - start - 1 > _FARTHEST
                changed |= (far_yes, far_no) != (line.far_yes, line.far_no)
                line.far_yes, line.far_no = far_yes, far_no
            if not changed:
                return starts
