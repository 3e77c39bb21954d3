"""What a program can check of the contract: Google's AIPs as `Shapes` of the style guide asks.

A rule takes the compiled files, with their comments, and yields its complaints. Numbers in
brackets are those of the AIP.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.api import field_behavior_pb2, resource_pb2
from google.protobuf import descriptor_pb2

Descriptor = Any
Field = descriptor_pb2.FieldDescriptorProto
PACKAGE = "instanter.v1"
TIMESTAMP = ".google.protobuf.Timestamp"
UNSIGNED = {
    Field.TYPE_UINT32, Field.TYPE_UINT64, Field.TYPE_FIXED32, Field.TYPE_FIXED64,
}  # fmt: skip
INTEGERS = {Field.TYPE_INT32, Field.TYPE_INT64, Field.TYPE_SINT32, Field.TYPE_SINT64}
NUMERIC = UNSIGNED | INTEGERS | {Field.TYPE_DOUBLE, Field.TYPE_FLOAT}
BOUNDED = re.compile(
    r"(?i)\d|\b(at least|at most|between|counts?|how many|how often|minor units|microseconds|"
    r"seconds|revision|unit|default)\b"
)
DEFAULTED = re.compile(r"(?i)\b(default|unset|empty|as in)\b")
STANDARD = re.compile(r"(BatchGet|Get|List|Create|Update|Delete)([A-Z]\w*)")


@dataclass(frozen=True, slots=True)
class Element:
    """One thing of the contract with its comment: message, field, enum, value, service, rpc."""

    file: descriptor_pb2.FileDescriptorProto
    kind: str
    name: str
    proto: Descriptor
    comment: str
    parent: Descriptor = None

    def complain(self, text: str) -> str:
        return f"{self.file.name}: {self.name}: {text}"


Rule = Callable[[list[Element]], Iterator[str]]


def list_elements(files: list[descriptor_pb2.FileDescriptorProto]) -> list[Element]:
    """Flatten the files; the entries that the compiler makes for maps are left out."""
    found: list[Element] = []
    for file in files:
        comments = {
            tuple(place.path): place.leading_comments.strip()
            for place in file.source_code_info.location
        }
        found.append(Element(file, "file", file.name, file, comments.get((2,), "")))
        for at, message in enumerate(file.message_type):
            found += _list_message(file, message, (4, at), "", comments)
        for at, enum in enumerate(file.enum_type):
            found += _list_enum(file, enum, (5, at), "", comments)
        for at, service in enumerate(file.service):
            found.append(Element(file, "service", service.name, service, comments.get((6, at), "")))
            for i, method in enumerate(service.method):
                name = f"{service.name}.{method.name}"
                text = comments.get((6, at, 2, i), "")
                found.append(Element(file, "rpc", name, method, text, service))
    return found


def _list_message(
    file: Any, message: Any, path: tuple[int, ...], prefix: str, comments: dict[Any, str]
) -> Iterator[Element]:
    if message.options.map_entry:
        return
    name = f"{prefix}{message.name}"
    yield Element(file, "message", name, message, comments.get(path, ""))
    for kind, number, items in (("field", 2, message.field), ("oneof", 8, message.oneof_decl)):
        for at, item in enumerate(items):
            # `optional` makes a oneof behind the scenes; nobody can comment it.
            if not (kind == "oneof" and item.name.startswith("_")):
                text = comments.get((*path, number, at), "")
                yield Element(file, kind, f"{name}.{item.name}", item, text, message)
    for at, inner in enumerate(message.nested_type):
        yield from _list_message(file, inner, (*path, 3, at), f"{name}.", comments)
    for at, enum in enumerate(message.enum_type):
        yield from _list_enum(file, enum, (*path, 4, at), f"{name}.", comments)


def _list_enum(
    file: Any, enum: Any, path: tuple[int, ...], prefix: str, comments: dict[Any, str]
) -> Iterator[Element]:
    name = f"{prefix}{enum.name}"
    yield Element(file, "enum", name, enum, comments.get(path, ""))
    for at, value in enumerate(enum.value):
        text = comments.get((*path, 2, at), "")
        yield Element(file, "value", f"{name}.{value.name}", value, text, enum)


def rule_package_is_the_folder(elements: list[Element]) -> Iterator[str]:
    for file in _of(elements, "file"):
        folder = file.name.rpartition("/")[0].replace("/", ".")
        if file.proto.package != PACKAGE or folder != PACKAGE:
            yield file.complain(f"package {file.proto.package} in folder {folder}, not {PACKAGE}")
        if len(file.proto.service) > 1:
            yield file.complain("one service with its messages per file")


def rule_everything_has_a_comment(elements: list[Element]) -> Iterator[str]:
    """[192]."""
    for element in elements:
        if element.kind != "file" and not element.comment.endswith("."):
            yield element.complain(f"{element.kind} without a comment of whole sentences")


def rule_numbers_say_what_they_count(elements: list[Element]) -> Iterator[str]:
    """[192]: unit, range or default of each number stand in its comment."""
    for field in _of(elements, "field"):
        if field.proto.type in NUMERIC and not BOUNDED.search(field.comment):
            yield field.complain("its comment names neither unit, range nor default")


def rule_optional_scalars_say_their_default(elements: list[Element]) -> Iterator[str]:
    for field in _of(elements, "field"):
        scalar = field.proto.type != Field.TYPE_MESSAGE
        optional = field_behavior_pb2.OPTIONAL in _behavior(field)
        in_request = field.parent.name.endswith("Request")
        if scalar and optional and in_request and not DEFAULTED.search(field.comment):
            yield field.complain("its comment does not say what holds when it is unset")


def rule_request_fields_have_a_behavior(elements: list[Element]) -> Iterator[str]:
    """[203], through everything that a request holds. Members of a oneof have the oneof's."""
    messages = {f".{PACKAGE}.{e.name}": e for e in _of(elements, "message")}
    waiting = [name for name in messages if name.endswith("Request")]
    sent: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in sent or name not in messages:
            continue
        sent.add(name)
        message = messages[name].proto
        waiting += [field.type_name for field in message.field if field.type_name]
        # A map's values stand in the entry that the compiler makes for it.
        waiting += [
            field.type_name
            for entry in message.nested_type
            for field in entry.field
            if field.type_name
        ]
    for field in _of(elements, "field"):
        in_oneof = field.proto.HasField("oneof_index") and not field.proto.proto3_optional
        owner = f".{PACKAGE}.{field.name.rpartition('.')[0]}"
        if owner in sent and not in_oneof and not _behavior(field):
            yield field.complain("a field of a request without field_behavior")


def rule_enums_begin_unspecified(elements: list[Element]) -> Iterator[str]:
    """[126]."""
    for enum in _of(elements, "enum"):
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.proto.name).upper()
        first = enum.proto.value[0]
        if first.number != 0 or first.name != f"{prefix}_UNSPECIFIED":
            yield enum.complain(f"must begin with {prefix}_UNSPECIFIED = 0")
        for value in enum.proto.value:
            if not value.name.startswith(f"{prefix}_"):
                yield enum.complain(f"{value.name} must begin with {prefix}_")


def rule_methods_are_standard_or_verb_and_noun(elements: list[Element]) -> Iterator[str]:
    """[131] to [136]."""
    resources = _resources(elements)
    for method in _of(elements, "rpc"):
        name = method.proto.name
        request, response = (
            text.rpartition(".")[2] for text in (method.proto.input_type, method.proto.output_type)
        )
        if request != f"{name}Request":
            yield method.complain(f"takes {request}, not {name}Request")
        found = STANDARD.fullmatch(name)
        verb, noun = found.groups() if found else ("", "")
        wanted = {f"{name}Response"}
        if verb in {"Get", "Create", "Update"}:
            wanted = {noun}
            if noun not in resources:
                yield method.complain(f"{noun} is no resource")
        elif verb == "Delete":
            wanted = {"Empty", noun}
        elif not verb and not re.fullmatch(r"([A-Z][a-z]+){2,}", name):
            yield method.complain("a custom method is a verb and a noun")
        if response not in wanted:
            yield method.complain(f"returns {response}, not {' or '.join(sorted(wanted))}")


def rule_standard_requests_have_their_fields(elements: list[Element]) -> Iterator[str]:
    """[131] to [135], [231]: what a request must carry, and which of it is required."""
    for message in _of(elements, "message"):
        found = STANDARD.fullmatch(message.name.removesuffix("Request"))
        if not found or not message.name.endswith("Request"):
            continue
        verb, noun = found.groups()
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", noun).lower()
        needed = {"Get": "name", "Delete": "name", "BatchGet": "names", "List": "", "Create": snake}
        required = needed.get(verb, snake)
        fields = {field.name: field for field in message.proto.field}
        behavior = field_behavior_pb2.field_behavior
        if required and (
            required not in fields
            or field_behavior_pb2.REQUIRED not in fields[required].options.Extensions[behavior]
        ):
            yield message.complain(f"needs a required field `{required}`")
        if verb == "Update" and "update_mask" not in fields:
            yield message.complain("needs `update_mask`")


def rule_lists_have_pages(elements: list[Element]) -> Iterator[str]:
    """[158]."""
    fields = {
        message.name: {(f.name, f.type) for f in message.proto.field}
        for message in _of(elements, "message")
    }
    for method in _of(elements, "rpc"):
        name = method.proto.name
        if not name.startswith("List"):
            continue
        page = {("page_size", Field.TYPE_INT32), ("page_token", Field.TYPE_STRING)}
        if not page <= fields.get(f"{name}Request", set()):
            yield method.complain("its request needs int32 page_size and string page_token")
        if ("next_page_token", Field.TYPE_STRING) not in fields.get(f"{name}Response", set()):
            yield method.complain("its response needs string next_page_token")


def rule_resources_are_declared(elements: list[Element]) -> Iterator[str]:
    """[122], [123]: what has an identifier is a resource, with type, pattern and both numbers."""
    for message in _of(elements, "message"):
        fields = {
            field.name
            for field in message.proto.field
            if field_behavior_pb2.IDENTIFIER
            in field.options.Extensions[field_behavior_pb2.field_behavior]
        }
        is_resource = message.proto.options.HasExtension(resource_pb2.resource)
        if is_resource != bool(fields):
            yield message.complain("a resource has an annotation and an IDENTIFIER, both or none")
        if fields - {"name"}:
            yield message.complain("the identifier of a resource is its `name`")
    for resource, place in _list_resources(elements):
        if not re.fullmatch(r"instanter\.dev/[A-Z][A-Za-z]+", resource.type):
            yield place.complain(f"{resource.type} is not instanter.dev/Noun")
        if not (resource.pattern and resource.singular and resource.plural):
            yield place.complain(f"{resource.type} needs pattern, singular and plural")
        for pattern in resource.pattern:
            # A singleton (156) has no collection.
            if "{" in pattern and pattern.split("/")[-2] != resource.plural:
                yield place.complain(f"{pattern}: the collection is the plural {resource.plural}")


def rule_references_point_somewhere(elements: list[Element]) -> Iterator[str]:
    """[122], [124]: names of resources say whose, and whose is declared."""
    known = {resource.type for resource, _ in _list_resources(elements)}
    singular = {resource.singular for resource, _ in _list_resources(elements)}
    for field in _of(elements, "field"):
        kind = field.proto.options.Extensions[resource_pb2.resource_reference].type
        if kind and kind not in known:
            yield field.complain(f"refers to {kind}, which is declared nowhere")
        if field.proto.type == Field.TYPE_STRING and field.proto.name in singular and not kind:
            yield field.complain("names a resource without a resource_reference")
        if field.proto.name == "name" and field.parent.name.endswith("Request") and not kind:
            yield field.complain("names a resource without a resource_reference")


def rule_names_of_fields(elements: list[Element]) -> Iterator[str]:
    """[140], [142], [216] and the house's suffixes."""
    wanted = {"_minor": {Field.TYPE_INT64}, "_count": INTEGERS, "_rate": {Field.TYPE_DOUBLE}}
    for field in _of(elements, "field"):
        name, proto = field.proto.name, field.proto
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
            yield field.complain("a field is lower_snake_case")
        if name == "status" or name.endswith("_status"):
            yield field.complain("`state`, never `status`")
        if name.startswith("is_"):
            yield field.complain("a flag has no `is_`")
        is_value = field.proto.HasField("oneof_index") and name.endswith("_value")
        if (proto.type_name == TIMESTAMP) != name.endswith("_time") and not is_value:
            yield field.complain("a Timestamp ends in `_time`, and nothing else does")
        is_list = proto.label == Field.LABEL_REPEATED and not proto.type_name.endswith("Entry")
        if is_list and not name.endswith("s"):
            yield field.complain("what repeats is a plural")
        for suffix, types in wanted.items():
            if name.endswith(suffix) and proto.type not in types:
                yield field.complain(f"`{suffix}` has another type")


def rule_integers_are_signed(elements: list[Element]) -> Iterator[str]:
    """[141]."""
    for field in _of(elements, "field"):
        if field.proto.type in UNSIGNED:
            yield field.complain("integers are signed: many languages have no others")
        if field.proto.type == Field.TYPE_FLOAT:
            yield field.complain("a real number on the wire is a double")


def _of(elements: list[Element], kind: str) -> Iterator[Element]:
    return (element for element in elements if element.kind == kind)


def _behavior(field: Element) -> list[int]:
    return list(field.proto.options.Extensions[field_behavior_pb2.field_behavior])


def _list_resources(elements: list[Element]) -> Iterator[tuple[Any, Element]]:
    for file in _of(elements, "file"):
        for definition in file.proto.options.Extensions[resource_pb2.resource_definition]:
            yield definition, file
    for message in _of(elements, "message"):
        if message.proto.options.HasExtension(resource_pb2.resource):
            yield message.proto.options.Extensions[resource_pb2.resource], message


def _resources(elements: list[Element]) -> set[str]:
    return {resource.type.rpartition("/")[2] for resource, _ in _list_resources(elements)}


RULES: tuple[Rule, ...] = (
    rule_enums_begin_unspecified,
    rule_everything_has_a_comment,
    rule_integers_are_signed,
    rule_lists_have_pages,
    rule_methods_are_standard_or_verb_and_noun,
    rule_names_of_fields,
    rule_numbers_say_what_they_count,
    rule_optional_scalars_say_their_default,
    rule_package_is_the_folder,
    rule_references_point_somewhere,
    rule_request_fields_have_a_behavior,
    rule_resources_are_declared,
    rule_standard_requests_have_their_fields,
)
