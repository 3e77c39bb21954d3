"""The commands of "Check a card payment" in README.md, run as they are printed there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from instanter.cli.replay.mapping import load_mapping
from tests.api.shop import open_shop

PAGE = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")


def find_section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def find_block(section: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


def test_a_card_payment_is_checked_as_the_page_says(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "shop").mkdir(parents=True)
    catalogue = "currency: EUR\n" + find_block(find_section("The check at the till"), "yaml")
    (work / "shop/fraud.yaml").write_text(catalogue)
    (work / "numbers.txt").write_text("4539578763621486\n378282246310005\n")
    commands = find_block(find_section("Check a card payment"), "sh")
    with open_shop(tmp_path / "store", "fast") as shop:
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
    assert re.search("^approve$.*^decline$", done.stdout, re.MULTILINE | re.DOTALL), done.stdout
    assert "by hotlist" in done.stdout
    assert "2 transactions from" in done.stdout


def test_the_mapping_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(find_block(find_section("Check a card payment"), "yaml"))
    mapping = load_mapping(tmp_path / "mapping.yaml")
    assert (mapping.label_delay_s, mapping.score_from) == (7 * 86_400, "2018-07-01")
