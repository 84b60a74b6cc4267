"""The language of core sets: cpulists, names, ``+ - &``, parentheses and the functions of the topology.

    first(4, cores(node(feed) - housekeeping))

Grammar: an expression is terms joined by ``+`` (union), ``-`` (difference) and ``&`` (intersection, binds tighter); a term is a
kernel CPU list (``0-3,8``), a name, a function or an expression in parentheses. Functions: ``node(X)`` the CPUs of a node,
``llc(X)`` the sharers of a last-level cache, ``smt(S)`` all threads of the cores of S (S included), ``cores(S)`` one thread per
core, ``first(N, S)`` the N lowest, ``either(S, S)`` the first that is not empty; ``all`` and ``online`` are the online CPUs. X
is a bound NIC, a node number (``node``), a CPU (``llc``) or a set. Everything is evaluated on the online CPUs of one host.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tuner.host.cpulist import CpuListError, CpuSet, format_list, parse_list
from tuner.host.host import Inventory
from tuner.host.text import printable

_TOKEN = re.compile(
    r"\s*(?:(?P<list>\d+(?:-\d+(?::\d+/\d+)?)?(?:,\d+(?:-\d+(?::\d+/\d+)?)?)*)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<op>[-+&(),]))",
    re.ASCII,  # not the digits of every script
)
_NODE = re.compile(r"\s*(\d+)\s*(?=\))", re.ASCII)
_COUNT = re.compile(r"\s*(\d{1,5})\s*,", re.ASCII)
_DEPTH = 32  # sets that refer to sets
_NESTING = 64  # brackets and functions within one another, through all those sets
FUNCTIONS = ("node", "llc", "smt", "cores", "first", "either", "count")


class CoreSetError(ValueError):
    """An expression that cannot be read or evaluated; ``named`` is the profile's own set that it stands in, if any."""

    named = ""


@dataclass(slots=True)
class CoreSets:
    """Evaluates expressions on one host.

    Args:
        inventory: the host.
        names: the profile's own sets, name to expression; they may refer to one another, not in a circle.
        bindings: bound name to NIC name.
    """

    inventory: Inventory
    names: Mapping[str, str] = field(default_factory=dict)
    bindings: Mapping[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _known: dict[str, CpuSet] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    nesting: int = 0

    def evaluate(self, expression: str) -> CpuSet:
        """The CPUs that ``expression`` means here; possibly none.

        Raises:
            CoreSetError: bad syntax, an unknown name, a circle of names, a CPU that is not online.
        """
        if len(self._open) > _DEPTH:
            raise CoreSetError(f"core sets refer to one another more than {_DEPTH} deep")
        return _Parser(self, expression).whole()

    def named(self, name: str) -> CpuSet:
        """The CPUs of one of the profile's own sets."""
        if name in self._known:
            return self._known[name]
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name) :], name])
            raise CoreSetError(f"core sets in a circle: {circle}")
        self._open.append(name)
        try:
            cpus = self.evaluate(self.names[name])
        except CoreSetError as error:
            error.named = error.named or name
            raise
        finally:
            self._open.pop()
        self._known[name] = cpus
        return cpus

    def node_cpus(self, name: str) -> CpuSet:
        """The online CPUs of a bound NIC's node; all of them, with a warning, where the firmware names no node."""
        nic = self.inventory.nic(self.bindings[name])
        topology = self.inventory.topology
        if nic is None:
            raise CoreSetError(f"'{name}' is bound to {printable(self.bindings[name])}, which is not on this host")
        cpus = topology.nodes.get(nic.node, frozenset()) & topology.online
        if cpus:
            return cpus
        warning = f"{printable(nic.name)}: the firmware names no NUMA node; node({name}) is taken to be all CPUs"
        if warning not in self.warnings:
            self.warnings.append(warning)
        return topology.online


class _Parser:
    """Recursive descent over one expression, evaluating as it goes."""

    def __init__(self, sets: CoreSets, text: str) -> None:
        self._sets = sets
        self._text = text
        self._position = 0

    def whole(self) -> CpuSet:
        if len(self._text) > 1000:
            raise CoreSetError("a core set of more than 1000 characters")
        result = self._sum()
        if self._peek() is not None:
            raise self._error("an operator (+ - &)")
        return result

    def _peek(self) -> re.Match[str] | None:
        if not self._text[self._position :].strip():
            return None
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            raise self._error("a CPU list, a name or a function")
        return match

    def _take(self, operators: str) -> str | None:
        match = self._peek()
        if match is not None and match["op"] and match["op"] in operators:
            self._position = match.end()
            return match["op"]
        return None

    def _expect(self, operator: str) -> None:
        if self._take(operator) is None:
            raise self._error(f"'{operator}'")

    def _error(self, expected: str) -> CoreSetError:
        rest = self._text[self._position :].strip()
        found = f"'{printable(rest, 20)}'" if rest else "the end"
        return CoreSetError(f"in '{printable(self._text, 60)}': expected {expected}, found {found}")

    def _sum(self) -> CpuSet:
        result = self._product()
        while operator := self._take("+-"):
            other = self._product()
            result = result | other if operator == "+" else result - other
        return result

    def _product(self) -> CpuSet:
        result = self._term()
        while self._take("&"):
            result &= self._term()
        return result

    def _term(self) -> CpuSet:
        if self._sets.nesting >= _NESTING:
            raise CoreSetError(f"in '{printable(self._text, 60)}': brackets more than {_NESTING} deep")
        self._sets.nesting += 1
        try:
            return self._bare_term()
        finally:
            self._sets.nesting -= 1

    def _bare_term(self) -> CpuSet:
        match = self._peek()
        if match is None:
            raise self._error("a CPU list, a name or a function")
        if match["op"] == "(":
            self._position = match.end()
            result = self._sum()
            self._expect(")")
            return result
        if match["op"]:
            raise self._error("a CPU list, a name or a function")
        self._position = match.end()
        return self._online(match["list"]) if match["list"] else self._name(match["name"])

    def _online(self, text: str) -> CpuSet:
        topology = self._sets.inventory.topology
        try:
            cpus = parse_list(text, topology.count)
        except CpuListError as error:
            raise CoreSetError(f"in '{printable(self._text, 60)}': {error}") from error
        if missing := cpus - topology.online:
            raise CoreSetError(f"in '{printable(self._text, 60)}': CPU {format_list(missing)} is not online here")
        return cpus

    def _name(self, name: str) -> CpuSet:
        if name in FUNCTIONS and self._take("("):
            result = self._call(name)
            self._expect(")")
            return result
        if name in ("all", "online"):
            return self._sets.inventory.topology.online
        if name in self._sets.names:
            return self._sets.named(name)
        known = ", ".join([*self._sets.names, "all", "online"])
        if name in self._sets.bindings:
            raise CoreSetError(f"in '{printable(self._text, 60)}': '{name}' is a NIC; write node({name}) for the CPUs near it")
        raise CoreSetError(f"in '{printable(self._text, 60)}': unknown name '{name}' (known: {known})")

    def _call(self, function: str) -> CpuSet:
        topology = self._sets.inventory.topology
        if function == "count":
            raise CoreSetError(f"in '{printable(self._text, 60)}': count(…) is a number, not a set of CPUs")
        if function == "first":
            count = self._count()
            return frozenset(sorted(self._sum())[:count])
        if function == "either":
            return self._either()
        if function in ("node", "llc"):
            return self._place(function)
        cpus = self._sum()
        return topology.siblings(cpus) if function == "smt" else topology.first_threads(cpus)

    def _either(self) -> CpuSet:
        chosen = self._sum()
        self._expect(",")
        while True:  # each is read, whichever is taken: a mistake in the last one shows on every host
            other = self._sum()
            chosen = chosen or other
            if self._take(",") is None:
                return chosen

    def _count(self) -> int:
        match = _COUNT.match(self._text, self._position)
        if match is None:
            raise self._error("a number and a comma, as in first(2, node(feed))")
        self._position = match.end()
        return int(match[1])

    def _place(self, function: str) -> CpuSet:
        topology = self._sets.inventory.topology
        match = self._peek()
        if match is not None and match["name"] in self._sets.bindings:
            self._position = match.end()
            near = self._sets.node_cpus(match["name"])
            return near if function == "node" else topology.llc(near)
        # a number alone is a node's; within an expression it is a CPU, as everywhere else
        number = _NODE.match(self._text, self._position) if function == "node" else None
        if number is not None:
            self._position = number.end()
            if int(number[1]) not in topology.nodes:
                known = ", ".join(str(node) for node in topology.nodes)
                raise CoreSetError(f"in '{printable(self._text, 60)}': no node {number[1]} here (nodes: {known})")
            return topology.nodes[int(number[1])] & topology.online
        cpus = self._sum()
        if function == "llc":
            return topology.llc(cpus)
        nodes = {topology.cpus[cpu].node for cpu in cpus}
        return frozenset(c for node in nodes for c in topology.nodes.get(node, frozenset())) & topology.online
