"""Servers for the tests of the contract: one a module, since no test leaves anything behind."""

from collections.abc import Iterator

import pytest

from tests.api.shop import FRONTS, SHOP, Shop, open_shop


@pytest.fixture(scope="session", params=sorted(FRONTS))
def front_name(request: pytest.FixtureRequest) -> str:
    """The front that is tested."""
    return str(request.param)


@pytest.fixture(scope="module")
def shop(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with its catalogue published."""
    with open_shop(tmp_path_factory.mktemp("shop") / "store", front_name) as opened:
        opened.apply(SHOP)
        yield opened


@pytest.fixture
def empty_shop(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop before its first publication, for one test."""
    with open_shop(tmp_path_factory.mktemp("shop") / "store", front_name) as opened:
        yield opened
