"""Every error that a server answers, with its fields: what a script lets a node say, and what the fake itself says.

Each is an exception, so that the part of the fake that finds a mistake raises what the client is told. Where a
consistency is None, the answer names the request's own. Source: section 9 of the native protocol specification,
version 5; what version 4 is told in place of newer errors is as a server does it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from undaunted.testing.cql import wire

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CONSISTENCIES",
    "AlreadyExists",
    "BadCredentials",
    "CasWriteUnknown",
    "CdcWriteFailure",
    "ConfigError",
    "CqlError",
    "FakeCassandraError",
    "FunctionFailure",
    "Invalid",
    "IsBootstrapping",
    "Malformed",
    "Overloaded",
    "ProtocolError",
    "RawError",
    "ReadFailure",
    "ReadTimeout",
    "ServerError",
    "TruncateError",
    "Unauthorized",
    "Unavailable",
    "Unprepared",
    "WriteFailure",
    "WriteTimeout",
    "WriteType",
]

WriteType = Literal["SIMPLE", "BATCH", "UNLOGGED_BATCH", "COUNTER", "BATCH_LOG", "CAS", "VIEW", "CDC"]

CONSISTENCIES = (
    "ANY",
    "ONE",
    "TWO",
    "THREE",
    "QUORUM",
    "ALL",
    "LOCAL_QUORUM",
    "EACH_QUORUM",
    "SERIAL",
    "LOCAL_SERIAL",
    "LOCAL_ONE",
)
"""The consistencies, each at the place of its number on the wire."""


class FakeCassandraError(Exception):
    """The fake cluster is used wrongly, or is itself at fault; never what a client is told."""


@dataclass(eq=False)
class CqlError(Exception):
    """An answer of the kind ERROR.

    Attributes:
        message: What it says in words.
    """

    code: ClassVar[int] = 0x0000
    message: str = "said so by the test"

    def __str__(self) -> str:
        return self.message

    def fields(self, version: int, consistency: str) -> bytes:  # noqa: ARG002 - most have none
        """What stands behind code and message, for a request of this protocol version and consistency."""
        return b""

    def encode(self, version: int, consistency: str) -> bytes:
        """The whole body."""
        return wire.integer(self.code) + wire.text(self.message) + self.fields(version, consistency)


class ServerError(CqlError):
    """0x0000: something unexpected in the server."""


class ProtocolError(CqlError):
    """0x000A: the client broke the protocol."""

    code: ClassVar[int] = 0x000A


class BadCredentials(CqlError):
    """0x0100: who the client says to be was not believed."""

    code: ClassVar[int] = 0x0100


class Overloaded(CqlError):
    """0x1001: the coordinator refused the request under load."""

    code: ClassVar[int] = 0x1001


class IsBootstrapping(CqlError):
    """0x1002: the coordinator is not yet a member."""

    code: ClassVar[int] = 0x1002


class TruncateError(CqlError):
    """0x1003: a truncation failed."""

    code: ClassVar[int] = 0x1003


class CdcWriteFailure(CqlError):
    """0x1600: no room is left for change data capture."""

    code: ClassVar[int] = 0x1600


class Malformed(CqlError):
    """0x2000: a syntax error; the text cannot be read."""

    code: ClassVar[int] = 0x2000


class Unauthorized(CqlError):
    """0x2100: the user may not."""

    code: ClassVar[int] = 0x2100


class Invalid(CqlError):
    """0x2200: the text can be read, but not done."""

    code: ClassVar[int] = 0x2200


class ConfigError(CqlError):
    """0x2300: wrong because of how something is configured."""

    code: ClassVar[int] = 0x2300


@dataclass(eq=False, kw_only=True)
class _Counted(CqlError):
    """An error that says at which consistency, how many replicas were needed, and how many there were."""

    consistency: str | None = None
    required: int = 2
    received: int = 1

    def _counts(self, consistency: str) -> bytes:
        level = CONSISTENCIES.index(self.consistency or consistency)
        return struct.pack(">Hii", level, self.received, self.required)


@dataclass(eq=False, kw_only=True)
class Unavailable(CqlError):
    """0x1000: too few replicas are alive, so nothing was sent to any.

    Attributes:
        consistency: At which; None for the request's own.
        required: Replicas that the consistency needs.
        alive: Replicas that the coordinator thinks alive.
    """

    code: ClassVar[int] = 0x1000
    consistency: str | None = None
    required: int = 2
    alive: int = 1

    def fields(self, version: int, consistency: str) -> bytes:  # noqa: ARG002
        """Consistency, required, alive."""
        level = CONSISTENCIES.index(self.consistency or consistency)
        return struct.pack(">Hii", level, self.required, self.alive)


@dataclass(eq=False, kw_only=True)
class WriteTimeout(_Counted):
    """0x1100: too few replicas confirmed a write in time.

    Attributes:
        consistency: At which; None for the request's own.
        required: Confirmations needed.
        received: Confirmations that came.
        write_type: What kind of write it was.
        contentions: How often a competing ballot was met; said for CAS by version 5.
    """

    code: ClassVar[int] = 0x1100
    write_type: WriteType = "SIMPLE"
    contentions: int = 0

    def fields(self, version: int, consistency: str) -> bytes:
        """Consistency, received, required, write type; contentions of a CAS from version 5."""
        tail = wire.short(self.contentions) if version >= 5 and self.write_type == "CAS" else b""
        return self._counts(consistency) + wire.text(self.write_type) + tail


@dataclass(eq=False, kw_only=True)
class ReadTimeout(_Counted):
    """0x1200: too few replicas answered a read in time.

    Attributes:
        consistency: At which; None for the request's own.
        required: Answers needed.
        received: Answers that came.
        data_present: Whether the replica that was asked for the data was among them.
    """

    code: ClassVar[int] = 0x1200
    data_present: bool = False

    def fields(self, version: int, consistency: str) -> bytes:  # noqa: ARG002
        """Consistency, received, required, data present."""
        return self._counts(consistency) + wire.byte(self.data_present)


@dataclass(eq=False, kw_only=True)
class _Failed(_Counted):
    """An error of replicas that answered with a failure.

    Attributes:
        reasons: Failure codes by the address of the replica; version 4 is told their number only.
    """

    reasons: Mapping[str, int] = field(default_factory=lambda: {"127.0.0.1": 0})

    def _failures(self, version: int) -> bytes:
        number = wire.integer(len(self.reasons))
        if version < 5:
            return number
        return number + b"".join(wire.address(host) + wire.short(self.reasons[host]) for host in self.reasons)


@dataclass(eq=False, kw_only=True)
class ReadFailure(_Failed):
    """0x1300: replicas failed to read; `reasons` says which and why (1 is too many tombstones)."""

    code: ClassVar[int] = 0x1300
    data_present: bool = False

    def fields(self, version: int, consistency: str) -> bytes:
        """Consistency, received, required, failures, data present."""
        return self._counts(consistency) + self._failures(version) + wire.byte(self.data_present)


@dataclass(eq=False, kw_only=True)
class WriteFailure(_Failed):
    """0x1500: replicas failed to write; `reasons` says which and why."""

    code: ClassVar[int] = 0x1500
    write_type: WriteType = "SIMPLE"

    def fields(self, version: int, consistency: str) -> bytes:
        """Consistency, received, required, failures, write type."""
        return self._counts(consistency) + self._failures(version) + wire.text(self.write_type)


@dataclass(eq=False, kw_only=True)
class FunctionFailure(CqlError):
    """0x1400: a function that users defined failed."""

    code: ClassVar[int] = 0x1400
    keyspace: str = "ks"
    function: str = "fn"
    arguments: tuple[str, ...] = ()

    def fields(self, version: int, consistency: str) -> bytes:  # noqa: ARG002
        """Keyspace, name, types of the arguments."""
        return wire.text(self.keyspace) + wire.text(self.function) + wire.text_list(self.arguments)


@dataclass(eq=False, kw_only=True)
class CasWriteUnknown(_Counted):
    """0x1700: a conditional write may or may not have been done; version 4 is told a `WriteTimeout` of the kind CAS."""

    code: ClassVar[int] = 0x1700

    def encode(self, version: int, consistency: str) -> bytes:
        """The whole body, as the version knows it."""
        if version >= 5:
            return super().encode(version, consistency)
        older = WriteTimeout(
            self.message,
            consistency=self.consistency,
            required=self.required,
            received=self.received,
            write_type="CAS",
        )
        return older.encode(version, consistency)

    def fields(self, version: int, consistency: str) -> bytes:  # noqa: ARG002
        """Consistency, received, required."""
        return self._counts(consistency)


@dataclass(eq=False, kw_only=True)
class AlreadyExists(CqlError):
    """0x2400: a keyspace (with an empty `table`) or a table is there already."""

    code: ClassVar[int] = 0x2400
    keyspace: str = ""
    table: str = ""

    def fields(self, version: int, consistency: str) -> bytes:  # noqa: ARG002
        """Keyspace and table."""
        return wire.text(self.keyspace) + wire.text(self.table)


@dataclass(eq=False, kw_only=True)
class Unprepared(CqlError):
    """0x2500: the node knows no statement of this id; None names the one that was to be executed."""

    code: ClassVar[int] = 0x2500
    statement_id: bytes | None = None

    def fields(self, version: int, consistency: str) -> bytes:  # noqa: ARG002
        """The id."""
        return wire.short_blob(self.statement_id or b"")


@dataclass(eq=False, kw_only=True)
class RawError(CqlError):
    """Any code with any bytes behind it."""

    number: int = 0xFFFF
    tail: bytes = b""

    def encode(self, version: int, consistency: str) -> bytes:  # noqa: ARG002
        """The whole body."""
        return wire.integer(self.number) + wire.text(self.message) + self.tail
