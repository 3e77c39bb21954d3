"""A small catalogue with events, and conditions evaluated as events are."""

import numpy as np

from instanter.catalogue.events import as_attribute
from instanter.catalogue.schema import MISSING_CODE
from instanter.catalogue.values import encode_value
from tests.catalogue.worlds import run_program

EVENTS = """\
events:
  - name: purchase
    description: Something was paid for.
    fields:
      - {name: amount, kind: number, unit: EUR, range: [0, 100000], required: true}
      - {name: department, kind: category, values: [food, toys]}
      - {name: online, kind: flag}
"""

DERIVED = """\
attributes:
  - {name: age, kind: number, unit: years}
  - {name: consent_email, kind: flag}
  - {name: consent_marketing, kind: flag}
  - {name: time_zone, kind: category, values: [Europe/Berlin, Asia/Tokyo]}
  - {name: purchases_30d, kind: number, source: derived,
     derive: {event: purchase, function: count, window: 30d}}
  - name: purchases_online_30d
    kind: number
    source: derived
    derive: {event: purchase, function: count, window: 30d, where: "amount > 10.0 && online"}
  - {name: spend, kind: number, unit: EUR, source: derived,
     derive: {event: purchase, function: sum, field: amount, half_life: 7d}}
  - {name: last_department, kind: category, values: [food, toys], source: derived,
     derive: {event: purchase, function: last, field: department, window: 90d}}
  - {name: quiet_for, kind: number, unit: s, source: derived,
     derive: {event: purchase, function: time_since_last, window: 90d}}
  - {name: online_share, kind: number, source: derived,
     derive: {function: ratio, numerator: purchases_online_30d, denominator: purchases_30d}}
"""

POLICY = """\
contact_policy:
  time_zone: {attribute: time_zone, default: Europe/Berlin}
  caps:
    - {name: web_daily, count: 3, window: 1d, channel: web}
    - {name: same_offer, count: 2, window: 7d, per: offer}
  cool_off:
    - {after: rejected, for: 30d, per: offer}
  quiet_hours:
    - {channels: [sms], from: "21:00", to: "08:00"}
  consent:
    - {attribute: consent_email, channel: email}
    - {attribute: consent_marketing, purpose: marketing}
"""

RESPONSE = """\
holdout: {rate: 0.1}
arms: {random_rate: 0.05, salt: winter}
outcomes: {wait: 24h, accept_for: 30d}
learning: {enabled: true, half_life_labels: 5000, exploration: 1.0, unanswered: after_wait}
"""

OFFERS = """\
currency: EUR
channels: {web: [home], email: [], sms: []}
offers:
  - name: espresso
    value_minor: 1250
    purpose: marketing
    treatments: [{channel: web}, {channel: email}, {channel: sms}]
    eligibility: profile.purchases_30d >= 1 && profile.last_department == 'food'
"""

EVENT_FILES = {
    "attributes.yaml": DERIVED,
    "events.yaml": EVENTS,
    "offers.yaml": OFFERS,
    "policy.yaml": POLICY,
    "response.yaml": RESPONSE,
}


def evaluate_condition(catalogue, attribute, values, now_s=0.0):
    """Return the truth (0, 1, 2) of a derived attribute's condition on one event."""
    (derivation,) = (d for d in catalogue.derivations if d.attribute == attribute)
    (event,) = (e for e in catalogue.events if e.name == derivation.event)
    row = np.full(len(event.fields), MISSING_CODE, np.uint32)
    for field in event.fields:
        if field.name in values:
            value = values[field.name]
            row[field.index] = encode_value(as_attribute(field), value, field.name)
    program = catalogue.event_programs[event.name]
    truths = run_program(program, np.zeros(0, np.uint32), row, now_s)
    return int(truths[derivation.condition_literal])
