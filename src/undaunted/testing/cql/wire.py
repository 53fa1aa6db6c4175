"""The notations of the native protocol: how integers, strings, bytes, maps and addresses lie in a body.

Source: sections 3 of the native protocol specifications, versions 4 and 5.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "UNSET",
    "Body",
    "ShortBodyError",
    "Unset",
    "address",
    "byte",
    "integer",
    "long_integer",
    "long_text",
    "short",
    "short_blob",
    "text",
    "text_list",
    "text_multimap",
    "value",
]


class ShortBodyError(ValueError):
    """A body ends before what its notation promises."""


class Unset:
    """The value of a marker that was bound to "leave it as it is", which is not null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()


class Body:
    """Reads a body from its beginning to its end.

    Args:
        data: The whole body.

    Raises:
        ShortBodyError: From any read, where the body ends before what was to be read.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        end = self._at + count
        if count < 0 or end > len(self._data):
            raise ShortBodyError(f"the body ends after {len(self._data)} bytes; {end} were to be read")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def byte(self) -> int:
        """One byte, without a sign."""
        return self.take(1)[0]

    def short(self) -> int:
        """Two bytes, without a sign."""
        return int.from_bytes(self.take(2), "big")

    def integer(self) -> int:
        """Four bytes, with a sign."""
        return int.from_bytes(self.take(4), "big", signed=True)

    def unsigned(self) -> int:
        """Four bytes, without a sign."""
        return int.from_bytes(self.take(4), "big")

    def long_integer(self) -> int:
        """Eight bytes, with a sign."""
        return int.from_bytes(self.take(8), "big", signed=True)

    def text(self) -> str:
        """A string whose length stands in two bytes."""
        return self.take(self.short()).decode()

    def long_text(self) -> str:
        """A string whose length stands in four bytes."""
        return self.take(self.integer()).decode()

    def short_blob(self) -> bytes:
        """Bytes whose length stands in two."""
        return self.take(self.short())

    def blob(self) -> bytes | None:
        """Bytes whose length stands in four; None where it is below zero."""
        length = self.integer()
        return None if length < 0 else self.take(length)

    def value(self) -> bytes | Unset | None:
        """As `blob`, but a length of -2 is "not set"."""
        length = self.integer()
        if length == -2:
            return UNSET
        return None if length < 0 else self.take(length)

    def text_map(self) -> dict[str, str]:
        """Strings by strings."""
        return {self.text(): self.text() for _ in range(self.short())}

    def text_list(self) -> list[str]:
        """Strings one after another."""
        return [self.text() for _ in range(self.short())]

    def skip_blob_map(self) -> None:
        """Pass over a custom payload."""
        for _ in range(self.short()):
            self.text()
            self.blob()


def byte(number: int) -> bytes:
    """One byte, without a sign."""
    return bytes((number,))


def short(number: int) -> bytes:
    """Two bytes, without a sign."""
    return struct.pack(">H", number)


def integer(number: int) -> bytes:
    """Four bytes, with a sign."""
    return struct.pack(">i", number)


def long_integer(number: int) -> bytes:
    """Eight bytes, with a sign."""
    return struct.pack(">q", number)


def text(string: str) -> bytes:
    """A string behind its length in two bytes."""
    encoded = string.encode()
    return short(len(encoded)) + encoded


def long_text(string: str) -> bytes:
    """A string behind its length in four bytes."""
    encoded = string.encode()
    return integer(len(encoded)) + encoded


def short_blob(data: bytes) -> bytes:
    """Bytes behind their length in two."""
    return short(len(data)) + data


def value(data: bytes | None) -> bytes:
    """Bytes behind their length in four; -1 stands for null."""
    return b"\xff\xff\xff\xff" if data is None else struct.pack(">i", len(data)) + data


def text_list(strings: Iterable[str]) -> bytes:
    """Strings behind their number."""
    encoded = [text(string) for string in strings]
    return short(len(encoded)) + b"".join(encoded)


def text_multimap(mapping: Mapping[str, Iterable[str]]) -> bytes:
    """Lists of strings by strings."""
    return short(len(mapping)) + b"".join(text(key) + text_list(mapping[key]) for key in mapping)


def address(host: str, port: int | None = None) -> bytes:
    """An address behind its length; with a port, as in events."""
    packed = ipaddress.ip_address(host).packed
    return byte(len(packed)) + packed + (b"" if port is None else integer(port))
