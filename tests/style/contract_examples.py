"""For every rule of `contract_rules.py`: pieces of a contract that it must catch."""

from tests.style import contract_rules as rules

HEAD = """syntax = "proto3";
package instanter.v1;
import "google/api/field_behavior.proto";
import "google/api/resource.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/timestamp.proto";
"""

SHOP = """// A shop.
message Shop {
  option (google.api.resource) = {
    type: "instanter.dev/Shop" pattern: "shops/{shop}" plural: "shops" singular: "shop"
  };
  // Resource name.
  string name = 1 [(google.api.field_behavior) = IDENTIFIER];
}
"""

BAD: list[tuple[rules.Rule, str]] = [
    (rules.rule_enums_begin_unspecified, "enum Colour { COLOUR_RED = 0; }"),
    (rules.rule_enums_begin_unspecified, "enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; }"),
    (rules.rule_everything_has_a_comment, "message Shop {}"),
    (rules.rule_everything_has_a_comment, "// A shop.\nmessage Shop { string city = 1; }"),
    (rules.rule_everything_has_a_comment, "// A colour.\nenum Colour { COLOUR_UNSPECIFIED = 0; }"),
    (rules.rule_everything_has_a_comment, "// no sentence\nmessage Shop {}"),
    (rules.rule_everything_has_a_comment, SHOP + "service Shops {}"),
    (rules.rule_integers_are_signed, "message Shop { uint32 floor_count = 1; }"),
    (rules.rule_integers_are_signed, "message Shop { fixed64 floor_count = 1; }"),
    (rules.rule_integers_are_signed, "message Shop { float area_m2 = 1; }"),
    (
        rules.rule_lists_have_pages,
        (
            "message ListShopsRequest { int32 page_size = 1; }\n"
            "message ListShopsResponse { string next_page_token = 1; }\n"
            "service S { rpc ListShops(ListShopsRequest) returns (ListShopsResponse); }"
        ),
    ),
    (
        rules.rule_lists_have_pages,
        (
            "message ListShopsRequest { int32 page_size = 1; string page_token = 2; }\n"
            "message ListShopsResponse {}\n"
            "service S { rpc ListShops(ListShopsRequest) returns (ListShopsResponse); }"
        ),
    ),
    (
        rules.rule_methods_are_standard_or_verb_and_noun,
        SHOP + "message GetShopRequest {}\nmessage GetShopResponse {}\n"
        "service S { rpc GetShop(GetShopRequest) returns (GetShopResponse); }",
    ),
    (
        rules.rule_methods_are_standard_or_verb_and_noun,
        SHOP + "message Key {}\nservice S { rpc GetShop(Key) returns (Shop); }",
    ),
    (
        rules.rule_methods_are_standard_or_verb_and_noun,
        (
            "message OpenRequest {}\nmessage OpenResponse {}\n"
            "service S { rpc Open(OpenRequest) returns (OpenResponse); }"
        ),
    ),
    (rules.rule_names_of_fields, "message Shop { string status = 1; }"),
    (rules.rule_names_of_fields, "message Shop { bool is_open = 1; }"),
    (rules.rule_names_of_fields, "message Shop { google.protobuf.Timestamp opened_at = 1; }"),
    (rules.rule_names_of_fields, "message Shop { int64 open_time = 1; }"),
    (rules.rule_names_of_fields, "message Shop { repeated string city = 1; }"),
    (rules.rule_names_of_fields, "message Shop { double rent_minor = 1; }"),
    (rules.rule_names_of_fields, "message Shop { string openSince = 1; }"),
    (
        rules.rule_numbers_say_what_they_count,
        "message Shop {\n  // The area.\n  double area = 1;\n}",
    ),
    (
        rules.rule_optional_scalars_say_their_default,
        (
            "message OpenShopRequest {\n  // Who opens it.\n"
            "  string person = 1 [(google.api.field_behavior) = OPTIONAL];\n}"
        ),
    ),
    (rules.rule_package_is_the_folder, "service A {}\nservice B {}"),
    (
        rules.rule_references_point_somewhere,
        'message A { string b = 1 [(google.api.resource_reference) = {type: "instanter.dev/B"}]; }',
    ),
    (rules.rule_references_point_somewhere, SHOP + "message Sale { string shop = 1; }"),
    (rules.rule_references_point_somewhere, "message GetShopRequest { string name = 1; }"),
    (rules.rule_request_fields_have_a_behavior, "message OpenShopRequest { string city = 1; }"),
    (
        rules.rule_request_fields_have_a_behavior,
        (
            "message Door { string colour = 1; }\nmessage OpenShopRequest {\n"
            "  map<string, Door> doors = 1 [(google.api.field_behavior) = OPTIONAL];\n}"
        ),
    ),
    (
        rules.rule_resources_are_declared,
        "message Shop { string name = 1 [(google.api.field_behavior) = IDENTIFIER]; }",
    ),
    (rules.rule_resources_are_declared, SHOP.replace("shops/{shop}", "shop/{shop}")),
    (rules.rule_resources_are_declared, SHOP.replace("instanter.dev/Shop", "example.com/Shop")),
    (rules.rule_resources_are_declared, SHOP.replace('plural: "shops"', "")),
    (rules.rule_standard_requests_have_their_fields, "message GetShopRequest { string id = 1; }"),
    (
        rules.rule_standard_requests_have_their_fields,
        SHOP + "message UpdateShopRequest {\n"
        "  Shop shop = 1 [(google.api.field_behavior) = REQUIRED];\n}",
    ),
]
