"""The commands of two chapters in README.md, run as they are printed there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from instanter.cli.replay.mapping import load_mapping
from instanter.cli.stock_replay.mapping import load_movement_mapping
from tests.api.shop import open_shop
from tests.zones import find_noon_zone

PAGE = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")


def find_section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def find_block(section: str, language: str) -> str:
    return find_blocks(section, language)[0]


def find_blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def run_commands(commands: str, work: Path, store: Path) -> str:
    """Return what the commands of a page say, run in a folder against a server of their own."""
    with open_shop(store, "fast") as shop:
        environment = {
            **os.environ,
            "INSTANTER_SERVER": shop.server.target,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["bash", "-euc", commands],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_card_payment_is_checked_as_the_page_says(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "shop").mkdir(parents=True)
    # As the page has it: the currency in a file of its own, and nothing but `fraud:` in this one.
    (work / "shop/shop.yaml").write_text("currency: EUR\n")
    rules = find_block(find_section("The check at the till"), "yaml")
    (work / "shop/fraud.yaml").write_text(rules)
    (work / "numbers.txt").write_text("4539578763621486\n378282246310005\n")
    commands = find_block(find_section("Check a card payment"), "sh")
    said = run_commands(commands, work, tmp_path / "store")
    assert re.search("^approve$.*^decline$", said, re.MULTILINE | re.DOTALL), said
    assert "by hotlist" in said
    assert "newly stopped" in said
    assert "2 transactions from" in said


def test_the_mapping_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(find_block(find_section("Check a card payment"), "yaml"))
    mapping = load_mapping(tmp_path / "mapping.yaml")
    assert (mapping.label_delay_s, mapping.score_from) == (7 * 86_400, "2018-07-01")


def test_stock_is_watched_as_the_page_says(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "shop").mkdir(parents=True)
    section = find_section("Watch the stock")
    catalogue = "currency: EUR\n" + find_block(section, "yaml")
    # As the page says, a day that has just begun tells no rate yet.
    catalogue = catalogue.replace("Europe/Berlin", find_noon_zone())
    (work / "shop/stock.yaml").write_text(catalogue)
    said = run_commands(find_block(section, "sh"), work, tmp_path / "store")
    assert "receipt-4711/1: 1 recorded, 0 had been before" in said
    assert "receipt-4711/1: 0 recorded, 1 had been before" in said
    assert re.search("0 open.* 1  raised .*low cover", said, re.DOTALL)
    assert re.search(" 2  raised .*reorder .*berlin-1 SKU1  available 15 .*→ order 85", said)
    assert "→ bring 85 from berlin-2" in said
    assert "1: low cover of SKU1 at berlin-1: acknowledged" in said
    told = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [(each["change"], each["alert"]["id"]) for each in told] == [
        ("ACKNOWLEDGED", "1"),
        ("CLEARED", "2"),
    ]
    assert re.search(r"berlin-1 +SKU1 +95 ", said)


def test_the_mapping_of_recorded_movements_on_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(find_blocks(find_section("Watch the stock"), "yaml")[1])
    mapping = load_movement_mapping(tmp_path / "mapping.yaml")
    assert mapping.draw is not None
    assert (mapping.draw.lead_days, mapping.prefixes["movement_id"]) == (5, "or-")
