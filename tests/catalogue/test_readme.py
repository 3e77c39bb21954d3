"""The catalogue that README.md shows is one."""

import re
from pathlib import Path

from tests.catalogue.worlds import compile_files

PAGE = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")

INFERRED = """\
attributes:
  - {name: age, kind: number}
  - {name: country, kind: category, values: [AT, DE]}
  - {name: last_espresso, kind: instant}
  - {name: newsletter, kind: flag}
"""


def test_what_the_page_shows_compiles():
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    # The mapping of a file's columns is not a part of the catalogue.
    blocks = [block for block in blocks if not block.startswith("columns:")]
    files = {f"{index}.yaml": block for index, block in enumerate(blocks)}
    compilation = compile_files({**files, "attributes.yaml": INFERRED})
    assert len(blocks) == 6
    assert len(compilation.catalogue.derivations) == 5
    assert len(compilation.catalogue.contact_policy.consents) == 2
    assert len(compilation.catalogue.fraud.rules) == 4
    stock = compilation.catalogue.stock
    assert [policy.name for policy in stock.policies] == ["policies[0]", "policies[1]"]
    assert stock.purchases["checkout"].units_of_values == (0, 1)
    assert stock.stocked_units == (0,)
    assert stock.grants.keys() == {"nord"}
    (warning,) = compilation.warnings
    assert "quiet hours are those of Europe/Berlin for everybody" in warning
