"""pyroute2's ethtool ioctl class, without the rest of pyroute2.

``import pyroute2.ethtool.ioctl`` first executes the package's own __init__, which imports all that it has: 0.1 s of CPU and
15 MB of memory, in a process that has to be small, for one file that needs one other. So these two are loaded by their places.
Where a release of the library lays its files out in another way, the plain import does what it always did.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

_COMMON, _IOCTL = "pyroute2.ethtool.common", "pyroute2.ethtool.ioctl"
_loaded: list[ModuleType] = []


def ioctl_library() -> Any:
    """The module ``pyroute2.ethtool.ioctl``: the one that is imported already, or a copy that nobody else sees.

    Raises:
        ImportError: pyroute2 is not installed.
    """
    there = sys.modules.get(_IOCTL)
    if there is not None:
        return there
    if not _loaded:
        with contextlib.suppress(ImportError, OSError, AttributeError):
            _loaded.append(_alone())
    return _loaded[0] if _loaded else importlib.import_module(_IOCTL)


def _alone() -> ModuleType:
    found = PathFinder.find_spec("pyroute2")
    places = list(found.submodule_search_locations or ()) if found is not None else []
    if not places:
        raise ImportError("pyroute2 is no package here")
    with _in_sight(_COMMON, _file(_COMMON, places[0])):
        library = _file(_IOCTL, places[0])
    for name in ("IoctlEthtool", "NoSuchDevice", "NotSupportedError"):
        getattr(library, name)
    return library


def _file(name: str, place: str) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = f"{place}/{name.partition('.')[2].replace('.', '/')}.py"
    SourceFileLoader(name, module.__file__).exec_module(module)
    return module


@contextlib.contextmanager
def _in_sight(name: str, module: ModuleType) -> Iterator[None]:
    """Lets an import find the module by its full name: where that is known, its packages are not asked for."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module
    try:
        yield
    finally:
        sys.modules.pop(name, None)
