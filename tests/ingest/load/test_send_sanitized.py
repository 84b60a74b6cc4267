"""send.c under AddressSanitizer and UndefinedBehaviorSanitizer, and without a warning."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "ingest" / "load"
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Werror"]


@pytest.fixture
def compiler() -> str:
    found = shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler")
    return found


def test_no_write_beyond_a_frame(compiler: str, tmp_path: Path) -> None:
    program = tmp_path / "check"
    flags = [*WARNINGS, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{SOURCE}"]
    built = subprocess.run([compiler, *flags, "-o", program, HERE / "send_check.c"], capture_output=True, text=True)
    if built.returncode and "-lasan" in built.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr


def test_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    flags = [*WARNINGS, "-Wpedantic", "-O2", "-shared", "-fPIC", "-fvisibility=hidden"]
    built = subprocess.run([compiler, *flags, "-o", tmp_path / "send.so", SOURCE / "send.c"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
