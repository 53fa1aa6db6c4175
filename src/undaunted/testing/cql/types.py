"""Types of columns: read from CQL, written to result metadata, and what values of them look like.

A list is a tuple within the fake, a set a sorted tuple, a map a tuple of pairs sorted by key, a tuple or a user's type
a tuple of its parts with None where one is missing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql import wire
from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.scalars import SCALARS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CqlType", "scalar"]

_COLLECTIONS = {"list": 0x0020, "map": 0x0021, "set": 0x0022}


@dataclass(frozen=True)
class CqlType:
    """One type.

    Attributes:
        name: As CQL calls it; that of a user's type without its keyspace.
        arguments: The types inside.
        frozen: Whether a collection or a user's type is written as one value.
        keyspace: Of a user's type; empty for all others.
        fields: Names of the parts of a user's type.
    """

    name: str
    arguments: tuple[CqlType, ...] = ()
    frozen: bool = False
    keyspace: str = ""
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        inner = f"<{', '.join(map(str, self.arguments))}>" if self.arguments and not self.fields else ""
        plain = self.name + inner
        return f"frozen<{plain}>" if self.frozen and self.name != "tuple" else plain

    @cached_property
    def is_collection(self) -> bool:
        """Whether it is a list, a set or a map."""
        return self.name in _COLLECTIONS and not self.fields

    @cached_property
    def is_multicell(self) -> bool:
        """Whether its elements are written one by one."""
        return self.is_collection and not self.frozen

    def freeze(self) -> CqlType:
        """The same as one value, with everything inside."""
        if not self.arguments:
            return self
        return replace(self, frozen=True, arguments=tuple(inner.freeze() for inner in self.arguments))

    @cached_property
    def option(self) -> bytes:
        """How result metadata says it."""
        if self.fields:
            parts = (wire.text(name) + part.option for name, part in zip(self.fields, self.arguments, strict=True))
            return b"".join(
                (wire.short(0x30), wire.text(self.keyspace), wire.text(self.name), wire.short(len(self.fields)), *parts)
            )
        if self.name == "tuple":
            return wire.short(0x31) + wire.short(len(self.arguments)) + b"".join(a.option for a in self.arguments)
        if self.name in _COLLECTIONS:
            return wire.short(_COLLECTIONS[self.name]) + b"".join(inner.option for inner in self.arguments)
        return wire.short(SCALARS[self.name].number)

    def pack(self, value: Any) -> bytes:
        """Bytes of a value that is not null."""
        return self._pack(value)

    def unpack(self, data: bytes) -> Any:
        """A value from its bytes.

        Raises:
            Invalid: They are not of this type.
        """
        try:
            return self._unpack(data)
        except (ValueError, struct.error, IndexError) as error:
            raise Invalid(f"{len(data)} bytes are no value of the type {self}: {error}") from error

    def order(self, value: Any) -> Any:
        """What to sort values by."""
        return self._order(value)

    def native(self, value: Any) -> Any:
        """What Python programs use for it."""
        return None if value is None else self._native(value)

    @cached_property
    def _pack(self) -> Callable[[Any], bytes]:
        if self.fields or self.name == "tuple":
            return lambda value: b"".join(
                wire.value(None if part is None else inner.pack(part))
                for inner, part in zip(self.arguments, value, strict=False)
            )
        if self.name == "map":
            key, item = self.arguments
            return lambda value: (
                wire.integer(len(value))
                + b"".join(wire.value(key.pack(k)) + wire.value(item.pack(v)) for k, v in value)
            )
        if self.is_collection:
            inner = self.arguments[0]
            return lambda value: wire.integer(len(value)) + b"".join(wire.value(inner.pack(part)) for part in value)
        return SCALARS[self.name].pack

    @cached_property
    def _unpack(self) -> Callable[[bytes], Any]:
        if self.fields or self.name == "tuple":
            return self._unpack_parts
        if self.name == "map":
            return self._unpack_map
        if self.is_collection:
            return self._unpack_elements
        return SCALARS[self.name].unpack

    def _unpack_parts(self, data: bytes) -> Any:
        body, left = wire.Body(data), len(data)
        parts: list[Any] = []
        for inner in self.arguments:
            part = body.blob() if left else None
            left -= 4 + len(part or b"") if left else 0
            parts.append(None if part is None else inner.unpack(part))
        return tuple(parts)

    def _unpack_map(self, data: bytes) -> Any:
        body = wire.Body(data)
        key, item = self.arguments
        pairs = [(key.unpack(body.blob() or b""), item.unpack(body.blob() or b"")) for _ in range(body.integer())]
        return self.arrange(pairs)

    def _unpack_elements(self, data: bytes) -> Any:
        body = wire.Body(data)
        return self.arrange([self.arguments[0].unpack(body.blob() or b"") for _ in range(body.integer())])

    def arrange(self, parts: list[Any]) -> Any:
        """Elements or pairs of a collection, as its value: a set and a map sorted, each key once and the last one."""
        if self.name == "list":
            return tuple(parts)
        inner = self.arguments[0]
        if self.name == "set":
            return tuple(sorted(set(parts), key=inner.order))
        return tuple(sorted(dict(parts).items(), key=lambda pair: inner.order(pair[0])))

    @cached_property
    def _order(self) -> Callable[[Any], Any]:
        if not self.arguments:
            return SCALARS[self.name].order
        if self.name == "map":
            key, item = self.arguments
            return lambda value: [(key.order(k), item.order(v)) for k, v in value]
        inner = self.arguments if self.fields or self.name == "tuple" else None
        if inner is None:
            return lambda value: [self.arguments[0].order(part) for part in value]
        return lambda value: [
            (part is not None, None if part is None else kind.order(part))
            for kind, part in zip(inner, value, strict=False)
        ]

    @cached_property
    def _native(self) -> Callable[[Any], Any]:
        if self.fields:
            return lambda value: {
                name: kind.native(part) for name, kind, part in zip(self.fields, self.arguments, value, strict=False)
            }
        if self.name == "tuple":
            return lambda value: tuple(k.native(part) for k, part in zip(self.arguments, value, strict=False))
        if self.name == "map":
            key, item = self.arguments
            return lambda value: {key.native(k): item.native(v) for k, v in value}
        if self.is_collection:
            inner = self.arguments[0]
            if self.name == "set" and not inner.arguments:
                return lambda value: {inner.native(part) for part in value}
            return lambda value: [inner.native(part) for part in value]
        return SCALARS[self.name].native


def scalar(name: str) -> CqlType:
    """A plain type by its name in CQL; varchar is text."""
    return CqlType("text" if name == "varchar" else name)
