"""Where reader and sender run: never on a core that is isolated, promised or without a tick."""

from dataclasses import replace

import pytest

from ingest.load.demand import LoadError
from ingest.load.places import choose_places
from tuner.host.files import HostFiles
from tuner.host.topology import Topology, read_topology

NONE = frozenset[int]()


@pytest.fixture
def topology(sim_templates) -> Topology:
    read = read_topology(HostFiles(sim_templates(nodes=2, cores=4, smt=2, nics=1, queues=2)))
    return replace(read, nohz_full=NONE)


def test_two_cores_of_one_node(topology: Topology) -> None:
    places = choose_places(topology, NONE, topology.online)
    reader, sender = topology.cpus[places.reader], topology.cpus[places.sender]
    assert reader.node == sender.node
    assert sender.cpu not in reader.siblings
    assert places.note == ""


def test_what_is_reserved_is_never_chosen(topology: Topology) -> None:
    for kept in (frozenset({0, 1, 2}), frozenset({3, 7}), topology.nodes[1] & topology.online):
        places = choose_places(topology, topology.online - kept, topology.online)
        assert {places.reader, places.sender} <= kept
        assert places.free == kept
    ticks = choose_places(replace(topology, nohz_full=topology.online - {4, 5}), NONE, topology.online)
    assert {ticks.reader, ticks.sender} == {4, 5}


def test_where_this_process_may_run(topology: Topology) -> None:
    places = choose_places(topology, NONE, frozenset({2, 3}))
    assert {places.reader, places.sender} == {2, 3}
    # bound to isolated cores alone, as taskset does it: it leaves them
    places = choose_places(topology, frozenset({2, 3}), frozenset({2, 3}))
    assert not {places.reader, places.sender} & {2, 3}


def test_a_reader_that_was_asked_for(topology: Topology) -> None:
    places = choose_places(topology, frozenset({6}), topology.online, reader=6)
    assert places.reader == 6
    assert places.sender != 6
    with pytest.raises(LoadError, match="CPU 999 is not online"):
        choose_places(topology, NONE, topology.online, reader=999)


def test_little_room(topology: Topology) -> None:
    alone = choose_places(topology, topology.online - {1}, topology.online)
    assert (alone.reader, alone.sender) == (1, 1)
    assert "share CPU 1" in alone.note
    siblings = topology.cpus[0].siblings
    both = choose_places(topology, topology.online - siblings, topology.online)
    assert {both.reader, both.sender} == siblings
    assert "threads of one core" in both.note
    with pytest.raises(LoadError, match="isolated or reserved"):
        choose_places(topology, topology.online, topology.online)
