"""Small catalogues for tests, and rules evaluated as a decision evaluates them."""

import numpy as np
import yaml

from instanter.catalogue.compilation import compile_catalogue
from instanter.catalogue.schema import MISSING_CODE
from instanter.catalogue.values import encode_value
from instanter.errors import CatalogueInvalidError
from instanter.kernels.eligibility import evaluate_program

ATTRIBUTES = """\
attributes:
  - {name: age, kind: number, unit: years, range: [0, 120]}
  - {name: income, kind: number, unit: EUR}
  - {name: segment, kind: category, values: [bronze, silver, gold, platinum]}
  - {name: member, kind: flag}
  - {name: last_visit, kind: instant}
  - {name: basket_value, kind: number, source: context, unit: EUR}
  - {name: device, kind: category, source: context, values: [phone, desktop]}
"""

SHOP = """\
currency: EUR
channels:
  web: [home, basket]
  store:
"""

OFFER = """\
offers:
  - name: espresso
    value_minor: 1250
    treatments: [{channel: web}]
"""

FILES = {"attributes.yaml": ATTRIBUTES, "offers.yaml": OFFER, "shop.yaml": SHOP}


def compile_files(files, previous=None, revision=1):
    return compile_catalogue(files, previous, revision=revision, publish_time_ns=1_000)


def compile_attributes(attributes, previous=None):
    return compile_files({"attributes.yaml": f"attributes:\n{attributes}"}, previous)


def problems_of(files, previous=None):
    """Return the mistakes of a catalogue; none when it compiles."""
    try:
        compile_files(files, previous)
    except CatalogueInvalidError as error:
        return list(error.problems)
    return []


def offers_with_rules(rules):
    """Return the files of a catalogue with one offer for each rule, r0, r1, …"""
    offers = [
        {
            "name": f"r{index}",
            "value_minor": 100,
            "treatments": [{"channel": "web"}],
            "eligibility": rule,
        }
        for index, rule in enumerate(rules)
    ]
    return {
        "attributes.yaml": ATTRIBUTES,
        "shop.yaml": SHOP,
        "offers.yaml": yaml.safe_dump({"offers": offers}, width=10_000),
    }


def compile_rules(rules, attributes=ATTRIBUTES):
    files = {**offers_with_rules(rules), "attributes.yaml": attributes}
    return compile_files(files).catalogue


def make_rows(schema, values):
    """Return the profile's and the context's slots that hold values given by attribute name."""
    rows = []
    for attributes, count in (
        (schema.loaded, schema.profile_slot_count),
        (schema.context, schema.context_slot_count),
    ):
        row = np.full(count, MISSING_CODE, np.uint32)
        for name, value in values.items():
            if name in attributes:
                row[attributes[name].slot] = encode_value(attributes[name], value, name)
        rows.append(row)
    return rows


@np.errstate(all="ignore")  # kernels divide as IEEE says, with or without their compiler
def run_program(program, slots, context, now_s):
    """Return the truth (0, 1, 2) of each literal of a compiled program."""
    truths = np.full(program.truth_count, 9, np.uint8)
    evaluate_program(
        slots,
        context,
        now_s,
        program.constants,
        program.input_slot,
        program.input_source,
        program.term_op,
        program.term_a,
        program.term_b,
        program.predicate_value,
        program.predicate_low,
        program.predicate_high,
        program.predicate_missing,
        program.node_start,
        program.node_literal,
        np.zeros(program.value_count),
        truths,
    )
    return truths


def evaluate_rules(catalogue, values, now_s=0.0):
    """Return the truth (0, 1, 2) of each offer's eligibility, offers in the order r0, r1, …"""
    program = catalogue.program
    slots, context = make_rows(catalogue.schema, values)
    truths = run_program(program, slots, context, now_s)
    found = {
        int(offer.name[1:]): int(truths[literal])
        for offer, literal in zip(catalogue.offers, catalogue.rule_literal[0], strict=True)
    }
    return [found[index] for index in range(len(found))]
