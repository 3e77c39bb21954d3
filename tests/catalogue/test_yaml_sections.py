"""A section is taken out of a file, and left out of it, however the file is written."""

import pytest

from instanter.catalogue.problems import Problems
from instanter.catalogue.yaml_sections import find_sections
from instanter.catalogue.yaml_tree import Listing, Mapping, Node, parse_yaml

TEXTS = {
    "lines": "currency: EUR\n# rules\nfraud:\n  rules: {a: b}\n# end\nchannels: {web: []}\n",
    "last": "currency: EUR\nfraud:\n  rules: {a: b}\n",
    "first": "fraud: {rules: {a: b}}\ncurrency: EUR\n",
    "one line": "{currency: EUR, fraud: {rules: {a: b}}, channels: {web: []}}",
    "one line, first": "{fraud: {rules: {a: b}}, channels: {web: []}}\n",
    "one line, last": "{channels: {web: []}, fraud: {rules: {a: b}}}\n",
    "braces over lines": "{currency: EUR,\nfraud: {\nrules: {a: b}\n},\n\nchannels: {}} # end\n",
    "a comma behind the last": "{channels: {},\n fraud: {rules: {a: b},},\n}\n",
    "no blanks": '{"currency":"EUR","fraud":{"rules":{"a":"b"}},"channels":{}}',
    "nothing in it": "{fraud: , currency: EUR}",
    "nothing in it, by lines": "fraud:\ncurrency: EUR\n",
    "nothing else": "{fraud: {rules: {}}}",
    "letters of two and four bytes": "{currency: 'ä𝄞', fraud: {rules: {ö: 𝄞}}, 'é': [x]}",
    "a byte order mark": "\ufeff{currency: EUR, fraud: {rules: {a: b}}}",
    "carriage returns": "currency: EUR\rfraud:\r  rules: {a: b}\rchannels: {}\r",
    "both": "currency: EUR\r\nfraud:\r\n  rules: {a: b}\r\nchannels: {}\r\n",
    "a block before it": "title: |\n  a\nfraud:\n      rules: {a: b}\nchannels: {}\n",
    "a key with a question mark": "? currency\n: EUR\n? fraud\n: {a: b}\n? channels\n: []\n",
    "the word in a text": "{title: 'fraud: {a}, fraud: b', fraud: {rules: {a: 'fraud: }'}}}",
    "a list below it": "fraud:\n- a\n- b: c\nchannels: {}\n",
    "a document's mark": "---\ncurrency: EUR\nfraud: {a: b}\n...\n",
}


def read(text: str) -> Mapping:
    problems = Problems()
    found = parse_yaml("a.yaml", text, problems)
    problems.check()
    assert isinstance(found, Mapping)
    return found


def spell(node: Node) -> object:
    if isinstance(node, Mapping):
        return {key: spell(value) for key, value in node.entries.items()}
    return [spell(item) for item in node.items] if isinstance(node, Listing) else node.text


@pytest.mark.parametrize("name", TEXTS)
def test_a_section_and_the_rest_of_a_file_are_what_they_were_where_they_were(name: str) -> None:
    whole = read(TEXTS[name])
    sections = find_sections(TEXTS[name])
    assert sections is not None
    assert list(sections.spans) == list(whole.entries)
    for key in whole.entries:
        taken = read(sections.take(key))
        assert spell(taken) == {key: spell(whole.entries[key])}
        assert taken.key_lines == {key: whole.key_lines[key]}
        if len(whole.entries) > 1:
            rest = read(sections.leave_out(key))
            assert spell(rest) == {k: spell(v) for k, v in whole.entries.items() if k != key}
            assert rest.key_lines == {k: at for k, at in whole.key_lines.items() if k != key}


@pytest.mark.parametrize("text", ["", "- fraud\n", "fraud", "# fraud: a\n"])
def test_what_is_no_mapping_has_no_sections(text: str) -> None:
    assert find_sections(text) is None
