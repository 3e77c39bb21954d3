"""Offers whose unit has to be in stock: what is withheld, what ranks lower, what is told of it."""

import msgpack
import numpy as np
import pytest

from instanter.decision.explanation import explain_decision
from instanter.decision.questions import NoOfferReason
from instanter.decision.recording import decode_turn, outline_turn
from instanter.errors import DamagedError
from instanter.kernels.arbitration import REASON_OUT_OF_STOCK, REASON_STOCK_UNKNOWN
from instanter.limits import BATCH_TURN_MAX
from instanter.store.databases import STOCK_SHELVES
from instanter.store.environment import Environment
from instanter.store.stock_shelves import shelf_key
from tests.decision.stocked import STOCK, STOCKED, put_on_shelf
from tests.decision.test_engine import NO_HOLDOUT, ask
from tests.decision.test_explanation import World

PLENTY = (100, np.inf)


@pytest.fixture
def store(tmp_path):
    environment = Environment.open(tmp_path / "store")
    yield environment
    environment.close()


@pytest.fixture
def world(store):
    """A shop with plenty of everything in Berlin, and a gold customer who lives nowhere."""
    return make_world(store)


def make_world(store, stock=STOCK):
    world = World(store, STOCKED | {"stock.yaml": stock})
    put_on_shelf(store, world.catalogue, "berlin", BEAN=PLENTY, LEAF=PLENTY)
    world.put("anna", age=40.0, segment=0, member=1, spend=9.0, joined=5)
    return world


def decide(world, customer="anna", site="berlin", **fields):
    context = {"store": site} if site else {}
    (decision,) = world.engine.decide([ask(customer, context=context, **fields)])
    return decision


def offers_of(decision):
    return {offer.offer: offer for offer in decision.offers}


def explain(world, decision, customer="anna"):
    turn = decode_turn(world.records[-1])
    (recorded,) = [
        turn.decision(row)
        for row in range(turn.rows)
        if turn.id_of(row).hex() == decision.decision_id
    ]
    found = explain_decision(world.tables, recorded, world.profiles[customer], b"")
    return {offer.offer: offer for offer in found.offers}


def test_a_catalogue_without_stocked_offers_reads_no_shelves(store):
    for files in (NO_HOLDOUT, {**NO_HOLDOUT, "stock.yaml": STOCK.replace("reachable", "#")}):
        world = World(store, files)
        assert world.engine._installed[1].stock is None
        assert len(world.tables.stock.shelf_place) == 0


def test_the_last_piece_changes_the_very_next_decision(world, store):
    assert {"any", "adult", "gold"} <= offers_of(decide(world)).keys()
    put_on_shelf(store, world.catalogue, "berlin", BEAN=(0, 0.0))
    decision = decide(world)
    assert offers_of(decision).keys() & {"any", "adult", "gold"} == {"adult"}
    assert dict(decision.exclusions)[REASON_OUT_OF_STOCK] == 2
    put_on_shelf(store, world.catalogue, "berlin", BEAN=(1, 1.0))
    assert {"any", "adult", "gold"} <= offers_of(decide(world)).keys()


def test_when_nothing_is_in_stock_the_reason_says_so(world, store):
    put_on_shelf(store, world.catalogue, "berlin", BEAN=(-2, 0.0), LEAF=(0, 0.0))
    decision = decide(world, channel="store", placement="")
    assert not decision.offers
    assert decision.no_offer_reason == NoOfferReason.STOCK


def test_low_cover_takes_from_the_priority_what_the_curve_says(world, store):
    full = offers_of(decide(world))
    put_on_shelf(store, world.catalogue, "berlin", BEAN=(3, 5.0))
    low = offers_of(decide(world))
    for name in ("any", "gold"):
        assert low[name].context_weight == pytest.approx(full[name].context_weight * 0.6)
        assert low[name].priority == pytest.approx(full[name].priority * 0.6)
        assert low[name].propensity == full[name].propensity
    assert low["adult"] == full["adult"]


def test_the_chosen_site_counts_and_no_other_stands_in_for_it(world, store):
    world.put("anna", age=40.0, segment=0, member=1, home=0)
    assert "any" in offers_of(decide(world, site=None)), "home is Berlin"
    decision = decide(world, site="bonn")
    assert "any" not in offers_of(decision)
    assert dict(decision.exclusions)[REASON_STOCK_UNKNOWN] == 3, "nothing is known of Bonn"
    assert "any" not in offers_of(decide(world, site="mars")), "no site of ours"


def test_without_a_chosen_site_the_best_within_reach_counts(world, store):
    put_on_shelf(store, world.catalogue, "berlin", BEAN=(3, 0.0), LEAF=(0, 0.0))
    put_on_shelf(store, world.catalogue, "bonn", BEAN=(3, 5.0), LEAF=(0, 0.0))
    world.put("both", age=40.0, segment=0, member=1, spend=9.0, joined=5, home=0, near=0)
    found = offers_of(decide(world, "both", site=None))
    assert found["any"].context_weight == pytest.approx(0.6)
    assert "adult" not in found
    put_on_shelf(store, world.catalogue, "bonn", BEAN=(0, 0.0))
    found = offers_of(decide(world, "both", site=None))
    assert found["any"].context_weight == pytest.approx(0.2)


@pytest.mark.parametrize(("word", "offered"), [("withhold", False), ("offer", True)])
def test_what_is_not_known_is_withheld_unless_declared_otherwise(store, word, offered):
    world = make_world(store, f"{STOCK}    unknown: {word}\n")
    for site in ("bonn", "mars", None):
        found = offers_of(decide(world, site=site))
        assert ("any" in found) is offered
        if offered:
            assert found["any"].context_weight == 1.0


def test_one_site_may_stand_for_all(store):
    stock = STOCK.replace("site: context.store", "site_is: berlin").replace("reachable", "#")
    world = make_world(store, stock)
    assert "any" in offers_of(decide(world, site="mars"))
    put_on_shelf(store, world.catalogue, "berlin", BEAN=(0, 0.0))
    assert "any" not in offers_of(decide(world, site=None))


def test_a_damaged_row_is_an_unknown_one(world, store):
    def flip(transaction):
        row = bytearray(transaction.get(STOCK_SHELVES, shelf_key("berlin")))
        row[9] ^= 1
        transaction.put(STOCK_SHELVES, shelf_key("berlin"), bytes(row))

    store.write(flip)
    decision = decide(world)
    assert dict(decision.exclusions)[REASON_STOCK_UNKNOWN] == 3
    put_on_shelf(store, world.catalogue, "berlin", BEAN=PLENTY)
    assert "any" in offers_of(decide(world)), "the next movement writes it anew"
    assert "adult" not in offers_of(decide(world)), "of the others nothing is known"


def test_a_turn_is_decided_like_its_decisions_one_by_one(world, store):
    put_on_shelf(store, world.catalogue, "berlin", BEAN=(3, 5.0), LEAF=(0, 0.0))
    put_on_shelf(store, world.catalogue, "bonn", BEAN=(0, 0.0), LEAF=(9, 2.0))
    sites = ["berlin", "bonn", None, "mars"] * (BATCH_TURN_MAX // 3)
    questions = [ask("anna", context={"store": site} if site else {}) for site in sites]
    together = world.engine.decide(questions)
    for question, decision in zip(questions, together, strict=True):
        (alone,) = world.engine.decide([question])
        assert decision.offers == alone.offers
        assert decision.exclusions == alone.exclusions


def test_the_decision_is_explained_as_it_was_made(world, store):
    put_on_shelf(store, world.catalogue, "berlin", BEAN=(3, 5.0), LEAF=(0, 0.0))
    decision = decide(world)
    put_on_shelf(store, world.catalogue, "berlin", BEAN=(0, 0.0), LEAF=PLENTY)
    found = explain(world, decision)
    assert found["any"].stock_factor == pytest.approx(0.6)
    assert found["any"].context_weight == offers_of(decision)["any"].context_weight
    assert found["adult"].exclusion_reason == REASON_OUT_OF_STOCK
    assert found["adult"].exclusion_detail == "unit 'LEAF' is not available at site 'berlin'"
    assert found["adult"].stock_factor == 0.0
    assert found["phone"].stock_factor == 1.0


def test_offers_that_were_not_listed_are_explained_with_their_factor(world, store):
    put_on_shelf(store, world.catalogue, "berlin", BEAN=(3, 5.0))
    decision = decide(world, count=1)
    found = explain(world, decision)
    (rest,) = [one for name, one in found.items() if name in ("any", "gold") and not one.rank]
    full = offers_of(decide(world))
    assert rest.context_weight == full[rest.offer].context_weight
    assert rest.priority == pytest.approx(full[rest.offer].priority)


@pytest.mark.parametrize(
    ("site", "home", "says"),
    [
        ("bonn", None, "whether unit 'BEAN' is available at site 'bonn' is not known"),
        (None, None, "at which site unit 'BEAN' would have to be available is not known"),
        (None, 1, "whether unit 'BEAN' is available at site 'bonn' is not known"),
    ],
)
def test_what_is_not_known_is_said(world, site, home, says):
    if home is not None:
        world.put("anna", age=40.0, segment=0, member=1, home=home)
    found = explain(world, decide(world, site=site))
    assert found["any"].exclusion_reason == REASON_STOCK_UNKNOWN
    assert found["any"].exclusion_detail == says


def test_the_record_keeps_each_shelf_once_and_of_it_what_matters(world, store):
    put_on_shelf(store, world.catalogue, "berlin", LEAF=(0, 0.0))
    context = {"store": "berlin"}
    world.engine.decide([ask(name, context=context) for name in "abc"])
    body = world.records[-1]
    rows, shelves = msgpack.unpackb(body)[-2:]
    assert (len(rows), len(shelves), len(shelves[0])) == (6, 1, 6)
    turn = decode_turn(body)
    assert turn.shelves == [{1: -2.0}] * 3
    assert outline_turn(body).request_ids == ["", "", ""]
    world.engine.decide([ask("anna", context=context)])
    assert decode_turn(world.records[-1]).decision(0).shelf == {1: -2.0}


def test_a_turn_without_stock_is_recorded_as_before(store):
    world = World(store, NO_HOLDOUT)
    world.engine.decide([ask("anna")])
    assert len(msgpack.unpackb(world.records[-1])) == 23
    turn = decode_turn(world.records[-1])
    assert turn.shelves is None
    assert turn.decision(0).shelf is None


@pytest.mark.parametrize("spoil", [lambda rows, shelves: [rows], lambda rows, shelves: [rows, 7],
                                   lambda rows, shelves: [rows * 2, shelves],
                                   lambda rows, shelves: [rows, []]])  # fmt: skip
def test_damaged_shelves_of_a_record_are_found(world, spoil):
    decide(world)
    *fields, rows, shelves = msgpack.unpackb(world.records[-1])
    with pytest.raises(DamagedError):
        decode_turn(msgpack.packb([*fields, *spoil(rows, shelves)]))
