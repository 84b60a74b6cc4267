"""Fixtures of the load tests: a pair that is gone afterwards."""

from collections.abc import Iterator

import pytest

from ingest.load.namespaces import NamespaceError, VethPair


@pytest.fixture
def pair() -> Iterator[VethPair]:
    try:
        made = VethPair()
    except NamespaceError as missing:
        pytest.skip(str(missing))
    with made:
        yield made
