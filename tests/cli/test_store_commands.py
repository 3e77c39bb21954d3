"""Commands that open the store's folder themselves: apply --data, load, schema infer."""

import json
import os
from pathlib import Path

import pytest

from instanter.cli.progress import make_line_report
from instanter.store.environment import Environment
from instanter.store.publications import MODELS, publish
from tests.cli.outcomes import Command

SHOP = """\
attributes:
  - {name: age, kind: number, range: [0, 120]}
  - {name: plan, kind: category, values: [tin, gold]}
  - {name: email_opened, kind: number}
"""


@pytest.fixture
def store(command: Command) -> Path:
    Path("shop").mkdir()
    Path("shop/attributes.yaml").write_text(SHOP)
    assert command("apply", "-f", "shop", "--data", "store").code == 0
    return Path("store")


def write(text: str) -> Path:
    file = Path("customers.csv")
    file.write_text(text)
    return file


def test_a_catalogue_is_published_without_a_server(command: Command, store: Path) -> None:
    again = json.loads(command("apply", "-f", "shop", "--data", store, "--json").out)
    assert again["catalogue"]["revision"] == 1
    assert again["catalogue"]["attribute_count"] == 3
    assert again["changes"] == []
    Path("shop/attributes.yaml").write_text(SHOP.replace("120", "130"))
    conflict = command("apply", "-f", "shop", "--data", store, "--expect-revision", "7")
    assert conflict.code == 1
    assert "the catalogue is at revision 1, not 7" in conflict.err
    changed = command("apply", "-f", "shop", "--data", store, "--expect-revision", "1")
    assert changed.code == 0
    assert changed.out.splitlines() == [
        "~ attributes/age",
        "    - range: [0.0, 120.0]",
        "    + range: [0.0, 130.0]",
        "Published revision 2: 1 updated.",
    ]


def test_a_dry_run_leaves_nothing_behind(command: Command) -> None:
    Path("shop").mkdir()
    Path("shop/attributes.yaml").write_text(SHOP)
    outcome = command("apply", "-f", "shop", "--data", "store", "--dry-run")
    assert outcome.code == 0
    assert "Would change: 4 created." in outcome.out
    assert not Path("store").exists()


def test_customers_are_loaded(command: Command, store: Path) -> None:
    file = write("id,age,plan,email_opened\na,30,gold,1\nb,,tin,\n")
    outcome = command("load", "customers", file, "--key", "id", "--data", store)
    assert outcome.code == 0, outcome.err
    assert "Loaded 2 customers (2 new, 0 updated) with 3 attributes" in outcome.out
    again = json.loads(
        command("load", "customers", file, "-k", "id", "--data", store, "--json").out
    )
    assert (again["created_count"], again["updated_count"]) == (0, 2)
    assert again["rejections"] == []


def test_rejected_rows_are_listed_and_end_with_1(command: Command, store: Path) -> None:
    file = write("id,age,plan\na,30,gold\nb,200,tin\nc,40,bronze\n,20,tin\n")
    outcome = command(
        *("load", "customers", file, "-k", "id", "--data", store, "--rejects", "rejects.csv")
    )
    assert outcome.code == 1
    assert "Loaded 1 customer (1 new, 0 updated)" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines() if line[:5].strip().isdigit()]
    assert [row[:2] for row in rows] == [["2", "age"], ["3", "plan"], ["4", "id"]]
    assert "1 attribute without a column in the file, so the values stay: email_op" in outcome.err
    assert "error: 3 of 4 rows rejected, 1 loaded" in outcome.err
    lines = Path("rejects.csv").read_text().splitlines()
    assert lines[0] == "row,column,value,reason"
    assert len(lines) == 4
    report = command("load", "customers", file, "-k", "id", "--data", store, "--json")
    assert report.code == 1
    assert [each["row"] for each in json.loads(report.out)["rejections"]] == [2, 3, 4]


def test_columns_that_are_no_attribute_are_refused_unless_told(
    command: Command, store: Path
) -> None:
    file = write("id,age,shoe_size\na,30,44\n")
    refused = command("load", "customers", file, "-k", "id", "--data", store)
    assert refused.code == 1
    assert "shoe_size" in refused.err
    taken = command(
        *("load", "customers", file, "-k", "id", "--data", store, "--ignore-unknown-columns")
    )
    assert taken.code == 0
    assert "1 column skipped, no attribute's: shoe_size" in taken.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-k", "id", "--data", "stroe"], "stroe: there is no store in this folder"),
        (["-k", "idd", "--data", "store"], "did you mean 'id'?"),
        (["-k", "id", "--data", "empty"], "no catalogue has been published in this store yet"),
    ],
)
def test_a_load_that_cannot_begin_says_why(
    command: Command, store: Path, arguments: list[str], message: str
) -> None:
    Path("empty").mkdir()
    outcome = command("load", "customers", write("id,age\na,30\n"), *arguments)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.out == ""
    assert not Path("stroe").exists()


@pytest.mark.parametrize("count", [1, 5_000])
@pytest.mark.parametrize("name", ["full.csv", "full.jsonl"])
def test_rejects_that_find_no_room_are_told(
    command: Command, store: Path, name: str, count: int
) -> None:
    Path(name).symlink_to("/dev/full")
    file = write("id,age\n" + "".join(f"{n},{n % 2 and 300}\n" for n in range(2 * count)))
    outcome = command("load", "customers", file, "-k", "id", "--data", store, "--rejects", name)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == (
        f"error: --rejects: '{name}' is not right; expected a file that can be written (No space "
        "left on device); what was loaded before stays"
    )


def test_a_schema_is_inferred_and_can_be_published(command: Command) -> None:
    file = write("id,age,plan,accepted\n" + "".join(f"{n},{n},gold,1\n" for n in range(30)))
    shown = command("schema", "infer", file, "-k", "id", "-x", "accepted")
    assert shown.code == 0
    assert "- name: age\n    kind: number" in shown.out
    assert "accepted" not in shown.out
    written = command("schema", "infer", file, "-k", "id", "-x", "accepted", "-o", "new/a.yaml")
    assert written.out == ""
    assert "new/a.yaml: 2 attributes (1 number, 1 category)" in written.err
    assert Path("new/a.yaml").read_text() == shown.out
    assert [path.name for path in Path("new").iterdir()] == ["a.yaml"]
    assert command("apply", "-f", "new", "--data", "store").code == 0


def test_an_edited_schema_is_not_overwritten(command: Command) -> None:
    file = write("id,age\n1,30\n")
    Path("a.yaml").write_text("edited")
    refused = command("schema", "infer", file, "-k", "id", "-o", "a.yaml")
    assert refused.code == 1
    assert refused.err.splitlines()[0] == "error: a.yaml: exists already"
    assert Path("a.yaml").read_text() == "edited"
    assert command("schema", "infer", file, "-k", "id", "-o", "a.yaml", "--force").code == 0
    assert "age" in Path("a.yaml").read_text()


def test_a_schema_takes_the_place_of_no_pipe(command: Command) -> None:
    file = write("id,age\n1,30\n")
    os.mkfifo("pipe")
    outcome = command("schema", "infer", file, "-k", "id", "-o", "pipe", "--force")
    assert (outcome.code, outcome.err.splitlines()[0]) == (1, "error: pipe: is no plain file")
    assert Path("pipe").is_fifo()


def test_real_profiles_of_1000_attributes_need_no_typing(
    command: Command, data_folder: Path
) -> None:
    file = data_folder / "profiles_1000" / "online_retail_profiles_1000.parquet"
    if not file.is_file():
        pytest.skip(f"no real data: {file} is absent")
    target = "target_buys_after_2011_10_01"
    inferred = command(
        "schema", "infer", file, "-k", "CustomerID", "-x", target, "-o", "shop/a.yaml"
    )
    assert inferred.code == 0, inferred.err
    published = json.loads(command("apply", "-f", "shop", "--data", "store", "--json").out)
    assert published["catalogue"]["attribute_count"] == 1000
    refused = command("load", "customers", file, "-k", "CustomerID", "--data", "store")
    assert refused.code == 1
    assert target in refused.err
    loaded = command(
        *("load", "customers", file, "-k", "CustomerID", "--data", "store"),
        *("--ignore-unknown-columns", "--json"),
    )
    assert loaded.code == 0, loaded.err
    report = json.loads(loaded.out)
    assert (report["created_count"], report["attributes_loaded_count"]) == (3616, 1000)


OFFERS = """\
currency: EUR
channels:
  web: []
offers:
  - name: espresso
    value_minor: 400
    prior_propensity: 0.1
    treatments: [{channel: web, name: banner}]
"""


@pytest.fixture
def history(command: Command, store: Path) -> Path:
    """Labels that are yes exactly for the golden plan."""
    Path("shop/offers.yaml").write_text(OFFERS)
    assert command("apply", "-f", "shop", "--data", store).code == 0
    plans = ("gold", "tin")
    rows = [f"{n},{20 + n % 60},{plans[n % 2]},{n % 2 ^ 1}" for n in range(600)]
    file = Path("history.csv")
    file.write_text("\n".join(["id,age,plan,bought", *rows]))
    return file


def test_a_model_is_fitted_and_published(command: Command, store: Path, history: Path) -> None:
    fit = ("fit", history, "--target", "bought", "--offer", "espresso", "--data", store)
    outcome = command(*fit)
    assert outcome.code == 0, outcome.err
    assert "Learned 600 rows (50.00% positive) with 2 predictors." in outcome.out
    assert "Published models 1 with offer espresso." in outcome.out
    assert "not learned from: id" in outcome.err
    again = json.loads(command(*fit, "--channel", "web", "--json").out)
    assert again["auc"] > 0.95
    assert (again["model_revision"], again["published"]) == (2, True)
    blind = json.loads(command(*fit, "-x", "plan", "--fresh", "--dry-run", "--json").out)
    assert blind["auc"] < 0.7
    assert blind["predictor_count"] == 1
    assert (blind["model_revision"], blind["published"]) == (2, False)


def test_models_that_cannot_be_read_are_replaced_by_fresh_ones(
    command: Command, store: Path, history: Path
) -> None:
    with Environment.open(store) as environment:
        environment.write(lambda txn: publish(txn, MODELS, b"no models", 1))
    fit = ("fit", history, "--target", "bought", "--offer", "espresso", "--data", store)
    refused = command(*fit)
    assert refused.code == 1
    assert "error: the models cannot be read" in refused.err
    fresh = command(*fit, "--fresh")
    assert fresh.code == 0, fresh.err
    assert "Published models 2 with offer espresso." in fresh.out
    assert command(*fit).code == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--offer": "expresso"}, "did you mean 'espresso'?"),
        ({"--target": "bougt"}, "did you mean 'bought'?"),
        ({"--target": "age"}, "expected a label: yes or no, true or false, 1 or 0"),
        ({"--channel": "wbe"}, "did you mean 'web'?"),
        ({"--exclude": "pln"}, "did you mean 'plan'?"),
        ({"--passes": "0"}, "passes: '0' is not right; expected a whole number from 1"),
        ({"--data": "stroe"}, "there is no store in this folder"),
    ],
    ids=str,
)
def test_a_fit_that_cannot_be_says_why_and_publishes_nothing(
    command: Command, store: Path, history: Path, changed: dict[str, str], message: str
) -> None:
    options = {"--target": "bought", "--offer": "espresso", "--data": "store", **changed}
    outcome = command("fit", history, *(part for pair in options.items() for part in pair))
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.out == ""
    good = ("fit", history, "-t", "bought", "--offer", "espresso", "--data", store, "--dry-run")
    assert json.loads(command(*good, "--json").out)["model_revision"] == 0


class Clock:
    def __init__(self) -> None:
        self.time_ns = 0

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return self.time_ns


def test_off_a_terminal_progress_is_one_line_every_five_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    tell = make_line_report("loading", "rows", clock)
    for second in range(12):
        clock.time_ns = second * 1_000_000_000
        tell(second * 1_000, 20_000 if second < 8 else 0)
    assert capsys.readouterr().err.splitlines() == [
        "loading: 5,000 of 20,000 (25%) rows",
        "loading: 10,000 rows",
    ]
