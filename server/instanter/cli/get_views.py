"""What `instanter get` shows of each kind of resource."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import typer

from instanter.catalogue.attribute_declarations import DeclaredAttribute
from instanter.catalogue.declarations import Declarations, read_declarations
from instanter.catalogue.derivation_declarations import DeclaredDerivation
from instanter.catalogue.instants import format_instant
from instanter.catalogue.offer_declarations import OPEN_FROM_S, OPEN_TO_S
from instanter.catalogue.problems import Problems
from instanter.catalogue.yaml_reader import format_duration
from instanter.cli.failures import EXIT_USAGE, CommandError
from instanter.cli.output import (
    make_console,
    make_plain,
    make_table,
    print_json,
    print_json_line,
    print_note,
    show_value,
)
from instanter.client import Client, Customer
from instanter.errors import nearest, show

_KINDS: Final = ("customers", "catalogue", "attributes", "offers")
_SINGULARS: Final = {"customer": "customers", "attribute": "attributes", "offer": "offers"}


def read_wanted(resources: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the one kind that all resources are of, and their ids; none for a whole collection.

    Raises
    ------
    CommandError
        With exit code 2, for an unknown kind, a mixture of kinds, or a collection with ids.
    """
    pairs = []
    for resource in resources:
        kind, slash, name = resource.partition("/")
        if kind not in _KINDS:
            near = _SINGULARS.get(kind) or nearest(kind, _KINDS)
            hint = f"did you mean '{near}{slash}{name}'?" if near else ""
            expected = "expected customers, customers/ID, catalogue, attributes or offers"
            raise _refuse(f"{show(resource)} is nothing to get; {expected}", hint)
        if kind == "catalogue" and slash:
            raise _refuse(f"{show(resource)}: there is one catalogue; expected 'catalogue'")
        if slash and not name:
            raise _refuse(f"{show(resource)} names nothing; expected {kind} or {kind}/NAME")
        pairs.append((kind, name))
    kinds = {kind for kind, _ in pairs}
    names = tuple(name for _, name in pairs if name)
    if len(kinds) > 1:
        raise _refuse(f"expected one kind of resource, not {' and '.join(sorted(kinds))}")
    if names and len(names) < len(pairs):
        raise _refuse(f"expected either all {pairs[0][0]} or some of them by name")
    return pairs[0][0], names


def _refuse(message: str, hint: str = "") -> CommandError:
    return CommandError(message, hint=hint, exit_code=EXIT_USAGE)


class View:
    """Reads from a server and shows what it read.

    Parameters
    ----------
    client
        Connected to the server.
    as_json
        Show JSON, not tables.
    attributes
        Names of the customers' attributes to read; None for all.
    """

    __slots__ = ("_as_json", "_attributes", "_client")

    def __init__(self, client: Client, *, as_json: bool, attributes: list[str] | None) -> None:
        self._client = client
        self._as_json = as_json
        self._attributes = attributes

    def show_customers(self, ids: Sequence[str]) -> None:
        """Show customers by id.

        Raises
        ------
        CommandError
            When one of them does not exist, after the others have been shown.
        """
        found = self._client.get_customers(ids, self._attributes)
        customers = [customer for customer in found if customer is not None]
        if self._as_json and customers:
            print_json(customers[0] if len(ids) == 1 else customers)
        elif not self._as_json:
            for customer in customers:
                self._show_customer(customer)
        missing = [name for name, customer in zip(ids, found, strict=True) if customer is None]
        if missing:
            raise CommandError(f"there is no customer {', '.join(map(show, missing))}")

    @staticmethod
    def _show_customer(customer: Customer) -> None:
        console = make_console()
        table = make_table("attribute", "value")
        for name, value in sorted(customer.attributes.items()):
            table.add_row(name, show_value(value))
        console.print(customer.name, style="bold")
        console.print(table)
        written = f"revision {customer.revision}, written {show_value(customer.update_time)}"
        if not customer.revision:
            written = "no profile: only what is derived from events"
        console.print(f"{len(customer.attributes)} attributes, {written}", style="dim")

    def show_customer_page(self, page_size: int, page_token: str) -> None:
        """Show one page of customers, and how to go on."""
        page = self._client.list_customer_page(page_size, page_token, self._attributes)
        if self._as_json:
            print_json(page)
            return
        self._show_customer_rows(page.customers)
        if page.damaged_count:
            print_note(f"{page.damaged_count} damaged records were left out")
        if page.next_page_token:
            print_note(f"there are more: --page-token {page.next_page_token}, or --all")

    def _show_customer_rows(self, customers: Iterable[Customer]) -> None:
        picked = self._attributes or []
        table = make_table("customer", *(picked or ["attributes"]), "revision", "written")
        for customer in customers:
            known = customer.attributes
            cells = [show_value(known.get(name)) for name in picked] or [str(len(known))]
            written = show_value(customer.update_time)
            table.add_row(customer.id, *cells, str(customer.revision), written)
        make_console().print(table)

    def show_all_customers(self, page_size: int) -> None:
        """Show all customers page by page, without ever holding more than one page."""
        token, damaged_count = "", 0
        while True:
            page = self._client.list_customer_page(page_size, token, self._attributes)
            damaged_count += page.damaged_count
            if self._as_json:
                for customer in page.customers:
                    print_json_line(customer)
            else:
                self._show_customer_rows(page.customers)
            token = page.next_page_token
            if not token:
                break
        if damaged_count:
            print_note(f"{damaged_count} damaged records were left out")

    def show_catalogue(self, *, with_files: bool) -> None:
        """Show the published catalogue."""
        catalogue = self._client.get_catalogue(with_files=with_files)
        if self._as_json:
            print_json(catalogue)
            return
        table = make_table("", "")
        table.show_header = False
        table.add_row("revision", str(catalogue.revision))
        table.add_row("published", show_value(catalogue.publish_time))
        table.add_row("schema revision", str(catalogue.schema_revision))
        table.add_row("attributes", str(catalogue.attribute_count))
        table.add_row("offers", str(catalogue.offer_count))
        make_console().print(table)
        for path, content in catalogue.files.items():
            typer.echo(f"# {path}")
            typer.echo(content)

    def show_attributes(self, names: Sequence[str]) -> None:
        """Show the attributes that the published catalogue declares."""
        declared = {each.attribute.name: each for each in self._load_declarations().attributes}
        attributes = [_describe_attribute(each) for each in _pick(declared, names, "attribute")]
        columns = ("name", "kind", "source", "unit", "range", "values", "sensitivity", "purpose")
        self._show_declared(attributes, columns, single=len(names) == 1)

    def show_offers(self, names: Sequence[str]) -> None:
        """Show the offers that the published catalogue declares."""
        declared = {each.offer.name: each.offer for each in self._load_declarations().offers}
        offers = [_describe_offer(each) for each in _pick(declared, names, "offer")]
        columns = ("name", "issue", "group", "channels", "value_minor", "lever", "valid")
        self._show_declared(offers, columns, single=len(names) == 1)

    def _load_declarations(self) -> Declarations:
        files = self._client.get_catalogue(with_files=True).files
        return read_declarations(files, Problems())

    def _show_declared(
        self, described: list[dict[str, Any]], columns: tuple[str, ...], *, single: bool
    ) -> None:
        if self._as_json:
            print_json(described[0] if single else described)
            return
        if single:
            table = make_table("field", "value")
            for field, value in described[0].items():
                table.add_row(field, _show_cell(value, cut=False))
        else:
            table = make_table(*columns)
            for entry in described:
                table.add_row(*(_show_cell(entry[column]) for column in columns))
        make_console().print(table)


def _pick(declared: dict[str, Any], names: Sequence[str], kind: str) -> list[Any]:
    """Return the declared things of these names, all of them when there is no name."""
    for name in names:
        if name not in declared:
            near = nearest(name, declared)
            hint = f"did you mean '{near}'?" if near else f"`instanter get {kind}s` lists them"
            raise CommandError(f"there is no {kind} {show(name)}", hint=hint)
    return [declared[name] for name in names] if names else list(declared.values())


def _describe_attribute(declared: DeclaredAttribute) -> dict[str, Any]:
    attribute = declared.attribute
    low, high = attribute.range_min, attribute.range_max
    return {
        "name": attribute.name,
        "kind": attribute.kind.name.lower(),
        "source": attribute.source.name.lower(),
        "unit": attribute.unit,
        "range": None if low is None and high is None else [low, high],
        "values": list(attribute.values),
        "derive": _describe_derivation(declared.derivation),
        "column": attribute.column,
        "owner": attribute.owner,
        "purpose": attribute.purpose,
        "sensitivity": attribute.sensitivity.name.lower(),
        "description": attribute.description,
    }


def _describe_derivation(derivation: DeclaredDerivation | None) -> dict[str, str] | None:
    """Return what an attribute is derived from, in the words of the file."""
    if derivation is None:
        return None
    described = {"function": derivation.aggregation.name.lower()}
    described.update((key, name.text) for key, name in derivation.names.items())
    for key, seconds in (("window", derivation.window_s), ("half_life", derivation.half_life_s)):
        if seconds:
            described[key] = format_duration(seconds)
    if derivation.where is not None:
        described["where"] = derivation.where.scalar.text.strip()
    return described


def _describe_offer(offer: Any) -> dict[str, Any]:
    described: dict[str, Any] = make_plain(offer)
    from_s, to_s = described.pop("valid_from_s"), described.pop("valid_to_s")
    described["valid"] = [
        None if from_s == OPEN_FROM_S else format_instant(from_s),
        None if to_s == OPEN_TO_S else format_instant(to_s),
    ]
    described["channels"] = sorted({each["channel"] for each in described["treatments"]})
    return described


def _show_cell(value: object, *, cut: bool = True) -> str:
    """Return a described field as a cell; long lists are cut in tables of many rows."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_show_cell(each)}" for key, each in value.items() if each)
    if isinstance(value, list):
        shown = value[:5] if cut else value
        more = f", … {len(value) - 5} more" if len(value) > len(shown) else ""
        return ", ".join("–" if each is None else _show_cell(each) for each in shown) + more
    return show_value(value)
