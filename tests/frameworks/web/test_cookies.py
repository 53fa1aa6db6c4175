"""The cookie comes back from anybody: only what was signed with this secret, for this purpose, is read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undaunted.web.cookies import LONGEST, dump, load

SECRET = b"a secret of the framework's"
TOKENS = {"ledger": "1-3000148", "stock": "2-FF"}


def test_what_was_written_is_read() -> None:
    assert load(dump(TOKENS, secret=SECRET), secret=SECRET) == TOKENS


def test_it_needs_no_quoting_in_a_header() -> None:
    value = dump({"ledger": "1-3000148", "é": "?"}, secret=SECRET)
    assert set(value) <= set(string.ascii_letters + string.digits + "-_.")


def test_nothing_is_nothing() -> None:
    assert dump({}, secret=SECRET) == ""
    assert load("", secret=SECRET) == {}


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30), max_size=200))
def test_it_is_never_longer_than_a_cookie_may_be(tokens: dict[str, str]) -> None:
    value = dump(tokens, secret=SECRET)
    assert len(value) <= LONGEST
    assert load(value, secret=SECRET).items() <= tokens.items()


@given(st.text(max_size=200))
def test_anything_else_is_nothing(value: str) -> None:
    assert load(value, secret=SECRET) == {}


@given(st.integers(min_value=0), st.characters(codec="ascii"))
def test_one_changed_character_is_enough(where: int, character: str) -> None:
    value = dump(TOKENS, secret=SECRET)
    at = where % len(value)
    changed = f"{value[:at]}{character}{value[at + 1 :]}"
    assert load(changed, secret=SECRET) in ({}, TOKENS)
    if load(changed, secret=SECRET):  # the last character of Base64 has bits that say nothing
        assert changed == value or at in (len(value) - 1, value.index(".") - 1)


def test_another_secret_is_another_cookie() -> None:
    assert load(dump(TOKENS, secret=b"another"), secret=SECRET) == {}


def test_what_the_framework_has_signed_for_itself_is_not_ours() -> None:
    body = base64.urlsafe_b64encode(json.dumps(TOKENS).encode()).rstrip(b"=").decode()
    own = hmac.digest(SECRET, body.encode(), hashlib.sha256)[:16]
    assert load(f"{body}.{base64.urlsafe_b64encode(own).rstrip(b'=').decode()}", secret=SECRET) == {}


@pytest.mark.parametrize("length", [LONGEST + 1, 10_000_000])
def test_a_huge_one_is_not_even_looked_at(length: int) -> None:
    assert load("A" * length, secret=SECRET) == {}
