"""The real command on real kernel files, in a network namespace of the test's own: its sysctls are nobody else's (R1, R2, R7).

What is set here exists once per network namespace; the values of the namespace that the test runs in are compared at the end.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine import PROJECT, clean_environment, command_line

ALL = bool(os.environ.get("QUIETCORE_ALL_FAULTS"))
WANTED = {
    "net.core.somaxconn": "1234",
    "net.ipv4.igmp_max_memberships": "512",
    "net.ipv4.igmp_max_msf": "64",
    "net.ipv4.ip_local_port_range": "20000 50000",
    "net.ipv4.tcp_fin_timeout": "17",
    "net.ipv4.tcp_keepalive_time": "301",
    "net.ipv4.tcp_notsent_lowat": "131072",
    "net.ipv4.tcp_rmem": "4096 65536 16777216",
}
NAME = f"qct{os.getpid()}"


def path_of(key: str) -> str:
    return "/proc/sys/" + key.replace(".", "/")


def values(prefix: tuple[str, ...] = ()) -> dict[str, str]:
    """What stands in the files, one process for all."""
    done = subprocess.run([*prefix, "cat", *map(path_of, WANTED)], capture_output=True, text=True, check=True)
    return dict(zip(WANTED, (" ".join(line.split()) for line in done.stdout.splitlines()), strict=True))


@pytest.fixture(scope="module", autouse=True)
def _possible() -> Iterator[None]:
    for tool in ("ip", "strace"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes a network namespace")
    made = subprocess.run(["ip", "netns", "add", NAME], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
    subprocess.run(["ip", "netns", "del", NAME], check=True)
    missing = [key for key in WANTED if not os.path.exists(path_of(key))]
    if missing:
        pytest.skip(f"this kernel has no {missing[0]}")
    here = values()
    yield
    assert values() == here, "a sysctl of the test's own namespace was changed"


@dataclass(frozen=True, slots=True)
class Space:
    """A network namespace, a state directory and a profile."""

    inside: tuple[str, ...]
    state: str
    profile: str

    def values(self) -> dict[str, str]:
        return values(self.inside)

    def run(self, *arguments: str, tracer: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """The real command inside, perhaps under strace."""
        words = [*self.inside, *tracer, *command_line(*arguments, state=self.state)]
        return subprocess.run(words, cwd=PROJECT, env=clean_environment(), capture_output=True, text=True, timeout=60)

    def apply(self, *options: str, tracer: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return self.run("apply", self.profile, *options, tracer=tracer)

    def states(self) -> list[str]:
        history = json.loads(self.run("history", "--json").stdout)["transactions"]
        return [each["state"] for each in history]


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    profile = tmp_path / "net.toml"
    lines = [f'"{key}" = {value if value.isdigit() else json.dumps(value)}\n' for key, value in WANTED.items()]
    profile.write_text("[sysctl]\n" + "".join(lines))
    profile.chmod(0o644)
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    try:
        yield Space(("ip", "netns", "exec", NAME), str(tmp_path / "state"), str(profile))
    finally:
        subprocess.run(["ip", "netns", "del", NAME], check=True)


def strace(log: Path, *rules: str) -> tuple[str, ...]:
    words = [word for rule in rules for word in ("-e", rule)]
    return ("strace", "-f", "-qq", "-o", str(log), *words)


def test_apply_verify_and_rollback(space: Space) -> None:
    old = space.values()
    assert all(old[key] != value for key, value in WANTED.items()), old
    assert space.apply().returncode == 0
    assert space.values() == WANTED
    assert space.run("verify").returncode == 0
    again = space.apply("--json")
    assert json.loads(again.stdout)["changed"] is False
    subprocess.run([*space.inside, "sysctl", "-qw", "net.ipv4.tcp_fin_timeout=23"], check=True)
    assert space.run("verify").returncode == 2
    undone = json.loads(space.run("rollback", "--json").stdout)["undone"]
    assert [each["knob"] for each in undone if each["result"] == "skipped"] == ["sysctl.net.ipv4.tcp_fin_timeout"]
    assert space.values() == old | {"net.ipv4.tcp_fin_timeout": "23"}


def points(log: Path, calls: tuple[str, ...], wanted: int) -> list[tuple[str, int]]:
    """A spread of the calls that a whole command made; all of them on request."""
    lines = log.read_text().splitlines()
    every = [(call, n) for call in calls for n in range(1, 1 + sum(f" {call}(" in line for line in lines))]
    return every if ALL else every[:: max(1, len(every) // wanted)]


@pytest.mark.promise("R1")
def test_killed_anywhere_it_ends_all_old_or_all_new(space: Space, tmp_path: Path, held: Callable[[int], None]) -> None:
    old, log, calls = space.values(), tmp_path / "strace", ("write", "fsync")
    assert space.apply(tracer=strace(log, f"trace={','.join(calls)}")).returncode == 0
    assert space.run("rollback").returncode == 0
    seen = {"old": 0, "new": 0}
    for call, number in points(log, calls, 7):
        done = space.apply(tracer=strace(log, f"trace={call}", f"inject={call}:signal=SIGKILL:when={number}"))
        now = space.values()
        if done.returncode == 0:  # the first run of all makes its directories durable besides
            assert now == WANTED
        else:
            assert done.returncode in (-9, 137), (call, number, done.stderr)
            assert space.run("recover").returncode == 0, (call, number)
            now = space.values()
            assert now in (old, WANTED), (call, number, now)
            seen["old" if now == old else "new"] += 1
        if now == WANTED:
            assert space.run("rollback").returncode == 0
    assert seen["old"] >= 3
    held(sum(seen.values()))


@pytest.mark.promise("R1")
def test_a_rollback_that_is_killed_anywhere_is_ended(space: Space, tmp_path: Path, held: Callable[[int], None]) -> None:
    old, log = space.values(), tmp_path / "strace"
    assert space.apply().returncode == 0
    assert space.run("rollback", tracer=strace(log, "trace=write")).returncode == 0
    spread = points(log, ("write",), 4)
    for _, number in spread:
        assert space.apply().returncode == 0
        done = space.run("rollback", tracer=strace(log, "trace=write", f"inject=write:signal=SIGKILL:when={number}"))
        assert done.returncode in (-9, 137), (number, done.stderr)
        assert space.run("recover").returncode == 0, number
        # killed before its first record, it never began
        assert space.values() == (WANTED if space.states()[-1] == "confirmed" else old), number
        space.run("rollback")
        assert space.values() == old
    held(len(spread))


@pytest.mark.promise("R2")
@pytest.mark.parametrize(("key", "code"), [("net.ipv4.tcp_fin_timeout", "EINVAL"), ("net.ipv4.tcp_rmem", "EBUSY")])
def test_a_file_that_refuses_its_new_value(space: Space, tmp_path: Path, key: str, code: str) -> None:
    """Busy is asked again, twice; then all is undone, and the answer names setting, value and error."""
    old = space.values()
    tries = 3 if code == "EBUSY" else 1
    refusing = ("-P", path_of(key), "-e", f"inject=write:error={code}:when=1..{tries}")
    done = space.apply("--json", tracer=(*strace(tmp_path / "log", "trace=write"), *refusing))
    assert done.returncode == 5, (done.stdout, done.stderr)
    record = json.loads(done.stdout)
    assert record["outcome"] == "rolled-back"
    assert f"sysctl.{key} on host: writing {WANTED[key]}: {os.strerror(getattr(errno, code))}" in record["error"]
    assert space.values() == old
    assert space.states() == ["rolled-back"]


@pytest.mark.promise("R2")
def test_a_file_that_is_busy_for_a_moment(space: Space, tmp_path: Path) -> None:
    refusing = ("-P", path_of("net.ipv4.tcp_rmem"), "-e", "inject=write:error=EBUSY:when=1..2")
    assert space.apply(tracer=(*strace(tmp_path / "log", "trace=write"), *refusing)).returncode == 0
    assert space.values() == WANTED


def test_a_file_that_refuses_every_value_is_as_before(space: Space, tmp_path: Path) -> None:
    old = space.values()
    refusing = ("-P", path_of("net.ipv4.tcp_rmem"), "-e", "inject=write:error=EIO")
    done = space.apply(tracer=(*strace(tmp_path / "log", "trace=write"), *refusing))
    assert space.values() == old
    assert done.returncode == 5


@pytest.fixture
def values_before(space: Space) -> dict[str, str]:
    return space.values()


Veth = Callable[[], subprocess.CompletedProcess[str]]


@pytest.fixture
def veth(space: Space, values_before: object, tmp_path: Path) -> Veth:
    """Two interfaces in the namespace, and a profile applied that sets something of one of them."""
    subprocess.run(["ip", "-n", NAME, "link", "add", "qca", "type", "veth", "peer", "name", "qcb"], check=True)
    profile = tmp_path / "veth.toml"
    profile.write_text('[sysctl]\n"net.ipv4.conf.qca.rp_filter" = 2\n"net.ipv4.tcp_keepalive_time" = 301\n')
    profile.chmod(0o644)
    assert space.run("apply", str(profile)).returncode == 0
    return lambda: space.run("rollback", "--json")


def link(*words: str) -> None:
    subprocess.run(["ip", "-n", NAME, "link", *words], check=True)


@pytest.mark.promise("R7")
def test_an_interface_whose_name_another_one_took_is_not_written(space: Space, values_before: object, veth: Veth) -> None:
    link("set", "qca", "name", "qcx")
    link("set", "qcb", "name", "qca")
    subprocess.run([*space.inside, "sysctl", "-qw", "net.ipv4.conf.qca.rp_filter=1"], check=True)
    veth()
    taken = subprocess.run([*space.inside, "sysctl", "-n", "net.ipv4.conf.qca.rp_filter"], capture_output=True, text=True)
    assert taken.stdout == "1\n"
    assert space.values() == values_before


@pytest.mark.promise("R7")
def test_an_interface_that_is_deleted_keeps_nothing_else_from_being_restored(
    space: Space, values_before: object, veth: Veth
) -> None:
    link("del", "qca")
    veth()
    assert space.values() == values_before


def test_a_setting_of_an_interface_that_is_deleted_is_gone(veth: Veth) -> None:
    link("del", "qca")
    done = veth()
    assert {each["result"] for each in json.loads(done.stdout)["undone"]} == {"restored", "gone"}
    assert done.returncode == 0


READER = """
import sys, time
from tuner.host.host import Inventory, open_host
seen, until = set(), time.monotonic() + 1.5
print("ready", flush=True)
while time.monotonic() < until:
    inventory = Inventory(open_host())
    seen.add(tuple(nic.name for nic in inventory.nics))
    assert all(nic.identity.startswith("virtual/") for nic in inventory.nics), inventory.nics
    inventory.irqs
print(len(seen))
"""


@pytest.mark.promise("R7")
def test_interfaces_that_come_go_and_change_their_names_while_they_are_read(space: Space) -> None:
    reader = subprocess.Popen(
        [*space.inside, sys.executable, "-c", READER], cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    while reader.poll() is None:
        link("add", "qca", "type", "veth", "peer", "name", "qcz")
        for old, new in (("qca", "qcb"), ("qcb", "a:b"), ("a:b", "qca")):
            subprocess.run(["ip", "-n", NAME, "link", "set", old, "name", new], capture_output=True)
        link("del", "qcz")
    out, err = reader.communicate()
    assert reader.returncode == 0, err
    assert int(out) >= 2, "nothing changed while it was read"
