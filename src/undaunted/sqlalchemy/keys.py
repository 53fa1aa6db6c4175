"""The table of keys: one row a unit of work, in its own transaction, so that it is there exactly when the unit is.

The key is inserted first. While the COMMIT of an earlier attempt is still on its way, the same key waits for it in the
unique index; so the insert answers what no look could: taken means that the earlier attempt has been applied, and free
means that it never will be.
"""

from __future__ import annotations

import os
import time
import uuid
import zlib
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.util import await_only

from undaunted.sqlalchemy import seams
from undaunted.sqlalchemy.errors import UnusableCluster
from undaunted.sqlalchemy.faults import sqlstate_of
from undaunted.sqlalchemy.opening import Due, Opening

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "TABLE",
    "KeyTableMissing",
    "KeyTaken",
    "fresh_key",
    "have_key_inserted",
    "insert_key",
    "is_table_missing",
    "key_table",
    "least_key",
    "table_of",
]

TABLE = "undaunted_keys"

_UNDEFINED_TABLE = "42P01"
_MYSQL_NO_SUCH_TABLE = 1146
_VERSION_AND_VARIANT = (7 << 76) | (2 << 62)
_RANDOM_BITS = (0xFFF << 64) | ((1 << 62) - 1)

_UNNAMED = sa.MetaData()
"""For units of work whose target is the name of a cluster, not a class."""

_INSERTS: WeakKeyDictionary[sa.Table, tuple[bytes, bytes]] = WeakKeyDictionary()
"""Of each table, the statement that inserts a key into it and says where PostgreSQL's log stands, and its name."""


class KeyTableMissing(UnusableCluster, exc.ProgrammingError):
    """The table of keys is missing. Create it, as ``Base.metadata.create_all(engine)`` does, or by a migration."""


class KeyTaken(Exception):
    """The key is in the table: an earlier attempt of this unit of work has been applied. Raised to nobody else."""


def key_table(metadata: sa.MetaData) -> sa.Table:
    """The table ``undaunted_keys`` of this metadata, made on the first call, so that ``create_all`` and Alembic see it.

    Bases and mixins of `undaunted.sqlalchemy` call this themselves; it is for any other metadata. Each row is about 50
    bytes, written by a unit of work and swept away after `keys.keep`.
    """
    name = TABLE if metadata.schema is None else f"{metadata.schema}.{TABLE}"
    found = metadata.tables.get(name)
    if found is not None:
        return found
    return sa.Table(
        TABLE,
        metadata,
        sa.Column("key", sa.Uuid(), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        comment="Units of work that have been applied; swept by age.",
    )


def table_of(target: Any) -> sa.Table:
    """The table of keys for a base, a mapped class, or the name of a cluster."""
    metadata: object = getattr(target, "metadata", None)
    return key_table(metadata if isinstance(metadata, sa.MetaData) else _UNNAMED)


def fresh_key() -> uuid.UUID:
    """A key that no other unit of work has: a UUID of version 7, so that keys of one time stand together."""
    return uuid.UUID(int=_at(time.time()) | int.from_bytes(os.urandom(10), "big") & _RANDOM_BITS)


def least_key(at_s: float) -> uuid.UUID:
    """The least key of a moment, given in seconds of `time.time`."""
    return uuid.UUID(int=_at(at_s))


def _at(at_s: float) -> int:
    return (int(at_s * 1000) & 0xFFFF_FFFF_FFFF) << 80 | _VERSION_AND_VARIANT


def insert_key(connection: sa.Connection, table: sa.Table, key: uuid.UUID) -> None:
    """Insert the key; waits while an earlier transaction with the same key is still undecided.

    Raises:
        KeyTaken: It is there already.
        KeyTableMissing: There is no such table.
    """
    try:
        if not have_key_inserted(connection, table, key):
            connection.execute(table.insert(), {"key": key})
            return
        _insert_directly(connection)
    except exc.IntegrityError as error:
        raise KeyTaken from error
    except exc.DBAPIError as error:
        if is_table_missing(error):
            raise KeyTableMissing(
                f"The database has no table {table.fullname!r}, into which each unit of work writes a key first. "
                'Create it by Base.metadata.create_all(engine) or a migration, or use unit_of_work(..., key="free"). '
                "Metadata of other bases gets it by undaunted.sqlalchemy.key_table(metadata)."
            ) from error
        raise


def have_key_inserted(connection: sa.Connection, table: sa.Table, key: uuid.UUID) -> bool:
    """Have the transaction that begins with the next statement insert the key first, in the same message.

    What comes of that comes of the statement. Returns whether it will be so, as with engines of ours on psycopg.
    """
    driver: Any = connection.connection.driver_connection
    if not isinstance(driver, Opening) or not driver.is_idle:
        return False
    # That of the engine, not of the connection: every attempt, and who settles it, must mean the same table.
    schemas: Any = connection.engine.get_execution_options().get("schema_translate_map")
    found = _INSERTS.get(table) if schemas is None else _inserting(connection, table, schemas)
    if found is None:
        found = _INSERTS[table] = _inserting(connection, table, {})
    driver.due = Due(*found, key.bytes)
    return True


def _inserting(
    connection: sa.Connection, table: sa.Table, schemas: Mapping[str | None, str | None]
) -> tuple[bytes, bytes]:
    """The statement that inserts a key, and its name, where tables stand in the schemas that are given for theirs."""
    quotes = connection.dialect.identifier_preparer
    schema = schemas.get(table.schema, table.schema)
    name = quotes.quote(table.name) if schema is None else f"{quotes.quote_schema(schema)}.{quotes.quote(table.name)}"
    text = f"INSERT INTO {name} (key) VALUES ($1) RETURNING pg_current_wal_insert_lsn()".encode()  # noqa: S608  # quoted
    return text, b"undaunted_%08x" % zlib.crc32(text)


def _insert_directly(connection: sa.Connection) -> None:
    """Together with the BEGIN, and without SQLAlchemy's way to a statement, which takes longer than the statement."""
    driver: Any = connection.connection.driver_connection
    try:
        begun = driver.begin_with_key()
        if connection.dialect.is_async:
            await_only(begun)
    except Exception as error:  # noqa: BLE001  # SQLAlchemy knows the driver's, and all others
        seams.fail(connection, error)


def is_table_missing(error: exc.DBAPIError) -> bool:
    """Whether a statement failed since its table is not there."""
    state = sqlstate_of(error)
    if state is not None:
        return state == _UNDEFINED_TABLE
    orig = error.orig
    if orig is None or not orig.args:
        return False
    if orig.args[0] == _MYSQL_NO_SUCH_TABLE:
        return True
    # SQLite has no code for it but the general one.
    return type(orig).__module__ == "sqlite3" and str(orig.args[0]).startswith("no such table")
