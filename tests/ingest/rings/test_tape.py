"""Tapes: what a walker puts on one, what of it reaches a file, and that the two kinds hold the same bytes."""

import os
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from ring_images import NOW_NS, Packet, block, blocks, frames, mold, udp4
from test_walkers import rings
from walker_kinds import KINDS, native_or_skip

from ingest.feeds.formats import parse_feed
from ingest.rings.capture import CaptureFile
from ingest.rings.layout import V2, Area, Following
from ingest.rings.pcapng_writer import file_header
from ingest.rings.tape import PythonTape, Tape, open_tape
from ingest.rings.walk import Walker
from ingest.rings.walk_native import NativeWalker
from ingest.rings.walk_python import PythonWalker

HEADER = file_header("eth0", 1, 0, None, "")
ENOUGH = 1 << 40
Kind = type[Walker]


@pytest.fixture(params=["native", "numpy", "python"])
def kind(request: pytest.FixtureRequest) -> Kind:
    if request.param == "native":
        native_or_skip()
    return KINDS[request.param]


def tape_for(kind: Kind, packets: int = ENOUGH, octets: int = ENOUGH, tagged: bool = True, capacity: int = 1 << 20) -> Tape:
    return open_tape(kind.name, packets, octets, tagged=tagged, capacity=capacity)


def pumped(tape: Tape, path: Path) -> bytes:
    with path.open("ab", buffering=0) as file:
        while tape.pump(file.fileno()):
            pass
    return path.read_bytes()


def taped(kind: Kind, areas: list[Area], path: Path, tape: Tape) -> bytes:
    walker = kind(areas, None, NOW_NS)
    walker.keep(tape)
    walker.drain()
    walker.close()
    return pumped(tape, path)


@pytest.mark.parametrize("version", [2, 3])
def test_what_was_put_is_what_was_received(kind: Kind, version: int, tmp_path: Path) -> None:
    packets = [Packet(udp4(mold(n, 1, bytes(n))), age_ns=1_000_000 - n) for n in range(1, 31)]
    area = frames(packets, 32) if version == V2 else blocks([block(packets, 8192)], 1)
    tape = tape_for(kind)
    path = tmp_path / "a.pcapng"
    path.write_bytes(HEADER)
    taped(kind, [area], path, tape)
    assert tape.counts().written == 30
    assert path.stat().st_size == len(HEADER) + tape.tail
    with CaptureFile.open(str(path), following=Following((parse_feed("moldudp64"),))) as file:
        list(file.run())
        report = file.report()
    assert report.error is None
    assert report.total.walked.packets == report.followed.streams[0].received == 30
    assert report.total.walked.bytes == sum(14 + len(packet.data) for packet in packets)
    assert report.capture is not None
    assert (report.capture.first_ns, report.capture.last_ns) == (NOW_NS - 999_999, NOW_NS - 999_970)
    tape.close()


def test_a_cut_packet_keeps_its_length(kind: Kind, tmp_path: Path) -> None:
    area = frames([Packet(udp4(mold(1, 1, bytes(1400))), length=1462)], 4, 256)
    tape = tape_for(kind)
    record = taped(kind, [area], tmp_path / "a", tape)
    assert struct.unpack_from("=II", record, 20) == (190, 1462)
    tape.close()


VLAN = [  # tp_status, what stands between the addresses and the ethertype
    (1, b""),
    (1 | 1 << 4, b"\x81\x00\x20\x05"),
    (1 | 1 << 4 | 1 << 6, b"\x88\xa8\x20\x05"),
]


@pytest.mark.parametrize(("status", "tag"), VLAN)
@pytest.mark.parametrize("version", [2, 3])
def test_the_tag_that_the_kernel_took_out_is_put_back(
    kind: Kind, version: int, status: int, tag: bytes, tmp_path: Path
) -> None:
    packet = Packet(udp4(mold(1)), status=status)
    area = frames([packet], 2) if version == V2 else blocks([block([packet])], 1)
    if version == V2:
        struct.pack_into("=HH", area.memory, 24, 0x2005, 0x88A8)
    else:
        struct.pack_into("=IH", area.memory, 48 + 32, 0x2005, 0x88A8)
    copies = [Area(bytearray(area.memory), area.version, area.unit_bytes, area.units) for _ in range(2)]
    ethernet = bytes(12) + tag + b"\x08\x00" + packet.data
    tape = tape_for(kind)
    record = taped(kind, [copies[0]], tmp_path / "a", tape)
    assert struct.unpack_from("=II", record, 20) == (len(ethernet), len(ethernet))
    assert record[28 : 28 + len(ethernet)] == ethernet
    tape.close()
    untagged = tape_for(kind, tagged=False)  # an interface that is not Ethernet
    record = taped(kind, [copies[1]], tmp_path / "b", untagged)
    assert struct.unpack_from("=I", record, 20) == (14 + len(packet.data),)
    untagged.close()


def test_what_finds_no_room_is_lost_and_the_rest_goes_on(kind: Kind, tmp_path: Path) -> None:
    tape = tape_for(kind, capacity=1024)
    walker = kind([area := frames([Packet(udp4(mold(n))) for n in range(20)], 20)], None, NOW_NS)
    image = bytes(area.memory)
    walker.keep(tape)
    written = 0
    for _ in range(3):  # the second and third turn wrap around the tape's end
        area.memory[:] = image
        walker.drain()
        written += 1024 // 96  # 32 + 62, padded
        pumped(tape, tmp_path / "a")
        assert tape.counts().written == written
    counts = tape.counts()
    assert (counts.lost, counts.after, counts.waiting, counts.ended) == (60 - written, 0, 0, False)
    data = (tmp_path / "a").read_bytes()
    assert [struct.unpack_from("=II", data, at) for at in range(0, len(data), 96)] == [(6, 96)] * written
    assert [data[at + 28 + 14 + 28 + 17] for at in range(0, len(data), 96)] == list(range(10)) * 3
    walker.close()
    tape.close()


@pytest.mark.parametrize(("packets", "octets", "fits"), [(7, ENOUGH, 7), (ENOUGH, 96 * 7, 7), (ENOUGH, 96 * 7 + 95, 7)])
def test_a_limit_ends_it(kind: Kind, packets: int, octets: int, fits: int, tmp_path: Path) -> None:
    short = Packet(b"")  # would fit, but then the file would not be the first packets
    images = [*[Packet(udp4(mold(n))) for n in range(10)], short]
    tape = tape_for(kind, packets, octets)
    assert len(taped(kind, [frames(images, 16)], tmp_path / "a", tape)) == fits * 96
    counts = tape.counts()
    assert (counts.written, counts.after, counts.lost, counts.ended) == (7, 4, 0, True)
    tape.close()


def test_a_file_that_takes_no_more(kind: Kind, tmp_path: Path) -> None:
    tape = tape_for(kind)
    walker = kind([frames([Packet(udp4(mold(n))) for n in range(10)], 16)], None, NOW_NS)
    walker.keep(tape)
    walker.drain()
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        tape.pump(full.fileno())
    assert tape.tail == 0
    counts = tape.counts()
    assert (counts.written, counts.waiting) == (0, 10)
    walker.close()
    tape.close()


def test_one_write_is_a_megabyte_at_most(kind: Kind, tmp_path: Path) -> None:
    big = [Packet(bytes(1900), length=1914) for _ in range(1000)]
    tape = tape_for(kind, capacity=4 << 20)
    walker = kind([frames(big, 1000, 2048)], None, NOW_NS)
    walker.keep(tape)
    walker.drain()
    with (tmp_path / "a").open("wb", buffering=0) as file:
        sizes = []
        while size := tape.pump(file.fileno()):
            sizes.append(size)
    assert sum(sizes) == 1000 * 1948
    assert max(sizes) <= 1 << 20
    assert len(sizes) == 2
    walker.close()
    tape.close()


def test_while_one_thread_puts_another_writes(kind: Kind, tmp_path: Path) -> None:
    area = frames([Packet(udp4(mold(n))) for n in range(200)], 200)
    image = bytes(area.memory)
    tape = tape_for(kind, capacity=1 << 14)
    walker = kind([area], None, NOW_NS)
    walker.keep(tape)
    done = threading.Event()

    def pump() -> None:
        with (tmp_path / "a").open("wb", buffering=0) as file:
            while True:
                last = done.is_set()
                if not tape.pump(file.fileno()) and last:
                    return

    thread = threading.Thread(target=pump)
    thread.start()
    for _ in range(100):
        area.memory[:] = image
        walker.drain()
    done.set()
    thread.join()
    counts = tape.counts()
    assert counts.written + counts.lost == 20_000
    assert (counts.waiting, counts.after) == (0, 0)
    data = (tmp_path / "a").read_bytes()
    assert len(data) == counts.written * 96 == tape.tail
    one = struct.unpack_from("=II", data)
    assert all(struct.unpack_from("=II", data, at) == one for at in range(0, len(data), 96))
    walker.close()
    tape.close()


def test_a_walker_takes_its_own_kind_only(kind: Kind) -> None:
    other = tape_for(NativeWalker) if kind is not NativeWalker else PythonTape(1, 1, tagged=False)
    walker: Walker = kind([frames([], 4)])
    with pytest.raises(TypeError, match="tape"):
        walker.keep(other)
    other.close()


@settings(max_examples=200, deadline=None)
@given(rings())
def test_both_kinds_hold_the_same_bytes_whatever_the_ring_holds(area: Area) -> None:
    native_or_skip()
    outcomes = []
    for kind in (NativeWalker, KINDS["numpy"], PythonWalker):
        tape = tape_for(kind, packets=20, octets=2000, capacity=1024)
        walker = kind([Area(bytearray(area.memory), area.version, area.unit_bytes, area.units)], None, NOW_NS)
        walker.keep(tape)
        walker.drain()
        end = os.memfd_create("tape")
        while tape.pump(end):
            pass
        outcomes.append((tape.counts(), tape.tail, os.pread(end, 1 << 20, 0)))
        os.close(end)
        walker.close()
        tape.close()
    assert outcomes[0] == outcomes[1] == outcomes[2]
