"""A host that is only files: a tree of any size, a kernel that answers writes to it, and a life in which counters advance.

``shape`` says how large it is, ``tree`` writes it, ``kernel`` answers writes, ``syscalls`` answers what is no file, and
``life`` lets it live.
"""

from tuner.host.files import HostFiles
from tuner.host.host import Host
from tuner.host.simulated.demo import demo_place
from tuner.host.simulated.kernel import SimulatedKernel
from tuner.host.simulated.life import Simulation
from tuner.host.simulated.shape import Shape, ShapeError, read_shape
from tuner.host.simulated.syscalls import SimulatedSyscalls
from tuner.host.simulated.tree import write_tree

__all__ = [
    "Shape",
    "ShapeError",
    "SimulatedKernel",
    "SimulatedSyscalls",
    "Simulation",
    "demo_place",
    "open_tree",
    "read_shape",
    "write_tree",
]


def open_tree(files: HostFiles) -> Host:
    """The host in a tree of files: with a simulated kernel where ``write_tree`` made it, else as it was captured.

    Opening writes nothing, unless a process died in a system call to the simulated kernel: that call is finished then.

    Raises:
        OSError: the tree cannot be read, or says that it is simulated, but not how large it is.
    """
    shape = read_shape(files)
    if shape is None:
        return Host(files, SimulatedSyscalls(files))
    kernel = SimulatedKernel(files, shape)
    files.stand_in = kernel
    return Host(files, SimulatedSyscalls(files, kernel), simulated=True)
