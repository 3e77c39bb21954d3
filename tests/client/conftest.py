from collections.abc import Iterator

import pytest

from tests.client.toy_server import ToyServer, toy_server


@pytest.fixture
def toy() -> Iterator[ToyServer]:
    with toy_server() as served:
        yield served
