"""The namespaces and the sender of the ring tests, for these."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "rings"))

from veth_pair import VethPair, build_sender, veth_pair


@pytest.fixture(scope="session")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sender(tmp_path_factory.mktemp("sender"))


@pytest.fixture
def pair(sender: Path) -> Iterator[VethPair]:
    with veth_pair(sender) as made:
        yield made
