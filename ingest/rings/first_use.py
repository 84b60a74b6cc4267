"""Compiles the walker where no built one came along: a wheel for every machine meets a compiler on this one.

The library goes into the caller's cache, by the digest of its sources: another version is another file. Root loads what lies
there, so nobody else may write on the way to it.
"""

import hashlib
import os
import platform
import stat
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
FLAGS = ("-std=c11", "-O2", "-fvisibility=hidden", "-shared", "-fPIC")
_COMPILER = "/usr/bin/cc"  # never by PATH, which is the caller's
_TIMEOUT_S = 60


def compiled() -> Path | None:
    """The library for this machine, compiled now (some tenths of a second) or before; None where that is not possible."""
    try:
        directory = _cache()
        library = directory / f"walk-{_digest()}-{platform.machine()}.so"
        if not library.exists():
            _compile(library)
    except (OSError, subprocess.SubprocessError):
        return None
    return library


def _digest() -> str:
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for source in sorted(SOURCES.glob("*.[ch]")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:32]


def _cache() -> Path:
    """The cache directory, this user's own and not writable by others.

    Raises:
        PermissionError: it is not.
    """
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quietcore"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in (directory, directory.parent):
        status = place.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(1, "is not this user's alone", str(place))
    return directory


def _compile(library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as place:
        made = Path(place) / library.name
        environment = {"PATH": "/usr/bin:/bin", "TMPDIR": place}
        subprocess.run(
            [_COMPILER, *FLAGS, "-o", str(made), str(SOURCES / "walk.c")],
            check=True,
            capture_output=True,
            timeout=_TIMEOUT_S,
            env=environment,
        )
        made.replace(library)
