"""Reads a text of CQL: what reads and changes rows here, what changes the schema in `ddl`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from undaunted.testing.cql import ddl
from undaunted.testing.cql.errors import Malformed
from undaunted.testing.cql.reader import Reader
from undaunted.testing.cql.statements import (
    Assignment,
    Batch,
    Condition,
    Delete,
    Insert,
    Relation,
    Select,
    Selector,
    Target,
    Truncate,
    Update,
    Use,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from undaunted.testing.cql.statements import Change, Statement, Term

    T = TypeVar("T")

__all__ = ["parse"]


@lru_cache(maxsize=1024)
def parse(text: str) -> tuple[Statement, int]:
    """The statement of a text, and the number of its markers.

    Raises:
        Malformed: It cannot be read.
    """
    reader = Reader(text)
    read = _READERS.get(reader.here.upper)
    if read is None:
        raise Malformed(f"line 1:0 no viable alternative at input '{reader.here.text}'")
    reader.step()
    statement = read(reader)
    reader.end()
    return statement, reader.binds


def _select(reader: Reader) -> Select:
    distinct = reader.accept("DISTINCT")
    if reader.is_next("JSON"):
        raise Malformed("SELECT JSON is not known to the fake")
    selectors = () if reader.accept("*") else reader.several(lambda: _selector(reader))
    reader.expect("FROM")
    table = reader.full_name()
    where = _where(reader)
    order = reader.several(lambda: _order(reader)) if reader.accept("ORDER", "BY") else ()
    partition_limit = reader.term() if reader.accept("PER", "PARTITION", "LIMIT") else None
    limit = reader.term() if reader.accept("LIMIT") else None
    return Select(
        table=table,
        selectors=selectors,
        distinct=distinct,
        where=where,
        order=order,
        limit=limit,
        partition_limit=partition_limit,
        filtering=reader.accept("ALLOW", "FILTERING"),
    )


def _selector(reader: Reader) -> Selector:
    name = reader.name()
    function = ""
    columns: tuple[str, ...] = (name,)
    if reader.accept("("):
        function = name
        if reader.accept("*"):
            reader.expect(")")
            columns = ()
        elif reader.accept(")"):
            columns = ()
        else:
            columns = reader.listed(lambda: _argument(reader), ")")
    return Selector(columns, function, reader.name() if reader.accept("AS") else None)


def _argument(reader: Reader) -> str:
    if reader.here.kind == "integer":  # count(1)
        return reader.step().text
    return reader.name()


def _order(reader: Reader) -> tuple[str, bool]:
    name = reader.name()
    descending = reader.accept("DESC")
    if not descending:
        reader.accept("ASC")
    return name, descending


def _where(reader: Reader) -> tuple[Relation, ...]:
    return _all(reader, lambda: _relation(reader)) if reader.accept("WHERE") else ()


def _all(reader: Reader, read: Callable[[], T]) -> tuple[T, ...]:
    found = [read()]
    while reader.accept("AND"):
        found.append(read())
    return tuple(found)


def _relation(reader: Reader) -> Relation:
    if reader.is_next("TOKEN", "("):
        reader.expect("TOKEN", "(")
        columns = reader.listed(reader.name, ")")
        return Relation(columns, _operator(reader), reader.term(), token=True)
    if reader.accept("("):
        columns = reader.listed(reader.name, ")")
        operator = _operator(reader)
        return Relation(columns, operator, reader.term())
    column = reader.name()
    element = None
    if reader.accept("["):
        element = reader.term()
        reader.expect("]")
    operator = _operator(reader)
    return Relation((column,), operator, reader.term(), element=element)


def _operator(reader: Reader) -> str:
    if reader.accept("CONTAINS"):
        return "CONTAINS KEY" if reader.accept("KEY") else "CONTAINS"
    token = reader.here
    if token.upper in {"=", "<", ">", "<=", ">=", "!=", "IN", "LIKE"}:
        return reader.step().upper
    raise reader.wrong("an operator")


def _conditions(reader: Reader) -> tuple[tuple[Condition, ...], bool]:
    if not reader.accept("IF"):
        return (), False
    if reader.accept("EXISTS"):
        return (), True
    return _all(reader, lambda: _condition(reader)), False


def _condition(reader: Reader) -> Condition:
    column = reader.name()
    element = None
    if reader.accept("["):
        element = reader.term()
        reader.expect("]")
    operator = _operator(reader)
    return Condition(column, operator, reader.term(), element)


def _using(reader: Reader) -> dict[str, Term]:
    found: dict[str, Term] = {}
    if reader.accept("USING"):
        while True:
            word = reader.step().upper
            if word not in {"TTL", "TIMESTAMP"}:
                raise reader.wrong("TTL or TIMESTAMP")
            found[word.lower()] = reader.term()
            if not reader.accept("AND"):
                break
    return found


def _insert(reader: Reader) -> Insert:
    reader.expect("INTO")
    table = reader.full_name()
    if reader.is_next("JSON"):
        raise Malformed("INSERT JSON is not known to the fake")
    reader.expect("(")
    columns = reader.listed(reader.name, ")")
    reader.expect("VALUES", "(")
    values = reader.listed(reader.term, ")")
    if len(columns) != len(values):
        raise Malformed("Unmatched column names/values")
    if_not_exists = reader.accept("IF", "NOT", "EXISTS")
    return Insert(
        table=table,
        values=dict(zip(columns, values, strict=True)),
        if_not_exists=if_not_exists,
        **_using(reader),
    )


def _update(reader: Reader) -> Update:
    table = reader.full_name()
    using = _using(reader)
    reader.expect("SET")
    assignments = reader.several(lambda: _assignment(reader))
    where = _where(reader)
    conditions, if_exists = _conditions(reader)
    return Update(
        table=table,
        assignments=assignments,
        where=where,
        conditions=conditions,
        if_exists=if_exists,
        **using,
    )


def _assignment(reader: Reader) -> Assignment:
    column = reader.name()
    if reader.accept("["):
        element = reader.term()
        reader.expect("]", "=")
        return Assignment(column=column, kind="=", term=reader.term(), element=element)
    if reader.accept("+="):
        return Assignment(column=column, kind="+", term=reader.term())
    if reader.accept("-="):
        return Assignment(column=column, kind="-", term=reader.term())
    reader.expect("=")
    if reader.here.kind in {"word", "quoted"} and reader.follows_itself(column):
        reader.name()
        return Assignment(column=column, kind=reader.sign(), term=reader.term())
    term = reader.term()
    if reader.accept("+"):
        if reader.name() != column:
            raise Malformed(f"only expressions of the form X = <value> + X are supported, for column {column}")
        return Assignment(column=column, kind="before", term=term)
    return Assignment(column=column, kind="=", term=term)


def _delete(reader: Reader) -> Delete:
    targets = () if reader.is_next("FROM") else reader.several(lambda: _target(reader))
    reader.expect("FROM")
    table = reader.full_name()
    using = _using(reader)
    if "ttl" in using:
        raise Malformed("a DELETE takes no TTL")
    where = _where(reader)
    conditions, if_exists = _conditions(reader)
    return Delete(
        table=table,
        targets=targets,
        where=where,
        conditions=conditions,
        if_exists=if_exists,
        timestamp=using.get("timestamp"),
    )


def _target(reader: Reader) -> Target:
    column = reader.name()
    if not reader.accept("["):
        return Target(column)
    element = reader.term()
    reader.expect("]")
    return Target(column, element)


def _batch(reader: Reader) -> Batch:
    kind = reader.step().upper if reader.here.upper in {"UNLOGGED", "COUNTER"} else "LOGGED"
    reader.expect("BATCH")
    using = _using(reader)
    changes: list[Change] = []
    while not reader.accept("APPLY", "BATCH"):
        read = _CHANGES.get(reader.here.upper)
        if read is None:
            raise reader.wrong("K_APPLY, INSERT, UPDATE or DELETE")
        reader.step()
        changes.append(read(reader))
        reader.accept(";")
    return Batch(kind=kind, changes=tuple(changes), timestamp=using.get("timestamp"))


def _truncate(reader: Reader) -> Truncate:
    reader.accept("TABLE")
    return Truncate(reader.full_name())


def _use(reader: Reader) -> Use:
    return Use(reader.name())


_CHANGES: dict[str, Callable[[Reader], Change]] = {"INSERT": _insert, "UPDATE": _update, "DELETE": _delete}
_READERS: dict[str, Callable[[Reader], Statement]] = {
    **_CHANGES,
    "SELECT": _select,
    "BEGIN": _batch,
    "TRUNCATE": _truncate,
    "USE": _use,
    "CREATE": ddl.create,
    "ALTER": ddl.alter,
    "DROP": ddl.drop,
}
