"""What a term is worth for a column of a type: literals, bound values and the few functions that make values."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import time
import uuid
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.statements import Bind, Braces, Brackets, Call, Constant, Parentheses
from undaunted.testing.cql.types import scalar
from undaunted.testing.cql.wire import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from undaunted.testing.cql.statements import Term
    from undaunted.testing.cql.types import CqlType

__all__ = ["Bound", "time_uuid"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_EPOCH_DAY = 1 << 31
_UUID_EPOCH = 0x01B21DD213814000  # 100 ns steps from 1582 to 1970
_RANGES = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64, "counter": 64}
_DURATION = re.compile(r"(\d+)(mo|ms|us|µs|ns|[yYwWdDhHmMsS])")
_DURATION_UNITS = {
    "y": (12, 0, 0),
    "mo": (1, 0, 0),
    "w": (0, 7, 0),
    "d": (0, 1, 0),
    "h": (0, 0, 3_600_000_000_000),
    "m": (0, 0, 60_000_000_000),
    "s": (0, 0, 1_000_000_000),
    "ms": (0, 0, 1_000_000),
    "us": (0, 0, 1_000),
    "µs": (0, 0, 1_000),
    "ns": (0, 0, 1),
}


class Bound:
    """The values that came with a request, and what terms are worth with them.

    Args:
        values: In the order of the markers.
    """

    def __init__(self, values: Sequence[bytes | Unset | None] = ()) -> None:
        self._values = values

    def value(self, term: Term, kind: CqlType, what: str) -> Any:
        """What it is worth: a value, None for null, or `UNSET`.

        Args:
            term: As it stands in the text.
            kind: The type that is wanted.
            what: The column's name, for messages.

        Raises:
            Invalid: It is of another type, or its marker has no value.
        """
        if isinstance(term, Bind):
            return self._bound(term, kind)
        if isinstance(term, Constant):
            return None if term.kind == "null" else _constant(term, kind, what)
        if isinstance(term, Call):
            return self._call(term, what)
        if isinstance(term, Brackets):
            return self._elements(term.items, kind, what, {"list"})
        if isinstance(term, Parentheses):
            return self._parts(term, kind, what)
        return self._braces(term, kind, what)

    def given(self, term: Term, kind: CqlType, what: str) -> Any:
        """As `value`, where null or "not set" makes no sense."""
        found = self.value(term, kind, what)
        if found is None:
            raise Invalid(f"Invalid null value for {what}")
        if found is UNSET:
            raise Invalid(f"Invalid unset value for {what}")
        return found

    def _bound(self, marker: Bind, kind: CqlType) -> Any:
        if marker.place >= len(self._values):
            raise Invalid("Invalid amount of bind variables")
        raw = self._values[marker.place]
        return raw if raw is None or isinstance(raw, Unset) else kind.unpack(raw)

    def _call(self, call: Call, what: str) -> Any:
        function = _FUNCTIONS.get(call.function)
        if function is None:
            raise Invalid(f"Unknown function '{call.function}' called (the fake knows {', '.join(sorted(_FUNCTIONS))})")
        name, make = function
        return make(self.given(call.arguments[0], scalar(name), what) if name else None)

    def _elements(self, items: Sequence[Term], kind: CqlType, what: str, names: set[str]) -> Any:
        if kind.name not in names:
            raise _mismatch("list or set literal", kind, what)
        return kind.arrange([self.given(item, kind.arguments[0], f"an element of {what}") for item in items])

    def _parts(self, term: Parentheses, kind: CqlType, what: str) -> Any:
        if kind.name != "tuple" or len(term.items) > len(kind.arguments):
            if len(term.items) == 1:
                return self.value(term.items[0], kind, what)
            raise _mismatch("tuple literal", kind, what)
        parts = [self.value(item, inner, what) for item, inner in zip(term.items, kind.arguments, strict=False)]
        return tuple(parts + [None] * (len(kind.arguments) - len(parts)))

    def _braces(self, term: Braces, kind: CqlType, what: str) -> Any:
        if kind.fields:
            return self._fields(term, kind, what)
        if kind.name == "map":
            key, item = kind.arguments
            pairs: list[Any] = []
            for left, right in term.items:
                if right is None or isinstance(left, str):
                    raise _mismatch("set literal", kind, what)
                pairs.append((self.given(left, key, f"a key of {what}"), self.given(right, item, f"a value of {what}")))
            return kind.arrange(pairs)
        items: list[Term] = []
        for left, right in term.items:
            if right is not None or isinstance(left, str):
                raise _mismatch("map literal", kind, what)
            items.append(left)
        return self._elements(items, kind, what, {"set"})

    def _fields(self, term: Braces, kind: CqlType, what: str) -> Any:
        given: dict[str, Any] = {}
        for left, right in term.items:
            if not isinstance(left, str) or right is None or left not in kind.fields:
                raise Invalid(f"Unknown field '{left}' in value of user defined type {kind.name}")
            inner = kind.arguments[kind.fields.index(left)]
            given[left] = self.value(right, inner, f"{what}.{left}")
        return tuple(given.get(name) for name in kind.fields)


def _mismatch(found: str, kind: CqlType, what: str) -> Invalid:
    return Invalid(f"Invalid {found} for {what} of type {kind}")


def _constant(term: Constant, kind: CqlType, what: str) -> Any:
    read = _CONSTANTS.get((kind.name, term.kind)) if not kind.arguments else None
    if read is None:
        raise Invalid(f'Invalid {term.kind.upper()} constant ({term.value}) for "{what}" of type {kind}')
    try:
        value = read(term.value)
    except (ValueError, InvalidOperation) as error:
        raise Invalid(f"Unable to make {kind} from '{term.value}' for {what}: {error}") from error
    bits = _RANGES.get(kind.name)
    if bits is not None and not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise Invalid(f"Unable to make {kind} from '{term.value}' for {what}: it does not fit")
    return value


def _timestamp(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        moment = dt.datetime.fromisoformat(_iso(text))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.timezone.utc)
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)


def _iso(text: str) -> str:
    """What Python 3.10 can read: offsets as +00:00, fractions of three or six digits."""
    text = re.sub(r"Z$", "+00:00", text.strip())
    text = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text)
    return re.sub(r"\.(\d+)", lambda match: "." + match.group(1)[:6].ljust(6, "0"), text)


def _date(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return (dt.date.fromisoformat(text) - _EPOCH.date()).days + _EPOCH_DAY


def _time(text: str) -> int:
    clock, _, fraction = text.partition(".")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)


def _duration(text: str) -> tuple[int, int, int]:
    sign = -1 if text.startswith("-") else 1
    total = [0, 0, 0]
    for number, unit in _DURATION.findall(text):
        for place, factor in enumerate(_DURATION_UNITS[unit if unit in _DURATION_UNITS else unit.lower()]):
            total[place] += sign * int(number) * factor
    return total[0], total[1], total[2]


def _blob(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _same(value: Any) -> Any:
    return value


_CONSTANTS: dict[tuple[str, str], Callable[[Any], Any]] = {
    **{(name, "string"): _same for name in ("text", "ascii")},
    **{(name, "integer"): int for name in (*_RANGES, "varint", "timestamp", "date", "time")},
    **{(name, kind): float for name in ("float", "double") for kind in ("integer", "number")},
    **{("decimal", kind): Decimal for kind in ("integer", "number")},
    **{(name, "uuid"): uuid.UUID for name in ("uuid", "timeuuid")},
    ("boolean", "boolean"): bool,
    ("blob", "blob"): _blob,
    ("timestamp", "string"): _timestamp,
    ("date", "string"): _date,
    ("time", "string"): _time,
    ("inet", "string"): lambda text: ipaddress.ip_address(text).packed,
    ("duration", "duration"): _duration,
}


def time_uuid(milliseconds: int, steps: int = 0, tail: int = 0x8080808080808080) -> uuid.UUID:
    """A UUID of version 1 for a moment, counted from the epoch; `steps` are of 100 ns."""
    ticks = milliseconds * 10_000 + _UUID_EPOCH + steps
    low, middle, high = ticks & 0xFFFFFFFF, (ticks >> 32) & 0xFFFF, (ticks >> 48) & 0x0FFF
    return uuid.UUID(int=(low << 96) | (middle << 80) | ((0x1000 | high) << 64) | tail)


def _milliseconds_of(value: uuid.UUID) -> int:
    return (value.time - _UUID_EPOCH) // 10_000


_FUNCTIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "now": ("", lambda _: uuid.uuid1()),
    "uuid": ("", lambda _: uuid.uuid4()),
    "currenttimestamp": ("", lambda _: time.time_ns() // 1_000_000),
    "currentdate": ("", lambda _: time.time_ns() // 86_400_000_000_000 + _EPOCH_DAY),
    "currenttimeuuid": ("", lambda _: uuid.uuid1()),
    "mintimeuuid": ("timestamp", lambda moment: time_uuid(moment, 0, 0x8080808080808080)),
    "maxtimeuuid": ("timestamp", lambda moment: time_uuid(moment, 9_999, 0x7F7F7F7F7F7F7F7F)),
    "totimestamp": ("timeuuid", _milliseconds_of),
    "tounixtimestamp": ("timeuuid", _milliseconds_of),
    "textasblob": ("text", lambda text: text.encode()),
}
"""What each function takes, and what it makes of it."""
