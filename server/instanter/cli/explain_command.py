"""`instanter explain`."""

from typing import TYPE_CHECKING, Annotated

import typer

from instanter.cli.options import (
    ConfigOption,
    JsonOption,
    OutputOption,
    ServerOption,
    TimeoutOption,
)

if TYPE_CHECKING:
    from instanter.client import Explanation, OfferExplanation, RunnerUp


def explain(
    decision: Annotated[str, typer.Argument(help="Id of the decision, as it was answered.")],
    *,
    stopped: Annotated[
        int,
        typer.Option("--stopped", metavar="COUNT", min=0, help="How many stopped offers to show."),
    ] = 20,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a decision of the past: it is made anew with the inputs of that moment.

    Shows each offer that stayed with its figures and the attributes that moved its propensity
    most, what stopped each of the others, and what the runner-up would have needed to be first.

    For example:
      instanter explain 4be2c1d0a7f3956e0000000000010000
      instanter explain 4be2c1d0a7f3956e0000000000010000 --stopped 100
      instanter explain 4be2c1d0a7f3956e0000000000010000 --json

    What next: `instanter report uplift` shows what deciding is worth.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import print_json
    from instanter.cli.server_connection import connect

    settings = load_settings(
        {
            "server": server,
            "timeout_s": timeout,
            "output": "json" if as_json else output,
        },
        config=config,
    )
    with connect(settings.configuration) as client:
        explanation = client.explain_decision(decision)
    if settings.wants_json:
        print_json(explanation)
    else:
        _show(explanation, stopped)


def _show(found: "Explanation", stopped_count: int) -> None:
    from instanter.cli.output import count_of, make_console, show_value

    console = make_console()
    placement = f"/{found.placement}" if found.placement else ""
    console.print(
        f"customers/{found.customer}, {found.channel}{placement}, "
        f"{show_value(found.decision_time)}, {show_value(found.arm)} arm",
        style="bold",
    )
    stayed = [offer for offer in found.offers if not offer.exclusion_reason]
    stopped = [offer for offer in found.offers if offer.exclusion_reason]
    if stayed:
        _show_stayed(stayed)
    if found.runner_up is not None:
        console.print(_tell_needed(found.runner_up))
    if stopped:
        _show_stopped(stopped[:stopped_count])
        if len(stopped) > stopped_count:
            console.print(f"  … and {count_of(len(stopped) - stopped_count, 'offer')} more stopped")
    profile = f"profile {found.profile_revision}" if found.profile_revision else "no profile"
    models = "" if found.models_unchanged else " (they have learned since)"
    console.print(
        f"decision {found.decision}, {profile}, catalogue {found.catalogue_revision}, models "
        f"{found.model_revision}{models}",
        style="dim",
    )


def _tell_needed(needed: "RunnerUp") -> str:
    """Return what would have made the runner-up first, and what could not have, however large."""
    from instanter.limits import OFFER_FACTOR_MAX, OFFER_VALUE_MINOR_MAX

    figures = (
        ("propensity", f"{needed.propensity_needed:.6g}", needed.propensity_needed <= 1.0),
        (
            "value",
            str(needed.value_minor_needed),
            needed.value_minor_needed <= OFFER_VALUE_MINOR_MAX,
        ),
        ("lever", f"{needed.lever_needed:.6g}", needed.lever_needed <= OFFER_FACTOR_MAX),
    )
    ways = [f"{name} {figure}" for name, figure, is_enough in figures if is_enough]
    vain = [f"no {name}" for name, _, is_enough in figures if not is_enough]
    if not ways:
        return (
            f"No propensity, value or lever would have been enough for {needed.offer} to be first."
        )
    told = f"To be first, {needed.offer} would have needed {', or '.join(ways)}"
    return f"{told}; {' and '.join(vain)} would have been enough." if vain else f"{told}."


def _show_stayed(offers: "list[OfferExplanation]") -> None:
    from instanter.cli.output import make_console, make_table

    numbers = ("", "priority", "propensity", "value", "context weight", "lever")
    table = make_table("", "offer", *numbers[1:], "what moved its propensity", right=numbers)
    for offer in offers:
        moved = [
            f"{each.attribute} {each.value} {each.log_odds:+.3g}" for each in offer.contributions
        ]
        table.add_row(
            str(offer.rank or ""),
            offer.offer,
            f"{offer.priority:.6g}",
            f"{offer.propensity:.6g}",
            str(offer.value_minor),
            _show_weight(offer),
            f"{offer.lever:g}",
            ", ".join(moved),
        )
    make_console().print(table)


def _show_weight(offer: "OfferExplanation") -> str:
    """Return the context weight, and what low cover made of it."""
    factor = offer.stock_factor
    low = f" (stock × {factor:.3g})" if 0.0 < factor < 1.0 else ""
    return f"{offer.context_weight:.6g}{low}"


def _show_stopped(offers: "list[OfferExplanation]") -> None:
    from instanter.cli.output import make_console, make_table, show_value

    table = make_table("stopped", "reason", "why")
    for offer in offers:
        table.add_row(offer.offer, show_value(offer.exclusion_reason), offer.exclusion_detail)
    make_console().print(table)
