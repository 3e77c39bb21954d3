"""Small seeded worlds for tests of decisions: a catalogue, a score table, profiles."""

import numpy as np

from instanter.catalogue.compilation import compile_catalogue
from instanter.decision.score_table import ScoreTable

LANES = 64
FILES = {
    "shop.yaml": """
currency: EUR
channels: {web: [home, basket], store: []}
holdout: {rate: 0.1, salt: test}
attributes:
  - {name: age, kind: number, range: [0, 150]}
  - {name: spend, kind: number}
  - {name: segment, kind: category, values: [gold, silver, bronze]}
  - {name: member, kind: flag}
  - {name: joined, kind: instant}
  - {name: basket, kind: number, source: context, range: [0, 10000]}
  - {name: device, kind: category, source: context, values: [phone, till]}
""",
    "offers.yaml": """
offers:
  - name: any
    value_minor: 100
    prior_propensity: 0.2
    treatments: [{channel: web}, {channel: store}]
  - name: adult
    value_minor: 300
    treatments: [{channel: web, placements: [home], weight: 2}]
    eligibility: profile.age >= 18
    context_weights: [{when: context.basket > 50, weight: 1.5}]
  - name: gold
    value_minor: 900
    treatments: [{channel: web}]
    eligibility: profile.segment == 'gold' || profile.spend > 500
    applicability: profile.member
    suitability: "!(profile.age > 70)"
  - name: late
    value_minor: 5000
    treatments: [{channel: web}, {channel: store}]
    valid_from: 2030-01-01
  - name: worthless
    value_minor: 0
    treatments: [{channel: web}]
  - name: phone
    value_minor: 200
    treatments: [{channel: web}]
    eligibility: context.device == 'phone'
    applicability: now - profile.joined > duration('24h')
""",
}


def make_catalogue(files=FILES, revision=1):
    """Compile a test catalogue."""
    return compile_catalogue(files, None, revision=revision, publish_time_ns=1).catalogue


def make_score_table(catalogue, seed, revision=1):
    """Draw a score table over all attributes of a catalogue."""
    draw = np.random.default_rng(seed)
    numbers = {1}
    loaded = list(catalogue.schema.loaded.values())
    context = list(catalogue.schema.context.values())
    predictors = [(0 if a.kind in numbers else 1, a.slot) for a in loaded]
    predictors.sort()
    predictors += sorted((2 if a.kind in numbers else 3, a.slot) for a in context)
    predictors.append((4, 0))
    edges = [
        np.sort(draw.choice([0, 18, 30, 50, 70, 500], 3, replace=False)) if source in (0, 2) else []
        for source, _ in predictors
    ]
    bins = np.array([len(e) + 2 if len(e) else 4 for e in edges], np.int32)
    start, flat = lay_out_edges(edges)
    columns = -(-len(catalogue.offers) // 32) * 32
    rows = int(bins.sum())
    knots = np.sort(draw.normal(0, 2, (columns, 4)), axis=1)
    return ScoreTable(
        revision=revision,
        predictor_slot=np.array([slot for _, slot in predictors], np.int32),
        predictor_source=np.array([source for source, _ in predictors], np.uint8),
        profile_predictor_count=len(loaded),
        edge_start=start,
        edges=flat,
        bin_count=bins,
        row_start=np.concatenate([[0], np.cumsum(bins)[:-1]]).astype(np.int32),
        modal_bin=np.array([draw.integers(0, b) for b in bins], np.int32),
        weight=draw.integers(-3000, 3000, (rows, columns)).astype(np.int16),
        base=draw.integers(-9000, 9000, columns).astype(np.int32),
        context_base=draw.integers(-900, 900, columns).astype(np.int32),
        scale=np.full(columns, 1e-4),
        intercept=draw.normal(-1, 1, columns),
        prior_logit=draw.normal(-1, 1, columns),
        calibration_x=knots,
        calibration_y=knots * 0.8,
        fitted=draw.integers(0, 2, columns).astype(np.uint8),
    )


def lay_out_edges(edges):
    """Interleave the edges of 64 predictors at a time, as `kernels/binning` reads them."""
    start, flat = np.zeros(len(edges) + 1, np.int32), []
    for block in range(0, len(edges), LANES):
        lanes = edges[block : block + LANES]
        depth = max(map(len, lanes))
        table = np.full((depth, LANES), np.nan, np.float32)
        for lane, own in enumerate(lanes):
            table[: len(own), lane] = own
            start[block + lane] = sum(map(np.size, flat)) + lane
        flat.append(table.ravel())
    start[-1] = sum(map(np.size, flat))
    return start, np.concatenate(flat) if flat else np.zeros(0, np.float32)


def draw_slots(catalogue, count, seed):
    """Draw profiles of a test catalogue, with missing values; uint32[count, S]."""
    draw = np.random.default_rng(seed)
    slots = np.empty((count, catalogue.schema.profile_slot_count), np.uint32)
    for attribute in catalogue.schema.loaded.values():
        column = {
            1: lambda: draw.choice([0, 17.5, 18, 30, 71, 600], count).astype("f4").view("u4"),
            2: lambda: draw.integers(0, 3, count),
            3: lambda: draw.integers(0, 2, count),
            4: lambda: draw.integers(1_500_000_000, 1_900_000_000, count),
        }[int(attribute.kind)]()
        slots[:, attribute.slot] = column
    slots[draw.random(slots.shape) < 0.2] = 0xFFFF_FFFF
    return slots
