"""What a text says: each statement that cqlengine renders, text of all other kinds, and no more trust than is due."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from cassandra.cqlengine import columns, models, query
from cassandra.cqlengine.functions import MaxTimeUUID, MinTimeUUID, Token
from hypothesis import example, given
from hypothesis import strategies as st

from undaunted.cassandra.operations import operation_of, shape_of
from undaunted.core.operation import Kind


class Row(models.Model):
    __keyspace__ = "ks"
    k = columns.Integer(primary_key=True)
    c = columns.Integer(primary_key=True)
    a = columns.Text()
    condition = columns.Text(db_field="IF")
    spaced = columns.Text(db_field="a b")
    unicode = columns.Text(db_field="größe")
    keyword = columns.Text(db_field="x WHERE y = z")
    added = columns.Integer(db_field="n + 1")
    tags = columns.Set(columns.Text, db_field="set of, tags")
    log = columns.List(columns.Integer, db_field="APPLY BATCH;")
    prices = columns.Map(columns.Text, columns.Text, db_field="m[0]")
    fixed = columns.Text(static=True)


class Odd(models.Model):
    __keyspace__ = "My Keyspace"
    __table_name__ = "table if"
    k = columns.TimeUUID(primary_key=True)
    a = columns.Text()


class Event(models.Model):
    __keyspace__ = "ks"
    k = columns.Integer(primary_key=True)
    at = columns.TimeUUID(primary_key=True)


class Hits(models.Model):
    __keyspace__ = "ks"
    k = columns.Integer(primary_key=True)
    n = columns.Counter()


class Answer:
    was_applied = True

    def __iter__(self) -> Any:
        return iter(())

    def one(self) -> dict[str, int]:
        return {"count": 0}


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What cqlengine hands to a session."""
    found: list[tuple[str, Any]] = []

    def execute(statement: Any, values: Any = None, *_: Any, **__: Any) -> Answer:
        found.append((getattr(statement, "query_string", statement), values))
        return Answer()

    view = type("Cluster", (), {"protocol_version": 5})
    monkeypatch.setattr(query.conn, "execute", execute)
    monkeypatch.setattr(query.conn, "get_cluster", lambda *_: view)
    return found


def saved(**changed: Any) -> Any:
    row = Row(k=1, c=2, a="x", log=[1], tags={"a"}, prices={"a": "b"}, condition="y")
    row._is_persisted = True
    for value in row._values.values():
        value.reset_previous_value()
    for name, value in changed.items():
        setattr(row, name, value)
    return row


ONE = {"k": 1, "c": 2}
YES, NO, CONDITION = "may run twice", "may not", "conditional"

RENDERED = [
    ("insert", lambda: Row.create(**ONE, a="x"), [YES]),
    ("insert, all columns", lambda: Row.create(**ONE, a="x", condition="i", spaced="s", unicode="u"), [YES]),
    ("insert with collections", lambda: Row.create(**ONE, tags={"a"}, log=[1], prices={"a": "b"}), [YES]),
    ("insert with ttl", lambda: Row.ttl(5).create(**ONE, a="x"), [YES]),
    ("insert with timestamp", lambda: Row.timestamp(timedelta(seconds=9)).create(**ONE, a="x"), [YES]),
    ("insert if not exists", lambda: Row.if_not_exists().create(**ONE, a="x"), [CONDITION]),
    ("insert if not exists with ttl", lambda: Row.ttl(5).if_not_exists().create(**ONE, a="x"), [CONDITION]),
    ("insert of odd names", lambda: Odd.create(k="8b9cd4a6-8c1e-11ee-b9d1-0242ac120002", a="x"), [YES]),
    ("save of a changed text", lambda: saved(a="z").save(), [YES]),
    ("save of odd columns", lambda: saved(condition="z", spaced="z", keyword="z", added=2).save(), [YES]),
    ("save of a set", lambda: saved(tags={"b"}).save(), [YES]),
    ("save of a map", lambda: saved(prices={"z": "y"}).save(), [YES, YES]),
    ("save of a list that has grown behind", lambda: saved(log=[1, 2]).save(), [NO]),
    ("save of a list that has grown in front", lambda: saved(log=[0, 1]).save(), [NO]),
    ("save of a list that has changed", lambda: saved(log=[7]).save(), [YES]),
    ("save that nulls", lambda: saved(a=None).save(), [YES]),
    ("save that appends and nulls", lambda: saved(log=[1, 2], a=None, tags={"q"}).save(), [NO, YES]),
    ("save if exists", lambda: saved(a="z").if_exists().save(), [CONDITION]),
    ("save with a condition", lambda: saved(a="z").iff(condition="y").save(), [CONDITION]),
    ("update of an instance", lambda: saved().update(a="q"), [YES]),
    ("update", lambda: Row.objects(**ONE).update(a="1"), [YES]),
    ("update to null", lambda: Row.objects(**ONE).update(a="1", spaced=None), [YES, YES]),
    ("update with ttl", lambda: Row.objects(**ONE).ttl(4).update(condition="q"), [YES]),
    (
        "update with ttl and timestamp",
        lambda: Row.objects(**ONE).ttl(4).timestamp(datetime(2030, 1, 1)).update(a="q"),  # noqa: DTZ001
        [YES],
    ),
    ("update of a static column", lambda: Row.objects(k=1).update(fixed="q"), [YES]),
    ("append", lambda: Row.objects(**ONE).update(log__append=[3]), [NO]),
    ("prepend", lambda: Row.objects(**ONE).update(log__prepend=[3]), [NO]),
    ("append beside others", lambda: Row.objects(**ONE).update(a="1", tags__add={"x"}, log__append=[3]), [NO]),
    ("list replaced", lambda: Row.objects(**ONE).update(log=[3]), [YES]),
    ("set added to", lambda: Row.objects(**ONE).update(tags__add={"3"}, a="1"), [YES]),
    ("set taken from", lambda: Row.objects(**ONE).update(tags__remove={"3"}), [YES]),
    ("set emptied", lambda: Row.objects(**ONE).update(tags=set()), [YES]),
    ("map put into", lambda: Row.objects(**ONE).update(prices__update={"a": "3", "b": "4"}), [YES]),
    ("map taken from", lambda: Row.objects(**ONE).update(prices__remove={"a"}), [YES]),
    ("map emptied", lambda: Row.objects(**ONE).update(prices={}), [YES]),
    ("update iff", lambda: Row.objects(**ONE).iff(a="1").update(a="2"), [CONDITION]),
    ("update if exists", lambda: Row.objects(**ONE).if_exists().update(condition="q"), [CONDITION]),
    ("delete", lambda: Row(**ONE).delete(), [YES]),
    ("delete with timestamp", lambda: Row(**ONE).timestamp(timedelta(seconds=9)).delete(), [YES]),
    ("delete of a partition", lambda: Row.objects(k=1).delete(), [YES]),
    ("delete of a range", lambda: Row.objects(k=1, c__gt=2, c__lte=9).delete(), [YES]),
    ("delete of some", lambda: Row.objects(k=1, c__in=[2, 3]).delete(), [YES]),
    ("delete if exists", lambda: Row.objects(**ONE).if_exists().delete(), [CONDITION]),
    ("delete iff", lambda: Row.objects(**ONE).iff(a="x").delete(), [CONDITION]),
    (
        "delete of a time",
        lambda: Event.objects(k=1, at__lt=MaxTimeUUID(datetime(2031, 1, 1))).delete(),  # noqa: DTZ001
        [YES],
    ),
    ("delete of odd names", lambda: Odd.objects(k="8b9cd4a6-8c1e-11ee-b9d1-0242ac120002").delete(), [YES]),
    ("counter", lambda: Hits.objects(k=1).update(n=1), [NO]),
    ("counter down", lambda: Hits.objects(k=1).update(n=-1), [NO]),
]  # fmt: skip


def meanings(texts: list[tuple[str, Any]]) -> list[str]:
    found = []
    for text, values in texts:
        shape = shape_of(text)
        operation = operation_of(shape, values)
        assert operation.kind is Kind.WRITE
        assert operation.settleable is shape.is_conditional
        assert not (shape.is_conditional and operation.idempotent)
        found.append(CONDITION if shape.is_conditional else YES if operation.idempotent else NO)
    return found


@pytest.mark.parametrize(("change", "expected"), [row[1:] for row in RENDERED], ids=[row[0] for row in RENDERED])
def test_every_write_of_cqlengine_is_read(rendered: list[tuple[str, Any]], change: Any, expected: list[str]) -> None:
    change()
    assert meanings(rendered) == expected, rendered


@pytest.mark.parametrize(("change", "expected"), [row[1:] for row in RENDERED], ids=[row[0] for row in RENDERED])
@pytest.mark.parametrize("options", [{}, {"batch_type": query.BatchType.Unlogged}, {"timestamp": timedelta(seconds=9)}])
def test_a_batch_is_as_its_worst_statement(
    rendered: list[tuple[str, Any]], change: Any, expected: list[str], options: dict[str, Any]
) -> None:
    change()
    lines = [text for text, _ in rendered]
    values = {f"{number}": value for _, each in rendered for number, value in each.items()}
    first = 'INSERT INTO ks.row ("k") VALUES (%(0)s)'
    with query.BatchQuery(**options) as batch:
        batch.add_query(_Literal(first, {}))
        for text, each in zip(lines, rendered, strict=True):
            batch.add_query(_Literal(text, each[1]))
    text, _ = rendered[-1]
    worst = CONDITION if CONDITION in expected else NO if NO in expected else YES
    if worst is YES and options.get("timestamp") and any(type(value) is list for value in values.values()):
        worst = NO  # at the very same time a list that is set twice is there twice
    assert meanings([(text, values)]) == [worst], text


class _Literal(query.BaseCQLStatement):
    """A statement that has been rendered before."""

    def __init__(self, text: str, values: Any) -> None:
        super().__init__("t")
        self._text, self._values = text, values

    def update_context_id(self, i: int) -> None:
        pass

    def get_context(self) -> Any:
        return self._values

    def __unicode__(self) -> str:
        return self._text

    __str__ = __unicode__


def test_a_counter_batch_is_never_run_twice(rendered: list[tuple[str, Any]]) -> None:
    with query.BatchQuery(batch_type=query.BatchType.Counter) as batch:
        Hits.objects(k=1).batch(batch).update(n=1)
    assert meanings(rendered) == [NO]


def test_reads_are_reads(rendered: list[tuple[str, Any]]) -> None:
    list(Row.objects(k=1).limit(3).allow_filtering())
    Row.objects(k=1, c__gt=1).order_by("c").count()
    list(Event.objects(k=1, at__gt=MinTimeUUID(datetime(2030, 1, 1)), at__lt=MaxTimeUUID(datetime(2031, 1, 1))))  # noqa: DTZ001
    list(Row.objects(pk__token__gt=Token(1)))
    list(Row.objects(k=1).distinct(["k"]))
    for text, values in rendered:
        operation = operation_of(shape_of(text), values)
        assert (operation.kind, operation.name, operation.is_repeatable) == (Kind.READ, "select", True)


def test_the_table_is_named_as_the_schema_has_it(rendered: list[tuple[str, Any]]) -> None:
    Row.create(**ONE)
    Odd.create(k="8b9cd4a6-8c1e-11ee-b9d1-0242ac120002")
    list(Odd.objects(k="8b9cd4a6-8c1e-11ee-b9d1-0242ac120002"))
    Row.objects(**ONE).delete()
    Row.objects(**ONE).update(prices__update={"a": "b"})
    assert [shape_of(text).table for text, _ in rendered] == [
        "ks.row", "My Keyspace.table if", "My Keyspace.table if", "ks.row", "ks.row",
    ]  # fmt: skip
    assert shape_of(rendered[3][0]).deletes == ("ks.row",)
    assert shape_of(rendered[4][0]).subscripts == (("ks.row", "m[0]"),)
    assert shape_of("UPDATE Shop.ITEMS SET a = %(a)s WHERE k = %(k)s").table == "shop.items"


NOT_TWICE = [
    "INSERT INTO t (a) VALUES (now())",
    "INSERT INTO t (a, b) VALUES (%(a)s, uuid())",
    "INSERT INTO t (a) VALUES (toTimestamp(now()))",
    "INSERT INTO t JSON %(a)s",
    "insert into t (a) values (1)",
    "INSERT INTO t (a) VALUES (1)",
    "INSERT INTO t (a) VALUES (%s)",
    "INSERT INTO t (a) VALUES (?)",
    "UPDATE t SET a = 'x' WHERE k = 1",
    "UPDATE t SET n = n + 1 WHERE k = %(k)s",
    "UPDATE t SET n += %(n)s WHERE k = %(k)s",
    "UPDATE t SET n = N + %(n)s WHERE k = %(k)s",
    'UPDATE t SET "n" = "m" + %(n)s WHERE k = %(k)s',
    "UPDATE t SET l = [%(n)s] + l WHERE k = %(k)s",
    "UPDATE t SET a = %(a)s, t = currentTimestamp() WHERE k = %(k)s",
    "UPDATE t SET a = %(a)s",
    "UPDATE t SET a = %(a)s WHERE k = now()",
    "UPDATE t SET a = %(a)s WHERE k = %(k)s; UPDATE t SET n = n + 1 WHERE k = 1",
    "UPDATE t SET a = %(a)s WHERE k = %(k)s -- comment",
    "/* comment */ UPDATE t SET a = %(a)s WHERE k = %(k)s",
    "DELETE l[0] FROM t WHERE k = %(k)s",
    "DELETE FROM t WHERE k = 1",
    "DELETE FROM t",
    "TRUNCATE t",
    "GRANT ALL ON t TO bob",
    "BEGIN BATCH INSERT INTO t (a) VALUES (%(0)s) APPLY BATCH",
    "BEGIN  BATCH\n  INSERT INTO t (a) VALUES (now())\nAPPLY BATCH;",
    "BEGIN  BATCH\n  TRUNCATE t\nAPPLY BATCH;",
    "BEGIN  BATCH\n\nAPPLY BATCH;",
    "BEGIN  BATCH\nAPPLY BATCH;",
    "BEGIN COUNTER  BATCH\n  INSERT INTO t (a) VALUES (%(0)s)\nAPPLY BATCH;",
    'BEGIN  BATCH\n  UPDATE t SET "a\nb" = %(0)s WHERE k = %(1)s\nAPPLY BATCH;',
    "",
    "   ",
    ";",
    "'SELECT'",
]


@pytest.mark.parametrize("text", NOT_TWICE)
def test_text_of_which_nothing_is_known_is_not_run_twice(text: str) -> None:
    shape = shape_of(text)
    operation = operation_of(shape, {"n": 1, "a": 1, "k": 1})
    assert (operation.kind, operation.idempotent, shape.is_conditional) == (Kind.WRITE, False, False)


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t (a) VALUES (1) IF NOT EXISTS",
        "insert into t (a) values (1) if not exists",
        "INSERT INTO t (a) VALUES (%(a)s)IF NOT EXISTS",
        "INSERT INTO t (a) VALUES (?)\nIF\nNOT EXISTS",
        "UPDATE t SET a = 1 WHERE k = 1 IF a = 2",
        "update t set a = 1 where k = 1 If Exists",
        "DELETE FROM t WHERE k = 1 IF EXISTS",
        "BEGIN BATCH\nINSERT INTO t (a) VALUES (1) if not exists;\nAPPLY BATCH",
    ],
)
def test_a_condition_is_seen_however_it_is_written(text: str) -> None:
    shape = shape_of(text)
    assert shape.is_conditional
    assert not shape.operation.idempotent


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t (a) VALUES ('what IF it rains')",
        'INSERT INTO t ("IF") VALUES (1)',
        'UPDATE t SET "it\'s" = \'IF\' WHERE "k IF" = 1',
        "UPDATE t SET a = 1 WHERE k = 1 -- IF a = 2",
        "UPDATE t SET a = 1 /* IF */ WHERE k = 1",
        "INSERT INTO t (a) VALUES (%(IF)s)",
        "INSERT INTO t (a) VALUES (:if)",
        "INSERT INTO t (a) VALUES ($$ IF $$)",
        "INSERT INTO t (a) VALUES ('it''s IF')",
    ],
)
def test_a_word_in_a_value_a_name_or_a_comment_is_no_condition(text: str) -> None:
    shape = shape_of(text)
    assert not shape.is_conditional
    assert not shape.operation.settleable


@pytest.mark.parametrize("text", ["CREATE TABLE t (a int)", "alter table t add b int", "DROP INDEX i"])
def test_changes_of_the_schema_meet_their_own_effect(text: str) -> None:
    shape = shape_of(text)
    assert shape.is_definition
    assert shape.operation.idempotent
    assert shape.operation.kind is Kind.WRITE


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"v": {1}, "k": 1}, True),
        ({"v": frozenset({1}), "k": 1}, True),
        ({"v": [1], "k": 1}, False),
        ({"v": 1, "k": 1}, False),
        ({"k": 1}, False),
        (None, False),
        (({1}, 1), False),
    ],
)
def test_what_is_added_decides(values: Any, expected: bool) -> None:
    shape = shape_of('UPDATE t SET "x" = "x" + %(v)s WHERE "k" = %(k)s')
    assert operation_of(shape, values).idempotent is expected


def test_the_names_of_operations_hold_nothing_of_the_user() -> None:
    assert shape_of("secret-value here").operation.name == "statement"
    assert shape_of("'secret'").operation.name == "statement"
    assert shape_of("TRUNCATE t").operation.name == "truncate"


def test_long_text_is_read_in_little_time_and_not_remembered() -> None:
    from undaunted.cassandra.operations import _remembered

    before = _remembered.cache_info().currsize
    many = ", ".join(f'"c{number}" = %({number})s' for number in range(2000))
    assert shape_of(f'UPDATE t SET {many} WHERE "k" = %(k)s').operation.idempotent
    assert not shape_of(f"UPDATE t SET {many} WHERE {'k = %(k)s AND ' * 2000} oops").operation.idempotent
    assert not shape_of("SELECT" + " FROM" * 3000 + "!").operation.settleable
    assert _remembered.cache_info().currsize == before


# -- no text outside of the grammar may run twice --------------------------------------------------------------------

TOKEN = re.compile(r'\s*("(?:[^"]|"")*"|%\(\w+\)s|\w+|<=|>=|[-+=<>()\[\],.;])')


class Grammar:
    """What may run twice, read token by token: written anew, so that one mistake is not made twice."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise ValueError(text[at:])
            self.tokens.append(match.group(1))
            at = match.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *expected: str) -> str:
        token = self.peek()
        if expected and token not in expected:
            raise ValueError(f"{token} is none of {expected}")
        self.at += 1
        return token

    def name(self) -> str:
        token = self.take()
        if not (token.startswith('"') or re.fullmatch(r"\w+", token)):
            raise ValueError(token)
        return token

    def value(self) -> str:
        token = self.take()
        if not token.startswith("%("):
            raise ValueError(token)
        return token

    def table(self) -> None:
        self.name()
        if self.peek() == ".":
            self.take()
            self.name()

    def listed(self, one: Any) -> None:
        one()
        while self.peek() == ",":
            self.take()
            one()

    def using(self) -> None:
        if self.peek() == "USING":
            self.take()
            while True:
                self.take("TTL", "TIMESTAMP")
                if not self.take().isdigit():
                    raise ValueError
                if self.peek() != "AND":
                    return
                self.take()

    def term(self) -> None:
        if self.peek() in {"token", "TOKEN", "MinTimeUUID", "MaxTimeUUID"}:
            self.take()
            self.take("(")
            self.listed(lambda: self.value() if self.peek().startswith("%(") else self.name())
            self.take(")")
        elif self.peek() == "(":
            self.take("(")
            self.take(")")
        else:
            self.value()

    def relation(self) -> None:
        if self.peek() in {"token", "TOKEN", "MinTimeUUID", "MaxTimeUUID"} and self.tokens[self.at + 1 :][:1] == ["("]:
            self.term()
        else:
            self.name()
        self.take("=", "<=", ">=", "<", ">", "IN", "CONTAINS", "LIKE")
        self.term()

    def where(self) -> None:
        self.take("WHERE")
        self.relation()
        while self.peek() == "AND":
            self.take()
            self.relation()

    def assignment(self) -> None:
        name = self.name()
        if self.peek() == "[":
            self.take()
            self.value()
            self.take("]")
            self.take("=")
            self.value()
            return
        self.take("=")
        if self.peek().startswith("%("):
            self.value()
        else:
            if self.name() != name:
                raise ValueError(name)
            self.take("+", "-")
            self.value()

    def deleted(self) -> None:
        self.name()
        if self.peek() == "[":
            self.take()
            self.value()
            self.take("]")

    def statement(self) -> None:
        word = self.take("INSERT", "UPDATE", "DELETE")
        if word == "INSERT":
            self.take("INTO")
            self.table()
            self.take("(")
            self.listed(self.name)
            self.take(")")
            self.take("VALUES")
            self.take("(")
            self.listed(self.value)
            self.take(")")
            self.using()
        elif word == "UPDATE":
            self.table()
            self.using()
            self.take("SET")
            self.listed(self.assignment)
            self.where()
        else:
            if self.peek() != "FROM":
                self.listed(self.deleted)
            self.take("FROM")
            self.table()
            self.using()
            self.where()
        if self.peek() == ";":
            self.take()

    def whole(self) -> bool:
        if self.peek() == "BEGIN":
            self.take()
            if self.peek() == "UNLOGGED":
                self.take()
            self.take("BATCH")
            if self.peek() == "USING":
                self.take("USING")
                self.take("TIMESTAMP")
                self.take()
            while self.peek() != "APPLY":
                self.statement()
            self.take("APPLY")
            self.take("BATCH")
            self.take(";")
        else:
            self.statement()
        return self.at == len(self.tokens)


def is_in_the_grammar(text: str) -> bool:
    try:
        return Grammar(text).whole()
    except (ValueError, IndexError):
        return False


VALID = [
    'INSERT INTO ks.p ("k", "c", "a b") VALUES (%(0)s, %(1)s, %(2)s) USING TTL 5 AND TIMESTAMP 12',
    'UPDATE ks.p USING TTL 4 SET "s" = "s" + %(0)s, "a" = %(1)s, "m"[%(2)s] = %(3)s WHERE "k" = %(4)s AND "c" = %(5)s',
    'DELETE "a", "m"[%(0)s] FROM ks."P q" USING TIMESTAMP 5 WHERE "k" = %(1)s AND "c" IN %(2)s',
    'BEGIN UNLOGGED  BATCH USING TIMESTAMP 77\n  DELETE FROM ks.p WHERE "k" = %(1)s\nAPPLY BATCH;',
]
PIECES = [
    "INSERT", "INTO", "UPDATE", "DELETE", "SET", "WHERE", "FROM", "VALUES", "AND", "IN", "USING", "TTL", "TIMESTAMP",
    "BEGIN", "UNLOGGED", "COUNTER", "BATCH", "APPLY BATCH;", "IF", "EXISTS", "JSON", "now()", "uuid()", "token(k)",
    "%(0)s", "%(1)s", "%s", "?", "1", "'x'", "'", '"', '"k"', '"n"', "k", "n", "ks.p", "(", ")", "[", "]", ",", "=",
    "+", "-", "+=", "<", ";", "\n", "--", "/*", "*/", "$$", ".", "null", "{", "}", "ä",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid text in which some tokens are replaced, left out, put in or repeated."""
    tokens = re.findall(r'"(?:[^"]|"")*"|%\(\w+\)s|\w+|\s+|.', draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(tokens) - 1))
        piece = draw(st.sampled_from(PIECES))
        kind = draw(st.sampled_from(["replace", "insert", "remove", "repeat"]))
        if kind == "remove" and len(tokens) > 1:
            del tokens[at]
        elif kind == "insert":
            tokens.insert(at, f" {piece} " if draw(st.booleans()) else piece)
        elif kind == "repeat":
            tokens.insert(at, tokens[at])
        else:
            tokens[at] = piece
    return "".join(tokens)


@given(st.one_of(mutated(), st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join), st.text(max_size=60)))
@example("UPDATE t SET a = %(0)s WHERE k = %(1)s")
@example('UPDATE t SET "a" = "b" + %(0)s WHERE k = %(1)s')
@example('DELETE INSERT"a" FROM t WHERE k = %(1)s')
@example('UPDATE t SET a = %(0)s WHERE"k" = %(1)s')
def test_nothing_outside_of_the_grammar_may_run_twice(text: str) -> None:
    shape = shape_of(text)
    values = {str(number): {1} for number in range(9)}
    if operation_of(shape, values).is_repeatable and not shape.is_definition and shape.operation.kind is Kind.WRITE:
        assert is_in_the_grammar(text.strip()), text
        assert not shape.is_conditional


@pytest.mark.parametrize("text", VALID)
def test_what_the_grammar_has_may_run_twice(text: str) -> None:
    assert is_in_the_grammar(text)
    assert operation_of(shape_of(text), {str(number): {1} for number in range(9)}).idempotent
