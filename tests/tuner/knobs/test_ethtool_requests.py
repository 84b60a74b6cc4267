"""Requests as bytes: what ethtool(8) itself hands to the kernel for the same wish is the oracle."""

import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tuner.host import flow_rules, rss
from tuner.host.flow_rules import DROP, Flow, FlowTable, Rule
from tuner.knobs.rss import entries

SHIM = Path(__file__).parent / "ethtool_shim.c"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., bytes]]:
    """What ethtool asks a NIC to set, as bytes."""
    for program in ("ethtool", "gcc"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    place = tmp_path_factory.mktemp("shim")
    built = subprocess.run(["gcc", "-shared", "-fPIC", "-o", f"{place}/shim.so", SHIM, "-ldl"], capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"the headers of ethtool's requests are not installed: {built.stderr[:200]}")

    def ask(*words: str) -> bytes:
        out = place / "asked"
        out.unlink(missing_ok=True)
        environment = os.environ | {"LD_PRELOAD": f"{place}/shim.so", "QUIETCORE_SHIM": str(out)}
        subprocess.run(["ethtool", *words], env=environment, capture_output=True, check=True, timeout=10)
        return bytes.fromhex(out.read_text().strip())

    return ask


class Recorder:
    """Takes requests in the kernel's place."""

    def __init__(self) -> None:
        self.taken = b""

    def __call__(self, request: bytes) -> bytes:
        self.taken = request
        return request


@pytest.mark.parametrize(
    ("words", "flow", "queue"),
    [
        (("udp4", "dst-ip", "239.1.1.1", "dst-port", "30001", "action", "3"), Flow("udp", "239.1.1.1", 30001), 3),
        (("tcp4", "src-ip", "10.0.0.1", "dst-port", "9000", "action", "-1"), Flow("tcp", "", 9000, "10.0.0.1"), DROP),
        (("udp4", "src-port", "7", "dst-ip", "10.1.2.3", "action", "0"), Flow("udp", "10.1.2.3", 0, "", 7), 0),
    ],
)
def test_a_rule_is_the_rule_that_ethtool_inserts(
    asked: Callable[..., bytes], words: tuple[str, ...], flow: Flow, queue: int
) -> None:
    theirs = asked("-N", "lo", "flow-type", *words)
    rule = Rule(15, flow, queue)  # the highest of the shim's 16 places
    assert flow_rules.rule_request(rule) == theirs
    assert flow_rules.parse_rule(theirs) == rule


def test_a_place_is_chosen_as_ethtool_chooses_it() -> None:
    taken = {place: Rule(place, None, 0) for place in (15, 14, 3)}
    assert flow_rules.free_place(FlowTable(taken, 16)) == 13
    assert flow_rules.free_place(FlowTable({}, 0, places_itself=True)) == 0xFFFFFFFF
    with pytest.raises(OSError, match="no free place"):
        flow_rules.free_place(FlowTable({0: Rule(0, None, 0)}, 1))


def test_a_foreign_rule_is_not_taken_for_one_of_ours(asked: Callable[..., bytes]) -> None:
    for words in (("ether", "proto", "0x88f7"), ("udp4", "dst-ip", "239.0.0.0", "m", "0.255.255.255"), ("udp4", "tos", "4")):
        raw = asked("-N", "lo", "flow-type", *words, "action", "1")
        assert flow_rules.parse_rule(raw).flow is None, words
    ours = bytearray(flow_rules.rule_request(Rule(3, Flow("udp", "239.1.1.1", 1), 2)))
    struct.pack_into("=I", ours, 16, 0x80000002)  # FLOW_EXT, as ixgbe gives every rule back
    assert flow_rules.parse_rule(bytes(ours)).flow == Flow("udp", "239.1.1.1", 1)
    struct.pack_into("=I", ours, 16, 0x20000002)  # FLOW_RSS: to a context, not to a queue
    assert flow_rules.parse_rule(bytes(ours)).flow is None


@pytest.mark.parametrize(
    ("words", "table"),
    [(("equal", "4"), "equal:4"), (("weight", "3", "1"), "weights:3,1"), (("weight", "1", "0", "5"), "weights:1,0,5")],
)
def test_a_table_is_the_table_that_ethtool_sets(asked: Callable[..., bytes], words: tuple[str, ...], table: str) -> None:
    recorder = Recorder()
    rss.write_table(recorder, entries(table, 128, 8))
    assert recorder.taken == asked("-X", "lo", *words)


def test_default_key_and_fields_are_asked_for_as_ethtool_does(asked: Callable[..., bytes]) -> None:
    recorder = Recorder()
    rss.write_table(recorder, None)
    assert recorder.taken == asked("-X", "lo", "default")
    key = bytes(range(40))
    rss.write_key(recorder, key)
    assert recorder.taken == asked("-X", "lo", "hkey", key.hex(":"))
    rss.write_hash_fields(recorder, "udp4", "sdfn")
    # what follows the fields, ethtool leaves as its stack was, and the kernel does not read
    assert recorder.taken[:16] == asked("-N", "lo", "rx-flow-hash", "udp4", "sdfn")[:16]
    rss.write_hash_fields(recorder, "tcp6", "vt")
    assert recorder.taken[:16] == asked("-N", "lo", "rx-flow-hash", "tcp6", "vt")[:16]


def test_a_table_that_no_nic_can_have_is_refused() -> None:
    def absurd(request: bytes) -> bytes:
        return request[:8] + struct.pack("=II", 1 << 30, 40) + request[16:]

    with pytest.raises(OSError, match="are none"):
        rss.read_rss(absurd)


def test_a_flow_table_is_read_whole() -> None:
    rules = {9: Rule(9, Flow("udp", "239.1.1.1", 30001), 2), 4: Rule(4, Flow("tcp", "", 80), DROP)}

    def nic(request: bytes) -> bytes:
        (command,) = struct.unpack_from("=I", request)
        raw = bytearray(request)
        if command == 0x2E:
            struct.pack_into("=I", raw, 184, len(rules))
        elif command == 0x30:
            struct.pack_into("=Q", raw, 8, 16)
            struct.pack_into(f"={len(rules)}I", raw, 188, *rules)
        else:
            (place,) = struct.unpack_from("=I", request, 176)
            return flow_rules.rule_request(rules[place])
        return bytes(raw)

    assert flow_rules.read_flow_table(nic) == FlowTable(rules, 16)
