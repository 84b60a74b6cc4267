"""walk.c under the sanitizers: of addresses and undefined behaviour, on rings that lie about themselves; and of threads."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WALK = HERE.parents[2] / "ingest" / "rings"
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Werror"]


@pytest.fixture(scope="module")
def corrupt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sanitized("corrupt", tmp_path_factory)


@pytest.fixture(scope="module")
def corrupt_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sanitized("corrupt_capture", tmp_path_factory)


@pytest.fixture(scope="module")
def racing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sanitized("racing", tmp_path_factory, "-fsanitize=thread", "-pthread")


def sanitized(name: str, tmp_path_factory: pytest.TempPathFactory, *sanitizers: str) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    program = tmp_path_factory.mktemp("sanitized") / name
    sanitizers = sanitizers or ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    flags = [*WARNINGS, "-O1", "-g", *sanitizers, f"-I{WALK}"]
    built = subprocess.run([compiler, *flags, "-o", program, HERE / f"{name}.c"], capture_output=True, text=True)
    if built.returncode and ("-lasan" in built.stderr or "-ltsan" in built.stderr):
        pytest.skip("the compiler has no sanitizers")
    assert built.returncode == 0, built.stderr
    return program


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_read_beyond_the_ring(corrupt: Path, seed: int) -> None:
    ran = subprocess.run([corrupt, str(seed), "60000"], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    counts = [int(word) for word in ran.stdout.split()]
    assert len(counts) == 4
    assert min(counts) > 1000, f"one of packets, malformed frames, malformed blocks, numbers was hardly met: {counts}"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_read_beyond_a_piece_of_a_capture(corrupt_capture: Path, seed: int) -> None:
    ran = subprocess.run([corrupt_capture, str(seed), "10000"], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    counts = [int(word) for word in ran.stdout.split()]
    assert len(counts) == 7
    assert min(counts) > 300, f"one of packets, malformed, numbers, whole, cut, broken files was hardly met: {counts}"


@pytest.mark.parametrize("seed", [1, 2])
def test_readers_of_the_same_streams_do_not_race(racing: Path, seed: int) -> None:
    ran = subprocess.run([racing, str(seed), "6"], capture_output=True, text=True, timeout=100)
    if "unexpected memory mapping" in ran.stderr:
        pytest.skip("ThreadSanitizer does not run with this kernel's address space layout")
    assert ran.returncode == 0, ran.stderr
    assert "data race" not in ran.stderr
    counts = [int(word) for word in ran.stdout.split()]
    assert len(counts) == 4
    assert min(counts) > 300, f"one of received, lost, on both lines, copied was hardly met: {counts}"


def test_compiles_without_a_warning(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    flags = [*WARNINGS, "-Wconversion", "-Wno-sign-conversion", "-O2", "-fvisibility=hidden", "-shared", "-fPIC"]
    built = subprocess.run([compiler, *flags, "-o", tmp_path / "walk.so", WALK / "walk.c"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
