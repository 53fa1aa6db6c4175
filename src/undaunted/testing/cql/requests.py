"""What clients ask: the bodies of QUERY, PREPARE, EXECUTE and BATCH.

Source: section 4.1 of the native protocol specifications, versions 4 and 5.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from undaunted.testing.cql.errors import CONSISTENCIES, ProtocolError
from undaunted.testing.cql.wire import Body, ShortBodyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from undaunted.testing.cql.frames import Frame
    from undaunted.testing.cql.wire import Unset

    T = TypeVar("T")

__all__ = ["BatchPart", "BatchRequest", "Options", "PrepareRequest", "Query", "decode"]

_VALUES, _SKIP_METADATA, _PAGE_SIZE, _PAGING_STATE = 0x01, 0x02, 0x04, 0x08
_SERIAL, _TIMESTAMP, _NAMES, _KEYSPACE, _NOW = 0x10, 0x20, 0x40, 0x80, 0x100
_CUSTOM_PAYLOAD = 0x04
_BATCH_KINDS = ("LOGGED", "UNLOGGED", "COUNTER")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What goes with a statement.

    Attributes:
        consistency: By its name.
        serial_consistency: By its name; None where the client leaves it to the server.
        values: For the markers, in order.
        names: Of the values, where the client named them.
        skip_metadata: The client knows the columns of the result.
        page_size: Rows a page; None for all.
        paging_state: Where to go on.
        timestamp: Of the writes, in microseconds.
        keyspace: That the statement is for; None for that of the connection.
    """

    consistency: str = "ONE"
    serial_consistency: str | None = None
    values: tuple[bytes | Unset | None, ...] = ()
    names: tuple[str, ...] = ()
    skip_metadata: bool = False
    page_size: int | None = None
    paging_state: bytes | None = None
    timestamp: int | None = None
    keyspace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """QUERY with its `text`, or EXECUTE with `statement_id`."""

    text: str = ""
    statement_id: bytes = b""
    metadata_id: bytes | None = None
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """PREPARE."""

    text: str
    keyspace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPart:
    """One statement of a BATCH: a text, or the id of a prepared one."""

    text: str = ""
    statement_id: bytes = b""
    values: tuple[bytes | Unset | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """BATCH."""

    kind: str
    parts: tuple[BatchPart, ...]
    options: Options


def decode(frame: Frame, read: Callable[[Body, int], T]) -> T:
    """Read a frame's body.

    Raises:
        ProtocolError: It is not what its opcode promises.
    """
    body = Body(frame.body)
    try:
        if frame.flags & _CUSTOM_PAYLOAD:
            body.skip_blob_map()
        return read(body, frame.version)
    except (ShortBodyError, struct.error, UnicodeDecodeError, LookupError) as error:
        raise ProtocolError(f"the body of a frame with opcode {frame.opcode:#04x} cannot be read: {error}") from error


def decode_map(body: Body, _version: int) -> dict[str, str]:
    """The body of STARTUP."""
    return body.text_map()


def decode_names(body: Body, _version: int) -> list[str]:
    """The body of REGISTER."""
    return body.text_list()


def decode_token(body: Body, _version: int) -> bytes:
    """The body of AUTH_RESPONSE."""
    return body.blob() or b""


def decode_query(body: Body, version: int) -> Query:
    """The body of QUERY."""
    return Query(text=body.long_text(), options=_options(body, version))


def decode_execute(body: Body, version: int) -> Query:
    """The body of EXECUTE."""
    statement_id = body.short_blob()
    metadata_id = body.short_blob() if version >= 5 else None
    return Query(statement_id=statement_id, metadata_id=metadata_id, options=_options(body, version))


def decode_prepare(body: Body, version: int) -> PrepareRequest:
    """The body of PREPARE."""
    text = body.long_text()
    flags = body.unsigned() if version >= 5 else 0
    return PrepareRequest(text=text, keyspace=body.text() if flags & 0x01 else None)


def decode_batch(body: Body, version: int) -> BatchRequest:
    """The body of BATCH."""
    kind = _BATCH_KINDS[body.byte()]
    parts = tuple(_part(body) for _ in range(body.short()))
    consistency = CONSISTENCIES[body.short()]
    flags = body.unsigned() if version >= 5 else body.byte()
    options = Options(
        consistency=consistency,
        serial_consistency=CONSISTENCIES[body.short()] if flags & _SERIAL else None,
        timestamp=body.long_integer() if flags & _TIMESTAMP else None,
        keyspace=body.text() if version >= 5 and flags & _KEYSPACE else None,
    )
    return BatchRequest(kind=kind, parts=parts, options=options)


def _part(body: Body) -> BatchPart:
    prepared = body.byte()
    text, statement_id = ("", body.short_blob()) if prepared else (body.long_text(), b"")
    return BatchPart(text=text, statement_id=statement_id, values=tuple(body.value() for _ in range(body.short())))


def _options(body: Body, version: int) -> Options:
    consistency = CONSISTENCIES[body.short()]
    flags = body.unsigned() if version >= 5 else body.byte()
    names: list[str] = []
    values: list[bytes | Unset | None] = []
    if flags & _VALUES:
        for _ in range(body.short()):
            if flags & _NAMES:
                names.append(body.text())
            values.append(body.value())
    options = Options(
        consistency=consistency,
        values=tuple(values),
        names=tuple(names),
        skip_metadata=bool(flags & _SKIP_METADATA),
        page_size=body.integer() if flags & _PAGE_SIZE else None,
        paging_state=(body.blob() or b"") if flags & _PAGING_STATE else None,
        serial_consistency=CONSISTENCIES[body.short()] if flags & _SERIAL else None,
        timestamp=body.long_integer() if flags & _TIMESTAMP else None,
        keyspace=body.text() if version >= 5 and flags & _KEYSPACE else None,
    )
    if version >= 5 and flags & _NOW:
        body.integer()
    return options
