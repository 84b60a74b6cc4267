"""Builds the one native file. All else about the package stands in pyproject.toml.

``ingest/rings/walk.c`` includes nothing of Python, so a compiler and the C library's headers are enough. Without a
compiler the installation still succeeds: ``optional`` turns the failure into a warning, and ``quietcore ring`` names the
walker that it uses.
"""

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildWalker(build_ext):
    """Names the library ``_walk.so``: it is loaded by ctypes and serves every Python version alike."""

    def get_ext_filename(self, fullname: str) -> str:
        """The file's path below the package root, without the interpreter's tag."""
        return fullname.replace(".", "/") + ".so"


setup(
    ext_modules=[
        Extension(
            "ingest.rings._walk",
            sources=["ingest/rings/walk.c"],
            depends=["ingest/rings/capture.h", "ingest/rings/pcapng.h", "ingest/rings/tape.h"],
            extra_compile_args=["-std=c11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildWalker},
)
