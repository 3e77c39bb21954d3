"""The stock side as it compiles: what is declared, what is refused, what stays the same."""

import math
from dataclasses import fields

import pytest

from instanter import stock_limits
from instanter.catalogue.changes import Action
from instanter.catalogue.serialization import from_bytes, to_bytes
from instanter.catalogue.stock import (
    Cause,
    CoverPoint,
    CoverTier,
    DemandPeriod,
    Negative,
    Severity,
)
from instanter.catalogue.stock_layout import make_policy_rows
from instanter.kernels import stock_policy as columns
from tests.catalogue.stock_worlds import AROUND, STOCK, STOCK_FILES
from tests.catalogue.worlds import SHOP, compile_files, problems_of

SMALL = """\
stock:
  sites: {berlin: {region: east}, bonn: {region: west}}
  units: {BEAN: coffee, LEAF: tea}
"""


def _plan(text=SMALL, previous=None, revision=1):
    return compile_files({"stock.yaml": text}, previous, revision=revision).catalogue.stock


@pytest.fixture(scope="module")
def plan():
    return compile_files(STOCK_FILES).catalogue.stock


def test_sites_and_units_are_in_the_order_of_their_names(plan):
    assert [(s.name, s.region, s.time_zone) for s in plan.sites] == [
        ("berlin-1", "east", "Europe/Berlin"), ("bonn", "west", "UTC"), ("online", "", "UTC"),
    ]  # fmt: skip
    assert [(u.name, u.category, u.title) for u in plan.units] == [
        ("BEAN", "coffee", "BEAN"), ("CUP 0.2", "", "CUP 0.2"), ("LEAF", "tea", "Green tea"),
    ]  # fmt: skip
    assert plan.site_index == {"berlin-1": 0, "bonn": 1, "online": 2}
    assert plan.unit_index["LEAF"] == 2
    assert plan.period is DemandPeriod.WEEK
    assert (plan.retention_s, plan.heartbeat_s) == (2 * 86_400, 5)


def test_policies_say_what_is_declared(plan):
    coffee, beans, default = plan.policies
    assert (coffee.name, beans.name, default.name) == ("coffee", "policies[1]", "default")
    assert (coffee.lead_time_s, coffee.lead_time_sd_s) == (5 * 86_400, 86_400)
    assert coffee.cover == (CoverTier(7.0, Severity.WARNING), CoverTier(2.0, Severity.CRITICAL))
    named = dict(zip(Cause, coffee.severities, strict=True))
    assert named == {
        Cause.STOCK_OUT: Severity.SERIOUS, Cause.LOW_COVER: Severity.WARNING,
        Cause.REORDER: Severity.WARNING, Cause.PLUNGE: Severity.CRITICAL, Cause.OVERSTOCK: 0,
        Cause.DATA_ERROR: Severity.SERIOUS,
    }  # fmt: skip
    assert (beans.negative, default.negative) == (Negative.ALLOWED, Negative.REFUSED)
    assert (coffee.transfer_same_region, coffee.transfer_from) == (True, ())
    assert (beans.transfer_same_region, beans.transfer_from) == (False, ("online",))
    assert default.plunge_false_alarms_per_day is None


@pytest.mark.parametrize(
    ("site", "unit", "name"),
    [
        ("berlin-1", "BEAN", "coffee"),
        ("bonn", "BEAN", "coffee"),
        ("online", "BEAN", "policies[1]"),
        ("berlin-1", "LEAF", "default"),
        ("online", "CUP 0.2", "default"),
    ],
)
def test_the_first_policy_that_matches_counts(plan, site, unit, name):
    assert plan.find_policy(plan.site_index[site], plan.unit_index[unit]).name == name


def test_kernels_read_policies_as_rows(plan):
    rows = make_policy_rows(plan)
    assert rows.shape == (3, columns.COLUMN_COUNT)
    assert not rows.flags.writeable
    coffee, beans, default = rows
    assert coffee[columns.LEAD_TIME_DAYS] == 5.0
    assert coffee[columns.SERVICE_Z] == pytest.approx(1.6449, abs=1e-4)
    cover = coffee[columns.COVER_DAYS : columns.COVER_DAYS + 4].tolist()
    assert [None if math.isnan(days) else days for days in cover] == [None, 7.0, None, 2.0]
    assert coffee[columns.SEVERITY :].tolist() == [3, 2, 2, 4, 0, 3]
    assert (beans[columns.REORDER_POINT], beans[columns.NEGATIVE_ALLOWED]) == (20.0, 1.0)
    assert math.isnan(default[columns.MAXIMUM])
    assert default[columns.HYSTERESIS] == 0.2


def test_purchases_are_tied_to_fields_and_their_values(plan):
    purchase, order = plan.purchases["purchase"], plan.purchases["order"]
    assert (purchase.unit_index, purchase.units_index, purchase.site_index) == (0, 1, 2)
    assert (purchase.movement_id_index, purchase.return_index) == (3, 4)
    assert purchase.units_of_values == (2, 0, -1), "GONE is no declared unit"
    assert purchase.sites_of_values == (0, 1)
    assert (order.units_index, order.site_index, order.fixed_site) == (-1, -1, 2)


def test_offers_are_tied_to_units_sites_and_attributes(plan):
    offers = plan.offers
    assert offers.offer_unit == (0, -1, -1)
    assert plan.stocked_units == (0,)
    assert offers.sites_of_values == (1, 0, -1), "mars is no declared site"
    assert offers.reachable_of_values == ((0, 1), (2,))
    assert offers.low_cover == (CoverPoint(0.0, 0.2), CoverPoint(7.0, 1.0))
    assert offers.withhold_unknown


def test_grants_cover_what_is_named(plan):
    def covered(name):
        grant = plan.grants[name]
        return [
            (site.name, unit.name)
            for s, site in enumerate(plan.sites)
            for u, unit in enumerate(plan.units)
            if grant.covers(s, u)
        ]

    assert covered("eastern") == [("berlin-1", unit.name) for unit in plan.units]
    assert covered("roaster") == [
        ("bonn", "BEAN"), ("bonn", "LEAF"), ("online", "BEAN"), ("online", "LEAF"),
    ]  # fmt: skip
    assert len(covered("all")) == 9


def test_what_deserves_a_look_is_told():
    warnings = "\n".join(compile_files(STOCK_FILES).warnings)
    assert "stock.purchases/purchase.unit: field sku has values that are no declared" in warnings
    assert "attribute store has values that are no declared sites: mars" in warnings
    assert "offers are tied to ROCK, which the stock section does not declare" in warnings


def test_a_years_file_may_be_replayed():
    assert _plan(f"{SMALL}  clock: {{behind_max: 400d}}\n").behind_max_s == 400 * 86_400
    (problem,) = problems_of({"stock.yaml": f"{SMALL}  clock: {{behind_max: 401d}}\n"})
    assert problem.field == "stock.clock.behind_max"
    (problem,) = problems_of({"stock.yaml": f"{SMALL}  clock: {{ahead_max: 1d}}\n"})
    assert "ahead_max" in str(problem)


def test_the_rest_has_defaults():
    plan = _plan()
    assert plan.period is DemandPeriod.DAY
    assert (plan.retention_s, plan.heartbeat_s) == (7 * 86_400, 10)
    assert plan.behind_max_s == 90 * 86_400
    assert [policy.name for policy in plan.policies] == ["default"]
    assert plan.offers is None
    assert plan.stocked_units == ()


def test_a_catalogue_without_the_section_has_none():
    assert (
        compile_files({"a.yaml": "attributes: [{name: a, kind: flag}]\n"}).catalogue.stock is None
    )


def test_a_policy_that_matches_everything_needs_no_default():
    plan = _plan(f"{SMALL}  policies: [{{regions: [east], minimum: 1}}, {{minimum: 2}}]\n")
    assert [policy.minimum for policy in plan.policies] == [1, 2]


def test_it_may_be_spread_over_files():
    files = {
        "a.yaml": "stock:\n  sites: {berlin: }\n  units:\n    BEAN:\n",
        "b.yaml": "stock:\n  sites: {bonn: }\n  units: {LEAF: }\n  period: week\n",
    }
    plan = compile_files(files).catalogue.stock
    assert [site.name for site in plan.sites] == ["berlin", "bonn"]
    files["c.yaml"] = "stock:\n  units: {BEAN: coffee}\n"
    files["d.yaml"] = "stock:\n  period: day\n"
    problems = {problem.file: problem for problem in problems_of(files)}
    assert problems["c.yaml"].message == "is declared already in a.yaml:4"
    assert problems["d.yaml"].message == "is said already in b.yaml:4; say it once"


def test_the_clocks_of_sites_are_laid_out(plan):
    (berlin, utc) = plan.zones
    assert (berlin.name, utc.name) == ("Europe/Berlin", "UTC")
    at = next(n for n, until_s in enumerate(berlin.until_s) if until_s > 1_790_000_000)
    assert berlin.offset_s[at] == 7_200, "summer 2026"
    assert utc.offset_s == (0,)
    assert [site.zone_index for site in plan.sites] == [0, 1, 1]


BAD = [
    ("policies: [{minimum: 5, maximum: 4}]", "policies[0].minimum", "must not be above maximum, 4"),
    ("policies: [{name: a, minimum: 5, maximum: 4}]", "policies/a.minimum", "above maximum"),
    ("policies: [{reorder_point: 9, maximum: 4}]", "policies[0].reorder_point", "above maximum"),
    ("policies: [{order_up_to: 9, maximum: 4}]", "policies[0].order_up_to", "above maximum"),
    ("policies: [{reorder_point: 9, order_up_to: 4}]", "policies[0].reorder_point", "order_up_to"),
    ("policies: [{minimum: 9, order_up_to: 4}]", "policies[0].minimum", "above order_up_to, 4"),
    ("policies: [{minimum: -1}]", "policies[0].minimum", "must be a whole number, at least 0"),
    ("policies: [{minimum: 1.5}]", "policies[0].minimum", "must be a whole number"),
    ("policies: [{maximum: 1000000001}]", "policies[0].maximum", "at most 1e+09"),
    ("policies: [{maximum: 1000000000000000000}]", "policies[0].maximum", "at most 1e+09"),
    ("policies: [{maximum: '5'}]", "policies[0].maximum", "write it without quotes"),
    ("policies: [{maximum: [5]}]", "policies[0].maximum", "must be a whole number"),
    ("policies: [{order_units: 0}]", "policies[0].order_units", "at least 1"),
    ("policies: [{order_units: 1, order_up_to: 2}]", "policies[0].order_units", "say one of them"),
    ("policies: [{reorder_point: 1, lead_time: 1d, service_level: 0.9}]",
     "policies[0].service_level", "cannot stand beside reorder_point"),
    ("policies: [{lead_time: 1d}]", "policies[0].service_level", "is missing beside lead_time"),
    ("policies: [{service_level: 0.9}]", "policies[0].lead_time", "is missing beside"),
    ("policies: [{lead_time_sd: 1d}]", "policies[0].lead_time", "is missing beside lead_time_sd"),
    ("policies: [{lead_time: 1d, lead_time_sd: 2d, service_level: 0.9}]",
     "policies[0].lead_time_sd", "must not be above lead_time"),
    ("policies: [{lead_time: 5, service_level: 0.9}]", "policies[0].lead_time", "a duration"),
    ("policies: [{lead_time: 366d, service_level: 0.9}]", "policies[0].lead_time", "to 365d"),
    ("policies: [{lead_time: 1d, service_level: 1}]", "policies[0].service_level", "below 1"),
    ("policies: [{lead_time: 1d, service_level: 95}]", "policies[0].service_level", "below 1"),
    ("policies: [{cover: [{days: 7, severity: warning}, {days: 8, severity: critical}]}]",
     "policies[0].cover", "critical must have fewer days than warning, 7"),
    ("policies: [{cover: [{days: 7, severity: warning}, {days: 3, severity: warning}]}]",
     "policies[0].cover[1].severity", "has a tier already"),
    ("policies: [{cover: [{days: 0, severity: warning}]}]", "policies[0].cover[0].days", "above 0"),
    ("policies: [{cover: [{days: 1}]}]", "policies[0].cover[0].severity", "is missing"),
    ("policies: [{cover: [{days: 1, severity: grave}]}]", "policies[0].cover[0].severity",
     "must be one of notice"),
    ("policies: [{plunge: {}}]", "policies[0].plunge.false_alarms_per_day", "is missing"),
    ("policies: [{plunge: {false_alarms_per_day: 0}}]",
     "policies[0].plunge.false_alarms_per_day", "at least 1e-09"),
    ("policies: [{severities: {low_cover: notice}}]", "policies[0].severities.low_cover",
     "is not known here"),
    ("policies: [{negative: yes}]", "policies[0].negative", "must be one of refused, allowed"),
    ("policies: [{count_tolerance: {share: 2}}]", "policies[0].count_tolerance.share", "at most 1"),
    ("policies: [{hysteresis: -0.1}]", "policies[0].hysteresis", "at least 0"),
    ("policies: [{escalate_after: 0h}]", "policies[0].escalate_after", "a duration"),
    ("policies: [{transfer_from: anywhere}]", "policies[0].transfer_from", "same_region or a list"),
    ("policies: [{transfer_from: [bnn]}]", "policies[0].transfer_from", "is not a declared site"),
    ("policies: [{sites: [berln]}]", "policies[0].sites", "is not a declared site"),
    ("policies: [{units: [BEEN]}]", "policies[0].units", "is not a declared stock-keeping unit"),
    ("policies: [{categories: [coffe]}]", "policies[0].categories", "is not a category"),
    ("policies: [{regions: [north]}]", "policies[0].regions", "is not a region"),
    ("policies: [{sites: [bonn, bonn]}]", "policies[0].sites", "stands here twice"),
    ("policies: [{sites: []}]", "policies[0].sites", "must name at least one"),
    ("policies: [{}, {}]", "policies[0]", "matches everything, so that the entries below"),
    ("policies: [{name: default}]", "policies/default.name", "is taken already"),
    ("policies: [{name: a, minimum: 1, sites: [bonn]}, {name: a}]", "policies/a.name", "is taken"),
    ("policies: {a: {}}", "policies", "must be a list"),
    ("policies: [{minimun: 1}]", "policies[0].minimun", "is not known here"),
    ("grants: {d: {}}", "grants/d", "covers nothing"),
    ("grants: {d: {everything: false}}", "grants/d.everything", "must be true and stand alone"),
    ("grants: {d: {everything: true, sites: [bonn]}}", "grants/d.everything", "stand alone"),
    ("grants: {d: {regions: [nrth]}}", "grants/d.regions", "is not a region"),
    ("grants: {D: {sites: [bonn]}}", "grants/D", "must be lower-case"),
    ("grants: {d: [bonn]}", "grants/d", "must be a mapping"),
    ("period: month", "period", "must be one of day, week"),
    ("alerts: {retention: 91d}", "alerts.retention", "from 1m to 90d"),
    ("alerts: {heartbeat: 6m}", "alerts.heartbeat", "from 1s to 5m"),
    ("purchases: {sale: {unit: sku, site_is: bonn}}", "purchases/sale", "is not a declared event"),
    ("purchases: {purchase: {site_is: bonn}}", "purchases/purchase.unit", "is missing"),
    ("purchases: {purchase: {unit: sku}}", "purchases/purchase.site", "say either site"),
    ("purchases: {purchase: {unit: sku, site: store, site_is: bonn}}", "purchases/purchase.site",
     "say either site"),
    ("purchases: {purchase: {unit: sku, site_is: born}}", "purchases/purchase.site_is",
     "is not a declared site"),
    ("purchases: {purchase: {unit: quantity, site_is: bonn}}", "purchases/purchase.unit",
     "is of kind number; it must be a category"),
    ("purchases: {purchase: {unit: sku, units: line_no, site_is: bonn}}",
     "purchases/purchase.units", "is not a field of purchase"),
    ("purchases: {purchase: {unit: sku, returns: quantity, site_is: bonn}}",
     "purchases/purchase.returns", "it must be a flag"),
    ("offers: {low_cover: []}", "offers", "says of no site"),
    ("offers: {site: context.stoer}", "offers.site", "is not an attribute of the context"),
    ("offers: {site: profile.home}", "offers.site", "is not an attribute of the context"),
    ("offers: {reachable: [context.store]}", "offers.reachable", "is not an attribute of the prof"),
    ("offers: {reachable: [age]}", "offers.reachable", "it must be a category"),
    ("offers: {site_is: nowhere}", "offers.site_is", "is not a declared site"),
    ("offers: {site_is: bonn, unknown: maybe}", "offers.unknown", "one of withhold, offer"),
    ("offers: {site_is: bonn, low_cover: [{days: 1, factor: 1.5}]}", "offers.low_cover[0].factor",
     "at most 1"),
    ("offers: {site_is: bonn, low_cover: [{days: 2, factor: 0}, {days: 2, factor: 1}]}",
     "offers.low_cover[1].days", "must be more days than the point before, 2"),
    ("offers: {site_is: bonn, low_cover: [{days: 1, factor: 1}, {days: 2, factor: 0}]}",
     "offers.low_cover[1].factor", "must not be below the point before"),
    ("offers: {site_is: bonn, low_cover: [{days: 1}]}", "offers.low_cover[0].factor", "is missing"),
    ("policys: []", "policys", "is not known here"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "field", "message"), BAD)
def test_a_mistake_is_told_with_its_file_line_and_path(text, field, message):
    around = AROUND.replace("berlin-1", "berlin").replace("online", "bonn")
    files = {"shop.yaml": SHOP, "around.yaml": around, "stock.yaml": f"{SMALL}  {text}\n"}
    problems = problems_of(files)
    told = [(one.file, one.line, one.field) for one in problems]
    assert ("stock.yaml", 4, f"stock.{field}") in told, problems
    (found,) = [one for one in problems if one.field == f"stock.{field}"]
    assert message in found.message


def test_a_name_that_was_nearly_right_is_suggested():
    (problem,) = problems_of({"a.yaml": f"{SMALL}  policies: [{{sites: [berln]}}]\n"})
    assert (problem.text, problem.suggestion) == ("berln", "berlin")


SITES_AND_UNITS = [
    ("sites: {Berlin: }", "sites/Berlin", "must be lower-case"),
    ("sites: {berlin: {region: East}}", "sites/berlin.region", "must be lower-case"),
    ("sites: {berlin: {time_zone: Berlin}}", "sites/berlin.time_zone", "IANA name"),
    ("sites: {berlin: {time_zon: UTC}}", "sites/berlin.time_zon", "is not known here"),
    ("sites: {berlin: east}", "sites/berlin", "must be a mapping"),
    ("sites: [berlin]", "sites", "must be a mapping"),
    ("units: {a/b: coffee}", "units/a/b", "has no / and no blanks"),
    ("units: {' a': coffee}", "units/ a", "has no / and no blanks"),
    ("units: {Ä: coffee}", "units/Ä", "printable ASCII"),
    (f"units: {{{'U' * 65}: coffee}}", f"units/{'U' * 65}", "1 to 64 printable ASCII"),
    ("units: {BEAN: Coffee}", "units/BEAN", "must be lower-case"),
    ("units: {BEAN: {category: [coffee]}}", "units/BEAN.category", "must be a text"),
    ("units: {BEAN: [coffee]}", "units/BEAN", "must be a text"),
]


@pytest.mark.parametrize(("text", "field", "message"), SITES_AND_UNITS)
def test_names_of_sites_and_units_are_checked(text, field, message):
    key = text.split(":")[0]
    rest = {"sites": "sites: {bonn: }", "units": "units: {LEAF: }"}
    lines = [text, *(line for name, line in rest.items() if name != key)]
    problems = problems_of({"a.yaml": "stock:\n  " + "\n  ".join(lines) + "\n"})
    assert [(p.line, p.field) for p in problems] == [(2, f"stock.{field}")]
    assert message in problems[0].message


def test_a_section_without_sites_or_units_is_refused():
    problems = problems_of({"a.yaml": "stock:\n  period: day\n"})
    assert [problem.field for problem in problems] == ["stock.sites", "stock.units"]


def test_as_many_as_allowed_compile_and_one_more_is_refused(monkeypatch):
    count = 50
    monkeypatch.setattr(stock_limits, "STOCK_UNITS_MAX", count)
    units = "".join(f"    U{n}: c{n % 7}\n" for n in range(count))
    text = f"stock:\n  sites: {{berlin: }}\n  units:\n{units}"
    assert len(_plan(text).units) == count
    (problem,) = problems_of({"a.yaml": f"{text}    one-more: c\n"})
    assert problem.message == "is one too many; at most 50"


def test_thousands_of_units_and_sites_compile_within_seconds():
    units = "".join(f"    U{n:05}: c{n % 100}\n" for n in range(stock_limits.STOCK_UNITS_MAX))
    sites = "".join(f"    s{n}: {{region: r{n % 20}}}\n" for n in range(2_000))
    policies = "".join(
        f"    - {{categories: [c{n}], regions: [r{n % 20}], minimum: {n}}}\n" for n in range(100)
    )
    text = f"stock:\n  sites:\n{sites}  units:\n{units}  policies:\n{policies}"
    catalogue = compile_files({"a.yaml": text}).catalogue
    plan = from_bytes(to_bytes(catalogue)).stock
    assert len(plan.units) == stock_limits.STOCK_UNITS_MAX
    assert plan.find_policy(plan.site_index["s45"], plan.unit_index["U00005"]).minimum == 5
    assert plan.find_policy(plan.site_index["s46"], plan.unit_index["U00005"]).name == "default"


def test_a_unit_keeps_its_code_and_nobody_else_gets_it():
    first = compile_files({"a.yaml": SMALL}).catalogue
    codes = {unit.name: unit.code for unit in first.stock.units}
    assert codes == {"BEAN": 1, "LEAF": 2}
    swapped = SMALL.replace("BEAN: coffee, LEAF: tea", "LEAF: tea, CUP: tea")
    second = compile_files({"a.yaml": swapped}, first, revision=2).catalogue
    assert {unit.name: unit.code for unit in second.stock.units} == {"LEAF": 2, "CUP": 3}
    away = compile_files({"a.yaml": "attributes: [{name: a, kind: flag}]\n"}, second, revision=3)
    back = from_bytes(to_bytes(away.catalogue))
    third = compile_files({"a.yaml": SMALL}, back, revision=4).catalogue
    assert {unit.name: unit.code for unit in third.stock.units} == {"BEAN": 4, "LEAF": 5}


def test_a_catalogue_comes_back_from_its_bytes():
    catalogue = compile_files(STOCK_FILES).catalogue
    back = from_bytes(to_bytes(catalogue))
    for field in fields(catalogue.stock):
        assert getattr(back.stock, field.name) == getattr(catalogue.stock, field.name), field.name
    assert type(back.stock.policies[0].cover[0].severity) is Severity
    assert type(back.stock.policies[1].negative) is Negative
    assert back.unit_code_next == catalogue.unit_code_next
    assert not compile_files(STOCK_FILES, back, revision=2).changes


def test_changes_are_told_by_name():
    before = compile_files(STOCK_FILES).catalogue
    text = (
        STOCK.replace("minimum: 2", "minimum: 3")
        .replace("bonn: {region: west}", "bonn: {region: west, time_zone: Europe/Paris}")
        .replace("BEAN: coffee", "BEAN: {category: coffee, title: Beans}")
        .replace("eastern: {regions: [east]}", "eastern: {regions: [west]}")
        .replace("retention: 2d", "retention: 3d")
        .replace("    all: {everything: true}\n", "")
    )
    after = compile_files({**STOCK_FILES, "stock.yaml": text}, before, revision=2)
    changes = {change.resource: change for change in after.changes}
    assert changes.keys() == {
        "policies/stock", "sites/bonn", "stockKeepingUnits/BEAN", "stockPolicies/coffee",
        "distributors/eastern", "distributors/all",
    }  # fmt: skip
    assert changes["distributors/all"].action is Action.DELETE
    (minimum,) = changes["stockPolicies/coffee"].fields
    assert (minimum.field, minimum.old_value, minimum.new_value) == ("minimum", "2", "3")
    (alerts,) = changes["policies/stock"].fields
    assert (alerts.field, alerts.new_value) == ("alerts", "{retention: 3d, heartbeat: 5s}")


def test_another_order_of_policies_is_a_change():
    one, other = "{name: a, minimum: 1, sites: [bonn]}", "{name: b, maximum: 9, units: [BEAN]}"
    before = compile_files({"a.yaml": f"{SMALL}  policies: [{one}, {other}]\n"}).catalogue
    after = compile_files({"a.yaml": f"{SMALL}  policies: [{other}, {one}]\n"}, before, revision=2)
    assert [change.resource for change in after.changes] == ["policies/stock"]


def test_what_offers_and_purchases_say_is_compared_in_the_words_of_the_file():
    before = compile_files(STOCK_FILES).catalogue
    text = STOCK.replace("near]", "home]").replace("[profile.home, home]", "[profile.home]")
    text = text.replace("units: quantity, ", "")
    after = compile_files({**STOCK_FILES, "stock.yaml": text}, before, revision=2)
    (change,) = after.changes
    told = {field.field: (field.old_value, field.new_value) for field in change.fields}
    assert told.keys() == {"offers", "purchases"}
    assert "reachable: [profile.home, profile.near]" in told["offers"][0]
    assert "reachable: [profile.home]" in told["offers"][1]
    assert "movement_id: line" in told["purchases"][1]
