"""The cookie that carries what a visitor has written to his next request: signed, small, harmless when malformed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LONGEST", "MAX_AGE_S", "dump", "load"]

LONGEST = 2048
"""Characters of a cookie at most; what does not fit is left out, the clusters last in the alphabet first."""

MAX_AGE_S = 3600
"""Seconds for which a browser need keep the cookie: no replica that is still read from is behind by more."""

_PURPOSE = b"undaunted read-your-writes 1"
_SIGNATURE_BYTES = 16


def dump(tokens: Mapping[str, str], *, secret: bytes) -> str:
    """Write tokens as the value of a cookie.

    Args:
        tokens: A token for each cluster, as `RequestScope.tokens` gives them.
        secret: The key that signs them: the framework's own secret.

    Returns:
        Letters, digits, ``-``, ``_`` and one ``.``; nothing for no tokens.
    """
    kept = dict(sorted(tokens.items()))
    while kept:
        body = _text(json.dumps(kept, separators=(",", ":")).encode())
        value = f"{body}.{_text(_signature(body, secret))}"
        if len(value) <= LONGEST:
            return value
        kept.popitem()
    return ""


def load(value: str, *, secret: bytes) -> dict[str, str]:
    """Read what `dump` has written; nothing where it was not `dump` with this secret that wrote it.

    Args:
        value: The cookie's value, from whoever sent it.
        secret: The key that signed it.
    """
    if len(value) > LONGEST:
        return {}
    body, _, signature = value.partition(".")
    try:
        if not hmac.compare_digest(_bytes(signature), _signature(body, secret)):
            return {}
        tokens: Any = json.loads(_bytes(body))
    except (ValueError, RecursionError):  # of UTF-8, Base64 and JSON
        return {}
    if not isinstance(tokens, dict):
        return {}
    return {n: t for n, t in cast("dict[str, object]", tokens).items() if isinstance(t, str)}


def _signature(body: str, secret: bytes) -> bytes:
    key = hmac.digest(secret, _PURPOSE, hashlib.sha256)  # so that no other cookie signed with the secret passes for one
    return hmac.digest(key, body.encode(), hashlib.sha256)[:_SIGNATURE_BYTES]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    data = text.encode("ascii")
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError from error
