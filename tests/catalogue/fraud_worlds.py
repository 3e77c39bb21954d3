"""A small catalogue with a check at the till."""

FRAUD = """\
currency: EUR
attributes:
  - {name: age, kind: number, unit: years}
fraud:
  fields:
    recurring: {kind: flag}
    basket: {kind: category, values: [food, gold]}
    points_used: {kind: number, range: [0, 1000]}
  terminals:
    t1: {latitude: 50.1, longitude: 8.6, merchant: m1}
    t2: {merchant: m1}
  velocities:
    card_count_10m: {per: card, function: count, window: 10m}
    card_spend_1d:
      {per: card, function: sum, of: amount, window: 1d,
       where: transaction.channel == 'card_present'}
    card_terminals_1h: {per: card, function: distinct, of: terminal, window: 1h}
    card_approved_1h: {per: card, function: count, window: 1h, counts: approved}
    device_mean_1d: {per: device, function: mean, of: points_used, window: 1d}
    terminal_frauds_28d: {per: terminal, function: frauds, window: 35d}
  rules:
    many: {when: velocity.card_count_10m >= 5, disposition: decline, reason: VELOCITY}
    far: {when: travel.impossible, points: 60, reason: IMPOSSIBLE_TRAVEL}
    gold: {when: transaction.basket == 'gold' && transaction.currency == 'EUR', points: 40,
           reason: GOLD}
    old: {when: profile.age > 90, disposition: refer, reason: AGE, shadow: true}
  thresholds:
    - {merchants: [m9], amount_minor_from: 100000, refer: 30, decline: 50}
    - {refer: 60, decline: 90}
"""

FRAUD_FILES = {"fraud.yaml": FRAUD}
