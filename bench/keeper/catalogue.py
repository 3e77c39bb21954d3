"""The benchmark's catalogue: the standard workload, events, ten derived attributes."""

from bench import workload

EVENT_KIND = "purchase"
DEPARTMENTS = ("food", "garden", "toys", "wine")

_EVENTS = """\
events:
  - name: purchase
    fields:
      - {name: amount, kind: number, unit: EUR, range: [0, 100000], required: true}
      - {name: department, kind: category, values: [food, garden, toys, wine]}
      - {name: online, kind: flag}
attributes:
"""
_DERIVED = (
    "{event: purchase, function: count, window: 1h}",
    "{event: purchase, function: count, window: 30d}",
    "{event: purchase, function: sum, field: amount, window: 30d}",
    "{event: purchase, function: mean, field: amount, window: 90d}",
    "{event: purchase, function: maximum, field: amount, window: 30d}",
    "{event: purchase, function: sum, field: amount, half_life: 7d}",
    "{event: purchase, function: count, window: 30d, where: 'online && amount > 20.0'}",
    "{event: purchase, function: distinct, field: department, window: 30d}",
    "{event: purchase, function: time_since_last, window: 90d}",
    "{function: ratio, numerator: derived_6, denominator: derived_1}",
)


def make_files(offer_count: int) -> dict[str, str]:
    """Return the catalogue's files, path to YAML text."""
    derived = "".join(
        f"  - {{name: derived_{at}, kind: number, source: derived, derive: {text}}}\n"
        for at, text in enumerate(_DERIVED)
    )
    files = workload.make_files(offer_count)
    return {**files, "events.yaml": f"{_EVENTS}{derived}outcomes: {{wait: 1h}}\n"}
