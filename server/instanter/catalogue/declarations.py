"""Everything that the files of a catalogue declare, read but not yet compiled."""

from collections.abc import Mapping
from dataclasses import dataclass

from instanter import limits
from instanter.catalogue.attribute_declarations import AttributeReader, DeclaredAttribute
from instanter.catalogue.contact_policy_declarations import DeclaredPolicy, PolicyReader
from instanter.catalogue.currencies import find_minor_digits
from instanter.catalogue.event_declarations import DeclaredEvent, EventReader
from instanter.catalogue.fraud_declarations import DeclaredFraud, FraudReader
from instanter.catalogue.offer_declarations import DeclaredOffer, OfferReader
from instanter.catalogue.problems import Problems
from instanter.catalogue.response import Arms, LearningRules, OutcomeRules
from instanter.catalogue.response_declarations import ResponseReader
from instanter.catalogue.stock_declarations import DeclaredStock, StockReader
from instanter.catalogue.yaml_reader import NumberRange, Reader, is_null
from instanter.catalogue.yaml_tree import Mapping as YamlMapping
from instanter.catalogue.yaml_tree import Node, Scalar, parse_yaml

_SECTIONS = (
    "attributes", "events", "offers", "channels", "contact_policy", "holdout", "arms", "outcomes",
    "learning", "currency", "fraud", "stock",
)  # fmt: skip
_HOLDOUT_KEYS = ("rate", "salt")
_RATES = NumberRange(0.0, 1.0, high_included=False)
_SALT_DEFAULT = "instanter"


@dataclass(frozen=True, slots=True)
class Declarations:
    """What all files say together.

    Attributes
    ----------
    attributes
        In the order of files and lines.
    channels
        Channel name to placements, as declared.
    offers
        In the byte order of their names.
    currency
        ISO 4217 code; empty when there is none, which only a catalogue without offers may have.
    holdout_rate, holdout_salt
        As declared; 0 without a declaration.
    events
        In the order of files and lines.
    contact_policy
        As declared; None when there is none.
    arms, outcome_rules, learning_rules
        As declared, or their defaults.
    fraud
        The check at the till; None when nothing is declared.
    stock
        The stock side; None when nothing is declared.
    """

    attributes: tuple[DeclaredAttribute, ...]
    channels: dict[str, tuple[str, ...]]
    offers: tuple[DeclaredOffer, ...]
    currency: str
    holdout_rate: float
    holdout_salt: str
    events: tuple[DeclaredEvent, ...]
    contact_policy: DeclaredPolicy | None
    arms: Arms
    outcome_rules: OutcomeRules
    learning_rules: LearningRules
    fraud: DeclaredFraud | None
    stock: DeclaredStock | None


def read_declarations(files: Mapping[str, str], problems: Problems) -> Declarations:
    """Read all files; whatever is wrong is recorded in `problems`."""
    reader = Reader(problems)
    sections = _read_sections(files, reader)
    attributes = AttributeReader(reader)
    for node in sections["attributes"]:
        attributes.read(node)
    events = EventReader(reader)
    for node in sections["events"]:
        events.read(node)
    channels = _read_channels(sections["channels"], reader)
    offers = OfferReader(reader, channels)
    for node in sections["offers"]:
        offers.read(node)
    if len(offers.declared) > limits.OFFERS_MAX:
        message = f"there are {len(offers.declared):,} offers; at most {limits.OFFERS_MAX:,}"
        reader.refuse(sections["offers"][-1], "offers", message)
    currency = _read_currency(sections["currency"], reader)
    if not sections["currency"] and offers.declared:
        message = "is missing: say once in which currency value_minor counts, `currency: EUR`"
        problems.add(sections["offers"][0].file, 0, "currency", "", message)
    rate, salt = _read_holdout(sections["holdout"], reader)
    policy = _check_once(sections["contact_policy"], "contact_policy", reader)
    response = ResponseReader(reader)
    ordered = sorted(offers.declared.items(), key=lambda pair: pair[0].encode())
    return Declarations(
        attributes=tuple(attributes.declared.values()),
        channels=channels,
        offers=tuple(offer for _, offer in ordered),
        currency=currency,
        holdout_rate=rate,
        holdout_salt=salt,
        events=tuple(events.declared.values()),
        contact_policy=PolicyReader(reader, channels).read(policy) if policy else None,
        arms=response.read_arms(_check_once(sections["arms"], "arms", reader), rate),
        outcome_rules=response.read_outcomes(_check_once(sections["outcomes"], "outcomes", reader)),
        learning_rules=response.read_learning(
            _check_once(sections["learning"], "learning", reader)
        ),
        fraud=FraudReader(reader).read(sections["fraud"]),
        stock=StockReader(reader).read(sections["stock"]),
    )


def _read_sections(files: Mapping[str, str], reader: Reader) -> dict[str, list[Node]]:
    """Return each top-level key's nodes of all files, in the order of their paths."""
    sections: dict[str, list[Node]] = {section: [] for section in _SECTIONS}
    for path in sorted(files):
        count = len(reader.problems)
        tree = parse_yaml(path, files[path], reader.problems)
        if tree is None or (isinstance(tree, YamlMapping) and not tree.entries):
            if len(reader.problems) == count:
                message = f"holds nothing; expected any of {', '.join(_SECTIONS)}"
                reader.problems.add(path, 0, "content", "", message)
            continue
        if not isinstance(tree, YamlMapping):
            reader.refuse(tree, "content", f"must be a mapping with any of {', '.join(_SECTIONS)}")
            continue
        for key, node in (reader.read_mapping(tree, "", _SECTIONS) or {}).items():
            sections[key].append(node)
    return sections


def _read_channels(nodes: list[Node], reader: Reader) -> dict[str, tuple[str, ...]]:
    channels: dict[str, tuple[str, ...]] = {}
    places: dict[str, str] = {}
    for section in nodes:
        if not isinstance(section, YamlMapping):
            reader.refuse(section, "channels", "must be a mapping: `web: [home, basket]`")
            continue
        for name, node in section.entries.items():
            field = f"channels/{name[:100]}"
            line = section.key_lines[name]
            key = Scalar(section.file, line, 0, name, "'")
            if reader.read_label(key, field) is None:
                continue
            if name in channels:
                reader.refuse(key, field, f"is declared already in {places[name]}")
                continue
            places[name] = f"{section.file}:{line}"
            channels[name] = _read_channel_placements(node, field, reader)
    _check_channel_counts(channels, nodes, reader)
    return channels


def _read_channel_placements(node: Node, field: str, reader: Reader) -> tuple[str, ...]:
    if is_null(node):
        return ()
    placements: dict[str, None] = {}
    for item in reader.read_list(node, field, limits.SURFACES_MAX):
        placement = reader.read_label(item, field)
        if placement in placements:
            reader.refuse(item, field, "stands here twice")
        elif placement is not None:
            placements[placement] = None
    return tuple(placements)


def _check_channel_counts(
    channels: dict[str, tuple[str, ...]], nodes: list[Node], reader: Reader
) -> None:
    if len(channels) > limits.CHANNELS_MAX:
        message = f"there are {len(channels):,} channels; at most {limits.CHANNELS_MAX}"
        reader.refuse(nodes[-1], "channels", message)
    surfaces = sum(1 + len(placements) for placements in channels.values())
    if surfaces > limits.SURFACES_MAX:
        message = (
            f"channels and placements together are {surfaces:,}; at most {limits.SURFACES_MAX}"
        )
        reader.refuse(nodes[-1], "channels", message)


def _check_once(nodes: list[Node], field: str, reader: Reader) -> Node | None:
    for node in nodes[1:]:
        message = f"is said already in {nodes[0].file}:{nodes[0].line}; say it once"
        reader.refuse(node, field, message)
    return nodes[0] if nodes else None


def _read_currency(nodes: list[Node], reader: Reader) -> str:
    node = _check_once(nodes, "currency", reader)
    if node is None:
        return ""
    code = reader.read_text(node, "currency")
    if code is not None and find_minor_digits(code) is None:
        near = code.upper() if find_minor_digits(code.upper()) is not None else ""
        message = "must be the ISO 4217 code of a currency with a minor unit, EUR for example"
        reader.refuse(node, "currency", message, near)
    return code or ""


def _read_holdout(nodes: list[Node], reader: Reader) -> tuple[float, str]:
    node = _check_once(nodes, "holdout", reader)
    entries = reader.read_mapping(node, "holdout", _HOLDOUT_KEYS, ("rate",)) if node else None
    if not entries:
        return 0.0, _SALT_DEFAULT
    rate = salt = None
    if "rate" in entries:
        rate = reader.read_number(entries["rate"], "holdout.rate", _RATES)
    if "salt" in entries:
        salt = reader.read_text(entries["salt"], "holdout.salt", limits.NAME_SIZE_MAX)
    return rate or 0.0, salt or _SALT_DEFAULT
