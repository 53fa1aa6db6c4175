"""The plain types of CQL: their numbers, their bytes, their order, and what Python sees of them.

Within the fake a value is always something hashable: a timestamp is its milliseconds, a date its days with 2**31 as
1970-01-01, a time its nanoseconds, an inet its packed bytes, a duration (months, days, nanoseconds).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import struct
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SCALARS", "Scalar"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_EPOCH_DAY = 1 << 31


@dataclass(frozen=True, slots=True)
class Scalar:
    """One plain type.

    Attributes:
        number: On the wire.
        pack: To bytes.
        unpack: From bytes; a ValueError or `struct.error` where they are not of the type.
        order: What to sort by.
        native: What Python programs use.
    """

    number: int
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]
    order: Callable[[Any], Any]
    native: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _fixed(number: int, code: str) -> Scalar:
    form = struct.Struct(">" + code)
    return Scalar(number, form.pack, lambda data: form.unpack(data)[0], _same, _same)


def _pack_varint(value: int) -> bytes:
    length = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return value.to_bytes(length, "big", signed=True)


def _unpack_varint(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _pack_decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{value} is no finite decimal")  # noqa: TRY004 - its value is wrong, not its type
    unscaled = int("".join(map(str, digits)))
    return struct.pack(">i", -exponent) + _pack_varint(-unscaled if sign else unscaled)


def _unpack_decimal(data: bytes) -> Decimal:
    unscaled = _unpack_varint(data[4:])
    digits = tuple(map(int, str(abs(unscaled))))
    return Decimal((int(unscaled < 0), digits, -struct.unpack_from(">i", data)[0]))  # exact, whatever the context


def _order_timeuuid(value: uuid.UUID) -> tuple[int, bytes]:
    return value.time, value.bytes


def _native_timestamp(value: int) -> Any:
    return (_EPOCH + dt.timedelta(milliseconds=value)).replace(tzinfo=None)


def _native_date(value: int) -> Any:
    return (_EPOCH + dt.timedelta(days=value - _EPOCH_DAY)).date()


def _native_time(value: int) -> Any:
    seconds, nanoseconds = divmod(value, 1_000_000_000)
    hours, seconds = divmod(seconds, 3600)
    return dt.time(hours, seconds // 60, seconds % 60, nanoseconds // 1000)


def _pack_vint(value: int) -> bytes:
    """A signed integer of one to nine bytes: zigzag, then as many leading ones as bytes follow."""
    unsigned = (value << 1) ^ (value >> 63) if value < 0 else value << 1
    unsigned &= (1 << 64) - 1
    for extra in range(8):
        if unsigned < 1 << (7 * (extra + 1)):
            head = (0xFF << (8 - extra)) & 0xFF
            body = bytearray(unsigned.to_bytes(extra + 1, "big"))
            body[0] |= head
            return bytes(body)
    return b"\xff" + unsigned.to_bytes(8, "big")


def _unpack_vint(data: bytes, at: int) -> tuple[int, int]:
    extra = 0
    while extra < 8 and data[at] & (0x80 >> extra):
        extra += 1
    if extra == 8:
        unsigned = int.from_bytes(data[at + 1 : at + 9], "big")
    else:
        unsigned = int.from_bytes(bytes((data[at] & (0xFF >> (extra + 1)),)) + data[at + 1 : at + 1 + extra], "big")
    return (unsigned >> 1) ^ -(unsigned & 1), at + 1 + extra


def _pack_duration(value: tuple[int, int, int]) -> bytes:
    return b"".join(map(_pack_vint, value))


def _unpack_duration(data: bytes) -> tuple[int, int, int]:
    months, at = _unpack_vint(data, 0)
    days, at = _unpack_vint(data, at)
    nanoseconds, _ = _unpack_vint(data, at)
    return months, days, nanoseconds


def _uuid(number: int, order: Callable[[Any], Any]) -> Scalar:
    return Scalar(number, lambda value: value.bytes, lambda data: uuid.UUID(bytes=data), order, _same)


_TEXT = Scalar(0x000D, lambda value: value.encode(), lambda data: data.decode(), _same, _same)

SCALARS: dict[str, Scalar] = {
    "ascii": Scalar(0x0001, lambda value: value.encode("ascii"), lambda data: data.decode("ascii"), _same, _same),
    "bigint": _fixed(0x0002, "q"),
    "blob": Scalar(0x0003, bytes, bytes, _same, _same),
    "boolean": _fixed(0x0004, "?"),
    "counter": _fixed(0x0005, "q"),
    "decimal": Scalar(0x0006, _pack_decimal, _unpack_decimal, _same, _same),
    "double": _fixed(0x0007, "d"),
    "float": _fixed(0x0008, "f"),
    "int": _fixed(0x0009, "i"),
    "timestamp": Scalar(
        0x000B, struct.Struct(">q").pack, lambda data: struct.unpack(">q", data)[0], _same, _native_timestamp
    ),
    "uuid": _uuid(0x000C, lambda value: value.bytes),
    "text": _TEXT,
    "varchar": _TEXT,
    "varint": Scalar(0x000E, _pack_varint, _unpack_varint, _same, _same),
    "timeuuid": _uuid(0x000F, _order_timeuuid),
    "inet": Scalar(0x0010, bytes, bytes, _same, lambda value: str(ipaddress.ip_address(value))),
    "date": Scalar(0x0011, struct.Struct(">I").pack, lambda data: struct.unpack(">I", data)[0], _same, _native_date),
    "time": Scalar(0x0012, struct.Struct(">q").pack, lambda data: struct.unpack(">q", data)[0], _same, _native_time),
    "smallint": _fixed(0x0013, "h"),
    "tinyint": _fixed(0x0014, "b"),
    "duration": Scalar(0x0015, _pack_duration, _unpack_duration, _same, _same),
}
"""By their names in CQL."""
