"""Settings as TOML: text, numbers, true and false, lists and tables of them."""

from __future__ import annotations

import json
import re
from typing import cast

__all__ = ["key", "value"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def key(name: str) -> str:
    """Write one part of a key."""
    return name if _BARE.fullmatch(name) else value(name)


def value(given: object) -> str:
    """Write a value on one line. TOML shares JSON's form of all but tables, and of the character DEL."""
    if isinstance(given, dict):
        table = cast("dict[str, object]", given)
        return "{ " + ", ".join(f"{key(name)} = {value(inner)}" for name, inner in table.items()) + " }"
    if isinstance(given, (list, tuple)):
        return "[" + ", ".join(value(inner) for inner in cast("list[object]", given)) + "]"
    # JSON writes what is beyond U+FFFF as two surrogates, which TOML refuses.
    return json.dumps(given, ensure_ascii=False).replace("\x7f", "\\u007f")
