"""Reads what changes the schema: CREATE, ALTER and DROP of keyspaces, tables, types and indexes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.errors import Malformed
from undaunted.testing.cql.statements import (
    AlterKeyspace,
    AlterTable,
    AlterType,
    Braces,
    Constant,
    CreateIndex,
    CreateKeyspace,
    CreateTable,
    CreateType,
    Drop,
    Name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.testing.cql.reader import Reader
    from undaunted.testing.cql.statements import Statement, Term, TypeName

__all__ = ["alter", "create", "drop"]


def create(reader: Reader) -> Statement:
    """What stands behind CREATE."""
    if reader.accept("CUSTOM"):
        reader.expect("INDEX")
        return _create_index(reader)
    return _one_of(
        reader,
        "CREATE",
        {
            "KEYSPACE": _create_keyspace,
            "TABLE": _create_table,
            "COLUMNFAMILY": _create_table,
            "TYPE": _create_type,
            "INDEX": _create_index,
        },
    )


def alter(reader: Reader) -> Statement:
    """What stands behind ALTER."""
    return _one_of(
        reader,
        "ALTER",
        {"KEYSPACE": _alter_keyspace, "TABLE": _alter_table, "COLUMNFAMILY": _alter_table, "TYPE": _alter_type},
    )


def drop(reader: Reader) -> Drop:
    """What stands behind DROP."""
    what = reader.step().upper
    if what not in {"KEYSPACE", "TABLE", "TYPE", "INDEX", "COLUMNFAMILY"}:
        raise Malformed(f"DROP {what} is not known to the fake")
    if_exists = reader.accept("IF", "EXISTS")
    target = Name(reader.name()) if what == "KEYSPACE" else reader.full_name()
    return Drop(
        what="TABLE" if what == "COLUMNFAMILY" else what,  # type: ignore[arg-type]
        target=target,
        if_exists=if_exists,
    )


def _one_of(reader: Reader, verb: str, readers: dict[str, Callable[[Reader], Statement]]) -> Statement:
    token = reader.step()
    read = readers.get(token.upper)
    if read is None:
        raise Malformed(f"{verb} {token.text} is not known to the fake")
    return read(reader)


def _if_not_exists(reader: Reader) -> bool:
    return reader.accept("IF", "NOT", "EXISTS")


def _create_keyspace(reader: Reader) -> CreateKeyspace:
    if_not_exists = _if_not_exists(reader)
    name = reader.name()
    return CreateKeyspace(name=name, if_not_exists=if_not_exists, options=_options(reader))


def _alter_keyspace(reader: Reader) -> AlterKeyspace:
    reader.accept("IF", "EXISTS")
    return AlterKeyspace(name=reader.name(), options=_options(reader))


def _options(reader: Reader) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if reader.accept("WITH"):
        while True:
            name = reader.name()
            reader.expect("=")
            found[name] = _plain(reader.term())
            if not reader.accept("AND"):
                break
    return found


def _plain(term: Term) -> Any:
    """An option's value: a map of strings, or a constant."""
    if isinstance(term, Braces):
        return {
            str(_plain(key)) if not isinstance(key, str) else key: str(_plain(item)) for key, item in term.items if item
        }
    if isinstance(term, Constant):
        return float(term.value) if term.kind == "number" else term.value
    raise Malformed("the value of an option is a constant or a map")


@dataclass
class _Columns:
    """What stands between the parentheses of a CREATE TABLE."""

    reader: Reader
    types: dict[str, TypeName] = field(default_factory=dict[str, "TypeName"])
    static: set[str] = field(default_factory=set[str])
    partition: tuple[str, ...] = ()
    clustering: tuple[str, ...] = ()

    def read(self) -> None:
        """One column, or the primary key."""
        reader = self.reader
        if reader.is_next("PRIMARY", "KEY"):
            reader.expect("PRIMARY", "KEY", "(")
            partition = reader.listed(reader.name, ")") if reader.accept("(") else (reader.name(),)
            reader.accept(",")
            self.key(partition, reader.listed(reader.name, ")"))
            return
        name = reader.name()
        if name in self.types:
            raise Malformed(f"Multiple definition of identifier {name}")
        self.types[name] = reader.type()
        if reader.accept("STATIC"):
            self.static.add(name)
        if reader.accept("PRIMARY", "KEY"):
            self.key((name,), ())

    def key(self, partition: tuple[str, ...], clustering: tuple[str, ...]) -> None:
        """The primary key, once."""
        if self.partition:
            raise Malformed("Multiple PRIMARY KEYs specified (exactly one required)")
        self.partition, self.clustering = partition, clustering


def _create_table(reader: Reader) -> CreateTable:
    if_not_exists = _if_not_exists(reader)
    table = reader.full_name()
    columns = _Columns(reader)
    reader.expect("(")
    reader.listed(columns.read, ")")
    order, options = _table_options(reader)
    return CreateTable(
        table=table,
        columns=columns.types,
        static=frozenset(columns.static),
        partition_key=columns.partition,
        clustering=columns.clustering,
        clustering_order=order,
        options=options,
        if_not_exists=if_not_exists,
    )


def _table_options(reader: Reader) -> tuple[dict[str, bool], dict[str, Any]]:
    order: dict[str, bool] = {}
    options: dict[str, Any] = {}
    if reader.accept("WITH"):
        while True:
            if reader.accept("CLUSTERING", "ORDER", "BY"):
                reader.expect("(")
                order.update(reader.listed(lambda: _ordered(reader), ")"))
            else:
                if reader.is_next("COMPACT", "STORAGE"):
                    raise Malformed("COMPACT STORAGE is not known to the fake")
                name = reader.name()
                reader.expect("=")
                options[name] = _plain(reader.term())
            if not reader.accept("AND"):
                break
    return order, options


def _ordered(reader: Reader) -> tuple[str, bool]:
    name = reader.name()
    descending = reader.accept("DESC")
    if not descending:
        reader.accept("ASC")
    return name, descending


def _alter_table(reader: Reader) -> AlterTable:
    reader.accept("IF", "EXISTS")
    table = reader.full_name()
    if reader.accept("ADD"):
        reader.accept("IF", "NOT", "EXISTS")
        columns = _Columns(reader)
        _perhaps_listed(reader, columns.read)
        return AlterTable(table=table, add=columns.types, static=frozenset(columns.static))
    if reader.accept("DROP"):
        reader.accept("IF", "EXISTS")
        names: list[str] = []
        _perhaps_listed(reader, lambda: names.append(reader.name()))
        return AlterTable(table=table, drop=tuple(names))
    if not reader.is_next("WITH"):
        raise Malformed(f"ALTER TABLE .. {reader.here.text} is not known to the fake")
    return AlterTable(table=table, options=_options(reader))


def _perhaps_listed(reader: Reader, read: Callable[[], None]) -> None:
    if reader.accept("("):
        reader.listed(read, ")")
    else:
        reader.several(read)


def _create_type(reader: Reader) -> CreateType:
    if_not_exists = _if_not_exists(reader)
    name = reader.full_name()
    reader.expect("(")
    fields = dict(reader.listed(lambda: (reader.name(), reader.type()), ")"))
    return CreateType(type=name, fields=fields, if_not_exists=if_not_exists)


def _alter_type(reader: Reader) -> AlterType:
    name = reader.full_name()
    if reader.accept("ADD"):
        reader.accept("IF", "NOT", "EXISTS")
        return AlterType(type=name, add={reader.name(): reader.type()})
    reader.expect("RENAME")
    renamed: dict[str, str] = {}
    while True:
        old = reader.name()
        reader.expect("TO")
        renamed[old] = reader.name()
        if not reader.accept("AND"):
            return AlterType(type=name, rename=renamed)


def _create_index(reader: Reader) -> CreateIndex:
    if_not_exists = _if_not_exists(reader)
    index = None if reader.is_next("ON") else reader.full_name().name
    reader.expect("ON")
    table = reader.full_name()
    reader.expect("(")
    function = ""
    if reader.here.upper in {"KEYS", "VALUES", "ENTRIES", "FULL"}:
        function = reader.step().text.lower()
        reader.expect("(")
    column = reader.name()
    if function:
        reader.expect(")")
    reader.expect(")")
    using = reader.step().text if reader.accept("USING") else None
    if reader.accept("WITH", "OPTIONS"):
        reader.expect("=")
        reader.term()
    return CreateIndex(
        index=index,
        table=table,
        column=column,
        function=function,
        using=using,
        if_not_exists=if_not_exists,
    )
