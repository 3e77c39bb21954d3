"""Card tokens: what they depend on, and who may read the key."""

import hashlib
import hmac
import os
import re
from pathlib import Path

import pytest

from instanter.client import TokenMaker, make_key_file

VISA, AMEX = "4539578763621486", "378282246310005"
KEY = bytes(range(32))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.key"
    path.touch(0o600)
    path.write_bytes(KEY)
    return path


def test_a_token_is_hmac_of_the_digits_under_the_tenants_key() -> None:
    tenant_key = hmac.new(KEY, b"instanter card token 1\0north", hashlib.sha256).digest()
    digest = hmac.new(tenant_key, VISA.encode(), hashlib.sha256).hexdigest()
    letters = "".join("abcdefghijklmnop"[int(digit, 16)] for digit in digest)
    assert TokenMaker(KEY, "north").make(VISA) == letters


def test_tokens_tell_cards_tenants_and_keys_apart_and_hold_no_digit() -> None:
    makers = [TokenMaker(KEY, "north"), TokenMaker(KEY, "south"), TokenMaker(KEY[::-1], "north")]
    tokens = {maker.make(number) for maker in makers for number in (VISA, AMEX)}
    assert len(tokens) == 6
    assert all(re.fullmatch("[a-p]{64}", token) for token in tokens)


@pytest.mark.parametrize("text", ["4539 5787 6362 1486", "4539-5787-6362-1486", f" {VISA}\n"])
def test_spaces_and_dashes_make_no_difference(text: str) -> None:
    maker = TokenMaker(KEY, "north")
    assert maker.make(text) == maker.make(VISA)


@pytest.mark.parametrize("text", ["", "4539578763621487", "453957876362", VISA + "0000", "qqq"])
def test_what_is_no_card_number_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="no card number") as caught:
        TokenMaker(KEY, "north").make(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(("key", "tenant"), [(b"short", "a"), (KEY, ""), (KEY, "a b"), (KEY, "é")])
def test_a_weak_key_and_an_odd_tenant_are_refused(key: bytes, tenant: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        TokenMaker(key, tenant)


def test_a_key_comes_from_a_file_of_its_owner(key_file: Path) -> None:
    wanted = TokenMaker(KEY, "north").make(VISA)
    assert TokenMaker.from_file(key_file, "north").make(VISA) == wanted
    key_file.write_bytes(KEY + b"\n")
    assert TokenMaker.from_file(key_file, "north").make(VISA) == wanted
    key_file.chmod(0o400)
    assert TokenMaker.from_file(key_file, "north").make(VISA) == wanted


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610])
def test_a_key_that_others_may_read_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(PermissionError, match="0600"):
        TokenMaker.from_file(key_file, "north")


def test_what_is_no_key_file_is_refused(key_file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        TokenMaker.from_file(tmp_path / "nowhere", "north")
    with pytest.raises(ValueError, match=f"{tmp_path} is no plain file"):
        TokenMaker.from_file(tmp_path, "north")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(ValueError, match="is no plain file"):
        TokenMaker.from_file(pipe, "north")
    key_file.write_bytes(b"x" * 5_000)
    with pytest.raises(ValueError, match="more than"):
        TokenMaker.from_file(key_file, "north")


def test_a_new_key_file_is_its_owners_and_takes_no_others_place(tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    make_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    token = TokenMaker.from_file(path, "north").make(VISA)
    with pytest.raises(FileExistsError):
        make_key_file(path)
    assert TokenMaker.from_file(path, "north").make(VISA) == token
