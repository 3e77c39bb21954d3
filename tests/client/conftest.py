from collections.abc import Iterator
from typing import Any

import pytest

from instanter.client import Client, Timeouts
from tests.client.toy_server import ToyServer, toy_server
from tests.client.waiting import NO_PAUSE, Waiting


@pytest.fixture
def toy() -> Iterator[ToyServer]:
    with toy_server() as served:
        yield served


@pytest.fixture(params=[Client, Waiting], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def client(kind: Any, toy: ToyServer) -> Iterator[Any]:
    with kind(toy.address, retries=NO_PAUSE, timeouts=Timeouts(decision_s=5.0)) as made:
        yield made
