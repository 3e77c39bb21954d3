"""The command against a small server of the contract: output, exit codes, what errors say."""

import json
from pathlib import Path
from typing import Any

import pytest

from instanter.v1.customer_service_pb2 import Customer
from tests.cli.outcomes import Command
from tests.client.toy_server import ToyServer, refuse

COMMANDS = (
    ("serve",),
    ("apply",),
    ("load",),
    ("load", "customers"),
    ("record",),
    ("record", "events"),
    ("fit",),
    ("decide",),
    ("explain",),
    ("report",),
    ("report", "uplift"),
    ("get",),
    ("token",),
    ("assess",),
    ("hotlist",),
    ("hotlist", "load"),
    ("hotlist", "add"),
    ("hotlist", "remove"),
    ("hotlist", "list"),
    ("cases",),
    ("cases", "list"),
    ("cases", "update"),
    ("fraud",),
    ("fraud", "replay"),
    ("fraud", "backtest"),
    ("fraud", "rules"),
    ("fraud", "resume"),
    ("fraud", "snooze"),
    ("schema",),
    ("schema", "infer"),
    ("schema", "show"),
    ("config",),
    ("config", "show"),
    ("demo",),
    ("log",),
    ("log", "show"),
    ("log", "verify"),
    ("bench",),
    ("version",),
)
GROUPS = {"load", "record", "report", "hotlist", "cases", "fraud", "schema", "config", "log"}
LEAVES = tuple(words for words in COMMANDS if len(words) > 1 or words[0] not in GROUPS)

SHOP = """\
currency: EUR
channels:
  web: [home_hero]
attributes:
  - {name: age, kind: number, unit: years, range: [0, 120], purpose: offers}
  - {name: plan, kind: category, values: [tin, gold]}
  - {name: basket_value, kind: number, source: context}
offers:
  - name: espresso
    group: drinks
    value_minor: 400
    prior_propensity: 0.1
    eligibility: profile.age >= 18.0
    treatments:
      - {channel: web, name: banner}
"""


@pytest.fixture
def asked(command: Command, toy: ToyServer, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("INSTANTER_SERVER", toy.address)
    return command


@pytest.fixture
def shop() -> Path:
    folder = Path("shop")
    folder.mkdir()
    (folder / "shop.yaml").write_text(SHOP)
    return folder


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_each_command_begins_with_what_it_does(
    command: Command, words: tuple[str, ...]
) -> None:
    outcome = command(*words, "--help")
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.out.startswith(f"Usage: instanter {' '.join(words)} ")
    assert "\b" not in outcome.out


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_help_of_each_command_teaches_by_example(command: Command, words: tuple[str, ...]) -> None:
    outcome = command(*words, "--help")
    lines = outcome.out.splitlines()
    assert f"    instanter {' '.join(words)}" in "\n".join(lines[lines.index("  For example:") :])


def test_help_shows_every_command_and_the_first_steps(command: Command) -> None:
    outcome = command("--help")
    for words in COMMANDS:
        assert f"\n  {words[0]} " in outcome.out
    assert "First steps:" in outcome.out
    assert "Exit codes: 0 done" in outcome.out


def test_the_examples_of_all_help_texts_name_real_commands_and_options(command: Command) -> None:
    for words in LEAVES:
        text = command(*words, "--help").out
        options = {part for line in text.splitlines() for part in line.replace(",", " ").split()}
        for line in text.splitlines():
            if not line.startswith(f"    instanter {' '.join(words)} "):
                continue
            used = [part for part in line.split() if part.startswith("-")]
            assert set(used) <= options, line


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_what_is_said_to_be_the_same_as_an_option_names_one(
    command: Command, words: tuple[str, ...]
) -> None:
    text = command(*words, "--help").out
    assert "The same as -o json." not in text or "-o, --output text|json" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gte"], "No such command 'gte'. Did you mean 'get'?"),
        (["get", "customers", "--page-sise", "3"], "--page-size"),
        (["get"], "Missing argument"),
        (["decide", "c-1"], "Missing option '--channel'"),
        (
            ["decide", "c-1", "-c", "web", "--offers", "many"],
            "'--offers' / '-n': 'many' is no whole number of 64 bits",
        ),
        (["decide", "c-1", "-c", "web", "--offers", "1_0"], "'1_0' is no whole number of 64 bits"),
        (["decide", "c-1", "-c", "web", "--offers", "\uff11"], "expected digits from 0 to 9"),
        (["decide", "c-1", "-c", "web", "--offers", "1.0"], "'1.0' is no whole number of 64 bits"),
        (["cases", "list", "--count", "1_000"], "'1_000' is no whole number of 64 bits"),
        (["cases", "list", "--count", "0"], "'0' is not right; expected at least 1"),
        (["demo", "--customers", "2000000"], "'2000000' is not right; expected at most 1,000,000"),
        (["fraud", "rules", "--timeout", "1_0"], "'--timeout': '1_0' is no number"),
        (["watch", "stock-alerts", "--count", "1_000"], "'1_000' is no whole number of 64 bits"),
        (["bench", "-c", "web", "--rate", "1_000"], "'1_000' is no number"),
        (["apply"], "Missing option '--folder'"),
        (["load", "customers", "nowhere.csv", "-k", "id"], "'nowhere.csv' does not exist"),
        (["load", "offers"], "No such command 'offers'"),
        (["get", "custmers"], "did you mean 'customers'?"),
        (["get", "customer/c-1"], "did you mean 'customers/c-1'?"),
        (["get", "customers/"], "'customers/' names nothing"),
        (["get", "catalogue/x"], "there is one catalogue"),
        (["get", "offers", "attributes"], "expected one kind of resource"),
        (["get", "offers", "offers/a"], "either all offers or some of them"),
        (["get", "catalogue", "--timeout", "nan"], "'--timeout': 'nan' is no number"),
        (["get", "catalogue", "--timeout", "0"], "--timeout: 0.0 is not right"),
        (["get", "catalogue", "-o", "yaml"], "expected one of text, json"),
        (["decide", "c", "-c", "web", "-x", "basket"], "expected name=value"),
        (["apply", "-f", ".", "--data", "d", "--server", "s:1"], "exclude each other"),
        (
            ["get", "catalogue", "-s", "localhost"],
            "server: 'localhost' is not right; expected HOST",
        ),
        (["get", "catalogue", "-s", "localhost:99999"], "server: 'localhost:99999' is not right"),
        (["watch", "stock-alerts", "-s", "::1:7878"], "server: '::1:7878' is not right"),
        (["record", "events", "-", "-s", "http://localhost"], "server: 'http://localhost' is not"),
    ],
)
def test_a_mistake_in_the_command_line_ends_with_2_and_says_what_is_right(
    command: Command, arguments: list[str], message: str
) -> None:
    outcome = command(*arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.out == ""


def test_no_server_is_one_clear_line_and_a_hint(command: Command) -> None:
    outcome = command("get", "customers/c", "--server", "127.0.0.1:1")
    assert outcome.code == 1
    assert outcome.err == (
        "error: no Instanter server answers at 127.0.0.1:1\n"
        "  hint: start one with `instanter serve`, or name another with --server HOST:PORT\n"
    )


def test_the_socket_of_a_server_is_an_address_too(command: Command) -> None:
    outcome = command("get", "customers/c", "--server", "unix:/nowhere/socket")
    assert outcome.code == 1
    assert outcome.err.startswith("error: no Instanter server answers at unix:/nowhere/socket\n")


def test_a_decision_is_shown_as_a_table(asked: Command) -> None:
    outcome = asked("decide", "c-17", "--channel", "web", "--offers", "2")
    assert outcome.code == 0
    assert "offer-1" in outcome.out
    assert "offer-2" in outcome.out
    assert "profile unknown, catalogue 3, models 0, took 41 µs" in outcome.out


def test_a_decision_is_shown_as_json(asked: Command, toy: ToyServer) -> None:
    outcome = asked(
        *("decide", "c-17", "-c", "web", "-p", "home_hero", "-n", "2", "--json"),
        *("-x", "basket_value=12.5", "-x", "terminal:category=0042", "--request-id", "r-1"),
    )
    decision = json.loads(outcome.out)
    assert [offer["offer"] for offer in decision["offers"]] == ["offer-1", "offer-2"]
    assert decision["offers"][0]["reasons"] == ["PRIOR"]
    assert decision["no_offer_reason"] == "UNSPECIFIED"
    request = toy.seen[0]
    assert (request.placement, request.request_id) == ("home_hero", "r-1")
    assert request.context["basket_value"].number_value == 12.5
    assert request.context["terminal"].category_value == "0042"


def test_no_offer_is_no_failure(asked: Command) -> None:
    outcome = asked("decide", "c-17", "--channel", "quiet")
    assert outcome.code == 0
    assert "No offer: no eligible offer." in outcome.out
    assert "left out, not eligible: 7" in outcome.out


def test_what_the_server_refuses_ends_with_1(asked: Command) -> None:
    outcome = asked("decide", "c-17", "-c", "web", "-n", "-1")
    assert outcome.code == 1
    assert outcome.err == "error: offer_count: '-1' is not right; expected 1 to 100\n"
    assert outcome.out == ""


def test_a_bug_of_the_server_comes_with_its_correlation_id(asked: Command, toy: ToyServer) -> None:
    toy.interrupt = lambda _, context: refuse(
        context, "INTERNAL", "the server made a mistake", "INTERNAL", correlation_id="i-7"
    )
    outcome = asked("get", "catalogue")
    assert outcome.code == 1
    assert outcome.err == "error: the server made a mistake (correlation id i-7)\n"


@pytest.fixture
def filled(asked: Command, toy: ToyServer) -> Command:
    for number in range(5):
        held = Customer(name=f"customers/c-{number}", revision=4)
        held.attributes["age"].number_value = 20.0 + number
        held.attributes["plan"].category_value = "gold"
        held.attributes["opted_in"].flag_value = True
        held.update_time.FromMilliseconds(1_700_000_000_000)
        toy.customers[held.name] = held
    return asked


def test_one_customer_is_an_object_several_are_a_list(filled: Command) -> None:
    one = json.loads(filled("get", "customers/c-1", "--json").out)
    assert one["id"] == "c-1"
    assert one["attributes"] == {"age": 21.0, "plan": "gold", "opted_in": True}
    assert one["update_time"] == "2023-11-14T22:13:20Z"
    several = json.loads(filled("get", "customers/c-1", "customers/c-0", "-o", "json").out)
    assert [each["id"] for each in several] == ["c-1", "c-0"]


def test_a_customer_without_a_profile_is_said_to_be_one(asked: Command, toy: ToyServer) -> None:
    known = Customer(name="customers/c-9")
    known.attributes["purchases"].number_value = 3
    toy.customers[known.name] = known
    shown = asked("get", "customers/c-9").out
    assert "purchases" in shown
    assert "no profile: only what is derived from events" in shown


def test_customers_that_are_not_there_end_with_1_after_the_others(filled: Command) -> None:
    outcome = filled("get", "customers/c-1", "customers/nobody")
    assert outcome.code == 1
    assert "customers/c-1" in outcome.out
    assert outcome.err == "error: there is no customer 'nobody'\n"


def test_customers_are_listed_by_page_or_all(filled: Command, toy: ToyServer) -> None:
    page = filled("get", "customers", "--page-size", "2", "--attributes", "age, plan")
    assert "c-0" in page.out
    assert "c-2" not in page.out
    assert "there are more: --page-token 2, or --all" in page.err
    assert list(toy.seen[-1].read_mask.paths) == ["attributes.age", "attributes.plan"]
    rest = json.loads(
        filled("get", "customers", "--page-size", "3", "--page-token", "2", "--json").out
    )
    assert [each["id"] for each in rest["customers"]] == ["c-2", "c-3", "c-4"]
    lines = filled("get", "customers", "--all", "--page-size", "2", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"c-{n}" for n in range(5)]


def test_of_very_many_changes_the_first_are_shown(asked: Command, shop: Path) -> None:
    for number in range(310):
        (shop / f"z{number:03}.yaml").write_text("offers: []\n")
    out = asked("apply", "-f", shop, "--dry-run").out
    assert "+ offers/z298.yaml" in out
    assert "z299" not in out
    assert "… and 11 more; --json lists all of them" in out
    assert "Would change: 311 created." in out
    found = json.loads(asked("apply", "-f", shop, "--dry-run", "--json").out)
    assert len(found["changes"]) == 311


def test_a_catalogue_is_published_and_read(asked: Command, shop: Path) -> None:
    dry = asked("apply", "-f", shop, "--dry-run")
    assert dry.code == 0
    assert "+ offers/shop.yaml" in dry.out
    assert "Would change: 1 created. Nothing was published (--dry-run)." in dry.out
    assert asked("get", "catalogue").code == 1
    assert "Published revision 1: 1 created." in asked("apply", "-f", shop).out
    assert "Nothing changed; revision 1 is in force." in asked("apply", "-f", shop).out
    (shop / "shop.yaml").write_text(SHOP.replace("400", "500"))
    changed = json.loads(asked("apply", "-f", shop, "--json", "--expect-revision", "1").out)
    assert [change["action"] for change in changed["changes"]] == ["UPDATE"]
    conflict = asked("apply", "-f", shop, "--expect-revision", "1")
    assert conflict.code == 1
    assert conflict.err == "error: revision 2 is in force, not 1\n"
    read = json.loads(asked("get", "catalogue", "--files", "--json").out)
    assert read["revision"] == 2
    assert "value_minor: 500" in read["files"]["shop.yaml"]


def test_attributes_and_offers_are_read_from_the_published_files(
    asked: Command, shop: Path
) -> None:
    asked("apply", "-f", shop)
    table = asked("get", "attributes")
    assert table.code == 0
    assert "basket_value" in table.out
    listed = json.loads(asked("schema", "show", "--json").out)
    assert [each["name"] for each in listed] == ["age", "plan", "basket_value"]
    age = json.loads(asked("get", "attributes/age", "--json").out)
    assert (age["kind"], age["unit"], age["range"]) == ("number", "years", [0.0, 120.0])
    assert "espresso" in asked("get", "offers").out
    offer = json.loads(asked("get", "offers/espresso", "--json").out)
    assert (offer["value_minor"], offer["channels"]) == (400, ["web"])
    unknown = asked("get", "offers/expresso")
    assert unknown.code == 1
    assert unknown.err == (
        "error: there is no offer 'expresso'\n  hint: did you mean 'espresso'?\n"
    )


def break_shop(shop: Path) -> None:
    (shop / "shop.yaml").write_text(SHOP.replace("profile.age", "profile.aeg").replace("EUR", "EU"))


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--data", "store")], ids=str)
def test_all_mistakes_of_a_catalogue_are_listed_with_file_and_line(
    asked: Command, toy: ToyServer, shop: Path, arguments: tuple[str, ...]
) -> None:
    break_shop(shop)
    toy.interrupt = lambda _, context: refuse(
        context, "INVALID_ARGUMENT", "it has mistakes", "CATALOGUE_INVALID"
    )
    outcome = asked("apply", "-f", shop, *arguments)
    assert outcome.code == 1
    lines = outcome.err.splitlines()
    assert lines[0].startswith("shop.yaml:1: currency: 'EU'")
    assert lines[1].startswith("shop.yaml:13: offers/espresso.eligibility: ")
    assert "did you mean" in lines[1]
    assert lines[2] == "error: the catalogue has 2 mistakes; nothing was published"


def test_mistakes_that_only_the_server_sees_are_shown_as_it_says_them(
    asked: Command, shop: Path
) -> None:
    (shop / "shop.yaml").write_text(f"{SHOP}# mistake\n")
    outcome = asked("apply", "-f", shop)
    assert outcome.code == 1
    assert "  'mistake' is not right; expected anything else" in outcome.err


def test_an_empty_folder_is_no_catalogue(asked: Command) -> None:
    Path("empty").mkdir()
    outcome = asked("apply", "-f", "empty")
    assert outcome.code == 1
    assert "*.yaml" in outcome.err


def test_version_is_shown(command: Command) -> None:
    assert command("version").out.startswith("instanter ")
    assert {"instanter", "python", "lmdb"} <= set(json.loads(command("version", "--json").out))


def test_an_unexpected_failure_is_one_line_unless_details_are_wanted(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise ZeroDivisionError("so\nit is")

    monkeypatch.setattr("instanter.cli.configuration.load_settings", fail)
    outcome = command("config", "show")
    assert outcome.code == 1
    assert outcome.err == (
        "error: unexpected ZeroDivisionError: so it is\n"
        "  hint: this is a mistake in Instanter; INSTANTER_DEBUG=1 shows the details to report\n"
    )
    monkeypatch.setenv("INSTANTER_DEBUG", "1")
    assert "Traceback (most recent call last)" in command("config", "show").err


def test_a_file_that_cannot_be_read_is_named(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied", "secret.pem")

    monkeypatch.setattr("instanter.cli.configuration.load_settings", fail)
    outcome = command("config", "show")
    assert (outcome.code, outcome.err) == (1, "error: secret.pem: Permission denied\n")


def test_ctrl_c_ends_with_130_without_a_word(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("instanter.cli.configuration.load_settings", interrupt)
    outcome = command("config", "show")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")
