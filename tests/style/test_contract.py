"""The contract against the rules of `contract_rules.py`, and what is generated from it."""

import importlib.util
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2

from tests.conftest import REPOSITORY
from tests.style import contract_examples, contract_rules


def _load_generate():
    spec = importlib.util.spec_from_file_location("generate", REPOSITORY / "protos/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _load_generate()


def _compile(folder, root=generate.PROTOS):
    """Return the elements of the contract below `root`; other people's files are left out."""
    generate.compile_descriptors(folder / "set.binpb", root)
    compiled = descriptor_pb2.FileDescriptorSet.FromString((folder / "set.binpb").read_bytes())
    ours = [file for file in compiled.file if not file.name.startswith("google/")]
    return contract_rules.list_elements(ours)


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    return _compile(tmp_path_factory.mktemp("contract"))


@pytest.mark.parametrize("rule", contract_rules.RULES, ids=lambda rule: rule.__name__)
def test_the_contract_keeps(rule, contract):
    complaints = list(rule(contract))
    assert not complaints, "\n".join(complaints)


def test_the_contract_is_seen_whole(contract):
    kinds = {element.kind for element in contract}
    assert kinds == {"file", "message", "field", "oneof", "enum", "value", "service", "rpc"}
    names = {element.name for element in contract}
    assert {"DecisionService.DecideOffers", "DecideOffersRequest.context"} <= names


@pytest.mark.parametrize(("rule", "text"), contract_examples.BAD)
def test_a_bad_piece_is_caught(rule, text, tmp_path):
    folder = tmp_path / "instanter/v1"
    folder.mkdir(parents=True)
    (folder / "bad.proto").write_text(contract_examples.HEAD + text)
    assert list(rule(_compile(tmp_path, tmp_path)))


def test_a_package_outside_its_folder_is_caught(tmp_path):
    (tmp_path / "bad.proto").write_text(contract_examples.HEAD)
    assert list(contract_rules.rule_package_is_the_folder(_compile(tmp_path, tmp_path)))


def test_every_rule_is_listed_and_has_a_bad_piece():
    written = {value for name, value in vars(contract_rules).items() if name.startswith("rule_")}
    assert written == set(contract_rules.RULES)
    assert written == {rule for rule, _ in contract_examples.BAD}


def test_the_generated_modules_are_current():
    assert not generate.find_stale()


def test_a_stale_module_is_noticed(tmp_path):
    folder = tmp_path / "instanter/v1"
    folder.mkdir(parents=True)
    (folder / "shop.proto").write_text(contract_examples.HEAD + contract_examples.SHOP)
    generate.compile_modules(tmp_path, tmp_path)
    assert not generate.find_stale(tmp_path)
    (folder / "shop_pb2.py").write_text("")
    (folder / "gone_pb2.py").write_text("")
    assert generate.find_stale(tmp_path) == [
        "instanter/v1/gone_pb2.py",
        "instanter/v1/shop_pb2.py",
    ]


def test_buf_has_nothing_to_say():
    command = [sys.executable, str(REPOSITORY / "protos/generate.py"), "--lint"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
