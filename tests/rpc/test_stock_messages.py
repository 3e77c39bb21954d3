"""Numbers that the keeper's values and the contract share, and what of a position is left unset."""

from dataclasses import replace
from enum import IntEnum
from typing import Any

import pytest

from instanter.catalogue.stock import Cause, Severity
from instanter.keeper.stock_alert_book import ActionKind, HintKind, PositionView, StockHint
from instanter.rpc.stock_messages import translate_alert, translate_position
from instanter.stock.questions import DataError, MovementKind, TransitionKind
from instanter.v1 import stock_service_pb2 as messages
from tests.rpc.alert_world import FIGURES, NOW_NS, make_alert

NOT_OF_THE_CONTRACT = {"CONFLICT"}
"""Kinds of movements that only follow from others."""


@pytest.mark.parametrize(
    ("ours", "contract", "prefix"),
    [
        (Cause, messages.StockAlertCause, "STOCK_ALERT_CAUSE_"),
        (Severity, messages.StockAlertSeverity, "STOCK_ALERT_SEVERITY_"),
        (TransitionKind, messages.StockAlertChange, "STOCK_ALERT_CHANGE_"),
        (HintKind, messages.StockHintKind, "STOCK_HINT_KIND_"),
        (ActionKind, messages.StockActionKind, "STOCK_ACTION_KIND_"),
        (MovementKind, messages.StockMovementKind, "STOCK_MOVEMENT_KIND_"),
    ],
)
def test_values_have_the_numbers_of_the_contract(
    ours: type[IntEnum], contract: Any, prefix: str
) -> None:
    told = {name.removeprefix(prefix): number for name, number in contract.items() if number}
    kept = {each.name: each.value for each in ours if each.name not in NOT_OF_THE_CONTRACT}
    assert kept == told


def test_each_error_has_its_number() -> None:
    numbers = set()
    for error in DataError:
        alert = make_alert(1, 0, 0, Severity.NOTICE, hints=(StockHint(3, data_error=int(error)),))
        numbers.add(translate_alert(alert).hints[0].data_error)
    assert numbers == set(messages.StockDataError.values()) - {0}


def test_what_is_not_known_is_not_there() -> None:
    nothing = replace(
        FIGURES,
        demand_rate=None,
        demand_deviation=None,
        days_of_cover=None,
        stock_out_ms=None,
        stock_out_early_ms=None,
        safety_stock=None,
        recent_sales=0,
        recent_expected_units=None,
        latest_ms=None,
    )
    view = PositionView("berlin", "beans", "", "", price_minor=0, figures=nothing)
    message = translate_position(view, NOW_NS)
    assert {field.name for field, _ in message.figures.ListFields()} == {"recent_units"}
    assert not message.HasField("count_time")
    assert not message.HasField("move_time")


def test_nothing_of_demand_and_none_of_cover_are_something() -> None:
    figures = replace(FIGURES, demand_rate=0.0, days_of_cover=0.0)
    view = PositionView("berlin", "beans", "", "", price_minor=0, figures=figures)
    found = translate_position(view, NOW_NS).figures
    assert found.HasField("demand_rate")
    assert found.HasField("cover_days")
