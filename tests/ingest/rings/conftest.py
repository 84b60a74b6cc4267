"""Fixtures of the ring tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from veth_pair import VethPair, build_sender, veth_pair


@pytest.fixture(scope="session")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sender(tmp_path_factory.mktemp("sender"))


@pytest.fixture
def pair(sender: Path) -> Iterator[VethPair]:
    with veth_pair(sender) as made:
        yield made
