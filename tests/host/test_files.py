"""Host files: one write with its errno, nothing outside the root, and what happens when things go away."""

import errno
import os
import re
import shutil
import subprocess
import sys

import pytest

from tuner.host import files as files_module
from tuner.host.files import HostFiles, replace_content


@pytest.fixture
def written(monkeypatch):
    """Every ``os.write`` and the flags of every ``os.open`` from here on."""
    calls: list[bytes] = []
    real_write = os.write

    def write(descriptor: int, data: bytes) -> int:
        calls.append(bytes(data))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    return calls


# --------------------------------------------------------------------------------------------------------- this machine


def test_a_write_to_the_kernel_is_one_write_of_exactly_the_value(written):
    machine = HostFiles("/")
    before = machine.text("/proc/self/oom_score_adj")
    machine.write("/proc/self/oom_score_adj", before)
    assert written == [before.encode()]
    assert machine.text("/proc/self/oom_score_adj") == before


def test_the_system_calls_of_a_write_are_one_open_and_one_write(tmp_path):
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    program = "from tuner.host.files import HostFiles; HostFiles('/').write('/proc/self/oom_score_adj', '0')"
    log, traced = tmp_path / "log", "open,openat,write,rename,truncate,ftruncate,unlink"
    run = subprocess.run(
        [strace, "-f", "-o", log, "-e", f"trace={traced}", sys.executable, "-c", program],
        capture_output=True,
        text=True,
    )
    if "ptrace" in run.stderr:
        pytest.skip(f"strace may not trace here: {run.stderr.strip()[:80]}")
    assert run.returncode == 0, run.stderr
    calls = log.read_text().splitlines()
    (opened,) = (n for n, call in enumerate(calls) if "oom_score_adj" in call)
    assert "O_WRONLY|O_CLOEXEC" in calls[opened]
    assert "O_TRUNC" not in calls[opened]
    after = [call for call in calls[opened + 1 :] if "exited" not in call]
    assert len(after) == 1, after
    assert re.search(r'write\(\d+, "0", 1\)\s+= 1$', after[0])


@pytest.mark.parametrize(("value", "number"), [("no number", errno.EINVAL), ("5000", errno.EINVAL)])
def test_the_errno_of_the_kernel_is_kept(value, number):
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
        HostFiles("/").write("/proc/self/oom_score_adj", value)
    assert caught.value.errno == number


def test_a_file_that_the_kernel_does_not_have_is_never_created():
    with pytest.raises(FileNotFoundError):
        HostFiles("/").write("/proc/sys/kernel/quietcore_has_no_such_thing", "1")


def test_the_files_of_this_machine_are_never_replaced():
    with pytest.raises(ValueError, match="cannot be replaced"):
        HostFiles("/").store("/proc/self/oom_score_adj", "0")


def test_proc_is_read_whole_however_the_kernel_hands_it_out():
    machine = HostFiles("/")
    lines = machine.read("/proc/self/smaps").count(b"VmFlags")
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        assert abs(lines - sum(1 for _ in file)) <= 5
    assert len(machine.read("/proc/self/smaps")) > 4096


def test_a_root_that_is_spelt_otherwise_is_this_machine():
    assert HostFiles("/proc/..").real
    assert HostFiles("/").path("/proc/stat") == "/proc/stat"


# ----------------------------------------------------------------------------------------------------- a tree of files


def test_names_are_absolute_and_stay_below_the_root(tmp_path):
    files = HostFiles(tmp_path)
    for name in ("proc/stat", "", "/..", "/../etc/passwd", "/sys/../../etc/passwd", "/sys/..", "/a\0b"):
        for act in (files.path, files.read, lambda n: files.write(n, "1"), files.make_directory, files.entries, files.exists):
            with pytest.raises(ValueError, match="not an absolute path of the host"):
                act(name)


def test_names_that_only_look_like_climbing_are_fine(tmp_path):
    files = HostFiles(tmp_path)
    assert files.path("/sys/class/net/..eth") == f"{tmp_path}/sys/class/net/..eth"
    assert files.path("/sys/...") == f"{tmp_path}/sys/..."


def test_nothing_is_written_through_a_link_that_leaves_the_tree(tmp_path, tree):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("untouched\n")
    files = tree({"/sys/away": f"-> {outside}", "/sys/victim": f"-> {outside}/victim", "/sys/deep/up": "-> ../../../outside"})
    for name in ("/sys/away/victim", "/sys/away/new", "/sys/deep/up/victim"):
        with pytest.raises(PermissionError, match="leads out of the host's tree"):
            files.write(name, "1")
    with pytest.raises(OSError, match="symbolic link"):
        files.write("/sys/victim", "1")
    for act in (files.make_directory, files.remove_directory):
        with pytest.raises(PermissionError):
            act("/sys/away/directory")
    assert (outside / "victim").read_text() == "untouched\n"
    assert os.listdir(outside) == ["victim"]


def test_links_inside_the_tree_are_followed(tree):
    files = tree({"/sys/devices/a/value": "1\n", "/sys/class/a": "-> ../devices/a"})
    files.write("/sys/class/a/value", "22")
    assert files.read("/sys/devices/a/value") == b"22\n"
    assert files.resolved("/sys/class/a/value") == "/sys/devices/a/value"
    assert files.link("/sys/class/a") == "../devices/a"


def test_a_link_that_leaves_the_tree_is_not_resolved(tree):
    files = tree({"/sys/class/a": "-> /usr"})
    assert files.resolved("/sys/class/a") == "/sys/class/a"


def test_a_shorter_value_is_padded_in_one_write_and_then_cut(tree, written):
    files = tree({"/sys/value": "123456789\n"})
    files.write("/sys/value", "42")
    assert written == [b"42\n" + b"\n" * 7]
    assert files.read("/sys/value") == b"42\n"


def test_a_kill_before_the_cut_leaves_the_new_value(tree, monkeypatch):
    files = tree({"/sys/value": "123456789\n"})
    monkeypatch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        files.write("/sys/value", "42")
    assert files.text("/sys/value") == "42"
    assert files.number("/sys/value") == 42


def test_a_longer_value_is_one_write(tree, written):
    files = tree({"/sys/value": "1\n"})
    files.write("/sys/value", "0-3,8-11")
    assert written == [b"0-3,8-11\n"]


def test_bytes_that_are_not_utf8_are_written_back_as_they_were_read(tree):
    files = tree({"/sys/value": b"\xff\xfe name\n", "/sys/other": "\n"})
    files.write("/sys/other", files.text("/sys/value"))
    assert files.read("/sys/other") == b"\xff\xfe name\n"


def test_a_file_that_is_not_its_owners_to_write_refuses_root_too(tree):
    files = tree({"/proc/irq/1/smp_affinity_list": "0\n"})
    os.chmod(files.path("/proc/irq/1/smp_affinity_list"), 0o444)
    assert not files.writable_by_owner("/proc/irq/1/smp_affinity_list")
    with pytest.raises(PermissionError) as caught:
        files.write("/proc/irq/1/smp_affinity_list", "1")
    assert caught.value.errno == errno.EPERM
    assert files.text("/proc/irq/1/smp_affinity_list") == "0"


def test_a_cgroup_goes_with_its_files_but_not_with_another_group(tree):
    files = tree({"/sys/fs/cgroup/a/cpuset.cpus": "1\n", "/sys/fs/cgroup/b/c/cpuset.cpus": "1\n"})
    files.remove_directory("/sys/fs/cgroup/a")
    assert not files.exists("/sys/fs/cgroup/a")
    with pytest.raises(OSError):  # noqa: PT011
        files.remove_directory("/sys/fs/cgroup/b")
    assert files.text("/sys/fs/cgroup/b/c/cpuset.cpus") == "1"


class StandIn:
    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def write(self, name: str, value: str) -> None:
        self.asked.append((name, value))
        if value == "refused":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)

    def make_directory(self, name: str) -> None:
        self.asked.append((name,))

    def remove_directory(self, name: str) -> None:
        self.asked.append((name,))


def test_a_stand_in_answers_in_the_kernels_place(tree):
    files = tree({"/sys/value": "1\n"})
    files.stand_in = stand_in = StandIn()
    files.write("/sys/value", "2")
    files.make_directory("/sys/group")
    with pytest.raises(OSError, match="busy"):
        files.write("/sys/value", "refused")
    assert stand_in.asked == [("/sys/value", "2"), ("/sys/group",), ("/sys/value", "refused")]
    assert files.text("/sys/value") == "1"


# ------------------------------------------------------------------------------------------------------------- reading


def test_what_is_absent_or_cannot_answer(tree):
    files = tree({"/sys/text": "word\n", "/sys/directory/": ""})
    assert files.optional("/sys/absent") is None
    assert files.optional("/sys/directory") is None
    assert files.number("/sys/text") is None
    assert files.number("/sys/absent") is None
    assert files.entries("/sys/absent") == []
    assert files.entries("/sys/text") == []
    assert files.link("/sys/text") is None
    assert not files.writable_by_owner("/sys/absent")
    with pytest.raises(FileNotFoundError):
        files.text("/sys/absent")
    with pytest.raises(IsADirectoryError):
        files.read("/sys/directory")


def test_numbers_and_names_are_read_as_they_are(tree):
    files = tree({"/sys/number": " -1\n", "/sys/huge": "9" * 10_000, "/sys/\udcff\x1b": "x\n"})
    assert files.number("/sys/number") == -1
    assert files.number("/sys/huge") is None
    assert files.entries("/sys") == sorted(["number", "huge", "\udcff\x1b"])
    assert files.text("/sys/\udcff\x1b") == "x"


def test_a_device_that_goes_away_is_told_by_its_errno(tree, monkeypatch):
    files = tree({"/sys/class/net/eth2/carrier": "1\n"})

    def gone(*_: object) -> bytes:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", gone)
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
            files.read("/sys/class/net/eth2/carrier")
        assert caught.value.errno == errno.ENODEV
        assert files.optional("/sys/class/net/eth2/carrier") is None
    assert files.text("/sys/class/net/eth2/carrier") == "1"


def test_no_descriptor_is_left_open_by_failures(tree):
    files = tree({"/sys/directory/": "", "/sys/value": "1\n"})
    os.chmod(files.path("/sys/value"), 0o444)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        assert files.optional("/sys/directory") is None
        with pytest.raises(PermissionError):
            files.write("/sys/value", "2")
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_endless_file_is_not_read_for_ever(tree, monkeypatch):
    monkeypatch.setattr(files_module, "READ_LIMIT", 100_000)
    files = tree({"/sys/huge": b"x" * 200_000})
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
        files.read("/sys/huge")
    assert caught.value.errno == errno.EFBIG


def test_a_pipe_in_a_tree_does_not_hang_the_reader(tree):
    files = tree({"/sys/": ""})
    os.mkfifo(files.path("/sys/pipe"))
    assert files.read("/sys/pipe") == b""


def test_content_is_never_replaced_through_a_link(tmp_path):
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is tested
        replace_content(str(tmp_path / "link"), b"new")
    assert caught.value.errno == errno.ELOOP
    assert (tmp_path / "victim").read_text() == "untouched"
