"""Compiles the files of a catalogue into the arrays that decisions run on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instanter import limits
from instanter.card_data import EXPECTED, list_card_lines
from instanter.catalogue.beginnings import list_beginnings
from instanter.catalogue.changes import Change, find_changes
from instanter.catalogue.compiled import CompiledCatalogue, Offer
from instanter.catalogue.contact_policy_resolution import resolve_contact_policy
from instanter.catalogue.currencies import find_minor_digits
from instanter.catalogue.declarations import Declarations, read_declarations
from instanter.catalogue.derivations import DerivationCompiler, find_codes
from instanter.catalogue.event_evolution import evolve_events
from instanter.catalogue.evolution import evolve_schema
from instanter.catalogue.fraud_compilation import FraudCompiler
from instanter.catalogue.problems import Problems
from instanter.catalogue.program_builder import ProgramBuilder, ProgramTooLargeError, Truth
from instanter.catalogue.rule_declarations import compile_rule
from instanter.catalogue.rules import RuleCompiler, offer_rooms
from instanter.catalogue.schema import SCHEMA_EMPTY, Schema
from instanter.catalogue.stock_compilation import StockCompiler
from instanter.catalogue.yaml_reader import Reader

_NO_RULE = -1


@dataclass(frozen=True, slots=True)
class Compilation:
    """What came out of compiling a catalogue.

    Attributes
    ----------
    catalogue
        Ready to be published.
    changes
        What differs from the previous catalogue; empty when they mean the same.
    warnings
        What is allowed but deserves a look, one sentence each.
    """

    catalogue: CompiledCatalogue
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]


def compile_catalogue(
    files: Mapping[str, str],
    previous: CompiledCatalogue | None,
    *,
    revision: int,
    publish_time_ns: int,
) -> Compilation:
    """Validate and compile a catalogue; a pure function of its arguments.

    Parameters
    ----------
    files
        Path below the catalogue's folder to YAML text: the whole catalogue.
    previous
        The catalogue in force, whose slots and codes are kept; None before the first.
    revision
        The revision that the new catalogue gets.
    publish_time_ns
        When it is published, nanoseconds since 1970.

    Raises
    ------
    CatalogueInvalidError
        With everything that is wrong, at most `limits.CATALOGUE_PROBLEMS_MAX` problems.
    """
    problems = Problems()
    _check_card_data(files, problems)
    # Before anything that may quote what stands there.
    problems.check()
    _check_files(files, problems)
    problems.check()
    warnings: list[str] = []
    declarations = read_declarations(files, problems)
    events = evolve_events(
        declarations.events, previous.events if previous else (), problems, warnings
    )
    schema = evolve_schema(
        declarations.attributes,
        previous.schema if previous else SCHEMA_EMPTY,
        problems,
        warnings,
        codes=find_codes(declarations.attributes, events),
    )
    reader = Reader(problems)
    conditions = DerivationCompiler(schema, events, files, reader, warnings)
    conditions.read(declarations.attributes)
    policy = resolve_contact_policy(declarations, schema, reader, warnings)
    rules = _compile_rules(declarations, schema, files, problems)
    before = previous.fraud if previous else None
    fraud = FraudCompiler(schema, files, problems, warnings, before, revision).compile(
        declarations.fraud
    )
    offers = tuple(declared.offer for declared in declarations.offers)
    stock = StockCompiler(schema, events, offers, reader, warnings, previous)
    stock_plan = stock.compile(declarations.stock)
    problems.check()
    assert rules is not None, "without problems there is a program"
    if not offers and fraud is None and stock_plan is None:
        warnings.append("there are no offers: every decision will be empty")
    derived = conditions.build(
        previous.derivations if previous else (), previous.state_id_next if previous else 1
    )
    catalogue = replace(
        _assemble(declarations, schema, rules, files, revision, publish_time_ns),
        events=events,
        event_programs=derived.programs,
        derivations=derived.derivations,
        state_id_next=derived.state_id_next,
        contact_policy=policy,
        fraud=fraud,
        stock=stock_plan,
        unit_code_next=stock.unit_code_next,
    )
    if previous is not None:
        warnings += list_beginnings(previous, catalogue)
    return Compilation(catalogue, find_changes(previous, catalogue), tuple(warnings))


def _check_card_data(files: Mapping[str, str], problems: Problems) -> None:
    """Refuse card numbers and verification codes, in comments too: files are kept as they are."""
    for path, text in files.items():
        for line, what in list_card_lines(text):
            problems.add(path, line, "content", "", f"holds {what}; expected {EXPECTED}")


def _check_files(files: Mapping[str, str], problems: Problems) -> None:
    if not files:
        problems.add("", 0, "files", "", "there are no files; a catalogue has at least one")
    if len(files) > limits.CATALOGUE_FILES_MAX:
        message = f"there are {len(files):,} files; at most {limits.CATALOGUE_FILES_MAX:,}"
        problems.add("", 0, "files", "", message)
    total = 0
    for path, text in files.items():
        size = len(text.encode("utf-8", "surrogatepass"))
        total += size
        if size > limits.CATALOGUE_FILE_SIZE_BYTES_MAX:
            message = f"has {size:,} bytes; at most {limits.CATALOGUE_FILE_SIZE_BYTES_MAX:,}"
            problems.add(path[:300], 0, "content", "", f"{message} are allowed")
        path_size = len(path.encode("utf-8", "surrogatepass"))
        if not 1 <= path_size <= limits.CATALOGUE_PATH_SIZE_BYTES_MAX or not path.isprintable():
            message = f"must be 1 to {limits.CATALOGUE_PATH_SIZE_BYTES_MAX} printable bytes"
            problems.add(path[:300], 0, "path", path, message)
        elif not path.endswith((".yaml", ".yml")):
            problems.add(path, 0, "path", path, "must end in .yaml or .yml")
    if total > limits.CATALOGUE_SIZE_BYTES_MAX:
        message = f"have {total:,} bytes together; at most {limits.CATALOGUE_SIZE_BYTES_MAX:,}"
        problems.add("", 0, "files", "", f"{message} are allowed")


@dataclass(frozen=True, slots=True)
class _Rules:
    builder: ProgramBuilder
    truths: list[list[Truth | None]]  # of each offer: three rules, then its context weights


def _compile_rules(
    declarations: Declarations, schema: Schema, files: Mapping[str, str], problems: Problems
) -> _Rules | None:
    builder = ProgramBuilder()
    compiler = RuleCompiler(offer_rooms(schema), builder)
    truths: list[list[Truth | None]] = []
    for declared in declarations.offers:
        rules = (*declared.rules, *declared.weight_rules)
        try:
            truths.append(
                [
                    None if rule is None else compile_rule(rule, compiler, files, problems)
                    for rule in rules
                ]
            )
        except ProgramTooLargeError as error:
            node = declared.node
            field = f"offers/{declared.offer.name}"
            problems.add(node.file, node.line, field, "", str(error))
            return None
    return _Rules(builder, truths)


def _assemble(
    declarations: Declarations,
    schema: Schema,
    rules: _Rules,
    files: Mapping[str, str],
    revision: int,
    publish_time_ns: int,
) -> CompiledCatalogue:
    offers = tuple(declared.offer for declared in declarations.offers)
    program, literals = rules.builder.build(t for row in rules.truths for t in row if t is not None)
    remaining = iter(literals)
    rows = [[_NO_RULE if t is None else next(remaining) for t in row] for row in rules.truths]
    weights = [
        (index, literal, factor)
        for index, (offer, row) in enumerate(zip(offers, rows, strict=True))
        for literal, (_, factor) in zip(row[3:], offer.context_weights, strict=True)
    ]
    surfaces = _make_surfaces(declarations.channels)
    treatment_index, treatment_weight = _place_treatments(offers, surfaces)
    minor_per_major = 10 ** (find_minor_digits(declarations.currency) or 0)
    return CompiledCatalogue(
        revision=revision,
        publish_time_ns=publish_time_ns,
        schema=schema,
        currency=declarations.currency,
        channels=declarations.channels,
        surfaces=surfaces,
        holdout_rate=declarations.holdout_rate,
        holdout_salt=declarations.holdout_salt,
        offers=offers,
        program=program,
        rule_literal=np.array([row[:3] for row in rows], np.int32).reshape(-1, 3).T.copy(),
        weight_offer=np.array([w[0] for w in weights], np.int32),
        weight_literal=np.array([w[1] for w in weights], np.int32),
        weight_factor=np.array([w[2] for w in weights], np.float64),
        valid_from_s=np.array([offer.valid_from_s for offer in offers], np.float64),
        valid_to_s=np.array([offer.valid_to_s for offer in offers], np.float64),
        value=np.array([offer.value_minor / minor_per_major for offer in offers], np.float64),
        lever=np.array([offer.lever for offer in offers], np.float64),
        prior_propensity=np.array([offer.prior_propensity for offer in offers], np.float64),
        treatment_index=treatment_index,
        treatment_weight=treatment_weight,
        files=dict(files),
        arms=declarations.arms,
        outcome_rules=declarations.outcome_rules,
        learning_rules=declarations.learning_rules,
    )


def _make_surfaces(channels: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, str], int]:
    pairs = [(name, place) for name in channels for place in ("", *channels[name])]
    return {pair: index for index, pair in enumerate(pairs)}


def _place_treatments(
    offers: tuple[Offer, ...], surfaces: Mapping[tuple[str, str], int]
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Return which treatment each surface shows of each offer, and its weight.

    A treatment for a placement goes before one for the whole channel. The channel as such
    (placement "") shows only what is bound to no placement: whoever does not say where an offer
    will stand cannot be given what was made for one place.
    """
    index = np.full((len(surfaces), len(offers)), -1, np.int16)
    weight = np.zeros((len(surfaces), len(offers)), np.float64)
    for o, offer in enumerate(offers):
        chosen: dict[tuple[str, str], int] = {}
        for t, treatment in enumerate(offer.treatments):
            for placement in treatment.placements:
                chosen[treatment.channel, placement] = t
        everywhere = {t.channel: i for i, t in enumerate(offer.treatments) if not t.placements}
        for (channel, placement), surface in surfaces.items():
            found = chosen.get((channel, placement), everywhere.get(channel, -1))
            if found >= 0:
                index[surface, o] = found
                weight[surface, o] = offer.treatments[found].weight
    return index, weight
