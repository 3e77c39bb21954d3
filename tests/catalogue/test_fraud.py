"""The check at the till as it compiles: what is declared, what is refused, what stays the same."""

import pytest

from instanter import fraud_limits
from instanter.catalogue.changes import Action
from instanter.catalogue.fraud import VelocityFunction
from instanter.catalogue.fraud_plan import make_fraud_plan
from instanter.catalogue.fraud_words import Disposition, EntityKind, ListKind
from instanter.catalogue.serialization import from_bytes, to_bytes
from tests.catalogue.fraud_worlds import FRAUD, FRAUD_FILES
from tests.catalogue.worlds import compile_files, problems_of


def _fraud(text):
    return {"fraud.yaml": f"fraud:\n{text}"}


def _policy(text, previous=None, revision=1):
    return compile_files(_fraud(text), previous, revision=revision).catalogue.fraud


def test_what_is_declared_is_what_compiles():
    policy = compile_files(FRAUD_FILES, revision=3).catalogue.fraud
    assert [field.name for field in policy.fields] == ["recurring", "basket", "points_used"]
    named = {velocity.name: velocity for velocity in policy.velocities}
    assert list(named) == [
        "card_count_10m", "card_spend_1d", "card_terminals_1h", "card_approved_1h",
        "device_mean_1d", "terminal_frauds_28d", "terminal.fraud_count", "terminal.label_count",
    ]  # fmt: skip
    assert named["card_spend_1d"].per is EntityKind.CARD
    assert named["card_spend_1d"].window_s == 86_400
    assert named["card_spend_1d"].condition_literal >= 0
    assert named["terminal.fraud_count"].function is VelocityFunction.FRAUDS
    rules = {rule.name: rule for rule in policy.rules}
    assert rules["many"].disposition == Disposition.DECLINE
    assert (rules["far"].points, rules["far"].disposition) == (60.0, 0)
    assert rules["old"].shadow
    assert policy.reads_profile
    assert policy.thresholds[0].merchants == ("m9",)
    assert policy.terminals[0].latitude == 50.1
    assert policy.settings.guard.enabled, "the guard watches unless it is switched off"


def test_settings_are_read_and_the_rest_has_defaults():
    policy = _policy("""\
  hotlists: {terminals: refer, bins: refer, stale_after: 2d}
  stand_in: {clock_jumped: decline, place_missing: refer,
             deadline_short: {approve_up_to_minor: 2000, else: decline}}
  clock: {ahead_max: 10m, behind_max: 400d}
  travel: {distance_km_min: 20}
  guard: {share: 0.1, period: 30m}
  compromised_terminal: {labels_min: 3}
  rules:
    one: {when: 'true', disposition: refer, reason: ONE, guard: {enabled: false}}
""")
    settings = policy.settings
    assert settings.hotlists.dispositions == (3, 2, 3, 3, 2)
    assert settings.hotlists.expected == (ListKind.CARDS,), "a list that can be stale is expected"
    assert settings.stand_in.clock_jumped == Disposition.DECLINE
    assert settings.stand_in.state_damaged == Disposition.REFER
    assert settings.stand_in.approve_up_to_minor == 2_000
    assert (settings.clock_ahead_s, settings.clock_behind_s) == (600, 400 * 86_400)
    assert (settings.travel.distance_km_min, settings.travel.speed_kmh_max) == (20.0, 900.0)
    assert (settings.guard.share_max, settings.guard.declines_min) == (0.1, 20)
    own = policy.rules[0].guard
    assert (own.enabled, own.share_max) == (False, 0.1)
    assert settings.compromised_terminal.labels_min == 3


def test_a_catalogue_without_the_section_has_no_check():
    assert (
        compile_files({"a.yaml": "attributes: [{name: age, kind: number}]\n"}).catalogue.fraud
        is None
    )


def test_it_may_be_spread_over_files():
    files = {
        "a.yaml": "fraud:\n  rules:\n    one: {when: 'true', disposition: refer, reason: ONE}\n",
        "b.yaml": "fraud:\n  rules:\n    two: {when: 'true', disposition: refer, reason: TWO}\n"
        "  clock: {ahead_max: 1m}\n",
    }
    assert [rule.name for rule in compile_files(files).catalogue.fraud.rules] == ["one", "two"]
    files["c.yaml"] = "fraud:\n  rules:\n    one: {when: 'true', disposition: refer, reason: A}\n"
    files["d.yaml"] = "fraud:\n  clock: {ahead_max: 2m}\n"
    problems = {problem.file: problem for problem in problems_of(files)}
    assert problems["c.yaml"].message == "is declared already in a.yaml:3"
    assert problems["d.yaml"].message == "is said already in b.yaml:4; say it once"


BAD = [
    ("rules: {a: {when: velocity.cart > 1, points: 5, reason: A}}", "rules/a.when", ""),
    ("rules: {a: {when: 'true', points: 5, reason: a b}}", "rules/a.reason", "A_B"),
    ("rules: {a: {when: 'true', reason: A}}", "rules/a.disposition", ""),
    ("rules: {a: {when: 'true', points: 5, disposition: refer, reason: A}}", "rules/a.points", ""),
    ("rules: {a: {when: 'true', points: 101, reason: A}}", "rules/a.points", ""),
    ("rules: {a: {when: 'true', disposition: approve, reason: A}}", "rules/a.disposition", ""),
    ("rules: {a: {when: 1 / 0 > 2, points: 5, reason: A}}", "rules/a.when", ""),
    ("rules: {a: {when: transaction.amount, points: 5, reason: A}}", "rules/a.when", ""),
    ("rules: {a: {when: transaction.amuont > 1.0, disposition: refer, reason: A}}",
     "rules/a.when", "transaction.amount"),
    ("rules: {a: {when: context.basket > 1, disposition: refer, reason: A}}", "rules/a.when", ""),
    ("rules: {a: {when: 'true', reason: A, valid_from: 2026-02-01, valid_to: 1999-01-01}}",
     "rules/a.valid_to", ""),
    ("rules: {A: {when: 'true', disposition: refer, reason: A}}", "rules/A", "a"),
    ("velocities: {v: {per: shop, function: count, window: 1h}}", "velocities/v.per", ""),
    ("velocities: {v: {per: crd, function: count, window: 1h}}", "velocities/v.per", "card"),
    ("velocities: {v: {per: card, function: count, window: 9s}}", "velocities/v.window", ""),
    ("velocities: {v: {per: card, function: count, window: 91d}}", "velocities/v.window", ""),
    ("velocities: {v: {per: card, function: sum, window: 1h}}", "velocities/v.of", ""),
    ("velocities: {v: {per: card, function: count, of: amount, window: 1h}}",
     "velocities/v.of", ""),
    ("velocities: {v: {per: card, function: sum, of: terminal, window: 1h}}",
     "velocities/v.of", ""),
    ("velocities: {v: {per: card, function: distinct, of: terminl, window: 1h}}",
     "velocities/v.of", "terminal"),
    ("velocities: {v: {per: card, function: count, window: 1h, where: velocity.v > 1}}",
     "velocities/v.where", ""),
    ("velocities: {a-b: {per: card, function: count, window: 1h}}", "velocities/a-b", "a_b"),
    ("fields: {amount: {kind: number}}", "fields/amount", "amount_"),
    ("fields: {x: {kind: category}}", "fields/x.values", ""),
    ("terminals: {t: {latitude: 91, longitude: 0}}", "terminals/t.latitude", ""),
    ("terminals: {t: {latitude: 1}}", "terminals/t.longitude", ""),
    ("terminals: {a/b: {latitude: 1, longitude: 1}}", "terminals/a/b", ""),
    ("thresholds: [{refer: 60, decline: 50}]", "thresholds[0].refer", ""),
    ("thresholds: [{merchants: [m], refer: 60}]", "thresholds[0]", ""),
    ("thresholds: [{refer: 60}, {refer: 50}]", "thresholds[0]", ""),
    ("thresholds: [{}]", "thresholds[0]", ""),
    ("hotlists: {cards: refer}", "hotlists.cards", "decline"),
    ("hotlists: {terminals: approve}", "hotlists.terminals", ""),
    ("stand_in: {state_damaged: approve}", "stand_in.state_damaged", ""),
    ("clock: {ahead_max: 2d}", "clock.ahead_max", ""),
    ("guard: {share: 0}", "guard.share", ""),
    ("model: {features: [transaction.currency]}", "model.features", ""),
    ("model: {features: [velocity.x]}", "model.features", ""),
    ("model: {features: []}", "model.features", ""),
    ("rulez: {}", "rulez", "rules"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "field", "suggestion"), BAD, ids=[row[0][:60] for row in BAD])
def test_a_mistake_is_told_with_its_line_and_what_would_be_right(text, field, suggestion):
    key, _, value = text.partition(": ")
    lines = f"  clock: {{}}\n  {key}:\n    {value}\n" if key != "clock" else f"\n\n  {text}\n"
    if "points" in text:
        lines += "  thresholds: [{refer: 60}]\n"
    problems = problems_of(_fraud(lines))
    found = [problem for problem in problems if problem.field == f"fraud.{field}"]
    assert found, problems
    assert found[0].line in (3, 4)
    assert found[0].message
    assert found[0].suggestion == suggestion


def test_points_need_thresholds():
    problems = problems_of(_fraud("  rules: {a: {when: 'true', points: 5, reason: A}}\n"))
    assert [(p.field, p.line) for p in problems] == [("fraud.thresholds", 2)]


def test_as_many_as_allowed_compile_and_one_more_is_refused():
    velocities = "".join(
        f"    v{n}: {{per: card, function: count, window: 1h}}\n"
        for n in range(fraud_limits.FRAUD_VELOCITIES_MAX)
    )
    text = f"  velocities:\n{velocities}"
    assert len(_policy(text).velocities) == fraud_limits.FRAUD_VELOCITIES_MAX + 2
    more = f"{text}    more: {{per: card, function: count, window: 1h}}\n"
    assert [p.field for p in problems_of(_fraud(more))] == ["fraud.velocities"]


def test_a_category_of_a_field_and_the_currency_are_told_apart():
    """Two rooms have attributes of the same names; their codes are those of each."""
    files = {
        "a.yaml": "attributes: [{name: channel, kind: category, values: [web, shop]}]\n",
        **_fraud(
            "  rules:\n"
            "    a: {when: profile.channel == 'shop' && transaction.channel == 'card_present',"
            " disposition: refer, reason: A}\n"
        ),
    }
    assert compile_files(files).catalogue.fraud.rules
    problems = problems_of(
        {**files, **_fraud("  rules: {a: {when: transaction.channel == 'shop', disposition: refer, "
                           "reason: A}}\n")}
    )  # fmt: skip
    assert problems[0].text == "shop"


def test_numbers_stay_while_the_meaning_stays():
    first = compile_files(FRAUD_FILES, revision=1).catalogue
    changed = FRAUD.replace("window: 10m", "window: 20m").replace(">= 5", ">= 7")
    changed = changed.replace("    recurring: {kind: flag}\n", "    added: {kind: flag}\n")
    second = compile_files({"fraud.yaml": changed}, first, revision=2).catalogue
    before = {v.name: v.state_id for v in first.fraud.velocities}
    after = {v.name: v.state_id for v in second.fraud.velocities}
    assert before["card_count_10m"] != after.pop("card_count_10m")
    assert all(before[name] == state_id for name, state_id in after.items())
    assert len(set(after.values())) == len(after)
    codes = {rule.name: rule.code for rule in first.fraud.rules}
    assert {rule.name: rule.code for rule in second.fraud.rules} == codes
    names = [(field.name, field.index, field.withdrawn) for field in second.fraud.fields]
    assert names == [
        ("recurring", 0, True), ("basket", 1, False), ("points_used", 2, False),
        ("added", 3, False),
    ]  # fmt: skip


def test_numbers_never_come_back_after_the_section_was_away():
    first = compile_files(FRAUD_FILES, revision=1).catalogue
    away = compile_files({"a.yaml": "currency: EUR\n"}, first, revision=2).catalogue
    again = compile_files(FRAUD_FILES, away, revision=3).catalogue
    ids = {v.state_id for v in first.fraud.velocities}
    assert not ids & {v.state_id for v in again.fraud.velocities}
    assert not {r.code for r in first.fraud.rules} & {r.code for r in again.fraud.rules}


def test_a_model_is_another_one_with_other_features():
    text = "  model: {{features: [{}]}}\n  thresholds: [{{refer: 50}}]\n"
    first = compile_files(_fraud(text.format("transaction.amount")), revision=4).catalogue
    assert first.fraud.model.model_id == 4
    same = compile_files(_fraud(text.format("transaction.amount")), first, revision=5).catalogue
    assert same.fraud.model.model_id == 4
    other = text.format("transaction.amount, travel.impossible, transaction.channel")
    other = compile_files(_fraud(other), same, revision=6).catalogue
    assert other.fraud.model.model_id == 6
    assert other.fraud.model.feature_is_code == (False, True, True)


def test_a_catalogue_comes_back_from_its_bytes():
    model = (
        "  model: {features: [transaction.amount, transaction.mcc],"
        " pairs: [[transaction.mcc, transaction.amount]], points: 50}\n"
    )
    catalogue = compile_files({"fraud.yaml": f"{FRAUD}{model}"}).catalogue
    assert catalogue.fraud.model.pairs == ((1, 0),)
    packed = to_bytes(catalogue)
    again = from_bytes(packed)
    assert to_bytes(again) == packed
    for name in ("fields", "velocities", "rules", "model", "thresholds", "settings"):
        assert getattr(again.fraud, name) == getattr(catalogue.fraud, name), name
    one, other = make_fraud_plan(catalogue), make_fraud_plan(again)
    assert (one.plan == other.plan).all()
    assert (one.rules.f64 == other.rules.f64).all()


def test_changes_are_told_by_name():
    first = compile_files(FRAUD_FILES).catalogue
    changed = FRAUD.replace("points: 60", "points: 55").replace("window: 1d", "window: 2d")
    changed = changed.replace("longitude: 8.6", "longitude: 8.7") + "  clock: {ahead_max: 1m}\n"
    changes = compile_files({"fraud.yaml": changed}, first).changes
    assert {change.resource: change.action for change in changes} == {
        "fraudRules/far": Action.UPDATE,
        "velocities/card_spend_1d": Action.UPDATE,
        "velocities/device_mean_1d": Action.UPDATE,
        "terminals/t1": Action.UPDATE,
        "policies/fraud": Action.UPDATE,
    }
    fields = {change.resource: change.fields for change in changes}
    assert [(f.field, f.old_value, f.new_value) for f in fields["fraudRules/far"]] == [
        ("points", "60.0", "55.0")
    ]
    assert compile_files(FRAUD_FILES, first).changes == ()
