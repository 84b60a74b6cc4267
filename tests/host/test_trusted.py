"""Files that root obeys: opened once, checked open, read to a limit."""

import os
from pathlib import Path

import pytest

from tuner.host.trusted import Distrusted, Unopened, read_trusted


def read(path: Path, limit: int = 100, trusted_owner: bool = True) -> bytes:
    return read_trusted(str(path), path.name, limit, "a letter", trusted_owner)


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    path = tmp_path / "letter"
    path.write_bytes(b"x" * 100)
    path.chmod(0o600)
    return path


def test_a_good_file(letter: Path) -> None:
    assert read(letter) == b"x" * 100
    before = len(os.listdir("/proc/self/fd"))
    read(letter)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_more_than_the_limit(letter: Path) -> None:
    with pytest.raises(Distrusted, match="100 bytes; a letter has at most 99"):
        read(letter, limit=99)


def test_a_file_that_says_nothing_of_its_size() -> None:
    # procfs says 0 bytes: the limit holds for what is read, too
    with pytest.raises(Distrusted, match="more than 9 bytes; a letter has at most 9"):
        read(Path("/proc/self/status"), limit=9)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_others_may_not_write_what_is_trusted(letter: Path, mode: int) -> None:
    letter.chmod(mode)
    with pytest.raises(Distrusted, match=r"others can write it \(chown root letter; chmod go-w letter\)"):
        read(letter)
    assert read(letter, trusted_owner=False)


def test_what_is_no_text(letter: Path) -> None:
    letter.write_bytes(b"a\0b")
    with pytest.raises(Distrusted, match="NUL bytes"):
        read(letter)


def test_what_cannot_be_opened(letter: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(letter)
    with pytest.raises(Unopened, match="a symbolic link"):
        read(tmp_path / "link")
    with pytest.raises(Unopened, match="No such file"):
        read(tmp_path / "nosuch")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(Distrusted, match="not a regular file"):
            read(path)
