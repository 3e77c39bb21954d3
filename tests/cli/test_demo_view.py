"""What the demo shows in a terminal."""

import io

from rich.console import Console

from instanter.cli.demo.drive import Arm, Score
from instanter.cli.demo.view import draw_view, summarise
from instanter.cli.output import make_console
from instanter.client import Decision, NoOfferReason, OfferReason, ProfileState, RankedOffer


class StoppedClock:
    """A clock two seconds after the start."""

    def now_ns(self) -> int:
        return 0

    def monotonic_ns(self) -> int:
        return 2_000_000_000


def make_score() -> Score:
    offer = RankedOffer("coffee_25", "web", 1.2, 0.5, 240, 1.0, 1.0, (OfferReason.MODEL,))
    decision = Decision(
        id="d",
        offers=(offer,),
        no_offer_reason=NoOfferReason.UNSPECIFIED,
        profile_state=ProfileState.KNOWN,
        in_holdout=False,
        catalogue_revision=1,
        model_revision=1,
        took_us=40,
        exclusions=(),
    )
    score = Score(clock=StoppedClock(), start_ns=0, decision_count=100, error_count=3)
    score.best, score.random = Arm(80, 40, 9600), Arm(10, 1, 240)
    score.latency_ns.extend([1_000_000] * 99 + [9_000_000])
    score.took_us.extend([40] * 100)
    score.last = ("c0000001", "web/home", decision)
    return score


def draw(score: Score) -> str:
    screen = io.StringIO()
    # The console that the demo draws on, but for its target: markup would be shown as it stands.
    options = make_console()
    console = Console(file=screen, width=130, markup=options._markup, highlight=False)
    console.print(draw_view(score, "127.0.0.1:1"))
    return screen.getvalue()


def test_the_view_tells_rate_latency_and_both_arms() -> None:
    shown = draw(make_score())
    assert "100  (50 a second, 127.0.0.1:1)" in shown
    assert "p50 1.00 ms" in shown
    assert "coffee_25  propensity 0.500" in shown
    assert "50.0%" in shown
    assert "10.0%" in shown
    assert "[" not in shown


def test_the_view_is_drawn_before_anything_has_happened() -> None:
    assert "decided" in draw(Score(clock=StoppedClock(), start_ns=0))


def test_the_summary_is_one_plain_line() -> None:
    line = summarise(make_score())
    assert "\n" not in line
    assert "100 decisions, 50 a second" in line
    assert "errors 3" in line
