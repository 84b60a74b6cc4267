"""Builds the two native files. All else about the package stands in pyproject.toml.

``ingest/rings/walk.c`` and ``ingest/load/send.c`` include nothing of Python, so a compiler and the C library's headers are
enough. Without a compiler the installation still succeeds: ``optional`` turns the failure into a warning, and ``quietcore
ring`` and ``selftest`` name the walker and the sender that they use.
"""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildPlain(build_ext):
    """Names a library ``_walk.so``, not after the interpreter: it is loaded by ctypes and serves every Python version alike."""

    def get_ext_filename(self, fullname: str) -> str:
        """The file's path below the package root, without the interpreter's tag."""
        return fullname.replace(".", "/") + ".so"


def plain(name: str, source: str) -> Extension:
    """A library of one C file and the headers beside it."""
    arguments = ["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"]
    headers = sorted(map(str, Path(source).parent.glob("*.h")))
    return Extension(name, sources=[source], depends=headers, extra_compile_args=arguments, optional=True)


setup(
    ext_modules=[plain("ingest.rings._walk", "ingest/rings/walk.c"), plain("ingest.load._send", "ingest/load/send.c")],
    cmdclass={"build_ext": BuildPlain},
)
