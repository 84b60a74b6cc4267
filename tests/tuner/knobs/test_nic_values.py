"""Coalescing, features, pause, flags, EEE, FEC: what drivers mean, and what is refused before it is written."""

import errno
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine import Sim, tree_of
from nic_namespace import apply_and_roll_back
from port import Faults, faulty

from tuner.host import ethtool_values
from tuner.host.ethtool_values import read_values, supported_coalesce, write_values
from tuner.knobs.catalogue import knob_of
from tuner.knobs.coalesce import rounded
from tuner.knobs.knob import Reading

HEAD = 'summary = "x"\n[bind]\nfeed = "nic"\n[nic.feed]\n'


def as_driver(sim: Sim, driver: str) -> Sim:
    link = Path(sim.root, "sys/class/net/eth2/device/driver")
    link.unlink()
    link.symlink_to(f"../../../../bus/pci/drivers/{driver}")
    return Sim(sim.root, sim.state, tree_of(sim.root))


def change_document(sim: Sim, **parts: Any) -> Sim:
    """Another NIC: parts of its document replaced, None for none."""
    path = Path(sim.root, "ethtool/eth2.json")
    document = json.loads(path.read_text()) | parts
    from tuner.host.simulated.documents import canonical

    path.write_text(canonical({name: part for name, part in document.items() if part is not None}))
    return Sim(sim.root, sim.state, tree_of(sim.root))


def states(sim: Sim, text: str) -> dict[str, tuple[str, Any]]:
    return {c.knob: (c.state, c.effective) for c in sim.plan(sim.profile(HEAD + text)).changes}


# ------------------------------------------------------------------------------------------------------------- coalescing


def requests_of(sim: Sim, text: str) -> list[str]:
    faults = Faults()
    result = sim.apply(sim.profile(HEAD + text), host=faulty(sim, faults))
    assert result.outcome == "confirmed", result.error
    return [made for made in faults.made if made.startswith("set_")]


def test_all_of_a_group_is_one_request(sim: Sim) -> None:
    """The driver refuses times while it adapts them: one after the other in the order of the file would not do."""
    made = requests_of(
        sim, "coalesce = { rx_usecs = 0, rx_frames = 1, adaptive_rx = false }\npause = { rx = false, tx = false }\n"
    )
    assert len(made) == 2
    assert "'pause', {'rx': False, 'tx': False}" in made[0]
    assert "'rx_usecs': 0" in made[1]
    assert "'adaptive_rx': False" in made[1]
    sim.json("rollback", status=0)
    assert sim.changed() == []


def test_each_of_a_group_is_undone_by_itself(sim: Sim) -> None:
    requests_of(sim, "coalesce = { adaptive_rx = false, rx_usecs = 10, rx_frames = 1 }\n")
    sim.host.syscalls.set_nic_values("eth2", "coalesce", {"rx_frames": 33})  # somebody else, since
    undone = {each["knob"]: each["result"] for each in sim.json("rollback", status=0)["undone"]}
    assert undone == {
        "nic.coalesce.adaptive_rx": "restored",
        "nic.coalesce.rx_usecs": "restored",
        "nic.coalesce.rx_frames": "skipped",
    }
    now = sim.host.syscalls.nic_values("eth2", "coalesce")
    assert (now["adaptive_rx"], now["rx_usecs"], now["rx_frames"]) == (True, 1, 33)


def test_a_value_that_comes_back_only_with_the_others(sim: Sim) -> None:
    """Somebody made it adaptive again: the old microseconds are refused alone, and are what they were all the same."""
    requests_of(sim, "coalesce = { adaptive_rx = false, rx_usecs = 10 }\n")
    sim.host.syscalls.set_nic_values("eth2", "coalesce", {"adaptive_rx": True})
    sim.json("rollback", status=0)
    assert sim.changed() == []


@pytest.mark.parametrize(
    ("driver", "usecs", "said"),
    [
        ("igb", 2, "igb refuses 2 µs"),
        ("igb", 7, "0, or 10 to 10000"),
        ("e1000e", 5, "0, or 4 to 10000"),
        ("ixgbe", 1023, "1022"),
    ],
)
def test_what_the_driver_would_refuse_is_a_fault_of_the_plan(sim: Sim, driver: str, usecs: int, said: str) -> None:
    sim = as_driver(sim, driver)
    assert said in sim.json("plan", sim.profile(f"{HEAD}coalesce = {{ rx_usecs = {usecs} }}\n"), status=1)["error"]


@pytest.mark.parametrize("driver", ["igb", "igc", "ixgbe", "e1000e"])
def test_one_microsecond_is_not_one_microsecond(sim: Sim, driver: str) -> None:
    sim = as_driver(sim, driver)
    plan = sim.json("plan", sim.profile(HEAD + "coalesce = { rx_usecs = 1 }\n"), status=0)
    assert "moderated by load" in plan["changes"][0]["effective"]
    assert f"1 is not 1 µs on {driver}" in plan["warnings"][0]


def test_what_drivers_round_to(sim: Sim) -> None:
    knob = knob_of("nic.coalesce.rx_usecs")
    assert knob.compare(Reading(6, 6), 5) == knob.compare(Reading(4, 4), 5) == "ok-rounded"  # i40e up, ice down
    assert knob.compare(Reading(7042, 7042), 7000) == "ok-rounded"  # e1000e: 142 interrupts a second
    assert knob.compare(Reading(8, 8), 9) == "ok-rounded"
    assert knob.compare(Reading(50, 50), 10) == knob.compare(Reading(1, 1), 0) == knob.compare(Reading(12, 12), 10) == "differs"
    assert knob_of("nic.coalesce.rx_frames").compare(Reading(2, 2), 1) == "differs"
    assert rounded(0) == frozenset()


def test_a_driver_that_takes_it_and_keeps_its_own_is_rolled_back(sim: Sim) -> None:
    calls: list[str] = []
    result = sim.apply(
        sim.profile(HEAD + "coalesce = { tx_frames = 5 }\n"), host=faulty(sim, Faults(at={1: lambda: calls.append("ignored")}))
    )
    assert calls
    assert result.outcome == "rolled-back"
    assert "reads back 64" in result.error
    assert sim.changed() == []


def test_what_the_driver_has_not_stays_out_of_the_request(sim: Sim) -> None:
    sim = change_document(sim, coalesce={"rx_usecs": 3})
    text = "coalesce = { adaptive_rx = false, rx_usecs = 0, rx_frames = 1 }\n"
    assert states(sim, text)["nic.coalesce.rx_frames"][0] == states(sim, text)["nic.coalesce.adaptive_rx"][0] == "unsupported"
    (made,) = requests_of(sim, text)
    assert made.startswith("set_nic_values ('eth2', 'coalesce', {'rx_usecs': 0})")
    without = change_document(sim, coalesce=None)
    assert {state for state, _ in states(without, text).values()} == {"unsupported"}


def test_ixgbe_and_mlx5_may_reset_for_it_and_others_do_not(sim: Sim) -> None:
    text = "coalesce = { rx_usecs = 0, adaptive_rx = false }\n"
    assert {c.disruption for c in sim.plan(sim.profile(HEAD + text)).changes} == {"link"}
    assert {c.disruption for c in as_driver(sim, "ice").plan(sim.profile(HEAD + text)).changes} == {"none"}


def test_netlink_says_which_values_there_are() -> None:
    names = [n for n in os.listdir("/sys/class/net") if os.path.exists(f"/sys/class/net/{n}/device")]
    for name in names:
        try:
            there = supported_coalesce(name)
        except OSError as error:
            assert error.errno == errno.EOPNOTSUPP  # noqa: PT017
            continue
        assert there is None or there <= set(ethtool_values.COALESCE_FIELDS)
    with pytest.raises(OSError, match="Operation not supported"):
        supported_coalesce("lo")
    with pytest.raises(OSError, match="No such device"):
        supported_coalesce("no-such-nic")


# --------------------------------------------------------------------------------------------------------------- features


def test_short_names_and_fixed_features(sim: Sim) -> None:
    found = states(sim, "features = { tso = false, gro = false, rx-lro = true, highdma = true, hw-tc-offload = true }\n")
    assert found["nic.features.tx-tcp-segmentation"] == ("differs", True)
    assert found["nic.features.rx-lro"] == ("differs", False)
    assert found["nic.features.highdma"] == ("ok", True)  # fixed, and as it is wanted
    assert found["nic.features.hw-tc-offload"][0] == "unsupported"
    assert states(sim, "features = { highdma = false }\n")["nic.features.highdma"] == ("unsupported", True)


def test_a_single_feature_overrules_the_short_name_of_several(sim: Sim) -> None:
    text = "features = { tso = false, tx-tcp-segmentation = true }\n"
    (change,) = sim.plan(sim.profile(HEAD + text)).changes
    assert (change.wanted, change.state) == (True, "ok")


def test_what_is_asked_for_and_not_in_force_differs(sim: Sim) -> None:
    """gro off takes gro in hardware with it; a profile that wants that one on is told, and all is rolled back."""
    result = sim.apply(sim.profile(HEAD + "features = { gro = false, gro_hw = true }\n"))
    assert result.outcome == "rolled-back"
    assert "rx-gro-hw on eth2 was right and is now" in result.error
    assert sim.changed() == []


def test_switching_gro_off_disturbs_where_it_takes_hardware_with_it(sim: Sim) -> None:
    profile = sim.profile(HEAD + "features = { gro = false, gso = false }\n")
    assert [c.disruption for c in sim.plan(profile).changes] == ["link", "none"]
    features = json.loads(sim.text("/ethtool/eth2.json"))["features"]
    without = change_document(sim, features={n: row for n, row in features.items() if n != "rx-gro-hw"})
    assert {c.disruption for c in without.plan(profile).changes} == {"none"}
    assert without.json("apply", profile, status=0)["outcome"] == "confirmed"  # no --allow


def test_an_unknown_feature_is_a_fault_with_a_guess(sim: Sim) -> None:
    assert "did you mean rx-gro?" in sim.json("plan", sim.profile(HEAD + "features = { rx-grow = false }\n"), status=1)["error"]


def test_features_of_a_real_veth(tmp_path: Path) -> None:
    found = apply_and_roll_back(
        HEAD + "features = { gro = true, tso = false, rx-gro-list = true, lro = false, rxhash = true }\n",
        str(tmp_path / "state"),
    )
    assert found["applied"][0] == 0, found["applied"]
    changed = {name for name, row in found["during"]["features"].items() if row != found["before"]["features"][name]}
    assert {"rx-gro", "rx-gro-list", "tx-tcp-segmentation", "tx-tcp6-segmentation"} <= changed
    assert found["during"]["features"]["rx-gro"][:2] == [True, True]
    by_knob = {c["knob"]: c["state"] for c in found["verify"][1]["changes"]}
    assert by_knob["nic.features.rx-lro"] == "ok"  # fixed off
    assert by_knob["nic.features.rx-hashing"] == "unsupported"
    assert found["rollback"][0] == 0
    assert found["after"] == found["before"]


# ------------------------------------------------------------------------------- pause, flags, EEE, FEC: requests and knobs


class Driver:
    """One driver behind SIOCETHTOOL: structures as include/uapi/linux/ethtool.h has them."""

    def __init__(self) -> None:
        self.pause = [1, 1, 1]
        self.flags = 0b10
        self.eee = [0, 1, 2, 3, 1, 1, 1, 17, 0, 0]
        self.fec = [2, 8]  # configured auto, active rs
        self.copybreak = 256

    def __call__(self, raw: bytes) -> bytes:
        (command,) = struct.unpack_from("=I", raw)
        answers = {
            0x12: lambda: struct.pack("=4I", command, *self.pause),
            0x37: lambda: struct.pack("=IIQI", command, 0, 1 << 2, 2),
            0x1B: lambda: raw[:12] + b"legacy-rx".ljust(32, b"\0") + b"vf \xff".ljust(32, b"\0") + bytes(len(raw) - 76),
            0x27: lambda: struct.pack("=II", command, self.flags),
            0x44: lambda: struct.pack("=10I", command, *self.eee[1:]),
            0x50: lambda: struct.pack("=4I", command, self.fec[1], self.fec[0], 0),
            0x48: lambda: raw[:16] + struct.pack("=I", self.copybreak),
        }
        return answers[command]() if command in answers else self.take(command, raw)

    def take(self, command: int, raw: bytes) -> bytes:
        words = list(struct.unpack(f"={len(raw) // 4}I", raw))
        if command == 0x13:
            self.pause = words[1:4]
        elif command == 0x28:
            self.flags = words[1]
        elif command == 0x45:
            self.eee = words
        elif command == 0x51:
            self.fec = [words[2], words[2]]
        elif command == 0x49:
            assert words[1:4] == [1, 3, 4]
            self.copybreak = words[4]
        return raw


def test_requests_read_and_write_their_structures() -> None:
    driver = Driver()
    assert read_values(driver, "pause") == {"autoneg": True, "rx": True, "tx": True}
    write_values(driver, "pause", {"tx": False, "autoneg": False})
    assert driver.pause == [0, 1, 0]
    assert read_values(driver, "private_flags") == {"legacy-rx": False, "vf \udcff": True}
    write_values(driver, "private_flags", {"legacy-rx": True})
    assert driver.flags == 0b11
    assert read_values(driver, "eee") == {"enabled": True, "active": True}
    write_values(driver, "eee", {"enabled": False})
    assert driver.eee[1:8] == [1, 2, 3, 1, 0, 1, 17]
    assert read_values(driver, "fec") == {"mode": "auto", "active": "rs"}
    write_values(driver, "fec", {"mode": "baser"})
    assert driver.fec == [16, 16]
    write_values(driver, "tunables", {"rx_copybreak": 0})
    assert read_values(driver, "tunables") == {"rx_copybreak": 0}
    with pytest.raises(OSError, match="no bogus"):
        write_values(driver, "private_flags", {"bogus": True})


def test_a_driver_that_announces_nonsense_has_no_flags() -> None:
    def request(raw: bytes) -> bytes:
        return struct.pack("=IIQI", 0x37, 0, 4, 4_000_000_000)

    with pytest.raises(OSError, match="not supported"):
        read_values(request, "private_flags")


def test_flags_that_the_driver_has_not_are_unsupported_and_say_what_it_has(sim: Sim) -> None:
    (change,) = sim.plan(sim.profile(HEAD + "private_flags = { rx_cqe_compress = false }\n")).changes
    assert (change.state, change.disruption) == ("unsupported", "link")
    assert "it has legacy-rx, vf-ipsec" in (change.error or "")


def test_a_flag_with_a_hostile_name_is_a_fault(sim: Sim) -> None:
    profile = sim.profile(HEAD + 'private_flags = { "a\\u001b[2J" = true }\n')
    assert "not the name of a flag" in sim.json("plan", profile, status=1)["error"]


def test_fec_is_what_the_link_uses(sim: Sim) -> None:
    assert states(sim, 'fec = "auto"\n')["nic.fec"] == ("ok", "rs")
    down = change_document(sim, fec={"mode": "rs", "active": "none"})
    assert states(down, 'fec = "rs"\n')["nic.fec"] == ("unverifiable", "none")
    other = change_document(sim, fec={"mode": "rs", "active": "baser"})
    assert states(other, 'fec = ["rs", "baser"]\n')["nic.fec"] == ("differs", "baser")


def test_pause_that_is_agreed_is_warned_of(sim: Sim) -> None:
    agreed = change_document(sim, pause={"autoneg": True, "rx": True, "tx": True})
    plan = agreed.plan(agreed.profile(HEAD + "pause = { rx = false }\n"))
    assert "agrees rx and tx with its partner" in plan.warnings[0]
    assert agreed.plan(agreed.profile(HEAD + "pause = { rx = false, autoneg = false }\n")).warnings == ()


def test_what_drops_the_link_waits_for_permission(sim: Sim) -> None:
    for text in ("eee = false", 'fec = "off"', "pause = { rx = false }", "private_flags = { legacy-rx = true }"):
        refused = sim.json("apply", sim.profile(f"{HEAD}{text}\n"), status=4)
        assert "--allow link" in refused["error"], text
    assert sim.json("apply", sim.profile(HEAD + "rx_copybreak = 0\n"), status=0)["outcome"] == "confirmed"


@pytest.mark.parametrize("archive", ["lab-8cpu-2numa", "intel-2node-16core-i350-connectx3"])
def test_a_captured_host_without_driver_answers_is_planned(
    captured_host: Callable[[str], str], archive: str, tmp_path: Path
) -> None:
    root = captured_host(archive)
    names = sorted(n for n in os.listdir(f"{root}/sys/class/net") if os.path.exists(f"{root}/sys/class/net/{n}/device"))
    sim = Sim(root, str(tmp_path / "state"), {})
    text = (Path(__file__).parents[2] / "faults/knobs/nic_driver.toml").read_text().replace('feed = "2-3"', 'feed = "1-2"')
    plan = sim.plan(sim.profile(text), {"feed": names[-1]})
    assert {c.state for c in plan.changes if c.knob.startswith("nic.")} <= {"unsupported"}
