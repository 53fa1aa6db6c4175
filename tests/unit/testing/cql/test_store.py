"""The store: the newest timestamp wins, conditions are decided, pages resume, mistakes are named as by a server."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from undaunted.testing.cql.database import Context, Database
from undaunted.testing.cql.errors import AlreadyExists, ConfigError, CqlError, Invalid, Malformed, ProtocolError
from undaunted.testing.cql.result import Rows


class Store:
    """A database with a keyspace ``ks`` in use."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0
        self.database = Database(lambda: self.now_s)
        self("CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")

    def __call__(self, text: str, *, at: int | None = None) -> list[dict[str, Any]]:
        result = self.database.run(text, Context(keyspace="ks", timestamp=at)).result
        return result.native() if isinstance(result, Rows) else []

    def pages(self, text: str, size: int) -> list[list[dict[str, Any]]]:
        found: list[list[dict[str, Any]]] = []
        state = None
        while True:
            context = Context(keyspace="ks", page_size=size, paging_state=state)
            result = self.database.run(text, context).result
            assert isinstance(result, Rows)
            found.append(result.native())
            state = result.paging_state
            if state is None:
                return found


@pytest.fixture
def run() -> Store:
    store = Store()
    store("CREATE TABLE t (k int PRIMARY KEY, v text, w int)")
    store("CREATE TABLE wide (k int, c int, v text, s int static, PRIMARY KEY (k, c))")
    store("CREATE TABLE bags (k int PRIMARY KEY, l list<text>, s set<int>, m map<text, int>, f frozen<list<int>>)")
    store("CREATE TABLE hits (k int PRIMARY KEY, n counter, o counter)")
    return store


class TestTimestamps:
    def test_a_late_write_does_not_overwrite_a_newer_one(self, run):
        run("INSERT INTO t (k, v, w) VALUES (1, 'new', 1)", at=200)
        run("INSERT INTO t (k, v) VALUES (1, 'old')", at=100)
        run("UPDATE t USING TIMESTAMP 150 SET v = 'middle', w = 7 WHERE k = 1", at=900)
        assert run("SELECT v, w FROM t") == [{"v": "new", "w": 1}]
        run("UPDATE t SET w = 2 WHERE k = 1", at=201)
        assert run("SELECT v, w, writetime(v), writetime(w) AS at FROM t") == [
            {"v": "new", "w": 2, "writetime(v)": 200, "at": 201}
        ]

    def test_a_deletion_wins_over_a_write_of_the_same_time_and_loses_to_a_newer_one(self, run):
        run("INSERT INTO t (k, v) VALUES (1, 'x')", at=100)
        run("DELETE FROM t WHERE k = 1", at=100)
        assert run("SELECT * FROM t") == []
        run("INSERT INTO t (k, v) VALUES (1, 'late')", at=99)
        assert run("SELECT * FROM t") == []
        run("INSERT INTO t (k, v) VALUES (1, 'again')", at=101)
        assert run("SELECT v FROM t") == [{"v": "again"}]

    def test_of_two_writes_of_the_same_time_one_wins_whatever_their_order(self, run):
        for key, order in ((1, "ab"), (2, "ba")):
            for value in order:
                run(f"INSERT INTO t (k, v) VALUES ({key}, '{value}')", at=5)
        assert run("SELECT v FROM t") == [{"v": "b"}, {"v": "b"}]

    def test_a_deleted_range_holds_against_writes_that_come_late(self, run):
        for c in range(5):
            run(f"INSERT INTO wide (k, c, v) VALUES (1, {c}, 'x')", at=10)
        run("DELETE FROM wide WHERE k = 1 AND c >= 2 AND c < 4", at=20)
        run("INSERT INTO wide (k, c, v) VALUES (1, 3, 'late')", at=15)
        run("INSERT INTO wide (k, c, v) VALUES (1, 2, 'newer')", at=25)
        assert [row["c"] for row in run("SELECT c FROM wide WHERE k = 1")] == [0, 1, 2, 4]
        run("DELETE FROM wide WHERE k = 1", at=30)
        assert run("SELECT c FROM wide WHERE k = 1") == []

    def test_elements_of_collections_have_timestamps_of_their_own(self, run):
        run("UPDATE bags SET m = {'a': 1, 'b': 1}, s = {1, 2} WHERE k = 1", at=100)
        run("UPDATE bags SET m['a'] = 9, s = s - {1} WHERE k = 1", at=50)
        run("UPDATE bags SET m['b'] = 2, m = m - {'nosuch'}, s = s + {3} WHERE k = 1", at=150)
        assert run("SELECT m, s FROM bags") == [{"m": {"a": 1, "b": 2}, "s": {1, 2, 3}}]
        run("UPDATE bags SET m = {'z': 0} WHERE k = 1", at=120)
        assert run("SELECT m FROM bags") == [{"m": {"b": 2, "z": 0}}]

    def test_a_row_ends_with_its_time_to_live(self, run):
        run("INSERT INTO t (k, v) VALUES (1, 'short') USING TTL 10")
        run("INSERT INTO t (k, v) VALUES (2, 'long')")
        run("UPDATE t USING TTL 5 SET w = 1 WHERE k = 2")
        run.now_s += 4
        assert run("SELECT ttl(v) AS v, ttl(w) AS w FROM t WHERE k = 2") == [{"v": None, "w": 1}]
        run.now_s += 2
        assert run("SELECT k, w FROM t WHERE k = 2") == [{"k": 2, "w": None}]
        run.now_s += 4
        assert run("SELECT k FROM t") == [{"k": 2}]

    def test_a_table_has_a_time_to_live_by_default(self, run):
        run("CREATE TABLE brief (k int PRIMARY KEY, v int) WITH default_time_to_live = 3")
        run("INSERT INTO brief (k, v) VALUES (1, 1)")
        run("INSERT INTO brief (k, v) VALUES (2, 2) USING TTL 0")
        run.now_s += 3
        assert run("SELECT k FROM brief") == [{"k": 2}]


class TestChanges:
    def test_an_insert_leaves_a_row_of_nulls_and_an_update_does_not(self, run):
        run("INSERT INTO t (k, v) VALUES (1, null)")
        run("UPDATE t SET v = 'x' WHERE k = 2")
        run("UPDATE t SET v = null WHERE k = 2")
        assert run("SELECT * FROM t") == [{"k": 1, "v": None, "w": None}]

    def test_lists(self, run):
        run("INSERT INTO bags (k, l) VALUES (1, ['c'])")
        run("UPDATE bags SET l = l + ['d', 'e'] WHERE k = 1")
        run("UPDATE bags SET l = ['a', 'b'] + l WHERE k = 1")
        run("UPDATE bags SET l += ['c'] WHERE k = 1")
        assert run("SELECT l FROM bags") == [{"l": ["a", "b", "c", "d", "e", "c"]}]
        run("UPDATE bags SET l = l - ['c'], l[1] = 'B' WHERE k = 1")
        run("DELETE l[0] FROM bags WHERE k = 1")
        assert run("SELECT l FROM bags") == [{"l": ["B", "d", "e"]}]
        with pytest.raises(Invalid, match="List index 9 out of bound, list has size 3"):
            run("UPDATE bags SET l[9] = 'x' WHERE k = 1")
        run("UPDATE bags SET l = ['new'] WHERE k = 1")
        assert run("SELECT l FROM bags") == [{"l": ["new"]}]
        run("DELETE l FROM bags WHERE k = 1")
        assert run("SELECT l FROM bags") == [{"l": None}]

    def test_sets_and_maps(self, run):
        run("UPDATE bags SET s = s + {2, 1}, m = m + {'x': 1}, m['y'] = 2, f = [1] WHERE k = 1")
        run("UPDATE bags SET s -= {2}, m = m - {'x'} WHERE k = 1")
        assert run("SELECT s, m, f FROM bags") == [{"s": {1}, "m": {"y": 2}, "f": [1]}]
        run("DELETE m['y'], s FROM bags WHERE k = 1")
        assert run("SELECT s, m, f FROM bags") == [{"s": None, "m": None, "f": [1]}]

    def test_counters_count_whatever_the_timestamps(self, run):
        run("UPDATE hits SET n = n + 5, o = o - 1 WHERE k = 1", at=100)
        run("UPDATE hits SET n += 2 WHERE k = 1", at=50)
        assert run("SELECT n, o FROM hits") == [{"n": 7, "o": -1}]
        run("DELETE FROM hits WHERE k = 1", at=200)
        assert run("SELECT * FROM hits") == []
        run("UPDATE hits SET n = n + 1 WHERE k = 1", at=300)
        assert run("SELECT n FROM hits") == [{"n": 1}]

    def test_static_columns_are_the_partitions(self, run):
        run("INSERT INTO wide (k, s) VALUES (1, 5)")
        assert run("SELECT * FROM wide") == [{"k": 1, "c": None, "s": 5, "v": None}]
        run("INSERT INTO wide (k, c, v) VALUES (1, 1, 'x')")
        run("UPDATE wide SET s = 6 WHERE k = 1")
        assert run("SELECT c, s FROM wide") == [{"c": 1, "s": 6}]
        assert run("SELECT DISTINCT k, s FROM wide") == [{"k": 1, "s": 6}]

    def test_in_names_several_rows(self, run):
        for k in (1, 2):
            for c in (1, 2, 3):
                run(f"INSERT INTO wide (k, c, v) VALUES ({k}, {c}, 'x')")
        run("UPDATE wide SET v = 'y' WHERE k IN (1, 2) AND c IN (1, 3)")
        run("DELETE FROM wide WHERE k IN (1, 2) AND c = 2")
        rows = run("SELECT k, c, v FROM wide WHERE k IN (2, 1)")
        assert sorted((row["k"], row["c"], row["v"]) for row in rows) == [
            (1, 1, "y"),
            (1, 3, "y"),
            (2, 1, "y"),
            (2, 3, "y"),
        ]

    def test_a_batch_with_a_mistake_changes_nothing(self, run):
        with pytest.raises(Invalid, match="Undefined column name nosuch"):
            run(
                "BEGIN BATCH INSERT INTO t (k, v) VALUES (1, 'x'); INSERT INTO t (k, nosuch) VALUES (2, 3) APPLY BATCH;"
            )
        assert run("SELECT * FROM t") == []

    def test_a_batch_has_one_timestamp(self, run):
        both = "INSERT INTO t (k, v) VALUES (1, 'x') UPDATE t SET w = 1 WHERE k = 1;"
        run(f"BEGIN UNLOGGED BATCH USING TIMESTAMP 7 {both} APPLY BATCH")
        assert run("SELECT writetime(v) AS v, writetime(w) AS w FROM t") == [{"v": 7, "w": 7}]
        count = "UPDATE hits SET n = n + 1 WHERE k = 1;"
        run(f"BEGIN COUNTER BATCH {count} {count} APPLY BATCH")
        assert run("SELECT n FROM hits") == [{"n": 2}]

    def test_truncate(self, run):
        run("INSERT INTO t (k, v) VALUES (1, 'x')")
        run("TRUNCATE TABLE t")
        assert run("SELECT count(*) FROM t") == [{"count": 0}]


class TestConditions:
    def test_if_not_exists(self, run):
        assert run("INSERT INTO t (k, v) VALUES (1, 'mine') IF NOT EXISTS") == [{"[applied]": True}]
        assert run("INSERT INTO t (k, v) VALUES (1, 'theirs') IF NOT EXISTS") == [
            {"[applied]": False, "k": 1, "v": "mine", "w": None}
        ]

    def test_if(self, run):
        assert run("UPDATE t SET v = 'x' WHERE k = 1 IF v = 'old'") == [{"[applied]": False}]
        run("INSERT INTO t (k, v, w) VALUES (1, 'old', 3)")
        assert run("UPDATE t SET v = 'x' WHERE k = 1 IF v = 'new' AND w > 2") == [
            {"[applied]": False, "v": "old", "w": 3}
        ]
        assert run("UPDATE t SET v = 'x' WHERE k = 1 IF v IN ('old', 'new') AND w > 2") == [{"[applied]": True}]
        assert run("DELETE FROM t WHERE k = 1 IF v != 'x'") == [{"[applied]": False, "v": "x"}]
        assert run("DELETE w FROM t WHERE k = 1 IF w = 3") == [{"[applied]": True}]
        assert run("UPDATE t SET w = 1 WHERE k = 1 IF w = null") == [{"[applied]": True}]

    def test_if_exists(self, run):
        assert run("UPDATE t SET v = 'x' WHERE k = 1 IF EXISTS") == [{"[applied]": False}]
        assert run("DELETE FROM t WHERE k = 1 IF EXISTS") == [{"[applied]": False}]
        run("INSERT INTO t (k) VALUES (1)")
        assert run("UPDATE t SET v = 'x' WHERE k = 1 IF EXISTS") == [{"[applied]": True}]
        assert run("DELETE FROM t WHERE k = 1 IF EXISTS") == [{"[applied]": True}]
        assert run("SELECT * FROM t") == []

    def test_an_element_of_a_collection(self, run):
        run("INSERT INTO bags (k, m, l) VALUES (1, {'a': 1}, ['x'])")
        assert run("UPDATE bags SET m['a'] = 2 WHERE k = 1 IF m['a'] = 1 AND l[0] = 'x'") == [{"[applied]": True}]
        assert run("UPDATE bags SET m['a'] = 3 WHERE k = 1 IF m['b'] = 1")[0]["[applied]"] is False

    def test_a_conditional_write_carries_the_time_of_the_server(self, run):
        run("INSERT INTO t (k, v) VALUES (1, 'x') IF NOT EXISTS", at=5)
        assert run("SELECT writetime(v) AS at FROM t")[0]["at"] >= 1_000_000_000_000

    def test_a_batch_is_decided_as_a_whole(self, run):
        run("INSERT INTO wide (k, c, v) VALUES (1, 1, 'x')")
        batch = (
            "BEGIN BATCH UPDATE wide SET v = 'y' WHERE k = 1 AND c = 1 IF v = '{}'; "
            "INSERT INTO wide (k, c, v) VALUES (1, 2, 'z'); APPLY BATCH"
        )
        assert run(batch.format("no")) == [{"[applied]": False, "v": "x"}]
        assert run("SELECT count(*) FROM wide") == [{"count": 1}]
        assert run(batch.format("x")) == [{"[applied]": True}]
        assert run("SELECT v FROM wide WHERE k = 1") == [{"v": "y"}, {"v": "z"}]


class TestSelect:
    @pytest.fixture
    def rows(self, run):
        for k in range(4):
            for c in range(5):
                run(f"INSERT INTO wide (k, c, v) VALUES ({k}, {c}, 'v{c % 2}')")
        return run

    def test_order_and_ranges(self, rows):
        def clusterings(rest: str) -> list[int]:
            return [row["c"] for row in rows("SELECT c FROM wide WHERE k = 1 " + rest)]

        assert clusterings("") == [0, 1, 2, 3, 4]
        assert clusterings("ORDER BY c DESC") == [4, 3, 2, 1, 0]
        assert clusterings("AND c > 1 AND c <= 3") == [2, 3]
        assert clusterings("AND c IN (4, 1, 9)") == [1, 4]
        assert clusterings("AND c >= 2 ORDER BY c DESC LIMIT 2") == [4, 3]
        assert clusterings("AND v = 'v1' ALLOW FILTERING") == [1, 3]
        assert clusterings("AND (c) > (3)") == [4]

    def test_a_table_may_be_sorted_the_other_way_round(self, run):
        run("CREATE TABLE feed (k int, a int, b int, PRIMARY KEY (k, a, b)) WITH CLUSTERING ORDER BY (a DESC, b ASC)")
        for a in (1, 2):
            for b in (1, 2):
                run(f"INSERT INTO feed (k, a, b) VALUES (1, {a}, {b})")
        pairs = [(row["a"], row["b"]) for row in run("SELECT a, b FROM feed WHERE k = 1")]
        assert pairs == [(2, 1), (2, 2), (1, 1), (1, 2)]
        turned = [(row["a"], row["b"]) for row in run("SELECT a, b FROM feed WHERE k = 1 ORDER BY a ASC, b DESC")]
        assert turned == pairs[::-1]
        assert len(run("SELECT * FROM feed WHERE k = 1 AND (a, b) > (1, 1)")) == 3
        assert len(run("SELECT * FROM feed WHERE k = 1 AND (a, b) IN ((1, 1), (2, 2), (3, 3))")) == 2

    def test_rows_of_several_partitions_are_sorted_together_when_asked_to(self, rows):
        found = rows("SELECT c FROM wide WHERE k IN (1, 2) ORDER BY c DESC LIMIT 3")
        assert [row["c"] for row in found] == [4, 4, 3]

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 19, 20, 100])
    @pytest.mark.parametrize("rest", ["", " LIMIT 13", " PER PARTITION LIMIT 3", " WHERE k IN (0, 1, 2, 3)"])
    def test_pages_are_the_whole_in_its_order(self, rows, rest, size):
        pages = rows.pages("SELECT k, c FROM wide" + rest, size)
        assert [row for page in pages for row in page] == rows("SELECT k, c FROM wide" + rest)
        assert all(len(page) == size for page in pages[:-1])
        assert 0 < len(pages[-1]) <= size

    def test_pages_backwards(self, rows):
        pages = rows.pages("SELECT c FROM wide WHERE k = 2 ORDER BY c DESC", 2)
        assert [[row["c"] for row in page] for page in pages] == [[4, 3], [2, 1], [0]]

    def test_a_page_goes_on_where_it_was_though_rows_come_and_go(self, rows):
        first = rows.database.run("SELECT c FROM wide WHERE k = 1", Context(keyspace="ks", page_size=2)).result
        assert isinstance(first, Rows)
        rows("DELETE FROM wide WHERE k = 1 AND c = 1")
        rows("DELETE FROM wide WHERE k = 1 AND c = 2")
        rows("INSERT INTO wide (k, c) VALUES (1, 0)")
        context = Context(keyspace="ks", page_size=2, paging_state=first.paging_state)
        second = rows.database.run("SELECT c FROM wide WHERE k = 1", context).result
        assert isinstance(second, Rows)
        assert second.native() == [{"c": 3}, {"c": 4}]

    def test_a_paging_state_of_nobody_is_refused(self, rows):
        for state in (b"", b"nonsense", b"fake" + bytes(30)):
            with pytest.raises(ProtocolError, match="paging state"):
                rows.database.run("SELECT * FROM wide", Context(keyspace="ks", page_size=2, paging_state=state))

    def test_tokens(self, rows):
        found = rows("SELECT k, token(k) AS t FROM wide PER PARTITION LIMIT 1")
        tokens = [row["t"] for row in found]
        assert tokens == sorted(tokens)
        above = rows(f"SELECT DISTINCT k FROM wide WHERE token(k) > {tokens[1]}")
        assert [row["k"] for row in above] == [row["k"] for row in found[2:]]
        assert len(rows(f"SELECT DISTINCT k FROM wide WHERE token(k) <= token({found[1]['k']})")) == 2

    def test_aggregates(self, rows):
        assert rows("SELECT count(*) FROM wide LIMIT 1") == [{"count": 20}]
        assert rows("SELECT count(1), max(c), min(c), sum(c), avg(c), count(s) FROM wide WHERE k = 1") == [
            {
                "count": 5,
                "system.max(c)": 4,
                "system.min(c)": 0,
                "system.sum(c)": 10,
                "system.avg(c)": 2,
                "system.count(s)": 0,
            }
        ]

    def test_indexes_and_contains(self, run):
        run("INSERT INTO bags (k, l, s, m) VALUES (1, ['a'], {1}, {'x': 5})")
        run("INSERT INTO bags (k, l, s, m) VALUES (2, ['b'], {2}, {'y': 5})")
        assert run("SELECT k FROM bags WHERE l CONTAINS 'a' ALLOW FILTERING") == [{"k": 1}]
        assert run("SELECT k FROM bags WHERE m CONTAINS KEY 'y' ALLOW FILTERING") == [{"k": 2}]
        assert len(run("SELECT k FROM bags WHERE m CONTAINS 5 ALLOW FILTERING")) == 2
        assert run("SELECT k FROM bags WHERE m['x'] = 5 ALLOW FILTERING") == [{"k": 1}]
        with pytest.raises(Invalid, match="ALLOW FILTERING"):
            run("SELECT k FROM bags WHERE s CONTAINS 1")
        run("CREATE INDEX ON bags (s)")
        assert run("SELECT k FROM bags WHERE s CONTAINS 1") == [{"k": 1}]

    @pytest.mark.parametrize(
        "text",
        [
            "SELECT * FROM wide WHERE v = 'x'",
            "SELECT * FROM wide WHERE c = 1",
            "SELECT * FROM wide WHERE k > 1",
        ],
    )
    def test_what_no_key_leads_to_needs_allow_filtering(self, rows, text):
        with pytest.raises(Invalid, match="ALLOW FILTERING"):
            rows(text)
        rows(text + " ALLOW FILTERING")


class TestSchema:
    def test_if_not_exists_and_if_exists(self, run):
        for _ in range(2):
            run("CREATE TABLE IF NOT EXISTS u (k int PRIMARY KEY)")
            run("CREATE INDEX IF NOT EXISTS by_v ON t (v)")
            run("CREATE TYPE IF NOT EXISTS pair (a int, b int)")
        with pytest.raises(AlreadyExists) as raised:
            run("CREATE TABLE u (k int PRIMARY KEY)")
        assert (raised.value.keyspace, raised.value.table) == ("ks", "u")
        with pytest.raises(AlreadyExists):
            run("CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        for _ in range(2):
            run("DROP TABLE IF EXISTS u")
            run("DROP INDEX IF EXISTS by_v")
            run("DROP TYPE IF EXISTS pair")
            run("DROP KEYSPACE IF EXISTS nosuch")
        run("DROP KEYSPACE ks")
        with pytest.raises(Invalid, match="'ks' does not exist"):
            run("SELECT * FROM t")

    def test_alter(self, run):
        run("INSERT INTO t (k, v) VALUES (1, 'x')")
        run("ALTER TABLE t ADD (extra list<int>, more text)")
        run("ALTER TABLE t DROP w")
        run("ALTER TABLE t WITH comment = 'for tests' AND gc_grace_seconds = 5")
        assert run("SELECT * FROM t") == [{"k": 1, "extra": None, "more": None, "v": "x"}]
        shown = run(
            "SELECT comment, gc_grace_seconds FROM system_schema.tables WHERE keyspace_name='ks' AND table_name='t'"
        )
        assert shown == [{"comment": "for tests", "gc_grace_seconds": 5}]

    def test_types_of_users_grow(self, run):
        run("CREATE TYPE pair (a int, b text)")
        run("CREATE TABLE u (k int PRIMARY KEY, p frozen<pair>, ps list<frozen<pair>>)")
        run("INSERT INTO u (k, p, ps) VALUES (1, {a: 1, b: 'x'}, [{a: 2}])")
        run("ALTER TYPE pair ADD c int")
        run("ALTER TYPE pair RENAME b TO name")
        run("INSERT INTO u (k, p) VALUES (2, {a: 1, name: 'x', c: 3})")
        assert run("SELECT p FROM u WHERE k = 2") == [{"p": {"a": 1, "name": "x", "c": 3}}]
        assert run("SELECT p FROM u WHERE k = 1") == [{"p": {"a": 1, "name": "x"}}]

    @pytest.mark.parametrize(
        ("text", "error", "said"),
        [
            ("CREATE KEYSPACE x WITH replication = {'class': 'Nosuch'}", ConfigError, "Nosuch"),
            ("CREATE KEYSPACE x WITH replication = {'class': 'SimpleStrategy'}", ConfigError, "replication_factor"),
            ("CREATE KEYSPACE x WITH nosuch = 1 AND replication = {'class': 'LocalStrategy'}", ConfigError, "nosuch"),
            ("CREATE TABLE x (k int)", Invalid, "No PRIMARY KEY"),
            ("CREATE TABLE x (k int, PRIMARY KEY (nosuch))", Invalid, "Unknown column 'nosuch'"),
            ("CREATE TABLE x (k int PRIMARY KEY, k text)", Malformed, "Multiple definition"),
            ("CREATE TABLE x (k list<int> PRIMARY KEY)", Invalid, "non-frozen collection"),
            ("CREATE TABLE x (k int PRIMARY KEY, n counter, v int)", Invalid, "Cannot mix counter"),
            ("CREATE TABLE x (k int PRIMARY KEY, s int static)", Invalid, "Static columns"),
            ("CREATE TABLE x (k int PRIMARY KEY, v nosuch)", Invalid, "Unknown type"),
            ("CREATE TABLE system.x (k int PRIMARY KEY)", Invalid, "does not exist|not user-modifiable"),
            ("ALTER TABLE t ADD v int", Invalid, "already exists"),
            ("ALTER TABLE t DROP k", Invalid, "PRIMARY KEY"),
            ("ALTER TABLE nosuch ADD v int", Invalid, "table nosuch does not exist"),
            ("DROP TABLE nosuch", Invalid, "doesn't exist"),
            ("DROP INDEX nosuch", Invalid, "doesn't exist"),
            ("DROP KEYSPACE nosuch", Invalid, "doesn't exist"),
            ("TRUNCATE system_schema.tables", Invalid, "not user-modifiable"),
            ("INSERT INTO system.local (key) VALUES ('x')", Invalid, "does not exist|not user-modifiable"),
        ],
    )
    def test_mistakes(self, run, text, error, said):
        with pytest.raises(error, match=said):
            run(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT * FROM nosuch", "table nosuch does not exist"),
        ("SELECT nosuch FROM t", "Undefined column name nosuch in table ks.t"),
        ("SELECT * FROM t WHERE nosuch = 1", "Undefined column name nosuch"),
        ("SELECT nosuch(v) FROM t", "Unknown function 'nosuch"),
        ("SELECT writetime(k) FROM t", "Cannot use selection function writetime on k"),
        ("SELECT * FROM t LIMIT 0", "LIMIT must be strictly positive"),
        ("SELECT * FROM wide WHERE k = 1 ORDER BY v", "Order by"),
        ("SELECT * FROM wide ORDER BY c", "ORDER BY is only supported"),
        ("SELECT * FROM t WHERE k LIKE 'x'", "LIKE is not supported"),
        ("SELECT * FROM t WHERE v CONTAINS 'x'", "Cannot use CONTAINS"),
        ("SELECT * FROM wide WHERE token(c) > 1", "token function arguments"),
        ("INSERT INTO t (v) VALUES ('x')", "Some partition key parts are missing: k"),
        ("INSERT INTO wide (k, v) VALUES (1, 'x')", "Some clustering keys are missing: c"),
        ("INSERT INTO t (k, v) VALUES (null, 'x')", "Invalid null value for k"),
        ("INSERT INTO hits (k, n) VALUES (1, 1)", "INSERT statements are not allowed on counter tables"),
        ("UPDATE t SET k = 2 WHERE k = 1", "PRIMARY KEY part k found in SET part"),
        ("UPDATE t SET v = 'x'", "Some partition key parts are missing: k"),
        ("UPDATE t SET v = 'x' WHERE k > 1", "Some partition key parts are missing"),
        ("UPDATE wide SET v = 'x' WHERE k = 1", "Some clustering keys are missing: c"),
        ("UPDATE t SET v = 'x' WHERE k = 1 AND w = 2", "Non PRIMARY KEY columns found in where clause: w"),
        ("UPDATE t SET w = w + 1 WHERE k = 1", "Invalid operation"),
        ("UPDATE hits SET n = 5 WHERE k = 1", "counters can only be incremented"),
        ("UPDATE hits USING TIMESTAMP 5 SET n = n + 1 WHERE k = 1", "Cannot provide custom timestamp"),
        ("UPDATE t USING TIMESTAMP 5 SET v = 'x' WHERE k = 1 IF EXISTS", "Cannot provide custom timestamp"),
        ("UPDATE t SET v = 'x' WHERE k IN (1, 2) IF EXISTS", "IN on the primary key"),
        ("UPDATE t SET v = 'x' WHERE k = 1 IF k = 1", "cannot have IF conditions"),
        ("UPDATE t USING TTL -1 SET v = 'x' WHERE k = 1", "TTL must be greater"),
        ("UPDATE bags SET s[1] = 2 WHERE k = 1", "Invalid operation"),
        ("DELETE k FROM t WHERE k = 1", "Invalid identifier k for deletion"),
        ("DELETE v FROM wide WHERE k = 1", "Some clustering keys are missing: c"),
        ("BEGIN BATCH UPDATE hits SET n = n + 1 WHERE k = 1 APPLY BATCH", "counter statement in a logged batch"),
        ("BEGIN COUNTER BATCH INSERT INTO t (k) VALUES (1) APPLY BATCH", "non-counter statement in a counter batch"),
        (
            "BEGIN BATCH INSERT INTO t (k) VALUES (1) IF NOT EXISTS; INSERT INTO t (k) VALUES (2); APPLY BATCH",
            "cannot span multiple partitions",
        ),
        ("SELECT * FROM t WHERE k = ?", "Invalid amount of bind variables"),
        ("USE nosuch", "'nosuch' does not exist"),
    ],
)
def test_what_cannot_be_done_is_invalid(run, text, said):
    with pytest.raises(Invalid, match=said):
        run(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELEC * FROM t",
        "SELECT * FROM",
        "SELECT * FROM t WHERE",
        "SELECT * FROM t WHERE k 1",
        "SELECT * FROM t; SELECT * FROM t",
        "INSERT INTO t (k, v) VALUES (1)",
        "UPDATE t SET v 5 WHERE k = 1",
        "UPDATE t SET l = ['a'] + m WHERE k = 1",
        "DELETE FROM t USING TTL 5 WHERE k = 1",
        "BEGIN BATCH SELECT * FROM t; APPLY BATCH",
        "SELECT * FROM t WHERE v = 'unfinished",
        "SELECT * FROM t WHERE k = #",
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM t",
        "CREATE FUNCTION f (a int) RETURNS int",
        "SELECT JSON * FROM t",
    ],
)
def test_what_cannot_be_read_is_a_syntax_error(run, text):
    with pytest.raises(Malformed):
        run(text)


def test_a_keyspace_must_be_named():
    with pytest.raises(Invalid, match="No keyspace has been specified"):
        Database().run("SELECT * FROM t", Context())


def test_replayed_writes_in_any_order_come_to_the_same(run):
    """Idempotent changes with timestamps, shuffled and doubled, always end in one state."""
    chance = random.Random(11)
    changes = [
        *((f"INSERT INTO t (k, v, w) VALUES (1, 'v{at}', {at})", at) for at in range(1, 9)),
        *((f"UPDATE t SET v = 'u{at}' WHERE k = 1", at) for at in range(3, 9, 2)),
        ("DELETE w FROM t WHERE k = 1", 6),
        ("DELETE FROM t WHERE k = 1", 4),
    ]
    ends = set()
    for _ in range(30):
        run("TRUNCATE t")
        order = changes * 2
        chance.shuffle(order)
        for text, at in order:
            run(text, at=at)
        ends.add(str(run("SELECT v, w, writetime(v) FROM t")))
    assert len(ends) == 1


def test_no_mistake_of_a_text_is_an_accident_of_the_fake(run):
    """Cut and mixed texts are refused as an answer to a client, never by another exception."""
    chance = random.Random(5)
    texts = [
        "SELECT k, v FROM wide WHERE k = 1 AND c > 2 ORDER BY c DESC LIMIT 3",
        "UPDATE bags SET l = l + ['a'], m['x'] = 1, s = {1} WHERE k = 1 IF m['x'] = 2",
        "INSERT INTO t (k, v) VALUES (1, 'x') IF NOT EXISTS USING TTL 5",
        "BEGIN BATCH DELETE l[0], m['a'] FROM bags WHERE k IN (1, 2); APPLY BATCH",
    ]
    words = [word for text in texts for word in text.split()]
    answers = 0
    for _ in range(3000):
        parts = chance.choice(texts).split()
        for _ in range(chance.randint(1, 3)):
            parts[chance.randrange(len(parts))] = chance.choice([*words, "?", "'", "(", "{}", "null", "-1"])
        try:
            run(" ".join(parts))
        except CqlError:
            answers += 1
    assert answers > 1000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "INSERT INTO bags (k, l, m) VALUES (?, [?, 'x'], {?: ?}) USING TTL ?",
            "k int, l text, m text, m int, [ttl] int",
        ),
        (
            "UPDATE bags SET l = l + ?, m[?] = ?, s = s - ? WHERE k = ?",
            "l list<text>, m text, m int, s set<int>, k int",
        ),
        (
            "UPDATE bags SET m = m - ?, l[?] = ? WHERE k = ? IF m[?] = ?",
            "m set<text>, l int, l text, k int, m text, m int",
        ),
        ("UPDATE bags SET l = :new WHERE k = :k IF l IN ?", "new list<text>, k int, in(l) frozen<list<list<text>>>"),
        ("DELETE l[?], m[?] FROM bags USING TIMESTAMP ? WHERE k = ?", "l int, m text, [timestamp] bigint, k int"),
        ("SELECT * FROM wide WHERE k IN ? AND c IN (?, ?)", "in(k) frozen<list<int>>, c int, c int"),
        ("SELECT * FROM wide WHERE token(k) > ? AND token(k) <= token(?)", "partition key token bigint, k int"),
        (
            "SELECT * FROM wide WHERE k = ? PER PARTITION LIMIT ? LIMIT ?",
            "k int, [per partition limit] int, [limit] int",
        ),
        (
            "SELECT * FROM bags WHERE m CONTAINS KEY ? AND m CONTAINS ? AND m[?] = ? ALLOW FILTERING",
            "m text, m int, m text, m int",
        ),
        ("SELECT * FROM feed WHERE k = ? AND (a, b) > (?, ?)", "k int, (a, b) int, (a, b) text"),
        (
            "INSERT INTO people (k, home, at) VALUES (?, {street: ?}, minTimeuuid(?))",
            "k int, street text, at timestamp",
        ),
        ("TRUNCATE t", ""),
    ],
)
def test_markers_have_the_types_of_where_they_stand(run, text, wanted):
    run("CREATE TABLE feed (k int, a int, b text, PRIMARY KEY (k, a, b))")
    run("CREATE TYPE address (street text, number int)")
    run("CREATE TABLE people (k int PRIMARY KEY, home frozen<address>, at timeuuid)")
    found = run.database.prepare(text, Context(keyspace="ks")).markers
    plain = [(re.sub(r"^(key|value)\((\w+)\)$", r"\2", each.name).replace("home.", ""), each.type) for each in found]
    assert ", ".join(f"{name} {kind}" for name, kind in plain) == wanted


def test_markers_where_none_may_stand(run):
    with pytest.raises(Invalid, match="Undefined column name nosuch"):
        run.database.prepare("UPDATE t SET nosuch = ? WHERE k = 1", Context(keyspace="ks"))
    with pytest.raises(Invalid, match="prepares markers only in"):
        run.database.prepare("BEGIN BATCH INSERT INTO t (k) VALUES (?); APPLY BATCH", Context(keyspace="ks"))
