"""Publications: revisions, conflicts, damage, and how many are kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from instanter import limits
from instanter.errors import ConflictError, DamagedError
from instanter.store import publications
from instanter.store.databases import PUBLICATIONS
from instanter.store.environment import Environment
from instanter.store.publications import CATALOGUE, MODELS


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    with Environment.open(tmp_path) as opened:
        yield opened


def publish(environment: Environment, kind: str, body: bytes, expected: int | None = None) -> int:
    return environment.write(lambda t: publications.publish(t, kind, body, 77, expected))


def test_before_the_first_publication_there_is_nothing(environment: Environment) -> None:
    with environment.read() as transaction:
        assert publications.current_revision(transaction, CATALOGUE) == 0
        assert publications.load_current(transaction, MODELS) is None


@pytest.mark.parametrize("body", [b"", b"x", b"12345678", bytes(5000), b"y" * 3_000_000])
def test_a_body_of_any_size_reads_back(environment: Environment, body: bytes) -> None:
    publish(environment, MODELS, b"the models know nothing of the catalogue")
    assert publish(environment, CATALOGUE, body) == 1
    with environment.read() as transaction:
        assert publications.load_current(transaction, CATALOGUE) == (1, body)
        published = publications.load_revision(transaction, CATALOGUE, 1)
    assert published == publications.PublishedRevision(1, 77, body)


def test_a_publication_that_expects_another_revision_conflicts(environment: Environment) -> None:
    assert publish(environment, CATALOGUE, b"one", expected=0) == 1
    with pytest.raises(ConflictError, match="revision 1, not 0"):
        publish(environment, CATALOGUE, b"two", expected=0)
    assert publish(environment, CATALOGUE, b"two", expected=1) == 2
    with environment.read() as transaction:
        assert publications.load_current(transaction, CATALOGUE) == (2, b"two")


@pytest.mark.parametrize(
    ("kind", "kept"),
    [(CATALOGUE, limits.CATALOGUE_REVISIONS_KEPT), (MODELS, limits.MODELS_REVISIONS_KEPT)],
)
def test_past_revisions_are_kept_up_to_the_limit(
    environment: Environment, kind: str, kept: int
) -> None:
    for number in range(1, kept + 4):
        assert publish(environment, kind, b"%d" % number) == number
    with environment.read() as transaction:
        assert publications.kept_revisions(transaction, kind) == list(range(4, kept + 4))
        oldest = publications.load_revision(transaction, kind, 4)
        assert publications.load_revision(transaction, kind, 3) is None
    assert oldest is not None
    assert oldest.body == b"4"


def test_a_damaged_publication_is_never_served(environment: Environment) -> None:
    body = b"rules" * 10
    publish(environment, CATALOGUE, body)
    key = publications._key(CATALOGUE, 1)
    with environment.read() as transaction:
        value = bytes(transaction.get(PUBLICATIONS, key))
    for offset in range(len(value)):
        wrong = bytearray(value)
        wrong[offset] ^= 1
        environment.write(lambda t, wrong=wrong: t.put(PUBLICATIONS, key, bytes(wrong)))
        with environment.read() as transaction, pytest.raises(DamagedError, match="revision 1"):
            publications.load_current(transaction, CATALOGUE)
    # The next revision takes its place.
    assert publish(environment, CATALOGUE, body) == 2
    with environment.read() as transaction:
        assert publications.load_current(transaction, CATALOGUE) == (2, body)
