"""``quietcore simulate DIR``: writes a simulated host to try everything on, and lets it live where that is asked for."""

import argparse
import shlex
import time

from tuner.host.host import open_host
from tuner.host.simulated import Shape, ShapeError, Simulation, read_shape, write_tree
from tuner.host.simulated.demo import PAST_S
from tuner.host.text import printable
from ui.cli.output import emit, say

_SIZES = (
    ("nodes", "NUMA nodes, each a package with one last-level cache"),
    ("cores", "physical cores per node"),
    ("smt", "threads per core"),
    ("nics", "NICs (eth2, eth3, ...)"),
    ("queues", "receive queues per NIC"),
)
TICK_S = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    default = Shape()
    parser.add_argument("directory", metavar="DIR", help="a new or empty directory")
    for name, words in _SIZES:
        value = getattr(default, name)
        parser.add_argument(f"--{name}", type=int, default=value, metavar="N", help=f"{words} (default: {value})")
    parser.add_argument(
        "--live", action="store_true", help="then let its counters advance until Ctrl-C; also on a simulated DIR that is there"
    )
    parser.epilog = (
        "The host answers writes as a kernel does. It stays as it is while nothing lives in it: use --live beside\n"
        "`quietcore --root DIR watch`, or `quietcore --demo` for a host that is gone afterwards."
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the host, and lives in it under ``--live``."""
    directory = str(arguments.directory)
    if not directory:
        say("quietcore simulate: DIR is empty: the name of a directory is wanted")
        return 1
    try:
        simulation, shape = _open(arguments, directory)
    except ShapeError as error:
        say(f"quietcore simulate: {printable(str(error))}")
        return 1
    except FileExistsError:
        say(
            f"quietcore simulate: {printable(directory)} is not an empty directory, and nothing in it was touched.\n"
            "Name a new directory; --live alone goes on with a simulated host that is there."
        )
        return 1
    _report(arguments, directory, shape)
    if arguments.live:
        _live(simulation)
    return 0


def _open(arguments: argparse.Namespace, directory: str) -> tuple[Simulation, Shape]:
    if arguments.live:
        try:
            host = open_host(directory)
        except FileNotFoundError:
            pass
        else:
            shape = read_shape(host.files)
            if shape is not None:
                return Simulation(host), shape
    shape = write_tree(directory, **{name: getattr(arguments, name) for name, _ in _SIZES})
    simulation = Simulation(open_host(directory))
    simulation.advance(PAST_S)
    return simulation, shape


def _report(arguments: argparse.Namespace, directory: str, shape: Shape) -> None:
    sizes = {name: getattr(shape, name) for name, _ in _SIZES}
    if arguments.json:
        emit({"command": "simulate", "directory": printable(directory), **sizes, "cpus": shape.cpus, "live": arguments.live})
        return
    root = shlex.quote(printable(directory))
    nics = f"{shape.nics} feed NICs of {shape.queues} queues" if shape.nics != 1 else f"1 feed NIC of {shape.queues} queues"
    print(f"SIMULATED host in {printable(directory)}: {shape.nodes} x {shape.cores} cores, {shape.cpus} CPUs, {nics}")
    if shape.nics:
        print(f"next:  quietcore --root {root} plan feed-handler")
    else:
        print(f"next:  quietcore --root {root} status")


def _live(simulation: Simulation) -> None:
    say("its counters advance until Ctrl-C")
    due = time.monotonic()
    try:
        while True:
            due += TICK_S
            time.sleep(max(0.0, due - time.monotonic()))
            late = max(0.0, time.monotonic() - due)
            due += late  # after a suspend the host does not catch up
            simulation.advance(TICK_S)
    except KeyboardInterrupt:
        say("stopped; the host stays as it is")
